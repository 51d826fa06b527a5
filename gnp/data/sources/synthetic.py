"""Procedurally drawn pictures: a data set that needs no network and no disk.

A class is a shape (10 of them) or, with 100 classes, a shape with a texture (10 × 10). Position,
size, rotation, colours, background, a distracting blob and noise vary from image to image, so
that the class can only be read from the form. The pictures are a pure function of their seed.
"""

import math

import torch
from torch import Tensor

from gnp.data.errors import DataError
from gnp.settings import DatasetSettings

SIZE = 32
SHAPES = 10
NOISE = 0.16  # standard deviation, of images in [0, 1]


def load(settings: DatasetSettings, split: str) -> tuple[Tensor, Tensor]:
    """Pictures for training or for the test: no seed of either is one of the other's."""
    classes, seed = settings.num_classes, 2 * settings.synthetic_seed
    if split == "train":
        return draw_synthetic(classes, settings.synthetic_train_per_class, seed)
    return draw_synthetic(classes, settings.synthetic_test_per_class, seed + 1)


def draw_synthetic(num_classes: int, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """(images uint8 (N, 3, 32, 32), labels int64 (N,)) with ``per_class`` images of each class.

    Raises:
        DataError: not 10 or 100 classes.
    """
    if num_classes not in (10, 100):
        raise DataError(
            f"synthetic draws 10 or 100 classes, not {num_classes}; set dataset.num_classes to one "
            f"of them"
        )
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat(per_class)
    labels = labels[torch.randperm(len(labels), generator=g)]
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=g)

    u, v = _object_coordinates(
        x0=uniform(-0.35, 0.35, 1, 1),
        y0=uniform(-0.35, 0.35, 1, 1),
        scale=uniform(0.42, 0.72, 1, 1),
        angle=uniform(-0.5, 0.5, 1, 1),
    )
    inside = _inside_shape(labels % SHAPES, u, v)
    if num_classes == 100:
        inside = inside * _texture(labels // SHAPES, u, v)
    background = _blend(uniform(0, 1, 3), uniform(0, 1, 3), uniform(0, 2 * math.pi, 1, 1))
    blob = _blob(uniform(-1, 1, 1, 1), uniform(-1, 1, 1, 1), uniform(0.15, 0.35, 1, 1))
    background = torch.lerp(background, uniform(0, 1, 3, 1, 1), blob[:, None])
    foreground = uniform(0, 1, 3, 1, 1)
    # A shape in the colour of its background cannot be seen: push the two apart.
    average = background.mean(dim=(2, 3), keepdim=True)
    foreground = (foreground + 0.5 * torch.sign(foreground - average)).clamp(0, 1)
    picture = torch.lerp(background, foreground.expand_as(background), inside[:, None])
    picture = picture + NOISE * torch.randn(picture.shape, generator=g)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8), labels


def _grid() -> tuple[Tensor, Tensor]:
    axis = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return axis[None, None, :], axis[None, :, None]  # x (1, 1, W), y (1, H, 1), in (−1, 1)


def _object_coordinates(x0, y0, scale, angle) -> tuple[Tensor, Tensor]:
    """Pixel positions (N, H, W) in the object's frame, where shapes fill about [−1, 1]²."""
    x, y = _grid()
    dx, dy = (x - x0) / scale, (y - y0) / scale
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * dx + sin * dy, cos * dy - sin * dx


def _inside_shape(shape: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """1 where a pixel belongs to the image's shape, else 0: float (N, H, W)."""
    radius, square = torch.hypot(u, v), torch.maximum(u.abs(), v.abs())
    theta = torch.atan2(v, u)
    masks = (
        radius < 0.9,  # disc
        square < 0.8,  # square
        (v < 0.75) & (v > 2 * u.abs() - 0.95),  # triangle
        (radius < 0.95) & (radius > 0.55),  # ring
        (square < 0.85) & (square > 0.5),  # frame
        (torch.minimum(u.abs(), v.abs()) < 0.28) & (square < 0.95),  # cross
        (u.abs() + v.abs()) < 1.05,  # diamond
        radius < 0.62 + 0.33 * torch.cos(5 * theta),  # five-petalled star
        (radius < 0.95) & (torch.hypot(u - 0.45, v) > 0.75),  # crescent
        (v.abs() < 0.8) & (u.abs() < 0.25 + 0.55 * v.abs()),  # hourglass
    )
    # One shape at a time: (N, 10, H, W) at once would be ten times the data set in float.
    inside = torch.zeros_like(u)
    for index, mask in enumerate(masks):
        inside = torch.where((shape == index)[:, None, None], mask.to(u.dtype), inside)
    return inside


def _texture(texture: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Opacity of the shape's surface, 0.15 or 1, in one of ten patterns: float (N, H, W)."""
    k = 2 * math.pi
    masks = (
        torch.ones_like(u, dtype=torch.bool),
        torch.sin(1.5 * k * u) > 0,
        torch.sin(1.5 * k * v) > 0,
        torch.sin(1.1 * k * (u + v)) > 0,
        torch.sin(1.1 * k * (u - v)) > 0,
        torch.sin(1.2 * k * u) * torch.sin(1.2 * k * v) > 0,
        torch.sin(1.7 * k * torch.hypot(u, v)) > 0,
        torch.cos(1.2 * k * u) * torch.cos(1.2 * k * v) > 0.25,
        u > 0,
        v > 0,
    )
    opacity = torch.ones_like(u)
    for index, mask in enumerate(masks):
        value = 0.15 + 0.85 * mask.to(u.dtype)
        opacity = torch.where((texture == index)[:, None, None], value, opacity)
    return opacity


def _blend(first: Tensor, second: Tensor, angle: Tensor) -> Tensor:
    """A linear colour gradient between two colours (N, 3), in direction ``angle``: (N, 3, H, W)."""
    x, y = _grid()
    along = 0.5 + 0.35 * (torch.cos(angle) * x + torch.sin(angle) * y)
    return torch.lerp(first[:, :, None, None], second[:, :, None, None], along[:, None])


def _blob(x0: Tensor, y0: Tensor, radius: Tensor) -> Tensor:
    x, y = _grid()
    return (torch.hypot(x - x0, y - y0) < radius).float()
