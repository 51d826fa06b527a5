"""A table handed to SLURM: what is submitted, what is refused, and what a job does."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from records import spec
from rich.console import Console

from gnp.jobs import RunsFailed, cluster, runner
from gnp.jobs.cluster import NoCluster, Runner, RunnerFailed, submit
from gnp.jobs.finished import Records
from gnp.jobs.slots import available_cores
from gnp.settings import ConfigError, checked
from gnp.settings.cluster import ClusterSettings
from gnp.settings.job import JobSettings

SBATCH = """#!/bin/sh
number=$(ls {folder} | wc -l)
if [ "$number" -ge {allowed} ]; then
    echo "sbatch: error: invalid partition specified: nowhere" >&2
    echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2
    exit 1
fi
cp "$1" {folder}/$number
echo "Submitted batch job $((77 + number))"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """slurm(allowed=9): programs that keep what is submitted, up to so many jobs; returns where."""
    folder, programs = tmp_path / "submitted", tmp_path / "programs"

    def programs_of_a_cluster(allowed=9):
        folder.mkdir()
        programs.mkdir()
        sbatch = SBATCH.format(folder=shlex.quote(str(folder)), allowed=allowed)
        others = f'#!/bin/sh\necho "$0 $@" >> {shlex.quote(str(tmp_path / "told"))}\n'
        for name in ("sbatch", "srun", "scontrol", "scancel"):
            text = sbatch if name == "sbatch" else others
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        return folder

    monkeypatch.setattr(
        cluster, "same_command", lambda without, instead: [sys.executable, "table.py", *instead]
    )
    return programs_of_a_cluster


def settings(tmp_path, dry_run=False, **values):
    own = ClusterSettings(scheduler="slurm", **values)
    return JobSettings(root=str(tmp_path / "root"), cluster=own, dry_run=dry_run)


def submitted(how, missing=9):
    text = StringIO()
    submit(spec(), how, missing, Console(file=text, width=400, soft_wrap=True))
    return text.getvalue()


def flags(file):
    return dict(
        re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", file.read_text(), re.M),
    )


# ---------------------------------------------------------------------- what is submitted


def test_an_array_of_runners_is_submitted_and_a_last_one_after_them(slurm, tmp_path):
    folder = slurm()
    how = settings(
        tmp_path,
        array_size=3,
        partition="gpu",
        account="lab",
        time=90,
        gpus=2,
        cpus=8,
        memory=1.5,
        sbatch=["qos=low", "--exclusive"],
    )
    said = submitted(how)
    array, last = flags(folder / "0"), flags(folder / "1")
    wanted = {
        "array": "0-2%3",
        "partition": "gpu",
        "account": "lab",
        "time": "90",
        "gpus-per-node": "2",
        "cpus-per-task": "8",
        "mem": "1536M",
        "qos": "low",
        "exclusive": "",
        "requeue": "",
        "signal": "USR2@90",
        "job-name": "table-small",
    }
    assert {name: array[name] for name in wanted} == wanted
    assert last["dependency"] == "afterany:77"
    assert "array" not in last
    assert {name: last[name] for name in wanted if name != "array"} == {
        name: value for name, value in wanted.items() if name != "array"
    }
    assert "job 77, 3 runners for 9 runs, and job 78" in said
    assert "squeue --jobs 77,78" in said
    assert "scancel 77 78" in said
    jobs = tmp_path / "root/cluster/table-small"
    runners = {runner_in(jobs / f"77_{i}_submitted.pkl") for i in range(3)}
    assert runners == {(sys.executable, "table.py", "wait=false")}
    assert runner_in(jobs / "78_submitted.pkl") == (sys.executable, "table.py")


def runner_in(file):
    from submitit.core.utils import DelayedSubmission

    function = DelayedSubmission.load(file).function
    assert function.folder == os.getcwd()
    return tuple(function.command)


def test_what_is_not_said_is_left_to_the_cluster(slurm, tmp_path):
    folder = slurm()
    submitted(settings(tmp_path, gpus=0, memory=None))
    assert not {"partition", "account", "gpus-per-node", "mem"} & set(flags(folder / "0"))


def test_there_are_no_more_runners_than_runs(slurm, tmp_path):
    folder = slurm()
    submitted(settings(tmp_path, array_size=8), missing=2)
    assert flags(folder / "0")["array"] == "0-1%2"


def test_a_dry_run_shows_and_submits_nothing(slurm, tmp_path):
    folder = slurm()
    said = submitted(settings(tmp_path, dry_run=True, partition="gpu"))
    assert "4 runners" in said
    assert "partition=gpu" in said
    assert "table.py wait=false" in said
    assert not list(folder.iterdir())
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(("time", "notice"), [(1, "USR2@15"), (240, "USR2@90")])
def test_a_short_job_is_warned_when_some_of_its_time_is_over(slurm, tmp_path, time, notice):
    folder = slurm()
    submitted(settings(tmp_path, time=time))
    assert flags(folder / "0")["signal"] == notice


def reproduced(monkeypatch, tmp_path, missing):
    """What ``reproduce`` did of a table with so many runs missing: submitted, rendered."""
    runs, done = list(spec().runs()), []
    records = Records(absent=runs[:missing])
    monkeypatch.setattr(runner, "check_records", lambda *_: records)
    monkeypatch.setattr(runner, "submit", lambda *arguments: done.append(arguments[2]))
    how = settings(tmp_path)
    runner.reproduce(spec(), runs, how, None, lambda wanted: done.append("rendered") or [])
    return done


def test_the_missing_runs_are_handed_on_and_nothing_is_trained_or_rendered_here(
    monkeypatch, tmp_path
):
    assert reproduced(monkeypatch, tmp_path, 5) == [5]


def test_where_nothing_is_missing_nothing_is_submitted(monkeypatch, tmp_path):
    assert reproduced(monkeypatch, tmp_path, 0) == ["rendered"]


def test_refusals_come_before_anything_is_submitted(monkeypatch, tmp_path):
    def refuse(*_):
        raise ConfigError("there is no setting 'x'")

    monkeypatch.setattr(runner, "check_records", refuse)
    monkeypatch.setattr(runner, "submit", lambda *_: pytest.fail("submitted"))
    with pytest.raises(ConfigError):
        runner.reproduce(spec(), list(spec().runs()), settings(tmp_path), None, None)


# ---------------------------------------------------------------------- what is refused


def test_without_slurm_there_is_one_line_that_says_so(tmp_path, monkeypatch, slurm):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCluster, match=r"no SLURM here \(sbatch is not found") as caught:
        submitted(settings(tmp_path))
    assert caught.value.exit_status == 2


def test_without_submitit_there_is_one_line_that_says_so(tmp_path, monkeypatch, slurm):
    slurm()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(NoCluster, match="needs submitit"):
        submitted(settings(tmp_path))


def test_what_slurm_refuses_is_said_in_one_line(tmp_path, slurm):
    slurm(allowed=0)
    with pytest.raises(NoCluster) as caught:
        submitted(settings(tmp_path, partition="nowhere"))
    assert str(caught.value).startswith("SLURM refuses: ")
    assert "Invalid partition name specified" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runners_without_a_last_one_are_cancelled(tmp_path, slurm):
    slurm(allowed=1)
    with pytest.raises(NoCluster):
        submitted(settings(tmp_path))
    assert "scancel 77" in (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"sbatch": ["mem=3"]}, "mem is set by cluster.memory"),
        ({"sbatch": ["--signal=USR1@1"]}, "signal is set by this program"),
        ({"sbatch": ["cpus_per_task=8"]}, "cpus-per-task is set by cluster.cpus"),
        ({"sbatch": ["no-requeue"]}, "no-requeue is set by this program"),
        ({"sbatch": ["-p=gpu"]}, "-p is a short name; write the long one"),
        ({"sbatch": ["a\nb"]}, "in one line"),
        ({"array_size": 0}, "array_size is 0; expected from 1 to 1000"),
        ({"time": 0}, "time is 0"),
        ({"partition": ""}, "in one line"),
        ({"scheduler": "pbs"}, "expected one of none, slurm"),
    ],
)
def test_a_wrong_setting_is_refused(value, words):
    with pytest.raises(ConfigError) as caught:
        checked(JobSettings, {"cluster": value})
    assert words in str(caught.value)


def test_a_job_uses_its_share_of_the_cores(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100000")
    assert available_cores() <= os.cpu_count()


# ---------------------------------------------------------------------- who ends, who renders


class FakePool:
    failed, left = (), ()

    def __init__(self, *_, **settings):
        self.settings = settings
        type(self).last = self

    def run(self):
        pass


def ended(monkeypatch, tmp_path, **settings):
    """Whether a table is rendered whose pool ended so."""
    runs, rendered = list(spec().runs()), []
    monkeypatch.setattr(runner, "check_records", lambda *_: Records(absent=runs))
    monkeypatch.setattr(runner, "Pool", FakePool)
    monkeypatch.setattr(runner, "modules_of", lambda configs: [])
    how = JobSettings(root=str(tmp_path), device="cpu", **settings)
    runner.reproduce(spec(), runs, how, None, lambda wanted: rendered.append(True) or [])
    return bool(rendered)


def test_a_runner_that_leaves_runs_to_others_does_not_render(monkeypatch, tmp_path, capsys):
    assert ended(monkeypatch, tmp_path)
    monkeypatch.setattr(FakePool, "left", list(spec().runs())[:2])
    assert not ended(monkeypatch, tmp_path, wait=False)
    assert "2 runs are left to the processes that have them" in capsys.readouterr().out


def test_fail_fast_says_what_it_did(monkeypatch, tmp_path):
    monkeypatch.setattr(FakePool, "left", list(spec().runs())[:2])
    monkeypatch.setattr(FakePool, "failed", ["e/gnp/seed0: no luck"])
    with pytest.raises(RunsFailed, match=r"1 of 12 runs failed, the others were stopped"):
        ended(monkeypatch, tmp_path, fail_fast=True)


def test_the_pool_is_told_the_settings(monkeypatch, tmp_path):
    wanted = {"retries": 3, "fail_fast": True, "wait": False, "locks": "lease"}
    ended(monkeypatch, tmp_path, **wanted)
    assert FakePool.last.settings == wanted


# ---------------------------------------------------------------------- a job


def test_a_job_runs_the_command_and_fails_with_it(tmp_path):
    code = "import sys; open('here', 'w').close(); sys.exit({})"
    Runner([sys.executable, "-c", code.format(0)], str(tmp_path))()
    assert (tmp_path / "here").exists()
    with pytest.raises(RunnerFailed, match="exit status 3"):
        Runner([sys.executable, "-c", code.format(3)], str(tmp_path))()


def test_a_checkpoint_stops_the_command_which_the_schedulers_signals_do_not(tmp_path):
    code = """
        import os, signal, time
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            print("ready", flush=True)
            open("ready", "w").close()
            time.sleep(3600)
        except KeyboardInterrupt:
            open("stopped", "w").close()
    """
    job, asked = Runner([sys.executable, "-c", textwrap.dedent(code)], str(tmp_path)), []

    def warn():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    # As submitit does it: in a signal's handler, while the job waits for its command.
    before = signal.signal(signal.SIGALRM, lambda *_: asked.append(job.checkpoint()))
    try:
        threading.Thread(target=warn).start()
        job()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "stopped").exists()
    (again,) = asked
    assert again.function == Runner(job.command, job.folder)
    assert not hasattr(again.function, "_process")  # it goes on in another process


SMALL = [
    "model.width=0.0625",
    "training.epochs=60",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
]


def table_command(root, *settings):
    table = ["table=quickstart", "table.seeds=[0]", "device=cpu", "jobs=2"]
    command = [sys.executable, str(ROOT / "scripts/reproduce_table.py"), *table]
    return [*command, f"root={root}", f"overrides={SMALL}", *settings]


@pytest.mark.slow
def test_a_job_that_is_interrupted_is_begun_again_and_its_runs_go_on(tmp_path):
    """submitit's rehearsal, on this machine: the signal that SLURM sends before the time limit."""
    from submitit import LocalExecutor

    root = tmp_path / "root"
    executor = LocalExecutor(tmp_path / "jobs", max_num_timeout=5)
    executor.update_parameters(timeout_min=60)
    job = executor.submit(Runner(table_command(root), str(ROOT)))
    deadline = time.monotonic() + PATIENCE
    for count in (5, 100):
        while epochs(root) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(child_of(int(job.job_id)), signal.SIGUSR2)
    job.result()
    assert (root / "tables/quickstart/table.md").exists()
    assert job.stderr().count("Requeued job") + job.stdout().count("Requeued job") == 2
    starts = [len(json.loads(file.read_text())) for file in root.rglob("environment.json")]
    assert len(starts) == 6
    assert sum(starts) > 6
    for log in root.rglob("log.txt"):
        done = Counter(re.findall(r"epoch +(\d+)/60", log.read_text()))
        assert set(done.values()) == {1}  # nothing was trained twice
        assert len(done) == 60


def epochs(root):
    return sum(len(file.read_text().splitlines()) for file in root.rglob("metrics.jsonl"))


def child_of(pid):
    """The job's process: the one child of the process that stands for the scheduler."""
    deadline = time.monotonic() + PATIENCE
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(found[0])


@pytest.mark.slow
def test_the_script_hands_its_own_command_on_without_the_clusters_settings(tmp_path):
    settings = ["cluster=slurm", "cluster.gpus=0", "cluster.sbatch=['qos=low']", "dry_run=true"]
    done = subprocess.run(
        table_command(tmp_path / "root", *settings, "retries=2", "wait=true"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines() if "python" in line]
    wanted = ["python", *table_command(tmp_path / "root")[1:], "retries=2"]
    assert [shlex.split(line) for line in lines] == [[*wanted, "wait=false"], wanted]
    assert not (tmp_path / "root").exists()
