"""The settings of a data set: where its images come from, and which of them are used."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gnp.settings.section import Section, setting
from gnp.settings.texts import FilePath, FolderName

# By name, for importing one would need torch: a file of that folder is a source.
_FOLDER = Path(__file__).resolve().parents[1] / "data" / "sources"
SOURCES = tuple(sorted(file.stem for file in _FOLDER.glob("[!_]*.py")))
# The settings that not every source has, and whose they are; a source of your own may read any.
KNOWN = ("torchvision", "folder", "synthetic")
READ_BY = {
    "root": ("torchvision", "folder"),
    "synthetic_seed": ("synthetic",),
    "synthetic_train_per_class": ("synthetic",),
    "synthetic_test_per_class": ("synthetic",),
}

SEED = {"ge": 0, "le": 2**31 - 1, "expected": "from 0 to 2147483647"}
DRAWN = {"ge": 1, "le": 100_000, "expected": "from 1 to 100000"}  # 3 GB, with 10 classes


class DatasetSettings(Section):
    name: FolderName = setting(help="its name in the run's identity")
    source: Literal[SOURCES] = setting(help="where the images come from: gnp/data/sources")
    num_classes: int = setting(10, "how many classes the images must have", ge=1, le=100_000)
    mean: list[Annotated[float, Field(ge=0, le=1)]] = setting(
        help="per channel, of images scaled to [0, 1]",
        expected="three numbers from 0 to 1",
        min_length=3,
        max_length=3,
    )
    # At most 0.5 can occur in [0, 1]; 1 leaves images as they are, and a grey level is 0.004.
    std: list[Annotated[float, Field(ge=0.001, le=1)]] = setting(
        help="per channel, of images scaled to [0, 1]",
        expected="three positive numbers, from 0.001 to 1",
        min_length=3,
        max_length=3,
    )
    root: FilePath = setting("data", "where torchvision's files or the image folder lie")
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
    # Of what is trained on only: an error on labels that are right is what the test set measures,
    # so that is what validation images choose settings by, too.
    label_noise: float = setting(
        0.0,
        "share of each class's training labels made wrong: train and fit errors are against them",
        ge=0,
        le=1,
    )
    noise_kind: Literal["symmetric", "pairs"] = setting(
        "symmetric",
        "wrong labels are any other class's, or go by CIFAR-10's pairs (gnp/data/label_noise.py)",
    )
    noise_seed: int = setting(0, "which labels are made wrong, and how", **SEED)
    synthetic_seed: int = setting(0, "which pictures the source synthetic draws", **SEED)
    synthetic_train_per_class: int = setting(
        200, "training pictures it draws of each class", **DRAWN
    )
    synthetic_test_per_class: int = setting(100, "test pictures it draws of each class", **DRAWN)

    def as_it_is_here(self) -> "DatasetSettings":
        """Without a download, for what only looks whether the images are there."""
        return self.model_copy(update={"download": False})

    @model_validator(mode="after")
    def _has_what_its_source_reads(self) -> "DatasetSettings":
        for name, sources in READ_BY.items():
            field = type(self).model_fields[name]
            unread = self.source in KNOWN and self.source not in sources
            if unread and getattr(self, name) != field.get_default():
                raise PydanticCustomError("custom", "{what}", {"what": no_such(self.source, name)})
        return self

    @model_validator(mode="after")
    def _has_classes_to_be_confused(self) -> "DatasetSettings":
        what = None
        if self.label_noise and self.num_classes < 2:
            what = "label_noise needs two classes at least; set it to 0"
        if self.label_noise and self.noise_kind == "pairs":
            has = f"{self.num_classes} classes" if self.num_classes != 10 else "the synthetic ones"
            if self.num_classes != 10 or self.source == "synthetic":
                what = f"noise_kind=pairs is of CIFAR-10's classes, not of {has}; use symmetric"
        if what is not None:
            raise PydanticCustomError("custom", "{what}", {"what": what})
        return self


def no_such(source: str, name: str) -> str:
    """What is said of a setting that the source of the images does not have."""
    whose = f"; {' and '.join(READ_BY[name])} have it" if name in READ_BY else ""
    return f"the source {source!r} has no {name} (dataset.{name}){whose}"
