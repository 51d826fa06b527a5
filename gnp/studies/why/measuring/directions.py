"""Random directions in the scale of the weights: Li et al., *Visualizing the Loss Landscape of
Neural Nets*, NeurIPS 2018, arXiv 1712.09913, §4."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnp.training.vectors import Vector


def filter_normalised(params: Sequence[Tensor], generator: torch.Generator) -> Vector:
    """A Gaussian direction d, each filter of which has its own filter's norm.

        d_ij ← d_ij · ‖θ_ij‖/‖d_ij‖

    A filter is what makes one output: a convolution's (in, k, k), a dense layer's row. Biases and
    the norms' scales and shifts do not move, as in the authors' code. The draws do not depend on
    the weights: two networks of one kind get the same ones from generators of one seed.
    """
    return [_normalised(p.detach(), generator) for p in params]


def _normalised(weights: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(weights.shape, generator=generator).to(weights)
    if weights.ndim <= 1:
        return torch.zeros_like(weights)
    rows = drawn.flatten(1).norm(dim=1), weights.flatten(1).norm(dim=1)
    factor = torch.where(rows[0] > 0, rows[1] / rows[0], 0.0)
    return drawn * factor.view(-1, *[1] * (weights.ndim - 1))
