"""Runs as jobs: which are missing, where and how they are trained, what their records say.

Tables and studies are lists of jobs; this package knows neither, and needs no torch.
"""

from gnp.jobs.check import ConfigMismatch, check_configs
from gnp.jobs.finished import FinishedRun, differences, read_runs
from gnp.jobs.job import Job
from gnp.jobs.pool import Pool
from gnp.jobs.result import SeedsResult, SeriesResult
from gnp.jobs.runner import RunsFailed, reproduce
from gnp.jobs.slots import Slot, choose_slots, cpu_slots, gpu_slots

__all__ = [
    "ConfigMismatch",
    "FinishedRun",
    "Job",
    "Pool",
    "RunsFailed",
    "SeedsResult",
    "SeriesResult",
    "Slot",
    "check_configs",
    "choose_slots",
    "cpu_slots",
    "differences",
    "gpu_slots",
    "read_runs",
    "reproduce",
]
