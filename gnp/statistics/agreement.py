"""Whether our mean agrees with a published one, whose number of runs nobody knows."""

import math
from dataclasses import dataclass

import scipy

from gnp.statistics.intervals import CONFIDENCE, Interval
from gnp.statistics.means import Statistic

FEWEST = 3  # of our seeds: two have an interval of 13 standard deviations

COMPATIBLE, DIFFERENT, OPEN = "compatible", "different", "open"


@dataclass(frozen=True)
class Agreement:
    """Our mean minus the published one, with its 95 % interval (Welch 1947), and what follows.

    The interval is made as for a published mean of two runs, the fewest that have a std: for three
    and more it holds 0 of equal means in 94 of 100 cases at least, whatever the two spreads are, in
    96 where they are alike (for two, of which Welch's approximation knows too little, in 88). So

        "different"    it leaves out 0: the means differ, for any number of runs from three on
        "compatible"   0 lies inside even if the published mean has no error at all
        "open"         between: it depends on the number of runs
    """

    difference: float
    interval: Interval
    statement: str

    @classmethod
    def of(cls, ours: Statistic, published: float, std: float | None) -> "Agreement | None":
        """None, no statement, where no std was published or there are fewer than three of ours."""
        if std is None or ours.std is None or ours.n < FEWEST:
            return None
        difference = ours.mean - published
        own, theirs = ours.std**2 / ours.n, std**2 / 2
        if own + theirs == 0:
            return None
        freedom = (own + theirs) ** 2 / (own**2 / (ours.n - 1) + theirs**2)
        widest = _quantile(freedom) * math.sqrt(own + theirs)
        narrowest = min(widest, _quantile(ours.n - 1) * math.sqrt(own))
        if abs(difference) > widest:
            statement = DIFFERENT
        else:
            statement = COMPATIBLE if abs(difference) <= narrowest else OPEN
        return cls(difference, Interval(difference - widest, difference + widest), statement)


def _quantile(freedom: float) -> float:
    return float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
