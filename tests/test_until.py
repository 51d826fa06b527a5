"""Seeds until decided: which cells get more, when that ends, and that nothing else changes it."""

import os
import random
import subprocess
import sys

import pytest
import records
from conftest import PATIENCE, ROOT
from records import PART, spec

from gnp.settings.job import TableJobSettings
from gnp.statistics.sequential import FIXED_SEEDS, Sequential
from gnp.tables import Seeds, collect
from gnp.tables.until import seeds_in_order

THREE = [*PART["methods"], {"label": "SAM", "optimizer": "sam"}]
LABELS = [method["label"] for method in THREE]
ONE_COLUMN = {"columns": PART["columns"][:1], "methods": THREE}


def how(root, **settings):
    limits = {} if settings.get("until") == "trained" else {"min_seeds": 4, "max_seeds": 12}
    return TableJobSettings(**{"root": str(root), "until": "decided", **limits, **settings})


def error_of(run, means, spread=0.3):
    """A method's mean, and chance that hangs on the run alone."""
    draw = random.Random(f"{run.cell.method.label} {run.seed}")
    return means[run.cell.method.label] + draw.gauss(0, spread)


def train(seeds, means, rounds=1000):
    """As ``reproduce`` does: all that is wanted, then what is wanted more. Returns how often."""
    done, runs = 0, seeds.runs()
    while runs and done < rounds:
        for run in runs:
            folder = run.folder(seeds._root)
            if not any((folder / name).exists() for name in ("summary.json", "diverged.json")):
                records.write_record(seeds._root, run, [error_of(run, means)])
        runs, done = seeds.more(None), done + 1
    return done


def counts(seeds):
    return {cell.method.label: len(seeds.spec.seeds_of(cell)) for cell in seeds.spec.cells()}


def test_a_clear_difference_gets_few_seeds_and_none_gets_all(tmp_path):
    seeds = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    train(seeds, {"SGD": 10.0, "GNP": 5.0, "SAM": 10.0})
    found = counts(seeds)
    assert 4 <= found["GNP"] < 12
    assert found["SGD"] == found["SAM"] == 12
    table = collect(seeds.spec, tmp_path, rule=seeds.rule)
    verdicts = {c.name: c.verdict.decision for c in table.comparisons}
    assert verdicts == {"GNP − SGD": "below", "SAM − SGD": "undecided", "GNP − SAM": "below"}
    assert not table.missing


def test_all_that_is_decided_at_the_first_look_ends_it(tmp_path):
    seeds = Seeds(spec(methods=THREE[:2]), how(tmp_path, min_seeds=12))
    assert train(seeds, {"SGD": 10.0, "GNP": 5.0}) == 1
    assert counts(seeds) == {"SGD": 12, "GNP": 12}


def test_a_table_that_was_stopped_goes_on_to_the_same_seeds(tmp_path):
    means = {"SGD": 10.0, "GNP": 9.5, "SAM": 9.0}
    whole = Seeds(spec(**ONE_COLUMN), how(tmp_path / "whole"))
    train(whole, means)
    for rounds in (1, 2, 3):  # each from the start, on the records of the one before
        train(Seeds(spec(**ONE_COLUMN), how(tmp_path / "stopped")), means, rounds)
    stopped = Seeds(spec(**ONE_COLUMN), how(tmp_path / "stopped"))
    train(stopped, means)
    assert counts(stopped) == counts(whole)
    assert {f.relative_to(tmp_path / "whole") for f in tmp_path.glob("whole/**/summary.json")} == {
        f.relative_to(tmp_path / "stopped") for f in tmp_path.glob("stopped/**/summary.json")
    }


def test_rendering_finds_the_seeds_that_training_did(tmp_path, capsys):
    means = {"SGD": 10.0, "GNP": 5.0, "SAM": 10.0}
    trained = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    train(trained, means)
    rendered = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    assert rendered.render("a command", None) == []
    assert counts(rendered) == counts(trained)
    text = (tmp_path / "tables/small/table.md").read_text()
    assert "of seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 the first ones, added until" in text
    assert "looked at after each of 4 to 12 seeds" in text
    assert "Missing" not in text


def test_no_seed_is_added_to_a_cell_that_lacks_one(tmp_path):
    seeds = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    for run in seeds.runs()[:-1]:
        records.write_record(tmp_path, run, [error_of(run, {"SGD": 1, "GNP": 1, "SAM": 1})])
    assert seeds.more(None) == []
    assert set(counts(seeds).values()) == {4}


def test_a_run_that_diverged_ends_the_seeds_of_its_comparisons_alone(tmp_path):
    seeds = Seeds(spec(methods=THREE), how(tmp_path))
    for run in seeds.runs():
        if (run.cell.method.label, run.cell.column.label, run.seed) == ("GNP", "cutout", 1):
            records.write_diverged(tmp_path, run)
        else:
            records.write_record(tmp_path, run, [error_of(run, dict.fromkeys(LABELS, 10.0))])
    train(seeds, dict.fromkeys(LABELS, 10.0))
    found = {
        (cell.column.label, cell.method.label): len(seeds.spec.seeds_of(cell))
        for cell in seeds.spec.cells()
    }
    others = {(column, method): 12 for column in ("basic", "cutout") for method in LABELS}
    assert found == {**others, ("cutout", "GNP"): 4}
    assert Seeds(spec(methods=THREE), how(tmp_path)).render("a command", None) != []
    text = (tmp_path / "tables/small/table.md").read_text()
    assert "comparisons were decided, or until a run of them diverged" in text
    assert "compared with, where no run of it diverged." in text
    assert "; without 1 run of GNP, which diverged." in text


def test_what_is_planned_are_the_seeds_that_the_records_lead_to(tmp_path):
    means = dict.fromkeys(LABELS, 10.0)
    train(Seeds(spec(**ONE_COLUMN), how(tmp_path)), means, rounds=2)
    planned = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    assert "at most 24 runs more" in planned.later_in_words(None)
    planned.grow(None)
    assert set(counts(planned).values()) == {6}  # 4 and 5 are there
    assert "at most 18 runs more" in planned.later_in_words(None)
    assert Seeds(spec(), how(tmp_path, until="trained")).later_in_words(None) == ""
    assert Seeds(spec(), how(tmp_path, min_seeds=12)).later_in_words(None) == ""


def test_no_seeds_are_announced_where_all_is_decided(tmp_path):
    seeds = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    train(seeds, {"SGD": 20.0, "GNP": 5.0, "SAM": 12.0})
    planned = Seeds(spec(**ONE_COLUMN), how(tmp_path))
    planned.grow(None)
    assert max(counts(planned).values()) < 12
    assert planned.later_in_words(None) == ""


def test_a_table_of_looks_that_rule_nothing_out_is_drawn(tmp_path):
    seeds = Seeds(spec(**ONE_COLUMN), how(tmp_path, min_seeds=2, max_seeds=60))
    for run in seeds.runs():
        records.write_record(tmp_path, run, [error_of(run, dict.fromkeys(LABELS, 10.0))])
    seeds.more = lambda wanted: []  # it is rendered midway
    assert seeds.render("a command", None) == []
    text = (tmp_path / "tables/small/table.md").read_text()
    assert "GNP − SGD | 2 |" in text
    assert "inf" not in text


def test_a_column_that_has_fewer_seeds_keeps_to_them(tmp_path):
    columns = [PART["columns"][0], {**PART["columns"][1], "seeds": 5}]
    seeds = Seeds(spec(columns=columns, methods=THREE[:2]), how(tmp_path))
    train(seeds, {"SGD": 10.0, "GNP": 10.0})
    found = {cell.column.label: len(seeds.spec.seeds_of(cell)) for cell in seeds.spec.cells()}
    assert found == {"basic": 12, "cutout": 5}


def test_a_column_with_fewer_seeds_than_a_look_takes_part_in_nothing(tmp_path):
    columns = [PART["columns"][0], {**PART["columns"][1], "seeds": 3}]
    seeds = Seeds(spec(columns=columns, methods=THREE[:2]), how(tmp_path))
    train(seeds, {"SGD": 10.0, "GNP": 5.0})
    basic, cutout = collect(seeds.spec, tmp_path, rule=seeds.rule).comparisons
    assert basic.verdict.p == seeds.rule.p(basic.differences)  # by itself in Holm's procedure
    assert cutout.verdict is None
    seeds.render("a command", None)
    text = (tmp_path / "tables/small/table.md").read_text()
    assert "no statement in 1 (fewer than 4 seeds)" in text


def test_until_trained_is_the_tables_own_seeds(tmp_path):
    table = spec(**ONE_COLUMN)
    seeds = Seeds(table, how(tmp_path, until="trained"))
    assert seeds.rule is FIXED_SEEDS
    assert seeds.runs() == list(table.runs())
    train(seeds, {"SGD": 10.0, "GNP": 9.9, "SAM": 10.0})
    assert set(counts(seeds).values()) == {3}


def test_listed_seeds_come_first():
    assert seeds_in_order([7, 1], 5) == [7, 1, 0, 2, 3]
    assert seeds_in_order([7, 1, 9], 2) == [7, 1]
    assert seeds_in_order([], 3) == [0, 1, 2]


def test_the_rule_has_the_limits_of_the_command(tmp_path):
    assert Seeds(spec(), how(tmp_path)).rule == Sequential(4, 12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_seeds": 9, "max_seeds": 8}, "min_seeds=9 is above max_seeds=8"),
        ({"min_seeds": 1}, "min_seeds"),
        ({"until": "sure"}, "until"),
    ],
)
def test_impossible_limits_are_refused(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        how(tmp_path, **settings)


@pytest.mark.slow
def test_the_script_adds_seeds_and_the_other_one_renders_them(tmp_path):
    def script(name, *how):
        done = subprocess.run(
            [sys.executable, f"scripts/{name}.py", "table=quickstart", f"root={tmp_path}",
             "until=decided", "min_seeds=2", "max_seeds=3", "table.parts.cnn.columns="
             "[{label: synthetic none, dataset: synthetic, augmentation: none}]",
             *how,
             "overrides=['training.epochs=1','dataset.synthetic_train_per_class=8',"
             "'dataset.synthetic_test_per_class=4','training.batch_size=10']"],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = script("reproduce_table", "device=cpu")
    assert "6 runs, 0 finished" in said
    assert "9 runs, 6 finished" in said  # three seeds cannot decide anything by this rule
    assert len(list(tmp_path.rglob("summary.json"))) == 9
    table = (tmp_path / "tables/quickstart/table.md").read_text()
    assert "(3)" in table
    (tmp_path / "tables/quickstart/table.md").unlink()
    assert "9 runs, 9 finished" in script("reproduce_table", "device=cpu", "dry_run=true")
    script("render_table")
    rendered = (tmp_path / "tables/quickstart/table.md").read_text()
    assert rendered == table.replace(" device=cpu", "")  # but for the command that made it
