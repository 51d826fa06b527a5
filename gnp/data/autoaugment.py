"""AutoAugment (Cubuk et al., arXiv 1805.09501) of all images of an epoch at once, on their device.

A sub-policy has two operations, each with a probability and a magnitude that are fixed; an image
draws its sub-policy, whether each operation is applied, and its sign. So there are few different
(operation, argument) pairs, and all images of an epoch that drew the same pair are transformed by
one call of torchvision's function. Batch by batch the groups would be a few images each: 50 small
calls a step, and the device would have to tell the host the groups' sizes at every step. By epoch
it tells them once, for one more uint8 copy of the training images (CIFAR: 150 MB).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gnp.data.mixing import box_mask
from gnp.data.policies import POLICIES

CHUNK = 512  # images a call: bounds the memory of float copies, and fits a processor's cache
SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCING = ("Brightness", "Color", "Contrast", "Sharpness")


@dataclass(frozen=True)
class Draws:
    """What N images drew, on one device."""

    sub_policy: Tensor  # int64 (N,)
    uniform: Tensor  # float (N, 2): an operation is applied where this is below its probability
    negative: Tensor  # bool (N, 2): whether an operation with a sign has a negative one
    centre: Tensor  # int64 (N, 2): row and column of the policies' own Cutout


@dataclass(frozen=True)
class AutoAugment:
    """One policy with its magnitudes; call it with images and a generator.

    Args:
        policy: "cifar10" has the 25 sub-policies of the AutoAugment paper's table as torchvision
            has them, with torchvision's magnitudes. "cifar10_95" has the 95 of the GNP authors'
            code (theirs from the SAM authors'), with that code's magnitudes and Contrast.
        translate: the unit of lengths. "cifar": translation by up to 150/331 of the image's side,
            14 pixels of 32 (torchvision), and for the Cutout among the 95 a square of up to 20
            pixels (the AutoAugment authors' CIFAR code). "imagenet": 250 and 200 pixels whatever
            the image's size (the GNP authors' code), so that at 32 pixels each translation, and
            nearly each Cutout, leaves nothing but grey: 12.0 % of the images.
        fill: grey level, 0 to 255, of pixels from outside the image and of Cutout.

    Where an operation interpolates or rounds, torchvision's functions may differ from those in
    TensorFlow by a grey level, and a sheared or rotated edge by a pixel.
    """

    policy: str = "cifar10"
    translate: str = "cifar"
    fill: int = 128

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 (N, 3, H, W) → a new tensor of the same shape."""
        return self.apply(images, self.draw(images, generator))

    def draw(self, images: Tensor, generator: torch.Generator) -> Draws:
        n, (height, width), device = len(images), images.shape[-2:], images.device
        policies = len(POLICIES[self.policy])
        rows, columns = (
            torch.randint(size, (n,), generator=generator, device=device)
            for size in (height, width)
        )
        return Draws(
            sub_policy=torch.randint(policies, (n,), generator=generator, device=device),
            uniform=torch.rand(n, 2, generator=generator, device=device),
            negative=torch.rand(n, 2, generator=generator, device=device) < 0.5,
            centre=torch.stack([rows, columns], dim=1),
        )

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        pairs, codes, probabilities = self._codes(images.shape[-1])
        codes, probabilities = codes.to(images.device), probabilities.to(images.device)
        position = torch.arange(2, device=images.device)
        # (N, 2): which pair is the image's first and second operation; len(pairs) is none.
        code = codes[draws.sub_policy[:, None], position, draws.negative.long()]
        applied = draws.uniform < probabilities[draws.sub_policy]
        code = torch.where(applied, code, len(pairs))
        # (2, N): by position. (bincount, which seems simpler, reads the largest code on the host.)
        codes_in_order, by_code = code.T.contiguous().sort(dim=1, stable=True)
        kinds = torch.arange(len(pairs) + 1, device=images.device).repeat(2, 1)
        ends = torch.searchsorted(codes_in_order, kinds, right=True)
        counts = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))
        out = images.clone()
        for order, sizes in zip(by_code, counts.tolist(), strict=True):
            for pair, group in zip(pairs, order.split(sizes), strict=False):  # the last has none
                for start in range(0, len(group), CHUNK):
                    chosen = group[start : start + CHUNK]
                    out[chosen] = self.transform(out[chosen], *pair, draws.centre[chosen])
        return out

    def transform(
        self, images: Tensor, operation: str, argument: float, centre: Tensor | None = None
    ) -> Tensor:
        """One operation on all of the images, uint8 (N, 3, H, W).

        Args:
            operation: its name in the policies.
            argument: see ``argument``.
            centre: int64 (N, 2), of the squares of Cutout.
        """
        if operation in ("AutoContrast", "Equalize", "Invert"):
            return getattr(F, operation.lower())(images)
        if operation == "Posterize":
            return F.posterize(images, argument)
        if operation == "Solarize":
            return F.solarize(images, argument)
        if operation == "Brightness":
            return F.adjust_brightness(images, argument)
        if operation == "Color":
            return F.adjust_saturation(images, argument)
        if operation == "Contrast":
            if self.policy == "cifar10_95":
                return contrast_from_black(images, argument)
            return F.adjust_contrast(images, argument)
        if operation == "Sharpness":
            return F.adjust_sharpness(images, argument)
        if operation in ("TranslateX", "TranslateY"):
            return translate(images, argument, -1 if operation == "TranslateX" else -2, self.fill)
        if operation == "Cutout":
            rows, columns = ((c - argument, c + argument) for c in centre.unbind(1))
            return images.masked_fill(box_mask(rows, columns, *images.shape[-2:]), self.fill)
        fill = [float(self.fill)] * 3
        if operation == "Rotate":
            return F.rotate(images, argument, InterpolationMode.NEAREST, fill=fill)
        assert operation in ("ShearX", "ShearY"), operation
        degrees = math.degrees(math.atan(argument))
        return F.affine(
            images,
            angle=0.0,
            translate=[0, 0],
            scale=1.0,
            shear=[degrees, 0.0] if operation == "ShearX" else [0.0, degrees],
            fill=fill,
            center=[0.0, 0.0],
        )

    def argument(self, operation: str, level: int | None, negative: bool, side: int) -> float:
        """A level, 0 to 9, as what the operation takes.

        That is: the slope of a shear; pixels of a translation and half the side of a Cutout;
        degrees of a rotation; the factor of an enhancement, 1 for none; Posterize's bits;
        Solarize's threshold; 0 for an operation without a level.
        """
        if level is None:
            return 0.0
        torchvisions = self.policy == "cifar10"
        strength = level / (9 if torchvisions else 10)
        if operation in ENHANCING:
            if torchvisions:
                return 1 + 0.9 * strength * (-1 if negative else 1)
            return 0.1 + 1.8 * strength
        if operation in SIGNED:
            translation = 150 / 331 * side if self.translate == "cifar" else 250
            most = {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30}.get(operation, translation)
            argument = strength * most * (-1 if negative else 1)
            return int(argument) if operation.startswith("Translate") else argument
        if operation == "Posterize":
            return 8 - round(4 * strength) if torchvisions else int(4 * strength)
        if operation == "Solarize":
            return 255 - 255 * strength if torchvisions else int(256 * strength)
        assert operation == "Cutout", operation
        return int(strength * (20 if self.translate == "cifar" else 200)) // 2

    def _codes(self, side: int) -> tuple[list[tuple[str, float]], Tensor, Tensor]:
        """The policy's distinct (operation, argument) pairs; int64 (sub-policies, 2, 2), which of
        them an image has by sub-policy, position and sign; float (sub-policies, 2), with which
        probability."""
        policy = POLICIES[self.policy]
        pairs: dict[tuple[str, float], int] = {}
        codes = [
            [
                [
                    pairs.setdefault((name, self.argument(name, level, sign, side)), len(pairs))
                    for sign in (False, True)
                ]
                for name, _, level in sub_policy
            ]
            for sub_policy in policy
        ]
        probabilities = [[probability for _, probability, _ in pair] for pair in policy]
        return list(pairs), torch.tensor(codes), torch.tensor(probabilities)


def translate(images: Tensor, pixels: int, dim: int, fill: int) -> Tensor:
    """Move by whole pixels along ``dim`` (−1: to the right, −2: down), a copy instead of the
    interpolation that torchvision's affine would make."""
    out = torch.full_like(images, fill)
    length = images.shape[dim] - abs(pixels)
    if length > 0:
        target, source = max(pixels, 0), max(-pixels, 0)
        out.narrow(dim, target, length).copy_(images.narrow(dim, source, length))
    return out


def contrast_from_black(images: Tensor, factor: float) -> Tensor:
    """The Contrast of the GNP authors' code: between a constant grey and the image.

    The constant is meant to be the image's mean grey, but is its number of pixels / 256: 4 of 255
    at 32×32, whatever the image.
    """
    grey = min(images.shape[-1] * images.shape[-2] / 256, 255.0)
    return (grey + factor * (images.float() - grey)).clamp_(0, 255).to(torch.uint8)
