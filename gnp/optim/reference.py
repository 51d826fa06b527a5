"""GNP on one page: Algorithm 1 of arXiv 2202.03599 for one list of parameters, in plain loops.

    g1 = ∇L(θ)      g2 = ∇L(θ + r · g1/‖g1‖)      g = (1 − α) g1 + α g2

Read this first. The class in ``gnp.py`` does the same to groups of parameters, faster and with all
that training needs beside it; its tests compare it with this page.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

Loss = Callable[[Sequence[Tensor]], Tensor]  # parameters → 0-d loss of one fixed batch


def gradient_of(loss: Loss, params: Sequence[Tensor]) -> list[Tensor]:
    """∇L at ``params``; zero where the loss does not depend on a parameter."""
    leaves = [p.detach().requires_grad_() for p in params]
    grads = torch.autograd.grad(loss(leaves), leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, grads, strict=True)]


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all entries of all of them: 0-d."""
    return torch.stack([t.square().sum() for t in tensors]).sum().sqrt()


def gnp_gradient(loss: Loss, params: Sequence[Tensor], r: float, alpha: float) -> list[Tensor]:
    """g at ``params``. α = 0 or r = 0 is ∇L, α = 1 SAM's gradient with ρ = r; a zero gradient has
    no direction to climb in, and stays zero."""
    g1 = gradient_of(loss, params)
    norm = norm_of(g1)
    if norm == 0:
        return g1
    climbed = [p + r * g / norm for p, g in zip(params, g1, strict=True)]
    g2 = gradient_of(loss, climbed)
    return [(1 - alpha) * a + alpha * b for a, b in zip(g1, g2, strict=True)]


def gnp_step(base: Optimizer, loss: Loss, params: Sequence[Tensor], r: float, alpha: float) -> None:
    """One step: ``base``, an optimizer of ``params``, makes its update from g."""
    for p, g in zip(params, gnp_gradient(loss, params, r, alpha), strict=True):
        p.grad = g
    base.step()
