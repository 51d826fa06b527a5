"""Batch norm over one value a channel is not defined: found out before training, not at an epoch's
last step."""

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn

from gnp.data import ImageData
from gnp.settings import Config, ConfigError


def check_passes_of_one_image(config: Config, model: nn.Module, data: ImageData) -> None:
    """Where a pass of training has one image, the network must be able to take it.

    Networks without batch norm can, and those whose maps have more than one pixel where they
    normalise.

    Args:
        model: on any device; it is left as it is.

    Raises:
        ConfigError: it cannot; says which setting leads to such a pass.
    """
    for cause in _causes(config, len(data.train)):
        if _refuses_one_image(model, data.train.images.shape[1:]):
            raise ConfigError(
                f"the network has batch norm, which cannot train on one image: {cause}"
            )


def _causes(config: Config, images: int) -> Iterator[str]:
    """Of each kind of pass over one image. Processes whose images climb together normalise
    together, too, so their number does not matter."""
    training, every = config.training, config.optimizer.reference_every
    size, last = training.batch_size, images % training.batch_size
    if last and not training.drop_last and math.ceil(last / every) == 1:
        yield (
            f"training.batch_size={size} leaves a last batch of {last} of {images} images"
            + (", and optimizer.reference_fraction takes 1 of them" if last > 1 else "")
            + "; set training.drop_last=true or another training.batch_size"
        )
    piece = training.sharpness_batch or size
    if piece == 1:
        name = "batch_size" if size == 1 else "sharpness_batch"
        yield f"set training.{name} to more than 1"
    elif math.ceil(piece / every) == 1:
        yield f"optimizer.reference_fraction=1/{every} takes 1 of {piece} images; set a larger one"


def _refuses_one_image(model: nn.Module, shape: torch.Size) -> bool:
    try:
        # On the meta device nothing is computed, but shapes are checked.
        model = copy.deepcopy(model).to("meta").train()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(torch.empty(1, *shape, device="meta"))
    except ValueError as error:
        return "more than 1 value per channel" in str(error)
    except Exception:  # needs values: what it says of one image is seen when it gets one
        return False
    return False
