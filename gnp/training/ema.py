"""What a run evaluates: the weights as they are, or a moving average of them."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from gnp.optim import GNP, average_norm_statistics
from gnp.settings import Config, ConfigError


class Evaluated(Protocol):
    """The network that evaluations are of."""

    network: nn.Module

    def after_step(self) -> None: ...

    def average_statistics(self) -> None:
        """Those of the network's own, over the processes."""

    def state_dict(self) -> dict[str, Any]:
        """Its entries in a checkpoint."""

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None: ...


class LastWeights:
    """Args:
    network: the one that is trained.
    """

    def __init__(self, network: nn.Module):
        self.network = network

    def after_step(self) -> None:
        pass

    def average_statistics(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        pass


class MovingAverage:
    """θ̄ ← decay · θ̄ + (1 − decay) · θ after each step, from the initial weights on, without a
    warm-up: timm's ``ModelEmaV3``. (torch's ``AveragedModel`` asks the device at each step.)

    Buffers of floating point, such as running statistics, are averaged in the same way; others are
    copied. So nothing has to be estimated anew before an evaluation.

    Args:
        model: the network that is trained, itself.
        compiled: what makes the average's network ready to be called.
    """

    def __init__(self, model: nn.Module, decay: float, compiled: Callable[[nn.Module], nn.Module]):
        from timm.utils.model_ema import ModelEmaV3  # a second that most runs need not wait

        self._model, self._average = model, ModelEmaV3(model, decay)
        self.network = compiled(self._average.module)

    def after_step(self) -> None:
        self._average.update(self._model)

    def average_statistics(self) -> None:
        # They are a linear function of the processes' own.
        average_norm_statistics(self._average.module)

    def state_dict(self) -> dict[str, Any]:
        return {"ema": self._average.module.state_dict()}

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        self._average.module.load_state_dict(checkpoint["ema"])


def evaluated_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the network that the evaluations of a checkpoint's run are of."""
    return checkpoint.get("ema", checkpoint["model"])


def evaluated_network(
    config: Config, model: nn.Module, forward: nn.Module, optimizer: GNP
) -> Evaluated:
    """Args:
        model: the network itself.
        forward: as training calls it.

    Raises:
        ConfigError: the base optimizer averages its weights itself, or weights are tied.
    """
    decay = config.training.ema
    if decay is None:
        return LastWeights(forward)
    if callable(getattr(optimizer.base, "eval", None)):
        raise ConfigError(
            f"training.ema={decay:g}: {type(optimizer.base).__name__} evaluates an average of its "
            f"own; set training.ema=null"
        )
    if len(list(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters())):
        raise ConfigError(
            f"training.ema={decay:g}: the network has weights under several names, which would be "
            f"averaged once for each; set training.ema=null"
        )
    backend = config.runtime.compile
    return MovingAverage(
        model, decay, lambda net: torch.compile(net, backend=backend) if backend else net
    )
