"""What ``scripts/evaluate.py`` found, as tables and as JSON. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

NUMBERS = ("error", "nll", "ece")
HEADERS = ("error, %", "NLL", "ECE, %")


@dataclass(frozen=True)
class Evaluation:
    """One run's network on one set of images.

    Attributes:
        images: what they are called.
        count, error, nll, ece: number of images, %, nats, percentage points.
        digest: of the images and labels.
        corruption, severity: of CIFAR-10-C and its like.
        in_mean: is it one of the corruptions of the mean?
    """

    images: str
    count: int
    error: float
    nll: float
    ece: float
    digest: str
    corruption: str | None = None
    severity: int | None = None
    in_mean: bool = False


@dataclass(frozen=True)
class EvaluatedRun:
    """A run, evaluated after ``epoch`` of its ``epochs``."""

    run: str
    epoch: int
    epochs: int
    evaluations: Sequence[Evaluation]

    @property
    def mean(self) -> dict[str, float] | None:
        """Over the corruptions of the mean and their severities, each image set with the same
        weight; None where there are none."""
        counted = [e for e in self.evaluations if e.in_mean]
        if not counted:
            return None
        return {name: sum(getattr(e, name) for e in counted) / len(counted) for name in NUMBERS}

    @property
    def counted(self) -> int:
        """How many corruptions the mean is of."""
        return len({e.corruption for e in self.evaluations if e.in_mean})

    def to_plain(self) -> dict[str, Any]:
        plain = {**asdict(self), "evaluations": [asdict(e) for e in self.evaluations]}
        return plain if self.mean is None else {**plain, "mean": self.mean}


def overview(runs: Sequence[EvaluatedRun]) -> Table:
    """A row for each run and set of images; of corruptions the mean alone."""
    table = Table(title=Text("Evaluations"), title_justify="left")
    for header in ("run", "epoch", "images", "number"):
        table.add_column(header, justify="right" if header == "number" else "left", no_wrap=True)
    for header in HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    for run in runs:
        epoch = f"{run.epoch}/{run.epochs}"
        for e in run.evaluations:
            if e.corruption is None:
                table.add_row(Text(run.run), epoch, Text(e.images), f"{e.count:,}", *_shown(e))
        if run.mean is not None:
            name = f"mean of {run.counted} corruptions × severities"
            count = sum(e.count for e in run.evaluations if e.in_mean)
            table.add_row(Text(run.run), epoch, name, f"{count:,}", *_shown(run.mean))
    return table


def corruptions(run: EvaluatedRun) -> Table | None:
    """Error (%) of each corruption at each severity; None where there are none."""
    errors: dict[str, dict[int, float]] = {}
    for e in run.evaluations:
        if e.corruption is not None and e.severity is not None:
            errors.setdefault(e.corruption, {})[e.severity] = e.error
    if not errors:
        return None
    severities = sorted({severity for row in errors.values() for severity in row})
    table = Table(title=Text(f"{run.run}: error, % at each severity"), title_justify="left")
    table.add_column("corruption", no_wrap=True)
    for header in [*map(str, severities), "mean"]:
        table.add_column(header, justify="right", no_wrap=True)
    counted = {e.corruption for e in run.evaluations if e.in_mean}
    means = [errors[name] for name in errors if name in counted]
    for name, row in errors.items():
        label = Text(name if name in counted or not counted else f"{name} (not in the mean)")
        table.add_row(label, *_row([row[s] for s in severities]))
    if means:
        table.add_section()
        columns = [sum(row[s] for row in means) / len(means) for s in severities]
        table.add_row(f"mean of {len(means)}", *_row(columns))
    return table


def _row(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in [*values, sum(values) / len(values)]]


def _shown(numbers: Evaluation | Mapping[str, float]) -> list[str]:
    values = asdict(numbers) if isinstance(numbers, Evaluation) else numbers
    return [f"{values['error']:.2f}", f"{values['nll']:.4f}", f"{values['ece']:.2f}"]
