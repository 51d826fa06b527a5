"""The two rounds of a tuning: all trials, then more seeds for the best of each method.

A trial with one seed is as good as its seed. Who is in the second round follows from the records of
the first one alone, so a tuning that was stopped goes on, and rendering finds the same runs.
"""

from collections.abc import Sequence
from pathlib import Path

from gnp.jobs import Wanted
from gnp.settings import unrecorded
from gnp.tuning.collect import collect
from gnp.tuning.trials import Run, TuningSpec


def wanted_now(spec: TuningSpec, root: str | Path) -> list[Run]:
    """The runs to begin with: the first round, and once that is finished all."""
    if not spec.finalists:
        return list(spec.runs())
    tuning = collect(spec, root)
    return list(spec.runs()) if tuning.first_round_missing else tuning.runs()


def wanted_after(spec: TuningSpec, root: str | Path, wanted: Wanted) -> list[Run]:
    """All runs, after the first round: what that lacks has failed."""
    if not spec.finalists:
        return []
    return collect(spec, root, None, wanted, unrecorded(), first_round_over=True).runs()


def second_round_in_words(spec: TuningSpec, planned: Sequence[Run]) -> str:
    """A plan's note; "" if there is none, or if its runs are among the planned ones."""
    if not spec.finalists or len(planned) > len(list(spec.runs())):
        return ""
    runs = spec.finalists * len(spec.final_seeds) * len(spec.methods)
    return (
        f"When all trials have {_seeds(len(spec.seeds))}, the best {spec.finalists} of each method "
        f"get {_seeds(len(spec.final_seeds))} more: {runs} runs in all."
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"
