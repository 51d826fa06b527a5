"""What the tables of ``configs/table`` know of a run: their names, and the published value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gnp.tables import TableSpec
from gnp.tables.published import Published, published_table


@dataclass(frozen=True)
class Known:
    """Of the runs of one cell."""

    tables: tuple[str, ...] = ()
    published: Published | None = None


def known_cells(specs: Iterable[TableSpec], fidelities: Sequence[str]) -> dict[str, Known]:
    """{a cell's place below "runs": what the tables that have it say}, at each fidelity."""
    known: dict[str, Known] = {}
    for spec in specs:
        for part in spec.parts.values():
            values = published_table(part.published) if part.published else {}
            for fidelity in fidelities:
                for cell in spec.model_copy(update={"fidelity": fidelity}).cells_of(part):
                    key = (cell.row.published, cell.method.label, cell.column.published)
                    before = known.get(str(cell.path), Known())
                    tables = (*before.tables, *({spec.name} - {*before.tables}))
                    known[str(cell.path)] = Known(tables, before.published or values.get(key))
    return known
