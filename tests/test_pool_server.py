"""The server that a pool's children are forked from, and what they have of it."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PATIENCE, ROOT
from test_pool import CHILD

from gnp.jobs import child

POOL = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from pathlib import Path
from records import spec
from gnp.jobs import Pool, Slot, cpu_slots
root = Path(sys.argv[1])
runs = list(spec(seeds=[0]).runs())
print("this script")
"""


def printed_by_children(tmp_path, child, pool):
    """What ``pool``, the end of a script that has POOL's names, and all its children print."""
    (tmp_path / "child.py").write_text(CHILD + textwrap.dedent(child))
    (tmp_path / "pool.py").write_text(POOL + textwrap.dedent(pool))
    done = subprocess.run(
        [sys.executable, tmp_path / "pool.py", tmp_path / "root"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    logs = sorted((tmp_path / "root").rglob("log.txt"))
    return done.stdout, "".join(log.read_text() for log in logs)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_children_find_torch_imported_by_a_server_that_has_one_thread_and_no_gpu(tmp_path):
    child = """
        found = "gnp.training.run" in sys.modules
        import torch
        print(found, os.getppid(), len(os.listdir(f"/proc/{os.getppid()}/task")),
              torch.cuda.is_initialized(), torch.get_num_threads())
    """
    pool = """
        Pool(runs, root, root.parent / "child.py", cpu_slots(2, 2),
             preload=["gnp.training.run", "no.such.module"]).run()
    """
    _, printed = printed_by_children(tmp_path, child, pool)
    found, servers, threads, on_gpu, own_threads = zip(
        *(line.split() for line in printed.splitlines()), strict=True
    )
    assert len(found) == 4
    assert len(set(servers)) == 1
    assert (*set(found), *set(threads), *set(on_gpu), *set(own_threads)) == (
        "True",
        "1",
        "False",
        "1",
    )


def test_a_child_is_what_a_script_started_by_itself_is(tmp_path):
    child = """
        import __main__
        print(sys.argv[0].endswith("child.py"), __main__.__file__ == sys.argv[0],
              sys.path[0] == os.path.dirname(sys.argv[0]), sys.stdin.read() == "",
              os.environ["WHERE"], os.getsid(0) == os.getpid(), "GNP_PRELOAD" in os.environ)
        raise SystemExit(7)
    """
    pool = """
        pool = Pool(runs[:2], root, root.parent / "child.py", [Slot("a", {"WHERE": "here"})])
        pool.run()
        print(*pool.failed, sep="\\n")
        print("WHERE" in os.environ)
    """
    told, printed = printed_by_children(tmp_path, child, pool)
    assert printed == "True True True True here True False\n" * 2  # and not "this script"
    assert told.splitlines()[0] == "this script"
    assert told.count("exit status 7") == 2
    assert told.splitlines()[-1] == "False"


def test_what_is_to_be_done_at_the_servers_end_is_not_done_at_a_childs(tmp_path):
    (tmp_path / "with_exit.py").write_text(
        "import atexit\natexit.register(lambda: print('the end of the server'))\n"
    )
    child = """
        from gnp.cli import leave
        print("with_exit" in sys.modules)
        leave(0)
    """
    pool = """
        os.environ["PYTHONPATH"] = str(root.parent)
        Pool(runs[:1], root, root.parent / "child.py", cpu_slots(1, 1), preload=["with_exit"]).run()
    """
    _, printed = printed_by_children(tmp_path, child, pool)
    assert printed == "True\n"


def test_where_the_server_is_killed_its_children_fail_and_the_others_get_a_new_one(tmp_path):
    child = """
        if not (Path(settings["root"]) / "killed").exists():
            (Path(settings["root"]) / "killed").touch()
            time.sleep(3)  # until the server has told the pool of it; else it is started again
            os.kill(os.getppid(), 9)
            time.sleep(3600)
        print("went on")
    """
    pool = """
        pool = Pool(runs, root, root.parent / "child.py", cpu_slots(1, 1))
        pool.run()
        print(*pool.failed, sep="\\n")
    """
    told, printed = printed_by_children(tmp_path, child, pool)
    assert printed == "went on\n" * 3
    assert "ended with the pool's server" in told.splitlines()[1]


@pytest.mark.parametrize("error", [EOFError, ConnectionRefusedError])
def test_a_server_that_is_dying_is_asked_again_until_there_is_another_one(monkeypatch, error):
    started, slept = [], []

    class Process:
        def __init__(self, **_):
            started.append(self)

        def start(self):
            if len(started) < 4:
                raise error

    monkeypatch.setattr(child, "get_context", lambda kind: SimpleNamespace(Process=Process))
    monkeypatch.setattr(child.time, "sleep", slept.append)
    made = child.Child(Path("x.py"), [], {}, 1, 1, "LOCK")
    assert (made._process, len(started), len(slept)) == (started[3], 4, 3)
    monkeypatch.setattr(Process, "start", lambda self: (_ for _ in ()).throw(error))
    with pytest.raises(error):
        child.Child(Path("x.py"), [], {}, 1, 1, "LOCK")
    assert len(started) == 4 + child.STARTS


def test_a_child_that_is_killed_says_so(tmp_path):
    child = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    pool = """
        pool = Pool(runs[:1], root, root.parent / "child.py", cpu_slots(1, 1))
        pool.run()
        print(*pool.failed, sep="\\n")
    """
    told, _ = printed_by_children(tmp_path, child, pool)
    assert "signal 9 (Killed), as the system does when memory runs out" in told
