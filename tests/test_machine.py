"""What the machine refuses is one line that says what to do, and costs no number."""

import errno
import logging
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from records import spec, write_record

from gnp import cli, files
from gnp.files import StorageError
from gnp.jobs import Pool, RunsFailed, cpu_slots, reproduce
from gnp.jobs import runner as runner_module
from gnp.machine import refusal
from gnp.settings import ConfigError
from gnp.settings.job import JobSettings
from gnp.tables import render
from gnp.tracking.reading import read_finished
from gnp.tracking.record import RunRecord
from gnp.training.run import folder_of, run

ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 983040 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.fixture
def ends_with(monkeypatch):
    """ends_with(error) → the exit status of a script whose main raises it."""
    monkeypatch.setattr(cli, "raise_on_signals", lambda: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "argv", ["scripts/train.py"])

    def status(error):
        def main():
            raise error

        return cli.run_cli(main, list)

    return status


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/f"), "cannot use /x/f .*free some"),
        (OSError(errno.EROFS, "Read-only file system", "/x/f"), r"make it writable.*root=…"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EIO, "Input/output error", "/x/f"), "Input/output error"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "shorter place"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (MemoryError(), "not enough memory .*jobs=1"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "not enough memory",
        ),
        (RuntimeError(ALLOCATOR), "not enough memory.*runtime.eval_batch_size"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "not enough memory"),
        (RuntimeError("could not create a primitive"), "not enough memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (ImportError("libx.so: cannot open shared object file: Error 24"), "ulimit -n"),
        (
            ImportError("libx.so: failed to map segment: Cannot allocate memory"),
            "not enough memory",
        ),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_one_line_and_exit_status_1(ends_with, capsys, error, words):
    assert ends_with(error) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("train.py: ")
    assert printed.count("\n") == 1
    assert re.search(words, printed)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("shapes"), OSError("no picture")])
def test_an_error_of_the_program_keeps_its_traceback(ends_with, error):
    with pytest.raises(type(error)):
        ends_with(error)
    assert refusal(error) is None


def test_a_reader_of_the_output_that_is_gone_is_nothing_to_complain_of(ends_with, capsys):
    assert ends_with(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_output_into_a_full_disk_ends_with_a_status_and_no_traceback(ends_with, monkeypatch, name):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, name, full)
        if name == "stdout":
            full.write("some progress")
        assert ends_with(OSError(errno.ENOSPC, "No space left on device")) == 1


def test_a_log_that_cannot_be_written_prints_no_traceback(ends_with, capsys):
    """wandb's own, on a full disk."""
    handler = logging.StreamHandler(open("/dev/null"))  # noqa: SIM115
    log = logging.getLogger("test_machine")
    log.addHandler(handler)
    ends_with(MemoryError())
    capsys.readouterr()
    try:
        log.error("lost")
    finally:
        log.removeHandler(handler)
    assert "Traceback" not in capsys.readouterr().err


def test_a_module_that_memory_does_not_suffice_to_import_is_not_called_missing(
    tiny, compose_train, monkeypatch
):
    from gnp.settings import compose as compose_module
    from gnp.settings import validate

    def exhausted(target):
        raise ImportError(f"Error loading '{target}': MemoryError()") from MemoryError()

    monkeypatch.setattr(compose_module, "get_object", exhausted)
    with pytest.raises(MemoryError):
        validate(compose_train(["experiment=quickstart"]))
    monkeypatch.setattr(compose_module, "get_object", lambda target: [][1])
    with pytest.raises(ConfigError, match="cannot be imported"):
        validate(compose_train(["experiment=quickstart"]))


# ---------------------------------------------------------------------- tables


def fill(root, table):
    for r in table.runs():
        write_record(root, r, [5.0])
    (root / "tables").write_text("no folder")


def test_a_table_is_shown_where_its_files_cannot_be_written(tmp_path, capsys):
    table = spec(seeds=[0])
    fill(tmp_path, table)
    with pytest.raises(StorageError, match=r"cannot write .*tables") as caught:
        render(table, str(tmp_path), "python …", None)
    assert caught.value.exit_status == 1
    shown = capsys.readouterr().out
    assert "5.00" in shown
    assert "written:" not in shown


def test_failed_runs_are_named_beside_files_that_cannot_be_written(tmp_path, monkeypatch):
    table = spec(seeds=[0])
    runs = list(table.runs())
    failed = [runner_module.Failure(runs[0], "exit status 1; no memory")]
    monkeypatch.setattr(runner_module, "check_records", lambda *_: None)
    monkeypatch.setattr(runner_module, "train_missing", lambda *_: (failed, []))

    def refused(wanted):
        raise StorageError("cannot write table.md")

    with pytest.raises(RunsFailed, match=r"(?s)no memory.*cannot write table\.md"):
        reproduce(table, runs, JobSettings(root=str(tmp_path)), Path("train.py"), refused)
    failed.clear()
    with pytest.raises(StorageError):
        reproduce(table, runs, JobSettings(root=str(tmp_path)), Path("train.py"), refused)


def test_a_pool_on_a_disk_that_refuses_names_every_run(tmp_path, monkeypatch):
    runs = list(spec(seeds=[0]).runs())

    def refuse_folder(*_, **__):  # Path's own, which in Python 3.10 has os.mkdir from its import
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse_folder)
    pool = Pool(runs, tmp_path, tmp_path / "child.py", cpu_slots(1, 1))
    pool.run()
    assert len(pool.failed) == len(runs)
    for failure in pool.failed:
        assert "Read-only file system): make it writable" in failure.reason


# ---------------------------------------------------------------------- runs


def refuse(monkeypatch, names, number, after=0):
    """``os``'s functions of these names refuse, after so many calls of them."""
    left = [after]

    def refusing(real):
        def call(*arguments, **keywords):
            if left[0] == 0:
                raise OSError(number, os.strerror(number))
            left[0] -= 1
            return real(*arguments, **keywords)

        return call

    for name in names:
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


def numbers(config):
    record = read_finished(folder_of(config))
    lines = [{k: v for k, v in m.items() if "seconds" not in k} for m in record.metrics]
    return lines, record.summary["final"], record.summary["best"]


def test_a_finished_run_has_nothing_to_write(tiny, tmp_path, monkeypatch):
    """Its command works on a disk that is read-only."""
    config = tiny("training.epochs=1", f"root={tmp_path}")
    summary = run(config)
    refuse(monkeypatch, ["mkdir", "replace", "unlink", "ftruncate", "fsync"], errno.EROFS)
    monkeypatch.setattr(files, "_Raw", None)
    assert run(config) == summary


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_at_any_write_costs_no_number(tiny, tmp_path, monkeypatch, number):
    whole, refused = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'refused'}")
    run(whole)
    said = []
    for after in range(0, 100, 3):
        with monkeypatch.context() as patched:
            refuse(patched, ["replace", "fsync"], number, after)
            try:
                run(refused)
                break
            except StorageError as error:
                said.append(str(error))
    assert len(said) > 2
    assert all(str(folder_of(refused)) in line and "\n" not in line for line in said)
    assert numbers(refused) == numbers(whole)
    assert not list(folder_of(refused).glob(".*.tmp"))


def test_no_write_makes_a_removed_record_again(tiny, tmp_path, monkeypatch):
    """Also where it was removed after the last look at it."""
    monkeypatch.setattr(RunRecord, "check_place", lambda self: None)
    config = tiny("training.epochs=2", f"root={tmp_path / 'root'}")
    real, calls = os.fsync, []
    for call in (2, 3, 4, 5, 6):  # environment.json, epoch 1's line and checkpoint, …
        calls.clear()

        def removing(descriptor, at=call):
            real(descriptor)
            calls.append(descriptor)
            if len(calls) == at:
                shutil.rmtree(tmp_path / "root")

        with monkeypatch.context() as patched, pytest.raises(StorageError, match="No such file"):
            patched.setattr(os, "fsync", removing)
            run(config)
        assert not (tmp_path / "root").exists()
    run(config)


@pytest.mark.parametrize("kind", ["link", "file", "long"])
def test_a_root_that_cannot_be_a_folder_is_refused_in_one_line(tiny, tmp_path, kind):
    root = tmp_path / ("x" * 300 if kind == "long" else kind)
    if kind == "link":
        root.symlink_to("nowhere/at/all")
    elif kind == "file":
        root.touch()
    with pytest.raises(OSError) as caught:
        run(tiny(f"root={root}"))
    line = str(caught.value) if isinstance(caught.value, StorageError) else refusal(caught.value)
    assert str(root) in line
    assert "root=…" in line
    assert "\n" not in line


def test_memory_that_ends_in_a_step_costs_no_number(tiny, tmp_path, monkeypatch):
    from gnp.training import run as run_module

    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)
    real, steps = run_module.evaluate, []

    def exhausted(*arguments):
        steps.append(1)
        if len(steps) == 2:
            raise RuntimeError(ALLOCATOR)
        return real(*arguments)

    monkeypatch.setattr(run_module, "evaluate", exhausted)
    with pytest.raises(RuntimeError) as caught:
        run(cut)
    assert "the same command then goes on from here" in refusal(caught.value)
    run(cut)
    assert numbers(cut) == numbers(whole)


def test_a_terminal_that_was_closed_ends_a_run_where_it_can_go_on(tiny, tmp_path, monkeypatch):
    """SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        real = RunRecord.add_metrics

        def closed(self, metrics):
            os.kill(os.getpid(), signal.SIGHUP)
            real(self, metrics)

        config = tiny(f"root={tmp_path}")
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(RunRecord, "add_metrics", closed)
            run(config)
        assert run(config)["epochs"] == 3
    finally:
        signal.signal(signal.SIGHUP, before)
