"""The files of a table or a study, whole or not at all."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gnp.files import write_bytes


def write_files(folder: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    """Write each content to the file of its name. Returns the paths."""
    for name, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        write_bytes(folder / name, data)
    return [folder / name for name in contents]


def csv_text(columns: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return buffer.getvalue()
