"""scripts/train.py as a user runs it: sweeps and interruptions."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.slow

SMALL = [
    "experiment=quickstart",
    "model.width=0.0625",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
    "runtime.device=cpu",
    "runtime.threads=1",
]


def train(*settings, flags=()):
    return [sys.executable, "scripts/train.py", *flags, *SMALL, *settings]


def test_a_sweep_trains_every_combination_in_its_own_place(tmp_path):
    done = subprocess.run(
        train(
            "optimizer=sgd,gnp", "seed=0,1", "training.epochs=1", f"root={tmp_path}", flags=["-m"]
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    finished = {str(p.parent.relative_to(tmp_path)) for p in tmp_path.rglob("summary.json")}
    cell = "runs/quickstart/synthetic-basic"
    assert finished == {f"{cell}/{m}/seed{s}" for m in ("sgd", "gnp") for s in (0, 1)}


def test_all_bad_jobs_of_a_sweep_are_named_before_the_first_starts(tmp_path):
    bad = ["optimizer.lr=0.1,-1,abc", f"root={tmp_path}"]
    done = subprocess.run(train(*bad, flags=["-m"]), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "2 of 3 jobs failed; nothing was started" in done.stderr
    assert "optimizer.lr is -1.0; expected positive" in done.stderr
    assert "optimizer.lr: Value 'abc'" in done.stderr
    bad = ["optimizer=sgd,nope,nap", f"root={tmp_path}"]
    done = subprocess.run(train(*bad, flags=["-m"]), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no optimizer 'nope'" in done.stderr or "optimizer/nope" in done.stderr
    assert "no optimizer 'nap'" in done.stderr or "optimizer/nap" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_job_of_a_sweep_that_fails_says_why_at_once_and_again_at_the_end(tmp_path):
    settings = ["optimizer.lr=1e20,0.1", "method=lr${optimizer.lr}", "training.epochs=1"]
    done = subprocess.run(
        train(*settings, f"root={tmp_path}", flags=["-m"]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.returncode == 1, done.stdout
    before, after = done.stdout.split("lr0.1/seed0: 1 epochs")
    (at_once,) = [line for line in before.splitlines() if line.startswith("job 0 failed: ")]
    assert "the loss was NaN or infinite" in at_once
    assert "1 of 2 jobs failed" in after
    assert "the loss was NaN or infinite" in after


def test_jobs_of_a_sweep_that_would_be_one_run_are_refused_before_the_first_starts(tmp_path):
    one_place = ["optimizer.lr=0.01,0.02", f"root={tmp_path}", "training.epochs=1"]
    done = subprocess.run(train(*one_place, flags=["-m"]), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "1 of 2 jobs failed; nothing was started" in done.stderr
    assert "that of job 0, which has another optimizer.lr" in done.stderr
    assert "'method=gnp_${optimizer.lr}'" in done.stderr
    assert not (tmp_path / "runs").exists()
    named = ["method=gnp_${optimizer.lr}", "optimizer.lr=0.01,0.02", f"root={tmp_path}"]
    done = subprocess.run(
        train(*named, "training.epochs=1", flags=["-m"]), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    metrics = sorted(tmp_path.rglob("metrics.jsonl"))
    assert [file.parts[-3] for file in metrics] == ["gnp_0.01", "gnp_0.02"]
    before = [file.read_bytes() for file in metrics]
    # Recorded with other epochs: that, too, is said before anything is started.
    done = subprocess.run(
        train(*named, "training.epochs=2", flags=["-m"]), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "training.epochs: 1 recorded, 2 wanted" in done.stderr
    assert [file.read_bytes() for file in metrics] == before


@pytest.mark.parametrize("script", ["list_runs.py results", "reproduce_table.py dry_run=true"])
def test_a_reader_who_leaves_is_no_error(script):
    process = subprocess.Popen(
        [sys.executable, *f"scripts/{script}".split()],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() in (1, 141)
    assert errors == "" or "Traceback" not in errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_says_so_and_the_same_command_goes_on(tmp_path, how):
    command = train("training.epochs=200", f"root={tmp_path}")
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "runs/quickstart/synthetic-basic/gnp/seed0/metrics.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "stopped; the same command goes on from here" in errors
    assert "Traceback" not in errors
    # It goes on: a second start says after which epoch.
    second = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    line = second.stdout.readline()
    second.kill()
    second.wait()
    assert "going on after epoch" in line
