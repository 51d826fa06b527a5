"""A random box of each image, turned and resized to the image's size: batched, on the device.

Boxes are drawn as TensorFlow's ``sample_distorted_bounding_box`` draws them, images turned with the
nearest pixel and resized bilinearly with half-pixel centres (``tf.image.resize`` without
anti-aliasing, which is ``torch.nn.functional.interpolate``). Turning and resizing are one gather of
four pixels for each target pixel: neither a turned box nor a resized one is made.
"""

import math

import torch
from torch import Tensor

TRIES = (
    8  # proportions drawn for each image: the first whose box fits is taken, else the whole image
)


def draw_boxes(
    count: int, size: tuple[int, int], least_area: float, aspect: float, generator: torch.Generator
) -> Tensor:
    """Boxes of at least that share of the image's area: int64 (4, count): top, left, height, width.

    The proportion width/height is uniform from 1/aspect to aspect, the height uniform over the
    integers whose box has between ``least_area`` and all of the area and fits the width.

    Args:
        size: height and width of the images.
    """
    device = generator.device
    proportion = torch.empty(TRIES, count, device=device).uniform_(
        1 / aspect, aspect, generator=generator
    )
    share = torch.rand(TRIES, count, generator=generator, device=device)
    height, width, fits = box_sizes(proportion, share, size, least_area)
    first = fits.int().argmax(0, keepdim=True)  # the first that fits, or 0
    fits = fits.gather(0, first)[0]
    height = torch.where(fits, height.gather(0, first)[0], size[0])
    width = torch.where(fits, width.gather(0, first)[0], size[1])
    places = torch.rand(2, count, generator=generator, device=device)
    # Below the last possible place: as TensorFlow, whose Uniform(n) is below n.
    top, left = (
        (p * (s - n)).long() for p, s, n in zip(places, size, (height, width), strict=True)
    )
    return torch.stack([top, left, height, width])


def box_sizes(
    proportion: Tensor, share: Tensor, size: tuple[int, int], least_area: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Heights and widths (int64) of boxes with that width/height, and whether each fits.

    Args:
        proportion: float.
        share: float from 0 to below 1, which of the possible heights is taken.
    """
    most = size[0] * size[1]
    least = least_area * most
    low = (least / proportion).sqrt().round()
    high = (most / proportion).sqrt().round()
    too_wide = (high * proportion).round() > size[1]
    high = torch.where(too_wide, ((size[1] + 0.5 - 1e-7) / proportion).floor(), high)
    high = torch.where((high * proportion).round() > size[1], high - 1, high)
    high = high.clamp(max=size[0])
    low = low.minimum(high)
    height = low + (share * (high - low + 1)).floor()
    # A box that rounding has made too small or too large is mended by a row.
    height = height + (height * (height * proportion).round() < least).float()
    height = height - (height * (height * proportion).round() > most).float()
    width = (height * proportion).round()
    area = height * width
    fits = (area >= least) & (area <= most) & (width <= size[1]) & (height <= size[0])
    return height.long(), width.long(), fits & (width > 0) & (height > 0)


def whole_images(count: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Boxes that are all of the image: int64 (4, count), as ``draw_boxes``."""
    boxes = torch.zeros(4, count, dtype=torch.int64, device=device)
    boxes[2], boxes[3] = size  # filled on the device: nothing is copied there
    return boxes


def turned_boxes(images: Tensor, boxes: Tensor, angles: Tensor) -> Tensor:
    """Each image's box, turned about its middle, at the image's size.

    Args:
        images: uint8 or float (N, C, H, W).
        boxes: int64 (4, N): top, left, height, width, inside of the image.
        angles: float (N,), radians, counterclockwise. What lies outside of the box is black.

    Returns:
        float32 (N, C, H, W).
    """
    n, channels, height, width = images.shape
    top, left, box_height, box_width = (side[:, None, None] for side in boxes)
    above, below, down = _neighbours(height, boxes[2], images.device)
    before, after, right = _neighbours(width, boxes[3], images.device)
    flat = images.reshape(n, channels, height * width)

    def pixels(rows: Tensor, columns: Tensor) -> Tensor:
        """Of the turned box at integer places: (N, H), (N, W) → float32 (N, C, H, W)."""
        y, x = rows[:, :, None], columns[:, None, :]
        y, x = _turned(y, x, box_height, box_width, angles[:, None, None])
        inside = (y >= 0) & (y < box_height) & (x >= 0) & (x < box_width)
        source = (top + y) * width + left + x
        source = torch.where(inside, source, 0).reshape(n, 1, height * width)
        found = flat.gather(2, source.expand(n, channels, height * width)).float()
        return found.view(n, channels, height, width) * inside[:, None]

    down, right = down[:, None, :, None], right[:, None, None, :]
    upper = torch.lerp(pixels(above, before), pixels(above, after), right)
    lower = torch.lerp(pixels(below, before), pixels(below, after), right)
    return torch.lerp(upper, lower, down)


def _neighbours(size: int, boxes: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each target pixel of a side the two source pixels, int64 (N, size), and how far the
    place between them is from the first, float (N, size)."""
    target = torch.arange(size, device=device, dtype=torch.float32) + 0.5
    place = (target * (boxes[:, None] / size) - 0.5).clamp(min=0)
    first = place.floor()
    last = boxes[:, None] - 1
    return first.long(), (first.long() + 1).minimum(last), place - first


def _turned(
    y: Tensor, x: Tensor, height: Tensor, width: Tensor, angle: Tensor
) -> tuple[Tensor, Tensor]:
    """Where in the box the pixel (y, x) of the turned box comes from: the nearest, int64."""
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    cos, sin = angle.cos(), angle.sin()
    dy, dx = y - middle_y, x - middle_x
    source_y, source_x = sin * dx + cos * dy + middle_y, cos * dx - sin * dy + middle_x
    return (source_y + 0.5).floor().long(), (source_x + 0.5).floor().long()


def draw_angles(count: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Uniform from −degrees to degrees, in radians: float32 (count,)."""
    most = math.radians(degrees)
    return torch.empty(count, device=generator.device).uniform_(-most, most, generator=generator)
