"""The settings of an augmentation: what is done to a batch of training images."""

from typing import Literal

from gnp.settings.section import Section, setting
from gnp.settings.texts import FolderName


class AugmentationSettings(Section):
    name: FolderName = setting(help="its name in the run's identity")
    flip: bool = setting(False, "mirror each image with probability 1/2")
    crop_padding: int = setting(
        0,
        "pad each side and crop back at a random place; 0 does not crop",
        expected="from 0 to 31 pixels",
        ge=0,
        lt=32,
    )
    padding_mode: Literal["reflect", "zeros"] = setting(
        "reflect", "what lies outside: the image mirrored about its border pixel, or black"
    )
    box_area: float = setting(
        1.0,
        "take a random box of at least this share of the image, at the image's size; 1 takes all",
        gt=0,
        le=1,
    )
    box_aspect: float = setting(4 / 3, "the box's width/height is from 1/this to this", ge=1, le=4)
    rotation: float = setting(
        0.0, "turn the box by up to so many degrees either way; black outside", ge=0, le=180
    )
    cutout: int = setting(
        0, "side of the square that is set to the mean colour", expected="≥ 0 pixels", ge=0
    )
    cutout_scope: Literal["image", "batch"] = setting(
        "image", "a square for each image, or one for the batch"
    )
    autoaugment: bool = setting(False, "apply AutoAugment to each image first")
    autoaugment_policy: Literal["cifar10", "cifar10_95"] = setting(
        "cifar10", "the AutoAugment paper's 25 sub-policies, or the official code's 95"
    )
    autoaugment_translate: Literal["cifar", "imagenet"] = setting(
        "cifar", "the longest translation: 14 of 32 pixels, or 250 (which leaves nothing but grey)"
    )
    autoaugment_fill: int = setting(
        128,
        "of pixels from outside the image",
        expected="a grey level, 0 to 255",
        ge=0,
        le=255,
    )
    mixing: Literal["mixup", "cutmix"] | None = setting(
        None, "mix each image and its label with its partner's in the batch"
    )
    mixing_alpha: float = setting(
        1.0, "an image's weight is drawn from Beta(alpha, alpha)", ge=0.05, le=1000
    )
    mixing_scope: Literal["image", "batch"] = setting(
        "image", "a weight (and box) for each image, or one for the batch"
    )
    mixing_partner: Literal["permutation", "reversed"] = setting(
        "permutation", "draw the partners, or take the batch backwards"
    )
    mixing_dominant: bool = setting(False, "the weight is max(w, 1 − w)")
