"""The GNP optimizer. ``GNP`` is the class; ``update_rule`` its arithmetic; ``passes`` what the
second forward pass must not do twice; ``schedules`` how r and α change over the steps."""

from gnp.optim.gnp import GNP
from gnp.optim.passes import (
    RandomState,
    averaged_norm_statistics,
    frozen_norm_statistics,
    true_gradients,
)
from gnp.optim.schedules import PenaltySchedule, penalty_warmup

__all__ = [
    "GNP",
    "PenaltySchedule",
    "RandomState",
    "averaged_norm_statistics",
    "frozen_norm_statistics",
    "penalty_warmup",
    "true_gradients",
]
