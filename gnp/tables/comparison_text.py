"""A table's comparisons as a grid, as CSV and in words."""

from collections.abc import Sequence

from gnp.report.files import csv_text
from gnp.report.grid import Entry, Grid, Line
from gnp.report.numbers import MISSING, format_interval, format_p, unrounded
from gnp.statistics.intervals import Interval
from gnp.statistics.power import MOST_SEEDS
from gnp.statistics.verdict import ABOVE, BELOW, LEVEL, UNDECIDED, Rule
from gnp.tables.collect import TableResult
from gnp.tables.comparisons import Comparison

NLL, CALIBRATION, COUNT = "NLL", "ECE", "n"
NEW_IMAGES, LOWER, P = "new images [95 %]", "P(lower) [95 %]", "p"
GAP, NEEDED = "smallest gap", "seeds needed"
CSV_COLUMNS = (
    "model",
    "column",
    "method",
    "compared_with",
    "dataset",
    "augmentation",
    "n",
    "difference",
    "std",
    "low",
    "high",
    "new_images_low",
    "new_images_high",
    "probability_of_improvement",
    "probability_low",
    "probability_high",
    "p",
    "verdict",
    "smallest_gap",
    "seeds_needed",
    "nll_difference",
    "nll_low",
    "nll_high",
    "seeds",
    "differences",
)


def comparisons_grid(table: TableResult) -> Grid | None:
    """A line a comparison; None where nothing is compared."""
    if not table.comparisons:
        return None
    with_images = any(c.for_new_images for c in table.comparisons)
    headers = ["model", "column", "compared", COUNT, "difference [95 %]"]
    headers += [NEW_IMAGES] if with_images else []
    headers += [LOWER, P, "verdict", GAP, NEEDED]
    lines = []
    before = None
    for comparison in table.comparisons:
        cell = comparison.ours.cell
        place = (cell.row.label, cell.column.label)
        first = before is None or before[0] != place[0]
        labels = ["", "", comparison.name]
        if before != place:
            labels[:2] = [cell.row.label if first else "", cell.column.label]
        before = place
        lines.append(Line(labels, _entries(comparison, with_images), first))
    return Grid(headers, lines, label_columns=3)


def _entries(comparison: Comparison, with_images: bool) -> list[Entry]:
    differences, verdict = comparison.differences, comparison.verdict
    better = comparison.improvement
    texts = [str(differences.n)]
    if differences.n:
        texts.append(f"{differences.mean:+.2f}" + format_interval(comparison.interval, " "))
    else:
        texts.append(MISSING)
    if with_images:
        texts.append(format_interval(comparison.for_new_images) or MISSING)
    texts.append(f"{better.probability:.2f}" + format_interval(better.interval, " ", "")
                 if better else MISSING)  # fmt: skip
    texts.append(format_p(verdict.p) if verdict else MISSING)
    entries = [Entry(text) for text in texts]
    decision = verdict.decision if verdict else "no statement"
    entries.append(Entry(decision, best=decision in (BELOW, ABOVE)))
    gap = needed = MISSING
    if verdict and not verdict.decided:
        gap = MISSING if verdict.smallest_gap is None else _gap(verdict.smallest_gap, ">")
        needed = _needed(verdict.seeds_needed) if differences.std else MISSING
    return [*entries, Entry(gap), Entry(needed)]


def _gap(gap: float, above: str) -> str:
    """Errors in % are no more than 100 points apart."""
    return f"{gap:.2f}" if gap <= 100 else f"{above}100"


def _needed(seeds: int | None) -> str:
    return f">{MOST_SEEDS}" if seeds is None else str(seeds)


def comparison_notes(table: TableResult) -> list[str]:
    """What the comparisons' columns are, and what is missing in them."""
    decided = sum(c.verdict is not None for c in table.comparisons)
    if not table.comparisons:
        return []
    if not decided:
        what = "Compared: the first method's error minus the second's in percentage points"
        takes = f"Nothing can be decided with {_too_few(table.rule)} of both methods."
        return [f"{what}, paired by seed. {takes}", *_left_out(table)]
    lines = [
        f"Compared: the first method's error minus the second's in percentage points, paired by "
        f"seed: mean and 95 % interval over seeds, on these images ({table.rule.name}). P(lower): "
        f"probability that a run of the first has a lower error than one of the second. p: Holm's, "
        f"over the table's {decided} comparisons; decided where it is at most {LEVEL:g}. {GAP}: "
        f"the true difference that so many seeds, with this spread, would have decided in 80 of "
        f"100 cases; {NEEDED}: those that would so decide a difference as large as this one."
    ]
    if any(c.for_new_images for c in table.comparisons):
        lines[0] += " New images: the interval over seeds and images, for others of their kind."
    lines[0] += f" {table.rule.note}" if table.rule.note else ""
    return lines + _left_out(table)


def _left_out(table: TableResult) -> list[str]:
    """Said once: what there can't be without predictions."""
    judged = [judged for result in table.results for judged in result.judged]
    lacking = sum(one is None for one in judged)
    lines = []
    if judged and lacking:
        which = "No run has" if lacking == len(judged) else f"{lacking} of {len(judged)} runs lack"
        lines.append(
            f"{which} predictions in the record: without them there is no {CALIBRATION} and no "
            f"interval for new images."
        )
    if others := [c for c in table.comparisons if not c.same_images]:
        names = "; ".join(
            f"{c.ours.cell.row.label}, {c.ours.cell.column.label}: {c.name}" for c in others
        )
        lines.append(
            f"No interval for new images where runs were evaluated on different ones: {names}."
        )
    if table.spec.error_of != "last":
        lines.append(
            "Predictions are those of the last epoch's weights: there is no interval for new "
            "images of another epoch's error."
        )
    return lines


def verdict_in_words(table: TableResult) -> str | None:
    """A line for each method and the one it is compared with. None where nothing is compared."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for c in table.comparisons:
        key = (c.ours.cell.method.label, c.reference.cell.method.label)
        groups.setdefault(key, []).append(c)
    if not groups:
        return None
    lines = ["Verdict (a row is a model in a column):"]
    for (ours, reference), comparisons in groups.items():
        lines.append(f"{ours} below {reference}: {_counted(comparisons)}{_without(comparisons)}.")
    return "\n".join(lines)


def _without(comparisons: Sequence[Comparison]) -> str:
    """What is in none of the numbers."""
    diverged: dict[str, int] = {}
    for result in (result for c in comparisons for result in (c.ours, c.reference)):
        if result.diverged:
            method = result.cell.method.label
            diverged[method] = diverged.get(method, 0) + len(result.diverged)
    runs = [f"{count} run{'s' * (count > 1)} of {method}" for method, count in diverged.items()]
    return f"; without {' and '.join(runs)}, which diverged" if runs else ""


def _counted(comparisons: Sequence[Comparison]) -> str:
    of = {
        decision: [c for c in comparisons if c.verdict and c.verdict.decision == decision]
        for decision in (BELOW, ABOVE, UNDECIDED)
    }
    silent = sum(c.verdict is None for c in comparisons)
    too_few = _too_few(comparisons[0].rule)
    if silent == len(comparisons):
        return f"no statement ({too_few})"
    rows = f"{len(comparisons)} row" + ("s" if len(comparisons) > 1 else "")
    parts = [f"decided in {len(of[BELOW])} of {rows}"]
    if of[ABOVE]:
        parts.append(f"decided the other way round in {len(of[ABOVE])}")
    if of[UNDECIDED]:
        parts.append(f"undecided in {len(of[UNDECIDED])} ({_what_it_takes(of[UNDECIDED])})")
    if silent:
        parts.append(f"no statement in {silent} ({too_few})")
    better = [c.improvement.probability for c in comparisons if c.verdict and c.improvement]
    if better:
        parts.append(f"probability of improvement {sum(better) / len(better):.2f}")
        parts[-1] += " in the mean" if len(better) > 1 else ""
    return ", ".join(parts)


def _too_few(rule: Rule) -> str:
    return f"fewer than {'two' if rule.fewest == 2 else rule.fewest} seeds"


def _what_it_takes(undecided: Sequence[Comparison]) -> str:
    several = len(undecided) > 1
    n = _range([str(c.differences.n) for c in sorted(undecided, key=lambda c: c.differences.n)])
    text = [f"n = {n}"]
    if same := sum(not c.differences.std for c in undecided):
        of = f"in {same} all seeds' differences" if several else "all differences"
        text.append(f"{of} are the same, which is no spread to go by")
    verdicts = [c.verdict for c in undecided if c.verdict and c.differences.std]
    if gaps := sorted(v.smallest_gap for v in verdicts if v.smallest_gap is not None):
        between = _range([_gap(gap, "over ") for gap in gaps])
        what = "gaps" if several else "a gap"
        text.append(f"{what} of {between} points could have been decided")
    if verdicts:
        seeds = sorted(v.seeds_needed or MOST_SEEDS + 1 for v in verdicts)
        needed = [str(s) if s <= MOST_SEEDS else f"over {MOST_SEEDS}" for s in seeds]
        text.append(f"the seen {'ones need' if several else 'one needs'} {_range(needed)} seeds")
    return "; ".join(text)


def _range(ordered: Sequence[str]) -> str:
    low, high = ordered[0], ordered[-1]
    return low if low == high else f"{low} to {high}"


def comparisons_csv(table: TableResult) -> str:
    """One line a comparison, all numbers unrounded, for other programs. With a smallest gap and
    without seeds needed 10,000 would not do."""
    return csv_text(CSV_COLUMNS, map(_csv_line, table.comparisons))


def _csv_line(comparison: Comparison) -> list:
    cell, differences = comparison.ours.cell, comparison.differences
    verdict, better, losses = comparison.verdict, comparison.improvement, comparison.losses
    some = differences.n > 0
    return [
        cell.row.label,
        cell.column.label,
        cell.method.label,
        comparison.reference.cell.method.label,
        cell.column.dataset,
        cell.augmentation,
        differences.n,
        unrounded(differences.mean if some else None),
        unrounded(differences.std if differences.n > 1 else None),
        *_ends(comparison.interval),
        *_ends(comparison.for_new_images),
        unrounded(better and better.probability),
        *_ends(better and better.interval),
        unrounded(verdict and verdict.p),
        verdict.decision if verdict else "",
        unrounded(verdict and verdict.smallest_gap),
        (verdict and verdict.seeds_needed) or "",
        unrounded(losses.mean if losses and losses.n else None),
        *_ends(comparison.rule.interval(losses) if losses and losses.n else None),
        " ".join(map(str, comparison.seeds)),
        " ".join(f"{difference:.6g}" for difference in differences.values),
    ]


def _ends(interval: Interval | None) -> list[str]:
    return ["", ""] if interval is None else [unrounded(end) for end in interval]
