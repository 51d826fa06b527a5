"""What a network computes and keeps, counted on the meta device: nothing is computed there.

A multiplication and an addition are two FLOPs; convolutions and matrix products are counted, as
``torch.utils.flop_counter`` does, and nothing else: at these sizes the rest is about 1 %.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from gnp.settings import Config
from gnp.training.build import build_model, build_optimizer

META = torch.device("meta")
IMAGES = 2  # batch norm refuses one value a channel; what is counted is in proportion to the images


def count(config: Config) -> dict[str, float]:
    """Of one image: ``forward``, and ``training``, a forward and a backward pass, in FLOPs;
    ``convolutions``, their part of the latter. ``network``: bytes of the network's state;
    ``checkpoint``: with the optimizer's. ``parameters``.

    Raises:
        ConfigError: as ``build_model`` and ``build_optimizer``.
    """
    with META:
        model = build_model(config).train()
        images = torch.empty(IMAGES, 3, 32, 32)
        labels = torch.empty(IMAGES, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            loss = cross_entropy(model(images).float(), labels)
            forward = counter.get_total_flops()
            loss.backward()
    training = counter.get_total_flops()
    by_operator = counter.get_flop_counts().get("Global", {})
    convolutions = sum(n for name, n in by_operator.items() if "convolution" in str(name))
    return {
        "forward": forward / IMAGES,
        "training": training / IMAGES,
        "convolutions": convolutions / training if training else 0.0,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "network": _bytes_of(model.state_dict()),
        "checkpoint": _bytes_of(model.state_dict()) + _bytes_of_optimizer(config, model),
    }


def _bytes_of_optimizer(config: Config, model: nn.Module) -> int:
    """What the base optimizer keeps after a step; GNP itself keeps nothing."""
    base = build_optimizer(config, model, META).base
    for group in base.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.empty_like(parameter)
    base.step()
    return _bytes_of(base.state_dict())


def _bytes_of(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(map(_bytes_of, state.values()))
    return sum(map(_bytes_of, state)) if isinstance(state, list | tuple) else 0
