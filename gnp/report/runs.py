"""Runs as rows of a page: what each says, what it was made with, and its files.

What has no finished record is told from what the run left: how far it came, and the end of its log.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from gnp.files import end_of
from gnp.jobs.plan import (
    DAMAGED,
    DIVERGED,
    FAILED,
    FINISHED,
    LOG_BYTES,
    MISSING,
    STARTED,
    how_far,
)
from gnp.jobs.pool import LOG
from gnp.report.numbers import MISSING as NOTHING
from gnp.report.page import Column, Definition, Output, Part, Row, Section, Table, Text, link
from gnp.tracking.diverged import DIVERGED as DIVERGED_FILE
from gnp.tracking.reading import (
    CONFIG,
    ENVIRONMENT,
    METRICS,
    PREDICTIONS,
    SUMMARY,
    FinishedRecord,
)

FILES = {
    "config": CONFIG,
    "summary": SUMMARY,
    "metrics": METRICS,
    "environment": ENVIRONMENT,
    "predictions": PREDICTIONS,
    "diverged": DIVERGED_FILE,
    "log": LOG,
}
LOG_LINES = 15  # of its end
# What a terminal takes as commands, and no page may hold.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
TOGETHER = "\N{NO-BREAK SPACE}"  # between words that stay in one line

NUMBERS = ("best error†, % (epoch)", "fit error, %", "epochs", "seconds")
COLUMNS = [
    *(Column(name) for name in ("experiment", "data", "method")),
    Column("seed", numeric=True),
    Column("state"),
    Column("error, %", numeric=True),
    Column("files", printed=False),
    Column("images"),
    *(Column(name, numeric=True) for name in NUMBERS),
    Column("date, code", whole=True),
    Column("made with"),
]
LABELS = 4  # columns that name a run


@dataclass(frozen=True)
class Unfinished:
    """A run without a whole record of an end that has numbers. ``state``: "diverged", "damaged",
    "failed", "started" or "missing"; ``why`` and ``log``: what it said at its end."""

    path: Path
    state: str
    epochs: int = 0
    why: str = ""
    log: str = ""


@dataclass
class Environments:
    """Each set of versions and processor that runs were made with, once, in the order in which they
    are asked for."""

    known: dict[tuple[str, ...], int] = field(default_factory=dict)

    def link(self, record: FinishedRecord) -> str:
        """What the run's last start was made with, in short, linked to all of it."""
        if not record.environments:
            return NOTHING
        start = record.environments[-1]
        packages = start.get("packages") or {}
        versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        processor, cores = start.get("processor") or NOTHING, start.get("cores") or NOTHING
        device, count = start.get("device") or NOTHING, start.get("processes") or 1
        about = (
            f"Python {start.get('python') or NOTHING}; {versions or NOTHING}",
            f"processor: {processor}, cores: {cores}",
            f"device: {device}, processes: {count}, {start.get('platform') or NOTHING}",
        )
        number = self.known.setdefault(about, len(self.known) + 1)
        short = [f"torch{TOGETHER}{packages['torch']}"] if packages.get("torch") else []
        # The processor is what trains where there is no accelerator.
        short += [str(processor if device == "cpu" else device)] if device != NOTHING else []
        return link(", ".join(short) or f"environment {number}", f"#environment-{number}")

    def section(self) -> list[Section]:
        """Where the links lead; none where there are none."""
        if not self.known:
            return []
        entries = [(f"environment-{n}", f"Environment {n}", list(about))
                   for about, n in self.known.items()]  # fmt: skip
        return [Section("Made with", [Definition(entries)])]


def finished_row(record: FinishedRecord, page: Path, environments: Environments) -> Row:
    """``page``: the folder of the page."""
    summary = record.summary
    final, best, evaluated = summary["final"], summary["best"], summary["evaluated"]
    return Row(
        [
            summary["experiment"],
            f"{summary['dataset']}-{summary['augmentation']}",
            summary["method"],
            str(summary["seed"]),
            FINISHED,
            f"{final[f'{evaluated}_error']:.2f}",
            files_of(record.folder, page),
            evaluated,
            f"{best[f'{evaluated}_error']:.2f} ({best['epoch']})",
            f"{final['fit_error']:.2f}",
            str(summary["epochs"]),
            f"{summary['seconds']:.0f}",
            date_and_code(str(summary.get("finished") or NOTHING)[:10], record.code or NOTHING),
            environments.link(record),
        ]
    )


def unfinished_row(run: Unfinished, folder: Path, page: Path) -> Row:
    """Args:
    folder: the run's.
    page: that of the page.
    """
    *experiment, data, method, seed = run.path.parts
    names = ["/".join(experiment), data, method, seed.removeprefix("seed")]
    epochs = str(run.epochs) if run.epochs else NOTHING
    numbers = [NOTHING] * 3 + [epochs] + [NOTHING] * 3
    return Row([*names, run.state, NOTHING, files_of(folder, page), *numbers])


def date_and_code(date: str, code: str) -> str:
    """Below each other."""
    return Markup("{}<br>{}").format(date, code) if code != NOTHING else date


def files_of(folder: Path, page: Path) -> str:
    """Links to the files that are there, two a line: all columns are to fit on a desk."""
    try:
        there = set(os.listdir(folder))
    except OSError:
        return NOTHING
    base = Path(os.path.relpath(folder, page)).as_posix()
    links = [link(name, f"{base}/{file}") for name, file in FILES.items() if file in there]
    pairs = [Markup(TOGETHER).join(links[i : i + 2]) for i in range(0, len(links), 2)]
    return Markup("<br>").join(pairs) if links else NOTHING


def runs_table(caption: str, rows: Sequence[Row]) -> Table:
    return Table(caption, COLUMNS, rows, LABELS, filtered=True)


def unfinished(path: Path, folder: Path, damage: str = "") -> Unfinished:
    """What a run without a whole record left.

    Args:
        path: the run's, below ``runs``.
        damage: what is wrong with its record, if there is one.
    """
    state, epochs, why = how_far(folder)
    if damage:
        state, why = DAMAGED, damage
    elif state == MISSING and (folder / CONFIG).exists():  # it begins anew, but it was begun
        state = STARTED
    return Unfinished(
        path, state, epochs, why, "" if state == MISSING else last_lines(folder / LOG)
    )


def last_lines(log: Path) -> str:
    """The last lines that a run printed; "" where there is no log."""
    text = end_of(log, LOG_BYTES)
    # A progress bar overwrites its line: what it said last stays.
    said = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return UNPRINTABLE.sub("", "\n".join([line for line in said if line][-LOG_LINES:]))


def troubles(runs: Sequence[Unfinished]) -> list[Section]:
    """What failed or is damaged, each with what was said and the end of its log; none where there
    is nothing to say."""
    parts: list[Part] = []
    for run in sorted(runs, key=lambda run: run.state == STARTED):
        if run.state in (FAILED, DAMAGED, DIVERGED) or run.log:
            done = f", {run.epochs} epoch{'s' * (run.epochs != 1)} behind it" if run.epochs else ""
            why = f": {run.why}" if run.why else ""
            look = "note" if run.state == STARTED else "warning"
            parts.append(Text(f"{run.path} ({run.state}{done}){why}", look))
            if run.log:
                parts.append(Output(f"End of the log of {run.path}", run.log))
    return [Section("Runs that failed, diverged or were not finished", parts)] if parts else []
