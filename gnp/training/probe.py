"""What GNP's two gradients are after an epoch, for any method: ``training.probe_every``.

On the first ``PROBED_BATCHES`` batches of an order of its own, augmented as in training, at the
weights θ as the epoch left them, with v = g1/‖g1‖:

    g1_norm          ‖g1‖, g1 = ∇L(θ)
    g2_norm          ‖g2‖, g2 = ∇L(θ + r v)
    g1_g2_cosine     of g1 and g2
    hv_norm          ‖g2 − g1‖/r, the difference that stands for ‖H v‖
    probe_r          r: the run's own, or ``RADIUS`` where it has none (the base optimizer)

each a mean over the batches. Decay is in none of them. The run does not notice: gradients are not
put into ``p.grad``, and weights, buffers, modes and random generators are afterwards what they
were, bit for bit. The device is waited for once, when all is measured.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gnp.data import Augmentation, ImageData, batches
from gnp.optim import RandomState, kept_buffers, true_gradients
from gnp.optim.update_rule import climb_scale
from gnp.settings import PROBED_BATCHES, Config, is_due
from gnp.training.loop import Autocast
from gnp.training.seeds import seed_network, stream_seed
from gnp.training.vectors import Vector, difference, dot, gradient, moved, norm, trained

RADIUS = 0.1  # the paper's r


class Probe(Protocol):
    def measure(self, epoch: int) -> dict[str, float]:
        """What goes into an epoch's metrics."""


class NoProbe:
    def measure(self, epoch: int) -> dict[str, float]:
        return {}


class GradientProbe:
    """Args:
    model: the network that is trained, itself: not DDP's, not the compiled one.
    scaler: of fp16's loss.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        data: ImageData,
        augmentation: Augmentation,
        autocast: Autocast,
        memory_format: torch.memory_format,
        scaler: torch.amp.GradScaler | None,
    ):
        self._config, self._model, self._data = config, model, data
        self._augmentation, self._autocast = augmentation, autocast
        self._memory_format, self._scaler = memory_format, scaler
        self._params = trained(model)
        self._device = self._params[0].device
        self._r = config.optimizer.r or RADIUS

    def measure(self, epoch: int) -> dict[str, float]:
        """In the epochs that are due. A number that is not finite (fp16) is left out."""
        training = self._config.training
        if not is_due(epoch, training.epochs, training.probe_every):
            return {}
        with unnoticed(self._model, self._device):
            seed_network(stream_seed(self._config.seed, "probe network", epoch))
            rows = [self._of_batch(*batch) for batch in self._batches(epoch)]
        values = torch.stack(rows).mean(0).tolist()
        names = ("g1_norm", "g2_norm", "g1_g2_cosine", "hv_norm")
        found = {k: v for k, v in zip(names, values, strict=True) if math.isfinite(v)}
        return {**found, "probe_r": self._r}

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator(self._device)
        generator.manual_seed(stream_seed(self._config.seed, "probe", epoch))
        return few_batches(
            self._config, self._data, self._augmentation, self._memory_format, generator
        )

    def _of_batch(self, images: Tensor, targets: Tensor) -> Tensor:
        """‖g1‖, ‖g2‖, their cosine, ‖g2 − g1‖/r: float64 (4,)."""
        draws = RandomState([self._device])
        g1 = self._gradient(images, targets)
        length = norm(g1)
        with moved(self._params, g1, climb_scale(length, self._r)):
            draws.put_back()
            g2 = self._gradient(images, targets)
        second = norm(g2)
        product = norm(difference(g2, g1)) / self._r
        return torch.stack([length, second, dot(g1, g2) / (length * second), product])

    def _gradient(self, images: Tensor, targets: Tensor) -> Vector:
        smoothing = self._config.training.label_smoothing
        with self._autocast():
            logits = self._model(images)
            loss = cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if self._scaler is None:
            return gradient(loss, self._params)
        scale = self._scaler.scale(torch.ones((), device=self._device))
        return [g / scale for g in gradient(loss * scale, self._params)]


def few_batches(
    config: Config,
    data: ImageData,
    augmentation: Augmentation,
    memory_format: torch.memory_format,
    generator: torch.Generator,
    count: int = PROBED_BATCHES,
) -> Iterator[tuple[Tensor, Tensor]]:
    """At most so many batches of the run's size, of images drawn and augmented as in training."""
    size = config.training.batch_size
    order = torch.randperm(len(data.train), generator=generator, device=data.train.labels.device)
    few = replace(data, train=data.train.take(order[: count * size]))
    drop_last = config.training.drop_last
    return batches(few, size, augmentation, generator, memory_format, drop_last)


@contextmanager
def unnoticed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the network is in training mode, and its shake layers give true gradients; afterwards
    modes, buffers and random generators are what they were."""
    state = RandomState([device])
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        stack.callback(state.put_back)
        stack.callback(_set_modes, modes)
        stack.enter_context(kept_buffers(model))
        stack.enter_context(true_gradients(model))
        model.train()
        yield


def _set_modes(modes: dict[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        module.training = mode


def build_probe(
    config: Config,
    model: nn.Module,
    data: ImageData,
    augmentation: Augmentation,
    autocast: Autocast,
    memory_format: torch.memory_format,
    scaler: torch.amp.GradScaler | None,
) -> Probe:
    if not config.training.probe_every:
        return NoProbe()
    return GradientProbe(config, model, data, augmentation, autocast, memory_format, scaler)
