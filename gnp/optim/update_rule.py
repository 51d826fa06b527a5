"""GNP's arithmetic on lists of tensors (Algorithm 1 of arXiv 2202.03599).

    g1 = ∇L(θ)      g2 = ∇L(θ + r · g1/‖g1‖)      g = (1 − α) g1 + α g2

Functions on lists of tensors of any shapes, without state: the class in ``gnp.py`` decides when
to call them. The work is done by ``torch._foreach_*``, a few kernels for all parameters
together; nothing here waits for the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all entries of all tensors: a 0-d tensor on the first one's device.

    Half-precision tensors are accumulated in float32. An empty list has norm 0.
    """
    if not tensors:
        return torch.zeros(())
    halves = [t for t in tensors if t.dtype in HALVES]
    others = [t for t in tensors if t.dtype not in HALVES]
    norms = list(torch._foreach_norm(others, 2)) if others else []
    norms += torch._foreach_norm(halves, 2, dtype=torch.float32) if halves else []
    dtype = max((n.dtype for n in norms), key=lambda d: d.itemsize)
    device = tensors[0].device
    return torch.linalg.vector_norm(torch.stack([n.to(device, dtype) for n in norms]))


def climb_scale(norm: Tensor, r: float | Tensor, epsilon: float | Tensor = 0.0) -> Tensor:
    """r/(‖g‖ + ε), or 0 where that is not finite: a flat point has no direction to climb in.

    (The official code divides without this guard and gives NaN: configs/README.md, "Fidelity".)
    """
    scale = r / (norm + epsilon)
    return torch.where(scale.isfinite(), scale, torch.zeros_like(scale))


def climb_(
    weights: list[Tensor],
    directions: list[Tensor],
    scale: float | Tensor,
    overwrite: bool = False,
) -> None:
    """weights ← weights + scale · directions, in place. A ``scale`` that is a tensor is 0-d.

    With ``overwrite`` the directions are lost, and no memory is needed.
    """
    if overwrite:
        torch._foreach_mul_(directions, scale)
        torch._foreach_add_(weights, directions)
    else:
        torch._foreach_add_(weights, torch._foreach_mul(directions, scale))


def adaptive_(gradients: list[Tensor], weights: list[Tensor], eta: float) -> None:
    """gradients ← T · gradients with T = |weights| + η, in place: once gives what ASAM's norm is
    taken of, twice its direction (Kwon et al., arXiv 2102.11600, §4: ε = r · T²g/‖T g‖)."""
    scales = torch._foreach_abs(weights)
    torch._foreach_add_(scales, eta)
    torch._foreach_mul_(gradients, scales)


def clip_scale(norm: Tensor, max_norm: float) -> Tensor:
    """min(1, max_norm/‖g‖), exactly (``torch.nn.utils.clip_grad_norm_`` adds 1e-6 to the norm)."""
    return (max_norm / norm).clamp(max=1.0)


def add_l2_(gradients: list[Tensor], weights: list[Tensor], coefficient: float | Tensor) -> None:
    """gradients ← gradients + coefficient · weights, in place: the gradient of ½·coefficient·‖θ‖².

    A coefficient that is a tensor is 0-d, on the lists' device.
    """
    if isinstance(coefficient, Tensor):
        torch._foreach_add_(gradients, torch._foreach_mul(weights, coefficient))
    else:
        torch._foreach_add_(gradients, weights, alpha=coefficient)


def mix_(g1: list[Tensor], g2: list[Tensor], alpha: float) -> None:
    """g2 ← (1 − α) g1 + α g2, in place. α = 1 leaves finite g2 as it is."""
    torch._foreach_lerp_(g2, g1, 1 - alpha)
