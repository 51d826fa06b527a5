"""One cell of the paper's table as far as a given time allows: a run of each method, through
scripts/train.py, which goes on after a stop."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnp.benchmarks.best import best_settings, step_records
from gnp.benchmarks.training_step import compose_run
from gnp.errors import UserError
from gnp.files import write_json
from gnp.settings import run_path

ROOT = Path(__file__).resolve().parents[2]
PLAN = "cell.json"
PASSES_SHARE = 0.75  # of a run's time, as is assumed; the rest is evaluation, start and end


@dataclass(frozen=True)
class Cell:
    """What is trained.

    Args:
        network: as the records of the benchmark call it.
        settings: of the run's command line.
        seconds: for the three methods together.
        most_epochs: the recipe's, if there is time for them.
    """

    network: str
    settings: list[str]
    seconds: float
    most_epochs: int = 200


def train_method(folder: Path, cell: Cell, method: str, device: str) -> dict[str, Any]:
    """Train, or go on training, with the epochs that all three methods have.

    Raises:
        UserError: there are no images, or the run failed.
    """
    plan = cell_plan(folder, cell)
    settings = [*plan["settings"], f"optimizer={method}", f"root={folder.resolve()}", device]
    done = subprocess.run([sys.executable, str(ROOT / "scripts/train.py"), *settings], cwd=ROOT)
    if done.returncode:
        raise UserError(f"train.py ended with exit status {done.returncode}")
    record = folder / "runs" / run_path(compose_run(settings))
    summary = json.loads((record / "summary.json").read_text())
    lines = (record / "metrics.jsonl").read_text().splitlines()
    return {
        "epochs": plan["epochs"],
        "test_error": summary["final"]["test_error"],
        "minutes": sum(json.loads(line)["seconds"] for line in lines) / 60,
        "record": f"runs/{run_path(compose_run(settings))}",
    }


def cell_plan(folder: Path, cell: Cell) -> dict[str, Any]:
    """How long and with which settings its runs are: made once, so that one that goes on is the
    same, and all methods have as many epochs."""
    file = folder / PLAN
    if file.exists():
        return json.loads(file.read_text())
    settings = list(cell.settings)
    if not any(setting.startswith("dataset=") for setting in settings):
        settings.append(f"dataset={images_here()}")
    settings += ["wandb.mode=disabled"]
    epochs = cell.most_epochs
    best = best_settings(step_records(folder)).get(cell.network)
    if best is None:
        raise UserError(f"no benchmark of {cell.network} has ended; see its records")
    settings += best["fastest"]["settings"]
    if cell.seconds:
        images = 10_000 if "dataset=cifar10_10k" in settings else 50_000
        speeds = best["fastest"]["images_per_second"].values()
        epoch = sum(images / speed for speed in speeds) / PASSES_SHARE
        epochs = min(max(int(cell.seconds / epoch), 1), cell.most_epochs)
    plan = {"epochs": epochs, "settings": [*settings, f"training.epochs={epochs}"]}
    write_json(file, plan)
    return plan


def images_here() -> str:
    """The data set that this machine has: nothing is downloaded, for it may have no network."""
    data = ROOT / os.environ.get("GNP_DATA", "data")
    if (data / "cifar-10-batches-py").is_dir():
        return "cifar10"
    if (data / "cifar10/train").is_dir():
        return "cifar10_10k"
    raise UserError(
        f"{data} has neither cifar-10-batches-py nor cifar10/train (10,000 images, see the "
        f"README); put one there or set GNP_DATA, and delete this record"
    )
