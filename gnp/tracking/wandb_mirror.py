"""wandb shows what the run record holds; it is never needed and never stops a run."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gnp.settings import WandbSettings
from gnp.tracking.wandb_names import has_key, mode_of, names_of, remove_offline

log = logging.getLogger(__name__)

INIT_TIMEOUT = 20  # seconds; wandb's own default is 90


class WandbMirror:
    """Mirrors metrics to wandb.

    With mode "disabled" wandb is not even imported. Without a key or a network "online" becomes
    "offline", with one warning; nothing ever asks a question.

    A setting left at its default is as wandb's environment variable says (``WANDB_MODE``,
    ``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_RUN_GROUP``, ``WANDB_NOTES``, ``WANDB_TAGS``), and
    so are place, id and name. Under ``wandb agent`` it is the agent's run.

    Args:
        folder: the results root: wandb keeps the files of all its runs in its folder "wandb".
        run_id: the run's identity, ending in its seed; the same id goes on with the same wandb run,
            and what is before the seed is the group.
        config: the resolved config.
        recorded: the epochs' metrics up to now. They are sent again where wandb lacks them: an
            offline run that goes on is a new one to wandb, and takes the old one's place.
    """

    def __init__(
        self,
        settings: WandbSettings,
        folder: Path,
        run_id: str,
        config: Mapping[str, Any],
        recorded: Iterable[Mapping[str, Any]] = (),
    ):
        self._run = None
        mode = mode_of(settings)
        if mode == "disabled":
            return
        if mode == "online" and not has_key():
            log.warning(
                "wandb is to be online, but there is no API key: recording offline. Run "
                "`wandb login` or set WANDB_API_KEY; `wandb sync` sends offline runs later."
            )
            mode = "offline"
        arguments = {
            **names_of(settings, folder, run_id),
            "job_type": "train",
            "config": dict(config),
            "resume": "allow",
        }
        self._run = self._init(mode, arguments)
        if self._run is None and mode == "online":
            self._run = self._init("offline", arguments)
        for metrics in recorded:
            if self._run is not None and metrics["epoch"] >= self._run.step:
                self.log(metrics, metrics["epoch"])

    @staticmethod
    def _init(mode: str, arguments: dict[str, Any]):
        try:
            import wandb

            settings = wandb.Settings(init_timeout=INIT_TIMEOUT, console="off", silent=True)
            if mode == "offline" and arguments["id"] is not None:
                remove_offline(arguments["dir"] or "", arguments["id"])
            run = wandb.init(mode=mode, settings=settings, **arguments)
            define_metrics(run)
            return run
        except Exception as error:  # its errors have no common base, and none is ours to die of
            log.warning("wandb could not start (%s mode): %s", mode, error)
            return None

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Send one epoch's numbers. The first failure ends the mirroring, with a warning."""
        if self._run is None:
            return
        try:
            self._run.log(dict(metrics), step=step)
        except Exception as error:
            log.warning("wandb stopped (%s); the run record goes on", error)
            self._run = None

    def finish(self, summary: Mapping[str, Any] | None = None) -> None:
        """End it. ``summary`` is the record's; without one the run has failed."""
        if self._run is None:
            return
        try:
            self._run.summary.update(numbers_of(summary) if summary else {})
            self._run.finish(exit_code=0 if summary else 1)
        except Exception as error:
            log.warning("wandb could not finish (%s); the run record is complete", error)
        self._run = None


def define_metrics(run: Any) -> None:
    """Everything is drawn over the epoch, whatever else counts as a step."""
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")


def numbers_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record's summary stands in wandb's: the last epoch's numbers under their own names,
    the best epoch's apart, and what the run was."""
    best = {f"best_{name}": value for name, value in summary["best"].items()}
    also = ("parameters", "train_images", "evaluation_images", "seconds", "evaluated", "finished")
    return {**summary["final"], **best, **{name: summary[name] for name in also if name in summary}}
