"""Tables: which runs they consist of, what their records say, and how it is shown.

Reads run records; needs no torch, so a table rebuilds in a second.
"""

from gnp.settings.table import SpecError
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult, collect
from gnp.tables.outputs import render, write_outputs
from gnp.tables.spec import Cell, Run, TableSpec
from gnp.tables.until import Seeds

__all__ = [
    "Cell",
    "CellResult",
    "Run",
    "Seeds",
    "SpecError",
    "TableResult",
    "TableSpec",
    "collect",
    "render",
    "write_outputs",
]
