"""A table or a study handed to SLURM through submitit: an array of runners, and a last one.

A runner is the very command without ``cluster=``, on the same root: the locks there share the runs
out. One that finds only what the others have leaves its GPU (``wait=false``). The last one starts
when all others have ended: it trains what a runner that was killed has left, and renders.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gnp.cli import INTERRUPTED, same_command
from gnp.errors import UserError
from gnp.files import storing
from gnp.jobs.child import end_with_parent
from gnp.settings.cluster import ClusterSettings, parameters_of
from gnp.settings.job import JobSettings
from gnp.settings.series import Series

REPLACED = ("cluster", "wait", "dry_run")  # settings that a runner is not given
STOP_SECONDS = 60  # for a command to stop its children, before it is killed
SIGNAL_SECONDS = 90  # before the time limit, in which a runner stops and is requeued


class NoCluster(UserError):
    """There is none here, or it refuses."""


class RunnerFailed(UserError):
    """A runner's command failed, or was stopped; the job is listed as failed."""

    exit_status = 1


@dataclass
class Runner:
    """What a job does. submitit calls it there, and ``checkpoint`` on its signal: the time is
    nearly up, or another job needs the place. The job is requeued then, and the runs go on."""

    command: Sequence[str]
    folder: str  # where the command was given

    def __call__(self) -> None:
        self._process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            preexec_fn=_in_the_command,
        )
        # A signal's handler may come to checkpoint at any point here: no waiting with a lock held.
        while (status := self._process.poll()) is None:
            time.sleep(0.2)
        if status == INTERRUPTED:  # SLURM told all of the job's processes: it has the next word
            time.sleep(20)
        if status != 0:
            raise RunnerFailed(f"exit status {status} of {shlex.join(self.command)}")

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not _ended(self._process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._process.kill()
        return DelayedSubmission(Runner(self.command, self.folder))


def submit(spec: Series, how: JobSettings, missing: int, console: Console) -> None:
    """Hand ``missing`` runs to SLURM, or with ``dry_run`` show what would be handed on.

    Raises:
        NoCluster: submitit is not installed, there is no SLURM here, or it refuses the job.
        StorageError: the jobs' folder cannot be made.
    """
    count = min(how.cluster.array_size, missing)
    name = f"{spec.kind}-{spec.name}"
    parameters = {**sbatch_parameters(how.cluster, name), "array_parallelism": count}
    runner, last = same_command(REPLACED, ["wait=false"]), same_command(REPLACED, [])
    if how.dry_run:
        console.print(f"to SLURM: {count} runners", *_shown(parameters, runner), markup=False)
        console.print("when they have ended: the last one", *_shown({}, last), markup=False)
        return
    folder = Path(how.root, "cluster", name).resolve()
    here = os.getcwd()
    runners = _submitted(folder, how.cluster, parameters, [Runner(runner, here)] * count)
    first = runners[0].job_id.split("_")[0]
    after = {**parameters, "dependency": f"afterany:{first}"}
    try:
        (end,) = _submitted(folder, how.cluster, after, [Runner(last, here)])
    except BaseException:  # without the last job nobody would render
        subprocess.run(["scancel", first], check=False)
        raise
    logs = f"{shlex.quote(str(folder))}/*_log.out"
    console.print(
        f"handed to SLURM: job {first}, {count} runners for {missing} runs, and job {end.job_id}, "
        f"which comes after them, trains what they left, and renders\n"
        f"  watch:   squeue --jobs {first},{end.job_id}; tail {logs}\n"
        f"  stop:    scancel {first} {end.job_id} (what is done stays; this command goes on)\n"
        f"  without it, on this machine: {shlex.join(['python', *last[1:]])}",
        markup=False,
    )


def sbatch_parameters(cluster: ClusterSettings, name: str) -> dict[str, Any]:
    """The settings by submitit's names."""
    given = {
        "partition": cluster.partition,
        "account": cluster.account,
        "gpus_per_node": cluster.gpus or None,
        "mem": None if cluster.memory is None else f"{round(cluster.memory * 1024)}M",
    }
    return {
        "job_name": name,
        "time": cluster.time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": cluster.cpus,
        **{key: value for key, value in given.items() if value is not None},
        # A short job has no time for the usual notice.
        "signal_delay_s": min(SIGNAL_SECONDS, cluster.time * 60 // 4),
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **parameters_of(cluster.sbatch)},
    }


def _submitted(
    folder: Path, cluster: ClusterSettings, parameters: dict[str, Any], runners: Sequence[Runner]
) -> list[Any]:
    """submitit's jobs, one a runner; several are one array."""
    try:
        import submitit
    except ImportError as error:
        raise NoCluster(
            f"cluster=slurm needs submitit ({error}): pip install submitit, or install this "
            f"checkout again as the README says"
        ) from error
    for program in ("sbatch", "srun", "scontrol"):
        if shutil.which(program) is None:
            raise NoCluster(
                f"there is no SLURM here ({program} is not found): give this command where jobs "
                f"are submitted, or leave cluster=slurm out"
            )
    try:
        with storing(folder):
            executor = submitit.SlurmExecutor(folder, max_num_timeout=cluster.restarts)
            executor.update_parameters(**parameters)
            with executor.batch():
                jobs = [executor.submit(runner) for runner in runners]
    except (submitit.core.utils.FailedJobError, RuntimeError) as error:
        said = [line.strip() for line in str(error).splitlines() if "error:" in line.lower()]
        raise NoCluster(f"SLURM refuses: {'; '.join(said) or str(error).strip()}") from error
    return jobs


def _shown(parameters: dict[str, Any], command: Sequence[str]) -> Iterator[str]:
    flat = {**parameters, **parameters.get("additional_parameters", {})}
    flat.pop("additional_parameters", None)
    flat.pop("stderr_to_stdout", None)
    if flat:
        yield "\n  " + " ".join(f"{name.replace('_', '-')}={value}" for name, value in flat.items())
    yield "\n  " + shlex.join(["python", *command[1:]])


def _in_the_command() -> None:
    """SLURM's warning goes to every process of a job. The runner acts on it; the others must not
    die of it. But all end with the runner."""
    end_with_parent()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _ended(pid: int) -> bool:
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True
