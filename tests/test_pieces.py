"""Work in pieces that are recorded: what is stopped goes on, what fails costs nothing else."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gnp.benchmarks import pieces as module
from gnp.benchmarks.pieces import Piece, Pieces, outcome, record_file, write_record
from gnp.errors import UserError
from gnp.tracking.lock import lock_run

PLENTY, LONG = 300, 200


def note(file, *words):
    """What the pieces of these tests do: leave a line, and perhaps an end of their own."""
    with open(file, "a") as lines:
        print(*words, file=lines)
    return {"words": list(words)}


def fail(reason):
    raise ValueError(f"{reason}\nand more")


def never_end(file):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    note(file, child.pid)
    time.sleep(1000)


def go_on(file):
    """Ends at the third call; the first two are stopped."""
    note(file, "called")
    if len(Path(file).read_text().splitlines()) < 3:
        time.sleep(1000)
    return {}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """work(name=function, …) → the pieces of a folder."""
    monkeypatch.setattr(module, "LEAST_SECONDS", 0)

    def made(**settings):
        return Pieces(tmp_path, [Piece(name, *of) for name, of in settings.items()], [])

    return made


@pytest.mark.slow
def test_a_piece_is_done_once(work, tmp_path):
    lines = tmp_path / "lines"
    both = work(a=(partial(note, lines, "a"), LONG), b=(partial(note, lines, "b"), LONG))
    both.run(PLENTY, only=["b"])
    both.run(PLENTY)
    both.run(PLENTY)
    assert lines.read_text().split() == ["b", "a"]
    assert both.record("a")["result"] == {"words": ["a"]}
    assert both.missing() == []


@pytest.mark.slow
def test_a_piece_that_fails_or_dies_is_recorded_and_costs_no_other(work, tmp_path, capfd):
    lines = tmp_path / "lines"
    several = work(
        fails=(partial(fail, "it is too large"), LONG),
        dies=(partial(os._exit, 3), LONG),
        killed=(partial(os.abort), LONG),
        last=(partial(note, lines, "last"), LONG),
    )
    several.run(PLENTY)
    assert [outcome(several.record(piece.name)) for piece in several.pieces] == [
        "failed: ValueError: it is too large",
        "failed: ended with exit status 3",
        "failed: ended by SIGABRT",
        "done",
    ]
    assert "Traceback" in (tmp_path / "logs/fails.txt").read_text()


@pytest.mark.slow
def test_a_piece_without_an_end_is_given_up_with_all_that_it_started(work, tmp_path, monkeypatch):
    lines = tmp_path / "lines"
    endless = work(endless=(partial(never_end, lines), LONG))
    stop_when(monkeypatch, lambda: lines.exists() and lines.read_text())
    endless.run(PLENTY)
    assert outcome(endless.record("endless")) == f"failed: no end within {LONG} s"
    assert not alive(int(lines.read_text()))


def stop_when(monkeypatch, happened):
    """The time is over when something has happened, however slow the machine is."""

    def wait(process, seconds):
        while process.is_alive() and not happened():
            time.sleep(0.05)

    monkeypatch.setattr(module, "_await", wait)


def alive(pid):
    """A zombie that nobody has asked for is none."""
    stat = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
def test_what_goes_on_is_stopped_when_time_is_over_and_called_again(work, tmp_path, monkeypatch):
    lines = tmp_path / "lines"
    goes_on = work(long=(partial(go_on, lines), LONG, True))
    for call in (1, 2):
        stop_when(monkeypatch, lambda c=call: lines.exists() and lines.read_text().count("\n") == c)
        goes_on.run(PLENTY)
        assert goes_on.record("long") is None
    monkeypatch.undo()
    goes_on.run(PLENTY)
    assert outcome(goes_on.record("long")) == "done"
    assert lines.read_text().split() == ["called"] * 3


def test_a_piece_that_may_not_end_in_time_is_not_begun(work, monkeypatch):
    begun = []
    monkeypatch.setattr(Pieces, "_do", lambda self, piece, seconds: begun.append(piece.name))
    clock = iter([0, 0, 50, 60])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    work(a=(None, 90), b=(None, 90), short=(None, 40)).run(100)
    assert begun == ["a", "short"]


def test_a_piece_waits_for_those_before_it(work, tmp_path, monkeypatch, capsys):
    begun = []
    monkeypatch.setattr(Pieces, "_do", lambda self, piece, seconds: begun.append(piece.name))
    later = work(later=(None, 1, False, ("first", "other")))
    write_record(tmp_path, "first", 1.0, {})
    later.run(PLENTY)
    assert begun == []
    assert capsys.readouterr().out == "later waits for first, other\n"
    write_record(tmp_path, "other", 1.0, reason="it failed: that is known, too")
    later.run(PLENTY)
    assert begun == ["later"]


def test_limits_that_no_piece_fits_in_are_refused(work):
    with pytest.raises(UserError, match=r"a piece may take 5\.0 minutes"):
        work(a=(None, 300)).run(200)


def test_two_calls_do_not_work_on_one_folder(work, tmp_path):
    lock = lock_run(tmp_path)
    try:
        with pytest.raises(UserError, match=r"is at work on it"):
            work(a=(None, 1)).run(PLENTY)
    finally:
        lock.release()


def test_pieces_are_chosen_by_name_or_folder(work):
    several = work(**{"a/b": (None, 1), "a/bc": (None, 1), "ab": (None, 1)})
    assert [piece.name for piece in several.missing(["a"])] == ["a/b", "a/bc"]
    assert [piece.name for piece in several.missing(["a/b"])] == ["a/b"]
    assert [piece.name for piece in several.missing(["ab", "a/b"])] == ["a/b", "ab"]
    with pytest.raises(UserError, match="there is no piece 'x'; --list"):
        several.missing(["ab", "x"])


def test_a_record_says_how_long_and_of_which_code(tmp_path):
    write_record(tmp_path, "a/b", 1.26, {"x": 1})
    record = json.loads(record_file(tmp_path, "a/b").read_text())
    assert len(record.pop("code")) == 16
    assert record == {"piece": "a/b", "status": "done", "result": {"x": 1}, "seconds": 1.3}
