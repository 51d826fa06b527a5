"""Which differences of a table are decided, and what the others would have taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gnp.statistics.intervals import Differences, Interval
from gnp.statistics.power import seeds_needed, smallest_gap

LEVEL = 0.05
BELOW, ABOVE, UNDECIDED = "below", "above", "undecided"


class Rule(Protocol):
    """``FixedSeeds`` or ``Sequential``."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """What has to be said of its numbers, or ""."""
        ...

    @property
    def fewest(self) -> int:
        """Seeds of which it says something."""
        ...

    def direction(self, differences: Differences) -> float:
        """Below 0 where A is the lower one, if that is decided."""
        ...

    def p(self, differences: Differences) -> float: ...

    def level(self, n: int, level: float) -> float: ...

    def interval(self, differences: Differences) -> Interval | None: ...


@dataclass(frozen=True)
class Verdict:
    """Of A against B.

    Attributes:
        decision: "below" or "above" (A's error is the lower or the higher one) or "undecided".
        p: adjusted to all comparisons of the table: decided where it is at most 0.05.
        smallest_gap: undecided ones: the true difference (points) that as many seeds, with the
            spread that they have, would have decided with 80 % probability.
        seeds_needed: undecided ones: seeds that would decide a true difference as large as the
            seen one, with 80 % probability; None where 10,000 would not do.
    """

    decision: str
    p: float
    smallest_gap: float | None = None
    seeds_needed: int | None = None

    @property
    def decided(self) -> bool:
        return self.decision != UNDECIDED


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted to one another, in the same order: those at most α after it are decided,
    and a wrong one is among them with probability α at most, however the comparisons hang together
    (Holm 1979, Scandinavian Journal of Statistics 6): the smallest times their number, the next
    times one less, …, none below one before it, none above 1."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def verdicts(comparisons: Sequence[Differences], rule: Rule) -> list[Verdict]:
    """Of all comparisons of a table, with the probability of any wrong one kept to 5 %.

    The gaps and seeds of the undecided ones are those at the level that Holm's procedure stopped
    at: 5 % by the number of undecided ones.

    Args:
        comparisons: each of two differences at least.
    """
    adjusted = holm([rule.p(differences) for differences in comparisons])
    undecided = sum(p > LEVEL for p in adjusted)
    return [
        Verdict(BELOW if rule.direction(differences) < 0 else ABOVE, p)
        if p <= LEVEL
        else _undecided(differences, p, LEVEL / undecided, rule)
        for differences, p in zip(comparisons, adjusted, strict=True)
    ]


def _undecided(differences: Differences, p: float, level: float, rule: Rule) -> Verdict:
    n, std = differences.n, differences.std
    return Verdict(
        UNDECIDED,
        p,
        smallest_gap(std, n, rule.level(n, level)),
        seeds_needed(differences.mean, std, lambda seeds: rule.level(seeds, level)),
    )
