"""GPUs that a plan may be for, with what they could do at most.

Peak throughput in TFLOP/s without sparsity (data sheets often show twice that, "with sparsity"), as
NVIDIA prints it: data sheets of V100, T4, A10, A30, A40, A100, RTX A6000, L4, L40S, H100, H200 and
HGX B200; papers on GA102 (RTX 3090), Ada (RTX 4090) and Blackwell (RTX 5090), there 16 bits with
32-bit accumulation.
"""

from dataclasses import dataclass

from gnp.settings.messages import suggest

# What part of the peak training reaches, by the kind of numbers: assumptions. On an H200
# (results/gpu) WRN-28-10 reached 0.31 in tf32 and in bf16 (0.38 compiled), VGG16-BN 0.13 in tf32,
# ViT-Ti 0.28 in fp32, Shake-Shake 0.18 in bf16, and PyramidNet-272, of many small layers, 0.02.
# On tensor cores it is what the README of KellerJordan/cifar10-airbench says of an A100, 16 bits: a
# standard training of ResNet-18 is 32.3 PFLOP in 7 minutes, 0.25 of the peak; its tuned ones reach
# 0.3 to 0.45. Without them matrix products take nearly all of the time, and reach more of it.
UTILISATION = {"fp32": 0.5, "tf32": 0.25, "half": 0.25}


@dataclass(frozen=True)
class Gpu:
    """Peak TFLOP/s by the kind of numbers; ``tf32`` is None where there is none, ``half`` is of
    bf16, or of fp16 where there is no bf16."""

    fp32: float
    tf32: float | None
    half: float

    def peak(self, precision: str, convolutions: bool) -> tuple[str, float]:
        """The kind of numbers that torch computes with, and its peak. In fp32, cuDNN's convolutions
        use tf32 where there is some, matrix products do not: torch's defaults.

        Args:
            precision: ``training.precision``.
            convolutions: or matrix products?
        """
        if precision != "fp32":
            return "half", self.half
        if convolutions and self.tf32 is not None:
            return "tf32", self.tf32
        return "fp32", self.fp32


GPUS = {
    "V100": Gpu(15.7, None, 125),
    "T4": Gpu(8.1, None, 65),
    "A10": Gpu(31.2, 62.5, 125),
    "A30": Gpu(10.3, 82, 165),
    "A40": Gpu(37.4, 74.8, 149.7),
    "A100": Gpu(19.5, 156, 312),
    "A6000": Gpu(38.7, 77.4, 154.8),
    "RTX3090": Gpu(35.6, 35.6, 71),
    "RTX4090": Gpu(82.6, 82.6, 165.2),
    "RTX5090": Gpu(104.8, 104.8, 209.5),
    "L4": Gpu(30.3, 60, 121),
    "L40S": Gpu(91.6, 183, 362),
    "H100": Gpu(66.9, 494.7, 989.4),  # SXM
    "H100-PCIe": Gpu(51.2, 378, 756),
    "H200": Gpu(66.9, 494.7, 989.4),
    "B200": Gpu(75, 1100, 2250),
}


def named_gpus(text: str) -> tuple[str, int]:
    """ "H100" or "4xH100" → its name as listed, and how many. Upper and lower case are one.

    Raises:
        ValueError: no such GPU; in one line, with those there are.
    """
    count, times, name = text.strip().lower().partition("x")
    if not times or not count.isdecimal():
        count, name = "1", text.strip().lower()
    name = name.replace(" ", "").replace("_", "-")
    listed = {known.lower(): known for known in GPUS}
    if name not in listed or not 1 <= int(count) <= 10_000:
        raise ValueError(
            f"expected one of {', '.join(GPUS)}, or 4xH100 for four of them."
            f"{suggest(name.upper(), GPUS)}"
        )
    return listed[name], int(count)
