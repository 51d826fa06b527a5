"""Tables: which runs they consist of, running the missing ones, and rendering what is there.

Reads run records; needs no torch, so a table rebuilds in a second.
"""

from gnp.tables.collect import CellResult, TableResult, collect
from gnp.tables.pool import Pool, cpu_slots, gpu_slots
from gnp.tables.report import write_outputs
from gnp.tables.spec import Cell, Run, SpecError, TableSpec

__all__ = [
    "Cell",
    "CellResult",
    "Pool",
    "Run",
    "SpecError",
    "TableResult",
    "TableSpec",
    "collect",
    "cpu_slots",
    "gpu_slots",
    "write_outputs",
]
