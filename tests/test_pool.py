"""The pool of child processes, with children that do what a test tells them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from records import spec

from gnp.cli import PARENT_VARIABLE
from gnp.jobs import Pool, cpu_slots, gpu_slots
from gnp.tracking.record import lock_run

CHILD = """
import json, os, sys, time
from pathlib import Path
settings = dict(a.split("=", 1) for a in sys.argv[1:])
folder = Path(settings["root"], "runs", settings["experiment"],
              settings["dataset"] + "-" + settings["augmentation"], settings["optimizer"],
              "seed" + settings["seed"])
with open(Path(settings["root"], "starts"), "a") as starts:
    starts.write(f"{folder} {os.getpid()}\\n")
"""

FINISH = """
print("working")
(folder / "summary.json").write_text(json.dumps(
    {"evaluated": "test", "final": {"test_error": 1.0}, "seconds": 1, "settings": settings,
     "slot": os.environ.get("CUDA_VISIBLE_DEVICES")}))
"""


def script(tmp_path, body=FINISH):
    path = tmp_path / "child.py"
    path.write_text(CHILD + textwrap.dedent(body))
    return path


def starts(root):
    return (root / "starts").read_text().split("\n")[:-1]


def test_every_run_is_trained_once_with_its_settings(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2), ["training.epochs=1"])
    pool.run()
    assert {run for run, _ in pool.finished} == set(runs)
    assert pool.failed == []
    assert len(starts(tmp_path)) == 4
    settings = pool.finished[0][1]["settings"]
    assert settings["training.epochs"] == "1"
    assert settings["runtime.threads"] == "1"
    pool = Pool(list(spec(seeds=[7]).runs()), tmp_path, script(tmp_path), cpu_slots(1, 2),
                ["runtime.threads=5"])  # fmt: skip
    pool.run()
    assert pool.finished[0][1]["settings"]["runtime.threads"] == "5"
    assert (runs[0].folder(tmp_path) / "log.txt").read_text() == "working\n"


def test_a_child_that_raises_or_dies_hard_costs_its_own_run_only(tmp_path):
    body = """
        if settings["optimizer"] == "gnp" and settings["augmentation"] == "basic":
            raise RuntimeError("no luck")
        if settings["optimizer"] == "gnp":
            os.kill(os.getpid(), 11)
    """
    runs = list(spec(seeds=[0]).runs())
    pool = Pool(runs, tmp_path, script(tmp_path, textwrap.dedent(body) + FINISH), cpu_slots(2, 2))
    pool.run()
    assert len(pool.finished) == 2
    messages = sorted(str(f) for f in pool.failed)
    assert "e/d-basic/gnp/seed0: exit status 1; RuntimeError: no luck" in messages[0]
    assert "e/d-cutout/gnp/seed0: signal 11; it printed nothing" in messages[1]
    assert "Traceback" in (runs[2].folder(tmp_path) / "log.txt").read_text()


def test_a_child_that_ends_well_without_a_summary_has_failed(tmp_path):
    pool = Pool(list(spec(seeds=[0]).runs())[:1], tmp_path, script(tmp_path, ""), cpu_slots(1, 1))
    pool.run()
    assert pool.failed[0].status == 0


def test_no_more_children_than_slots(tmp_path):
    seen = []
    pool = Pool(
        list(spec(seeds=[0]).runs()),
        tmp_path,
        script(tmp_path, "time.sleep(0.3)" + FINISH),
        cpu_slots(2, 2),
        watch=lambda p: seen.append(len(p.active)),
    )
    pool.run()
    assert max(seen) == 2
    assert len(pool.finished) == 4


def test_a_run_locked_by_another_process_is_waited_for_and_taken_when_left(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    folder = runs[0].folder(tmp_path)
    folder.mkdir(parents=True)
    lock = lock_run(folder)
    released = []

    def watch(pool):
        if len(pool.finished) == 3 and not released:
            assert runs[0] in pool.waiting
            os.close(lock)
            released.append(True)

    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2), watch=watch)
    pool.run()
    assert released
    assert len(pool.finished) == 4


def test_a_run_that_another_process_finished_is_not_trained_again(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    folder = runs[0].folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"mark": 1}))
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2))
    pool.run()
    assert len(starts(tmp_path)) == 3
    assert (runs[0], {"mark": 1}) in pool.finished


def test_two_pools_on_one_root_do_each_run_once(tmp_path):
    child = script(tmp_path, "time.sleep(0.2)" + FINISH)
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from pathlib import Path
        from records import spec
        from gnp.jobs import Pool, cpu_slots
        root, child = Path({str(tmp_path)!r}), Path({str(child)!r})
        Pool(list(spec().runs()), root, child, cpu_slots(2, 2)).run()
    """)
    pools = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [p.wait(timeout=PATIENCE) for p in pools] == [0, 0]
    folders = [line.split()[0] for line in starts(tmp_path)]
    assert len(folders) == len(set(folders)) == 12


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_pool_that_is_stopped_leaves_no_children(tmp_path, how):
    if how == signal.SIGKILL and not sys.platform.startswith("linux"):
        pytest.skip("needs prctl")
    body = """
        from gnp.cli import die_with_parent
        die_with_parent()
        (Path(settings["root"]) / "ready").touch()
        time.sleep(3600)
    """
    child = script(tmp_path, body)
    code = textwrap.dedent(f"""
        import signal, sys
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from pathlib import Path
        from records import spec
        from gnp.jobs import Pool, cpu_slots
        def interrupt(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, interrupt)
        root, child = Path({str(tmp_path)!r}), Path({str(child)!r})
        Pool(list(spec().runs()), root, child, cpu_slots(2, 2)).run()
    """)
    pool = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "ready").exists() or len(starts(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    pool.send_signal(how)
    pool.wait(timeout=PATIENCE)
    pids = [int(line.split()[1]) for line in starts(tmp_path)]
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_child_whose_parent_is_gone_ends_at_once():
    code = "from gnp.cli import die_with_parent; die_with_parent(); print('still here')"
    environment = {**os.environ, PARENT_VARIABLE: "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


def test_cpu_slots_share_the_cores():
    assert len(cpu_slots(None, 8)) == 8
    assert cpu_slots(2, 8)[0].settings == ("runtime.threads=4", "runtime.device=cpu")
    assert cpu_slots(3, 2)[0].settings[0] == "runtime.threads=1"


def test_gpu_slots_are_the_visible_devices(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in gpu_slots(None)] == ["1", "3"]
    assert gpu_slots(None)[0].settings == ("runtime.device=cuda",)
    assert [s.name for s in gpu_slots(2)] == ["gpu1", "gpu3", "gpu1.1", "gpu3.1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_slots(None) == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [s.name for s in gpu_slots(None)] == ["gpu0", "gpu1"]
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_slots(None) == []
