"""wandb shows what the run record holds; it is never needed and never stops a run."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnp.settings import WandbSettings

log = logging.getLogger(__name__)

INIT_TIMEOUT = 20  # seconds; wandb's own default is 90


class WandbMirror:
    """Mirrors metrics to wandb.

    With mode "disabled" wandb is not even imported. Without a key or a network "online" becomes
    "offline", with one warning; nothing ever asks a question.

    Args:
        folder: where wandb keeps its files.
        run_id: the run's identity, ending in its seed; the same id goes on with the same wandb run,
            and what is before the seed is the group.
        config: the resolved config.
    """

    def __init__(
        self, settings: WandbSettings, folder: Path, run_id: str, config: Mapping[str, Any]
    ):
        self._run = None
        mode = settings.mode
        if mode == "disabled":
            return
        if mode == "online" and not _has_key():
            log.warning(
                "wandb.mode=online, but there is no API key: recording offline. Run "
                "`wandb login` or set WANDB_API_KEY; `wandb sync` sends offline runs later."
            )
            mode = "offline"
        arguments = {
            "dir": str(folder),
            "id": run_id.replace("/", "-"),
            "name": run_id,
            "project": settings.project,
            "group": run_id.rpartition("/")[0],
            "tags": list(settings.tags),
            "job_type": "train",
            "config": dict(config),
            "resume": "allow",
        }
        self._run = self._init(mode, arguments)
        if self._run is None and mode == "online":
            self._run = self._init("offline", arguments)

    @staticmethod
    def _init(mode: str, arguments: dict[str, Any]):
        try:
            import wandb

            settings = wandb.Settings(init_timeout=INIT_TIMEOUT, console="off", silent=True)
            return wandb.init(mode=mode, settings=settings, **arguments)
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
        if self._run is None:
            return
        try:
            self._run.summary.update(dict(summary or {}))
            self._run.finish(exit_code=0 if summary else 1)
        except Exception as error:
            log.warning("wandb could not finish (%s); the run record is complete", error)
        self._run = None


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        import wandb

        return bool(wandb.api.api_key)
    except Exception:  # an unreadable netrc, a broken installation: as good as no key
        return False
