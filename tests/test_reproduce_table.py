"""The table script as a user runs it: children, kills, deleted runs, failures."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.slow

SMALL = [
    "model.width=0.0625",
    "training.epochs=4",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
]


def overrides(*settings):
    # Hydra's grammar wants quotes around a value that has an equals sign in it.
    return f"overrides={list(settings)}"


TINY = overrides(*SMALL)


def table(root, *settings, script="reproduce_table.py", expect=0):
    device = ["device=cpu"] if script == "reproduce_table.py" else []
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", "table=quickstart", f"root={root}",
         *device, *settings],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_a_table_from_nothing_and_one_deleted_run_recomputes_just_that(tmp_path):
    settings = [TINY, "table.seeds=[0]"]
    first = table(tmp_path, *settings)
    assert "[6/6]" in first.stdout
    for name in ("table.md", "table.csv", "table.tex", "report.html"):
        assert (tmp_path / "tables/quickstart" / name).stat().st_size > 0
        assert f"{tmp_path}/tables/quickstart/{name}" in first.stdout.replace("\n", "")
    text = (tmp_path / "tables/quickstart/table.md").read_text()
    numbers, _ = text.split("| compared |")  # a seed alone says nothing of differences
    assert "—" not in numbers
    assert "Missing runs" not in text

    folder = tmp_path / "runs/quickstart/synthetic-none/gnp/seed0"
    others = {p: p.read_bytes() for p in tmp_path.rglob("summary.json") if p.parent != folder}
    assert len(others) == 5
    shutil.rmtree(folder)
    (tmp_path / "tables/quickstart/table.md").unlink()
    again = table(tmp_path, *settings)
    assert "6 runs, 5 finished" in again.stdout
    assert {p: p.read_bytes() for p in others} == others
    assert (tmp_path / "tables/quickstart/table.md").read_text() == text

    # What was recorded with other settings is refused, not mixed in.
    refused = table(tmp_path, overrides(*SMALL, "training.epochs=5"), "table.seeds=[0]", expect=2)
    assert "training.epochs: 4 recorded, 5 wanted" in refused.stderr

    # A partial table renders, with the command that fills the gap.
    shutil.rmtree(folder)
    rendered = table(tmp_path, *settings, script="render_table.py")
    assert "1 run is missing" in rendered.stdout
    assert not folder.exists()


def test_failed_runs_are_named_and_the_others_finish(tmp_path):
    # A radius that only SAM's runs get, and refuse.
    settings = [overrides(*SMALL, "recipe.sam.r=-1"), "table.seeds=[0]", "jobs=2"]
    done = table(tmp_path, *settings, expect=1)
    assert "2 of 6 runs failed" in done.stderr
    assert "expected ≥ 0" in done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 4
    assert "Missing runs (2)" in (tmp_path / "tables/quickstart/table.md").read_text()


def test_overrides_that_make_a_run_another_one_are_refused_before_anything_starts(tmp_path):
    for setting, words in (("seed=5", "overrides change which run"), ("+training.epohcs=1", "Did")):
        done = table(tmp_path, overrides(*SMALL, setting), expect=2)
        assert words in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_experiment_that_has_another_name_than_its_file_is_told_what_to_write(tmp_path):
    own = tmp_path / "configs/experiment/mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text((ROOT / "configs/experiment/quickstart.yaml").read_text())
    rows = "table.parts.cnn.rows=[{label: mine, experiment: mine}]"
    done = table(tmp_path, rows, f"--config-dir={tmp_path / 'configs'}", expect=2)
    assert "does configs/experiment/mine.yaml say “experiment: mine”?" in done.stderr


def test_dry_run_only_shows(tmp_path):
    done = table(tmp_path, "dry_run=true")
    assert done.stdout.count("python scripts/train.py experiment=quickstart") == 18
    assert not list(tmp_path.iterdir())
