"""Augmentation of a whole batch on its device, every image with its own draw.

Flip and crop are one gather: for each image the source pixel of every target pixel is computed,
so neither a padded nor a flipped copy is made. Random numbers come from the generator that is
passed in, never from torch's default one: what the network draws (dropout) and what the data
draw do not disturb each other. A step that is off draws nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gnp.data.boxes import draw_angles, draw_boxes, turned_boxes, whole_images
from gnp.data.mixing import box_mask, cutmix, draw_weights, mix_labels, mixup
from gnp.settings import AugmentationSettings


@dataclass(frozen=True)
class Augmentation:
    """AutoAugment, flip, pad and crop, box and rotation, normalise, mix, cut out: the order of the
    official code.

    ``whole_epoch`` is AutoAugment, ``batch`` all that comes after it. What each setting does is
    said where it is defined. A square's centre is uniform over the image, and the square clipped at
    the border (DeVries and Taylor, arXiv 1708.04552). Where images are mixed, no batch is left as
    it is.
    """

    settings: AugmentationSettings

    def whole_epoch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What is done to all training images before their batches are made: AutoAugment.

        uint8 (N, 3, H, W) → the same shape and dtype; ``images`` itself if there is none.
        """
        chosen = self.settings
        if not chosen.autoaugment:
            return images
        # Here, because with torchvision it takes a second, which no other augmentation needs.
        from gnp.data.autoaugment import AutoAugment

        augment = AutoAugment(
            chosen.autoaugment_policy, chosen.autoaugment_translate, chosen.autoaugment_fill
        )
        return augment(images, generator)

    def batch(
        self,
        images: Tensor,
        labels: Tensor,
        normalise: Callable[[Tensor], Tensor],
        num_classes: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Flip, crop, normalise, mix and cut out one batch.

        Args:
            images: uint8 (B, 3, H, W).
            labels: int64 (B,).
            normalise: uint8 images → float images.

        Returns:
            Float images (B, 3, H, W), and ``labels`` or with mixing float32 (B, num_classes).
        """
        images = normalise(self.geometry(images, generator))
        images, targets = self.mix(images, labels, num_classes, generator)
        return self.erase(images, generator), targets

    def geometry(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Flip, crop, box and rotation: uint8 or float (N, C, H, W) → the same shape; the same
        dtype, or float32 with a box or a rotation."""
        return self.box(self.flip_and_crop(images, generator), generator)

    def flip_and_crop(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flip, pad = self.settings.flip, self.settings.crop_padding
        if not flip and not pad:
            return images
        n, device = len(images), images.device
        flips = torch.zeros(n, dtype=torch.bool, device=device)
        offsets = torch.zeros(2, n, dtype=torch.int64, device=device)
        if flip:
            flips = torch.rand(n, generator=generator, device=device) < 0.5
        if pad:
            offsets = torch.randint(-pad, pad + 1, (2, n), generator=generator, device=device)
        return flip_and_crop(images, flips, offsets, self.settings.padding_mode)

    def box(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random box of each image, turned, at the image's size."""
        chosen = self.settings
        if chosen.box_area == 1 and not chosen.rotation:
            return images
        n, _, height, width = images.shape
        if chosen.box_area == 1:
            boxes = whole_images(n, (height, width), images.device)
        else:
            size = (height, width)
            boxes = draw_boxes(n, size, chosen.box_area, chosen.box_aspect, generator)
        angles = draw_angles(n, chosen.rotation, generator)
        return turned_boxes(images, boxes, angles)

    def mix(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixup or CutMix: images (N, C, H, W), labels int64 (N,) → images, float32 (N, classes).

        Without mixing, both as they are.
        """
        chosen = self.settings
        if chosen.mixing is None:
            return images, labels
        (n, _, height, width), device = images.shape, images.device
        draws = n if chosen.mixing_scope == "image" else 1
        weights = draw_weights(draws, chosen.mixing_alpha, chosen.mixing_dominant, generator)
        if chosen.mixing_partner == "permutation":
            partner = torch.randperm(n, generator=generator, device=device)
        else:
            partner = torch.arange(n - 1, -1, -1, device=device)
        if chosen.mixing == "mixup":
            images = mixup(images, partner, weights)
        else:
            rows = torch.randint(height, (draws,), generator=generator, device=device)
            columns = torch.randint(width, (draws,), generator=generator, device=device)
            images, weights = cutmix(images, partner, weights, rows, columns)
        return images, mix_labels(labels, partner, weights, num_classes)

    def erase(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Cutout on normalised images, where 0 is the mean colour: float (N, C, H, W)."""
        size = self.settings.cutout
        if not size:
            return images
        n, _, height, width = images.shape
        draws = n if self.settings.cutout_scope == "image" else 1
        device = images.device
        rows = torch.randint(height, (draws,), generator=generator, device=device)
        columns = torch.randint(width, (draws,), generator=generator, device=device)
        return erase_squares(images, rows, columns, size)


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
    top, left = rows - size // 2, columns - size // 2
    square = box_mask((top, top + size), (left, left + size), *images.shape[-2:])
    return images.masked_fill(square, 0)  # square is (N or 1, 1, H, W)
