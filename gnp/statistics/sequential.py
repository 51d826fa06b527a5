"""Tests of paired differences: one for a number of seeds that was fixed before, one that may be
looked at after each seed.

Both have a p-value, a level at n seeds and an interval, so that a table takes either.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

from gnp.statistics.intervals import CONFIDENCE, Differences, Interval
from gnp.statistics.power import SMALLEST
from gnp.statistics.verdict import Verdict, verdicts

SHAPE = 0.1
PATHS, CHUNK = 100_000, 20_000


@dataclass(frozen=True)
class FixedSeeds:
    """The paired t-test, for seeds whose number does not depend on what they showed."""

    name = "paired t"
    note = ""
    fewest = 2

    def direction(self, differences: Differences) -> float:
        return differences.mean

    def p(self, differences: Differences) -> float:
        return differences.p

    def level(self, n: int, level: float) -> float:
        """At which n seeds are compared so that the whole test has ``level``."""
        return level

    def interval(self, differences: Differences) -> Interval | None:
        return differences.interval()


FIXED_SEEDS = FixedSeeds()


@dataclass(frozen=True)
class Sequential:
    """May be looked at after each seed from ``min_seeds`` to ``max_seeds``, and is wrong in 5 % of
    all tables without a difference, however often it was looked at and whenever one stopped.

    Wang and Tsiatis' boundaries (1987, Biometrics 43) with Δ = 0.1, close to O'Brien and Fleming's:
    after n seeds it is decided where |z_n| ≥ c · (n/max_seeds)^(Δ − 1/2), z_n being the normal
    quantile of the paired t-test's p-value (Jennison and Turnbull 2000, Group sequential methods,
    ch. 4). c is of these very t's, by 100,000 tables of normal differences without a difference,
    always the same ones. If differences are uniform 5.8 % are wrong, with the tails of a t of four
    degrees of freedom 4.2. From 5 to 30 seeds it finds a difference of 0.5 (0.6, 0.8) standard
    deviations in 71 % (86, 98) of the tables, after 24 (21, 17) seeds in the mean; 30 fixed seeds
    find 75 % (89, 99).

    As ``p`` is valid whenever one looks, Holm's procedure over the comparisons of a table is valid
    too, also where each has another number of seeds; and as it never grows, what is decided stays
    so. Its direction is that of the look that ``p`` is of, the farthest: the mean of all seeds may
    lie elsewhere.

    Seeds are looked at in the order of ``differences``, those after ``max_seeds`` not at all.
    """

    min_seeds: int = 5
    max_seeds: int = 30

    def __post_init__(self) -> None:
        if not 2 <= self.min_seeds <= self.max_seeds:
            raise ValueError(
                f"min_seeds={self.min_seeds}, max_seeds={self.max_seeds}: expected 2 at least, and "
                f"no fewer at most"
            )

    @property
    def name(self) -> str:
        return f"paired t, looked at after each of {self.min_seeds} to {self.max_seeds} seeds"

    @property
    def note(self) -> str:
        return (
            "Intervals are those of the last look, wide enough for all looks: what an earlier one "
            "has decided stays decided, also where 0 lies inside. Means, P(lower) and its interval "
            f"are as for seeds whose number was fixed before. More than {self.max_seeds} seeds "
            "needed are, about, those of a rule with so many at most."
        )

    @property
    def fewest(self) -> int:
        return self.min_seeds

    def decided(self, differences: Differences) -> Verdict:
        """The verdict after these seeds, of one comparison alone; ``verdicts`` has several."""
        return verdicts([differences], self)[0]

    def p(self, differences: Differences) -> float:
        """Probability, without a difference, of a look at any of the seeds up to ``max_seeds`` as
        far out as the farthest of those so far: valid whenever one looks, and never growing from
        seed to seed. 1 before ``min_seeds``."""
        if differences.n < self.min_seeds or not differences.std > 0:
            return 1.0
        as_far = len(self._null) - np.searchsorted(self._null, abs(self._farthest(differences)))
        return float((1 + as_far) / (1 + len(self._null)))

    def direction(self, differences: Differences) -> float:
        return self._farthest(differences)

    def _farthest(self, differences: Differences) -> float:
        """The weighted z of the look that is farthest out."""
        values = np.array([differences.values[: self.max_seeds]])
        looks = _scores(values, self.min_seeds)[0] * self._weights[: values.shape[1]]
        return float(looks[np.abs(looks).argmax()])

    def level(self, n: int, level: float) -> float:
        """Of the t-test after n seeds; 0 where it is not looked at, or as good as that."""
        if n < self.min_seeds:
            return 0.0
        boundary = self._null[math.ceil((1 - level) * len(self._null)) - 1]
        weight = self._weights[min(n, self.max_seeds) - 1]
        own = float(2 * scipy.special.ndtr(-boundary / weight))
        return own if own > SMALLEST else 0.0

    def interval(self, differences: Differences) -> Interval | None:
        """Of all differences that the look at these seeds would not have ruled out: those of all
        looks hold the true one together, with 95 % probability (repeated confidence intervals,
        Jennison and Turnbull 2000, ch. 9). None where it rules nothing out."""
        seen = Differences(differences.values[: self.max_seeds])
        level = self.level(seen.n, 1 - CONFIDENCE)
        return seen.interval(1 - level) if level else None

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """Of z at 1, 2, …, ``max_seeds`` seeds; 0 where it is not looked at."""
        n = np.arange(1, self.max_seeds + 1)
        return np.where(n < self.min_seeds, 0.0, (n / self.max_seeds) ** (0.5 - SHAPE))

    @property
    def _null(self) -> NDArray[np.float64]:
        return _farthest_by_chance(self.min_seeds, self.max_seeds)


@lru_cache(maxsize=8)
def _farthest_by_chance(min_seeds: int, max_seeds: int) -> NDArray[np.float64]:
    """How far out the farthest look is in tables without a difference, sorted (PATHS,)."""
    generator = np.random.default_rng(0)
    weights = Sequential(min_seeds, max_seeds)._weights
    farthest = [
        np.abs(_scores(generator.standard_normal((CHUNK, max_seeds)), min_seeds) * weights).max(1)
        for _ in range(PATHS // CHUNK)
    ]
    return np.sort(np.concatenate(farthest))


def _scores(values: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """z after 1, 2, … seeds, (tables, seeds) as ``values``, signed as the mean; 0 before ``first``
    and where there is no spread."""
    n = np.arange(1, values.shape[1] + 1)
    mean = values.cumsum(1) / n
    # Welford's sum of squares, which does not cancel.
    before = np.concatenate([np.zeros((len(values), 1)), mean[:, :-1]], 1)
    squares = ((values - before) * (values - mean)).cumsum(1)
    n, mean, squares = n[first - 1 :], mean[:, first - 1 :], squares[:, first - 1 :]
    error = np.sqrt(squares / (n - 1) / n)
    t = np.divide(mean, error, out=np.zeros_like(mean), where=error > 1e-10)
    scores = np.zeros(values.shape)
    scores[:, first - 1 :] = -np.sign(t) * scipy.special.ndtri(
        scipy.special.stdtr(n - 1, -np.abs(t))
    )
    return scores
