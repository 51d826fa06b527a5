"""Make an image folder of the very images that a published result was trained on.

    python scripts/image_subset.py make results/images/cifar10_10k.txt data/c10
    python scripts/image_subset.py list data/c10 results/images/cifar10_10k.txt

"make" takes them from torchvision's CIFAR, which it downloads where it is missing (170 MB). "list"
writes the list of an image folder root/{train,test}/<class>/*.png, from which "make" makes it.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.progress import track

from gnp.cli import argument_parser, run_script
from gnp.data.errors import DataError
from gnp.data.sources.torchvision import load_cifar
from gnp.data.subset import describe_folder, from_text, make_folder, to_text
from gnp.files import write_text


def main() -> int:
    parser = argument_parser(__doc__)
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("make", help="make an image folder from a list and CIFAR")
    make.add_argument("list", type=Path, help="such as results/images/cifar10_10k.txt")
    make.add_argument("folder", type=Path, help="such as data/cifar10; must not exist yet")
    make.add_argument(
        "--data-root",
        default=os.environ.get("GNP_DATA", "data"),
        help="where torchvision's CIFAR is or is downloaded to (default: %(default)s)",
    )
    make.add_argument("--no-download", action="store_true", help="refuse where CIFAR is missing")
    make.set_defaults(run=run_make)
    listing = commands.add_parser("list", help="write the list of an image folder")
    listing.add_argument("folder", type=Path, help="such as data/cifar10")
    listing.add_argument("list", type=Path, help="where to write it")
    listing.set_defaults(run=run_list)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (DataError, OSError) as error:
        print(f"image_subset.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("image_subset.py: stopped; the same command begins anew", file=sys.stderr)
        return 130
    return 0


def run_make(arguments: argparse.Namespace) -> None:
    # What is no text has names that no list has, and is refused as such.
    text = arguments.list.read_bytes().decode(errors="surrogateescape")
    subset = from_text(text, str(arguments.list))
    where, download = arguments.data_root, not arguments.no_download
    train, test = (
        load_cifar(where, split, len(subset.classes), download) for split in ("train", "test")
    )
    make_folder(
        subset,
        (train, test),
        arguments.folder,
        lambda images, count: track(images, "writing", count),
    )
    print(f"{arguments.folder}: {len(subset.train)} training, {len(test[0])} test images")


def run_list(arguments: argparse.Namespace) -> None:
    subset = describe_folder(arguments.folder)
    write_text(arguments.list, to_text(subset))
    print(f"{arguments.list}: {len(subset.train)} training images in {len(subset.classes)} classes")


if __name__ == "__main__":
    sys.exit(run_script(main))
