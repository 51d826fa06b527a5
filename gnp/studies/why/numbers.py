"""What the three studies' texts and figures share."""

import math
import statistics
from collections.abc import Mapping, Sequence

from gnp.report.numbers import MISSING
from gnp.settings.study import number
from gnp.studies.grid import Point
from gnp.studies.why.spec import WhySpec


def shown(values: Sequence[float], digits: int = 3) -> str:
    """The mean of seeds, and their smallest and largest: "0.0123 [0.011, 0.014]"."""
    if not values:
        return MISSING
    mean = significant(statistics.fmean(values), digits)
    if len(values) == 1:
        return mean
    return f"{mean} [{significant(min(values), digits)}, {significant(max(values), digits)}]"


def significant(value: float, digits: int = 3) -> str:
    """So many digits; "1.2e-05" only where there are many zeros."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}" if -3 < places < 8 else f"{value:.{digits - 1}e}"


def of_seeds(seeds: Sequence[int]) -> str:
    """What ``shown`` shows, in words."""
    if len(seeds) == 1:
        return f"Seed {seeds[0]}."
    return f"Mean of seeds {', '.join(map(str, seeds))}, with the smallest and the largest."


def of_alphas(means: Mapping[float, float]) -> str:
    """ "1.73 (α = 0), 1.44 (α = 1)"."""
    return ", ".join(f"{significant(mean)} (α = {number(a)})" for a, mean in means.items())


def epoch_name(spec: WhySpec, epoch: int) -> str:
    if epoch == 0:
        return "initial"
    return f"epoch {epoch}"


def alpha_name(point: Point) -> str:
    names = {0: "0 (standard scheme)", 1: "1 (SAM)"}
    return names.get(point.alpha, number(point.alpha))


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Of log y over log x, by least squares; None of a single point."""
    if len(x) < 2:
        return None
    logs = [math.log(v) for v in x], [math.log(v) for v in y]
    return statistics.linear_regression(*logs).slope


def evenly(low: float, high: float, count: int) -> list[float]:
    """So many values from the lowest to the highest."""
    return [round(low + (high - low) * i / (count - 1), 12) for i in range(count)]
