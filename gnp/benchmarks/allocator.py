"""A step on the CPU with the allocator as it is and as training sets it: each in processes of its
own, for a process cannot take the setting back."""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import ratios
from gnp.benchmarks.training_step import compose_run, one_step
from gnp.training.allocator import keep_freed_memory
from gnp.training.build import build_model

NETWORKS = {
    "VGG8-BN × 1/8": "quickstart",
    "VGG16-BN × 1/8": "mini/vgg16_bn",
    "WRN-10-1": "mini/wrn_28_10",
    "PyramidNet-20-12-SD": "mini/pyramidnet_272_200_sd",
    "ViT, 4 blocks of 64": "mini/vit_ti16",
}
SECONDS = 2.0  # a process's steps


def measure(arguments: argparse.Namespace, _device: torch.device) -> Measured:
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, experiment in NETWORKS.items():
        seen = [
            (_process(experiment, False), _process(experiment, True))
            for _ in range(arguments.rounds)
        ]
        before, after = zip(*seen, strict=True)
        of_rounds = ratios([own for own, _ in after], [own for own, _ in before])
        results[name] = {
            "as it is": _numbers(before),
            "as training sets it": {
                **_numbers(after),
                "ratio": statistics.median(of_rounds),
                "lowest": min(of_rounds),
                "highest": max(of_rounds),
            },
        }
    rows = []
    for name, both in results.items():
        plain, ours = both["as it is"], both["as training sets it"]
        rows.append(
            [name, f"{plain['ms']:.1f}", f"{ours['ms']:.1f}", f"{ours['ratio']:.2f}",
             f"{ours['lowest']:.2f}–{ours['highest']:.2f}", f"{plain['MB']:.0f}",
             f"{ours['MB']:.0f}"]
        )  # fmt: skip
    head = ["network", "as it is, ms", "as set, ms", "ratio", "range", "MB", "MB as set"]
    note = (
        f"A step of GNP with the experiment's batch, one thread, medians of {arguments.rounds} "
        f"processes each that take turns, {SECONDS:g} s of steps a process. MB: the peak of a "
        f"process's memory."
    )
    columns = ["ms", "MB", "ratio", "lowest", "highest"]
    title = "A step by the C library's allocator"
    return Measured(title, results, markdown_table(head, rows), note, columns)


def _numbers(seen: tuple[tuple[float, float], ...]) -> dict[str, float]:
    return {
        "ms": 1000 * statistics.median(seconds for seconds, _ in seen),
        "MB": statistics.median(megabytes for _, megabytes in seen),
    }


def _process(experiment: str, kept: bool) -> tuple[float, float]:
    """Seconds a step, and the process's peak of MB."""
    done = subprocess.run(
        [sys.executable, "-m", "gnp.benchmarks.allocator", experiment, str(int(kept))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def main() -> None:
    experiment, kept = sys.argv[1:]
    if int(kept):
        keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = compose_run([f"experiment={experiment}", "optimizer=gnp", "runtime.device=cpu"])
    size, layout = config.training.batch_size, torch.channels_last
    model = build_model(config).to(memory_format=layout).train()
    images = torch.randn(size, 3, 32, 32).contiguous(memory_format=layout)
    labels = torch.randint(config.dataset.num_classes, (size,))
    step = one_step(config, model, model, (images, labels), torch.device("cpu"))
    for _ in range(3):
        step()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        step()
        steps += 1
    seconds = (time.perf_counter() - started) / steps
    # Not getrusage's peak: that begins with what the process had that started this one.
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    print(seconds, int(peak.split()[1]) / 1024)


if __name__ == "__main__":
    main()
