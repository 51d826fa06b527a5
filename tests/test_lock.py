"""The lock on a run: what happens where there is none, and who holds it."""

import errno
import os
import socket
import subprocess
import sys
import textwrap
from io import StringIO
from types import SimpleNamespace

import pytest
from conftest import ROOT
from records import spec
from rich.console import Console

from gnp.data.sources import torchvision
from gnp.errors import UserError
from gnp.files import StorageError
from gnp.jobs import Pool, cpu_slots, progress
from gnp.tracking import RunRecord, lock
from gnp.tracking.lock import LOCK_FD_VARIABLE, LOCK_NAME, holder, inherited_lock, lock_run

CONFIG = {"seed": 0}


@pytest.fixture(autouse=True)
def _not_warned(monkeypatch):
    monkeypatch.setattr(lock, "_warned", False)


def no_flock(monkeypatch, number):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refused)


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO, errno.EPERM]
)
def test_where_there_are_no_file_locks_runs_go_on_with_one_warning(
    tmp_path, monkeypatch, caplog, number
):
    no_flock(monkeypatch, number)
    for name in ("a", "b"):
        RunRecord(tmp_path / name, CONFIG).close()
    assert len(caplog.records) == 1
    assert f"({os.strerror(number)}): leases are taken in their place" in caplog.text


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_is_taken_is_no_lack_of_locks(tmp_path, monkeypatch, caplog, number):
    no_flock(monkeypatch, number)
    assert lock_run(tmp_path) is None
    assert not caplog.records


def test_a_table_is_trained_where_there_are_no_file_locks(tmp_path, monkeypatch, caplog):
    no_flock(monkeypatch, errno.ENOSYS)
    child = tmp_path / "child.py"
    child.write_text(
        textwrap.dedent(f"""
            import os, sys
            from pathlib import Path
            sys.path.insert(0, {str(ROOT / "tests")!r})
            from records import spec, write_record
            folder = Path(os.readlink(f"/dev/fd/{{os.environ['GNP_LOCK_FD']}}")).parent
            root = {str(tmp_path)!r}
            run = next(r for r in spec(seeds=[0]).runs() if r.folder(root) == folder)
            write_record(root, run, [1.0])
        """)
    )
    pool = Pool(list(spec(seeds=[0]).runs()), tmp_path, child, cpu_slots(2, 2))
    pool.run()
    assert len(pool.finished) == 4
    assert len(caplog.records) == 1


def test_a_system_without_flock_is_named_when_a_run_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(UserError, match="Linux or macOS, or in WSL") as caught:
        RunRecord(tmp_path, CONFIG)
    assert caught.value.exit_status == 2


WITHOUT_FCNTL = """
import runpy, sys
sys.modules["fcntl"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_without_fcntl_training_is_refused_in_one_line_and_rendering_works(tmp_path):
    def script(name, *arguments):
        command = [sys.executable, "-c", WITHOUT_FCNTL, f"scripts/{name}.py", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    train = script("train", "experiment=quickstart", f"root={tmp_path}", "runtime.device=cpu")
    assert train.returncode == 2
    assert train.stderr.splitlines()[-1].startswith("train.py: this system has no flock")
    assert "Traceback" not in train.stderr
    assert script("list_runs", str(ROOT / "results")).returncode == 0


def test_a_download_needs_no_locks(tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        no_flock(patch, errno.ENOSYS)
        with torchvision._one_at_a_time(tmp_path):
            pass
    assert "no file locks" in caplog.text
    monkeypatch.setattr(torchvision, "fcntl", None)
    with torchvision._one_at_a_time(tmp_path):
        pass


def test_a_lock_of_the_wrong_kind_is_named(tmp_path):
    (tmp_path / LOCK_NAME).mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*\.lock"):
        lock_run(tmp_path)


@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 30, "12345"])
def test_a_descriptor_that_is_none_is_no_lock(tmp_path, monkeypatch, value):
    monkeypatch.setenv(LOCK_FD_VARIABLE, value)
    RunRecord(tmp_path, CONFIG).close()
    monkeypatch.setenv(LOCK_FD_VARIABLE, value)
    assert inherited_lock(tmp_path) is None


# ---------------------------------------------------------------------- who holds it


def test_the_holder_is_named_by_process_and_machine(tmp_path):
    lock = lock_run(tmp_path)
    said = holder(tmp_path)
    assert said.startswith(f"process {os.getpid()} on {socket.gethostname()}, since 20")
    lock.release()
    assert (tmp_path / LOCK_NAME).read_bytes() == b""  # a record names no host


def test_a_holder_on_another_machine_is_named(tmp_path):
    (tmp_path / LOCK_NAME).write_text("12 elsewhere\n")
    assert holder(tmp_path).startswith("process 12 on elsewhere, since ")


@pytest.mark.parametrize("signed", ["", "999999999 {here}", "12 elsewhere", "\xff", "a b c"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/locks")
def test_a_holder_that_signed_nothing_is_named_by_the_kernel(tmp_path, signed):
    (tmp_path / LOCK_NAME).write_text(signed.format(here=socket.gethostname()))
    descriptor = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    lock.fcntl.flock(descriptor, lock.fcntl.LOCK_EX)
    assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
    os.close(descriptor)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"999999999 here now"])
def test_a_holder_that_is_not_known_is_another_process(tmp_path, content):
    if content is not None:
        (tmp_path / LOCK_NAME).write_bytes(content)
    assert holder(tmp_path) == "another process"


class Waiting:
    """A PoolProgress on a clock of its own, watching a pool that only waits."""

    def __init__(self, monkeypatch, tmp_path):
        self.now, self.text = 1000.0, StringIO()
        monkeypatch.setattr(
            progress,
            "time",
            SimpleNamespace(
                monotonic=lambda: self.now,
                time=progress.time.time,
                strftime=progress.time.strftime,
                localtime=progress.time.localtime,
            ),
        )
        self.pool = Pool(list(spec(seeds=[0]).runs())[:2], tmp_path, None, [])
        console = Console(file=self.text, width=300)
        self.progress = progress.PoolProgress(console, 0, 4)

    def pass_time(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.progress.watch(self.pool)
        return self.text.getvalue()


def test_a_lock_that_is_never_released_is_named_once_after_a_minute(tmp_path, monkeypatch):
    waiting = Waiting(monkeypatch, tmp_path)
    held = []
    for run in waiting.pool.waiting:
        run.folder(tmp_path).mkdir(parents=True)
        held.append(lock_run(run.folder(tmp_path)))
    assert "held by" not in waiting.pass_time(59)
    said = waiting.pass_time(600)
    for run in waiting.pool.waiting:
        assert said.count(f"{run.path} (held by process {os.getpid()} on ") == 1
    assert said.count("only waiting for what other processes hold; stop one that hangs") == 1


def test_the_minute_begins_again_when_something_is_finished_elsewhere(tmp_path, monkeypatch):
    waiting = Waiting(monkeypatch, tmp_path)
    waiting.pass_time(50)
    summary = {"evaluated": "test", "final": {"test_error": 1.0}, "seconds": 1}
    waiting.pool.finished.append((waiting.pool.waiting.popleft(), summary))
    assert "held by" not in waiting.pass_time(50)
    assert waiting.pass_time(20).count("held by another process") == 1


def test_how_long_other_processes_take_is_not_guessed(tmp_path, monkeypatch):
    waiting = Waiting(monkeypatch, tmp_path)
    summary = {"evaluated": "test", "final": {"test_error": 1.0}, "seconds": 1}
    waiting.pool.finished.append((waiting.pool.waiting.popleft(), summary))
    said = waiting.pass_time(100)
    assert "waiting for runs of another process" in said
    assert "left" not in said
