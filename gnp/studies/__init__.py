"""The parameter study: test error over a grid of r and α.

``grid`` says which runs there are, ``collect`` reads their records, ``plots`` and ``report`` show
them. Needs no torch.
"""

from gnp.studies.collect import PointResult, StudyResult, collect
from gnp.studies.grid import Point, Run, StudyError, StudySpec
from gnp.studies.report import write_outputs

__all__ = [
    "Point",
    "PointResult",
    "Run",
    "StudyError",
    "StudyResult",
    "StudySpec",
    "collect",
    "write_outputs",
]
