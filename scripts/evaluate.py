"""Evaluate runs from their checkpoints: error, NLL and calibration error (ECE, 15 bins).

    python scripts/evaluate.py outputs/runs/vgg16_bn/cifar10-basic/gnp/seed0
    python scripts/evaluate.py RUN RUN --cifar10-c data/CIFAR-10-C --json c.json
    python scripts/evaluate.py RUN --images mine --predictions predictions
    python scripts/evaluate.py RUN --write

RUN is a run's folder, of a run that is finished or not: the checkpoint is of its last epoch. Each
is evaluated as it was trained: its normalisation, precision, memory format and batch size. Without
further options the images are those that the run evaluates, which must be those that it was begun
with.

--flip averages the softmax of an image and of its mirror image, and is of them what is evaluated.

--predictions writes what each image was predicted as to DIR/<run>/<images>.npz, in the format of
a record's predictions.npz; of an image folder in the order of the classes and names. What lies
there is replaced.

--write puts the predictions into the record of a finished run that has none, as runs now have from
the start, and their checksum into its summary.json; no number in it changes. A record whose error
is not found again to the last bit is left as it is, and so is one that is damaged.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gnp.cli import argument_parser, run_script
from gnp.data import DataError
from gnp.data.other_images import Named, cifar10_1, cifar_c, image_folder
from gnp.errors import UserError
from gnp.files import write_bytes, write_json
from gnp.report.evaluations import EvaluatedRun, Evaluation, corruptions, overview
from gnp.report.terminal import fitted, print_tables
from gnp.screen import width_of
from gnp.settings import run_path
from gnp.tracking.predictions import encode
from gnp.training.evaluation import Places, TrainedRun, summary_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def main() -> int:
    arguments = parse_arguments()
    places = Places(
        arguments.data_root,
        lambda name: arguments.dataset_root or dataset_root(name, arguments.data_root),
        arguments.device,
        arguments.batch_size,
    )
    done, status = [], 0
    written: set[Path] = set()
    for folder in arguments.run:
        try:
            done.append(evaluate(folder, places, arguments, written))
        except UserError as error:
            print(f"evaluate.py: {error}", file=sys.stderr)
            status = error.exit_status
    show(done)
    if written:
        print(f"written: {len(written)} files in {arguments.predictions}")
    if arguments.json and done:
        runs = [run.to_plain() for run in done]
        write_json(arguments.json, {"flip": arguments.flip, "runs": runs})
        print(f"written: {arguments.json}")
    return status


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "%(prog)s RUN [RUN …] [options]")
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="a run's folder")
    images = parser.add_mutually_exclusive_group()
    images.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="DIR/<class>/*.png, with the names of the classes that were trained on",
    )
    images.add_argument(
        "--cifar10-1",
        type=Path,
        metavar="DIR",
        help="CIFAR-10.1: cifar10.1_v6_data.npy and _labels.npy, and v4's if they are there",
    )
    for classes in (10, 100):
        images.add_argument(
            f"--cifar{classes}-c",
            type=Path,
            metavar="DIR",
            help=f"CIFAR-{classes}-C: <corruption>.npy and labels.npy",
        )
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument(
        "--write", action="store_true", help="put predictions into records without them"
    )
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="also write each image's predictions to DIR"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers to FILE")
    parser.add_argument(
        "--device", default="auto", help="where: auto, cpu, cuda or cuda:N (default auto)"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="images at a time (default: the run's own)"
    )
    parser.add_argument(
        "--data-root",
        default=os.environ.get("GNP_DATA", "data"),
        help="where data sets lie (default: %(default)s)",
    )
    parser.add_argument(
        "--dataset-root", help="where the run's image folder lies (default: as its data set's file)"
    )
    arguments = parser.parse_args()
    other = arguments.images or arguments.cifar10_1 or arguments.cifar10_c or arguments.cifar100_c
    if arguments.write and (arguments.flip or other):
        parser.error("--write is of the run's own images, as they are; leave the other options out")
    return arguments


def dataset_root(name: str, data_root: str) -> str:
    """Where the file of the data set ``name`` says that it lies."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            composed = compose("train", [f"dataset={name}"])
            composed.data_root = data_root
            return composed.dataset.get("root") or data_root  # a source without one needs none
        except (HydraException, OmegaConfBaseException) as error:
            raise DataError(
                f"configs/dataset has no {name}: say with --dataset-root where its images lie"
            ) from error


def evaluate(
    folder: Path, places: Places, arguments: argparse.Namespace, written: set[Path]
) -> EvaluatedRun:
    """One run on each set of images; ``written`` has the files of the runs before, and gets its."""
    run = TrainedRun(folder, places)
    evaluations = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=(console := Console(stderr=True)),
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(str(folder))
        for named in images_of(run, arguments):
            if arguments.predictions:
                file = file_of(run, named, arguments)
                if file in written:
                    raise DataError(
                        f"{folder}: {file} is written already, for a run of that name; evaluate "
                        f"this one by itself, with another folder for --predictions"
                    )
            name = f"{folder}: {named.name}"
            progress.reset(task, total=len(named.split), description=name)
            predictions = run.predictions(
                named.split, arguments.flip, lambda images: progress.advance(task, images)
            )
            evaluations.append(
                Evaluation(
                    named.name,
                    corruption=named.corruption,
                    severity=named.severity,
                    in_mean=named.in_mean,
                    **summary_of(predictions),
                )
            )
            if arguments.predictions:
                write_bytes(file, encode(predictions))
                written.add(file)
    if arguments.write:
        new = run.write(predictions)
        print(f"{folder}: {'predictions are written' if new else 'it has its predictions'}")
    return EvaluatedRun(str(folder), run.epoch, run.config.training.epochs, evaluations)


def file_of(run: TrainedRun, named: Named, arguments: argparse.Namespace) -> Path:
    """For the predictions of these images."""
    name = re.sub(r"[^\w.-]+", "_", named.name) + ("-flip" if arguments.flip else "")
    return arguments.predictions / run_path(run.config) / f"{name}.npz"


def images_of(run: TrainedRun, arguments: argparse.Namespace) -> Iterator[Named]:
    """One set after another: CIFAR-10-C as a whole takes 3 GB."""
    dataset = run.config.dataset
    corrupted = {10: arguments.cifar10_c, 100: arguments.cifar100_c}
    if arguments.images:
        yield from image_folder(arguments.images, dataset)
    elif arguments.cifar10_1:
        run.check_cifar(10)
        yield from cifar10_1(arguments.cifar10_1)
    elif any(corrupted.values()):
        ((classes, folder),) = [(k, f) for k, f in corrupted.items() if f]
        run.check_cifar(classes)
        yield from cifar_c(folder, classes)
    else:
        data = run.own_images()
        yield Named(f"{dataset.name}, {data.evaluated}", data.evaluation)


def show(runs: list[EvaluatedRun]) -> None:
    width = width_of(Console())
    for run in runs:
        if (errors := corruptions(run)) is not None:
            print_tables(fitted(f"{run.run}: error, % at each severity", errors, width))
    if runs:
        print_tables(
            fitted(
                "Evaluations", overview(runs), width, ("epoch", "number"), "with --json in a file"
            )
        )


if __name__ == "__main__":
    sys.exit(run_script(main))
