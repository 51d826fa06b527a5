"""What the scripts of studies and tunings do: plan, train and render, or render alone."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from gnp.jobs import Job, Wanted, WantedConfigs, refuse_to_pass_over, reproduce
from gnp.report.plan import show_plan
from gnp.settings.job import StudyJobSettings
from gnp.settings.series import Series

S = TypeVar("S", bound=Series)


def carry_out(
    spec: S,
    runs: Callable[[], Iterable[Job]],
    how: StudyJobSettings,
    train: Path,
    command: str,
    render: Callable[[S, str, str, Wanted], list[str]],
    more: Callable[[S, str, Wanted], Sequence[Job]] = lambda spec, root, wanted: (),
    later: Callable[[Sequence[Job]], str] = lambda jobs: "",
) -> None:
    """Do with a study or a tuning what its script was told.

    Args:
        runs: gives all of them, in the order in which they are to be trained.
        train: the training script.
        command: what the outputs say that they were made by.
        render: (spec, root, command, wanted configs) → warnings about records that are left out.
        more: (spec, root, wanted configs) → all runs that are wanted after what the records show.
        later: planned jobs → a plan's note about what comes after them.

    Raises:
        UserError: as ``show_plan``, ``reproduce`` and ``refuse_to_pass_over``.
    """
    if how.plan:
        jobs = list(runs())
        show_plan(spec, jobs, how, later(jobs))
    elif not how.render_only:
        rendered = partial(render, spec, how.root, command)
        reproduce(spec, list(runs()), how, train, rendered, partial(more, spec, how.root))
    else:
        wanted = WantedConfigs(spec, how.root)
        refuse_to_pass_over(render(spec, how.root, command, wanted))
