"""What tables and lists cost when records are many: time and memory of the scripts that read them,
as processes, with so many records, with ten times as many, and with a table of many seeds whose
runs have predictions of a whole test set."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import spread
from gnp.tracking.checksums import file_checksum, with_checksum
from gnp.tracking.compare import config_hash
from gnp.tracking.reading import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    PREDICTIONS,
    SUMMARY,
    read_finished,
)
from gnp.tracking.record import dump_yaml

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# A process's peak of memory counts its parent's at the start, so that is a small one.
CHILD = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - started
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
CELLS = 6  # of the quickstart's table
SEEDS, IMAGES = 20, 10_000  # of a table that decides; of CIFAR's test set
TABLE, DEVICE = ["table=quickstart"], "device=cpu"
TORCH = "import torch"


def measure(arguments: argparse.Namespace, _device: torch.device) -> Measured:
    """With ``arguments.records`` records, ``arguments.rounds`` times, and once with ten times as
    many."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        trained, grown = Path(place, "trained"), Path(place, "grown")
        tiny = tiny_runs(test_images=100)
        train(trained, 1, tiny)
        for wanted, rounds in ((arguments.records, arguments.rounds), (10 * arguments.records, 1)):
            seeds = -(-wanted // CELLS)
            count = multiply(trained, grown, seeds)
            results[f"{count} records"] = read_by_scripts(grown, seeds, tiny, rounds)
        seeds = min(SEEDS, -(-arguments.records // CELLS))
        images = min(IMAGES, 10 * arguments.records)
        whole = [*tiny_runs(images), "training.epochs=1"]
        table = Path(place, "table")
        train(table, seeds, whole)
        name = f"{CELLS * seeds} records, {images} images"
        results[name] = read_by_scripts(table, seeds, whole, arguments.rounds)
    rows = [
        [process, part, f"{n['seconds']:.1f}", f"{n['lowest']:.1f}–{n['highest']:.1f}",
         f"{1000 * n['seconds'] / int(part.split()[0]):.2f}" if process != TORCH else "",
         f"{n['MB']:.0f}"]
        for part, processes in results.items()
        for process, n in processes.items()
    ]  # fmt: skip
    note = (
        f"Processes, the median of {arguments.rounds} in turns with the fewer records and one with "
        f"the more; records of 17 epochs in the quickstart's {CELLS} cells. With images: the "
        "median again, runs of one epoch, each of its own, with predictions of so many images. "
        "reproduce_table.py finds nothing missing, compares the data and renders. import torch "
        "says how fast the machine is just then. MB: the peak of resident memory, of what it "
        "starts too."
    )
    return Measured(
        "What many records cost",
        results,
        markdown_table(["", "", "seconds", "range", "ms a record", "MB"], rows),
        note,
        ["seconds", "lowest", "highest", "MB"],
    )


def tiny_runs(test_images: int) -> list[str]:
    """Settings of runs on 100 images of the quickstart's ten classes."""
    return [
        "dataset.synthetic_train_per_class=10",
        f"dataset.synthetic_test_per_class={test_images // 10}",
        "wandb.mode=disabled",
    ]


def train(root: Path, seeds: int, overrides: Sequence[str]) -> None:
    """The quickstart's cells."""
    command = [*_table(root, seeds, overrides), DEVICE]
    _run([str(SCRIPTS / "reproduce_table.py"), *command])


def multiply(trained: Path, root: Path, seeds: int) -> int:
    """Below ``root``, ``seeds`` whole records of each cell that ``trained`` has seed 0 of; their
    numbers are the same. Returns how many there are."""
    count = 0
    for folder in sorted(Path(trained, "runs").glob("**/seed0")):
        record = read_finished(folder)
        assert record is not None
        cell = root / "runs" / folder.relative_to(trained / "runs").parent
        for seed in range(seeds):
            _write(cell / f"seed{seed}", folder, record.config, record.summary, seed)
            count += 1
    return count


def _write(
    folder: Path, like: Path, config: dict[str, Any], summary: dict[str, Any], seed: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    own = {**config, "seed": seed}
    starts = json.loads((like / ENVIRONMENT).read_text())
    (folder / CONFIG).write_text(dump_yaml(own))
    (folder / ENVIRONMENT).write_text(
        json.dumps([with_checksum({**start, "config": config_hash(own)}) for start in starts])
    )
    for name in (METRICS, PREDICTIONS):
        (folder / name).write_bytes((like / name).read_bytes())
    files = {
        name: file_checksum(folder / name) if name != CHECKPOINT else checksum
        for name, checksum in summary["files"].items()
    }
    (folder / SUMMARY).write_text(
        json.dumps(with_checksum({**summary, "seed": seed, "files": files}))
    )


def read_by_scripts(
    root: Path, seeds: int, overrides: Sequence[str], rounds: int
) -> dict[str, dict[str, float]]:
    """{process: {"seconds", "lowest", "highest", "MB" at its peak}} with the records below
    ``root``, in turns. A table that has all its runs starts, trains nothing and renders."""
    table = _table(root, seeds, overrides)
    processes = {
        "reproduce_table.py": [str(SCRIPTS / "reproduce_table.py"), *table, DEVICE],
        "render_table.py": [str(SCRIPTS / "render_table.py"), *table],
        "list_runs.py": [str(SCRIPTS / "list_runs.py"), str(root)],
        "report.py": [str(SCRIPTS / "report.py"), f"root={root}"],
        TORCH: ["-c", TORCH],
    }
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    megabytes = dict.fromkeys(processes, 0.0)
    for _ in range(rounds):
        for name, command in processes.items():
            taken, peak = _run(command)
            seconds[name].append(taken)
            megabytes[name] = max(megabytes[name], peak)
    return {name: {**spread(seconds[name]), "MB": megabytes[name]} for name in processes}


def _table(root: Path, seeds: int, overrides: Sequence[str]) -> list[str]:
    listed = [f"table.seeds={list(range(seeds))}", f"overrides={list(overrides)}"]
    return [*TABLE, f"root={root}", *listed]


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds, and MB at the peak."""
    child = [sys.executable, "-S", "-c", CHILD, sys.executable, *command]
    done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return seconds, kilobytes / 1024
