"""The paper's numbers (Tables 1 and 2 of arXiv 2202.03599), as data."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gnp.settings.table import SpecError

FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True)
class Published:
    """Test error in %; ``std`` is None where the paper prints none."""

    error: float
    std: float | None


@cache
def published_table(name: str) -> dict[tuple[str, str, str], Published]:
    """(model, method, column) → value.

    Raises:
        SpecError: no such table; names those that there are.
    """
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.csv")))
        raise SpecError(f"no published table {name!r}; there are {known}")
    with open(path, newline="") as file:
        return {
            (line["model"], line["method"], line["column"]): Published(
                float(line["error"]), float(line["std"]) if line["std"] else None
            )
            for line in csv.DictReader(file)
        }
