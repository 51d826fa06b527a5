"""What a run costs beside its epochs: as a process of its own, and as a child of a pool."""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import yaml

from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import ratios, spread, take_turns
from gnp.benchmarks.training_step import compose_run
from gnp.jobs import Pool, Slot, cpu_slots
from gnp.jobs.job import Job
from gnp.jobs.wanted import modules_of
from gnp.settings import to_plain
from gnp.tables import TableSpec
from gnp.tracking.reading import ENVIRONMENT, read_metrics

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "scripts"
# One epoch of two steps: next to nothing.
TINY = (
    "training.epochs=1",
    "dataset.synthetic_train_per_class=10",
    "dataset.synthetic_test_per_class=10",
    "wandb.mode=disabled",
)
ALONE = ("experiment=quickstart", *TINY, "runtime.device=cpu", "runtime.threads=1")


def measure(arguments: argparse.Namespace, _device: torch.device) -> Measured:
    """On the CPU, with one slot in the pool."""
    seconds = alone(arguments.rounds)
    table = yaml.safe_load((CHECKOUT / "configs/table/quickstart.yaml").read_text())
    spec = TableSpec.from_config({**table, "seeds": list(range(-(-arguments.rounds // 6) + 1))})
    preload = modules_of([to_plain(compose_run(ALONE))])
    pool = in_a_pool(list(spec.runs()), preload, cpu_slots(1, 1)[0])
    torch_alone = seconds["import torch"]
    numbers = {
        "import torch, a process": spread(torch_alone),
        "a tiny run, a process": {
            **spread(seconds["a run"]),
            "in imports of torch": statistics.median(ratios(seconds["a run"], torch_alone)),
        },
        **{f"a run in a pool, {name}": spread(own) for name, own in pool.items()},
    }
    rows = [
        [
            name,
            f"{n['seconds']:.2f}",
            f"{n['lowest']:.2f}–{n['highest']:.2f}",
            f"{n['in imports of torch']:.2f}" if "in imports of torch" in n else "",
        ]
        for name, n in numbers.items()
    ]
    note = (
        f"A run of one epoch of two steps (quickstart's network). Processes took turns, "
        f"{arguments.rounds} rounds; {len(pool['beside the epochs'])} runs in one slot of a pool, "
        f"after the first, which waits for the pool's server. From a child's start to its first "
        f"epoch; and from its start to its end, less its epochs."
    )
    return Measured(
        "What a run costs beside its epochs",
        {"starts": numbers},
        markdown_table(["", "seconds", "range", "in imports of torch"], rows),
        note,
        ["seconds", "lowest", "highest", "in imports of torch"],
    )


def alone(rounds: int) -> dict[str, list[float]]:
    """Seconds of ``import torch`` and of a tiny run, each as a process, in turns."""
    with tempfile.TemporaryDirectory() as root:
        run = [str(SCRIPTS / "train.py"), *ALONE, f"root={root}"]
        steps = {
            "import torch": partial(_process, root, ["-c", "import torch"]),
            "a run": partial(_process, root, run),
        }
        return take_turns(steps, rounds, 1, torch.device("cpu"))


def _process(root: str, command: Sequence[str]) -> None:
    shutil.rmtree(Path(root, "runs"), ignore_errors=True)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


@dataclass
class Starts:
    """Watches a pool. Seconds of each run, in the order in which they ended."""

    to_first_epoch: list[float] = field(default_factory=list)
    beside_epochs: list[float] = field(default_factory=list)
    begun: dict[Job, tuple[float, Path]] = field(default_factory=dict)

    def watch(self, pool: Pool) -> None:
        now = time.time()
        for child in pool.active:
            started = now - (time.monotonic() - child.started)
            self.begun.setdefault(child.run, (started, child.log.parent))
        for run, _ in pool.finished[len(self.beside_epochs) :]:
            started, folder = self.begun[run]
            epochs = sum(line["seconds"] for line in read_metrics(folder))
            self.beside_epochs.append(now - started - epochs)
            # Written when all is ready and the first epoch follows.
            ready = (folder / ENVIRONMENT).stat().st_mtime
            self.to_first_epoch.append(ready - started)


def in_a_pool(runs: Sequence[Job], preload: Sequence[str], slot: Slot) -> Mapping[str, list[float]]:
    """Seconds from a child's start to its first epoch, and all its seconds less its epochs'; of
    every run but the first, which waits for the pool's server."""
    with tempfile.TemporaryDirectory() as root:
        starts = Starts()
        Pool(
            runs, root, SCRIPTS / "train.py", [slot], overrides=TINY, preload=preload,
            watch=starts.watch,
        ).run()  # fmt: skip
    return {
        "to the first epoch": starts.to_first_epoch[1:],
        "beside the epochs": starts.beside_epochs[1:],
    }
