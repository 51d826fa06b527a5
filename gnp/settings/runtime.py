"""The settings of how and where a run is executed: no part of its identity."""

from typing import Literal

from gnp.settings.section import Section, setting

Locks = Literal["auto", "flock", "lease"]
LOCKS_HELP = "of a run: flock, or a lease that is renewed; auto: that where flock does not work"


class RuntimeSettings(Section):
    device: str = setting(
        "auto",
        "auto (CUDA where there is some), or torch's name for one",
        expected="auto, cpu, cuda or cuda:N (on other machines mps, xpu or xpu:N)",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?)$",
    )
    threads: int | None = setting(
        None,
        "CPU threads; null is torch's choice",
        expected="from 1 to 1024, or null",
        ge=1,
        le=1024,
    )
    channels_last: bool = setting(True, "the memory format that convolutions are fastest in")
    compile: str | None = setting(None, "a torch.compile backend, such as inductor")
    deterministic: bool = setting(False, "only deterministic CUDA kernels")
    eval_batch_size: int = setting(500, "images at a time in evaluation", expected="≥ 1", ge=1)
    locks: Locks = setting("auto", LOCKS_HELP)
