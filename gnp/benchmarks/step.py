"""What a step costs: SGD, SAM, GNP and its variants, and what the optimizer itself adds.

"beside the passes" is the step with closures that only hand over copies of ready gradients: climb,
copy, mix and base update without any network. Memory is the peak during a step above the resting
state (parameters, momentum): CUDA's own count, or on the CPU, beside the passes only, the bytes of
all tensors made and not yet freed.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gnp.benchmarks.memory import peak_memory
from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import ratios, take_turns, to_baseline
from gnp.optim import GNP
from models import VGG

ALL = slice(None)
# Method → arguments of GNP. What its step is called with follows from its name in `our_step`.
OURS: dict[str, dict[str, Any]] = {
    "SGD": {"r": 0.0, "alpha": 0.0},
    "SAM": {"r": 0.05, "alpha": 1.0},
    "SAM, foreach base": {"r": 0.05, "alpha": 1.0},
    "GNP": {},
    "GNP, normalize_reference": {"normalize_reference": True},
    "GNP, l2 and max_grad_norm": {"l2": 1e-4, "max_grad_norm": 5.0},
    "GNP, adaptive": {"adaptive": True},
    "GNP, two phases": {},
    "GNP, m-sharpness of 4 pieces": {},
    "GNP, reference on a quarter": {},
    "GNP, direction_every=5": {"direction_every": 5},
    "GNP, probability=0.5": {"probability": 0.5},
    "GNP, climb_only_norms": {"climb_only_norms": True},
    "MSAM": {"alpha": 1.0, "climb_along": "momentum"},
}
THEIRS = {  # pytorch_optimizer's → ours that does the same
    "pytorch_optimizer SAM": "SAM",
    "pytorch_optimizer SAM, foreach": "SAM, foreach base",  # its base is a foreach one too then
    "pytorch_optimizer WSAM (GNP's mix)": "GNP",
}
Gradient = Callable[[slice], Tensor]  # rows of the batch → loss; zeroes and fills p.grad


def measure(arguments: argparse.Namespace, device: torch.device) -> Measured:
    """Every method's step, and the step beside the passes."""
    names = [*OURS, *(THEIRS if other_package() else ())]
    if not other_package():
        print("pytorch_optimizer is not installed (pip install -e '.[benchmark]'): ours alone")
    results = {
        part: compare(names, arguments, device, with_passes)
        for part, with_passes in (("step", True), ("beside the passes", False))
    }
    note = (
        f"VGG16-BN × {arguments.width:g}, batch of {arguments.batch_size}, pytorch_optimizer "
        f"{other_package()}: medians of {arguments.rounds} rounds in which the methods take turns "
        f'of {arguments.steps} steps. "of ours" is the time beside the passes over that of our '
        f"method that does the same. MB: the peak of tensors made during a step, gradients "
        f"included."
    )
    columns = ["ms", "ratio", "lowest", "highest", "MB", "to ours"]
    return Measured("What a step costs", results, to_markdown(results), note, columns)


def other_package() -> str | None:
    """The version of pytorch_optimizer, if it is installed."""
    try:
        return metadata.version("pytorch_optimizer")
    except metadata.PackageNotFoundError:
        return None


def compare(
    names: list[str], arguments: argparse.Namespace, device: torch.device, with_passes: bool
) -> dict[str, dict[str, float]]:
    """{method: {median ms a step, median and range of the ratio to SGD, MB of memory, …}}."""
    steps, memory = {}, {}
    for name in names:
        steps[name], reset = prepare(arguments, device, name, with_passes)
        if device.type == "cuda" or not with_passes:
            memory[name] = peak_memory(steps[name], reset, device)
    seconds = take_turns(steps, arguments.rounds, arguments.steps, device)
    numbers = {}
    for name, own in seconds.items():
        numbers[name] = to_baseline(own, seconds["SGD"])
        if name in memory:
            numbers[name]["MB"] = memory[name]
        if name in THEIRS:
            numbers[name]["to ours"] = statistics.median(ratios(own, seconds[THEIRS[name]]))
    return numbers


def prepare(
    arguments: argparse.Namespace, device: torch.device, method: str, with_passes: bool
) -> tuple[Callable[[], None], Callable[[], None]]:
    """One step of ``method`` on a network and batch of its own, and what frees all that is made
    anew in a step."""
    torch.manual_seed(0)
    model = VGG(batch_norm=True, width=arguments.width).to(
        device, memory_format=torch.channels_last
    )
    images = torch.randn(arguments.batch_size, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch_size,), device=device)
    ready = [torch.randn_like(p) for p in model.parameters()]

    def passes(rows: slice) -> Tensor:
        model.zero_grad()
        loss = cross_entropy(model(images[rows]), labels[rows])
        loss.backward()
        return loss.detach()

    def no_passes(rows: slice) -> Tensor:
        for parameter, gradient in zip(model.parameters(), ready, strict=True):
            parameter.grad = gradient.clone()
        return images.new_zeros(())

    build = their_step if method in THEIRS else our_step
    optimizer, step = build(
        method, model, passes if with_passes else no_passes, arguments.batch_size
    )

    def reset() -> None:
        model.zero_grad()
        if isinstance(optimizer, GNP):
            optimizer.renew_direction()

    return step, reset


SGD = {"lr": 1e-3, "momentum": 0.9, "nesterov": True}


def our_step(
    method: str, model: nn.Module, gradient: Gradient, batch_size: int
) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    base = torch.optim.SGD(model.parameters(), **SGD, foreach=True if "foreach" in method else None)
    optimizer = GNP(base, model=model, **OURS[method])
    whole = partial(gradient, ALL)

    def two_phases() -> None:
        with optimizer.first_pass():
            gradient(ALL)
        with optimizer.second_pass():
            gradient(ALL)
        optimizer.step()

    if method == "GNP, two phases":
        return optimizer, two_phases
    if method == "GNP, m-sharpness of 4 pieces":
        bounds = [batch_size * i // 4 for i in range(5)]
        pieces = [partial(gradient, slice(a, b)) for a, b in pairwise(bounds)]
        return optimizer, lambda: optimizer.step(pieces)
    if method == "GNP, reference on a quarter":
        return optimizer, lambda: optimizer.step(whole, partial(gradient, slice(None, None, 4)))
    return optimizer, lambda: optimizer.step(whole)


def their_step(
    method: str, model: nn.Module, gradient: Gradient, batch_size: int
) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    from pytorch_optimizer import SAM, WSAM

    whole = partial(gradient, ALL)
    if "WSAM" in method:
        # Without ``decouple`` its gradient is GNP's mix, with α = gamma/(1 − gamma).
        gamma = 0.8 / 1.8
        optimizer = WSAM(
            model, model.parameters(), torch.optim.SGD, rho=0.1, gamma=gamma, decouple=False, **SGD
        )
        return optimizer, lambda: optimizer.step(whole)
    foreach = True if "foreach" in method else None
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, foreach=foreach, **SGD)

    def step() -> None:
        whole()
        optimizer.step(whole)

    return optimizer, step


# ---------------------------------------------------------------------- what is written


def to_markdown(results: dict[str, dict[str, dict[str, float]]]) -> str:
    whole, beside = results["step"], results["beside the passes"]
    with_memory = "MB" in whole["SGD"]
    head = ["method", "step, ms", "of SGD's", "range", "beside the passes, ms", "of ours"]
    head += ["MB"] if with_memory else []
    head += ["MB beside the passes"]
    rows = []
    for name, step in whole.items():
        own = beside[name]
        cells = [
            name,
            f"{step['ms']:.1f}",
            f"{step['ratio']:.2f}",
            f"{step['lowest']:.2f}–{step['highest']:.2f}",
            f"{own['ms']:.2f}",
            f"{own['to ours']:.2f}" if "to ours" in own else "",
        ]
        cells += [f"{step['MB']:.1f}"] if with_memory else []
        rows.append([*cells, f"{own['MB']:.1f}"])
    return markdown_table(head, rows)
