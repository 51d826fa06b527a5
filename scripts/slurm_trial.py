"""Try the hand-over to SLURM for real, on a cluster of one node that this script starts and stops.

    sudo apt-get install slurm-wlm munge
    python scripts/slurm_trial.py --write results/reliability/slurm.txt
    python scripts/slurm_trial.py --locks lease

A small table (6 runs) is trained once in peace. Then ``cluster=slurm`` hands it to three runners
with a time limit of a minute or two. One runner is killed (kill -9), one job is requeued (scontrol
requeue), and a job of a better partition takes the whole node for a while (preemption). In the end
every number and every weight is compared with the peaceful ones, as is the written table, and no
epoch may have been trained twice. Needs root and Linux; touches no other SLURM.

Exit status 1 if a run was lost, done twice or wrong.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from submitit import SlurmJob

from gnp.cli import argument_parser
from gnp.faults.rounds import Chaos
from gnp.files import write_text
from gnp.jobs import pool
from gnp.tracking.environment import describe_environment

SCRIPT = Path(__file__).resolve().with_name("reproduce_table.py")
PATIENCE = 1800  # seconds
EPOCHS = 60
SMALL = [
    "model.width=0.0625",
    f"training.epochs={EPOCHS}",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=16",
    "dataset.synthetic_test_per_class=4",
    "wandb.mode=disabled",
]
CONFIG = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A job that is requeued waits as long as a credential lives.
AuthInfo=socket={place}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=usual Nodes={host} Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF State=UP
"""


class OneNode:
    """SLURM on this machine, in a folder of its own."""

    def __init__(self, place: Path):
        self.place = place
        for name in ("state", "spool"):
            (place / name).mkdir()
        (place / "slurm.conf").write_text(CONFIG.format(place=place, host=socket.gethostname()))
        (place / "munge.key").write_bytes(os.urandom(128))
        (place / "munge.key").chmod(0o400)
        os.environ["SLURM_CONF"] = str(place / "slurm.conf")
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        files = [f"--{n}-file={self.place}/munge.{n}" for n in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", *files,
                     f"--socket={self.place}/munge.socket")  # fmt: skip
        until(lambda: (self.place / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", socket.gethostname())
        until(lambda: "idle" in slurm("sinfo", "--noheader", "-o", "%t", check=False), "slurmd")

    def _daemon(self, *command: str) -> None:
        log = open(self.place / f"{command[0]}.out", "wb")  # noqa: SIM115
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def until(met: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: nothing came of it in {PATIENCE} s")
        time.sleep(0.2)


def slurm(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def table(root: Path, *settings: str) -> list[str]:
    command = [sys.executable, str(SCRIPT), "table=quickstart", "table.seeds=[0]", "device=cpu"]
    return [*command, f"root={root}", f"overrides={SMALL}", *settings]


class Trial:
    """The table under SLURM, in ``root``."""

    def __init__(self, chaos: Chaos, locks: str, minutes: int):
        self.chaos, self.root, self.say = chaos, chaos.root, chaos.say
        self.peaceful, self.runs = chaos.peaceful, chaos.runs
        self.settings = [
            "cluster=slurm",
            "cluster.array_size=3",
            "cluster.gpus=0",
            "cluster.cpus=1",
            "cluster.memory=null",
            f"cluster.time={minutes}",
            f"locks={locks}",
        ]

    def go(self) -> None:
        said = subprocess.run(
            table(self.root, *self.settings), check=True, capture_output=True, text=True
        ).stdout
        self.say(said.replace(str(self.root), "…").replace(str(SCRIPT.parent), "scripts").strip())
        first, last = re.search(r"job (\d+), .* and job (\d+),", said).groups()
        self.wait_for_epochs(EPOCHS // 2)
        self.kill_a_runner()
        self.wait_for_epochs(EPOCHS)
        for timeout in (True, False):
            job = self.running()[0]
            SlurmJob(self.root / "cluster/table-quickstart", job)._interrupt(timeout=timeout)
            self.say(
                f"submitit's rehearsal of {'a time limit' if timeout else 'a preemption'}: {job}"
            )
            self.wait_for_epochs(EPOCHS * (3 if timeout else 4) // 2)
        job = self.running()[-1]
        slurm("scontrol", "requeue", job)
        self.say(f"scontrol requeue {job}")
        self.wait_for_epochs(EPOCHS * 3)
        slurm("sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5")
        until(lambda: "urgent" in slurm("squeue", "-h", "-t", "R", "-o", "%P"), "preemption")
        self.say("preempted: a job of a better partition has the node")
        until(lambda: not slurm("squeue", "-h"), "the jobs")
        self.say("no job is left")
        self.outcome(first, last)

    def running(self) -> list[str]:
        until(lambda: slurm("squeue", "-h", "-r", "-t", "R", "-o", "%i"), "running jobs")
        return slurm("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()

    def epochs(self) -> int:
        """How many are done, of all runs."""
        files = self.root.rglob("metrics.jsonl")
        return sum(len(file.read_bytes().splitlines()) for file in files)

    def wait_for_epochs(self, count: int) -> None:
        until(lambda: self.epochs() >= count and self.runners(), f"{count} epochs")

    def runners(self) -> list[int]:
        """The process ids of the runners that are at work."""
        commands = {}
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                commands[int(file.parent.name)] = file.read_text().split("\0")
        wanted = {str(SCRIPT), f"root={self.root}", "wait=false"}
        return [pid for pid, command in commands.items() if wanted <= set(command)]

    def kill_a_runner(self) -> None:
        victim = self.runners()[0]
        os.kill(victim, signal.SIGKILL)
        self.say(f"kill -9 of a runner's process after {self.epochs()} epochs of all runs")

    def outcome(self, first: str, last: str) -> None:
        logs = "\n".join(file.read_text() for file in self.root.rglob("*_log.out"))
        self.say(
            f"requeued by submitit (rehearsals, time limits): {logs.count('Requeued job')}; starts "
            f"of runners: {logs.count('Starting with JobEnvironment')}; left to others: "
            f"{logs.count('are left to the processes')}"
        )
        for run in self.runs:
            starts = json.loads((run.folder(self.root) / "environment.json").read_text())
            printed = (run.folder(self.root) / pool.LOG).read_text()
            trained = Counter(re.findall(r"epoch +(\d+)/", printed))
            twice = [epoch for epoch, count in trained.items() if count > 1]
            self.say(f"  {run.path}: {len(starts)} starts, {len(trained)} epochs")
            if twice:
                self.chaos.odd.append(f"{run.path}: epochs done twice: {', '.join(twice)}")
            numbers = self.chaos.numbers(run, self.root)
            if numbers is None:
                self.chaos.lost.append(str(run.path))
            elif numbers != self.chaos.numbers(run, self.peaceful) or self.chaos.weights(
                run, self.root
            ) != self.chaos.weights(run, self.peaceful):
                self.chaos.wrong.append(str(run.path))
        texts = [  # but for the command
            re.sub("^Made by .*", "", (root / "tables/quickstart/table.md").read_text(), flags=re.M)
            for root in (self.peaceful, self.root)
        ]
        if texts[0] != texts[1]:
            self.chaos.wrong.append("table.md")


def arguments_of() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--locks",
        choices=("auto", "flock", "lease"),
        default="auto",
        help="what the table's runs are locked with (default auto: flock where that works)",
    )
    parser.add_argument("--minutes", type=int, help="time limit (default 2; 3 with leases)")
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    parser.add_argument("--write", type=Path, help="also write what is printed to this file")
    return parser.parse_args()


def main() -> int:
    arguments = arguments_of()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    programs = ("slurmctld", "slurmd", "munged", "sbatch")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        what = f"{', '.join(missing)} not found" if missing else "root's rights are needed"
        print(f"slurm_trial.py: {what}; see --help", file=sys.stderr)
        return 2
    lines: list[str] = []
    started = time.monotonic()

    def say(text: str) -> None:
        lines.append(f"{time.monotonic() - started:5.0f} s  {text}")
        print(lines[-1], flush=True)

    place = Path(tempfile.mkdtemp(prefix="slurm-trial-"))
    code = describe_environment("cpu")["code"]
    changed = " and changes" if code["modified"] else ""
    (place / "slurm").mkdir()
    chaos = Chaos(place, 0, say)
    node = OneNode(place / "slurm")
    version = slurm("sbatch", "--version").strip()
    say(f"slurm_trial.py --locks {arguments.locks}, commit {code['commit']}{changed}, {version}")
    try:
        subprocess.run(table(chaos.peaceful, "jobs=2"), check=True, stdout=subprocess.DEVNULL)
        say(f"{len(chaos.runs)} runs of {EPOCHS} epochs in peace")
        node.start()
        # It takes most of a minute to see that a lease's holder is dead.
        minutes = arguments.minutes or (3 if arguments.locks == "lease" else 2)
        Trial(chaos, arguments.locks, minutes).go()
    finally:
        slurm("scancel", "-p", "usual", check=False)
        node.stop()
        if arguments.keep:
            print(f"left: {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)
    for what in (*chaos.odd, *(f"wrong: {w}" for w in chaos.wrong), *chaos.lost):
        say(what)
    say(f"runs lost: {len(chaos.lost)}, done twice: {len(chaos.odd)}, wrong: {len(chaos.wrong)}")
    if arguments.write:
        write_text(arguments.write, "\n".join(lines) + "\n")
    return int(bool(chaos.lost or chaos.odd or chaos.wrong))


if __name__ == "__main__":
    sys.exit(main())
