"""Vectors of the weights' space as lists of tensors, one a parameter: gradients, steps, products.

Nothing here touches ``p.grad``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Vector = list[Tensor]  # a tensor of each parameter's shape


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes."""
    return [p for p in model.parameters() if p.requires_grad]


def gradient(loss: Tensor, params: Sequence[Tensor], create_graph: bool = False) -> Vector:
    """∇loss; zero where it does not depend on a parameter.

    Args:
        create_graph: so that it can be differentiated once more.
    """
    found = torch.autograd.grad(loss, params, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(params, found, strict=True)]


def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Inner product of two vectors: 0-d, float64."""
    sums = [(a.double() * b.double()).sum() for a, b in zip(left, right, strict=True)]
    return torch.stack(sums).sum()


def norm(vector: Sequence[Tensor]) -> Tensor:
    """Euclidean norm: 0-d, float64."""
    return dot(vector, vector).sqrt()


def difference(left: Sequence[Tensor], right: Sequence[Tensor]) -> Vector:
    return [a.detach() - b.detach() for a, b in zip(left, right, strict=True)]


@contextmanager
def moved(
    params: Sequence[Tensor], direction: Sequence[Tensor], scale: float | Tensor = 1.0
) -> Iterator[None]:
    """Inside, the weights are θ + scale · direction; afterwards θ again, bit for bit."""
    with torch.no_grad():
        saved = [p.clone() for p in params]
        for p, d in zip(params, direction, strict=True):
            p.add_((d * scale).to(p.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(params), saved)
