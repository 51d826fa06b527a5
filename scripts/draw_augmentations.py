"""Draw what each augmentation makes of the same images, a row an augmentation.

    python scripts/draw_augmentations.py
    python scripts/draw_augmentations.py --dataset cifar10_10k --output a.png

Every file of configs/augmentation/ but "none" has a row with several draws, side by side; the
images themselves are above. The images shown are one batch, so a mixture's two images are both in
the top row; below it are its labels' weights. Beside the picture a text file, and the picture's own
metadata, say what it was made with.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display is needed or asked for

import matplotlib.pyplot as plt
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from gnp.cli import argument_parser, run_script
from gnp.data import DataError, ImageData, Normalise
from gnp.errors import UserError
from gnp.files import write_atomically, write_text
from gnp.settings import AugmentationSettings, Config, resolve
from gnp.tracking import describe_environment
from gnp.training.build import build_augmentation, load_data

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# From the weakest to the strongest; files that are not named here follow by name.
FIRST = ("basic", "cutout", "autoaugment", "mixup", "cutmix", "mixcut", "heavy")
CELL, GAP, LABEL = 0.62, 0.05, 2.0  # inches: a picture, the space around it, the rows' names
CAPTION = 0.24  # inches below a mixture


@dataclass(frozen=True)
class Row:
    """One augmentation: for each draw, images (N, H, W, 3) in [0, 1], and targets."""

    name: str
    steps: str
    draws: list[tuple[Tensor, Tensor]]

    @property
    def mixes(self) -> bool:
        return self.draws[0][1].ndim == 2


def main() -> int:
    arguments = parse_arguments()
    try:
        configs = compose_configs(arguments.dataset, arguments.fidelity)
        data = load_data(configs["none"], torch.device("cpu"))
        classes = class_names(configs["none"], data)
        shown = one_of_each_class(data, arguments.images, arguments.seed)
    except UserError as error:
        print(f"draw_augmentations.py: {error}", file=sys.stderr)
        return error.exit_status
    rows = []
    for name in sorted(configs, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n)):
        if name != "none":
            rows.append(augment(name, configs[name], shown, arguments.draws, arguments.seed))
    original = augment("original", configs["none"], shown, 1, arguments.seed)
    facts = describe(arguments)
    save(draw(original, rows, classes, arguments), arguments.output, facts)
    print(f"written: {arguments.output}, {arguments.output.with_suffix('.txt')}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    datasets = sorted(path.stem for path in (CONFIGS / "dataset").glob("*.yaml"))
    fidelities = sorted(path.stem for path in (CONFIGS / "fidelity").glob("*.yaml"))
    parser.add_argument(
        "--dataset",
        default="synthetic",
        choices=datasets,
        metavar="NAME",
        help=f"whose images are drawn (default synthetic): {', '.join(datasets)}",
    )
    parser.add_argument(
        "--fidelity",
        default="paper",
        choices=fidelities,
        help="whose augmentations (default paper)",
    )
    parser.add_argument("--images", type=positive, default=8, help="how many (default 8)")
    parser.add_argument("--draws", type=positive, default=2, help="of each image (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of images and draws (default 0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/figures/augmentations.png"),
        help="a .png file (default outputs/figures/augmentations.png)",
    )
    arguments = parser.parse_args()
    if arguments.output.suffix != ".png":
        parser.error(f"--output must end in .png, not {arguments.output.suffix!r}")
    return arguments


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def compose_configs(dataset: str, fidelity: str) -> dict[str, Config]:
    """{augmentation: the config of a run with it}."""
    names = sorted(path.stem for path in (CONFIGS / "augmentation").glob("*.yaml"))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = [f"dataset={dataset}", f"fidelity={fidelity}"]
        return {
            name: resolve(compose("train", [*settings, f"augmentation={name}"])) for name in names
        }


def class_names(config: Config, data: ImageData) -> list[str]:
    """An image folder's names, in the order in which its classes are numbered; else numbers."""
    if config.dataset.source == "folder":
        return sorted(path.name for path in Path(config.dataset.root, "train").iterdir())
    return [f"class {k}" for k in range(data.num_classes)]


def one_of_each_class(data: ImageData, count: int, seed: int) -> ImageData:
    """``count`` training images, each of another class as long as there are classes."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.train), generator=generator)
    labels = data.train.labels[order].tolist()
    seen: dict[int, int] = {}
    turn = []  # 0 for the first of its class, 1 for the second, …
    for label in labels:
        turn.append(seen.get(label, 0))
        seen[label] = turn[-1] + 1
    first = sorted(range(len(labels)), key=lambda i: (turn[i], labels[i]))[:count]
    if len(first) < count:
        raise DataError(f"--images {count}: there are {len(first)} training images")
    return replace(data, train=data.train.take(order[first]))


def augment(name: str, config: Config, data: ImageData, draws: int, seed: int) -> Row:
    """The images as the network would see them, with their normalisation undone."""
    augmentation = build_augmentation(config)
    generator = torch.Generator().manual_seed(seed)
    train, normalise = data.train, Normalise(data.mean, data.std, data.train.images.device)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    result = []
    for _ in range(draws):
        images, targets = augmentation.batch(
            augmentation.whole_epoch(train.images, generator),
            train.labels,
            normalise,
            data.num_classes,
            generator,
        )
        shown = (images * std + mean).clamp(0, 1).permute(0, 2, 3, 1)
        result.append((shown, targets))
    return Row(name, steps(config.augmentation), result)


def steps(settings: AugmentationSettings) -> str:
    """What it consists of, in the order in which it is done."""
    parts = {
        "AutoAugment": settings.autoaugment,
        "flip": settings.flip,
        "crop": settings.crop_padding,
        "box": settings.box_area < 1,
        "rotation": settings.rotation,
        settings.mixing: settings.mixing,
        "cutout": settings.cutout,
    }
    return ", ".join(str(name) for name, done in parts.items() if done)


def draw(
    original: Row, rows: list[Row], classes: list[str], arguments: argparse.Namespace
) -> plt.Figure:
    """Draws side by side, each under the originals; positions in inches from the upper left."""
    count, draws = arguments.images, arguments.draws
    step, block = CELL + GAP, arguments.images * (CELL + GAP) + 0.25
    width = LABEL + draws * block
    height = 0.9 + step + sum(step + (CAPTION if row.mixes else 0) + 0.08 for row in rows)
    figure = plt.figure(figsize=(width, height), dpi=160)
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, width), ylim=(height, 0))
    canvas.set_axis_off()

    def picture(image: Tensor, x: float, y: float) -> None:
        extent = (x, x + CELL, y + CELL, y)
        canvas.imshow(image.numpy(), extent=extent, interpolation="nearest", aspect="auto")

    labels, y = original.draws[0][1].tolist(), 0.6
    canvas.text(0.1, y + CELL / 2, "original", fontsize=10, weight="bold", va="center")
    for k in range(draws):
        canvas.text(LABEL + k * block, 0.2, f"draw {k + 1}", fontsize=10, va="center")
        for i in range(count):
            x = LABEL + k * block + i * step
            picture(original.draws[0][0][i], x, y)
            canvas.text(x + CELL / 2, y - 0.07, classes[labels[i]], fontsize=7, ha="center")
    y += step + 0.08
    for row in rows:
        canvas.text(0.1, y + CELL / 2 - 0.02, row.name, fontsize=10, va="bottom")
        canvas.text(0.1, y + CELL / 2 + 0.02, row.steps, fontsize=6, color="0.35", va="top")
        for k, (images, targets) in enumerate(row.draws):
            for i in range(count):
                x = LABEL + k * block + i * step
                picture(images[i], x, y)
                if row.mixes:
                    text = caption(targets[i], labels[i], classes)
                    canvas.text(
                        x + CELL / 2, y + CELL + 0.03, text, fontsize=5.5, ha="center", va="top"
                    )
        y += step + (CAPTION if row.mixes else 0) + 0.08
    note = f"{arguments.dataset}, fidelity {arguments.fidelity}, seed {arguments.seed}"
    canvas.text(0.1, y + 0.08, note, fontsize=7, color="0.35", va="center")
    canvas.set(xlim=(0, width), ylim=(height, 0))  # imshow moved them
    return figure


def caption(target: Tensor, own: int, classes: list[str]) -> str:
    """ "72 % cat" and below it the partner's share, the image's own class first."""
    weights = {k: w for k, w in enumerate(target.tolist()) if w >= 0.005}
    order = sorted(weights, key=lambda k: k != own)
    return "\n".join(f"{100 * weights[k]:.0f} % {classes[k]}" for k in order)


def describe(arguments: argparse.Namespace) -> dict[str, str]:
    """What the picture depends on."""
    command = ["python", "scripts/draw_augmentations.py"]
    for name in ("dataset", "fidelity", "images", "draws", "seed", "output"):
        command += [f"--{name}", str(getattr(arguments, name))]
    code = describe_environment("cpu")["code"]
    modified = ", with changes that are not committed" if code["modified"] else ""
    return {
        "command": shlex.join(command),
        "dataset": arguments.dataset,
        "fidelity": arguments.fidelity,
        "seed": str(arguments.seed),
        "commit": f"{code['commit']}{modified}",
        "code": code["hash"],
    }


def save(figure: plt.Figure, path: Path, facts: dict[str, str]) -> None:
    """The picture, with the facts as its metadata, and the same facts as text beside it."""
    write_atomically(path, lambda file: figure.savefig(file, format="png", metadata=facts))
    plt.close(figure)
    text = "".join(f"{name}: {value}\n" for name, value in facts.items())
    write_text(path.with_suffix(".txt"), text)


if __name__ == "__main__":
    sys.exit(run_script(main))
