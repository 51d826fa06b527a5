"""The loss along lines, in words, numbers and a figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from gnp.report.figures import STYLE, to_svg
from gnp.report.grid import Entry, Grid, Line
from gnp.settings.study import number
from gnp.studies.plots import colour, label
from gnp.studies.why.axes import logarithmic
from gnp.studies.why.numbers import alpha_name, evenly, of_alphas, of_seeds, shown, significant
from gnp.studies.why.result import Values, WhyResult

CAPTION = "the loss along random directions and between two solutions"
TABLES = (
    "Training loss of the solutions, and its rise along random directions",
    "Loss on the straight line between two solutions",
)
SHARES = (0.25, 0.5, 1.0)  # of the reach, at which the rise is printed
LINES = {"train": "#0072B2", "test": "#CC79A7", "validation": "#CC79A7"}


def grids(result: WhyResult) -> list[Grid]:
    return [_of_directions(result), _of_lines(result)]


def _of_directions(result: WhyResult) -> Grid:
    spec: Any = result.spec
    headers = ["random directions", "loss of the solution"]
    headers += [f"rise at ±{number(distance)}" for distance in distances(spec)]
    lines = []
    for point in spec.points():
        entries = [shown([_nearest(v, v["losses"][0], 0.0) for v in _values(result, point)])]
        for distance in distances(spec):
            entries.append(shown([_rise(v, distance) for v in _values(result, point)]))
        lines.append(Line([f"α = {alpha_name(point)}"], [Entry(e) for e in entries]))
    return Grid(headers, lines, label_columns=1)


def _of_lines(result: WhyResult) -> Grid:
    spec: Any = result.spec
    start, end = (number(alpha) for alpha in spec.line)
    headers = [f"between α = {start} and α = {end}", "at the first", "at the second"]
    headers += ["highest between them", "barrier"]
    lines = []
    for split in _splits(result):
        found = [(v["at"], v[f"{split}_loss"]) for v in _line_values(result)]
        columns = [
            [_at(at, losses, 0.0) for at, losses in found],
            [_at(at, losses, 1.0) for at, losses in found],
            [max(_between(at, losses)) for at, losses in found],
            [barrier(at, losses) for at, losses in found],
        ]
        lines.append(Line([f"{split} loss"], [Entry(shown(column)) for column in columns]))
    return Grid(headers, lines, label_columns=1)


def finding(result: WhyResult) -> str:
    """In a sentence: the rise near the solutions and far from them, and the barrier between them;
    "" where neither is measured."""
    spec: Any = result.spec
    rises = [
        f"{of_alphas(means)} at ±{number(distance)}"
        for distance in (distances(spec)[0], distances(spec)[-1])
        if (means := _rises(result, distance))
    ]
    barriers = [
        f"{significant(mean)} ({split})" for split, mean in _barriers(result).items()
    ]  # fmt: skip
    said = [f"rise of the loss along random directions {', '.join(rises)}"] if rises else []
    if barriers:
        said.append(f"barrier on the line between two solutions {', '.join(barriers)}")
    whole = "; ".join(said)
    return f"{whole[0].upper()}{whole[1:]}." if whole else ""


def drawn(result: WhyResult) -> str:
    """What the figure's marks are."""
    spec: Any = result.spec
    return (
        f"Left, thin lines are single directions, {spec.directions} of each seed, and thick lines "
        f"their means. Right, a line is of one seed; the two solutions are at the dotted lines."
    )


def notes(result: WhyResult) -> list[str]:
    spec: Any = result.spec
    return [
        f"Cross-entropy over the training images as they are, batch norm with each batch's own "
        f"statistics, of the weights after epoch {spec.epochs[0]}. Random directions: "
        f"{spec.directions} Gaussian ones, the same draws for every α, each filter scaled to the "
        f"norm of the solution's own (Li et al. 2018); biases and norms do not move. Rise: mean "
        f"over the directions and both signs.",
        f"Line: θ(t) = θ₀ + t (θ₁ − θ₀) of one seed's two runs, which began with the same weights; "
        f"the evaluated images are {spec.test_images}, with batch statistics too. Barrier: the "
        f"largest excess of the loss over the straight line between its ends. "
        f"{of_seeds(spec.seeds)}",
        *_in_words(result),
    ]


def distances(spec: Any) -> list[float]:
    """The measured ones that are nearest to ``SHARES`` of the reach."""
    measured = [t for t in evenly(-spec.reach, spec.reach, spec.steps) if t > 0]
    wanted = [share * spec.reach for share in SHARES]
    return list(dict.fromkeys(min(measured, key=lambda t: abs(t - w)) for w in wanted))


def _in_words(result: WhyResult) -> Iterator[str]:
    spec: Any = result.spec
    distance = distances(spec)[-2:][0]
    rises = _rises(result, distance)
    if len(rises) > 1:
        order = sorted(rises, key=lambda alpha: rises[alpha])
        listed = ", ".join(f"α = {number(a)} ({significant(rises[a])})" for a in order)
        yield f"From the flattest to the steepest, by the rise at ±{number(distance)}: {listed}."


def _rises(result: WhyResult, distance: float) -> dict[float, float]:
    """α → the mean rise of its seeds, where it is measured."""
    found = {point.alpha: _values(result, point) for point in result.spec.points()}
    return {
        alpha: statistics.fmean(_rise(v, distance) for v in values)
        for alpha, values in found.items()
        if values
    }


def _barriers(result: WhyResult) -> dict[str, float]:
    """Of the training loss and of the evaluated images', the mean of the seeds."""
    return {
        split: statistics.fmean(barrier(v["at"], v[f"{split}_loss"]) for v in _line_values(result))
        for split in _splits(result)
    }


def table(result: WhyResult) -> tuple[list[str], Iterator[list[Any]]]:
    columns = ["what", "alpha", "seed", "direction", "split", "t", "loss", "error"]

    def rows() -> Iterator[list[Any]]:
        for measurement, values in result.measured.items():
            alphas = " to ".join(number(run.point.alpha) for run in measurement.runs)
            head, at = [measurement.what, alphas, measurement.runs[0].seed], values["at"]
            if measurement.what == "directions":
                for index, losses in enumerate(values["losses"]):
                    for t, loss in zip(at, losses, strict=True):
                        yield [*head, index, "train", number(t), f"{loss:.6g}", ""]
                continue
            for split in _splits(result):
                pairs = (values[f"{split}_loss"], values[f"{split}_error"])
                for t, loss, error in zip(at, *pairs, strict=True):
                    yield [*head, "", split, number(t), f"{loss:.6g}", f"{error:.6g}"]

    return columns, rows()


def figure(result: WhyResult) -> str:
    """SVG: left the loss along the random directions, right along the line."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    spec: Any = result.spec
    with rc_context(STYLE):
        picture = Figure(figsize=(8.6, 3.6), layout="constrained")
        left, right = picture.subplots(1, 2)
        for point in spec.points():
            _draw_directions(left, _values(result, point), point.alpha)
        left.set(xlabel="distance in filter norms", ylabel="training loss")
        left.set_title("random directions", fontsize=9)
        for split in _splits(result):
            for i, v in enumerate(_line_values(result)):
                name = f"{split} loss" if i == 0 else None
                right.plot(v["at"], v[f"{split}_loss"], lw=1.4, color=LINES[split], label=name)
        for t in (0, 1):
            right.axvline(t, color="#888888", lw=0.8, ls=":")
        right.set(xlabel=f"from α = {number(spec.line[0])} (0) to α = {number(spec.line[1])} (1)")
        right.set_title("between two solutions", fontsize=9)
        for axis in (left, right):
            logarithmic(axis, y=True)
            axis.grid(alpha=0.25)
            if axis.get_legend_handles_labels()[1]:
                axis.legend(frameon=False)
        picture.suptitle(spec.title, fontsize=9)
        return to_svg(picture)


def _draw_directions(axis: Any, values: Sequence[Values], alpha: float) -> None:
    lines = [(v["at"], losses) for v in values for losses in v["losses"]]
    for at, losses in lines:
        axis.plot(at, losses, lw=0.6, alpha=0.4, color=colour(alpha))
    if lines:
        means = [statistics.fmean(column) for column in zip(*(y for _, y in lines), strict=True)]
        axis.plot(lines[0][0], means, lw=1.8, color=colour(alpha), label=label(alpha))


def barrier(at: Sequence[float], losses: Sequence[float]) -> float:
    """The largest excess over the straight line between the losses at 0 and 1; ≥ 0."""
    start, end = _at(at, losses, 0.0), _at(at, losses, 1.0)
    inside = [(t, v) for t, v in zip(at, losses, strict=True) if 0 <= t <= 1]
    return max(0.0, *(v - ((1 - t) * start + t * end) for t, v in inside))


def _between(at: Sequence[float], losses: Sequence[float]) -> list[float]:
    return [v for t, v in zip(at, losses, strict=True) if 0 <= t <= 1]


def _rise(values: Values, distance: float) -> float:
    """Mean rise of the loss at both signs of a distance, over the directions."""
    rises = [
        _nearest(values, losses, sign * distance) - _nearest(values, losses, 0.0)
        for losses in values["losses"]
        for sign in (-1, 1)
    ]
    return statistics.fmean(rises)


def _nearest(values: Values, losses: Sequence[float], t: float) -> float:
    return _at(values["at"], losses, t)


def _at(at: Sequence[float], losses: Sequence[float], t: float) -> float:
    """At the measured point nearest to t."""
    return losses[min(range(len(at)), key=lambda i: abs(at[i] - t))]


def _values(result: WhyResult, point: Any) -> list[Values]:
    return result.values(point, result.spec.epochs[0])


def _line_values(result: WhyResult) -> list[Values]:
    return [values for m, values in result.measured.items() if m.what == "line"]


def _splits(result: WhyResult) -> list[str]:
    names = [name for v in _line_values(result) for name in v if name.endswith("_loss")]
    return [name.removesuffix("_loss") for name in dict.fromkeys(names)]
