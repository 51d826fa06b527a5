"""scripts/train.py under torchrun, two CPU processes: the result of one, resumed after a kill."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PATIENCE, ROOT

from gnp.tracking.predictions import read_predictions
from gnp.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow
SETTINGS = [
    "experiment=quickstart",
    "dataset.synthetic_train_per_class=16",
    "dataset.synthetic_test_per_class=5",
    "training.epochs=3",
    "training.batch_size=32",
    "runtime.device=cpu",
    "runtime.threads=1",
    "wandb.mode=disabled",
    "optimizer=gnp",
]
WITH_NORM = ["model.width=0.0625"]
WITHOUT_NORM = ["model=vgg16", "model.width=0.0625", "model.dropout=0"]


def command(settings, processes):
    script = [str(ROOT / "scripts/train.py"), *SETTINGS, *settings]
    if processes == 1:
        return [sys.executable, *script]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launcher, *script]


def train(root, settings, processes):
    return subprocess.run(
        [*command(settings, processes), f"root={root}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=root,
    )


def folder(root):
    (config,) = Path(root, "runs").rglob("config.yaml")
    return config.parent


def result(root):
    lines = [json.loads(line) for line in (folder(root) / "metrics.jsonl").read_text().splitlines()]
    return lines, read_checkpoint(folder(root) / "checkpoint.pt")


def assert_same(left, right, tolerance):
    (lines_a, a), (lines_b, b) = result(left), result(right)
    for x, y in zip(lines_a, lines_b, strict=True):
        for name in x:
            if "seconds" not in name:
                assert x[name] == pytest.approx(y[name], rel=10 * tolerance, abs=1e-9), name
    for name, value in a["model"].items():
        torch.testing.assert_close(value, b["model"][name], rtol=tolerance, atol=tolerance)
    for name, value in a.get("ema", {}).items():
        torch.testing.assert_close(value, b["ema"][name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        [*WITH_NORM, "training.sharpness_batch=16"],
        [*WITHOUT_NORM, "optimizer.reference_fraction=0.25", "training.max_grad_norm=1"],
        [
            *WITH_NORM,
            "training.sharpness_batch=16",
            "training.ema=0.8",
            "optimizer.probability=0.5",
            "optimizer.climb_only_norms=true",
            "optimizer.penalty_start=0.4",
        ],
        [*WITHOUT_NORM, "optimizer.climb_along=momentum", "training.ema=0.8"],
    ],
    ids=[
        "each climbs by itself",
        "all climb together",
        "late, by chance, norms alone, averaged",
        "along the momentum, averaged",
    ],
)
def test_two_processes_give_the_result_of_one(tmp_path, settings):
    for processes in (1, 2):
        (root := tmp_path / str(processes)).mkdir()
        done = train(root, settings, processes)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (folder(root) / "summary.json").exists()
        assert done.stdout.count("epoch 3/3") == 1  # only one of them speaks
    # Sums in another order, in float32, over a few dozen steps.
    assert_same(tmp_path / "1", tmp_path / "2", tolerance=2e-4)
    one, two = (read_predictions(folder(tmp_path / str(n))) for n in (1, 2))
    assert two.labels.tolist() == one.labels.tolist()
    assert two.digest == one.digest
    np.testing.assert_allclose(two.nll, one.nll, rtol=0.01, atol=1e-3)  # each in its place
    starts = json.loads((folder(tmp_path / "2") / "environment.json").read_text())
    assert [start["processes"] for start in starts] == [2]


def test_a_killed_process_ends_the_run_and_it_goes_on(tmp_path):
    """In as many processes to the very numbers, in another number of them up to rounding."""
    settings = [*WITH_NORM, "training.sharpness_batch=16", "training.epochs=6"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert train(tmp_path / "whole", settings, 2).returncode == 0
    process = subprocess.Popen(
        [*command(settings, 2), f"root={tmp_path / 'killed'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    for line in process.stdout:
        if "epoch 1/6" in line or "epoch 2/6" in line:
            break
    victim = second_rank(process.pid)
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "6/6" not in output
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")
    for name, processes, tolerance in (("killed", 2, 0), ("alone", 1, 2e-4)):
        done = train(tmp_path / name, settings, processes)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "going on after epoch" in done.stdout
        assert_same(tmp_path / "whole", tmp_path / name, tolerance)


def second_rank(launcher):
    """Process id of rank 1, among the launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    if not children.exists():
        pytest.skip("needs Linux's /proc to find the process")
    for child in children.read_text().split():
        environment = Path(f"/proc/{child}/environ").read_text()
        if re.search(r"(^|\0)RANK=1(\0|$)", environment):
            return int(child)
    raise AssertionError("no process with RANK=1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (WITH_NORM, "sharpness_batch"),
        ([*WITHOUT_NORM, "training.batch_size=25"], "cannot be shared by 2 processes"),
    ],
    ids=["batch norm", "odd batch"],
)
def test_what_two_processes_cannot_do_is_refused(tmp_path, settings, words):
    """By the script; tests/test_distributed_arithmetic.py has the other reasons."""
    done = train(tmp_path, settings, 2)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback (most recent call last):\n  File" not in done.stderr.split(words)[0]


# ---------------------------------------------------------------------- several nodes

# Two nodes' worth of processes on this machine: each has a torchrun of its own.
SRUN = """#!/bin/sh
: > {place}/started
for node in 0 1; do
    "$@" >> {place}/node$node.txt 2>&1 &
    echo $! >> {place}/started
done
for process in $(cat {place}/started); do wait $process || status=$?; done
exit $status
"""
SCONTROL = """#!/bin/sh
case "$1" in
    show) echo localhost; echo localhost;;
    requeue) echo "$@" >> {place}/told; kill $(cat {place}/started);;
esac
"""


def sbatch(place, settings):
    """configs/cluster/torchrun.sbatch as SLURM would start it, with programs that stand for it."""
    programs = place / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text.format(place=place))
        (programs / name).chmod(0o755)
    while True:
        job = random.randrange(10000)  # its port is free
        with socket.socket() as free:
            if free.connect_ex(("localhost", 20000 + job)) != 0:
                break
    environment = {
        **os.environ,
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "node[0-1]",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
    }
    script = ["bash", "configs/cluster/torchrun.sbatch", *SETTINGS, *settings, f"root={place}"]
    return subprocess.Popen(script, cwd=ROOT, env=environment)


def test_two_nodes_give_the_result_of_one_process_also_when_they_are_requeued(tmp_path):
    settings = [*WITH_NORM, "training.sharpness_batch=16", "training.epochs=8"]
    for name in ("one", "nodes"):
        (tmp_path / name).mkdir()
    assert train(tmp_path / "one", settings, 1).returncode == 0
    nodes = tmp_path / "nodes"
    job = sbatch(nodes, settings)
    deadline = time.monotonic() + PATIENCE
    while not any(f.stat().st_size for f in nodes.rglob("metrics.jsonl")):
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)  # the time limit is near
    assert job.wait(PATIENCE) != 0
    assert "requeue " in (nodes / "told").read_text()
    status = sbatch(nodes, settings).wait(PATIENCE)
    texts = [(nodes / f"node{i}.txt").read_text() for i in (0, 1)]
    assert status == 0, texts
    assert sum("going on after epoch" in text for text in texts) == 1
    assert sum("epoch 8/8" in text for text in texts) == 1  # only one of them speaks
    assert_same(tmp_path / "one", nodes, tolerance=2e-4)
    starts = json.loads((folder(nodes) / "environment.json").read_text())
    assert [start["processes"] for start in starts] == [2, 2]
