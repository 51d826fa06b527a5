"""Mixtures of two images of a batch and of their labels: mixup and CutMix.

Each is a function of tensors, apart from the random draws, so that it can be compared with naive
code image by image.
"""

import torch
from torch import Tensor


def draw_weights(count: int, alpha: float, dominant: bool, generator: torch.Generator) -> Tensor:
    """Weights of the first image from Beta(alpha, alpha): float32 (count,), from 0 to 1.

    Args:
        alpha: 1 is the uniform distribution; smaller mixes less.
        dominant: max(w, 1 − w), so that the first image has at least half (the official code's).
    """
    device = generator.device
    if alpha == 1:
        weights = torch.rand(count, generator=generator, device=device)
    else:
        # torch.distributions.Beta takes no generator; this is the function it draws with.
        concentration = torch.full((count, 2), float(alpha), device=device)
        weights = torch._sample_dirichlet(concentration, generator=generator)[:, 0]
    return torch.maximum(weights, 1 - weights) if dominant else weights


def mixup(images: Tensor, partner: Tensor, weights: Tensor) -> Tensor:
    """w·image + (1 − w)·partner (Zhang et al., arXiv 1710.09412).

    Args:
        images: float (N, C, H, W).
        partner: int64 (N,), the index of the image that each is mixed with.
        weights: (N,), or (1,) for one weight for all.
    """
    return torch.lerp(images[partner], images, weights[:, None, None, None])


def cutmix(
    images: Tensor, partner: Tensor, weights: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace a box of each image by its partner's pixels (Yun et al., arXiv 1905.04899).

    The box has the image's proportions and about 1 − w of its area, before it is clipped at the
    border; its sides are even numbers of pixels.

    Args:
        images: (N, C, H, W).
        partner: int64 (N,).
        weights: (N,), or (1,) for boxes of one size.
        rows, columns: int64, the boxes' centres, shaped as ``weights``.

    Returns:
        The images, and the share of its own pixels that each has kept: what its label weighs.
        float32, shaped as ``weights``.
    """
    height, width = images.shape[-2:]
    half = 0.5 * (1 - weights).sqrt()
    half_height, half_width = (half * height).long(), (half * width).long()
    box = box_mask(
        (rows - half_height, rows + half_height),
        (columns - half_width, columns + half_width),
        height,
        width,
    )
    kept = 1 - box.float().mean(dim=(1, 2, 3))
    return torch.where(box, images[partner], images), kept


def mix_labels(labels: Tensor, partner: Tensor, weights: Tensor, num_classes: int) -> Tensor:
    """w·label + (1 − w)·partner's label, as float32 (N, num_classes); each row's sum is 1.

    Args:
        labels, partner: int64 (N,).
        weights: (N,) or (1,).
    """
    own = (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()
    return torch.lerp(own[partner], own, weights[:, None])


def box_mask(
    rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], height: int, width: int
) -> Tensor:
    """True inside of boxes, which may reach over the border: bool (N, 1, height, width).

    Args:
        rows, columns: int64 (N,) each, the first and the first not any more inside.
    """
    y = torch.arange(height, device=rows[0].device)
    x = torch.arange(width, device=rows[0].device)
    in_rows = (y >= rows[0][:, None]) & (y < rows[1][:, None])
    in_columns = (x >= columns[0][:, None]) & (x < columns[1][:, None])
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]
