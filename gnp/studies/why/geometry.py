"""The study along training in words, numbers and a figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from gnp.report.figures import STYLE, to_svg
from gnp.report.grid import Entry, Grid, Line
from gnp.settings.study import number
from gnp.studies.plots import colour, label
from gnp.studies.why.axes import logarithmic
from gnp.studies.why.numbers import alpha_name, epoch_name, of_alphas, of_seeds, shown, significant
from gnp.studies.why.result import WhyResult

CAPTION = "gradients, curvature and sharpness along training"
TABLES = ("Gradients, curvature and sharpness after some epochs",)
QUANTITIES = {  # of the store → what is shown
    "train_loss": "training loss",
    "train_error": "training error (%)",
    "gradient_norm": "‖∇L‖, all training images",
    "batch_g1_norm": "‖g1‖ of a batch",
    "batch_g2_norm": "‖g2‖ of a batch",
    "batch_g1_g2_cosine": "cosine of g1 and g2",
    "batch_hv_norm": "‖H v‖ of a batch",
    "batch_hv_norm_by_difference": "‖g2 − g1‖/r",
    "eigenvalues": "largest eigenvalue",
    "trace": "trace",
    "trace_standard_error": "its standard error",
    "sam_sharpness": "sharpness (SAM)",
    "batch_sam_sharpness": "sharpness (SAM) of a batch",
    "asam_sharpness": "sharpness (ASAM)",
    "weight_norm": "‖θ‖",
}
DRAWN = (
    "train_loss", "gradient_norm", "batch_g1_norm",
    "batch_hv_norm", "batch_g1_g2_cosine", "eigenvalues",
    "trace", "sam_sharpness", "asam_sharpness",
)  # fmt: skip
LINEAR = ("batch_g1_g2_cosine",)  # the others have a logarithmic scale
NORMS = ("gradient_norm", "batch_g1_norm")
FOUND = ("batch_g1_norm", "eigenvalues")  # what the study says in a sentence


def grids(result: WhyResult) -> list[Grid]:
    """For each epoch a line a quantity, a column an α."""
    spec = result.spec
    headers = ["weights", "", *(f"α = {alpha_name(p)}" for p in spec.points())]
    lines = []
    for epoch in spec.epochs:
        first = True
        for name, words in QUANTITIES.items():
            entries = [shown(result.numbers(p, epoch, name)) for p in spec.points()]
            head = epoch_name(spec, epoch) if first else ""
            lines.append(Line([head, words], [Entry(e) for e in entries], first))
            first = False
    return [Grid(headers, lines, label_columns=2)]


def finding(result: WhyResult) -> str:
    """In a sentence, for each α: ‖g1‖ of a batch and the largest eigenvalue at the last epoch that
    is looked at; "" where they are not measured."""
    spec = result.spec
    said = [
        f"{QUANTITIES[name]} {of_alphas(means)}"
        for name in FOUND
        if (means := _means(result, name, spec.epochs[-1]))
    ]
    if not said:
        return ""
    return f"{epoch_name(spec, spec.epochs[-1]).capitalize()}: {'; '.join(said)}."


def drawn(result: WhyResult) -> str:
    """What the figure's marks are."""
    seeds = of_seeds(result.spec.seeds)
    return f"Lines join the means of an α's seeds, marks are single seeds. {seeds}"


def notes(result: WhyResult) -> list[str]:
    spec: Any = result.spec
    with_curvature = ", ".join(map(str, spec.seeds[: spec.curvature_seeds])) or "none"
    return [
        f"{of_seeds(spec.seeds)} The initial weights are those of every α. Everything is of the "
        f"cross-entropy without decay, batch norm with each batch's own statistics. ‖∇L‖, "
        f"sharpness and loss: over all training images as they are, in batches of the run's size. "
        f"“Of a batch”: mean of {spec.batches} batches, augmented as in training; v = g1/‖g1‖, "
        f"r = {number(spec.r)} for every α; H v by two backward passes.",
        f"Largest eigenvalues and trace: of the Hessian over {spec.curvature_images} training "
        f"images as they are, seeds {with_curvature}, by eigsh (Lanczos) on products with vectors "
        f"and Hutchinson's estimate from {spec.trace_probes} random sign vectors. Sharpness: "
        f"rise of the loss at the end of one ascent step of radius {number(spec.rho)} (SAM) and "
        f"{number(spec.adaptive_rho)} (ASAM, η = {number(spec.adaptive_eta)}).",
        *_figure_3(result),
    ]


def _figure_3(result: WhyResult) -> Iterator[str]:
    """The paper's Figure 3: the gradient norm against α, at the last epoch that is looked at."""
    spec, epoch = result.spec, result.spec.epochs[-1]
    for name in NORMS:
        means = _means(result, name, epoch)
        if len(means) < 2:
            continue
        yield (
            f"The gradient norm against α, {QUANTITIES[name]}, {epoch_name(spec, epoch)}: "
            f"{of_alphas(means)}: {direction(list(means.values()))}."
        )


def _means(result: WhyResult, name: str, epoch: int) -> dict[float, float]:
    """α → the mean of its seeds, where there is one."""
    found = {p.alpha: result.numbers(p, epoch, name) for p in result.spec.points()}
    return {alpha: statistics.fmean(values) for alpha, values in found.items() if values}


def direction(values: list[float]) -> str:
    """How values go as α grows."""
    steps = [b - a for a, b in pairwise(values)]
    times = significant(values[-1] / values[0], 2)
    whole = f"at the largest α {times} times that of the smallest"
    if all(step > 0 for step in steps):
        return f"it grows with each α, {whole}"
    if all(step < 0 for step in steps):
        return f"it falls with each α, {whole}"
    return f"it neither only grows nor only falls, {whole}"


def table(result: WhyResult) -> tuple[list[str], Iterator[list[Any]]]:
    columns = ["alpha", "seed", "epoch", *QUANTITIES, "further_eigenvalues"]

    def rows() -> Iterator[list[Any]]:
        for measurement, values in result.measured.items():
            top = values.get("eigenvalues", [])
            numbers = {**values, "eigenvalues": top[0] if top else None}
            run = measurement.runs[0]
            alpha = "" if measurement.epoch == 0 else number(run.point.alpha)
            cells = [numbers.get(name) for name in QUANTITIES]
            yield [
                alpha,
                run.seed,
                measurement.epoch,
                *("" if c is None else f"{c:.6g}" for c in cells),
                " ".join(f"{v:.6g}" for v in top[1:]),
            ]

    return columns, rows()


def figure(result: WhyResult) -> str:
    """SVG: a panel a quantity over the epochs; a line an α, a mark a seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    spec = result.spec
    with rc_context(STYLE):
        picture = Figure(figsize=(9.0, 7.2), layout="constrained")
        axes = picture.subplots(3, 3, sharex=True)
        for axis, name in zip(axes.flat, DRAWN, strict=True):
            for point in spec.points():
                its = {e: result.numbers(point, e, name) for e in spec.epochs}
                its = {epoch: values for epoch, values in its.items() if values}
                means = [statistics.fmean(values) for values in its.values()]
                own = colour(point.alpha)
                axis.plot(list(its), means, "-", lw=1.4, color=own, label=label(point.alpha))
                for epoch, values in its.items():
                    axis.plot([epoch] * len(values), values, "o", ms=2.6, color=own)
            axis.set_title(QUANTITIES[name], fontsize=9)
            if name not in LINEAR and _all_positive(result, name):
                logarithmic(axis, y=True)
            axis.grid(alpha=0.25)
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        picture.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        picture.suptitle(spec.title, fontsize=9)
        return to_svg(picture)


def _all_positive(result: WhyResult, name: str) -> bool:
    spec = result.spec
    found = [v for p in spec.points() for e in spec.epochs for v in result.numbers(p, e, name)]
    return bool(found) and min(found) > 0
