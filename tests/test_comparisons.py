"""What a table compares, what it calls decided, and how that is printed."""

import csv
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import records
from records import PART, spec, write_record
from rich.console import Console
from scipy import stats

from gnp.statistics.calibration import calibration_error
from gnp.statistics.intervals import interval_for_new_images
from gnp.statistics.sequential import Sequential
from gnp.tables import Run, SpecError, collect, predictions, write_outputs
from gnp.tables.comparison_text import comparisons_csv, verdict_in_words
from gnp.tables.text import notes, to_csv, to_latex, to_markdown, to_terminal
from gnp.tracking.damage import DamagedRecord
from gnp.tracking.predictions import encode

SEEDS = [0, 1, 2, 3, 4]
METHODS = [
    {"label": "SGD", "optimizer": "sgd"},
    {"label": "SAM", "optimizer": "sam"},
    {"label": "GNP", "optimizer": "gnp"},
]
# GNP is below both by far, SAM cannot be told from SGD.
ERRORS = {
    "sgd": [20.0, 20.5, 19.6, 20.2, 20.1],
    "sam": [20.2, 20.1, 19.9, 20.0, 20.4],
    "gnp": [15.1, 15.4, 14.7, 15.2, 15.3],
}
BASIC = PART["columns"][:1]


def make(root, errors=ERRORS, losses=None, rule=None, methods=METHODS, columns=BASIC, **changes):
    """A table of the records that ``errors`` (and ``losses``) say; None is a missing run."""
    s = spec(seeds=SEEDS, methods=methods, columns=columns, **changes)
    for cell in s.cells():
        name = cell.method.optimizer
        for seed, error in enumerate(errors[name]):
            if error is None:
                continue
            folder = write_record(root, Run(cell, seed), [50.0, error - 1, error])
            if losses is not None:
                summary = json.loads((folder / "summary.json").read_text())
                summary["final"]["test_loss"] = losses[name][seed]
                (folder / "summary.json").write_text(json.dumps(summary))
    return collect(s, root, **({} if rule is None else {"rule": rule}))


@pytest.fixture
def predicted(monkeypatch):
    """Runs whose predictions are right in as many of 400 images as their error says, by folder as
    given in the dict that is returned."""
    given = {}

    def read(folder):
        name, seed = folder.parent.name, int(folder.name.removeprefix("seed"))
        if isinstance(change := given.get((name, seed), {}), Exception) or change is None:
            if change is None:
                return None
            raise change
        difficulty = np.random.default_rng(0).standard_normal(400)
        own = np.random.default_rng([seed, len(name), ord(name[1])]).standard_normal(400)
        order = np.argsort(difficulty + 0.5 * own)
        correct = np.ones(400, bool)
        correct[order[: round(4 * ERRORS[name][seed])]] = False
        confidence = np.where(correct, 0.9, 0.6).astype(np.float32)
        nll = np.where(correct, -np.log(0.9), 2.0).astype(np.float32)
        found = {"correct": correct, "confidence": confidence, "nll": nll, "digest": "d"}
        return SimpleNamespace(**{**found, **change})

    monkeypatch.setattr(predictions, "read_predictions", read)
    return given


def line_of(table, name):
    lines = list(csv.DictReader(io.StringIO(comparisons_csv(table))))
    return next(e for e in lines if f"{e['method']} − {e['compared_with']}" == name)


def test_each_method_is_compared_with_the_base_optimizer_and_sam(tmp_path):
    names = [comparison.name for comparison in make(tmp_path).comparisons]
    assert names == ["SAM − SGD", "GNP − SGD", "GNP − SAM"]


@pytest.mark.parametrize(
    ("compared_with", "names"),
    [
        (["GNP"], ["SGD − GNP", "SAM − GNP"]),
        (["GNP", "SGD"], ["SGD − GNP", "SAM − GNP", "SAM − SGD"]),
        ([], []),
    ],
)
def test_a_table_may_say_what_is_compared(tmp_path, compared_with, names):
    part = {**PART, "columns": BASIC, "methods": METHODS, "compared_with": compared_with}
    table = make(tmp_path, parts={"one": part})
    assert [comparison.name for comparison in table.comparisons] == names
    assert ("Verdict" in to_markdown(table)) == bool(names)


@pytest.mark.parametrize("labels", [["SGB"], ["SGD", "SGD"]])
def test_only_a_methods_label_can_be_compared_with(labels):
    with pytest.raises(
        SpecError, match=r"compared_with has 'SG.'; it takes the labels of its meth"
    ):
        spec(parts={"one": {**PART, "compared_with": labels}})


def test_a_method_with_settings_is_compared_too_and_a_second_base_is_no_reference(tmp_path):
    longer = {"label": "SGD, twice", "optimizer": "sgd", "name": "sgd2",
              "settings": "training.epochs=2"}  # fmt: skip
    table = make(tmp_path, methods=[*METHODS, longer])
    names = [comparison.name for comparison in table.comparisons]
    assert names[3:] == ["SGD, twice − SGD", "SGD, twice − SAM"]


def test_verdicts_are_by_scipys_t_test_and_holm(tmp_path):
    table = make(tmp_path)
    p = {
        f"{a.upper()} − {b.upper()}": stats.ttest_rel(ERRORS[a], ERRORS[b]).pvalue
        for a, b in (("sam", "sgd"), ("gnp", "sgd"), ("gnp", "sam"))
    }
    smallest, middle, largest = sorted(p, key=p.get)
    expected = {smallest: 3 * p[smallest], middle: 2 * p[middle], largest: p[largest]}
    for name, adjusted in expected.items():
        line = line_of(table, name)
        assert float(line["p"]) == pytest.approx(adjusted, rel=1e-5)
        assert line["verdict"] == ("below" if adjusted < 0.05 else "undecided")
    line = line_of(table, "GNP − SGD")
    low, high = stats.ttest_rel(ERRORS["gnp"], ERRORS["sgd"]).confidence_interval(0.95)
    assert float(line["difference"]) == pytest.approx(-4.94)
    assert [float(line["low"]), float(line["high"])] == pytest.approx([low, high], rel=1e-5)
    assert line["probability_of_improvement"] == "1"
    assert line["differences"] == "-4.9 -5.1 -4.9 -5 -4.8"
    assert (line["smallest_gap"], line["seeds_needed"]) == ("", "")


def test_a_table_ends_with_a_verdict_in_words(tmp_path):
    table = make(tmp_path)
    undecided = line_of(table, "SAM − SGD")
    assert verdict_in_words(table).splitlines() == [
        "Verdict (a row is a model in a column):",
        f"SAM below SGD: decided in 0 of 1 row, undecided in 1 (n = 5; a gap of "
        f"{float(undecided['smallest_gap']):.2f} points could have been decided; the seen one "
        f"needs {undecided['seeds_needed']} seeds), probability of improvement 0.50.",
        "GNP below SGD: decided in 1 of 1 row, probability of improvement 1.00.",
        "GNP below SAM: decided in 1 of 1 row, probability of improvement 1.00.",
    ]
    assert notes(table)[-1] == verdict_in_words(table)
    assert int(undecided["seeds_needed"]) > 5


def test_what_is_decided_the_other_way_round_and_what_is_silent_is_counted(tmp_path):
    """With a second model that has one seed, and a third that is missing."""
    others = [{"label": name, "experiment": name} for name in ("f", "g")]
    rows = [PART["rows"][0], *others]
    s = spec(seeds=SEEDS, methods=METHODS[:2], columns=BASIC, rows=rows)
    for cell in s.cells():
        for seed in SEEDS[: {"e": 5, "f": 1, "g": 0}[cell.experiment]]:
            error = ERRORS["gnp" if cell.method.label == "SGD" else "sgd"][seed]
            write_record(tmp_path, Run(cell, seed), [error])
    assert verdict_in_words(collect(s, tmp_path)).splitlines()[1] == (
        "SAM below SGD: decided in 0 of 3 rows, decided the other way round in 1, no statement in "
        "2 (fewer than two seeds), probability of improvement 0.00."
    )


def test_only_what_is_decided_against_all_is_bold(tmp_path):
    text = to_markdown(make(tmp_path))
    bold = text.split("**")[1::2]
    assert bold == ["15.14 ± 0.27 (5)", "below", "below"]
    near = make(tmp_path / "near", {**ERRORS, "gnp": [19.9, 20.4, 19.5, 20.3, 19.8]})
    assert "**" not in to_markdown(near)
    assert not any(near.is_best(result) for result in near.results)
    two = {**ERRORS, "sgd": [25.0, 25.1, 24.9, 25.2, 25.0], "gnp": ERRORS["sgd"]}
    both = make(tmp_path / "both", two)
    assert [c.verdict.decision for c in both.comparisons] == ["below", "below", "undecided"]
    assert not any(both.is_best(result) for result in both.results)


def test_what_diverged_is_said_with_the_verdict_and_is_not_best(tmp_path):
    table = make(tmp_path)
    (gnp,) = [r.cell for r in table.results if r.cell.method.label == "GNP"]
    shutil.rmtree(Run(gnp, 1).folder(tmp_path))
    records.write_diverged(tmp_path, Run(gnp, 1))
    table = collect(table.spec, tmp_path)
    sam, *others = verdict_in_words(table).splitlines()[1:]
    assert "diverged" not in sam
    for line in others:
        assert line.startswith("GNP below S")
        assert "decided in 1 of 1 row" in line
        assert line.endswith("; without 1 run of GNP, which diverged.")
    assert not any(table.is_best(result) for result in table.results)


def test_differences_without_a_spread_are_undecided_for_a_reason_that_is_given(tmp_path):
    same = {**ERRORS, "gnp": [error - 0.25 for error in ERRORS["sgd"]]}
    table = make(tmp_path, same)
    line = line_of(table, "GNP − SGD")
    assert (line["p"], line["seeds_needed"], line["low"]) == ("1", "", "")
    words = "undecided in 1 (n = 5; all differences are the same, which is no spread to go by)"
    assert words in verdict_in_words(table)


def test_an_interval_that_says_nothing_is_left_out(tmp_path):
    errors = {**ERRORS, "sam": [19.5, 56.0, None, None, None], "sgd": [20.0, 92.0, *ERRORS["sgd"]]}
    comparison = make(tmp_path, errors).comparisons[0]
    assert comparison.differences.values == (-0.5, -36.0)
    assert comparison.differences.interval().low < -200
    assert comparison.interval is None


def test_a_comparison_whose_seeds_are_still_to_come_counts_in_holms_family(tmp_path):
    early = {**ERRORS, "gnp": [*ERRORS["gnp"][:3], None, None]}
    table = make(tmp_path, early, rule=Sequential(5, 30))
    sam, *gnp = table.comparisons
    assert sam.verdict.p == min(1, 3 * table.rule.p(sam.differences))
    assert [(c.verdict.decision, c.verdict.p) for c in gnp] == [("undecided", 1), ("undecided", 1)]


def test_a_base_optimizer_that_is_decided_to_be_best_is_bold(tmp_path):
    turned = {"sgd": ERRORS["gnp"], "sam": ERRORS["sam"], "gnp": ERRORS["sgd"]}
    table = make(tmp_path, turned)
    assert [r.cell.method.label for r in table.results if table.is_best(r)] == ["SGD"]
    assert line_of(table, "GNP − SGD")["verdict"] == "above"


def test_seeds_are_paired_by_their_number_not_their_place(tmp_path):
    errors = {**ERRORS, "sgd": [None, *ERRORS["sgd"][1:]], "gnp": [*ERRORS["gnp"][:3], None, 15.3]}
    line = line_of(make(tmp_path, errors), "GNP − SGD")
    assert (line["seeds"], line["n"]) == ("1 2 4", "3")
    assert line["differences"] == "-5.1 -4.9 -4.8"


def test_one_seed_decides_nothing(tmp_path):
    table = make(tmp_path, {name: errors[:1] for name, errors in ERRORS.items()})
    assert "| GNP − SGD | 1 | -4.90 | 1.00 \\[0.00, 1.00\\] | — | no statement | — | — |" in (
        to_markdown(table)
    )
    assert "GNP below SGD: no statement (fewer than two seeds)." in verdict_in_words(table)
    (said,) = [note for note in notes(table) if note.startswith("Compared:")]
    assert said.endswith("Nothing can be decided with fewer than two seeds of both methods.")
    assert "Holm" not in said


def test_a_gap_that_no_errors_have_is_not_called_one(tmp_path):
    two = {"sgd": [20.0, 24.0], "sam": [22.0, 21.0], "gnp": [19.0, 21.0]}
    table = make(tmp_path, two)
    assert {line_of(table, c.name)["verdict"] for c in table.comparisons} == {"undecided"}
    assert "| undecided | >100 |".replace(">", "\\>") in to_markdown(table)
    assert "(n = 2; a gap of over 100 points could have been decided;" in verdict_in_words(table)


def test_a_cell_that_two_parts_have_is_compared_once(tmp_path):
    part = {**PART, "columns": BASIC, "methods": METHODS}
    again = {**part, "methods": METHODS[::-1], "compared_with": ["GNP"]}
    table = make(tmp_path, parts={"one": part, "two": again})
    assert [c.name for c in table.comparisons] == ["SAM − SGD", "GNP − SGD", "GNP − SAM"]


def test_every_form_of_the_table_has_the_comparisons(tmp_path):
    table = make(tmp_path)
    outputs = {path.name: path.read_text() for path in write_outputs(table)}
    assert outputs["comparisons.csv"] == comparisons_csv(table)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(*to_terminal(table))
    low, high = table.comparisons[1].interval
    printed = f"-4.94 [{low:+.2f}, {high:+.2f}]"
    for text in (
        console.export_text(),
        outputs["report.html"],
        to_latex(table).replace("{[}", "["),
    ):
        assert printed in text
        assert "undecided" in text
    assert printed.replace("[", "\\[").replace("]", "\\]") in outputs["table.md"]
    for text in (outputs["report.html"], outputs["table.md"], to_latex(table)):
        assert "GNP below SAM: decided in 1 of 1 row" in text
    narrow = Console(width=300, record=True, file=io.StringIO())
    narrow.print(*to_terminal(table, 90))
    assert printed in (shown := narrow.export_text())
    assert "P(lower)" not in shown.replace("; p, P(lower)", "")
    assert "undecided" in shown


def test_the_loss_of_the_evaluation_is_the_nll(tmp_path):
    losses = {name: [error / 20 for error in errors] for name, errors in ERRORS.items()}
    table = make(tmp_path, losses=losses)
    assert "| SGD | 20.08 ± 0.33 (5) | 5.74 ± 0.09 |" in (text := to_markdown(table))
    assert "| 1.004 ± 0.016 (5) |" in text
    line = line_of(table, "GNP − SGD")
    reference = stats.ttest_rel(losses["gnp"], losses["sgd"])
    assert float(line["nll_difference"]) == pytest.approx(-4.94 / 20)
    low, high = reference.confidence_interval(0.95)
    assert [float(line["nll_low"]), float(line["nll_high"])] == pytest.approx([low, high], rel=1e-5)
    first = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(first["nll"]) == pytest.approx(np.mean(losses["sgd"]), rel=1e-5)


def test_without_predictions_that_is_said_once_and_nothing_else_changes(tmp_path):
    text = to_markdown(make(tmp_path))
    assert text.count("No run has predictions in the record") == 1
    assert "| ECE |" not in text
    assert "new images \\[95 %\\]" not in text


def test_with_predictions_there_are_calibration_and_intervals_for_new_images(tmp_path, predicted):
    table = make(tmp_path)
    text = to_markdown(table)
    assert "in the record" not in text
    assert "| NLL | ECE | best epoch† |" in text
    assert "new images \\[95 %\\]" in text
    cells = {result.cell.method.label: result for result in table.results}
    correct = [np.stack([j.correct for j in cells[name].judged]) for name in ("GNP", "SGD")]
    interval = interval_for_new_images(*correct)
    line = line_of(table, "GNP − SGD")
    found = [float(line["new_images_low"]), float(line["new_images_high"])]
    assert found == pytest.approx(interval, rel=1e-5)
    assert f"\\[{interval.low:+.2f}, {interval.high:+.2f}\\]" in text
    right = cells["SGD"].judged[0].correct
    expected = calibration_error(np.where(right, 0.9, 0.6), right)
    assert cells["SGD"].judged[0].calibration_error == pytest.approx(expected, rel=1e-5)
    nll = [np.where(j.correct, -np.log(0.9), 2.0).mean() for j in cells["SGD"].judged]
    assert cells["SGD"].nll.mean == pytest.approx(np.mean(nll), rel=1e-5)


def test_seeds_order_the_predictions_too(tmp_path, predicted):
    """A missing seed of one method takes away the other's, not another one's."""
    table = make(tmp_path, {**ERRORS, "sgd": [None, *ERRORS["sgd"][1:]]})
    comparison = next(c for c in table.comparisons if c.name == "GNP − SGD")
    correct = [
        np.stack([cell.judged[cell.by_seed[seed]].correct for seed in (1, 2, 3, 4)])
        for cell in (comparison.ours, comparison.reference)
    ]
    assert comparison.for_new_images == interval_for_new_images(*correct)


def test_runs_that_lack_predictions_are_counted(tmp_path, predicted):
    predicted["sam", 2] = None
    table = make(tmp_path)
    text = to_markdown(table)
    assert "1 of 15 runs lack predictions in the record" in text
    with_interval = [c.name for c in table.comparisons if c.for_new_images]
    assert with_interval == ["GNP − SGD"]
    assert "(4 of 5)" in text  # the calibration error of those that have some


def test_predictions_of_different_images_are_not_compared(tmp_path, predicted):
    predicted["gnp", 0] = {"digest": "other"}
    table = make(tmp_path)
    assert [c.name for c in table.comparisons if c.for_new_images] == ["SAM − SGD"]
    assert (
        "No interval for new images where runs were evaluated on different ones: VGG16-BN ×1/8, "
        "basic: GNP − SGD; VGG16-BN ×1/8, basic: GNP − SAM."
    ) in notes(table)


def test_damaged_predictions_are_named_and_left_out(tmp_path, predicted):
    predicted["gnp", 3] = DamagedRecord(tmp_path / "predictions.npz", "it holds no predictions")
    table = make(tmp_path)
    (warning,) = table.warnings
    assert "it holds no predictions" in warning
    assert warning.endswith("these predictions are left out")
    assert table.cells[next(c for c in table.cells if c.method.label == "GNP")].error.n == 5


def test_the_best_epochs_error_has_no_predictions(tmp_path, predicted):
    table = make(tmp_path, error_of="best")
    assert not any(c.for_new_images for c in table.comparisons)
    assert "there is no interval for new images of another epoch's error" in to_markdown(table)


def test_seeds_that_were_added_until_decided_take_the_sequential_rule(tmp_path, predicted):
    rule = Sequential(5, 30)
    table, fixed = make(tmp_path, rule=rule), make(tmp_path)
    assert "paired t, looked at after each of 5 to 30 seeds" in to_markdown(table)
    for comparison, other in zip(table.comparisons, fixed.comparisons, strict=True):
        assert comparison.verdict.p >= rule.p(comparison.differences)
        assert comparison.interval.low < other.interval.low
        assert comparison.for_new_images.low < other.for_new_images.low
        lines = [line_of(made, comparison.name) for made in (table, fixed)]
        assert float(lines[0]["nll_low"]) < float(lines[1]["nll_low"])
    assert "Intervals are those of the last look" in to_markdown(table)
    assert "the last look" not in to_markdown(fixed)
    early = make(tmp_path, rule=Sequential(6, 30))
    assert not any(c.verdict for c in early.comparisons)
    assert "no statement (fewer than 6 seeds)" in to_markdown(early)
    assert all(c.interval is None and c.for_new_images is None for c in early.comparisons)


def test_predictions_come_from_the_records_own_file(tmp_path):
    s = spec(seeds=[0, 1, 2], methods=METHODS[:2], columns=BASIC)
    generator, labels = np.random.default_rng(0), np.arange(1000) % 10
    for cell in s.cells():
        for seed in s.seeds:
            wrong = generator.random(1000) < 0.2
            content = encode(
                records.predictions(
                    predicted=np.where(wrong, (labels + 1) % 10, labels).astype(np.uint8),
                    labels=labels.astype(np.uint8),
                    nll=np.where(wrong, 3.0, 0.25).astype(np.float32),
                    confidence=np.where(wrong, 0.75, np.exp(-0.25)).astype(np.float32),
                )
            )
            folder = write_record(tmp_path, Run(cell, seed), [100 * int(wrong.sum()) / 1000])
            records.add_predictions(folder, content)
    table = collect(s, tmp_path)
    assert not table.warnings
    (comparison,) = table.comparisons
    assert comparison.for_new_images.low < comparison.differences.mean
    assert comparison.differences.mean < comparison.for_new_images.high
    (sgd, _) = table.results
    assert [100 * (~judged.correct).mean() for judged in sgd.judged] == pytest.approx(sgd.errors)
    nll = [3 * error / 100 + 0.25 * (1 - error / 100) for error in sgd.errors]
    assert sgd.losses == pytest.approx(nll, rel=1e-3)
