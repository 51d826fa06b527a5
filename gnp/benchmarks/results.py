"""What a benchmark writes: its numbers with the settings and the machine that they are of."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnp.files import write_json, write_text


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is names, the others numbers."""
    lines = ["| " + " | ".join(headers) + " |", "|---" + "|---:" * (len(headers) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def write_results(
    folder: Path,
    name: str,
    *,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Mapping[str, float]]],
    markdown: str,
    columns: Sequence[str],
) -> None:
    """Write ``name``.json, .md and .csv to ``folder``.

    Args:
        results: {part: {method: {column: number}}}.
        columns: of the CSV, after part and method; a number that a method has not stays empty.
    """
    write_json(
        folder / f"{name}.json",
        {"settings": settings, "environment": environment, "results": results},
    )
    write_text(folder / f"{name}.md", markdown)
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(["part", "method", *columns])
    for part, methods in results.items():
        for method, numbers in methods.items():
            rows.writerow([part, method, *(numbers.get(c, "") for c in columns)])
    write_text(folder / f"{name}.csv", buffer.getvalue())
