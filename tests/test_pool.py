"""The pool of child processes, with children that do what a test tells them."""

import errno
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from conftest import PATIENCE, ROOT
from records import spec, write_record

from gnp.jobs import Pool, cpu_slots, gpu_slots
from gnp.jobs import pool as pool_module
from gnp.tracking import lease
from gnp.tracking.lock import lock_run
from gnp.tracking.reading import read_summary

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

FINISH = f"""
sys.path.insert(0, {str(ROOT / "tests")!r})
from records import spec, write_record
run = next(r for r in spec(seeds=[int(settings["seed"])]).runs()
           if r.folder(settings["root"]) == folder)
print("working")
write_record(settings["root"], run, [1.0], settings=settings)
"""


def settings_of(pool, root):
    """What the child of a finished run was told."""
    run, _ = pool.finished[0]
    return yaml.safe_load((run.folder(root) / "config.yaml").read_text())["settings"]


def script(tmp_path, body=FINISH):
    path = tmp_path / "child.py"
    path.write_text(CHILD + textwrap.dedent(body))
    return path


def starts(root):
    return (root / "starts").read_text().split("\n")[:-1]


def test_every_run_is_trained_once_with_its_settings(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2), overrides=["training.epochs=1"])
    pool.run()
    assert {run for run, _ in pool.finished} == set(runs)
    assert pool.failed == []
    assert len(starts(tmp_path)) == 4
    settings = settings_of(pool, tmp_path)
    assert settings["training.epochs"] == "1"
    assert settings["runtime.threads"] == "1"
    pool = Pool(list(spec(seeds=[7]).runs()), tmp_path, script(tmp_path), cpu_slots(1, 2),
                overrides=["runtime.threads=5"])  # fmt: skip
    pool.run()
    assert settings_of(pool, tmp_path)["runtime.threads"] == "5"
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
    assert "e/d-cutout/gnp/seed0: signal 11 (Segmentation fault); it printed nothing" in messages[1]
    assert "Traceback" in (runs[2].folder(tmp_path) / "log.txt").read_text()


def test_a_child_that_ends_well_without_a_summary_has_failed(tmp_path):
    pool = Pool(list(spec(seeds=[0]).runs())[:1], tmp_path, script(tmp_path, ""), cpu_slots(1, 1))
    pool.run()
    assert "exit status 0; it printed nothing" in str(pool.failed[0])


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
            lock.release()
            released.append(True)

    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2), watch=watch)
    pool.run()
    assert released
    assert len(pool.finished) == 4


def test_a_run_that_another_process_finished_is_not_trained_again(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    folder = write_record(tmp_path, runs[0], [5.0])
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2))
    pool.run()
    assert len(starts(tmp_path)) == 3
    assert (runs[0], read_summary(folder)) in pool.finished


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


FAILS_TWICE = """
if settings["optimizer"] == "gnp" and settings["augmentation"] == "basic":
    tries = folder / "tries"
    tries.write_text((tries.read_text() if tries.exists() else "") + "x")
    if len(tries.read_text()) < 3:
        raise RuntimeError("no luck")
"""


@pytest.mark.parametrize(("retries", "finished"), [(0, 3), (1, 3), (2, 4), (5, 4)])
def test_a_run_that_failed_is_started_again_as_often_as_is_wanted(tmp_path, retries, finished):
    runs = list(spec(seeds=[0]).runs())
    child = script(tmp_path, FAILS_TWICE + FINISH)
    pool = Pool(runs, tmp_path, child, cpu_slots(2, 2), retries=retries)
    pool.run()
    assert len(pool.finished) == finished
    assert len(pool.failed) == 4 - finished
    again = min(retries, 2)
    assert [str(f) for f in pool.retried] == [
        f"e/d-basic/gnp/seed0: exit status 1; RuntimeError: no luck (all of it in "
        f"{runs[2].folder(tmp_path)}/log.txt)"
    ] * again
    assert len(starts(tmp_path)) == 4 + again


DIVERGES = """
if "seed=1" in sys.argv:
    sys.path.insert(0, TESTS)
    from records import spec, write_diverged
    for run in spec(seeds=[1]).runs():
        if run.folder(settings["root"]) == folder:
            write_diverged(settings["root"], run)
    sys.exit("the loss was NaN")
"""


def test_a_run_that_diverged_is_not_tried_again(tmp_path):
    runs = list(spec(seeds=[0, 1]).runs())
    child = script(tmp_path, DIVERGES.replace("TESTS", repr(str(ROOT / "tests"))) + FINISH)
    pool = Pool(runs, tmp_path, child, cpu_slots(2, 2), retries=5)
    pool.run()
    assert len(pool.finished) == 4
    assert not pool.retried
    assert {str(f) for f in pool.failed if f.diverged} == {
        f"{run.path}: diverged in epoch 2: the loss was NaN" for run in runs if run.seed == 1
    }
    # Nor if another process has found it out.
    pool = Pool(runs, tmp_path, child, cpu_slots(2, 2))
    pool.run()
    assert len(starts(tmp_path)) == 8
    assert len(pool.failed) == 4


def test_what_the_user_has_to_mend_is_not_tried_again(tmp_path):
    body = "print('child.py: no such setting'); sys.exit(2)"
    run = list(spec(seeds=[0]).runs())[:1]
    pool = Pool(run, tmp_path, script(tmp_path, body), cpu_slots(1, 1), retries=5)
    pool.run()
    assert len(pool.failed) == 1
    assert len(starts(tmp_path)) == 1


def test_a_run_that_cannot_be_started_is_tried_again_too(tmp_path):
    run = list(spec(seeds=[0]).runs())[:1]
    folder = run[0].folder(tmp_path)
    folder.parent.mkdir(parents=True)
    folder.touch()  # a file where the folder belongs
    pool = Pool(
        run,
        tmp_path,
        script(tmp_path),
        cpu_slots(1, 1),
        watch=lambda pool: folder.unlink() if folder.is_file() and pool.retried else None,
        retries=1,
    )
    pool.run()
    assert len(pool.finished) == len(pool.retried) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_record_that_cannot_be_read_for_a_while_costs_a_try_and_no_lock(
    tmp_path, monkeypatch, when
):
    """A storage's passing fault, before a child starts or when it has ended."""
    find, asked = pool_module.find_record, []

    def sometimes(run, *arguments):
        asked.append(run)
        if len(asked) == (1 if when == "before" else 2):
            raise OSError(errno.ESTALE, "Stale file handle")
        return find(run, *arguments)

    monkeypatch.setattr(pool_module, "find_record", sometimes)
    runs = list(spec(seeds=[0]).runs())[:1]
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(1, 1), retries=1)
    pool.run()
    assert [run for run, _ in pool.finished] == runs
    assert ["Stale file handle" in failure.reason for failure in pool.retried] == [True]
    lock_run(runs[0].folder(tmp_path)).release()


def test_fail_fast_stops_the_others_after_the_first_failure(tmp_path):
    body = """
        if settings["optimizer"] == "gnp":
            while len((Path(settings["root"]) / "starts").read_text().splitlines()) < 2:
                time.sleep(0.01)
            raise RuntimeError("no luck")
        time.sleep(3600)
    """
    runs = sorted(spec(seeds=[0]).runs(), key=lambda run: "/gnp/" not in str(run.path))[1:]
    child = script(tmp_path, textwrap.dedent(body))
    pool = Pool(runs, tmp_path, child, cpu_slots(2, 2), fail_fast=True)
    pool.run()
    assert [f.run for f in pool.failed] == runs[:1]
    assert set(pool.left) == set(runs[1:])
    assert not any(alive(int(line.split()[1])) for line in starts(tmp_path))
    for run in runs[1:]:  # their locks are given back
        run.folder(tmp_path).mkdir(parents=True, exist_ok=True)
        lock_run(run.folder(tmp_path)).release()


def test_fail_fast_comes_after_the_retries(tmp_path):
    child = script(tmp_path, FAILS_TWICE + FINISH)
    runs = list(spec(seeds=[0]).runs())
    pool = Pool(runs, tmp_path, child, cpu_slots(2, 2), retries=2, fail_fast=True)
    pool.run()
    assert len(pool.finished) == 4


def test_what_others_have_can_be_left_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "LEAVE_SECONDS", 1)
    runs = list(spec(seeds=[0]).runs())
    runs[0].folder(tmp_path).mkdir(parents=True)
    lock = lock_run(runs[0].folder(tmp_path))
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(2, 2), wait=False)
    pool.run()
    assert len(pool.finished) == 3
    assert pool.left == [runs[0]]
    assert pool.failed == []
    lock.release()


def test_what_a_process_has_that_may_be_dead_is_not_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "LEAVE_SECONDS", 0)
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    runs = list(spec(seeds=[0]).runs())[:1]
    folder = runs[0].folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / ".lease.0").write_text("dead 00000000 1 elsewhere\n")
    pool = Pool(runs, tmp_path, script(tmp_path), cpu_slots(1, 1), wait=False)
    pool.run()
    assert len(pool.finished) == 1


def test_nothing_is_left_to_others_while_a_run_is_at_work_here(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "LEAVE_SECONDS", 0.3)
    runs = list(spec(seeds=[0]).runs())[:2]
    child = script(tmp_path, "time.sleep(0.6)" + FINISH)
    pool = Pool(runs, tmp_path, child, cpu_slots(1, 1), wait=False)
    pool.run()
    assert len(pool.finished) == 2


@pytest.mark.parametrize("how", ["child releases", "child dies"])
def test_a_child_has_the_lease_that_its_pool_took_and_gives_it_back(tmp_path, how):
    body = f"""
        sys.path.insert(0, {str(ROOT)!r})
        from gnp.tracking.lock import inherited_lock
        lock = inherited_lock(folder)
        print("held" if lock.held() and lock.variables else "not held", flush=True)
        if {how == "child dies"}:
            os.kill(os.getpid(), 9)
        lock.release()
    """
    runs = list(spec(seeds=[0]).runs())[:1]
    child = script(tmp_path, textwrap.dedent(body) + FINISH)
    pool = Pool(runs, tmp_path, child, cpu_slots(1, 1), locks="lease")
    pool.run()
    folder = runs[0].folder(tmp_path)
    assert (folder / "log.txt").read_text().splitlines()[0] == "held"
    assert len(pool.failed) == (how == "child dies")
    assert (folder / ".lease.0").read_text() == "free\n"


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


def test_cpu_slots_share_the_cores():
    assert len(cpu_slots(None, 8)) == 8
    assert cpu_slots(2, 8)[0].settings == ("runtime.threads=4", "runtime.device=cpu")
    assert cpu_slots(3, 2)[0].settings[0] == "runtime.threads=1"


@pytest.fixture
def torch_sees(monkeypatch, tmp_path):
    """torch_sees(count, broken=(1,)): children import a torch with so many GPUs, some unusable.
    Like CUDA, it sees one MIG device at most."""

    def fake(count, broken=()):
        (tmp_path / "torch.py").write_text(
            textwrap.dedent(f"""
            import os, types
            names = os.environ.get("CUDA_VISIBLE_DEVICES")
            count = {count} if names is None else min({count}, len(names.split(",")))
            count = min(count, 1) if names and names.startswith("MIG") else count
            cuda = types.SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)
            def ones(n, device):
                if int(device[5:]) in {tuple(broken)}:
                    raise RuntimeError("no kernel image is available")
                return types.SimpleNamespace(sum=lambda: types.SimpleNamespace(item=lambda: 2))
        """)
        )

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return fake


@pytest.mark.parametrize(
    ("visible", "wanted"),
    [
        (None, ["0", "1", "2"]),
        ("1,3", ["1", "3"]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
        ("GPU-8a56, GPU-77", ["GPU-8a56", "GPU-77"]),
        ("MIG-1a,MIG-2b", ["MIG-1a", "MIG-2b"]),
    ],
)
def test_gpu_slots_are_the_visible_devices(monkeypatch, torch_sees, visible, wanted):
    torch_sees(3)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = gpu_slots(None)
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in slots] == wanted
    assert {s.settings for s in slots} <= {("runtime.device=cuda",)}


def test_several_jobs_a_gpu_have_slots_of_their_own(monkeypatch, torch_sees):
    torch_sees(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert [s.name for s in gpu_slots(2)] == ["gpu1", "gpu3", "gpu1.1", "gpu3.1"]


def test_a_gpu_that_torch_cannot_use_has_no_slot(monkeypatch, torch_sees):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    torch_sees(3, broken=[1])
    assert [s.name for s in gpu_slots(None)] == ["gpu0", "gpu2"]
    torch_sees(0)
    assert gpu_slots(None) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # a driver's list, without a torch for it
    assert gpu_slots(None) == []
