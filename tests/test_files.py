"""What is written is whole or not there, and a disk that refuses is named in one line."""

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from gnp import files
from gnp.errors import UserError
from gnp.files import StorageError, append, remove_leftovers, write_atomically, write_text

STATE = {"epoch": 3, "model": {f"w{i}": torch.arange(500.0) + i for i in range(4)}}


def save(path):
    write_atomically(path, lambda file: torch.save(STATE, file))


def full_after(monkeypatch, room, number=errno.ENOSPC):
    """Every file written from now on takes ``room`` bytes, the last write a part of its data."""
    write = files.io.FileIO.write
    left = [room]

    def limited(file, data):
        data = memoryview(data).cast("B")
        if not left[0] and len(data):
            raise OSError(number, os.strerror(number))
        done = write(file, data[: left[0]])
        left[0] -= done
        return done

    class Limited(files._Raw):
        def write(self, data):
            try:
                return limited(self, data)
            except OSError as error:
                self.failure = error
                raise

    monkeypatch.setattr(files, "_Raw", Limited)


def refuse(monkeypatch, name, number):
    """``os.<name>`` refuses from now on."""

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refused)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_disk_full_at_any_byte_leaves_the_old_file_whole_and_is_named(
    tmp_path, monkeypatch, number
):
    path = tmp_path / "checkpoint.pt"
    save(path)
    old = path.read_bytes()
    for room in [*range(0, len(old), 397), len(old) - 1]:
        with monkeypatch.context() as patch:
            full_after(patch, room, number)
            with pytest.raises(StorageError) as caught:
                save(path)
        assert str(caught.value).startswith(f"cannot write {path} ({os.strerror(number)}): ")
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_disk_with_just_enough_room_is_enough(tmp_path, monkeypatch):
    save(tmp_path / "a")
    full_after(monkeypatch, (tmp_path / "a").stat().st_size)
    save(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("write", [save, lambda path: write_text(path, "x" * 9000)])
def test_a_limit_on_file_sizes_is_named(tmp_path, write):
    path = tmp_path / "f"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"File too large\): raise .*ulimit -f"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_limit_on_open_files_is_named(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(tmp_path, os.O_RDONLY)
    os.close(probe)  # the lowest free descriptor
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))
    try:
        with pytest.raises(StorageError, match=r"Too many open files\): raise .*ulimit -n"):
            write_text(tmp_path / "f", "new")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def a_file_above(folder):
    (folder / "x").write_text("")
    return folder / "x" / "f"


def a_dangling_link_above(folder):
    (folder / "x").symlink_to(folder / "nowhere")
    return folder / "x" / "f"


def a_folder_there(folder):
    (folder / "x").mkdir()
    return folder / "x"


def a_loop_above(folder):
    (folder / "x").symlink_to(folder / "x")
    return folder / "x" / "f"


@pytest.mark.parametrize(
    "path_in",
    [
        a_file_above,
        a_dangling_link_above,
        a_loop_above,
        a_folder_there,
        lambda folder: folder / ("x" * 300),
        lambda folder: folder / ("x" * 300) / "f",
        lambda folder: folder.joinpath(*["x" * 200] * 25),
    ],
)
def test_a_place_that_takes_no_file_is_named_with_what_to_do(tmp_path, path_in):
    path = path_in(tmp_path)
    with pytest.raises(StorageError) as caught:
        write_text(path, "new")
    message = str(caught.value)
    assert message.startswith(("cannot write", "cannot replace"))
    assert str(path) in message
    assert "mend that;" not in message  # there is better advice
    assert "\n" not in message
    assert not list(tmp_path.rglob("*.tmp"))


def test_it_is_an_error_that_the_scripts_print_as_one_line(tmp_path):
    with pytest.raises(UserError) as caught:
        write_text(a_file_above(tmp_path), "new")
    assert caught.value.exit_status == 1


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    write_text(tmp_path / ("x" * 255), "new")
    write_text(tmp_path / ("é" * 127), "new")


@pytest.mark.parametrize("name", ["chmod", "fchmod"])
def test_a_file_system_that_refuses_chmod_is_written_to(tmp_path, monkeypatch, name):
    refuse(monkeypatch, name, errno.EPERM)
    write_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "new"


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "f", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_fsync_is_written_to(tmp_path, monkeypatch, number):
    refuse(monkeypatch, "fsync", number)
    write_text(tmp_path / "f", "new")
    append(tmp_path / "f", "er")
    assert (tmp_path / "f").read_text() == "newer"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_an_fsync_that_says_data_are_lost_keeps_the_old_file(tmp_path, monkeypatch, number):
    write_text(tmp_path / "f", "old")
    refuse(monkeypatch, "fsync", number)
    with pytest.raises(StorageError):
        write_text(tmp_path / "f", "new")
    with pytest.raises(StorageError):
        append(tmp_path / "f", "er")
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_that_replaces_no_file_is_named(tmp_path, monkeypatch, number):
    write_text(tmp_path / "f", "old")
    refuse(monkeypatch, "replace", number)
    with pytest.raises(StorageError, match=r"cannot replace .*take .*root=…"):
        write_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_is_appended_is_whole_or_not_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append(path, "one\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        with pytest.raises(StorageError, match=r"metrics\.jsonl"):
            append(path, "two and more\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "one\n"
    append(path, "two\n")
    assert path.read_text() == "one\ntwo\n"


def test_leftovers_that_cannot_be_removed_are_in_nobodys_way(tmp_path):
    (tmp_path / ".a.tmp").mkdir()
    (tmp_path / ".b.tmp").write_text("half")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [".a.tmp"]


def test_a_writer_that_fails_by_itself_keeps_its_own_error(tmp_path):
    def broken(file):
        file.write(b"x")
        raise KeyError("w")

    with pytest.raises(KeyError):
        write_atomically(tmp_path / "f", broken)
    assert os.listdir(tmp_path) == []


FILL = """
import sys
from pathlib import Path
import torch
from gnp.files import StorageError, write_atomically
folder = Path(sys.argv[1])
save = lambda n: write_atomically(folder / "c", lambda f: torch.save({"w": torch.ones(n)}, f))
save(10_000)
old = (folder / "c").read_bytes()
try:
    save(100_000)
except StorageError as error:
    print(error)
assert (folder / "c").read_bytes() == old and len(list(folder.iterdir())) == 1
save(10_001)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_small_disk_really_full(tmp_path):
    """On a file system of 200 kB, where this machine lets us mount one of our own."""
    mount = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=200k t "$1" && exec "$2" -c "$3" "$1"',
    ]
    command = [*mount, "sh", str(tmp_path), sys.executable, FILL]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no mounts here")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"cannot write {Path(tmp_path, 'c')} (No space left on device): free some space; "
        f"the same command then goes on from here\n"
    )
