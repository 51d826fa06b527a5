"""Augmentation of a whole batch on its device, every image with its own draw.

Flip and crop are one gather: for each image the source pixel of every target pixel is computed,
so neither a padded nor a flipped copy is made. Random numbers come from the generator that is
passed in, never from torch's default one: what the network draws (dropout) and what the data
draw do not disturb each other.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

PADDING_MODES = ("reflect", "zeros")
CUTOUT_SCOPES = ("image", "batch")


@dataclass(frozen=True)
class Augmentation:
    """Flip, pad and crop, normalise, cut out, in this order (the official code's).

    Args:
        flip: mirror each image with probability 1/2.
        crop_padding: pad by this many pixels on each side and crop back at a random place;
            0 does not crop.
        padding_mode: "reflect" (the official code's) or "zeros" (black).
        cutout: side in pixels of the square that is set to the mean colour; 0 for none. Its
            centre is uniform over the image and it is clipped at the border (DeVries and Taylor,
            arXiv 1708.04552).
        cutout_scope: "image" draws a square for each image, "batch" one for all (the official
            code's).

    Raises:
        ValueError: negative sizes, or a name that is not one of the above.
    """

    flip: bool = False
    crop_padding: int = 0
    padding_mode: str = "reflect"
    cutout: int = 0
    cutout_scope: str = "image"

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be ≥ 0 pixels, not {getattr(self, name)}")
        for name, names in (("padding_mode", PADDING_MODES), ("cutout_scope", CUTOUT_SCOPES)):
            if getattr(self, name) not in names:
                raise ValueError(f"{name} must be one of {names}, not {getattr(self, name)!r}")

    def geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Flip and crop: uint8 or float (N, C, H, W) → the same shape and dtype."""
        if not self.flip and not self.crop_padding:
            return images
        n, pad, device = len(images), self.crop_padding, images.device
        flips = torch.zeros(n, dtype=torch.bool, device=device)
        offsets = torch.zeros(2, n, dtype=torch.int64, device=device)
        if self.flip:
            flips = torch.rand(n, generator=generator, device=device) < 0.5
        if pad:
            offsets = torch.randint(-pad, pad + 1, (2, n), generator=generator, device=device)
        return flip_and_crop(images, flips, offsets, self.padding_mode)

    def erase(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Cutout on normalised images, where 0 is the mean colour: float (N, C, H, W)."""
        if not self.cutout:
            return images
        n, _, height, width = images.shape
        draws = n if self.cutout_scope == "image" else 1
        device = images.device
        rows = torch.randint(height, (draws,), generator=generator, device=device)
        columns = torch.randint(width, (draws,), generator=generator, device=device)
        return erase_squares(images, rows, columns, self.cutout)


def flip_and_crop(images: Tensor, flips: Tensor, offsets: Tensor, padding_mode: str) -> Tensor:
    """Mirror, pad and crop.

    Args:
        images: (N, C, H, W).
        flips: bool (N,), whether to mirror; done before padding.
        offsets: int64 (2, N), the crop's row and column offset; 0 is the image itself.
        padding_mode: what lies outside: "reflect" mirrors about the border pixel, "zeros" is 0.
            Reflection needs offsets smaller than the image.
    """
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) + offsets[0, :, None]  # (N, H)
    columns = torch.arange(width, device=images.device) + offsets[1, :, None]  # (N, W)
    if padding_mode == "zeros":
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
            :, None, :
        ]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    else:
        rows, columns = _reflect(rows, height), _reflect(columns, width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).reshape(n, 1, height * width)
    flat = images.reshape(n, channels, height * width)
    out = flat.gather(2, source.expand(n, channels, height * width)).view_as(images)
    return out * inside[:, None] if padding_mode == "zeros" else out


def _reflect(index: Tensor, size: int) -> Tensor:
    """… 2 1 | 0 1 2 … size−1 | size−2 …: mirrored about the border pixel, which is not doubled."""
    index = index.abs()
    return torch.where(index > size - 1, 2 * (size - 1) - index, index)


def erase_squares(images: Tensor, rows: Tensor, columns: Tensor, size: int) -> Tensor:
    """Set a square to 0, clipped at the border.

    Args:
        images: float (N, C, H, W), normalised.
        rows, columns: int64 (N,) or (1,), the squares' centres; a square of even size reaches
            one pixel further up and left than down and right.
        size: side in pixels.
    """
    height, width = images.shape[-2:]
    top, left = rows[:, None] - size // 2, columns[:, None] - size // 2
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    in_rows, in_columns = (y >= top) & (y < top + size), (x >= left) & (x < left + size)
    square = in_rows[:, None, :, None] & in_columns[:, None, None, :]  # (N or 1, 1, H, W)
    return images.masked_fill(square, 0)
