"""Any network of timm (https://github.com/huggingface/pytorch-image-models), by its name."""

import difflib
from typing import Any

import timm
from torch import nn


def timm_model(
    name: str,
    num_classes: int = 10,
    image_size: int = 32,
    pretrained: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """``timm.create_model`` for small images: ``timm_model("resnet18", num_classes=100)``.

    The network is timm's as it is, so most convolutional ones see a CIFAR image at 1/32 of its
    resolution in the end; the networks of this package are made for 32×32.

    Args:
        name: a name from ``timm.list_models()``, with a tag of its weights or without:
            ``"resnet18"``, ``"resnet18.a1_in1k"``.
        num_classes: number of logits.
        image_size: side of an image in pixels; used by networks that are built for one size, such
            as vision transformers.
        pretrained: start from timm's published weights, which it downloads.
        kwargs: the network's own arguments: ``patch_size=4``, ``drop_path_rate=0.1``, …

    Raises:
        ValueError: timm has no network of that name; the message lists similar ones.

    Shape: images (N, 3, image_size, image_size) → logits (N, num_classes).
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists them"
        raise ValueError(f"timm {timm.__version__} has no model {name!r}; {hint}")
    defaults = timm.models.get_pretrained_cfg(name)
    if defaults is not None and defaults.fixed_input_size:
        kwargs.setdefault("img_size", image_size)
    return timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **kwargs)
