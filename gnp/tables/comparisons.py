"""Each method of a table against those that it is compared with, and what is decided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gnp.settings.table import Method, Part
from gnp.statistics.improvement import Improvement
from gnp.statistics.intervals import (
    CONFIDENCE,
    Differences,
    Interval,
    informative,
    interval_for_new_images,
)
from gnp.statistics.verdict import ABOVE, BELOW, Rule, Verdict, verdicts
from gnp.tables.cell_result import CellResult
from gnp.tables.spec import Cell


@dataclass(frozen=True)
class Comparison:
    """A method's cell against another's of the same row and column; errors in %, differences
    paired by seed.

    Attributes:
        verdict: None, no statement, where fewer than two seeds of both are finished, or there are
            never as many as the rule needs.
    """

    ours: CellResult
    reference: CellResult
    rule: Rule
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        return f"{self.ours.cell.method.label} − {self.reference.cell.method.label}"

    @property
    def cells(self) -> tuple[Cell, Cell]:
        return self.ours.cell, self.reference.cell

    @cached_property
    def seeds(self) -> list[int]:
        """Those of which both are finished."""
        others = self.reference.by_seed
        return [seed for seed in self.ours.by_seed if seed in others]

    @property
    def most_seeds(self) -> int:
        """Of which both are finished or missing yet."""
        wanted = [
            {*cell.by_seed, *(run.seed for run in cell.missing)}
            for cell in (self.ours, self.reference)
        ]
        return len(set.intersection(*wanted))

    @cached_property
    def differences(self) -> Differences:
        return self._paired(self.ours.errors, self.reference.errors)

    @cached_property
    def interval(self) -> Interval | None:
        """Of the mean difference over seeds, on these images; 95 %. None where it says nothing."""
        return informative(self.rule.interval(self.differences)) if self.differences.n else None

    @cached_property
    def losses(self) -> Differences | None:
        """Of the NLL; None where a run has none."""
        if not self.ours.losses or not self.reference.losses:
            return None
        return self._paired(self.ours.losses, self.reference.losses)

    @cached_property
    def improvement(self) -> Improvement | None:
        return Improvement.of(self.ours.errors, self.reference.errors)

    @property
    def same_images(self) -> bool:
        """Whether all that have predictions have them of the same images."""
        return len({judged.digest for judged in self._judged if judged is not None}) <= 1

    @cached_property
    def for_new_images(self) -> Interval | None:
        """None where a run has no predictions, or of other images, where the best epoch's error is
        compared (predictions are the last one's), or where it says nothing."""
        if self.ours.error_of != "last" or None in self._judged or not self.same_images:
            return None
        correct = [judged.correct for judged in self._judged if judged is not None]
        if not correct:
            return None
        n = len(self.seeds)
        level = self.rule.level(n, 1 - CONFIDENCE)
        if not level:  # not looked at yet
            return None
        a, b = np.stack(correct[:n]), np.stack(correct[n:])
        return informative(interval_for_new_images(a, b, 1 - level))

    @property
    def _judged(self) -> list:
        cells = (self.ours, self.reference)
        return [cell.judged[cell.by_seed[seed]] for cell in cells for seed in self.seeds]

    def _paired(self, ours: Sequence[float], reference: Sequence[float]) -> Differences:
        places = [(self.ours.by_seed[s], self.reference.by_seed[s]) for s in self.seeds]
        return Differences.of([ours[a] for a, _ in places], [reference[b] for _, b in places])

    def winner(self) -> CellResult | None:
        """The one that is decided to have the lower error."""
        decision = self.verdict.decision if self.verdict else None
        return {BELOW: self.ours, ABOVE: self.reference}.get(decision or "")


def compare(pairs: Sequence[tuple[CellResult, CellResult]], rule: Rule) -> list[Comparison]:
    """All of a table, decided together."""
    comparisons = [Comparison(ours, reference, rule) for ours, reference in pairs]
    whole = [c for c in comparisons if c.differences.n >= 2 and c.most_seeds >= rule.fewest]
    decided = dict(zip(map(id, whole), verdicts([c.differences for c in whole], rule), strict=True))
    return [replace(c, verdict=decided.get(id(c))) for c in comparisons]


def compared_methods(part: Part) -> Iterator[tuple[Method, Method]]:
    """(method, the one that it is compared with), each pair once: of two with which all are
    compared, the later one with the earlier."""
    references = part.references
    for method in part.methods:
        own = references.index(method) if method in references else len(references)
        for reference in references[:own]:
            yield method, reference
