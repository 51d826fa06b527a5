"""The page of a whole results root: every table, study and tuning that was rendered there, and
every run. Reads what is there; renders and trains nothing."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from gnp.errors import UserError
from gnp.jobs.plan import FINISHED
from gnp.report.page import Card, Page, Part, Section, Text, link
from gnp.report.runs import (
    FILES,
    Environments,
    Unfinished,
    finished_row,
    runs_table,
    troubles,
    unfinished,
    unfinished_row,
)
from gnp.tracking.ahead import read_ahead
from gnp.tracking.reading import CHECKPOINT, SUMMARY, DamagedRecord, FinishedRecord, read_finished

KINDS = {"tables": "Tables", "studies": "Studies", "tunings": "Tunings"}
REPORT = "report.html"
HEAD_CHARACTERS = 20_000  # of a page, in which its title and description are
TRACES = {*FILES.values(), CHECKPOINT}  # by which the folder of a run is known
SEED = re.compile(r"seed-?\d+")


class NoResults(UserError):
    """There is nothing at all where the results should be."""


@dataclass(frozen=True)
class Rendered:
    """A folder of a table, a study or a tuning: what it is called and says, and its files."""

    folder: Path
    title: str
    verdict: str
    files: list[str]


def index_page(root: Path) -> Page:
    """Raises:
    NoResults: no such folder.
    """
    if not root.is_dir():
        raise NoResults(f"there is no folder {root}; root=… is the one that has runs/ in it")
    sections = [
        Section(name, [_card(one, root) for one in found])
        for kind, name in KINDS.items()
        if (found := list(rendered(root / kind)))
    ]
    finished, left = read_root(root)
    environments = Environments()
    rows = [finished_row(record, root, environments) for record in finished]
    rows += [unfinished_row(run, root / "runs" / run.path, root) for run in left]
    counts = _counted(finished, left)
    summary = f"{counts}."
    where = f"Tables, studies, tunings and runs below {root}/"
    top: list[Part] = [Text(f"{where}. {summary}", "verdict")]
    runs: list[Part] = [Text(f"No run is recorded below {root}/runs.")]
    if rows:
        runs = [runs_table(f"{counts}; †: chosen on the evaluated images", rows)]
    sections = [Section("", top), *sections, Section("Runs", runs)]
    sections += [*troubles(left), *environments.section()]
    return Page(f"All results in {root}/", summary, sections)


def _counted(finished: Sequence[FinishedRecord], left: Sequence[Unfinished]) -> str:
    states = [FINISHED] * len(finished) + [run.state for run in left]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    runs = f"{len(states)} run{'s' * (len(states) != 1)}"
    return f"{runs}: {', '.join(counts)}" if counts else runs


# ---------------------------------------------------------------------- runs


def read_root(root: Path) -> tuple[list[FinishedRecord], list[Unfinished]]:
    """Each run below ``<root>/runs``, in the order of their paths; seeds by number."""
    found = sorted(_run_folders(str(root / "runs")), key=_in_order)
    folders = [Path(path) for path, _ in found]
    with_summary = [f for f, (_, files) in zip(folders, found, strict=True) if SUMMARY in files]
    read_ahead(with_summary)
    finished, left = [], []
    for folder in folders:
        path, damage, record = folder.relative_to(root / "runs"), "", None
        try:
            record = read_finished(folder)
        except DamagedRecord as error:
            damage = str(error)
        if record is None:
            left.append(unfinished(path, folder, damage))
        else:
            finished.append(record)
    return finished, left


def _run_folders(top: str) -> Iterator[tuple[str, set[str]]]:
    """(folder, its files) of every run: a folder of a seed in which something of a run lies, below
    those of a method, a data set and an experiment."""
    for folder, inner, files in os.walk(top):
        if SEED.fullmatch(os.path.basename(folder)):
            inner.clear()
            if len(Path(folder).relative_to(top).parts) < 4:
                continue
            if names := TRACES.intersection(files):
                yield folder, names


def _in_order(found: tuple[str, set[str]]) -> tuple[str, int]:
    cell, seed = os.path.split(found[0])
    return cell, int(seed.removeprefix("seed"))


# ---------------------------------------------------------------------- what was rendered


def rendered(folder: Path) -> Iterator[Rendered]:
    """The tables, or what else lies there, by their names."""
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        files = sorted(f.relative_to(place).as_posix() for f in place.rglob("*") if f.is_file())
        files = [file for file in files if not file.startswith(".")]
        if files:
            title, verdict = _said(place, files)
            yield Rendered(place, title, verdict, files)


def _said(place: Path, files: Sequence[str]) -> tuple[str, str]:
    """Title and verdict of a report's head; of an older one, that has no report, the heading of its
    text."""
    if REPORT in files:
        with open(place / REPORT, encoding="utf-8", errors="replace") as file:
            head = file.read(HEAD_CHARACTERS)
        title = re.search(r"<title>(.*?)</title>", head, re.S)
        verdict = re.search(r'<meta name="description" content="(.*?)">', head, re.S)
        if title:
            return unescape(title[1]), unescape(verdict[1]) if verdict else ""
    for name in files:
        if name.endswith(".md"):
            first = (place / name).read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
            return re.sub(r"\\(\W)", r"\1", first.lstrip("# ")), ""
    return place.name, ""


def _card(one: Rendered, root: Path) -> Card:
    base = one.folder.relative_to(root).as_posix()
    title = link(one.title, f"{base}/{REPORT}") if REPORT in one.files else one.title
    others = [link(file, f"{base}/{file}") for file in one.files if file != REPORT]
    return Card(title, one.verdict, others)
