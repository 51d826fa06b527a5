"""The GNP optimizer. ``GNP`` is the class; ``update_rule`` its arithmetic; ``passes`` what the
second forward pass must not do twice."""

from gnp.optim.gnp import GNP
from gnp.optim.passes import RandomState, frozen_norm_statistics

__all__ = ["GNP", "RandomState", "frozen_norm_statistics"]
