"""The pieces of a GPU's first hour, at the paper's scale or at a toy's."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from gnp.benchmarks.cell import Cell, train_method
from gnp.benchmarks.input import measure_input
from gnp.benchmarks.pieces import Piece
from gnp.benchmarks.training_step import Effort, measure_step
from gnp.errors import UserError
from gnp.jobs.slots import available_cores
from gnp.settings import RuntimeSettings
from gnp.tracking import describe_environment
from gnp.training.device import device_name, prepare_device

ROOT = Path(__file__).resolve().parents[2]
MINUTE = 60
# As they are named in the records and in configs/model/; each with its recipe's batch.
NETWORKS = {
    "vgg16_bn": ["experiment=vgg16_bn"],
    "vgg16": ["experiment=vgg16"],
    "resnet_18": ["experiment=resnet_18"],
    "resnet_20": ["experiment=resnet_20"],  # its deeper siblings are more of the same
    "wrn_16_4": ["model=wrn_16_4"],
    "wrn_28_10": ["experiment=wrn_28_10"],
    "vit_ti16": ["experiment=vit_ti16"],
    "vit_s16": ["experiment=vit_s16"],
    "wrn_ss_26_2x96": ["experiment=wrn_ss_26_2x96"],
    "pyramidnet_272_200": ["model=pyramidnet_272_200"],
    "pyramidnet_272_200_sd": ["experiment=pyramidnet_272_200_sd"],
}
AUGMENTATIONS = sorted(file.stem for file in (ROOT / "configs/augmentation").glob("*.yaml"))
TOY = ["experiment=quickstart", "model.width=0.0625", "training.batch_size=8", "runtime.threads=1"]
TOY += ["dataset.synthetic_train_per_class=8", "dataset.synthetic_test_per_class=4"]
TOY += ["wandb.mode=disabled"]


@dataclass(frozen=True)
class Scale:
    """What is measured, and how long a piece may take before it has failed."""

    networks: Mapping[str, list[str]]
    backend: str  # of torch.compile
    effort: Effort
    augmentations: list[str]
    images: int  # of an epoch of the input pipeline
    workers: int  # of torchvision's DataLoader
    cell: Cell
    test_processes: int  # 0: the piece's own; each has the GPU's libraries in its memory
    eager_seconds: float = 90
    compiled_seconds: float = 150
    combinations: list[tuple[bool, str, bool]] = field(  # compiled, precision, channels last
        default_factory=lambda: list(product((False, True), ("fp32", "bf16"), (True, False)))
    )


def paper_scale(minutes: float, rounds: int) -> Scale:
    """``minutes`` are those of the cell's three runs together, ``rounds`` a step's measurements."""
    return Scale(
        networks=NETWORKS,
        backend="inductor",
        effort=Effort(rounds),
        augmentations=AUGMENTATIONS,
        images=50_000,
        workers=min(available_cores(), 16),
        cell=Cell("vgg16_bn", NETWORKS["vgg16_bn"], minutes * MINUTE),
        test_processes=min(available_cores(), 8),
    )


def toy_scale() -> Scale:
    return Scale(
        networks={"vgg16_bn": TOY},
        backend="eager",
        effort=Effort(rounds=2, seconds=0.0),
        augmentations=["cutmix"],
        images=32,
        workers=1,
        cell=Cell("vgg16_bn", [*TOY, "dataset=synthetic"], seconds=0.0, most_epochs=40),
        test_processes=0,
        combinations=[(False, "fp32", True), (False, "bf16", True), (True, "fp32", False)],
    )


def pieces(folder: Path, scale: Scale, device: str) -> list[Piece]:
    """In the order in which they are made: what needs no compiler first, so that an hour that ends
    early has shown most."""
    here = f"runtime.device={device}"
    machine = Piece("machine", partial(describe_machine, device), 2 * MINUTE)
    tests = Piece("tests", partial(run_tests, scale.test_processes), 5 * MINUTE)
    steps = list(step_pieces(scale, here))
    inputs = [
        Piece(
            f"input/{name}",
            partial(
                measure_input,
                ["optimizer=sgd", f"augmentation={name}", *scale.networks["vgg16_bn"], here],
                scale.images,
                scale.workers,
                3,
            ),
            3 * MINUTE,
        )
        for name in scale.augmentations
    ]
    eager = [piece for piece in steps if "eager" in piece.name]
    known = tuple(piece.name for piece in eager if f"/{scale.cell.network}/" in piece.name)
    cells = [
        Piece(
            f"cell/{method}",
            partial(train_method, folder, scale.cell, method, here),
            8 * MINUTE,
            goes_on=True,
            after=known,
        )
        for method in ("sgd", "sam", "gnp")
    ]
    compiled = [piece for piece in steps if "eager" not in piece.name]
    return [machine, tests, *eager, *inputs, *cells, *compiled]


def step_pieces(scale: Scale, here: str) -> Iterator[Piece]:
    for (compiled, precision, last), network in product(scale.combinations, scale.networks):
        measured = [
            f"training.precision={precision}",
            f"runtime.channels_last={str(last).lower()}",
            f"runtime.compile={scale.backend if compiled else 'null'}",
        ]
        yield Piece(
            f"benchmark/{network}/{combination(compiled, precision, last)}",
            partial(measure_step, [*scale.networks[network], here], measured, scale.effort),
            scale.compiled_seconds if compiled else scale.eager_seconds,
        )


def combination(compiled: bool, precision: str, channels_last: bool) -> str:
    """Its name in the records."""
    layout = "channels_last" if channels_last else "contiguous"
    return f"{precision}-{'compiled' if compiled else 'eager'}-{layout}"


def describe_machine(device: str) -> dict[str, Any]:
    chosen = prepare_device(RuntimeSettings(device=device))
    environment = describe_environment(device_name(chosen))
    if chosen.type == "cuda":
        environment["GB"] = torch.cuda.get_device_properties(chosen).total_memory / 2**30
        environment["cuda"] = torch.version.cuda
    return environment


def run_tests(processes: int) -> dict[str, Any]:
    """The tests that need a GPU; without one they are skipped."""
    files = [f for f in sorted((ROOT / "tests").glob("test_*.py")) if "mark.cuda" in f.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", f"-n{processes}", "-m", "cuda"]
    command += map(str, files)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode:
        raise UserError(f"pytest ended with {done.returncode}: {' '.join(last)}")
    return {"pytest": " ".join(last)}
