"""Means over seeds, and which one is the lowest."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (n − 1) over seeds; std is None for one seed."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic | None":
        if not values:
            return None
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))


def is_lowest(value: Statistic | None, among: Iterable[Statistic | None]) -> bool:
    """Whether no mean of ``among``, which has ``value`` in it, is lower (ties share it). One alone
    is not the lowest of anything."""
    means = [other.mean for other in among if other is not None]
    return value is not None and len(means) > 1 and value.mean == min(means)
