"""The config that each run of a table or a study has: what its record is compared with."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from gnp.errors import UserError
from gnp.jobs.compositions import Compositions
from gnp.jobs.job import Job
from gnp.settings import (
    ConfigError,
    WandbSettings,
    resolve,
    run_path,
    setting_names,
    to_plain,
)
from gnp.settings.refusals import Names, refusal
from gnp.settings.series import Series
from gnp.tracking.wandb_names import mode_of

Wanted = Callable[[Job], Mapping[str, Any]]


class SeriesMismatch(UserError):
    """The runs that a table or a study wants are not those that its settings describe."""


class WantedConfigs:
    """Composed when they are asked for, and once for all seeds of a cell, where the seed is in
    nothing but ``seed``. Needs Hydra to be initialised, as it is in a ``@hydra.main`` function.

    Args:
        spec: the table or the study.
        root: the results root.
    """

    def __init__(self, spec: Series, root: str):
        self._spec, self._root = spec, root
        self._compose = Compositions("train")
        self._known: dict[tuple[str, ...], dict[str, Any] | None] = {}

    def __call__(self, run: Job) -> dict[str, Any]:
        """A run's resolved config, as plain containers.

        Raises:
            ConfigError: a setting of the spec does not exist or has a wrong value.
            SeriesMismatch: an override makes the run another one.
        """
        cell = tuple(s for s in run.settings() if not s.startswith("seed="))
        if cell not in self._known:
            self._known[cell] = self._composed(run)
        if (config := self._known[cell]) is None:
            return self._composed(run, several=False)
        return {**config, "seed": run.seed}

    def _composed(self, run: Job, several: bool = True) -> dict[str, Any] | None:
        """With ``several``, None if another seed's config differs in more than the seed."""
        spec, root = self._spec, self._root
        try:
            composed = self._compose(run.overrides(root, spec.overrides))
        except Exception as error:
            if (message := refusal(error, Names(setting_names()))) is None:
                raise
            raise ConfigError(message) from error
        if several and any("seed}" in text for text in _texts(OmegaConf.to_container(composed))):
            return None
        config = resolve(composed)
        place = (str(run_path(config)), config.root)
        change = run.change_in(config)
        if place != (str(run.path), root) or change:
            named = str(run.path.parents[2])
            if config.experiment != named:
                change += f" (does configs/experiment/{named}.yaml say “experiment: {named}”?)"
            raise SeriesMismatch(
                f"{spec.kind} {spec.name}: overrides change which run it is: {run.path} in {root} "
                f"became {place[0]} in {place[1]}{change}; set root=… and {spec.kind}.…=… instead"
            )
        return to_plain(config)


def modules_of(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Modules that runs of these configs import: all that take time, of ours. (What a network of
    somebody else's does when it is imported is not known.) And wandb, where one mirrors there."""
    names = {"gnp.cli", "gnp.sweep", "gnp.settings.help", "gnp.training.run"}
    for config in configs:
        names.add(f"gnp.data.sources.{config['dataset']['source']}")
        if config["augmentation"]["autoaugment"]:
            names.add("gnp.data.autoaugment")
        network = str(config["model"].get("_target_")).rpartition(".")[0]
        if network.startswith("models."):
            names.add(network)
        if mode_of(WandbSettings.model_construct(**config["wandb"])) != "disabled":
            names.add("wandb")  # half of what it takes a run
    return sorted(names)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
