"""Kinds of texts: names of folders, paths, labels. What could not be written down is refused."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

LONGEST_NAME = 200  # bytes; a file system's limit is 255, and "seed0" or "-official" may follow


def _folder(value: str) -> str:
    wrong = (
        value in ("", ".", "..")
        or value != value.strip()
        or any(mark in value for mark in "/\\")
        or _unwritable(value)
        or len(value.encode()) > LONGEST_NAME
    )
    if wrong:
        raise PydanticCustomError(
            "custom",
            "expected the name of one folder (no slashes, not . or .., no control characters, "
            f"at most {LONGEST_NAME} bytes)",
        )
    return value


def _folders(value: str) -> str:
    """ "vgg16" or "mini/vgg16"."""
    for name in value.split("/"):
        _folder(name)
    return value


def _path(value: str) -> str:
    if not value or _unwritable(value):
        raise PydanticCustomError("custom", "expected a path (not empty, no control characters)")
    return value


def _line(value: str) -> str:
    if not value.strip() or _unwritable(value):
        raise PydanticCustomError("custom", "expected one line of text without control characters")
    return value


def _lines(value: str) -> str:
    if _unwritable(value.replace("\n", " ")):
        raise PydanticCustomError("custom", "expected text without control characters")
    return value


def _unwritable(value: str) -> bool:
    """Control characters, line separators, and halves of characters (of a file name that is not
    UTF-8)."""
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)


FolderName = Annotated[str, AfterValidator(_folder)]
FolderNames = Annotated[str, AfterValidator(_folders)]
FilePath = Annotated[str, AfterValidator(_path)]
Label = Annotated[str, AfterValidator(_line)]
Text = Annotated[str, AfterValidator(_lines)]
