"""A study's files: study.md, study.csv, and the figures as SVG and PNG."""

import csv
import io
from pathlib import Path

from rich.table import Table

from gnp.studies.collect import StudyResult
from gnp.studies.grid import number
from gnp.studies.plots import curves, heatmap
from gnp.tables.render import format_statistic
from gnp.tracking.files import write_atomically

CSV_COLUMNS = ("r", "alpha", "n", "mean_error", "std_error", "errors", "best")
ALPHA_NAMES = {0: "0 (standard scheme)", 1: "1 (SAM)"}


def study_folder(study: StudyResult) -> Path:
    return study.root / "studies" / study.spec.name


def write_outputs(study: StudyResult) -> list[Path]:
    """Write every output below ``<root>/studies/<name>``, whole or not at all. Returns the
    paths."""
    lines, squares = curves(study), heatmap(study)
    outputs = {
        "study.md": to_markdown(study).encode(),
        "study.csv": to_csv(study).encode(),
        "curves.svg": lines.svg.encode(),
        "curves.png": lines.png,
        "heatmap.svg": squares.svg.encode(),
        "heatmap.png": squares.png,
    }
    folder = study_folder(study)
    for name, content in outputs.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))
    return [folder / name for name in outputs]


def notes(study: StudyResult) -> list[str]:
    """What must be read with the numbers."""
    spec = study.spec
    lines = [
        spec.note,
        f"{study.evaluated.capitalize()} error in % of the last epoch's weights: mean ± sample "
        f"standard deviation (number of seeds), seeds {', '.join(map(str, spec.seeds))}. Bold: the "
        f"lowest mean, which was chosen on those very images.",
        "Every point has the learning rate and the decay of the experiment's GNP recipe, α = 0 and "
        "α = 1 too, so that only r and α differ; a table's SGD and SAM have rates of their own.",
    ]
    if 0 in spec.alpha:
        lines.append("α = 0 does not depend on r: its runs are made once and stand for every r.")
    return lines


def missing_commands(study: StudyResult) -> list[str]:
    return [run.command(study.root, study.spec.overrides) for run in study.missing]


def to_markdown(study: StudyResult) -> str:
    headers, lines = make_grid(study, bold="**{}**")
    out = [f"# {study.spec.title}", "", "| " + " | ".join(headers) + " |"]
    out.append("|---|" + "---:|" * (len(headers) - 1))
    out += ["| " + " | ".join(line) + " |" for line in lines]
    for note in notes(study):
        out += ["", note]
    for warning in study.warnings:
        out += ["", f"**Warning:** {warning}"]
    if commands := missing_commands(study):
        out += ["", f"Missing runs ({len(commands)}); each command makes one:", "", "```"]
        out += [*commands, "```"]
    out += ["", "![curves](curves.svg)", "", "![heat map](heatmap.svg)"]
    out += ["", f"Made by `{study.command}` from the records in `{study.root}/runs`.", ""]
    return "\n".join(out)


def to_terminal(study: StudyResult) -> Table:
    headers, lines = make_grid(study, bold="[bold]{}[/bold]")
    out = Table(title=study.spec.title, title_justify="left")
    for index, header in enumerate(headers):
        out.add_column(header, justify="right" if index else "left", no_wrap=True)
    for line in lines:
        out.add_row(*line)
    return out


def make_grid(study: StudyResult, bold: str) -> tuple[list[str], list[list[str]]]:
    """Headers and lines: α down, r across. ``bold`` is a format for the best."""
    spec = study.spec
    lines = []
    for alpha in spec.alpha:
        line = [ALPHA_NAMES.get(alpha, number(alpha))]
        for result in (study.at(r, alpha) for r in spec.r):
            text = format_statistic(result.error, len(spec.seeds))
            line.append(bold.format(text) if study.is_best(result) else text)
        lines.append(line)
    return ["α", *(f"r = {number(r)}" for r in spec.r)], lines


def to_csv(study: StudyResult) -> str:
    """One line a point, all numbers unrounded, for other programs. α = 0 has no r; ``errors`` are
    of the seeds that are there, ``best`` is 1 or 0."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for point, result in study.points.items():
        error = result.error
        writer.writerow(
            [
                number(point.r) if point.alpha else "",
                number(point.alpha),
                error.n if error else 0,
                f"{error.mean:.6g}" if error else "",
                f"{error.std:.6g}" if error and error.std is not None else "",
                " ".join(f"{e:g}" for e in result.errors),
                int(study.is_best(result)),
            ]
        )
    return buffer.getvalue()
