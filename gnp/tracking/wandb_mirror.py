"""wandb shows what the run record holds; it is never needed and never stops a run."""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gnp.settings import WandbSettings

log = logging.getLogger(__name__)

INIT_TIMEOUT = 20  # seconds; wandb's own default is 90
ID_LENGTH, NAME_LENGTH, TAG_LENGTH = 64, 128, 64  # what wandb takes
OLD_MODES = {"dryrun": "offline", "run": "online"}


class WandbMirror:
    """Mirrors metrics to wandb.

    With mode "disabled" wandb is not even imported. Without a key or a network "online" becomes
    "offline", with one warning; nothing ever asks a question.

    A setting left at its default is as wandb's environment variable says (``WANDB_MODE``,
    ``WANDB_PROJECT``, ``WANDB_TAGS``), and so are place, id, name and group. Under ``wandb agent``
    it is the agent's run.

    Args:
        folder: where wandb keeps its files.
        run_id: the run's identity, ending in its seed; the same id goes on with the same wandb run,
            and what is before the seed is the group.
        config: the resolved config.
        recorded: the epochs' metrics up to now. They are sent again where wandb lacks them, for an
            offline run that goes on is a new one to ``wandb sync``, which keeps the last alone.
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
        mode = _mode(settings)
        if mode == "disabled":
            return
        if mode == "online" and not _has_key():
            log.warning(
                "wandb is to be online, but there is no API key: recording offline. Run "
                "`wandb login` or set WANDB_API_KEY; `wandb sync` sends offline runs later."
            )
            mode = "offline"
        arguments = {
            **_names(settings, folder, run_id),
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


def _mode(settings: WandbSettings) -> str:
    default = "online" if os.environ.get("WANDB_SWEEP_ID") else "offline"
    wanted = os.environ.get("WANDB_MODE") or default
    return settings.mode or OLD_MODES.get(wanted, wanted)


def _names(settings: WandbSettings, folder: Path, run_id: str) -> dict[str, Any]:
    """What ``wandb.init`` is told of place and names; None for what it reads from a variable."""
    given = os.environ.get
    agent = given("WANDB_SWEEP_ID")  # the id and the project are the sweep's
    tags = [tag[:TAG_LENGTH] for tag in settings.tags if tag]
    project = settings.project or (None if given("WANDB_PROJECT") else "gnp")
    return {
        "dir": None if given("WANDB_DIR") else str(folder),
        "id": None if agent or given("WANDB_RUN_ID") else wandb_id(run_id),
        "name": None if given("WANDB_NAME") else _fitting(run_id),
        "project": None if agent else project,
        "group": None if given("WANDB_RUN_GROUP") else _fitting(run_id.rpartition("/")[0]),
        "tags": tags or (None if given("WANDB_TAGS") else []),
    }


def wandb_id(run_id: str) -> str:
    """One id for one identity: what wandb takes of it, and a hash, for ``a-b`` is not ``a/b``."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", run_id).strip("-")
    return f"{readable[-(ID_LENGTH - 9) :]}-{_hash(run_id)}".lstrip("-")


def _fitting(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 9]}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        import wandb

        return bool(wandb.api.api_key)
    except Exception:  # an unreadable netrc, a broken installation: as good as no key
        return False
