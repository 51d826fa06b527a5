"""Differences between two methods that were trained with the same seeds, and their intervals.

Errors are in %, differences in percentage points, A minus B: below 0 where A is better.

Distribution functions are ``scipy.special``'s, which ``scipy.stats`` calls too: that is imported in
half a second more, and whatever reads a table's records would wait for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
# Differences (points) that are closer than that are the same: so near are errors that were rounded.
RESOLUTION = 1e-9
# Variances that are closer than that, relative to each other, are the same.
ROUNDING = 1e-9


# Points: no two errors in % are farther apart.
WIDEST = 100.0


class Interval(NamedTuple):
    low: float
    high: float


def informative(interval: Interval | None) -> Interval | None:
    """None in the place of one that reaches more than 100 points to either side, as two seeds, or
    the first look of many, may have."""
    if interval is None or interval.high - interval.low > 2 * WIDEST:
        return None
    return interval


@dataclass(frozen=True)
class Differences:
    """What seeds say of A against B, one difference a seed.

    Under normal differences ``p`` and ``interval`` are exact for any n from 2 (Student 1908): 3
    seeds suffice, if the spread is small. They are of these test images: other images were not
    drawn.
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, a: Sequence[float], b: Sequence[float]) -> "Differences":
        """From the errors of A and B, in the same order of the seeds."""
        return cls(tuple(x - y for x, y in zip(a, b, strict=True)))

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @cached_property
    def std(self) -> float:
        """Sample standard deviation; 0 where the differences are the same but for rounding, NaN for
        one."""
        if self.n < 2:
            return math.nan
        std = float(np.std(self.values, ddof=1))
        return std if std > RESOLUTION else 0.0

    @property
    def standard_error(self) -> float:
        return self.std / math.sqrt(self.n)

    @property
    def p(self) -> float:
        """Two-sided p-value of the paired t-test. 1 where all differences are the same: a spread
        of 0 is no estimate of one, but the grid on which errors lie."""
        if not self.standard_error > 0:
            return 1.0
        return float(2 * scipy.special.stdtr(self.n - 1, -abs(self.mean) / self.standard_error))

    def interval(self, confidence: float = CONFIDENCE) -> Interval | None:
        """Of the mean over all seeds. None without a spread."""
        if not self.standard_error > 0:
            return None
        half = float(scipy.special.stdtrit(self.n - 1, (1 + confidence) / 2)) * self.standard_error
        return Interval(self.mean - half, self.mean + half)


def interval_for_new_images(
    correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_], confidence: float = CONFIDENCE
) -> Interval | None:
    """Of the difference (points) that other seeds would have on other images of the same kind.

    With d(s, i) = μ + seed(s) + image(i) + rest(s, i) the variance of the mean over n seeds and m
    images is σ²_seed/n + σ²_image/m + σ²_rest/(n·m). The paired t-test's s²/n, of the seeds' means,
    estimates the first and the last term together; the second is what the images' means vary
    beyond their rest. The half-width is √(t² · s²/n + z² · σ²_image/m), t of n − 1 degrees of
    freedom: never narrower than the interval for these very images.

    That takes the place of resampling seeds and images (the pigeonhole bootstrap), which counts
    the rest three times (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1) and
    has no quantile for few seeds; no bootstrap of both factors has the right variance (McCullagh
    2000, Resampling and exchangeable arrays, Bernoulli 6). The sum of two half-widths' squares is
    Zou and Donner's (2008, Statistics in Medicine 27).

    Coverage at 95 %, whatever part the images have: 95 to 95.4 % with 20 seeds, to 96.6 with 5, to
    97.7 with 3, to 98.8 with 2.

    Args:
        correct_a, correct_b: (seeds, images), of the same seeds and images.

    Returns:
        None where there are fewer than two seeds or images, or the seeds' errors are all as far
        apart: a spread of 0 is no estimate of one.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 2:
        raise ValueError(f"shapes {correct_a.shape} and {correct_b.shape}: expected one, of two")
    n, m = correct_a.shape
    if n < 2 or m < 2:
        return None
    d = 100 * (correct_b.astype(np.float32) - correct_a.astype(np.float32))
    of_seeds, of_images, mean = d.mean(1, dtype=float), d.mean(0, dtype=float), d.mean(dtype=float)
    if not of_seeds.std(ddof=1) > RESOLUTION:
        return None
    rest = d - of_seeds[:, None] - of_images + mean
    rest_variance = float(np.square(rest).sum(dtype=float)) / ((n - 1) * (m - 1))
    seeds_part = of_seeds.var(ddof=1) / n
    of_rest = rest_variance / n
    beyond = of_images.var(ddof=1) - of_rest
    images_part = beyond / m if beyond > ROUNDING * of_rest else 0.0
    upper = (1 + confidence) / 2
    half = math.sqrt(
        scipy.special.stdtrit(n - 1, upper) ** 2 * seeds_part
        + scipy.special.ndtri(upper) ** 2 * images_part
    )
    return Interval(float(mean) - half, float(mean) + half)
