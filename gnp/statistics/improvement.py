"""Probability of improvement: how often a run of A is better than a run of B."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from gnp.statistics.intervals import CONFIDENCE, Interval

FEW = 5  # seeds from which on the normal quantile holds


@dataclass(frozen=True)
class Improvement:
    """P(a run of A has a lower error than one of B), equal ones half (Agarwal et al. 2021, Deep
    reinforcement learning at the edge of the statistical precipice), with its 95 % interval."""

    probability: float
    interval: Interval

    @classmethod
    def of(cls, a: Sequence[float], b: Sequence[float]) -> "Improvement | None":
        """From the errors of the runs, any number of each; None without runs."""
        if not a or not b:
            return None
        # Rounded, so that 22.7 and 100 − 77.3 are equal.
        difference = np.round(np.subtract.outer(np.asarray(a), np.asarray(b)), 9)
        probability = float((difference < 0).mean() + (difference == 0).mean() / 2)
        return cls(probability, _newcombe(probability, len(a), len(b)))


def _newcombe(probability: float, n: int, m: int) -> Interval:
    """Newcombe's interval of the Mann–Whitney statistic (2006, Statistics in Medicine 25, method
    5): it keeps to 0 … 1 and has a width also where every run of one is better.

    All θ that lie less than q standard deviations from the estimate, the variance being that at θ:
    θ(1 − θ)(1 + (N − 1)((1 − θ)/(2 − θ) + θ/(1 + θ)))/(nm), N = (n + m)/2. q is normal, and the
    coverage 94 to 97.5 % from five runs on; for fewer, for which it covers too little (90 % with
    three), q is Student's with n + m − 2 degrees of freedom, which covers at least 95 %. Runs count
    as independent: where the same seed makes A and B alike, more is covered (98 to 99 % at a
    correlation of a half).
    """
    upper = (1 + CONFIDENCE) / 2
    few = min(n, m) < FEW
    if n + m == 2:
        return Interval(0.0, 1.0)
    quantile = float(scipy.special.stdtrit(n + m - 2, upper) if few else scipy.special.ndtri(upper))
    # (θ − p)² (2 − θ)(1 + θ) = q² θ(1 − θ) [(2 − θ)(1 + θ) + (N − 1)(1 + 2θ − 2θ²)]/(nm)
    theta = np.polynomial.Polynomial([0.0, 1.0])
    denominator = (2 - theta) * (1 + theta)
    variance = (
        theta * (1 - theta) * (denominator + ((n + m) / 2 - 1) * (1 + 2 * theta * (1 - theta)))
    )
    roots = ((theta - probability) ** 2 * denominator - quantile**2 / (n * m) * variance).roots()
    real = roots[abs(roots.imag) < 1e-6].real
    inside = real[(real > -1e-9) & (real < 1 + 1e-9)].clip(0, 1)
    return Interval(round(float(inside.min()), 9), round(float(inside.max()), 9))
