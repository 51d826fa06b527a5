"""From the command to the files: train what is missing, measure, show."""

from functools import partial
from pathlib import Path

from gnp.jobs import Wanted, WantedConfigs
from gnp.report import series
from gnp.settings.job import StudyJobSettings
from gnp.studies.why.outputs import render
from gnp.studies.why.result import Measurer
from gnp.studies.why.spec import WhySpec, check_epochs


def carry_out(spec: WhySpec, how: StudyJobSettings, train: Path, command: str) -> None:
    """Do with a study what its script was told.

    Args:
        train: the training script.
        command: what the outputs say that they were made by.

    Raises:
        UserError: as ``gnp.report.series.carry_out``; StudyError: the runs will not keep the
            weights that are looked at.
    """
    check_epochs(spec, WantedConfigs(spec, how.root))

    def measurer(wanted: Wanted) -> Measurer:
        from gnp.studies.why.measuring.measure import Measurer as Measures  # imports torch

        return Measures(how.device, wanted)

    show = partial(render, None if how.render_only else measurer)
    series.carry_out(spec, spec.runs, how, train, command, show)
