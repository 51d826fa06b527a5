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
from gnp.studies.why.numbers import epoch_name, significant, slope
from gnp.studies.why.result import WhyResult

CAPTION = "relative error of the difference over r"
COLOURS = {"fp64": "#222222", "fp32": "#0072B2", "bf16": "#D55E00"}
NEAR = 2.0  # times the smallest error: what lies nearer is the bottom, and on neither side
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
    def left(self) -> float | None:
        """Slope of log error where r is too short: −1 is lost precision."""
        bound = NEAR * self.errors[self.best]
        return self._slope(i for i in range(self.best) if self.errors[i] > bound)

    @property
    def right(self) -> float | None:
        """Slope where r is too long, up to errors of ``LINEAR``: 1 is Taylor's next term."""
        bound = NEAR * self.errors[self.best]
        after = range(self.best + 1, len(self.errors))
        return self._slope(i for i in after if bound < self.errors[i] < LINEAR)

    def below(self, bound: float) -> list[float]:
        """The lengths whose error is at most ``bound``."""
        return [r for r, e in zip(self.lengths, self.errors, strict=True) if e <= bound]

    def at(self, r: float) -> tuple[float, float]:
        """Error and cosine."""
        index = self.lengths.index(r)
        return self.errors[index], self.cosines[index]

    def _slope(self, indices: Iterator[int]) -> float | None:
        chosen = list(indices)
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
    headers += ["error ≤ 10 %", *(f"r = {number(r)}" for r in spec.recipes)]
    lines, last = [], None
    for curve in curves(result):
        within = curve.below(0.1)
        entries = [
            number(curve.lengths[curve.best]),
            significant(curve.errors[curve.best], 2),
            *(MISSING if s is None else f"{s:+.2f}" for s in (curve.left, curve.right)),
            f"{number(within[0])} to {number(within[-1])}" if within else "no r",
            *(f"{significant(e, 2)} (cos {c:.2f})" for e, c in map(curve.at, spec.recipes)),
        ]
        first = curve.epoch != last
        name, last = (epoch_name(spec, curve.epoch) if first else ""), curve.epoch
        lines.append(Line([name, curve.precision], [Entry(e) for e in entries], first))
    return [Grid(headers, lines, label_columns=2)]


def notes(result: WhyResult) -> list[str]:
    spec: Any = result.spec
    lines = [
        f"Relative error ‖d − H v‖/‖H v‖ of d = (∇L(θ + r v) − ∇L(θ))/r with v = g1/‖g1‖, the "
        f"median of {spec.batches} training batches (augmented, batch statistics, no decay); cos: "
        f"the median cosine of d and H v. H v: two backward passes in float64. Each precision "
        f"computes g1, v and both gradients by itself; bf16 is torch's autocast with fp32 weights.",
        f"Slopes of log error over log r, below and above the best r, of lengths whose error is "
        f"above {number(NEAR)} times the smallest one and, above, below {number(LINEAR)}: −1 is "
        f"lost precision (or a gradient that jumps), +1 the O(r) term.",
    ]
    return [*lines, *_in_words(result)]


def _in_words(result: WhyResult) -> Iterator[str]:
    spec: Any = result.spec
    for curve in curves(result):
        if curve.precision != "fp32" or not spec.recipes:
            continue
        (low, _), (high, _) = curve.at(spec.recipes[0]), curve.at(spec.recipes[-1])
        best, error = curve.lengths[curve.best], curve.errors[curve.best]
        yield (
            f"{epoch_name(spec, curve.epoch).capitalize()}, fp32: the difference is nearest to H v "
            f"at r = {number(best)} (error {significant(error, 2)}); at the recipes' r, "
            f"{number(spec.recipes[0])} to {number(spec.recipes[-1])}, its error is "
            f"{significant(low, 2)} to {significant(high, 2)}."
        )


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
                axis.axvline(r, color="#009E73", lw=0.8, ls=":")
            axis.axhline(1, color="#888888", lw=0.8)
            axis.set(xscale="log", yscale="log", xlabel="r", title=epoch_name(spec, epoch))
            axis.grid(alpha=0.25)
        axes[0].set_ylabel("‖d − H v‖ / ‖H v‖")
        if axes[-1].get_legend_handles_labels()[1]:
            axes[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
        picture.suptitle(f"{spec.title}\ndotted: r of recipes", fontsize=9)
        return to_svg(picture)


def _pooled(values: list[Any], kind: str, precision: str, index: int) -> list[float]:
    return [number for v in values for number in v[kind][precision][index]]
