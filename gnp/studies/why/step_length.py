"""The study of r in words, numbers and a figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gnp.report.figures import STYLE, to_svg
from gnp.report.grid import Entry, Grid, Line
from gnp.report.numbers import MISSING
from gnp.settings.study import number
from gnp.studies.why.axes import logarithmic
from gnp.studies.why.numbers import epoch_name, significant, slope
from gnp.studies.why.result import WhyResult

CAPTION = "relative error of the difference over r"
TABLES = ("Relative error of the difference: where it is least, and at the recipes' r",)
COLOURS = {"fp64": "#009E73", "fp32": "#0072B2", "bf16": "#D55E00"}
GREY = "#888888"
SAME = 0.05  # two errors that differ by less, relative to each other, are called the same
LINEAR = 0.3  # a larger error is past where r → 0 tells anything


@dataclass(frozen=True)
class Curve:
    """Median relative error over the batches (and seeds, and α), for each length."""

    epoch: int
    precision: str
    lengths: list[float]
    errors: list[float]
    low: list[float]
    high: list[float]
    cosines: list[float]

    @property
    def best(self) -> int:
        return min(range(len(self.errors)), key=lambda i: self.errors[i])

    @property
    def last(self) -> int:
        """The last bottom: beyond it the error only grows."""
        index = len(self.errors) - 1
        while index > 0 and self.errors[index - 1] < self.errors[index]:
            index -= 1
        return index

    @property
    def left(self) -> float | None:
        """Slope of log error on the way up from the best r to shorter ones: −1 is lost
        precision."""
        first = self.best
        while first > 0 and self.errors[first - 1] > self.errors[first]:
            first -= 1
        return self._slope(range(first, self.best + 1))

    @property
    def right(self) -> float | None:
        """Slope on the way up to longer ones, while the error is below ``LINEAR``: 1 is Taylor's
        next term."""
        end = self.best + 1
        while end < len(self.errors) and self.errors[end - 1] < self.errors[end] < LINEAR:
            end += 1
        return self._slope(range(self.best, end))

    def at(self, r: float) -> tuple[float, float]:
        """Error and cosine."""
        index = self.lengths.index(r)
        return self.errors[index], self.cosines[index]

    def _slope(self, chosen: range) -> float | None:
        return slope([self.lengths[i] for i in chosen], [self.errors[i] for i in chosen])


def curves(result: WhyResult) -> list[Curve]:
    """Those that are measured, epoch by epoch."""
    spec: Any = result.spec
    found = []
    for epoch in spec.epochs:
        values = [v for point in spec.points_at(epoch) for v in result.values(point, epoch)]
        if not values:
            continue
        for precision in spec.precisions:
            rows = [_pooled(values, "errors", precision, i) for i in range(len(spec.lengths))]
            cosines = [_pooled(values, "cosines", precision, i) for i in range(len(spec.lengths))]
            found.append(
                Curve(
                    epoch,
                    precision,
                    list(spec.lengths),
                    [statistics.median(row) for row in rows],
                    [min(row) for row in rows],
                    [max(row) for row in rows],
                    [statistics.median(row) for row in cosines],
                )
            )
    return found


def grids(result: WhyResult) -> list[Grid]:
    spec: Any = result.spec
    headers = ["weights", "precision", "best r", "its error", "slope below", "slope above"]
    headers += ["last bottom", *(f"r = {number(r)}" for r in spec.recipes)]
    lines, last = [], None
    for curve in curves(result):
        entries = [
            number(curve.lengths[curve.best]),
            significant(curve.errors[curve.best], 2),
            *(MISSING if s is None else f"{s:+.2f}" for s in (curve.left, curve.right)),
            f"{significant(curve.errors[curve.last], 2)} at {number(curve.lengths[curve.last])}",
            *(f"{significant(e, 2)} (cos {c:.2f})" for e, c in map(curve.at, spec.recipes)),
        ]
        first = curve.epoch != last
        name, last = (epoch_name(spec, curve.epoch) if first else ""), curve.epoch
        lines.append(Line([name, curve.precision], [Entry(e) for e in entries], first))
    return [Grid(headers, lines, label_columns=2)]


def finding(result: WhyResult) -> str:
    """In a sentence: the best r and the recipes', of the last weights in the precision of
    training; "" where nothing is measured."""
    spec: Any = result.spec
    found = curves(result)
    if not found:
        return ""
    last = [curve for curve in found if curve.epoch == found[-1].epoch]
    curve = next((curve for curve in last if curve.precision == "fp32"), last[0])
    return (
        f"How well the difference (∇L(θ + r v) − ∇L(θ))/r stands for H v, "
        f"{epoch_name(spec, curve.epoch)}: {_of_curve(curve, spec.recipes)}"
    )


def drawn(result: WhyResult) -> str:
    """What the figure's marks are."""
    spec: Any = result.spec
    recipes = ", ".join(map(number, spec.recipes))
    return (
        f"Lines are medians of {_batches(result)}. Bands go from the smallest to the largest error "
        f"of these batches: they are no confidence intervals. On the grey line the error is as "
        f"long as H v itself."
        + (f" Dotted lines are at the recipes' r: {recipes}." if recipes else "")
    )


def _batches(result: WhyResult) -> str:
    spec: Any = result.spec
    networks = len(spec.seeds) * len(spec.alpha)
    return f"{spec.batches} batches" + (f" of each of {networks} networks" * (networks > 1))


def notes(result: WhyResult) -> list[str]:
    spec: Any = result.spec
    lines = [
        f"Relative error ‖d − H v‖/‖H v‖ of d = (∇L(θ + r v) − ∇L(θ))/r with v = g1/‖g1‖, the "
        f"median of {spec.batches} training batches (augmented, batch statistics, no decay); cos: "
        f"the median cosine of d and H v. H v: two backward passes in float64. Each precision "
        f"computes g1, v and both gradients by itself; bf16 is torch's autocast with fp32 weights.",
        f"Slopes of log error over log r, up from the best r to shorter and to longer ones (these "
        f"up to an error of {number(LINEAR)}): −1 is lost precision, +1 the O(r) term. Last "
        f"bottom: the error beyond which it only grows with r.",
    ]
    return [*lines, *_in_words(result)]


def _in_words(result: WhyResult) -> Iterator[str]:
    spec: Any = result.spec
    for epoch in spec.epochs:
        found = {curve.precision: curve for curve in curves(result) if curve.epoch == epoch}
        said = []
        if "fp32" in found and spec.recipes:
            said.append(_of_curve(found["fp32"], spec.recipes))
        if "fp32" in found and "fp64" in found and spec.recipes:
            said.append(_against_double(found, spec.recipes))
        if "bf16" in found and "fp64" in found:
            said.append(_of_half(found["bf16"], found["fp64"]))
        said += _of_gates(result, epoch)
        if said:
            yield f"{epoch_name(spec, epoch).capitalize()}: " + " ".join(said)


def _of_curve(curve: Curve, recipes: list[float]) -> str:
    best, error = curve.lengths[curve.best], curve.errors[curve.best]
    nearest = (
        f"in {curve.precision} the difference is nearest to H v at r = {number(best)} (error "
        f"{significant(error, 2)})"
    )
    if not recipes:
        return f"{nearest}."
    at = [curve.at(r)[0] for r in recipes]
    return (
        f"{nearest}; at the recipes' r, {number(recipes[0])} to {number(recipes[-1])}, its error "
        f"is {significant(min(at), 2)} to {significant(max(at), 2)}."
    )


def _against_double(found: dict[str, Curve], recipes: list[float]) -> str:
    pairs = [(found["fp32"].at(r)[0], found["fp64"].at(r)[0]) for r in recipes]
    if all(_same(*pair) for pair in pairs):
        return "In float64 it is the same there: no precision is lost at these lengths."
    return "In float64 it is another one there: precision is lost at these lengths."


def _of_half(half: Curve, double: Curve) -> str:
    first = None
    for r, *pair in reversed(list(zip(half.lengths, half.errors, double.errors, strict=True))):
        if not _same(*pair):
            break
        first = r
    if first is None:
        return "bf16 has float64's errors nowhere."
    return f"From r = {number(first)} on bf16 has float64's errors."


def _of_gates(result: WhyResult, epoch: int) -> Iterator[str]:
    """Where ReLUs begin to change: from there on no Taylor series is of any use."""
    spec: Any = result.spec
    values = [v for point in spec.points_at(epoch) for v in result.values(point, epoch)]
    if not values or not values[0]["gates"]:
        return
    medians = [
        statistics.median(n for v in values for n in v["changed_gates"][i])
        for i in range(len(spec.lengths))
    ]
    gates = statistics.fmean(v["gates"] for v in values)
    first = next((i for i, n in enumerate(medians) if n > 0), None)
    if first is None:
        yield "No ReLU changes between θ and θ + r v."
        return
    before = f"between r = {number(spec.lengths[first - 1])} and " if first else "at or before "
    listed = [
        f"{significant(100 * medians[spec.lengths.index(r)] / gates, 2)} % at r = {number(r)}"
        for r in spec.recipes
    ]
    yield (
        f"Of a batch's {gates:,.0f} ReLU inputs some change their sign between θ and θ + r v, "
        f"where the gradient jumps. The first change comes {before}"
        f"r = {number(spec.lengths[first])} (median of the batches)"
        + (f"; {', '.join(listed)}." if listed else ".")
    )


def _same(left: float, right: float) -> bool:
    return abs(left - right) <= SAME * max(left, right)


def table(result: WhyResult) -> tuple[list[str], Iterator[list[Any]]]:
    columns = ["epoch", "precision", "r", "median_error", "least_error", "largest_error"]
    columns.append("median_cosine")
    rows = (
        [curve.epoch, curve.precision, number(r), *(f"{v:.6g}" for v in values)]
        for curve in curves(result)
        for r, *values in zip(
            curve.lengths, curve.errors, curve.low, curve.high, curve.cosines, strict=True
        )
    )
    return columns, rows


def figure(result: WhyResult) -> str:
    """SVG: a panel an epoch; lines are medians, bands go from the least to the largest error."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    spec, found = result.spec, curves(result)
    with rc_context(STYLE):
        picture = Figure(figsize=(3.0 * len(spec.epochs) + 1.2, 3.4), layout="constrained")
        axes = picture.subplots(1, len(spec.epochs), sharey=True, squeeze=False)[0]
        for axis, epoch in zip(axes, spec.epochs, strict=True):
            for curve in (c for c in found if c.epoch == epoch):
                colour = COLOURS[curve.precision]
                axis.fill_between(
                    curve.lengths, curve.low, curve.high, color=colour, alpha=0.13, lw=0
                )
                axis.plot(curve.lengths, curve.errors, "o-", ms=3, lw=1.4, color=colour,
                          label=curve.precision)  # fmt: skip
            for r in spec.recipes:  # type: ignore[attr-defined]
                axis.axvline(r, color=GREY, lw=0.8, ls=":")
            axis.axhline(1, color=GREY, lw=0.8)
            logarithmic(axis, x=True, y=True)
            axis.xaxis.set_major_locator(LogLocator(numticks=5))
            axis.set(xlabel="r", title=epoch_name(spec, epoch))
            axis.grid(alpha=0.25)
        axes[0].set_ylabel("‖d − H v‖ / ‖H v‖")
        if axes[-1].get_legend_handles_labels()[1]:
            axes[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
        marks = f"bands: smallest to largest of {_batches(result)}; dotted: r of recipes"
        picture.suptitle(f"{spec.title}\n{marks}", fontsize=9)
        return to_svg(picture)


def _pooled(values: list[Any], kind: str, precision: str, index: int) -> list[float]:
    return [number for v in values for number in v[kind][precision][index]]
