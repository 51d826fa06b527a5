"""Records that child processes read ahead: nothing is different but the time, whatever happens to
the children, and none of them is left."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import ROOT
from records import spec, write_record

from gnp.jobs import read_runs, read_runs_ahead
from gnp.tables import collect, predictions
from gnp.tables.listing import list_runs
from gnp.tracking import ahead, reading
from gnp.tracking.ahead import read_ahead

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nothing is forked"),
    # pytest's own libraries may have threads, which are not in the child.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def forks(monkeypatch):
    """Two children whatever the machine has; their pids. What was written just now is settled."""
    pids = []

    def fork(real=os.fork):
        pid = real()
        if pid:
            pids.append(pid)
        return pid

    monkeypatch.setattr(ahead.os, "fork", fork)
    monkeypatch.setattr(ahead, "_may_fork", lambda: True)
    monkeypatch.setattr(ahead, "_cores", lambda: 3)
    monkeypatch.setattr(ahead, "WORTH_IT", 1)
    monkeypatch.setattr(ahead, "PART", 2)
    monkeypatch.setattr(reading, "TICK", -1)
    return pids


@pytest.fixture
def read_here(monkeypatch):
    """The folders of the records that this process, not a child, reads and proves."""
    folders, me = [], os.getpid()

    def counted(folder, real=reading._read_and_proven):
        if os.getpid() == me:
            folders.append(folder)
        return real(folder)

    monkeypatch.setattr(reading, "_read_and_proven", counted)
    return folders


def write_all(root, seeds=8, **settings):
    """A record for each run of a table; returns the runs' folders."""
    runs = list(spec(seeds=list(range(seeds))).runs())
    return [write_record(root, run, [6.0, 5.0 + run.seed], **settings) for run in runs]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def all_taken(children):
    """Let the children take the whole queue before this process asks for a part of it."""
    poll = ahead.select.poll()
    poll.register(children._queue, ahead.select.POLLIN)
    wait_until(lambda: not poll.poll(0) or poll.poll(0)[0][1] == ahead.select.POLLHUP)


@pytest.fixture
def idle_here(monkeypatch):
    """All is left to the children."""

    def rest(children, real=ahead._Children.read_the_rest):
        all_taken(children)
        real(children)

    monkeypatch.setattr(ahead._Children, "read_the_rest", rest)


def nobody_is_left(pids):
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # a zombie would still take signals
            os.kill(pid, 0)
    return True


def told(root, runs):
    """What is read of runs, errors included."""
    records = read_runs(runs, root, lambda run: {"experiment": "e", "seed": run.seed})
    return (
        [(f.run, f.record) for f in records.finished],
        records.absent,
        [(run, str(error)) for run, error in records.damaged],
        records.others,
    )


@pytest.mark.usefixtures("idle_here")
def test_children_read_what_is_then_found_in_memory(tmp_path, forks, read_here):
    folders = write_all(tmp_path)
    read_ahead(folders)
    assert len(forks) == 2
    assert nobody_is_left(forks)
    assert read_here == []
    ours = [reading.read_finished(folder) for folder in folders]
    assert read_here == []
    for folder in folders:
        reading.read_before.pop(folder, None)
    assert [reading.read_finished(folder) for folder in folders] == ours
    assert len(read_here) == len(folders)


def test_this_process_reads_what_no_child_has_begun(tmp_path, forks, read_here, monkeypatch):
    monkeypatch.setattr(ahead._Children, "_send_parts", lambda self, write: None)
    folders = write_all(tmp_path)
    read_ahead(folders)
    assert read_here == folders


@pytest.mark.usefixtures("idle_here")
def test_results_and_errors_are_the_same_with_and_without(tmp_path, forks, monkeypatch):
    folders = write_all(tmp_path)
    runs = list(spec(seeds=list(range(9))).runs())  # the last seed has no records
    (folders[3] / "summary.json").write_text("{")
    (folders[5] / "metrics.jsonl").write_bytes((folders[5] / "metrics.jsonl").read_bytes()[:-9])
    (folders[6] / "config.yaml").unlink()
    (folders[7] / "summary.json").unlink()
    (folders[7] / "summary.json").symlink_to("nothing")
    os.mkfifo(folders[8] / "fifo")
    (folders[8] / "environment.json").unlink()
    (folders[8] / "fifo").rename(folders[8] / "environment.json")
    (folders[9] / "metrics.jsonl").write_bytes(b"\xff")
    (folders[10] / "config.yaml").write_text("a: " + "[" * 100_000)
    with monkeypatch.context() as patched:
        patched.setattr(ahead, "WORTH_IT", 1000)
        without, listed = told(tmp_path, runs), list_runs(tmp_path)
    assert forks == []
    for folder in folders:
        reading.read_before.pop(folder, None)
    read_runs_ahead(runs, tmp_path, lambda run: {})
    assert told(tmp_path, runs) == without
    for folder in folders:
        reading.read_before.pop(folder, None)
    assert list_runs(tmp_path) == listed
    assert len(forks) == 4
    assert nobody_is_left(forks)
    assert len(without[2]) == 7
    assert len(without[1]) == 4
    assert without[3]


@pytest.mark.usefixtures("idle_here")
@pytest.mark.parametrize("before", [True, False], ids=["while it is read", "after it was read"])
def test_a_record_that_changed_since_the_child_read_it_is_read_again(
    tmp_path, forks, read_here, monkeypatch, before
):
    folders = write_all(tmp_path)
    changed = folders[4]

    def rewrite():
        write_record(tmp_path, list(spec(seeds=list(range(8))).runs())[4], [6.0, 1.0])

    if before:  # between the child's look at the files' state and its reading them

        def proven(folder, real=reading._read_and_proven):
            record = real(folder)
            if folder == changed and record.metrics[-1]["test_error"] != 1.0:
                rewrite()
            return record

        monkeypatch.setattr(reading, "_read_and_proven", proven)
    read_ahead(folders)
    if not before:
        rewrite()
    assert reading.read_finished(changed).metrics[-1]["test_error"] == 1.0
    assert read_here == [changed]


@pytest.mark.usefixtures("idle_here")
def test_a_record_that_was_written_just_now_is_not_taken_from_a_child(
    tmp_path, forks, read_here, monkeypatch
):
    monkeypatch.setattr(reading, "TICK", 60_000_000_000)
    folders = write_all(tmp_path)
    read_ahead(folders)
    assert not reading.read_before.keys() & {*folders}


@pytest.mark.usefixtures("idle_here")
@pytest.mark.parametrize("whole", [0, 3], ids=["before it sends", "within a message"])
def test_a_child_that_is_killed_costs_nothing_but_time(
    tmp_path, forks, read_here, monkeypatch, whole
):
    def write(pipe, unsent, real=ahead._write):
        unsent[:] = unsent[: len(unsent) * whole // 4]
        real(pipe, unsent)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ahead, "_write", write)
    monkeypatch.setattr(ahead, "PART", 100)
    folders = write_all(tmp_path)
    read_ahead(folders)
    assert nobody_is_left(forks)
    assert not reading.read_before.keys() & {*folders}
    assert len(collect(spec(seeds=list(range(8))), tmp_path).missing) == 0
    assert len(read_here) == 32


def test_an_error_in_a_child_is_silent(tmp_path, forks, monkeypatch, capfd):
    def send(self, write):
        raise MemoryError

    monkeypatch.setattr(ahead._Children, "_send_parts", send)
    folders = write_all(tmp_path)
    read_ahead(folders)
    assert reading.read_before.keys() >= {*folders}
    assert capfd.readouterr() == ("", "")


def test_where_the_machine_refuses_to_fork_nothing_is_done(tmp_path, forks, read_here, monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ahead.os, "fork", fork)
    before = os.listdir("/proc/self/fd")
    read_ahead(write_all(tmp_path), lambda: pytest.fail("called without children"))
    assert read_here == []
    assert os.listdir("/proc/self/fd") == before


def test_few_records_one_core_or_another_thread_fork_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ahead.os, "fork", lambda: pytest.fail("forked"))
    folders = write_all(tmp_path)
    monkeypatch.setattr(ahead, "_cores", lambda: 8)
    with monkeypatch.context() as patched:
        patched.setattr(ahead, "_may_fork", lambda: True)
        read_ahead(folders[: ahead.WORTH_IT - 1])
        patched.setattr(ahead, "WORTH_IT", 1)
        patched.setattr(ahead, "_cores", lambda: 1)
        read_ahead(folders)
    monkeypatch.setattr(ahead, "WORTH_IT", 1)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        read_ahead(folders)
    finally:
        done.set()
        thread.join()


@pytest.mark.usefixtures("idle_here")
def test_records_that_are_known_are_not_read_ahead(tmp_path, forks):
    folders = write_all(tmp_path)
    read_ahead(folders)
    read_ahead(folders)
    assert len(forks) == 2


def test_an_error_of_what_is_done_meanwhile_leaves_no_child(tmp_path, forks):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KeyboardInterrupt):
        read_ahead(
            write_all(tmp_path), lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(9)
        )
    assert len(forks) == 2
    assert nobody_is_left(forks)
    assert os.listdir("/proc/self/fd") == before


def test_a_config_that_cannot_be_composed_is_refused_when_it_is_asked_for(tmp_path, forks):
    write_all(tmp_path)
    runs = list(spec(seeds=list(range(8))).runs())
    asked = []

    def wanted(run):
        asked.append(run)
        raise ValueError("no such setting")

    read_runs_ahead(runs, tmp_path, wanted)
    assert len(asked) == 4  # one a cell
    with pytest.raises(ValueError, match="no such setting"):
        read_runs(runs, tmp_path, wanted)


SLOW = """
    import os, sys, time
    from pathlib import Path
    from gnp.interruptions import raise_on_signals
    from gnp.cli import run_script
    from gnp.tracking import ahead, reading
    ahead.WORTH_IT, ahead._cores = 1, lambda: 3
    def slow(folder):
        time.sleep(0.05)
    ahead.read_finished = slow
    def meanwhile():
        print(*children(), flush=True)
        time.sleep(600)
    def children():
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    raise_on_signals()
    sys.exit(run_script(lambda: ahead.read_ahead([Path(str(i)) for i in range(99999)], meanwhile)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("to_all", [True, False], ids=["to all of them", "to the parent"])
def test_children_end_with_their_parent_and_say_nothing(number, to_all):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    (os.killpg if to_all else os.kill)(process.pid, number)
    # They have the pipes of stdout and stderr, too: this waits for all of them.
    _, complaints = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert (process.returncode, complaints) == (-signal.SIGKILL, "")
    else:
        assert process.returncode == 130
        assert complaints.count("\n") == 1
        assert "stopped" in complaints


# ------------------------------------------------------------------- what is worked out


@pytest.mark.usefixtures("idle_here")
def test_what_children_work_out_is_kept_with_the_record(tmp_path, forks):
    folders = write_all(tmp_path)

    def work_out(record):
        record.worked_out["by"] = (os.getpid(), record.summary["seed"])

    read_ahead(folders, work_out=work_out)
    found = [reading.read_finished(folder) for folder in folders]
    by_children = [r.worked_out["by"] for r in found if r.worked_out]
    assert by_children
    assert {pid for pid, _ in by_children} <= set(forks)
    for record in found:
        if record.worked_out:
            assert record.worked_out["by"][1] == record.summary["seed"]


@pytest.mark.usefixtures("idle_here")
def test_what_cannot_be_worked_out_leaves_the_record(tmp_path, forks, read_here):
    folders = write_all(tmp_path)
    read_ahead(folders, work_out=lambda record: 1 / 0)
    found = [reading.read_finished(folder) for folder in folders]
    assert forks
    assert all(record.worked_out == {} for record in found)
    assert len(read_here) < len(folders)


def test_judging_is_done_once_a_record_and_anew_when_its_predictions_change(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(predictions, "read_predictions", lambda folder: asked.append(folder))
    (run, *_) = spec().runs()
    write_record(tmp_path, run, [5.0])
    folder = run.folder(tmp_path)
    monkeypatch.setattr(reading, "TICK", -1)
    for _ in range(3):
        assert predictions.judged(reading.read_finished(folder)) is None
    assert asked == [folder]
    (folder / "summary.json").write_text((folder / "summary.json").read_text() + " ")
    predictions.judged(reading.read_finished(folder))
    assert asked == [folder] * 2
