"""The settings of one run: what ``configs/train.yaml`` composes."""

from pathlib import PurePath, PurePosixPath
from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from gnp.settings.augmentation import AugmentationSettings
from gnp.settings.dataset import DatasetSettings
from gnp.settings.messages import names_of
from gnp.settings.optimizer import OptimizerSettings
from gnp.settings.recipe import Recipe
from gnp.settings.runtime import RuntimeSettings
from gnp.settings.section import Section, setting, unrecorded_of
from gnp.settings.texts import FilePath, FolderName, FolderNames
from gnp.settings.training import TrainingSettings
from gnp.settings.wandb import WandbSettings


class Config(Section):
    """A run's config, as it is recorded."""

    experiment: FolderNames = setting(
        help="the first part of the run's place: <root>/runs/<experiment>/…"
    )
    method: FolderName = setting(
        help="the part of the run's place that names the optimizer's settings"
    )
    fidelity: FolderName = setting("paper", "whose details these are: one of configs/fidelity")
    seed: int = setting(
        0,
        "of the initial weights, the batches and all that is drawn in training",
        ge=-(2**63),
        le=2**63 - 1,
        expected="an integer of 64 bits",
    )
    root: FilePath = setting("outputs", "where records, tables and figures go")
    data_root: FilePath = setting(
        "data", "where data sets lie; GNP_DATA is its default if that is set"
    )
    model: dict[str, Any] = setting(
        {}, "the network: _target_ names its class or function, the others are its arguments"
    )
    dataset: DatasetSettings = setting(help="the images")
    augmentation: AugmentationSettings = setting(help="what is done to a batch of them in training")
    optimizer: OptimizerSettings = setting(help="the base optimizer and the penalty around it")
    training: TrainingSettings = setting(help="how long, on how many images at a time")
    runtime: RuntimeSettings = setting(help="how and where it runs: no part of its identity")
    wandb: WandbSettings = setting(help="a mirror of the record")

    @model_validator(mode="after")
    def _has_a_penalty_at_last(self) -> "Config":
        warmup, epochs = self.optimizer.penalty_warmup_epochs, self.training.epochs
        if warmup >= epochs and warmup > 0:
            what = (
                f"optimizer.penalty_warmup_epochs={warmup}: expected from 0 to below "
                f"training.epochs={epochs}"
            )
            raise PydanticCustomError("custom", "{what}", {"what": what})
        return self


class Composed(Config):
    """All that the command line can set: with the recipe, to which only other sections refer."""

    recipe: Recipe = setting(help="what an experiment makes the optimizer's settings from")


def run_path(config: Config) -> PurePosixPath:
    """A run's identity, which is also its folder below ``<root>/runs``."""
    names = (config.dataset.name, config.augmentation.name)
    return path_of(config.experiment, *names, config.method, config.seed)


def path_of(
    experiment: str, dataset: str, augmentation: str, method: str, seed: int
) -> PurePosixPath:
    """``run_path`` of a run with these names."""
    return PurePosixPath(experiment, f"{dataset}-{augmentation}", method, f"seed{seed}")


def shown_in(path: str | PurePath, width: int) -> str:
    """A run's place in at most ``width`` characters: its method and seed are what stays, and of a
    long method both ends."""
    text, (method, seed) = str(path), PurePath(path).parts[-2:]
    if len(text) <= width:
        return text
    end = f"{method}/{seed}"
    if len(end) < width:
        return "…" + text[len(text) - width + 1 :]
    room = max(width - len(seed) - 2, 2)  # of the method, beside … and /
    return f"{method[: room - room // 2]}…{method[-(room // 2) :]}/{seed}"


def to_plain(config: Config) -> dict[str, Any]:
    """The config as plain containers, for YAML and for wandb."""
    return config.model_dump()


def unrecorded() -> dict[str, Any]:
    """What a record that does not name a setting was made with: it is from before that existed."""
    return unrecorded_of(Config)


def setting_names() -> list[str]:
    """Every dotted name that the command line can set, sections and groups included."""
    return [*names_of(Composed), "base"]
