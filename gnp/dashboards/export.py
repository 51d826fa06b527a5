"""The finished records below a root as wandb runs, and what was made of them as runs beside these.

Each has the id that its identity gives it, so that an export can be repeated: offline the new run
takes the old one's place in the folder, on the server its data.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnp.dashboards.content import (
    classes_table,
    config_of,
    csv_table,
    epochs_table,
    identity_of,
    rows_of,
    summary_of,
)
from gnp.dashboards.known import Known
from gnp.errors import UserError
from gnp.settings import WandbSettings
from gnp.tracking.reading import PREDICTIONS, DamagedRecord, FinishedRecord
from gnp.tracking.wandb_mirror import INIT_TIMEOUT, define_metrics
from gnp.tracking.wandb_names import TAG_LENGTH, has_key, mode_of, names_of, remove_offline

SERIES = ("tables", "studies", "tunings")  # folders of a root, with a folder each for one
OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_NAME", "WANDB_SWEEP_ID", "WANDB_RESUME")
DATA_VARIABLE = "WANDB_DATA_DIR"  # where wandb keeps copies of what it has yet to send


class ExportRefused(UserError):
    """wandb cannot take these runs; the message says why and what to do."""


@dataclass
class Export:
    """Makes wandb runs of the records below ``root``.

    Args:
        settings: as a run's own; what is left at its default is as wandb's variables say.
        known: what is known of a cell, by its place.
        picture_of: uint8 (H, W, 3) for a record, or None.

    Attributes:
        done: identities of what is there now.
        complaints: what could not be read, and is left out.

    Raises:
        ExportRefused: for these variables or without a key.
    """

    root: Path
    settings: WandbSettings
    known: Mapping[str, Known] = field(default_factory=dict)
    picture_of: Callable[[FinishedRecord], Any] = lambda record: None
    done: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mode = mode_of(self.settings)
        if self.mode not in ("offline", "online"):
            raise ExportRefused(
                f"WANDB_MODE is {self.mode}: there would be nothing to look at; unset it, or give "
                f"--mode offline or --mode online"
            )
        for name in OF_ONE_RUN:
            if os.environ.get(name):
                raise ExportRefused(f"{name} is of one run, and here are many: unset it")
        if self.mode == "online" and not has_key():
            raise ExportRefused(
                "there is no API key for --mode online: run `wandb login` or set WANDB_API_KEY, or "
                "leave the mode out and send the runs later with `wandb sync`"
            )

    def record(self, record: FinishedRecord) -> None:
        """One run: the epochs, with the last one tables and the picture, the summary, predictions
        as an artifact."""
        import wandb

        identity = identity_of(record)
        known = self.known.get(identity.rpartition("/")[0], Known())
        *rows, last = rows_of(record)
        with self._run(identity, "train", config_of(record), known.tables) as run:
            define_metrics(run)
            for row in rows:
                run.log(row, step=row["epoch"])
            shown = {"epochs": _table(*epochs_table(record))}
            predicted = self._classes(record)
            if predicted is not None:
                shown["classes"] = _table(*predicted)
            if (picture := self.picture_of(record)) is not None:
                caption = "training images, and below each what the augmentation makes of it"
                shown["augmentation"] = wandb.Image(picture, caption=caption)
            run.log({**last, **shown}, step=last["epoch"])
            run.summary.update(summary_of(record, known.published))
            if predicted is not None:
                run.log_artifact(_predictions(record, run.id))

    def series(self, folder: Path) -> None:
        """A table's, a study's or a tuning's files: its CSVs as tables, its pictures, its page."""
        import wandb

        shown: dict[str, Any] = {}
        for file in sorted(folder.iterdir()):
            # PNG and SVG of one name are one picture, and wandb shows the first at once.
            if file.suffix == ".csv":
                shown[file.stem] = self._csv(file)
            elif file.suffix == ".png":
                shown[file.stem] = wandb.Image(str(file))
            elif file.suffix in (".svg", ".html") and not file.with_suffix(".png").exists():
                shown[file.stem] = wandb.Html(file.read_text(encoding="utf-8"), inject=False)
        shown = {name: content for name, content in shown.items() if content is not None}
        if shown:
            kind, identity = folder.parent.name, f"{folder.parent.name}/{folder.name}"
            config = {kind: folder.name}
            with self._run(identity, kind, config, (folder.name,)) as run:
                run.log(shown)

    @contextmanager
    def _run(
        self, identity: str, kind: str, config: dict[str, Any], tags: tuple[str, ...]
    ) -> Iterator[Any]:
        """A wandb run, ended afterwards; of ``kind``, in the group of its identity."""
        import wandb

        told = names_of(self.settings, self.root, identity)
        own = told["tags"]
        if own is None:
            own = os.environ["WANDB_TAGS"].split(",")
        told["tags"] = list(dict.fromkeys([*own, *(tag[:TAG_LENGTH] for tag in tags)]))
        if self.mode == "offline":
            remove_offline(self.root, told["id"])
        try:
            run = wandb.init(
                mode=self.mode, settings=_settings(), job_type=kind, config=config, **told
            )
        except Exception as error:  # wandb's errors have no common base
            what = " ".join(str(error).split())
            raise ExportRefused(f"wandb takes no run ({what}); see --mode offline") from error
        with _copies_beside(Path(run.dir), self.mode):
            try:
                yield run
            except BaseException:
                run.finish(exit_code=1)
                raise
            run.finish()
        self.done.append(identity)

    def _classes(self, record: FinishedRecord) -> Any:
        try:
            return classes_table(record)
        except DamagedRecord as error:
            self.complaints.append(f"{error}; these predictions are left out")
            return None

    def _csv(self, file: Path) -> Any:
        try:
            return _table(*csv_table(file))
        except (ValueError, IndexError) as error:
            self.complaints.append(f"{file}: no table ({error}); it is left out")
            return None


def folders_of_series(root: Path) -> list[Path]:
    """Those of tables, studies and tunings."""
    found = [folder for kind in SERIES for folder in sorted(Path(root, kind).glob("*"))]
    return [folder for folder in found if folder.is_dir()]


def _settings() -> Any:
    """Nothing of this machine and of now: neither is the run's."""
    import wandb

    return wandb.Settings(
        init_timeout=INIT_TIMEOUT,
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
    )


@contextmanager
def _copies_beside(files: Path, mode: str) -> Iterator[None]:
    """wandb's copies of an offline run's tables lie with it, and go with it, instead of in the
    user's home for ever."""
    if mode == "online" or os.environ.get(DATA_VARIABLE):
        yield
        return
    os.environ[DATA_VARIABLE] = str(files.parent / "data")
    try:
        yield
    finally:
        del os.environ[DATA_VARIABLE]


def _table(columns: list[str], lines: list[list[Any]]) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=lines)


def _predictions(record: FinishedRecord, run_id: str) -> Any:
    """The record's file itself: no copy is made, and ``wandb sync`` reads it there."""
    import wandb

    artifact = wandb.Artifact(f"predictions-{run_id}", type="predictions")
    file = (record.folder / PREDICTIONS).resolve()
    artifact.add_file(str(file), name=PREDICTIONS, policy="immutable", skip_cache=True)
    return artifact
