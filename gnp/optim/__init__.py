"""The GNP optimizer. ``GNP`` is the class; ``update_rule`` its arithmetic; ``gradients`` lists of
gradients as a whole; ``passes`` what the second forward pass must not do twice; ``schedules`` how r
and α change over the steps. README.md beside this file is the reference page."""

from gnp.optim.gnp import GNP
from gnp.optim.passes import (
    RandomState,
    average_norm_statistics,
    averaged_norm_statistics,
    frozen_norm_statistics,
    true_gradients,
)
from gnp.optim.schedules import PenaltySchedule, penalty_warmup

__all__ = [
    "GNP",
    "PenaltySchedule",
    "RandomState",
    "average_norm_statistics",
    "averaged_norm_statistics",
    "frozen_norm_statistics",
    "penalty_warmup",
    "true_gradients",
]
