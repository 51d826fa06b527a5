"""What ``scripts/evaluate.py`` found, as tables and as JSON. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnp.report.grid import Entry, Grid, Line

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


def overview(runs: Sequence[EvaluatedRun]) -> Grid:
    """A line for each run and set of images; of corruptions the mean alone."""
    lines = []
    for run in runs:
        labels = [run.run, f"{run.epoch}/{run.epochs}"]
        for e in run.evaluations:
            if e.corruption is None:
                entries = [f"{e.count:,}", *_shown(e)]
                lines.append(Line([*labels, e.images], [Entry(text) for text in entries]))
        if run.mean is not None:
            name = f"mean of {run.counted} corruptions × severities"
            count = sum(e.count for e in run.evaluations if e.in_mean)
            entries = [f"{count:,}", *_shown(run.mean)]
            lines.append(Line([*labels, name], [Entry(text) for text in entries]))
    return Grid(["run", "epoch", "images", "number", *HEADERS], lines, label_columns=3)


def corruptions(run: EvaluatedRun) -> Grid | None:
    """Error (%) of each corruption at each severity; None where there are none."""
    errors: dict[str, dict[int, float]] = {}
    for e in run.evaluations:
        if e.corruption is not None and e.severity is not None:
            errors.setdefault(e.corruption, {})[e.severity] = e.error
    if not errors:
        return None
    severities = sorted({severity for row in errors.values() for severity in row})
    counted = {e.corruption for e in run.evaluations if e.in_mean}
    means = [errors[name] for name in errors if name in counted]
    lines = [
        Line([name if name in counted or not counted else f"{name} (not in the mean)"],
             _row([row[s] for s in severities])) for name, row in errors.items()
    ]  # fmt: skip
    if means:
        columns = [sum(row[s] for row in means) / len(means) for s in severities]
        lines.append(Line([f"mean of {len(means)}"], _row(columns), first=True))
    return Grid(["corruption", *map(str, severities), "mean"], lines, label_columns=1)


def _row(values: Sequence[float]) -> list[Entry]:
    return [Entry(f"{value:.2f}") for value in [*values, sum(values) / len(values)]]


def _shown(numbers: Evaluation | Mapping[str, float]) -> list[str]:
    values = asdict(numbers) if isinstance(numbers, Evaluation) else numbers
    return [f"{values['error']:.2f}", f"{values['nll']:.4f}", f"{values['ece']:.2f}"]
