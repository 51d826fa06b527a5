"""What a run is called in wandb, where its files lie and in which mode it is; wandb's own
environment variables decide what is not set here."""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from gnp.settings import WandbSettings

ID_LENGTH, NAME_LENGTH, TAG_LENGTH = 64, 128, 64  # what wandb takes
OLD_MODES = {"dryrun": "offline", "run": "online"}
PROJECT = "gnp"


def mode_of(settings: WandbSettings) -> str:
    default = "online" if os.environ.get("WANDB_SWEEP_ID") else "offline"
    wanted = os.environ.get("WANDB_MODE") or default
    return settings.mode or OLD_MODES.get(wanted, wanted)


def names_of(settings: WandbSettings, folder: Path, run_id: str) -> dict[str, Any]:
    """What ``wandb.init`` is told of place and names; None for what it reads from a variable.

    Args:
        folder: wandb's files lie in its folder "wandb".
        run_id: the run's identity, ending in its seed; what is before that is the group.
    """
    given = os.environ.get
    agent = given("WANDB_SWEEP_ID")  # the id and the project are the sweep's
    tags = [tag[:TAG_LENGTH] for tag in settings.tags if tag]
    project = settings.project or (None if given("WANDB_PROJECT") else PROJECT)
    group = settings.group or (
        None if given("WANDB_RUN_GROUP") else fitting(run_id.rpartition("/")[0])
    )
    return {
        "dir": None if given("WANDB_DIR") else str(folder),
        "id": None if agent or given("WANDB_RUN_ID") else wandb_id(run_id),
        "name": None if given("WANDB_NAME") else fitting(run_id),
        "project": None if agent else project,
        "entity": None if agent else settings.entity,
        "group": group,
        "notes": settings.notes,
        "tags": tags or (None if given("WANDB_TAGS") else []),
    }


def wandb_id(run_id: str) -> str:
    """One id for one identity: what wandb takes of it, and a hash, for ``a-b`` is not ``a/b``."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", run_id).strip("-")
    return f"{readable[-(ID_LENGTH - 9) :]}-{_hash(run_id)}".lstrip("-")


def fitting(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 9]}-{_hash(name)}"


def has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        import wandb

        return wandb.login(prompt=False, verify=False)
    except Exception:  # an unreadable netrc, a broken installation: as good as no key
        return False


def folder_of_runs(folder: str | Path) -> Path:
    """Where wandb puts its runs, one folder each, if it is told ``dir=folder``."""
    return Path(os.environ.get("WANDB_DIR") or folder, "wandb")


def remove_offline(folder: str | Path, wandb_id: str) -> None:
    """Remove what earlier starts left offline of the run with this id, in ``folder_of_runs``.

    The new one has all of it, from the record; beside it the old would be shown and sent as well.
    """
    for old in folder_of_runs(folder).glob("offline-run-*"):
        # offline-run-20260102_030405-<id>, and one id may be the end of another.
        if old.is_dir() and old.name.split("-", 3)[3:] == [wandb_id]:
            shutil.rmtree(old, ignore_errors=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
