"""The parameter study: test error over a grid of r and α.

``grid`` says which runs there are, ``collect`` reads their records, ``text``, ``plots`` and
``outputs`` show them. Needs no torch.
"""

from gnp.settings.study import StudyError
from gnp.studies.collect import PointResult, StudyResult, collect
from gnp.studies.grid import Point, Run, StudySpec
from gnp.studies.outputs import render, write_outputs

__all__ = [
    "Point",
    "PointResult",
    "Run",
    "StudyError",
    "StudyResult",
    "StudySpec",
    "collect",
    "render",
    "write_outputs",
]
