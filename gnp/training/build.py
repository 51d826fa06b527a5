"""The parts of a run, each made from the config by one function."""

import typing
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from torch import nn

from gnp.data import Augmentation, ImageData, load_dataset
from gnp.optim import GNP, PenaltySchedule, late_penalty, penalty_warmup
from gnp.settings import (
    Config,
    ConfigError,
    OptimizerSettings,
    batches_of,
    epochs_before_penalty,
)
from gnp.training.loop import Autocast, Schedules, cosine
from gnp.training.seeds import stream_seed


def load_data(config: Config, device: torch.device) -> ImageData:
    return load_dataset(config.dataset, device)


def build_augmentation(config: Config) -> Augmentation:
    return Augmentation(config.augmentation)


def build_model(config: Config) -> nn.Module:
    """Raises:
    ConfigError: ``model`` is no network, or none for these images and classes.
    """
    check_targets("model", config.model, nn.Module)
    try:
        model = instantiate(config.model)
    except Exception as error:  # Hydra wraps whatever the network's constructor raises
        raise ConfigError(_in_one_line("model", error)) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model: {config.model['_target_']} made no torch.nn.Module")
    check_network(model, config.dataset.num_classes)
    return model


def check_network(model: nn.Module, classes: int) -> None:
    """Two images through the network, which is left as it was.

    Raises:
        ConfigError: it fails, has nothing to train, or does not give ``classes`` numbers an image.
    """
    parameters = list(model.parameters())
    if not any(p.requires_grad for p in parameters):
        raise ConfigError("model: the network has no parameters to train")
    modes = {module: module.training for module in model.modules()}
    model.eval()  # no statistics change
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = model(torch.zeros(2, 3, 32, 32, device=parameters[0].device))
    except Exception as error:
        raise ConfigError(_in_one_line("model: it does not take 32×32 images", error)) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, classes):
        raise ConfigError(
            f"model: the network makes {shape} of 2 images; expected (2, {classes}), a number for "
            f"each of dataset.num_classes={classes}"
        )


def check_targets(section: str, node: Any, kind: type) -> None:
    """Whether all that ``_target_`` names in a section makes a ``kind``: nothing else is called.

    Raises:
        ConfigError: names what does not.
    """
    if isinstance(node, Mapping):
        if "_target_" in node and not _makes(node["_target_"], kind):
            raise ConfigError(
                f"{section}._target_={node['_target_']}: expected a class derived from "
                f"torch's {kind.__name__}, or a function with that as its annotated result"
            )
        for key, value in node.items():
            check_targets(f"{section}.{key}", value, kind)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            check_targets(f"{section}[{number}]", value, kind)


def _makes(target: str, kind: type) -> bool:
    try:
        made = get_object(target)
        if not isinstance(made, type):
            made = typing.get_type_hints(made).get("return")
    except Exception:  # it cannot be imported, or its annotations cannot be read
        return False
    return isinstance(made, type) and issubclass(made, kind)


def _in_one_line(what: str, error: Exception) -> str:
    reason = str(error.__cause__ or error).strip()
    return f"{what}: {reason.splitlines()[0] if reason else type(error).__name__}"


# Of a base's arguments.
SAID_ELSEWHERE = {
    "lr": "set optimizer.lr",
    "weight_decay": "set optimizer.weight_decay",
    "params": "its parameters are the network's",
}


def build_optimizer(config: Config, model: nn.Module, device: torch.device) -> GNP:
    """Every method is a GNP: SAM has α = 1, the base optimizer α = 0."""
    settings = config.optimizer
    check_targets("optimizer.base", settings.base, torch.optim.Optimizer)
    for name, instead in SAID_ELSEWHERE.items():
        if name in settings.base:
            raise ConfigError(f"optimizer.base.{name} has no effect; {instead}")
    groups = parameter_groups(settings, model)
    try:
        base = instantiate(settings.base, groups, lr=settings.lr, weight_decay=0.0, _convert_="all")
    except Exception as error:  # Hydra wraps whatever the optimizer's constructor raises
        raise ConfigError(_in_one_line("optimizer.base", error)) from error
    scaler = torch.amp.GradScaler(device.type) if config.training.precision == "fp16" else None
    try:
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
            climb_only_norms=settings.climb_only_norms,
            climb_along=settings.climb_along,
            probability=settings.probability,
            seed=stream_seed(config.seed, "penalty"),
            sync_climb=config.training.sharpness_batch is None,
        )
    except (TypeError, ValueError) as error:  # it does not go with this network or base
        raise ConfigError(_in_one_line("optimizer", error)) from error


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
    steps = batches_of(images, training.batch_size, training.drop_last)
    if steps == 0:
        raise ConfigError(
            f"training.batch_size={training.batch_size} is larger than the training set of "
            f"{images} images"
        )
    return steps


def build_schedules(config: Config, optimizer: GNP, steps: int) -> Schedules:
    """The learning rate and the penalty from step to step; an epoch has ``steps``."""
    training, settings = config.training, config.optimizer
    before = epochs_before_penalty(settings.penalty_start, training.epochs) * steps
    every = steps if training.schedule_every == "epoch" else 1
    return Schedules(
        learning_rate=torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            cosine(training.epochs * steps, every, training.lr_warmup_epochs * steps),
        ),
        penalty=PenaltySchedule(
            optimizer,
            **penalty_warmup(settings.penalty_warmup, settings.penalty_warmup_epochs * steps),
            **late_penalty(before),
        ),
    )


def build_autocast(precision: str, device: torch.device) -> Autocast:
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)
