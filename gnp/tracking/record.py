"""The record of one run: a folder that is the truth about it.

    config.yaml        the resolved config, without the places of files, written at the first start
    environment.json   machine, versions and code, an entry a start
    metrics.jsonl      a line an epoch
    checkpoint.pt      the last epoch's state (the training's business)
    summary.json       written last, atomically: it exists only for a finished run

``gnp.tables`` reads these files; so may anything else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gnp.errors import UserError
from gnp.tracking.files import append, remove_leftovers, write_json, write_text
from gnp.tracking.lock import inherited_lock, lock_run, unlock

# Where files lie: said on the command line, recorded nowhere, so that a record can be published.
PLACES = (("root",), ("data_root",), ("dataset", "root"))
# What may differ between two starts of one run: that, how it runs, and who watches.
VOLATILE = (*PLACES, ("runtime",), ("wandb",))


class ConfigMismatch(UserError, ValueError):
    """The folder holds a run with another config."""


class RunBusy(UserError, RuntimeError):
    """Another process is working on this run."""


class RunRecord:
    """Opens (or goes on with) the record in ``folder`` and locks it.

    Args:
        folder: the run's folder; made if it does not exist.
        config: the resolved config, plain containers only.
        defaults: what a record that does not name a setting was made with.

    Raises:
        ConfigMismatch: a run with another config is recorded there; shows the difference.
        RunBusy: another process holds its lock.
    """

    def __init__(
        self, folder: str | Path, config: Mapping[str, Any], defaults: Mapping[str, Any] = {}
    ):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = inherited_lock(self.folder)
        if self._lock is None:
            self._lock = lock_run(self.folder)
        if self._lock is None:
            raise RunBusy(f"another process is working on {self.folder}; wait for it or stop it")
        try:
            remove_leftovers(self.folder)
            self._claim(config, defaults)
        except BaseException:
            self.close()
            raise

    def _claim(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        recorded = read_config(self.folder)
        if recorded is None:
            write_text(self.folder / "config.yaml", dump_yaml(without(config, PLACES)))
        elif difference := config_difference(recorded, config, defaults):
            raise ConfigMismatch(
                f"{self.folder} holds a run with another config:\n"
                + "\n".join(f"  {line}" for line in difference)
                + "\nGive this one another place (root=… or method=…), or delete that folder."
            )

    # ------------------------------------------------------------------ reading

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def summary(self) -> dict[str, Any] | None:
        return read_summary(self.folder)

    # ------------------------------------------------------------------ writing

    def add_environment(self, environment: Mapping[str, Any]) -> None:
        """Append one start to environment.json."""
        starts = read_environments(self.folder)
        write_json(self.folder / "environment.json", [*starts, environment])

    def keep_epochs(self, epochs: int) -> None:
        """Drop the lines after ``epochs`` epochs: those that a checkpoint does not cover."""
        lines = read_metrics(self.folder)
        kept = [line for line in lines if line["epoch"] <= epochs]
        text = "".join(_json_line(line) for line in kept)
        path = self.folder / "metrics.jsonl"
        if not path.exists() or path.read_text() != text:
            write_text(path, text)

    def add_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append one epoch's line and bring it to the disk. ``metrics`` has a key "epoch"."""
        append(self.folder / "metrics.jsonl", _json_line(metrics))

    def finish(self, summary: Mapping[str, Any]) -> None:
        write_json(self.folder / "summary.json", summary)

    def close(self) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    def __enter__(self) -> "RunRecord":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_config(folder: Path) -> dict[str, Any] | None:
    path = folder / "config.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else None


def read_summary(folder: Path) -> dict[str, Any] | None:
    path = folder / "summary.json"
    return json.loads(path.read_text()) if path.exists() else None


def read_environments(folder: Path) -> list[dict[str, Any]]:
    """An entry for each start of the run."""
    path = folder / "environment.json"
    return json.loads(path.read_text()) if path.exists() else []


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line that a kill cut short is left out."""
    path = folder / "metrics.jsonl"
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def dump_yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def config_difference(
    recorded: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any] = {}
) -> list[str]:
    """Lines "key: recorded → wanted" for what makes them two different experiments.

    A setting that one of them does not name has its value in ``defaults``, if there is one.
    """
    known, left, right = (flatten(without(c, VOLATILE)) for c in (defaults, recorded, wanted))
    left, right = known | left, known | right
    return [
        f"{key}: {left.get(key, '(not set)')} recorded, {right.get(key, '(not set)')} wanted"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, "(not set)") != right.get(key, "(not set)")
    ]


def without(config: Mapping[str, Any], paths: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """The config less the entries at ``paths``, which are one or two keys deep."""
    return {
        key: {k: v for k, v in value.items() if (key, k) not in paths}
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
        if (key,) not in paths
    }


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
