"""Times as ratios: timings of one machine differ from minute to minute, so what is compared takes
turns, for several rounds, and is compared within each round."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from gnp.training.device import wait_for


def time_steps(step: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds a step, the device's work included."""
    wait_for(device)
    started = time.perf_counter()
    for _ in range(count):
        step()
    wait_for(device)
    return (time.perf_counter() - started) / count


def take_turns(
    steps: Mapping[str, Callable[[], object]], rounds: int, count: int, device: torch.device
) -> dict[str, list[float]]:
    """{name: seconds a step in each round}, after a warm-up of two steps each.

    Args:
        count: steps a turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():  # a warm-up
        time_steps(step, 2, device)
    for done in range(rounds):
        for name, step in steps.items():
            seconds[name].append(time_steps(step, count, device))
        if sys.stderr.isatty():
            print(f"\rround {done + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    return seconds


def to_baseline(own: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """The median in ms, and the ratio to the baseline in the same round: median, lowest and
    highest over the rounds."""
    of_rounds = ratios(own, baseline)
    return {
        "ms": 1000 * statistics.median(own),
        "ratio": statistics.median(of_rounds),
        "lowest": min(of_rounds),
        "highest": max(of_rounds),
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """The median, lowest and highest of the rounds."""
    return {
        "seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
    }


def ratios(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(left, right, strict=True)]
