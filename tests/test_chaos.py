"""scripts/chaos.py breaks jobs and notices what is lost, wrong or odd."""

import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import ROOT
from records import write_record

from gnp.faults.damage import DAMAGES
from gnp.faults.inside import at_occurrence
from gnp.faults.kinds import KINDS
from gnp.faults.rounds import Chaos
from gnp.jobs import pool


@pytest.fixture
def chaos(tmp_path):
    """With peaceful records, and the same under its root."""
    chaos = Chaos(tmp_path, 0, lambda text: None)
    for run in chaos.runs:
        for root in (chaos.peaceful, chaos.root):
            write_record(root, run, [6.0, 5.0])
    chaos.truth = {run: chaos.numbers(run, chaos.peaceful) for run in chaos.runs}
    return chaos


def test_equal_records_are_right(chaos):
    chaos.compare_believed("nothing")
    assert len(chaos.truth) == 6
    assert not chaos.wrong
    assert not chaos.left()


@pytest.mark.parametrize("errors", [[6.0, 5.1], [6.1, 5.0], [5.0]])
def test_a_wrong_number_that_is_believed_is_noticed(chaos, errors):
    write_record(chaos.root, chaos.runs[2], errors)
    chaos.compare_believed("a fault")
    assert chaos.wrong == [f"after a fault: {chaos.runs[2].path}"]


def test_a_record_that_is_known_to_be_damaged_is_left_to_do_and_not_wrong(chaos):
    (chaos.runs[2].folder(chaos.root) / "metrics.jsonl").write_text("")
    chaos.compare_believed("a fault")
    assert not chaos.wrong
    assert chaos.left() == [chaos.runs[2]]


def test_a_traceback_in_the_log_of_a_run_is_noticed(chaos):
    (chaos.runs[1].folder(chaos.root) / pool.LOG).write_text("Traceback (most recent call last):")
    chaos.compare_believed("a fault")
    assert "traceback in quickstart" in chaos.odd[0]


@pytest.mark.parametrize(
    ("status", "printed", "is_odd"),
    [
        (0, "all is well", False),
        (1, "train.py: cannot write f: free some space", False),
        (-9, "", False),
        (1, "Traceback (most recent call last):\ntrain.py: x", True),
        (1, "Killed", True),
        (-11, "", True),
        (2, "train.py: no such setting", True),
        (2, "train.py: config.yaml is damaged: delete f to train it again", False),
    ],
)
def test_an_end_without_a_reason_or_of_the_wrong_status_is_odd(chaos, status, printed, is_odd):
    child = SimpleNamespace(wait=lambda: status, printed=printed)
    assert chaos.ended(child, "a fault", (1, -9)) == (status != 0)
    assert bool(chaos.odd) == is_odd


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_changes_a_file(tmp_path, damage):
    path = tmp_path / "f"
    for content in (b"x", b"some content"):
        path.write_bytes(content)
        damage(path, random.Random(0))
        assert not path.is_file() or path.read_bytes() != content
        path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()


def test_a_fault_comes_at_its_own_occurrence_of_its_point():
    reached = []
    at = at_occurrence("before replace f", 2, lambda: reached.append(seen[-1]))
    seen = []
    for number, name in enumerate(["before replace f", "after replace f", "before replace f"] * 2):
        seen.append(number)
        at(name)
    assert reached == [2]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
@pytest.mark.parametrize(
    ("faults", "kinds"),
    [
        (6, ["kill at a write", "kill in two saves", "damaged file", "refused call", "full disk"]),
        (3, ["signal", "killed table", "two other tables"]),
    ],
    ids=["a run", "a table"],
)
def test_faults_lose_no_cell_and_make_none_wrong(tmp_path, faults, kinds):
    assert set(kinds) <= set(KINDS)
    log = tmp_path / "chaos.txt"
    command = ["scripts/chaos.py", "--faults", f"{faults}", "--write", log, "--kinds", *kinds]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert log.read_text() == done.stdout
    for line in ("cells lost: 0", "cells wrong: 0"):
        assert line in done.stdout
    assert str(tmp_path) not in log.read_text()
