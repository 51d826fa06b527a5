"""A sweep (``-m``) whose bad jobs are all named, and named before the first one is trained."""

from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError


class JobsFailed(UserError):
    """Jobs of a sweep failed; the others are done."""


class CheckedLauncher(BasicLauncher):
    """Hydra's launcher of jobs one after the other. ``check`` is called with each job's config
    before the first one starts, and raises what the job would be refused with."""

    check: Callable[[DictConfig], Any]

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        refused = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            try:
                type(self).check(self._config_of(overrides))
            except (UserError, HydraException, OmegaConfBaseException) as error:
                refused.append(_line(number, overrides, error))
        if refused:
            raise JobsFailed("nothing was started; " + _said(refused, len(job_overrides)))
        done = super().launch(job_overrides, initial_job_idx)
        failed = [
            _line(number, job.overrides or (), job._return_value)
            for number, job in enumerate(done, initial_job_idx)
            if job.status is JobStatus.FAILED and isinstance(job._return_value, UserError)
        ]
        if failed:
            error = JobsFailed(_said(failed, len(done)))
            error.exit_status = 1
            raise error
        return done

    def _config_of(self, overrides: Sequence[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def offer_sweep(check: Callable[[DictConfig], Any]) -> None:
    """Make ``hydra/launcher=checked`` known to Hydra, with ``check``."""
    CheckedLauncher.check = staticmethod(check)
    # Hydra takes plugins from a package of this name only, even those that are registered.
    CheckedLauncher.__module__ = "hydra_plugins.gnp"
    Plugins.instance().register(CheckedLauncher)


def _line(number: int, overrides: Sequence[str], error: BaseException) -> str:
    what = str(error).strip().replace("\n", "\n    ")
    return f"  {number} ({' '.join(filter_overrides(overrides))}): {what}"


def _said(lines: Sequence[str], jobs: int) -> str:
    return f"{len(lines)} of {jobs} jobs failed:\n" + "\n".join(lines)
