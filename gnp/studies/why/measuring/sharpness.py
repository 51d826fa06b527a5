"""How much the loss rises at the end of one ascent step of a given radius.

That is the sharpness max L(θ + ε) − L(θ) as SAM (‖ε‖ ≤ ρ; Foret et al., arXiv 2010.01412) and ASAM
(‖T⁻¹ε‖ ≤ ρ with T = |θ| + η; Kwon et al., arXiv 2102.11600) have it and approximate it: to first
order in ρ the maximum lies there.
"""

from collections.abc import Sequence

from torch import Tensor

from gnp.optim.update_rule import climb_scale
from gnp.studies.why.measuring.loss import BatchLoss
from gnp.training.vectors import Vector, moved, norm


def sam_step(grad: Sequence[Tensor], rho: float) -> Vector:
    """ε = ρ g/‖g‖; zero where g is."""
    return _scaled(grad, rho, norm(grad))


def asam_step(grad: Sequence[Tensor], params: Sequence[Tensor], rho: float, eta: float) -> Vector:
    """ε = ρ T²g/‖T g‖, elementwise with T = |θ| + η."""
    t = [p.detach().abs() + eta for p in params]
    once = [a * g for a, g in zip(t, grad, strict=True)]
    twice = [a * g for a, g in zip(t, once, strict=True)]
    return _scaled(twice, rho, norm(once))


def rise(loss: BatchLoss, step: Sequence[Tensor], before: float) -> float:
    """L(θ + step) − L(θ).

    Args:
        before: L(θ).
    """
    with moved(loss.params, step):
        return loss.value() - before


def _scaled(vector: Sequence[Tensor], rho: float, length: Tensor) -> Vector:
    scale = climb_scale(length, rho)
    return [(v * scale).to(v.dtype) for v in vector]
