"""What there is to be shown of a root: read from its records, so that no panel stays empty."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnp.dashboards.export import folders_of_series
from gnp.tracking.reading import FinishedRecord
from gnp.tracking.wandb_names import fitting

# What every run records, or what a panel of its own shows.
USUAL = {"epoch", "train_loss", "train_error", "learning_rate", "train_seconds", "seconds"}


@dataclass(frozen=True)
class Place:
    """An experiment on a data set with an augmentation: where methods are compared.

    ``points`` are the different (r, α) of its runs.
    """

    experiment: str
    dataset: str
    augmentation: str
    evaluated: str
    methods: tuple[str, ...]
    points: frozenset[tuple[float, float]]

    @property
    def title(self) -> str:
        return f"{self.experiment}, {self.dataset}, {self.augmentation}"

    @property
    def groups(self) -> list[str]:
        """wandb's names of its cells: what ``names_of`` makes of them, if no group is set."""
        place = f"{self.experiment}/{self.dataset}-{self.augmentation}"
        return [fitting(f"{place}/{method}") for method in self.methods]

    @property
    def error(self) -> str:
        return f"{self.evaluated}_error"

    @property
    def has_grid(self) -> bool:
        """Whether its runs are a study of r and α: several α with one r, and several r with one α.
        SAM and GNP, each with an r of its own, are none."""
        climbs = [point for point in self.points if point[0] * point[1]]
        return all(len(climbs) > len({point[axis] for point in climbs}) for axis in (0, 1))


@dataclass(frozen=True)
class Seen:
    """``further`` are the recorded metrics beyond the usual ones: gradient norms, cosines, …"""

    places: tuple[Place, ...]
    further: tuple[str, ...]
    series: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """Of its series: wandb's job types of them."""
        return sorted({one.partition("/")[0] for one in self.series})

    @property
    def errors(self) -> list[str]:
        return sorted({place.error for place in self.places})


def seen_in(records: Iterable[FinishedRecord], root: Path) -> Seen:
    by_place: dict[tuple[str, ...], list[FinishedRecord]] = {}
    further: set[str] = set()
    for record in records:
        s = record.summary
        key = (s["experiment"], s["dataset"], s["augmentation"], s["evaluated"])
        by_place.setdefault(key, []).append(record)
        further |= {name for line in record.metrics for name in line}
    own = {f"{split}_{what}" for split in ("test", "validation") for what in ("loss", "error")}
    return Seen(
        tuple(_place(key, of_place) for key, of_place in sorted(by_place.items())),
        tuple(sorted(further - USUAL - own)),
        tuple(f"{folder.parent.name}/{folder.name}" for folder in folders_of_series(root)),
    )


def _place(key: tuple[str, ...], records: Sequence[FinishedRecord]) -> Place:
    experiment, dataset, augmentation, evaluated = key
    methods = tuple(sorted({record.summary["method"] for record in records}))
    optimizers = [record.config.get("optimizer", {}) for record in records]
    points = frozenset((float(o.get("r", 0)), float(o.get("alpha", 0))) for o in optimizers)
    return Place(experiment, dataset, augmentation, evaluated, methods, points)
