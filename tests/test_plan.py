"""A plan: what is done of a table, what the rest costs, and what fits into some hours."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import PATIENCE, ROOT
from records import spec, write_diverged, write_record

from gnp.jobs import read_runs
from gnp.jobs.plan import (
    DAMAGED,
    DIVERGED,
    FAILED,
    FINISHED,
    MISSING,
    STARTED,
    Machine,
    Plan,
    PlannedRun,
    how_far,
    named_machine,
    plan_runs,
    this_machine,
)
from gnp.jobs.slots import Slot
from gnp.jobs.work import Work, work_of
from gnp.report.plan import amount, cells_grid, hours, left_out_note, units_grid
from gnp.settings.gpus import GPUS, named_gpus

COST = {
    "train": 100,
    "evaluation": 50,
    "flops": {"forward": 1.0, "training": 3.0, "convolutions": 0.75, "checkpoint": 1000},
    "speed": {"training": 6.0, "evaluation": 4.0, "update": 0.5, "augmentation": 0.25},
}


def config(epochs=4, batch_size=30, **changes):
    training = {"epochs": epochs, "batch_size": batch_size, "drop_last": True, "precision": "fp32"}
    training |= {"sharpness_batch": None, "ema": None}
    optimizer = {"r": 0.1, "alpha": 0.8, "reference_fraction": 1.0, "direction_every": 1}
    optimizer |= {"penalty_warmup": "none", "penalty_warmup_epochs": 0, "penalty_start": 0.0}
    optimizer |= {"probability": 1.0, "climb_along": "gradient"}
    for section in (training, optimizer):
        section.update({k: changes.pop(k) for k in list(changes) if k in section})
    assert changes.keys() <= {"evaluate_every"}
    return {"training": training | changes, "optimizer": optimizer}


# 100 images in batches of 30: 3 steps an epoch and 90 images, and with drop_last=false a 4th of 10.
@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({"alpha": 0.0}, 4 * 90),
        ({"r": 0.0}, 4 * 90),
        ({}, 4 * 180),
        ({"alpha": 1.0}, 4 * 180),
        ({"drop_last": False}, 4 * 200),
        ({"reference_fraction": 0.5}, 4 * (90 + 45)),
        ({"reference_fraction": 0.25}, 4 * (90 + 3 * 8)),  # every 4th of 30 are 8
        ({"reference_fraction": 0.25, "sharpness_batch": 10}, 4 * (90 + 9 * 3)),
        ({"direction_every": 2}, 4 * (90 + 60)),  # measured in steps 1 and 3
        ({"direction_every": 3}, 4 * (90 + 30)),
        ({"penalty_warmup": "zero", "penalty_warmup_epochs": 3}, 4 * 90 + 90),
        ({"penalty_start": 0.75}, 4 * 90 + 90),
        ({"penalty_start": 0.74}, 4 * 90 + 2 * 90),
        ({"penalty_start": 0.99}, 4 * 90 + 90),  # an epoch is left
        ({"penalty_start": 0.29, "epochs": 100}, 100 * 90 + 71 * 90),
        ({"probability": 0.25}, 4 * 90 + 4 * 22),  # 22.5 of an epoch's 90, on average
        ({"probability": 0.0}, 4 * 90),
        ({"climb_along": "momentum"}, 4 * 90),
        ({"penalty_warmup": "r", "penalty_warmup_epochs": 3}, 4 * 180 - 30),  # r is 0 in step 1
        ({"penalty_warmup": "lambda", "penalty_warmup_epochs": 1}, 4 * 180 - 30),
    ],
)
def test_each_methods_passes_are_counted(changes, trained):
    assert work_of(config(**changes), 100, 50).trained == trained


def test_updates_are_the_steps_and_the_climbs():
    assert work_of(config(alpha=0.0), 100, 50).updates == 4 * 3
    assert work_of(config(), 100, 50).updates == 4 * 6
    assert work_of(config(direction_every=3), 100, 50).updates == 4 * 6
    assert work_of(config(climb_along="momentum"), 100, 50).updates == 4 * 6
    assert work_of(config(probability=0.34), 100, 50).updates == 4 * (3 + 1)
    assert work_of(config(penalty_start=0.5), 100, 50).updates == 4 * 3 + 2 * 3
    assert work_of(config(ema=0.9), 100, 50).updates == 4 * 9


def test_each_epoch_is_evaluated_and_at_the_end_the_training_images():
    assert work_of(config(), 100, 50).evaluated == 4 * 50 + 100
    assert work_of(config(epochs=5, evaluate_every=2), 100, 50).evaluated == 3 * 50 + 100
    assert work_of(config(epochs=5, evaluate_every=0), 100, 50).evaluated == 50 + 100


@pytest.mark.parametrize("warmup", ["none", "zero", "r"])
@pytest.mark.parametrize("done", [0, 1, 2, 4])
def test_finished_epochs_are_no_work_any_more(warmup, done):
    changed = {"penalty_warmup": warmup, "penalty_warmup_epochs": 0 if warmup == "none" else 2}
    whole = work_of(config(**changed), 100, 50)
    left = work_of(config(**changed), 100, 50, done)
    of_each = [
        work_of(config(**changed), 100, 50, d).trained
        - work_of(config(**changed), 100, 50, d + 1).trained
        for d in range(done)
    ]
    assert left.trained + sum(of_each) == whole.trained
    assert left.drawn == (4 - done) * 90
    assert left.evaluated == (4 - done) * 50 + 100


def test_flops_and_seconds_are_the_works():
    work = Work(drawn=8, trained=10, evaluated=20, updates=3)
    assert work.flops(COST) == 10 * 3 + 20 * 1
    assert work.seconds(COST) == 8 * 0.25 + 30 / 6 + 20 / 4 + 3 * 0.5


def test_a_gpus_time_is_of_its_peak_in_the_numbers_that_torch_uses():
    """fp32: convolutions in tf32, matrix products in fp32."""
    work, gpu = Work(trained=10**12), GPUS["A100"]  # 3 TFLOP, three quarters in convolutions
    assert work.seconds_on(gpu, COST, "fp32", 0.5) == pytest.approx(2 * (2.25 / 156 + 0.75 / 19.5))
    assert work.seconds_on(gpu, COST, "bf16", 0.5) == pytest.approx(2 * 3 / 312)
    assert work.seconds_on(GPUS["V100"], COST, "fp32", 1) == pytest.approx(3 / 15.7)
    usual = work.seconds_on(gpu, COST, "fp32")
    assert usual == pytest.approx(4 * 2.25 / 156 + 2 * 0.75 / 19.5)


@pytest.mark.parametrize(
    ("text", "known"),
    [("H100", ("H100", 1)), ("4xh100", ("H100", 4)), ("rtx 4090", ("RTX4090", 1)),
     ("2xRTX3090", ("RTX3090", 2)), ("h100-pcie", ("H100-PCIe", 1))],
)  # fmt: skip
def test_a_gpu_is_named_as_people_do(text, known):
    assert named_gpus(text) == known


@pytest.mark.parametrize("text", ["", "x", "0xH100", "-1xH100", "4x", "cuda", "4xx4"])
def test_another_name_is_refused_with_those_there_are(text):
    with pytest.raises(ValueError, match=r"expected one of V100, .*, or 4xH100 for four of them"):
        named_gpus(text)


def test_a_misspelt_gpu_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'A100'"):
        named_gpus("A1000")


# ---------------------------------------------------------------------- what is there


def planned(run, state=MISSING, seconds=1.0, epochs=0):
    """Of a run whose work takes so many seconds here."""
    speed = {"training": 3.0, "evaluation": 1.0, "update": 0.0, "augmentation": 0.0}
    work = Work() if state == FINISHED else Work(trained=round(seconds))
    cost = {**COST, "speed": speed}
    return PlannedRun(run, state, epochs, Work(trained=10), work, 1000, cost, "fp32")


def costs_of(runs):
    return {run.path.parent: COST for run in runs}


def test_what_is_there_is_told_apart(tmp_path):
    table = spec(seeds=[0, 1, 2, 3, 4])
    runs = [run for run in table.runs() if run.path.parts[-2] == "sgd"][::2]
    finished, damaged, failed, started, _ = runs
    runs = [*runs, diverged := next(run for run in table.runs() if run not in runs)]
    write_record(tmp_path, finished, [50, 40, 30, 20])
    (write_record(tmp_path, damaged, [50, 40, 30, 20]) / "config.yaml").unlink()
    for run, text in ((failed, "epoch 1\ntrain.py: no\nroom\n"), (started, "epoch 1\n")):
        folder = write_record(tmp_path, run, [50, 40, 30])
        (folder / "summary.json").unlink()
        (folder / "checkpoint.pt").touch()
        (folder / "log.txt").write_text(text)
    write_diverged(tmp_path, diverged, [50, 40])
    plan = plan_runs(
        runs, str(tmp_path), lambda run: config(), read_runs(runs, tmp_path), costs_of(runs)
    )
    assert [p.state for p in plan] == [FINISHED, DAMAGED, FAILED, STARTED, MISSING, DIVERGED]
    assert [p.epochs for p in plan] == [4, 0, 3, 3, 0, 2]
    assert plan[1].why.endswith("config.yaml is damaged: it is missing")
    assert plan[2].why == "no room"
    whole = work_of(config(), 100, 50)
    assert [p.left for p in plan] == [
        Work(), whole, *[work_of(config(), 100, 50, 3)] * 2, whole, Work(),
    ]  # fmt: skip
    assert all(p.whole == whole for p in plan)


def test_what_diverged_and_is_damaged_is_named(tmp_path):
    (run, *_) = spec().runs()
    folder = write_diverged(tmp_path, run, [50, 40])
    assert how_far(folder)[:2] == (DIVERGED, 2)
    (folder / "diverged.json").write_text("{")
    state, epochs, why = how_far(folder)
    assert (state, epochs) == (DAMAGED, 0)
    assert "diverged.json is damaged" in why


def test_epochs_without_a_checkpoint_are_trained_again(tmp_path):
    (run, *_) = spec().runs()
    folder = write_record(tmp_path, run, [50, 40])
    (folder / "summary.json").unlink()
    assert how_far(folder) == (MISSING, 0, "")
    (folder / "checkpoint.pt").touch()
    assert how_far(folder) == (STARTED, 2, "")
    (folder / "metrics.jsonl").write_text("nonsense\n")
    assert how_far(folder) == (MISSING, 0, "")


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("train.py: stopped; the same command goes on from here\n", ""),
        ("a\nTraceback (most recent call last):\n  File\nValueError: no\n", "ValueError: no"),
        ("ValueError: only a warning\n", ""),
        ("train.py: no room\n", "no room"),
        # What came before the last start is past.
        (
            "train.py: no room\nx: going on after epoch 3\ne: 9 epochs of 40 steps\nepoch 4/9  a\n",
            "",
        ),
        (
            "train.py: no room\ne: 9 epochs of 40 steps\nepoch 1/9  a\ntrain.py: no memory\n",
            "no memory",
        ),
        ("", ""),
    ],
)
def test_a_log_says_whether_its_last_start_failed(tmp_path, log, why):
    (tmp_path / "log.txt").write_text(log)
    assert how_far(tmp_path) == (FAILED if why else STARTED, 0, why)


# ---------------------------------------------------------------------- what comes first


HERE = Machine("here", 1, lambda run: run.seconds)


def test_a_run_goes_to_the_first_lane_that_is_free():
    runs = [planned(None, seconds=s) for s in (5, 2, 2, 4)]
    two = replace(HERE, lanes=2)
    assert two.ends(runs) == [5, 2, 4, 8]
    assert two.wall(runs) == 8
    assert HERE.wall(runs) == 13
    assert HERE.wall([]) == 0


def plan_of(seconds, max_hours=None, seeds=2):
    """Cells of two augmentations, the first of which takes 3 times as long as the second."""
    runs = [
        planned(run, seconds=seconds * (3 if run.cell.augmentation == "basic" else 1))
        for run in spec(seeds=list(range(seeds))).runs()
    ]
    return Plan(runs, HERE, max_hours=max_hours)


def test_all_methods_of_a_seed_come_before_the_next_seed_and_the_cheap_ones_first():
    plan = plan_of(100)
    assert [unit.name for unit in plan.first] == [
        "e/d-cutout seed 0", "e/d-basic seed 0", "e/d-cutout seed 1", "e/d-basic seed 1",
    ]  # fmt: skip
    assert [[run.run.path.parts[-2] for run in unit.runs] for unit in plan.first] == [
        ["sgd", "gnp"]
    ] * 4
    assert [unit.until for unit in plan.first] == [200, 800, 1000, 1600]
    assert not plan.left_out


def test_what_fits_into_the_hours_is_shown_and_what_does_not_is_named():
    plan = plan_of(3600, max_hours=6)  # 2, 6, 2, 6 hours: the expensive ones do not fit
    assert [unit.name for unit in plan.first] == ["e/d-cutout seed 0", "e/d-cutout seed 1"]
    assert left_out_note(plan) == (
        "Left out: 4 of 8 runs, 12.0 h more: e/d-basic seed 0, e/d-basic seed 1."
    )
    assert [line.labels for line in units_grid(plan.first).lines] == [
        ["e/d-cutout seed 0"], ["e/d-cutout seed 1"],
    ]  # fmt: skip
    assert left_out_note(plan_of(1, max_hours=7)) == "Everything fits."


def test_of_what_does_not_fit_whole_as_many_runs_are_shown_as_fit():
    plan = plan_of(3600, max_hours=7)  # after both cheap ones 3 hours are left: a run of 3 fits
    assert [entry.text for entry in units_grid(plan.first).lines[-1].entries] == ["1 of 2", "7.0 h"]
    assert [unit.name for unit in plan.first] == [
        "e/d-cutout seed 0", "e/d-cutout seed 1", "e/d-basic seed 0",
    ]  # fmt: skip
    assert len(plan.left_out) == 3
    assert {run.run for run in plan.left_out} | {
        run.run for unit in plan.first for run in unit.runs
    } == {run.run for run in plan.runs}


def test_the_hours_are_of_the_gpu_that_is_named():
    plan = replace(plan_of(3600, max_hours=1), gpu=named_machine("2xA100", None))
    assert plan.machine.lanes == 2
    assert not plan.left_out


def test_runs_that_share_a_core_or_a_gpu_are_not_faster_together(monkeypatch):
    monkeypatch.setattr("gnp.jobs.plan.available_cores", lambda: 2)
    cpu = [Slot(f"cpu{i}") for i in range(5)]
    gpus = [Slot(f"gpu{i}", {"CUDA_VISIBLE_DEVICES": str(i % 2)}) for i in range(6)]
    assert this_machine(cpu).lanes == 2
    assert this_machine(cpu[:1]).lanes == 1
    assert this_machine(gpus).lanes == 2


def test_the_disk_is_of_all_checkpoints_and_of_two_more_for_each_run_at_work():
    runs = [planned(run) for run in spec(seeds=[0]).runs()]
    assert Plan(runs, HERE).disk == (4 + 2) * 1000
    assert Plan(runs, replace(HERE, lanes=9)).disk == (4 + 2 * 4) * 1000
    assert Plan([replace(run, state=FINISHED) for run in runs], HERE).disk == 0


# ---------------------------------------------------------------------- what is shown


def test_a_line_a_cell_and_their_sum():
    states = [FINISHED, STARTED, FAILED, MISSING]
    runs = [
        planned(run, state, seconds=3600, epochs=2 if state == STARTED else 0)
        for state, run in zip(states * 3, spec().runs(), strict=True)
    ]
    grid = cells_grid(Plan(runs, HERE, named_machine("H100", None)))
    assert grid.headers[-3:] == ["here", "H100", "disk"]
    lines = {
        line.labels[0]: [line.labels[1], *(entry.text for entry in line.entries)]
        for line in grid.lines
    }
    assert [*lines] == [
        "e/d-basic/sgd", "e/d-basic/gnp", "e/d-cutout/sgd", "e/d-cutout/gnp", "all",
    ]  # fmt: skip
    assert lines["e/d-basic/sgd"] == ["", "3/3", "30 FLOP", "", "", "", ""]
    one = ["3 started (6 epochs)", "0/3", "30 FLOP", "32.4 kFLOP", "3.0 h", "0 s", "3 kB"]
    assert lines["e/d-cutout/sgd"] == one
    assert lines["e/d-basic/gnp"][0] == "3 failed"
    assert lines["all"][:5] == ["3 started (6 epochs), 3 failed", "3/12", "", "97.2 kFLOP", "9.0 h"]
    assert [line.first for line in grid.lines] == [True, False, True, False, True]
    missing = [replace(run, state=MISSING) for run in runs]
    assert cells_grid(Plan(missing, HERE, None)).headers[:2] == ["cell", "done"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 FLOP"), (1, "1 FLOP"), (999.4, "999 FLOP"), (999.6, "1 kFLOP"), (3.13e17, "313 PFLOP"),
     (1e30, "1e+09 ZFLOP")],
)  # fmt: skip
def test_amounts_have_three_digits(number, text):
    assert amount(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5401, "1.5 h"), (4e6, "1,111 h")],
)
def test_times_are_short(seconds, text):
    assert hours(seconds) == text


# ---------------------------------------------------------------------- the scripts


def planned_by(script, root, *settings, expect=0):
    given = [f"root={root}", "device=cpu", "plan=true", *settings]
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *given],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(root / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_table_is_planned_and_nothing_is_trained(tmp_path):
    settings = ["table=quickstart", "plan_gpu=A100", "max_hours=1", "jobs=1"]
    said = planned_by("reproduce_table", tmp_path, *settings)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    # The columns that are left fit the terminal, with nothing in them cut.
    assert "plan; FLOP a run: on a wider terminal" in " ".join(said.split())
    assert "│ quickstart/synthetic-basic/gnp │  0/3 │" in said
    assert [s for s in said.splitlines() if len(s) > 80 and str(tmp_path) not in s] == []
    assert "measuring quickstart" in said
    assert "Left: 18 of 18 runs. Here, 1 at a time: " in " ".join(said.split())
    assert "On one A100: " in " ".join(said.split())
    assert "Everything fits." in said
    again = planned_by("reproduce_table", tmp_path, "table=quickstart", "jobs=1")
    assert "measuring" not in again


@pytest.mark.slow
def test_a_study_is_planned_with_the_commands_in_their_order(tmp_path):
    settings = ["study=smoke", "dry_run=true", "jobs=1", "max_hours=1000"]
    said = planned_by("parameter_study", tmp_path, *settings)
    commands = [line for line in said.splitlines() if line.startswith("python scripts/train.py")]
    assert f"Left: {len(commands)} of {len(commands)} runs" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_cannot_be_planned_is_one_line(tmp_path):
    settings = ["table=quickstart", "overrides=['model.dropout=5']"]
    said = planned_by("reproduce_table", tmp_path, *settings, expect=2)
    assert "reproduce_table.py: what the runs cost cannot be counted: model: dropout" in said
    assert "Traceback" not in said
