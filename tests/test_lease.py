"""The lease on a run, where the file system's locks cannot be trusted."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import PATIENCE, ROOT

from gnp.files import StorageError
from gnp.tracking import RunRecord, lease, lock
from gnp.tracking.lease import FREE, LEASE_NAME, LEASE_VARIABLE
from gnp.tracking.lock import LOCK_FD_VARIABLE, holder, inherited_lock, lock_patiently, lock_run
from gnp.tracking.record import RecordGone, RunBusy

CONFIG = {"seed": 0}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(lock, "_warned", False)
    monkeypatch.setattr(lease, "_seen", {})


@pytest.fixture
def no_flock(monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(lock.fcntl, "flock", refused)


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds) lets so much time pass for who looks at a lease; no beat is made meanwhile."""
    now = [1000.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])

    def tick(seconds):
        now[0] += seconds

    return tick


def numbers(folder):
    return sorted(file.name for file in folder.glob(f"{LEASE_NAME}*"))


def beat(folder):
    """A sign of life of whoever holds the lease on ``folder``."""
    (path,) = folder.glob(f"{LEASE_NAME}*")
    nonce, _, process, host = path.read_text().split()
    path.write_text(f"{nonce} {os.urandom(4).hex()} {process} {host}\n")


def looks(folder, clock, count, seconds=lease.HEARTBEAT):
    """What ``lock_run`` gives at the last of some looks, each after so many seconds."""
    taken = None
    for _ in range(count):
        assert taken is None
        clock(seconds)
        taken = lock_run(folder, "lease")
    return taken


# ---------------------------------------------------------------------- one holder


def test_a_lease_has_one_holder_and_is_free_when_it_is_released(tmp_path, no_flock):
    first = lock_run(tmp_path, "lease")
    assert first.held()
    assert lock_run(tmp_path, "lease") is None
    first.release()
    second = lock_run(tmp_path, "lease")
    assert second.held()
    assert not first.held()
    assert numbers(tmp_path) == [f"{LEASE_NAME}1"]  # those before it are gone
    second.release()
    assert (tmp_path / f"{LEASE_NAME}1").read_text() == f"{FREE}\n"  # a record names no host


def test_without_flock_a_lease_is_taken_by_itself(tmp_path, no_flock):
    taken = lock_run(tmp_path)
    assert numbers(tmp_path)
    assert lock_run(tmp_path) is None
    assert holder(tmp_path) == f"process {os.getpid()} on {socket.gethostname()}"
    taken.release()


def test_with_flock_there_is_no_lease_unless_it_is_wanted(tmp_path):
    lock_run(tmp_path).release()
    assert not numbers(tmp_path)


def test_flock_that_is_wanted_and_does_not_work_is_refused_with_what_to_do(tmp_path, no_flock):
    with pytest.raises(lock.NoLocks, match=r"runtime\.locks=lease"):
        lock_run(tmp_path, "flock")


@pytest.mark.parametrize("kinds", [("lease", "auto"), ("auto", "lease"), ("lease", "flock")])
def test_processes_of_different_kinds_keep_out_of_each_others_way(tmp_path, kinds):
    first = lock_run(tmp_path, kinds[0])
    assert lock_run(tmp_path, kinds[1]) is None
    first.release()
    lock_run(tmp_path, kinds[1]).release()


def test_who_has_flock_respects_a_lease_of_one_that_has_not(tmp_path, monkeypatch, no_flock):
    first = lock_run(tmp_path)
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)
    assert lock_run(tmp_path) is None
    first.release()


# ---------------------------------------------------------------------- the dead and the living


def test_a_holder_that_gives_no_sign_of_life_is_dead_after_so_many_looks(tmp_path, clock):
    lost = lease.take(tmp_path)
    assert lock_run(tmp_path, "lease") is None  # the first look
    taken = looks(tmp_path, clock, lease.LOOKS)
    assert taken.held()
    assert not lost.held()


def test_a_holder_is_not_dead_before_that(tmp_path, clock):
    lease.take(tmp_path)
    assert looks(tmp_path, clock, lease.LOOKS) is None


def test_a_beat_begins_the_count_again(tmp_path, clock):
    lease.take(tmp_path)
    for _ in range(3):
        assert looks(tmp_path, clock, lease.LOOKS) is None
        beat(tmp_path)
    assert looks(tmp_path, clock, lease.LOOKS) is None


def test_an_outage_in_which_nobody_looks_makes_no_one_dead(tmp_path, clock):
    lease.take(tmp_path)
    assert looks(tmp_path, clock, 2) is None
    assert looks(tmp_path, clock, 1, 3600) is None
    assert looks(tmp_path, clock, lease.LOOKS - 3) is None


def test_many_looks_within_a_heartbeat_make_no_one_dead(tmp_path, clock):
    lease.take(tmp_path)
    assert looks(tmp_path, clock, 5 * lease.LOOKS, 0.01) is None


def test_clocks_that_differ_make_no_one_dead(tmp_path):
    """No time of a file is looked at."""
    lease.take(tmp_path)
    os.utime(tmp_path / f"{LEASE_NAME}0", (0, 0))
    assert lock_run(tmp_path, "lease") is None


def test_of_two_that_find_a_holder_dead_one_takes_its_lease(tmp_path, clock, monkeypatch):
    lease.take(tmp_path)
    winners, current = [], lease._current

    def beaten(folder):
        """The other one is faster, between our look and our step."""
        found = current(folder)
        monkeypatch.setattr(lease, "_current", current)
        winners.append(lease.take(folder))
        return found

    assert looks(tmp_path, clock, lease.LOOKS) is None
    clock(lease.HEARTBEAT)
    monkeypatch.setattr(lease, "_current", beaten)
    assert lease.take(tmp_path) is None
    assert winners[0].held()
    assert numbers(tmp_path) == [f"{LEASE_NAME}1"]


def test_who_acts_on_an_old_look_withdraws(tmp_path, monkeypatch):
    """Its number is free again, as the others' leases have been cleared away since."""
    for _ in range(3):
        lease.take(tmp_path).release()
    holds = lease.take(tmp_path)
    monkeypatch.setattr(lease, "_current", lambda folder: (0, FREE))
    assert lease.take(tmp_path) is None
    assert holds.held()
    assert numbers(tmp_path) == [f"{LEASE_NAME}3"]


def test_a_lease_that_is_being_written_is_held(tmp_path):
    (tmp_path / f"{LEASE_NAME}0").touch()
    assert lease.take(tmp_path) is None


def test_a_lease_is_kept_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    taken = lease.take(tmp_path)
    before = lease._current(tmp_path)
    deadline = time.monotonic() + PATIENCE
    while lease._current(tmp_path) == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    after = lease._current(tmp_path)
    assert after[1].split()[0::2] == before[1].split()[0::2]
    taken.release()


def test_a_beat_of_one_that_lost_its_lease_changes_nothing(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    paused = lease.take(tmp_path)
    with paused._one_at_a_time:
        (tmp_path / f"{LEASE_NAME}1").write_text("other 00000000 1 elsewhere\n")
        text = paused._path.read_text()
    time.sleep(0.1)
    assert paused._path.read_text() == text
    paused.release()
    assert paused._path.read_text() == text


# ---------------------------------------------------------------------- records


def test_a_record_whose_lease_was_taken_over_writes_nothing_more(tmp_path):
    record = RunRecord(tmp_path, CONFIG, locks="lease")
    record.begin({"code": {"hash": "x"}}, "digest")
    record.add_metrics({"epoch": 1})
    (tmp_path / f"{LEASE_NAME}1").write_text("other 00000000 1 elsewhere\n")
    files = {p: p.read_bytes() for p in tmp_path.iterdir()}
    for write in (
        lambda: record.add_metrics({"epoch": 2}),
        lambda: record.set_metrics([]),
        lambda: record.finish({}),
        record.check_place,
    ):
        with pytest.raises(RecordGone, match="another process has taken this run over") as caught:
            write()
        assert caught.value.exit_status == 1
    record.close()
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == files


def test_storage_that_does_not_answer_is_not_taken_for_a_thief(tmp_path, monkeypatch):
    record = RunRecord(tmp_path, CONFIG, locks="lease")

    def refused(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(lease, "_read", refused)
        with pytest.raises(StorageError, match="Input/output error"):
            record.check_place()
    record.check_place()
    record.close()


def test_a_living_holder_is_named_as_soon_as_it_beats(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.02)
    holds = lease.take(tmp_path)
    with pytest.raises(RunBusy, match=f"process {os.getpid()} on .* is working on"):
        RunRecord(tmp_path, CONFIG, locks="lease")
    assert "looking for at most" in caplog.text
    assert holds.held()
    holds.release()


def test_a_dead_holder_is_waited_out_and_its_run_taken(tmp_path, monkeypatch):
    (tmp_path / f"{LEASE_NAME}0").write_text("dead 00000000 1 elsewhere\n")
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    RunRecord(tmp_path, CONFIG, locks="lease").close()
    assert numbers(tmp_path) == [f"{LEASE_NAME}1"]


def test_a_child_takes_its_parents_lease_over(tmp_path, monkeypatch):
    parents = lock_run(tmp_path, "lease")
    monkeypatch.setenv(LOCK_FD_VARIABLE, str(os.dup(parents.descriptor)))
    for name, value in parents.variables.items():
        monkeypatch.setenv(name, value)
    parents.hand_over()
    childs = inherited_lock(tmp_path)
    assert childs.held()
    assert LEASE_VARIABLE not in os.environ
    childs.release()
    assert not parents.held()
    assert lock_run(tmp_path, "lease").held()


@pytest.mark.parametrize("value", ["0:other", "1:{nonce}", "x", "", ":", "-1:a"])
def test_a_lease_that_is_no_longer_the_parents_is_not_inherited(tmp_path, monkeypatch, value):
    parents = lock_run(tmp_path, "lease")
    nonce = parents.variables[LEASE_VARIABLE].partition(":")[2]
    monkeypatch.setenv(LEASE_VARIABLE, value.format(nonce=nonce))
    copy = os.dup(parents.descriptor)
    monkeypatch.setenv(LOCK_FD_VARIABLE, str(copy))
    assert inherited_lock(tmp_path) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(copy)
    assert parents.held()
    parents.release()


def test_flock_alone_is_never_in_doubt(tmp_path):
    held = lock_run(tmp_path)
    assert lock_patiently(tmp_path) is None
    held.release()


# ---------------------------------------------------------------------- processes

HOLDER = """
import errno, os, signal, sys, time
from pathlib import Path
from gnp.tracking import RunRecord, lease, lock
from gnp.tracking.record import RecordGone, RunBusy
lease.HEARTBEAT = 0.1
folder = Path(sys.argv[1])
def flock(*_):
    raise OSError(errno.ENOLCK, "none here")
lock.fcntl.flock = flock
"""


def python(code, folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER + textwrap.dedent(code), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_of_processes_that_race_for_a_dead_holders_lease_one_wins(tmp_path):
    """Neither has flock: nothing else keeps them apart."""
    (tmp_path / f"{LEASE_NAME}0").write_text("dead 00000000 1 elsewhere\n")
    code = """
        try:
            RunRecord(folder, {"seed": 0}, locks="lease")
        except RunBusy:
            print("busy", flush=True)
        else:
            print("mine", flush=True)
            time.sleep(3600)
    """
    racing = [python(code, tmp_path) for _ in range(4)]
    try:
        said = []
        for _ in range(3):  # those that lose end
            ended = next_to_end(racing)
            said.append(ended.communicate(timeout=PATIENCE)[0])
            racing.remove(ended)
        assert said == ["busy\n"] * 3
        assert racing[0].stdout.readline() == "mine\n"
    finally:
        for process in racing:
            process.kill()
            process.communicate()


def next_to_end(processes):
    deadline = time.monotonic() + PATIENCE
    while True:
        for process in processes:
            if process.poll() is not None:
                return process
        assert time.monotonic() < deadline
        time.sleep(0.05)


WRITES = """
    record = RunRecord(folder, {"seed": 0}, locks="lease")
    record.begin({"code": {"hash": "x"}}, "digest")
    record.add_metrics({"epoch": 1})
    print("begun", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        record.add_metrics({"epoch": 2})
    except RecordGone as error:
        print(error, flush=True)
"""


@pytest.mark.slow
def test_a_paused_holder_that_wakes_after_its_lease_was_taken_writes_nothing(
    tmp_path, monkeypatch, no_flock
):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    process = python(WRITES, tmp_path)
    try:
        assert process.stdout.readline() == "begun\n"
        while not process_is_stopped(process.pid):
            time.sleep(0.01)
        record = RunRecord(tmp_path, CONFIG, locks="lease")
        metrics = (tmp_path / "metrics.jsonl").read_bytes()
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=PATIENCE)
        assert "another process has taken this run over" in said
        assert process.returncode == 0
        assert (tmp_path / "metrics.jsonl").read_bytes() == metrics
        record.check_place()
        record.close()
    finally:
        process.kill()
        process.communicate()


def process_is_stopped(pid):
    return "State:\tT" in open(f"/proc/{pid}/status").read()


@pytest.mark.slow
def test_a_killed_holders_run_is_taken_by_the_next(tmp_path, monkeypatch, no_flock):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    process = python(WRITES, tmp_path)
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    RunRecord(tmp_path, CONFIG, locks="lease").close()
