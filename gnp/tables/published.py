"""Published numbers, as data: the paper's (arXiv 2202.03599, Tables 1 and 2) and third parties'."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gnp.settings.table import SpecError

PAPER = "the paper's value (arXiv 2202.03599)", "the paper's"
# What the values of a file are, as notes say it; a file of third parties has its sources in it.
_WHOSE = {
    "table1": PAPER,
    "table2": PAPER,
    "third_parties": ("third parties' value (gnp/tables/published/third_parties.csv)", "theirs"),
    "moskomule": ("another one's value (gnp/tables/published/moskomule.csv)", "theirs"),
}
FOLDER = Path(__file__).parent / "published"


def whose(name: str) -> tuple[str, str]:
    """What the values of a file are, and whose."""
    return _WHOSE.get(name, (f"the value of gnp/tables/published/{name}.csv", "that"))


@dataclass(frozen=True)
class Published:
    """Test error in %; ``std`` is None where none was printed."""

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
