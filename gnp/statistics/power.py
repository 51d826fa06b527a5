"""What a paired t-test could have decided, and what it would take. Needs scipy."""

import math
from collections.abc import Callable
from functools import lru_cache

from scipy.special import nctdtr, nctdtrinc, stdtrit

POWER = 0.8
MOST_SEEDS = 10_000


def power(effect: float, n: int, level: float) -> float:
    """Probability that n seeds decide, and rightly, if the true difference is ``effect`` standard
    deviations of the differences: of the noncentral t, two-sided."""
    noncentrality = effect * math.sqrt(n)
    critical = float(stdtrit(n - 1, 1 - level / 2))
    reached = 1 - float(nctdtr(n - 1, noncentrality, critical))
    # Far from it scipy's series has no value.
    return reached if not math.isnan(reached) else float(noncentrality > critical)


def smallest_gap(std: float, n: int, level: float) -> float | None:
    """The true difference that n seeds, whose differences have this standard deviation, would have
    decided with 80 % probability. None for fewer than two, without a spread, or at level 0."""
    if n < 2 or not std > 0 or not level > 0:
        return None
    return std * _smallest_noncentrality(n, level) / math.sqrt(n)


@lru_cache(maxsize=4096)
def _smallest_noncentrality(n: int, level: float) -> float:
    return float(nctdtrinc(n - 1, 1 - POWER, float(stdtrit(n - 1, 1 - level / 2))))


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
