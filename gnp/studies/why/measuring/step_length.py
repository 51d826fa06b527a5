"""(∇L(θ + r v) − ∇L(θ))/r, v = g1/‖g1‖, against H v, in each precision.

Each precision does all of it by itself, as a step would: g1, ‖g1‖, the climb, g2. What it is
compared with is H v in float64 by two backward passes, v from float64's g1. The last subtraction
and the quotient are taken in float64 of the gradients that the precision gave.
"""

from collections.abc import Sequence
from typing import Any

from gnp.studies.why.measuring.gates import changed, gates_of
from gnp.studies.why.measuring.looked_at import LookedAt
from gnp.studies.why.measuring.loss import BatchLoss, cosine
from gnp.training.vectors import Vector, difference, moved, norm


def measure(look: LookedAt, epoch: int, settings: dict[str, Any]) -> dict[str, Any]:
    """{"gradient_norm": […], "product_norm": […], "errors": {precision: [[…], …]}, "cosines": …,
    "gates": …, "changed_gates": [[…], …]}: errors, cosines and changed gates (of a batch's ReLUs,
    in float64), a list for each length, hold a number for each batch."""
    batches = look.drawn("step length", epoch, settings["batches"])
    exact_losses = look.in_precision("fp64", batches)
    exact, lengths, changes, gates = [], [], [], 0
    for index in range(len(batches)):
        loss = exact_losses.only(index)
        unit, length = _unit(loss.gradient())
        exact.append(loss.hessian_product(unit))
        lengths.append(length)
        gates, of_batch = changed_gates(loss, unit, settings["lengths"])
        changes.append(of_batch)
    out: dict[str, Any] = {
        "gradient_norm": lengths,
        "product_norm": [norm(product).item() for product in exact],
        "gates": gates,
        "changed_gates": [list(row) for row in zip(*changes, strict=True)],
        "errors": {},
        "cosines": {},
    }
    for precision in settings["precisions"]:
        losses = look.in_precision(precision, batches)
        of_batches = [
            over(losses.only(index), product, settings["lengths"])
            for index, product in enumerate(exact)
        ]
        rows = list(zip(*of_batches, strict=True))
        out["errors"][precision] = [[_rounded(error) for error, _ in row] for row in rows]
        out["cosines"][precision] = [[_rounded(c) for _, c in row] for row in rows]
    return out


def over(loss: BatchLoss, exact: Vector, lengths: Sequence[float]) -> list[tuple[float, float]]:
    """For each length ‖d − H v‖/‖H v‖ and the cosine of d and H v, of the difference d.

    Args:
        exact: H v.
    """
    first, found = loss.gradient(), []
    for r in lengths:
        quotient = difference_quotient(loss, first, r)
        error = norm(difference(quotient, exact))
        found.append(((error / norm(exact)).item(), cosine(quotient, exact)))
    return found


def difference_quotient(loss: BatchLoss, first: Vector, r: float) -> Vector:
    """float64, whatever the precision of the gradients.

    Args:
        first: g1.
    """
    with moved(loss.params, first, r / norm(first)):
        second = loss.gradient()
    return [(b.double() - a.double()) / r for a, b in zip(first, second, strict=True)]


def changed_gates(loss: BatchLoss, unit: Vector, lengths: Sequence[float]) -> tuple[int, list[int]]:
    """How many ReLU inputs there are, and how many of them change their sign between θ and
    θ + r · unit, for each r."""
    before, found = gates_of(loss.value), []
    for r in lengths:
        with moved(loss.params, unit, r):
            found.append(changed(before, gates_of(loss.value)))
    return sum(gates.numel() for gates in before), found


def _unit(vector: Vector) -> tuple[Vector, float]:
    length = norm(vector).item()
    return [v / length for v in vector], length


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
