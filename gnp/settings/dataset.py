"""The settings of a data set: where its images come from, and which of them are used."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from gnp.settings.section import Section, setting

# By name, for importing one would need torch: a file of that folder is a source.
_FOLDER = Path(__file__).resolve().parents[1] / "data" / "sources"
SOURCES = tuple(sorted(file.stem for file in _FOLDER.glob("[!_]*.py")))

# A generator's seed has 64 bits; synthetic takes two for each of its own.
SEED = {"ge": 0, "lt": 2**62, "expected": "from 0 to below 2^62"}
DRAWN = {"ge": 1, "le": 100_000, "expected": "from 1 to 100000"}  # 3 GB, with 10 classes


class DatasetSettings(Section):
    name: str = setting(help="its name in the run's identity")
    source: Literal[SOURCES] = setting(help="where the images come from: gnp/data/sources")
    num_classes: int = setting(10, "how many classes the images must have", ge=1)
    mean: list[float] = setting(
        help="per channel, of images scaled to [0, 1]",
        expected="three numbers from 0 to 1",
        min_length=3,
        max_length=3,
    )
    std: list[float] = setting(
        help="per channel, of images scaled to [0, 1]",
        expected="three positive numbers, from 0.001 to 1",
        min_length=3,
        max_length=3,
    )
    root: str = setting("data", "where torchvision's files or the image folder lie")
    download: bool = setting(True, "whether torchvision may download what root lacks")
    # Apart from the run's seed, so that seeds differ in training, not in data. Validation images
    # are held out before train_per_class is taken: both runs of a comparison see the same ones.
    train_per_class: int | None = setting(
        None,
        "use this many training images of each class",
        expected="from 1 to as many as the smallest class has, or null for all",
    )
    validation_per_class: int = setting(
        0,
        "hold out this many training images of each class and evaluate on them, not on the test "
        "set",
        ge=0,
    )
    subset_seed: int = setting(0, "which images these two draw", **SEED)
    synthetic_seed: int = setting(0, "which pictures the source synthetic draws", **SEED)
    synthetic_train_per_class: int = setting(
        200, "training pictures it draws of each class", **DRAWN
    )
    synthetic_test_per_class: int = setting(100, "test pictures it draws of each class", **DRAWN)

    @field_validator("mean")
    @classmethod
    def _is_of_images_from_0_to_1(cls, value: list[float]) -> list[float]:
        if not all(0 <= m <= 1 for m in value):
            raise ValueError("such as 127.5, which is of images from 0 to 255")
        return value

    @field_validator("std")
    @classmethod
    def _leaves_contrast(cls, value: list[float]) -> list[float]:
        """At most 0.5 can occur in [0, 1]; 1 leaves images as they are, and a grey level is
        0.004."""
        if not all(0.001 <= s <= 1 for s in value):
            raise ValueError("a channel without contrast, or without bounds")
        return value
