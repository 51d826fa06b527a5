"""The GNP optimizer. README.md beside this file is the reference page.

    reference.py     the method on a page: read it first
    gnp.py           the class, which composes what follows
    wrapper.py       an optimizer around another one: groups, state, checks
    bases.py         around several
    groups.py        a parameter group as the penalty sees it; penalty.py: wraps such groups
    chance.py        steps that have the penalty by chance
    climb.py         where g2 is taken, and how the weights come back
    climbing.py      which parameters climb: all, or those of the norms
    momentum.py      the climb along the base's momentum
    mix.py           the mix, and what stands in it for g1
    passes.py        what must not happen twice: buffers.py, draws.py
    unknown_norms.py batch norms that the optimizer was not told of
    loss_scale.py    GradScaler's, or none
    processes.py     DDP's, or one
    pieces.py        a batch as one piece or several
    first_pass.py    what the second pass needs of the first
    arrival.py       that gradients arrive in each pass, and only its own
    gradients.py     lists of gradients as a whole; update_rule.py: the arithmetic on tensors
    errors.py        what messages share
    schedules.py     r and α as functions of the step

Imports torch alone.
"""

from gnp.optim.buffers import average_norm_statistics, averaged_buffers, kept_buffers
from gnp.optim.draws import RandomState
from gnp.optim.gnp import GNP
from gnp.optim.passes import true_gradients
from gnp.optim.schedules import PenaltySchedule, late_penalty, penalty_warmup

__all__ = [
    "GNP",
    "PenaltySchedule",
    "RandomState",
    "average_norm_statistics",
    "averaged_buffers",
    "kept_buffers",
    "late_penalty",
    "penalty_warmup",
    "true_gradients",
]
