"""How the runs of a table or a study are executed, and what a script is told in all."""

from typing import Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from gnp.settings.cluster import ClusterSettings
from gnp.settings.gpus import named_gpus
from gnp.settings.messages import checked, names_of
from gnp.settings.overrides import inherited_search_path
from gnp.settings.runtime import LOCKS_HELP, Locks
from gnp.settings.section import Section, setting
from gnp.settings.series import S, Series
from gnp.settings.texts import FilePath

J = TypeVar("J", bound="RenderSettings")


class RenderSettings(Section):
    """What stands beside a table's own settings where nothing is trained."""

    root: FilePath = setting("outputs", "where the records are, and where the files go")
    overrides: list[str] = setting(
        [], "further settings of every run, after the table's or the study's own"
    )

    def of_every_run(self) -> list[str]:
        """The overrides that each run is told."""
        return self.overrides


class JobSettings(RenderSettings):
    """What stands beside a table's or a study's own settings."""

    root: FilePath = setting(
        "outputs", "records of finished runs there are used, missing ones are trained"
    )
    jobs: int | None = setting(
        None,
        "runs at a time, on each GPU (null: 1) or on the CPU (null: one a core)",
        ge=1,
        le=1024,
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where runs are trained")
    dry_run: bool = setting(False, "only show what would be trained")
    retries: int = setting(
        0,
        "how often a run that failed is started again; not one that was refused (exit status 2)",
        ge=0,
        le=100,
    )
    fail_fast: bool = setting(False, "after the first run that failed, stop the others")
    wait: bool = setting(
        True,
        "for runs that other processes have; false: end when nothing else is left",
    )
    locks: Locks = setting("auto", LOCKS_HELP)
    cluster: ClusterSettings = setting(ClusterSettings(), "who runs it: here, or SLURM's jobs")
    plan: bool = setting(
        False,
        "train nothing: show what each cell has and lacks, its FLOPs, hours here and disk; with "
        "dry_run=true also the commands, in a sensible order",
    )
    max_hours: float | None = setting(
        None, "with plan=true: show which runs fit into so many hours, and in which order", gt=0
    )
    plan_gpu: str | None = setting(
        None,
        "with plan=true: also estimate the hours on this GPU, which max_hours then counts",
        expected="a GPU such as H100 or 4xH100, or null",
    )
    plan_utilisation: float | None = setting(
        None,
        "the part of its peak that training reaches there; null: 0.25 on tensor cores, else 0.5",
        gt=0,
        le=1,
    )

    @field_validator("plan_gpu")
    @classmethod
    def _is_a_known_gpu(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                named_gpus(value)
        except ValueError as error:
            raise PydanticCustomError("custom", "{what}", {"what": str(error)}) from error
        return value

    def of_every_run(self) -> list[str]:
        locks = [f"runtime.locks={self.locks}"] if self.locks != "auto" else []
        return [*locks, *self.overrides]

    @model_validator(mode="after")
    def _plans_or_does_not(self) -> "JobSettings":
        wrong = None
        if not self.plan:
            given = [name for name in ("max_hours", "plan_gpu") if getattr(self, name) is not None]
            wrong = f"{given[0]} is for plan=true, which only shows; set both" if given else None
        if self.plan_utilisation is not None and self.plan_gpu is None:
            wrong = "plan_utilisation is of a GPU that plan_gpu=… names; set both"
        if wrong is not None:
            raise PydanticCustomError("custom", "{what}", {"what": wrong})
        return self


class TableRenderSettings(RenderSettings):
    """Which records a table is of."""

    until: Literal["trained", "decided"] = setting(
        "trained",
        "decided: add seeds, cell by cell, until each comparison is decided or has max_seeds; by a "
        "rule that may look after each and is wrong in about 5 % of tables without a difference",
    )
    min_seeds: int = setting(5, "with until=decided: before the first look", ge=2, le=1000)
    max_seeds: int = setting(30, "with until=decided: at most", ge=2, le=1000)

    @model_validator(mode="after")
    def _seeds_are_possible(self) -> "TableRenderSettings":
        what = None
        if self.min_seeds > self.max_seeds:
            what = f"min_seeds={self.min_seeds} is above max_seeds={self.max_seeds}; set both"
        elif self.until == "trained":
            usual = type(self).model_fields
            given = [n for n in ("min_seeds", "max_seeds") if getattr(self, n) != usual[n].default]
            what = f"{given[0]} is for until=decided; set both" if given else None
        if what is not None:
            raise PydanticCustomError("custom", "{what}", {"what": what})
        return self


class TableJobSettings(JobSettings, TableRenderSettings):
    """A table has a script of its own that only renders."""


class StudyJobSettings(JobSettings):
    """A study has one script for training and rendering."""

    render_only: bool = setting(False, "only write the files, from the records there are")

    @model_validator(mode="after")
    def _plans_or_renders(self) -> "StudyJobSettings":
        for name in ("plan", "dry_run"):
            if getattr(self, name) and self.render_only:
                what = f"{name}=true writes nothing and render_only=true does nothing else"
                raise PydanticCustomError("custom", "{what}", {"what": f"{what}; set one of them"})
        return self


def load(composed: DictConfig, series: type[S], jobs: type[J]) -> tuple[S, J]:
    """What a script's composed config says is trained, and how. The command line's overrides come
    after the series' own.

    Raises:
        series.error: as ``Series.from_config``.
        ConfigError: a value of ``jobs`` that it cannot have.
    """
    spec = series.from_config(composed[series.kind])
    plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    run = checked(jobs, {name: v for name, v in plain.items() if name != series.kind})
    return spec.with_overrides([*inherited_search_path(), *run.of_every_run()]), run


def setting_names_of(series: type[Series], jobs: type[RenderSettings]) -> list[str]:
    """Every dotted name that a script's config has."""
    return [*names_of(jobs), series.kind, *names_of(series, f"{series.kind}.")]
