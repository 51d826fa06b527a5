"""What a step costs: SGD, SAM and GNP side by side, and what the optimizer itself adds.

    python scripts/benchmark.py                                  # narrow VGG16-BN on this machine
    python scripts/benchmark.py --width 1 --batch-size 256 --device cuda --json benchmark.json

Timings of one machine differ from minute to minute. The methods therefore take turns, a few steps
each, for several rounds, and what is reported is the median over rounds of the ratio to SGD in the
same round. "beside the passes" is the step with a closure that only hands over ready gradients:
climb, copy, mix and base update without any network. Memory is CUDA's peak above the resting state
(parameters, gradients, momentum); on the CPU there is no such counter.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from gnp.optim import GNP
from gnp.tracking import describe_environment
from gnp.tracking.files import write_json
from models import VGG

METHODS = {"sgd": (0.0, 0.0), "sam": (0.05, 1.0), "gnp": (0.1, 0.8)}  # r, alpha


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.125, help="of VGG16-BN (default 0.125)")
    parser.add_argument("--batch-size", type=int, default=128, help="images (default 128)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each method (default 9)")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn (default 5)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default torch's)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    results = {
        "settings": {k: v for k, v in vars(arguments).items() if k != "json"},
        "environment": describe_environment(
            torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        ),
        "step": compare(arguments, device, with_passes=True),
        "beside the passes": compare(arguments, device, with_passes=False),
    }
    for part in ("step", "beside the passes"):
        print(f"{part}:")
        for method, numbers in results[part].items():
            print(f"  {method}  " + "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
    if arguments.json:
        write_json(arguments.json, results)
        print(f"written: {arguments.json}")
    return 0


def compare(
    arguments: argparse.Namespace, device: torch.device, with_passes: bool
) -> dict[str, dict[str, float]]:
    """{method: {median ms a step, median and range of the ratio to SGD, MB of memory}}."""
    steps = {name: prepare(arguments, device, name, with_passes) for name in METHODS}
    memory = {name: peak_memory(step, device) for name, step in steps.items()}  # and a warm-up
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            seconds[name].append(time_steps(step, arguments.steps, device))
    numbers = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds["sgd"], strict=True)]
        numbers[name] = {
            "ms": 1000 * statistics.median(own),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
        if memory[name] is not None:
            numbers[name]["MB"] = memory[name]
    return numbers


def prepare(
    arguments: argparse.Namespace, device: torch.device, method: str, with_passes: bool
) -> Callable[[], None]:
    """One step of ``method`` on a network and batch of its own."""
    torch.manual_seed(0)
    model = VGG(batch_norm=True, width=arguments.width).to(
        device, memory_format=torch.channels_last
    )
    images = torch.randn(arguments.batch_size, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch_size,), device=device)
    base = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    r, alpha = METHODS[method]
    optimizer = GNP(base, r=r, alpha=alpha, model=model)
    gradients = [torch.randn_like(p) for p in model.parameters()]

    def passes() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        return loss

    def no_passes() -> torch.Tensor:
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return labels

    closure = passes if with_passes else no_passes
    return lambda: optimizer.step(closure)


def peak_memory(step: Callable[[], None], device: torch.device) -> float | None:
    """MB above the resting state during a step, after two steps that settle it; CUDA only."""
    for _ in range(2):
        step()
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    resting = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - resting) / 2**20


def time_steps(step: Callable[[], None], count: int, device: torch.device) -> float:
    """Seconds a step."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    sys.exit(main())
