"""A tuning as text: Markdown, CSV and for the terminal."""

from rich.table import Table

from gnp.report.files import csv_text
from gnp.report.grid import Entry, Grid, Line, starred
from gnp.report.markdown import page
from gnp.report.numbers import MISSING, format_statistic, unrounded_statistic
from gnp.report.terminal import fitted
from gnp.settings.study import number
from gnp.settings.tuning import NAMES
from gnp.tuning.collect import TrialResult, TuningResult

FIGURES = {"validation error of every trial": "trials.svg"}


def notes(tuning: TuningResult) -> list[str]:
    """What must be read with the numbers."""
    spec = tuning.spec
    by = "error (ties: the lower loss)" if spec.choose == "error" else "loss (ties: error)"
    held_out = f"{spec.validation_per_class} training images of each class that were held out"
    return [
        spec.note,
        f"{spec.trials} settings of each method, Halton's sequence of seed {spec.sequence_seed} "
        f"within the ranges; {_seeds(tuning)}. Error in %, loss in nats, "
        f"both of {held_out}, with the last epoch's weights; fit: error in % on the training "
        f"images, not augmented. No test image was used.",
        f"★: what is chosen, the lowest validation {by}{_among(tuning)}. It is the best of "
        f"{spec.trials}, so it is no estimate of its error on new images, nor is the difference "
        f"between two methods' best one.",
        *_unfinished(tuning),
        *_at_the_edge(tuning),
    ]


def chosen_of(tuning: TuningResult, folder: str) -> str:
    """ "trial 7, the best of 3 finalists, of 12 finished of 12": of a method with a chosen one."""
    spec, index = tuning.spec, tuning.chosen[folder].trial.index
    finalists = [result for result in tuning.trials[folder] if result.whole_finalist]
    among = f"{len(finalists)} finalists, of " if finalists else ""
    finished = len(tuning.ranked(folder))
    return f"trial {index}, the best of {among}{finished} finished of {spec.trials}"


def make_grids(tuning: TuningResult) -> list[Grid]:
    """For each method its trials, the chosen one first."""
    return [_grid(tuning, method.folder, method.label) for method in _methods(tuning)]


def _grid(tuning: TuningResult, folder: str, label: str) -> Grid:
    ranked = tuning.ranked(folder)
    unfinished = [result for result in tuning.trials[folder] if not result.first.whole]
    names = [name for name in NAMES if name in dict(tuning.trials[folder][0].trial.values)]
    lines = [_line(tuning, result, names) for result in [*ranked, *unfinished]]
    headers = [f"{label}, trial", *names, "validation error", "loss", "fit"]
    return Grid(headers, lines, label_columns=1 + len(names))


def _line(tuning: TuningResult, result: TrialResult, names: list[str]) -> Line:
    values = dict(result.trial.values)
    best = tuning.chosen.get(result.trial.name) is result
    loss = MISSING if result.loss is None else f"{result.loss.mean:.3f}"
    fit = MISSING if result.fit is None else f"{result.fit.mean:.2f}"
    error = format_statistic(result.error, result.seeds)
    if result.error is None and result.diverged:
        error = "diverged"
    entries = [Entry(starred(error, best)), Entry(loss), Entry(fit)]
    return Line([str(result.trial.index), *(number(values[name]) for name in names)], entries)


def to_terminal(tuning: TuningResult, width: int | None = None) -> list[Table]:
    return [
        table
        for method, grid in zip(_methods(tuning), make_grids(tuning), strict=True)
        for table in fitted(f"{tuning.spec.title}: {method.label}", grid, width, ("fit", "loss"))
    ]


def to_markdown(tuning: TuningResult) -> str:
    return page(tuning, make_grids(tuning), notes(tuning), FIGURES)


def to_csv(tuning: TuningResult) -> str:
    """One line a trial, all numbers unrounded, for other programs; ``finalist`` and ``chosen`` are
    1 or 0, ``first_mean_error`` is of the seeds that all trials have."""
    columns = ["method", "trial", *NAMES, "n", "mean_error", "std_error", "mean_loss"]
    columns += ["std_loss", "mean_fit", "first_mean_error", "finalist", "chosen"]
    return csv_text(columns, (_csv_line(tuning, result) for result in tuning.results))


def _csv_line(tuning: TuningResult, result: TrialResult) -> list:
    values = dict(result.trial.values)
    return [
        result.trial.name,
        result.trial.index,
        *(number(values[name]) if name in values else "" for name in NAMES),
        result.error.n if result.error else 0,
        *unrounded_statistic(result.error),
        *unrounded_statistic(result.loss),
        unrounded_statistic(result.fit)[0],
        unrounded_statistic(result.first.error)[0],
        int(result.final),
        int(tuning.chosen.get(result.trial.name) is result),
    ]


def _methods(tuning: TuningResult) -> list:
    return tuning.spec.methods


def _unfinished(tuning: TuningResult) -> list[str]:
    """Trials without all of their seeds: the choice goes on without them, and says so."""
    counts, diverged, finals = {}, {}, {}
    for method in _methods(tuning):
        results = tuning.trials[method.folder]
        counts[method.label] = sum(bool(result.first.missing) for result in results)
        diverged[method.label] = sum(bool(result.first.diverged) for result in results)
        finals[method.label] = sum(result.final and not result.whole_finalist for result in results)
    lines = []
    if what := _listed(counts, tuning.spec.trials):
        lines.append(f"Not finished, and not chosen from: {what}.")
    if what := _listed(diverged, tuning.spec.trials):
        lines.append(f"Diverged (the loss became NaN or infinite), and not chosen from: {what}.")
    if what := _listed(finals, tuning.spec.finalists):
        lines.append(
            f"Without all of its final seeds: {what}. What is chosen is the best of the others, or "
            f"where there are none of all trials by the first seeds."
        )
    return lines


def _listed(counts: dict[str, int], of: int) -> str:
    return ", ".join(f"{count} of {of} of {label}" for label, count in counts.items() if count)


def _seeds(tuning: TuningResult) -> str:
    spec = tuning.spec
    text = f"seeds {', '.join(map(str, spec.seeds))}"
    if spec.finalists:
        have = "had" if _has_finalists(tuning) else "will get, once all trials have theirs,"
        text += (
            f"; the {spec.finalists} of each method that are best by these {have} "
            f"{', '.join(map(str, spec.final_seeds))} too"
        )
    return text


def _among(tuning: TuningResult) -> str:
    if not tuning.spec.finalists:
        return ""
    if not _has_finalists(tuning):
        return ", so far by the first seeds"
    return f", by all seeds of the {tuning.spec.finalists} finalists"


def _has_finalists(tuning: TuningResult) -> bool:
    return any(result.final for result in tuning.results)


def _at_the_edge(tuning: TuningResult) -> list[str]:
    """Where the best tenth of a range is at its end, a wider one may have better values."""
    lines = []
    for method in _methods(tuning):
        result = tuning.chosen.get(method.folder)
        values = dict(result.trial.values) if result else {}
        for name, value in values.items():
            share = method.ranges[name].share_of(value)
            if not 0.1 <= share <= 0.9 and not (
                name == "alpha" and share > 0.9 and method.ranges[name].high == 1
            ):
                end = "low" if share < 0.1 else "high"
                lines.append(
                    f"{method.label}'s {name} = {number(value)} lies at the {end} end of its range "
                    f"({number(method.ranges[name].low)} to {number(method.ranges[name].high)}): a "
                    f"wider range may have better ones."
                )
    return lines
