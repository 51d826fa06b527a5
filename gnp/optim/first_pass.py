"""What the second pass needs of the first."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gnp.optim.arrival import any_gradient
from gnp.optim.gradients import Gradients, with_gradient
from gnp.optim.groups import Group
from gnp.optim.passes import Context
from gnp.optim.processes import Reduction


@dataclass
class FirstPass:
    """g1, of which piece of the batch it is, and how the second pass is to be made."""

    gradients: Gradients
    piece: int
    draws: Context
    reduction: Reduction
    # Parameters whose g1 was given up, and counts as zero in the mix.
    _given_up: list[Tensor] = field(default_factory=list)

    def refuse_lone(self, groups: list[Group]) -> None:
        """Raises RuntimeError if this pass had gradients, and the second none at all."""
        had = self._given_up or any(g is not None for grads in self.gradients for g in grads)
        if had and not any_gradient(groups):
            raise RuntimeError(
                "no gradient has arrived in the second pass: it has to compute the loss and call "
                "backward() on it, as the first did"
            )

    def give_up(self, groups: list[Group], spent: list[bool]) -> None:
        """Let go of g1, and of its memory, in the groups that do not need it any more."""
        for i, group in enumerate(groups):
            if spent[i]:
                self._given_up += [p for p, _ in with_gradient(group.params, self.gradients[i])]
        self.gradients = [
            [None] * len(grads) if over else grads
            for grads, over in zip(self.gradients, spent, strict=True)
        ]

    def fill(self) -> None:
        """A parameter that had a gradient in this pass alone has one of zero, not none."""
        for p in self._given_up:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
