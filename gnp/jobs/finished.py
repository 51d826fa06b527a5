"""What the records under a results root say of runs: which are finished, and with what."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.jobs.job import Job
from gnp.tracking.record import (
    config_difference,
    read_config,
    read_environments,
    read_metrics,
    read_summary,
)


@dataclass(frozen=True)
class FinishedRun:
    """A run that has a summary. The other files of its record are read when they are wanted."""

    run: Job
    folder: Path
    summary: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_config(self.folder) or {}

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """An entry an epoch."""
        return read_metrics(self.folder)

    @property
    def code(self) -> str:
        """The commits that it was trained with; a star marks sources changed since."""
        codes = [e["code"] for e in read_environments(self.folder)]
        names = [f"{(c['commit'] or c['hash'])[:8]}{'*' if c['modified'] else ''}" for c in codes]
        return " ".join(dict.fromkeys(names))

    @property
    def error_name(self) -> str:
        return f"{self.summary['evaluated']}_error"

    @property
    def error(self) -> float:
        """Error (%) of the last epoch's weights."""
        return self.summary["final"][self.error_name]

    @property
    def best_error(self) -> float:
        """Error (%) of the best epoch, which was chosen by this very error."""
        return self.summary["best"][self.error_name]


def read_runs(runs: Iterable[Job], root: str | Path) -> tuple[list[FinishedRun], list[Job]]:
    """Those that are finished and those that are missing, each in the order of ``runs``."""
    finished, missing = [], []
    for run in runs:
        folder = run.folder(root)
        summary = read_summary(folder)
        if summary is None:
            missing.append(run)
        else:
            finished.append(FinishedRun(run, folder, summary))
    return finished, missing


def differences(
    finished: Sequence[FinishedRun],
    comparable: Callable[[dict[str, Any]], dict[str, Any]],
    defaults: Mapping[str, Any],
) -> list[str]:
    """A warning for each run whose config differs from that of the first one.

    Args:
        comparable: a config → it without what may differ.
        defaults: what a record that does not name a setting was made with.
    """
    configs = [comparable(f.config) for f in finished]
    return [
        f"{f.run.path} and {finished[0].run.path} differ: {'; '.join(difference)}"
        for f, config in zip(finished, configs, strict=True)
        if (difference := config_difference(configs[0], config, defaults))
    ]
