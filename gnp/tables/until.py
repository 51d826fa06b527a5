"""Seeds until decided: which runs a table has when each comparison gets seeds until it is decided.

What is wanted follows from the records alone, so a table that was stopped goes on, and rendering
finds the same seeds as training did.
"""

from collections.abc import Iterator, Sequence

from gnp.jobs import Wanted
from gnp.settings import unrecorded
from gnp.settings.job import TableRenderSettings
from gnp.statistics.sequential import FIXED_SEEDS, Sequential
from gnp.statistics.verdict import Rule
from gnp.tables.collect import TableResult, collect
from gnp.tables.comparisons import Comparison
from gnp.tables.outputs import render
from gnp.tables.spec import Cell, Run, TableSpec


class Seeds:
    """The seeds of a table's cells: those of its settings, or with ``until=decided`` at first
    ``min_seeds`` and then more.

    Args:
        spec: the table, with the seeds that its settings list.
        how: says until when.
    """

    def __init__(self, spec: TableSpec, how: TableRenderSettings):
        self._root, self._until_decided = how.root, how.until == "decided"
        self.rule: Rule = FIXED_SEEDS
        self.spec = spec
        if self._until_decided:
            self.rule = Sequential(how.min_seeds, how.max_seeds)
            self._all = spec.with_seeds(seeds_in_order(spec.seeds, how.max_seeds))
            self.spec = self._all.grown(dict.fromkeys(spec.cells(), how.min_seeds))

    def runs(self) -> list[Run]:
        """All that are wanted for now."""
        return list(self.spec.runs())

    def more(self, wanted: Wanted) -> list[Run]:
        """All that are wanted after what the records show now; none if that is no more than
        before. A cell of which a run diverged gets no more for the sake of its comparisons: what it
        lacks is an outcome, which more seeds do not mend."""
        if not self._until_decided:
            return []
        table = self._collected(wanted)
        if table.missing:  # they failed, or other processes have them
            return []
        counts = counts_after(table, self._all)
        if all(counts[cell] == len(self.spec.seeds_of(cell)) for cell in counts):
            return []
        self.spec = self._all.grown(counts)
        return self.runs()

    def _collected(self, wanted: Wanted) -> TableResult:
        return collect(self.spec, self._root, None, wanted, unrecorded(), self.rule)

    def grow(self, wanted: Wanted) -> None:
        """To the seeds that the records lead to."""
        while self.more(wanted):
            pass

    def later_in_words(self, wanted: Wanted) -> str:
        """A plan's note about seeds that may be wanted after these; "" if there are none."""
        if not self._until_decided:
            return ""
        open_ones = {cell for c in open_comparisons(self._collected(wanted)) for cell in c.cells}
        more = sum(
            len(self._all.seeds_of(cell)) - len(self.spec.seeds_of(cell)) for cell in open_ones
        )
        if not more:
            return ""
        return (
            f"Then cells whose comparisons are undecided get further seeds, one by one: at most "
            f"{more} runs more."
        )

    def render(self, command: str, wanted: Wanted) -> list[str]:
        """As ``gnp.tables.render``, of the seeds that the records lead to."""
        self.grow(wanted)
        return render(self.spec, self._root, command, wanted, self.rule)


def seeds_in_order(first: Sequence[int], count: int) -> list[int]:
    """So many different seeds: those that are listed, then 0, 1, 2, … without them."""
    further = (seed for seed in range(count) if seed not in first)
    return [*first, *further][:count]


def open_comparisons(table: TableResult) -> Iterator[Comparison]:
    """Those that are not decided, and can be: no run of the two cells diverged."""
    for comparison in table.comparisons:
        decided = comparison.verdict is not None and comparison.verdict.decided
        if not decided and not comparison.ours.diverged and not comparison.reference.diverged:
            yield comparison


def counts_after(table: TableResult, everything: TableSpec) -> dict[Cell, int]:
    """{cell: its number of seeds}: one more than it has where a comparison of it is undecided,
    there is another seed, and no run of the two cells diverged.

    Args:
        table: no run of it is missing.
        everything: with all seeds that there are.
    """
    counts = {cell: len(table.spec.seeds_of(cell)) for cell in table.spec.cells()}
    wanted = dict(counts)
    for comparison in open_comparisons(table):
        for cell in comparison.cells:
            most = len(everything.seeds_of(cell))
            # A cell may have seeds that this comparison lacks, for the sake of another one.
            wanted[cell] = max(wanted[cell], min(len(comparison.seeds) + 1, most))
    return wanted
