"""What a paired t-test could have decided, and what it would take."""

import math
from collections.abc import Callable
from functools import lru_cache

import scipy

POWER = 0.8
MOST_SEEDS = 10_000
SMALLEST = 1e-12  # level: no error in % is a million standard deviations below another
FAR = 1000.0  # a noncentrality for which scipy's series grows long


def power(effect: float, n: int, level: float) -> float:
    """Probability that n seeds decide, and rightly, if the true difference is ``effect`` standard
    deviations of the differences: of the noncentral t, two-sided."""
    return _reached(effect * math.sqrt(n), n, level)


def _reached(noncentrality: float, n: int, level: float) -> float:
    critical = float(scipy.special.stdtrit(n - 1, 1 - level / 2))
    if noncentrality > FAR:  # the mean's error is nothing beside that of the spread: to 1e-5
        return float(scipy.special.chdtr(n - 1, (n - 1) * (noncentrality / critical) ** 2))
    below = float(scipy.special.nctdtr(n - 1, noncentrality, critical))
    # In the far tail scipy has no number.
    return 1 - below if not math.isnan(below) else float(noncentrality > critical)


def smallest_gap(std: float, n: int, level: float) -> float | None:
    """The true difference that n seeds, whose differences have this standard deviation, would have
    decided with 80 % probability. None for fewer than two, without a spread, or at a level that is
    as good as 0."""
    if n < 2 or not std > 0 or not level > SMALLEST:
        return None
    return std * _smallest_noncentrality(n, level) / math.sqrt(n)


@lru_cache(maxsize=4096)
def _smallest_noncentrality(n: int, level: float) -> float:
    """By halving: scipy's own inverse looks at a million first, which takes it minutes."""
    low, high = 0.0, 1.0
    while _reached(high, n, level) < POWER:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _reached(middle, n, level) >= POWER else (middle, high)
    return high


def seeds_needed(gap: float, std: float, level: Callable[[int], float]) -> int | None:
    """The fewest seeds that decide a true difference of ``gap`` with 80 % probability, if
    differences have this standard deviation. None where more than 10,000 would not do, or without
    a spread.

    Args:
        level: number of seeds → level at which they are compared, which grows with them or stays.
    """

    def do(n: int) -> bool:
        return level(n) > 0 and power(abs(gap) / std, n, level(n)) >= POWER

    if not std > 0 or not do(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # low does not do, high does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if do(middle) else (middle, high)
    return high
