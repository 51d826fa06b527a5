"""The shape of a run's config: every setting, its type, and the check against misspelt ones."""

import difflib
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError
from gnp.tracking.wandb_mirror import MODES

RECIPE = ("base", "official_weight_decay_in", "lr", "weight_decay")
RECIPE_OF_METHOD = {  # what configs/optimizer/<method>.yaml takes from recipe.<method>
    "sgd": ("lr", "weight_decay"),
    "adamw": ("lr", "weight_decay"),
    "sam": ("lr", "weight_decay", "r"),
    "gnp": ("lr", "weight_decay", "r", "alpha"),
}
PRECISIONS = ("fp32", "bf16", "fp16")
# Setting → the values it can have. Those that name something in gnp.optim or gnp.data are written
# out here, so that a table can check its runs without torch; a test compares the two.
CHOICES = {
    "training.precision": PRECISIONS,
    "training.train_metrics": ("first", "second"),
    "training.schedule_every": ("step", "epoch"),
    "optimizer.weight_decay_in": ("update", "loss"),
    "optimizer.batch_statistics": ("first", "both"),
    "optimizer.penalty_warmup": ("none", "zero", "r", "lambda"),
    "augmentation.padding_mode": ("reflect", "zeros"),
    "augmentation.cutout_scope": ("image", "batch"),
    "augmentation.autoaugment_policy": ("cifar10", "cifar10_95"),
    "augmentation.autoaugment_translate": ("cifar", "imagenet"),
    "augmentation.mixing": (None, "mixup", "cutmix"),
    "augmentation.mixing_scope": ("image", "batch"),
    "augmentation.mixing_partner": ("permutation", "reversed"),
    "wandb.mode": MODES,
}


class ConfigError(UserError, ValueError):
    """A setting that does not exist, or has a value it cannot have."""


@dataclass
class DatasetConfig:
    name: str = "???"
    source: str = "???"
    num_classes: int = 10
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    root: str = "data"
    download: bool = True
    train_per_class: int | None = None
    validation_per_class: int = 0
    subset_seed: int = 0
    synthetic_seed: int = 0
    synthetic_train_per_class: int = 200
    synthetic_test_per_class: int = 100


@dataclass
class AugmentationConfig:
    name: str = "???"
    flip: bool = False
    crop_padding: int = 0
    padding_mode: str = "reflect"
    cutout: int = 0
    cutout_scope: str = "image"
    autoaugment: bool = False
    autoaugment_policy: str = "cifar10"
    autoaugment_translate: str = "cifar"
    autoaugment_fill: int = 128
    mixing: str | None = None
    mixing_alpha: float = 1.0
    mixing_scope: str = "image"
    mixing_partner: str = "permutation"
    mixing_dominant: bool = False


@dataclass
class OptimizerConfig:
    name: str = "???"
    base: dict[str, Any] = field(default_factory=dict)
    lr: float = 0.1
    weight_decay: float = 0.0
    r: float = 0.0
    alpha: float = 0.0
    normalize_reference: bool = False
    weight_decay_in: str = "update"
    decay_norms_and_biases: bool = True
    epsilon: float = 0.0
    batch_statistics: str = "first"
    replay_draws: bool = True
    true_gradient: bool = False
    penalty_warmup: str = "none"
    penalty_warmup_epochs: int = 0
    adaptive: bool = False
    adaptive_eta: float = 0.01
    reference_fraction: float = 1.0
    direction_every: int = 1

    @property
    def reference_every(self) -> int:
        """g1 is of every so many-th image: 1/reference_fraction."""
        return round(1 / self.reference_fraction)


@dataclass
class TrainingConfig:
    epochs: int = 200
    batch_size: int = 128
    label_smoothing: float = 0.0
    max_grad_norm: float | None = None
    sharpness_batch: int | None = None
    train_metrics: str = "first"
    schedule_every: str = "step"
    drop_last: bool = True
    precision: str = "fp32"


@dataclass
class RuntimeConfig:
    device: str = "auto"
    threads: int | None = None
    channels_last: bool = True
    compile: str | None = None
    deterministic: bool = False
    eval_batch_size: int = 500


@dataclass
class WandbConfig:
    mode: str = "offline"
    project: str = "gnp"
    tags: list[str] = field(default_factory=list)


@dataclass
class Config:
    """What ``configs/train.yaml`` composes; the comments there say what each setting does."""

    experiment: str = "???"
    method: str = "???"
    fidelity: str = "paper"
    seed: int = 0
    root: str = "outputs"
    data_root: str = "data"
    model: dict[str, Any] = field(default_factory=dict)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)


def validate(composed: DictConfig) -> Config:
    """``resolve``, and the arguments of the network and the base optimizer checked too.

    Raises:
        ConfigError: a setting that does not exist (with a suggestion), of the wrong type, or
            outside its range.
    """
    config = resolve(composed)
    _check_arguments("model", config.model)
    _check_arguments("optimizer.base", config.optimizer.base)
    return config


def resolve(composed: DictConfig) -> Config:
    """The composed config as a ``Config``, every interpolation resolved; imports no network.

    ``recipe``, which only the other sections refer to, is gone from it.

    Raises:
        ConfigError: as ``validate``, but for ``model`` and ``optimizer.base``.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        _check_recipe(plain.pop("recipe", {}))
        merged = OmegaConf.merge(OmegaConf.structured(Config), plain)
        config: Config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    _check_values(config)
    return config


def to_plain(config: Config) -> dict[str, Any]:
    """The config as plain containers, for YAML and for wandb."""
    return OmegaConf.to_container(OmegaConf.structured(config))


def defaults() -> dict[str, Any]:
    """Each setting's default. A record that does not name a setting was made before it existed,
    with what is its default now."""
    return OmegaConf.to_container(OmegaConf.structured(Config))


def run_path(config: Config) -> PurePosixPath:
    """A run's identity, which is also its folder below ``<root>/runs``."""
    cell = f"{config.dataset.name}-{config.augmentation.name}"
    return PurePosixPath(config.experiment, cell, config.method, f"seed{config.seed}")


def setting_names() -> list[str]:
    """Every dotted name of the schema, sections included."""
    return _names(defaults(), "")


def _names(config: dict[str, Any], prefix: str) -> list[str]:
    names = []
    for key, value in config.items():
        names.append(prefix + key)
        if isinstance(value, dict):
            names += _names(value, f"{prefix}{key}.")
    return names


def suggest(name: str, candidates: Iterable[str]) -> str:
    """ " Did you mean …?", or nothing. Compares whole names, then their last parts."""
    candidates = list(candidates)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.75)
    if not close:
        last = name.rsplit(".", 1)[-1]
        by_last = {c.rsplit(".", 1)[-1]: c for c in reversed(candidates)}
        close = [by_last[c] for c in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    return f" Did you mean {close[0]!r}?" if close else ""


def explain(error: OmegaConfBaseException) -> str:
    """OmegaConf's complaint in one line, with the setting's full name and a suggestion."""
    first_line = str(error).split("\n", 1)[0]
    name = getattr(error, "full_key", None) or getattr(error, "key", None)
    if name is None:
        return first_line
    known = setting_names()
    if str(name) in known:
        return f"{name}: {first_line}"
    return f"there is no setting {str(name)!r}.{suggest(str(name), known)} ({first_line})"


def _check_recipe(recipe: dict[str, Any]) -> None:
    """Its values are read by name from configs/optimizer; one that is not read is misspelt."""
    for key, value in recipe.items():
        allowed = RECIPE_OF_METHOD.get(key)
        if allowed is None and key not in RECIPE:
            raise ConfigError(
                f"there is no setting 'recipe.{key}'.{suggest(key, [*RECIPE, *RECIPE_OF_METHOD])}"
            )
        for name in value if allowed is not None else ():
            if name not in allowed:
                raise ConfigError(
                    f"there is no setting 'recipe.{key}.{name}'.{suggest(name, allowed)}"
                )


def _check_values(config: Config) -> None:
    training, optimizer = config.training, config.optimizer
    augmentation, runtime = config.augmentation, config.runtime
    checks = [
        (name, value, value in choices, f"one of {', '.join(map(_shown, choices))}")
        for name, choices in CHOICES.items()
        for value in [attrgetter(name)(config)]
    ]
    checks += [
        ("training.epochs", training.epochs, training.epochs >= 1, "at least 1"),
        ("training.batch_size", training.batch_size, training.batch_size >= 1, "at least 1"),
        (
            "training.label_smoothing",
            training.label_smoothing,
            0 <= training.label_smoothing < 1,
            "from 0 to below 1",
        ),
        ("optimizer.lr", optimizer.lr, optimizer.lr > 0, "positive"),
        ("optimizer.weight_decay", optimizer.weight_decay, optimizer.weight_decay >= 0, "≥ 0"),
        ("optimizer.r", optimizer.r, 0 <= optimizer.r < math.inf, "≥ 0"),
        ("optimizer.alpha", optimizer.alpha, 0 <= optimizer.alpha <= 1, "from 0 to 1"),
        (
            "optimizer.penalty_warmup_epochs",
            optimizer.penalty_warmup_epochs,
            optimizer.penalty_warmup_epochs >= 0,
            "≥ 0",
        ),
        ("optimizer.epsilon", optimizer.epsilon, 0 <= optimizer.epsilon < math.inf, "≥ 0"),
        (
            "optimizer.adaptive_eta",
            optimizer.adaptive_eta,
            0 <= optimizer.adaptive_eta < math.inf,
            "≥ 0",
        ),
        (
            "optimizer.reference_fraction",
            optimizer.reference_fraction,
            _is_unit_fraction(optimizer.reference_fraction),
            "1, 1/2 (0.5), 1/3 (0.333), 1/4, …",
        ),
        (
            "optimizer.direction_every",
            optimizer.direction_every,
            optimizer.direction_every >= 1,
            "≥ 1",
        ),
        (
            "training.sharpness_batch",
            training.sharpness_batch,
            training.sharpness_batch is None
            or (
                training.sharpness_batch > 0 and training.batch_size % training.sharpness_batch == 0
            ),
            f"null or a divisor of training.batch_size={training.batch_size}",
        ),
        (
            "training.drop_last",
            training.drop_last,
            training.drop_last or training.sharpness_batch is None,
            "true with training.sharpness_batch, whose pieces are of one size",
        ),
        ("dataset.mean", config.dataset.mean, len(config.dataset.mean) == 3, "three numbers"),
        (
            "dataset.std",
            config.dataset.std,
            len(config.dataset.std) == 3 and min(config.dataset.std) > 0,
            "three positive numbers",
        ),
        (
            "training.max_grad_norm",
            training.max_grad_norm,
            training.max_grad_norm is None or training.max_grad_norm > 0,
            "positive or null",
        ),
        (
            "augmentation.crop_padding",
            augmentation.crop_padding,
            0 <= augmentation.crop_padding < 32,
            "from 0 to 31 pixels",
        ),
        ("augmentation.cutout", augmentation.cutout, augmentation.cutout >= 0, "≥ 0 pixels"),
        (
            "augmentation.mixing_alpha",
            augmentation.mixing_alpha,
            0 < augmentation.mixing_alpha < math.inf,
            "positive",
        ),
        ("runtime.threads", runtime.threads, runtime.threads is None or runtime.threads > 0, "≥ 1"),
        ("runtime.eval_batch_size", runtime.eval_batch_size, runtime.eval_batch_size > 0, "≥ 1"),
    ]
    for name, value, good, expected in checks:
        if not good:
            raise ConfigError(f"{name} is {_shown(value)}; expected {expected}")


def _is_unit_fraction(value: float) -> bool:
    """1/k for a whole k: every k-th image. 0.333 counts as a third."""
    return 0 < value <= 1 and abs(1 / value - round(1 / value)) < 0.01


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _check_arguments(section: str, node: dict[str, Any]) -> None:
    """Compare a section's keys with the parameters of the callable its ``_target_`` names."""
    target = node.get("_target_")
    if target is None:
        raise ConfigError(f"{section} has no _target_ (the dotted name of a class or function)")
    try:
        parameters = inspect.signature(get_object(target)).parameters
    except Exception as error:  # ImportError, AttributeError, Hydra's own refusals
        raise ConfigError(f"{section}._target_={target} cannot be imported: {error}") from error
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in node:
        if key not in parameters and not key.startswith("_"):
            raise ConfigError(
                f"{target} has no argument {key!r} ({section}.{key}).{suggest(key, parameters)}"
            )
