"""A plan on the terminal: what each cell has and lacks, what that costs, and what to run first."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gnp.jobs import Job
from gnp.jobs.plan import (
    DAMAGED,
    DIVERGED,
    DONE,
    FAILED,
    MISSING,
    STARTED,
    Plan,
    PlannedRun,
    Unit,
    make_plan,
)
from gnp.report.grid import Entry, Grid, Line
from gnp.report.terminal import fitted, print_prose, print_tables
from gnp.screen import width_of
from gnp.settings.gpus import GPUS, UTILISATION, named_gpus
from gnp.settings.job import JobSettings
from gnp.settings.series import Series

SHOWN = 5  # names of a list that may be long
DROPPABLE = ("FLOP a run", "disk")  # columns; the notes have the disk's sum


def show_plan(spec: Series, runs: Sequence[Job], how: JobSettings, later: str = "") -> None:
    """Print what is done of a table or a study and what is left; nothing is trained or written.
    ``later``: a note about runs that are wanted after these.

    Raises:
        ConfigError, SeriesMismatch, CostsUnknown: as ``make_plan``.
    """
    console = Console(soft_wrap=True, highlight=False)
    with _waiting(console) as say:
        plan = make_plan(spec, runs, how, say)
    width = width_of(console)
    console.print()
    title = f"{spec.title}: plan"
    print_tables(fitted(title, cells_grid(plan), width, DROPPABLE, "on a wider terminal"))
    for line in [*notes(plan, spec, how), *([later] if later else [])]:
        print_prose(console, line)
    if how.max_hours is not None:
        title = f"First, within {how.max_hours:g} hours on {_on(plan)}"
        console.print()
        print_tables(fitted(title, units_grid(plan.first), width))
        print_prose(console, left_out_note(plan))
    if how.dry_run:
        for unit in plan.first:
            for run in unit.runs:
                console.print(Text(run.run.command(how.root, spec.overrides)))


def cells_grid(plan: Plan) -> Grid:
    """A line a cell, and the sum. Costs are of what is left of it."""
    labels = ["cell", *(["also there"] if also_there(plan.runs) else [])]
    headers = [*labels, "done", "FLOP a run", "FLOP left", "here"]
    headers += [*([plan.gpu.name] if plan.gpu else []), "disk"]
    lines = []
    before = None
    compared = list(dict.fromkeys(path.parent for path in plan.cells))
    for path, runs in sorted(plan.cells.items(), key=lambda cell: compared.index(cell[0].parent)):
        of_one = amount(runs[0].whole.flops(runs[0].cost))
        lines.append(_line(str(path), runs, of_one, plan, path.parent != before))
        before = path.parent
    lines.append(_line("all", plan.runs, "", plan, True))
    lines = [replace(line, labels=line.labels[: len(labels)]) for line in lines]
    return Grid(headers, lines, label_columns=len(labels))


def _line(name: str, runs: Sequence[PlannedRun], of_one: str, plan: Plan, first: bool) -> Line:
    done = sum(run.state in DONE for run in runs)
    left = [run for run in runs if run.state not in DONE]
    entries = [f"{done}/{len(runs)}", of_one]
    for value, printed in (
        (sum(run.flops for run in left), amount),
        (sum(run.seconds for run in left), hours),
        *([(sum(map(plan.gpu.seconds, left)), hours)] if plan.gpu else []),
        (sum(run.bytes for run in left), size),
    ):
        entries.append(printed(value) if left else "")
    return Line([name, also_there(left)], [Entry(text) for text in entries], first)


def also_there(left: Sequence[PlannedRun]) -> str:
    """ "1 started (12 epochs), 1 failed": what is there and no finished run."""
    counts = Counter(run.state for run in left if run.state != MISSING)
    parts = []
    for state in (STARTED, FAILED, DAMAGED):
        epochs = sum(run.epochs for run in left if run.state == state)
        if counts[state]:
            parts.append(f"{counts[state]} {state}" + (f" ({epochs} epochs)" if epochs else ""))
    return ", ".join(parts)


def units_grid(units: Sequence[Unit]) -> Grid:
    lines = []
    for unit in units:
        count = str(len(unit.runs))
        if len(unit.runs) < unit.whole:
            count += f" of {unit.whole}"
        lines.append(Line([unit.name], [Entry(count), Entry(hours(unit.until))]))
    return Grid(["all methods of", "runs", "done after"], lines, label_columns=1)


def left_out_note(plan: Plan) -> str:
    runs = plan.left_out
    if not runs:
        return "Everything fits."
    cells = list(dict.fromkeys(f"{run.run.path.parents[1]} seed {run.run.seed}" for run in runs))
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return (
        f"Left out: {len(runs)} of {len(plan.left)} runs, {hours(plan.machine.wall(runs))} more: "
        f"{', '.join(cells[:SHOWN])}{more}."
    )


def notes(plan: Plan, spec: Series, how: JobSettings) -> Iterator[str]:
    """What has to be read with the numbers."""
    left = plan.left
    for run in plan.runs:
        if run.state in (FAILED, DAMAGED, DIVERGED):
            yield f"{run.state}: {run.run.path}: {run.why}"
    if not left:
        yield "Nothing is left to do."
        return
    here = plan.here
    yield (
        f"Left: {len(left)} of {len(plan.runs)} runs. Here, {here.lanes} at a time: "
        f"{hours(here.wall(left))}."
    )
    yield from _about_speeds(plan)
    if plan.gpu is not None and how.plan_gpu is not None:
        yield (
            f"On {_on(plan)}: {hours(plan.gpu.wall(left))}, an estimate and no measurement: "
            f"{_utilisation(how)}. Networks too small to fill it take longer."
        )
    free = _free(Path(how.root))
    yield (
        f"Disk: {size(plan.disk)} at most, checkpoints of runs at work included; {size(free)} are "
        f"free in {how.root}." + (" THAT IS NOT ENOUGH." if plan.disk > free else "")
    )


def _about_speeds(plan: Plan) -> Iterator[str]:
    speeds = {}
    for run in plan.left:
        experiment = run.run.path.parts[:-3]
        speeds.setdefault("/".join(experiment), run.cost["speed"])
    measured = ", ".join(
        f"{name} {amount(speed['training'], 'FLOP/s')}"
        + (f" ({speed['images']} of {speed['batch']} images)" if speed["images"] < speed["batch"]
           else "")
        for name, speed in speeds.items()
    )  # fmt: skip
    when = min(speed["when"] for speed in speeds.values())
    yield (
        f"Measured here, as many processes at work as there will be: {measured}. Since {when} kept "
        f"in {plan.left[0].cost['kept']}; delete that to measure again."
    )
    yield (
        "FLOPs are counted: two a multiplication and addition, all passes and evaluations. The "
        "hours are without a run's start and without torch.compile."
    )


def _utilisation(how: JobSettings) -> str:
    name, _ = named_gpus(how.plan_gpu or "")
    gpu, given = GPUS[name], how.plan_utilisation
    parts = {"fp32": gpu.fp32, "tf32": gpu.tf32, "16 bits": gpu.half}
    peaks = ", ".join(f"{kind} {peak:g}" for kind, peak in parts.items() if peak is not None)
    reached = (
        f"{given:g} of it is reached"
        if given is not None
        else f"{UTILISATION['fp32']:g} of it is reached in fp32 and {UTILISATION['tf32']:g} on "
        f"tensor cores (plan_utilisation=…)"
    )
    return f"its peak in TFLOP/s is {peaks}, and {reached}"


def _on(plan: Plan) -> str:
    if plan.gpu is None:
        return "this machine"
    return f"one {plan.gpu.name}" if plan.gpu.lanes == 1 else plan.gpu.name


def _free(root: Path) -> int:
    there = next(place for place in (root.absolute(), *root.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


@contextmanager
def _waiting(console: Console) -> Iterator[Callable[[str], None]]:
    """What is going on: in a line that changes, or line by line where that cannot be."""
    if not console.is_terminal:
        yield lambda what: console.print(Text(f"{what} …"))
        return
    with console.status("") as status:
        yield lambda what: status.update(Text(f"{what} …"))


def amount(number: float, unit: str = "FLOP") -> str:
    """ "313 PFLOP", "1.25 TFLOP"."""
    prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"]
    while number >= 999.5 and len(prefixes) > 1:
        number /= 1000
        del prefixes[0]
    return f"{number:.3g} {prefixes[0]}{unit}"


def size(number: float) -> str:
    """ "1.25 GB", of 10⁹ bytes."""
    return amount(number, "B")


def hours(seconds: float) -> str:
    """ "45 s", "12 min", "3.4 h", "1,250 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 3600:,.0f} h"
