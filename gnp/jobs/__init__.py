"""Runs as jobs: which are missing, where and how they are trained, what their records say.

Tables and studies are lists of jobs; this package knows neither, and needs no torch.
"""

from gnp.jobs.check import check_records
from gnp.jobs.finished import (
    DivergedRun,
    FinishedRun,
    Records,
    differences,
    read_runs,
    read_runs_ahead,
    read_series,
    said_of_diverged,
)
from gnp.jobs.job import Job
from gnp.jobs.pool import Pool
from gnp.jobs.result import SeedsResult, SeriesResult
from gnp.jobs.runner import RunsFailed, refuse_to_pass_over, reproduce
from gnp.jobs.slots import Slot, choose_slots, cpu_slots, gpu_slots
from gnp.jobs.wanted import SeriesMismatch, Wanted, WantedConfigs

__all__ = [
    "DivergedRun",
    "FinishedRun",
    "Job",
    "Pool",
    "Records",
    "RunsFailed",
    "SeedsResult",
    "SeriesMismatch",
    "SeriesResult",
    "Slot",
    "Wanted",
    "WantedConfigs",
    "check_records",
    "choose_slots",
    "cpu_slots",
    "differences",
    "gpu_slots",
    "read_runs",
    "read_runs_ahead",
    "read_series",
    "refuse_to_pass_over",
    "reproduce",
    "said_of_diverged",
]
