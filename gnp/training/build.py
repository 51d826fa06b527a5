"""The parts of a run, each made from the config by one function."""

from contextlib import nullcontext
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from gnp.data import Augmentation, ImageData, load_dataset
from gnp.optim import GNP, PenaltySchedule, penalty_warmup
from gnp.settings import Config, ConfigError, OptimizerSettings
from gnp.training.loop import Autocast, Schedules, cosine


def load_data(config: Config, device: torch.device) -> ImageData:
    return load_dataset(config.dataset, device)


def build_augmentation(config: Config) -> Augmentation:
    return Augmentation(config.augmentation)


def build_model(config: Config) -> nn.Module:
    try:
        return instantiate(config.model)
    except Exception as error:  # Hydra wraps whatever the network's constructor raises
        raise ConfigError(f"model: {error.__cause__ or error}") from error


def build_optimizer(config: Config, model: nn.Module, device: torch.device) -> GNP:
    """Every method is a GNP: SAM has α = 1, the base optimizer α = 0."""
    settings = config.optimizer
    groups = parameter_groups(settings, model)
    try:
        base = instantiate(settings.base, groups, lr=settings.lr, weight_decay=0.0, _convert_="all")
    except Exception as error:  # Hydra wraps whatever the optimizer's constructor raises
        raise ConfigError(f"optimizer.base: {error.__cause__ or error}") from error
    scaler = torch.amp.GradScaler(device.type) if config.training.precision == "fp16" else None
    return GNP(
        base,
        r=settings.r,
        alpha=settings.alpha,
        model=model,
        max_grad_norm=config.training.max_grad_norm,
        grad_scaler=scaler,
        normalize_reference=settings.normalize_reference,
        epsilon=settings.epsilon,
        batch_statistics=settings.batch_statistics,
        replay_draws=settings.replay_draws,
        true_gradient=settings.true_gradient,
        adaptive=settings.adaptive,
        adaptive_eta=settings.adaptive_eta,
        direction_every=settings.direction_every,
        sync_climb=config.training.sharpness_batch is None,
    )


def parameter_groups(settings: OptimizerSettings, model: nn.Module) -> list[dict[str, Any]]:
    """What decays and, if that is not all, what does not. Decay in the loss is ``l2``, GNP's."""
    decay = "l2" if settings.weight_decay_in == "loss" else "weight_decay"
    parameters = list(model.parameters())
    if settings.decay_norms_and_biases:
        return [{"params": parameters, decay: settings.weight_decay}]
    # The usual rule: what has one dimension is a bias or a normalisation's scale.
    return [
        {"params": [p for p in parameters if p.ndim > 1], decay: settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], decay: 0.0},
    ]


def steps_per_epoch(config: Config, images: int) -> int:
    """Batches in a pass over so many training images.

    Raises:
        ConfigError: they do not fill one.
    """
    training = config.training
    whole, rest = divmod(images, training.batch_size)
    steps = whole if training.drop_last or not rest else whole + 1
    if steps == 0:
        raise ConfigError(
            f"training.batch_size={training.batch_size} is larger than the training set of "
            f"{images} images"
        )
    return steps


def build_schedules(config: Config, optimizer: GNP, steps: int) -> Schedules:
    """The learning rate and the penalty from step to step; an epoch has ``steps``."""
    training, settings = config.training, config.optimizer
    every = steps if training.schedule_every == "epoch" else 1
    return Schedules(
        learning_rate=torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            cosine(training.epochs * steps, every, training.lr_warmup_epochs * steps),
        ),
        penalty=PenaltySchedule(
            optimizer,
            **penalty_warmup(settings.penalty_warmup, settings.penalty_warmup_epochs * steps),
        ),
    )


def build_autocast(precision: str, device: torch.device) -> Autocast:
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)
