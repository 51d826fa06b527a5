"""A sweep (``-m``) whose bad jobs are all named, and named before the first one is trained."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError
from gnp.settings import Config, run_path, setting_names, to_plain, unrecorded
from gnp.settings.refusals import Names, refusal
from gnp.tracking.compare import config_difference
from gnp.tracking.reading import read_config
from gnp.tracking.record import refuse_another_config


class SweepFailed(UserError):
    """Jobs of a sweep failed. ``exit_status`` is 2 if they were refused and nothing was started."""

    def __init__(self, failed: Sequence[str], jobs: int, exit_status: int):
        started = "; nothing was started" if exit_status == 2 else ""
        super().__init__(f"{len(failed)} of {jobs} jobs failed{started}:\n" + "\n".join(failed))
        self.exit_status = exit_status


class PlaceTaken(UserError):
    """Two jobs of a sweep would be one run."""


def check_sweeps(check: Callable[[DictConfig], Config]) -> None:
    """Let Hydra's launcher of jobs one after the other call ``check`` with each job's config, and
    see that each has a place of its own, before it starts the first; and name every job that is
    refused then or fails later.

    Hydra takes launchers from its own packages only, so its class is given the function.

    Args:
        check: the job's config; raises what it would be refused with.
    """
    Plugins.instance()  # it loads the module anew
    launcher = get_class("hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    launch = launcher.launch

    def checked_launch(
        self: Launcher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        refused, places = [], _Places()
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            try:
                places.take(number, check(_config_of(self, overrides)))
            except (UserError, HydraException, OmegaConfBaseException) as error:
                refused.append(_line(number, overrides, error))
        if refused:
            raise SweepFailed(refused, len(job_overrides), 2)
        done = launch(self, job_overrides, initial_job_idx)
        if not self.config.hydra.sweeper._target_.endswith(".BasicSweeper"):
            return done  # another sweeper judges failures itself: Optuna's max_failure_rate
        failed = [
            _line(number, job.overrides or (), job._return_value)
            for number, job in enumerate(done, initial_job_idx)
            if job.status is JobStatus.FAILED and isinstance(job._return_value, UserError)
        ]
        if failed:
            raise SweepFailed(failed, len(done), 1)
        return done

    launcher.launch = checked_launch
    module = sys.modules[launcher.__module__]
    module.run_job = _telling(module.run_job)
    # Hydra's own check ends at the first bad job.
    Sweeper.validate_batch_is_legal = lambda self, batch: None


def _telling(run_job: Callable[..., JobReturn]) -> Callable[..., JobReturn]:
    """Hydra says that a job failed when all are done: here it is said at once, in a line. Its
    settings are in Hydra's own line above."""

    def run_and_tell(*arguments: Any, config: DictConfig, **named: Any) -> JobReturn:
        job = run_job(*arguments, config=config, **named)
        if job.status is JobStatus.FAILED:
            error = job._return_value
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            reason = f"{kind}{error}".strip().split("\n")[0]
            print(f"job {config.hydra.job.num} failed: {reason}", file=sys.stderr, flush=True)
        return job

    return run_and_tell


class _Places:
    """Where the jobs' records will be, each as the one whose config is kept here."""

    def __init__(self) -> None:
        self._taken: dict[Path, tuple[int, dict[str, Any]]] = {}

    def take(self, number: int, config: Config) -> None:
        """Raises: PlaceTaken, ConfigMismatch, DamagedRecord."""
        folder, plain = Path(config.root, "runs", run_path(config)), to_plain(config)
        first, its = self._taken.setdefault(folder, (number, plain))
        if difference := config_difference(its, plain):
            changed = " and ".join(line.split(":")[0] for line in difference)
            names = "".join(f"_${{{line.split(':')[0]}}}" for line in difference)
            raise PlaceTaken(
                f"its place {folder} is that of job {first}, which has another {changed}; give "
                f"each a name: 'method={config.method}{names}'"
            )
        if (recorded := read_config(folder)) is not None:
            refuse_another_config(folder, recorded, plain, unrecorded())


def _config_of(launcher: Launcher, overrides: Sequence[str]) -> DictConfig:
    loader = launcher.hydra_context.config_loader
    config = loader.load_sweep_config(launcher.config, list(overrides))
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _line(number: int, overrides: Sequence[str], error: BaseException) -> str:
    said = refusal(error, Names(setting_names())) if isinstance(error, Exception) else None
    what = (said or str(error).strip()).replace("\n", "\n    ")
    return f"  {number} ({' '.join(filter_overrides(overrides))}): {what}"
