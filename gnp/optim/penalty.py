"""An optimizer around a base whose groups have a penalty: r, α, and what goes with them."""

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from gnp.optim.chance import Chance
from gnp.optim.groups import Group, check_settings, groups_of
from gnp.optim.wrapper import OptimizerWrapper


class PenaltyWrapper(OptimizerWrapper):
    """The groups of ``GNP``, and whether the step that is being made has a penalty."""

    prefix = "gnp_"

    def __init__(self, base: Optimizer | Sequence[Optimizer], own: dict[str, Any], chance: Chance):
        self._chance = chance
        super().__init__(base, {**own, "climbs": True}, kept=chance.own)

    def penalty(self, group: dict[str, Any]) -> tuple[float, float]:
        """(r, α) of a group, whatever their keys are called in it."""
        return self.own_setting(group, "r"), self.own_setting(group, "alpha")

    def set_penalty(self, group: dict[str, Any], r: float, alpha: float) -> None:
        """Set r and α of a group.

        Raises:
            ValueError: r is negative, α outside [0, 1], or either not finite.
        """
        self.set_own(group, r=r, alpha=alpha)

    def _groups(self) -> list[Group]:
        return groups_of(self.base, self._keys)

    def _has_penalty(self) -> bool:
        groups = self._groups()  # one may climb, and another be the one that mixes
        penalised = any(g.r > 0 for g in groups) and any(g.alpha > 0 for g in groups)
        return self._chance.drawn and penalised

    def _draw(self) -> None:
        """At the begin of a step: has it the penalty? (``probability``)"""
        self._chance.draw(self._own(self.param_groups[0]))

    def _count(self) -> None:
        """At its end."""
        for group in self.param_groups:
            for name, value in self._chance.after(self._own(group)).items():
                group[self._keys[name]] = value

    def _own(self, group: dict[str, Any]) -> dict[str, Any]:
        return {name: group[key] for name, key in self._keys.items()}

    def _check_own(self, settings: dict[str, Any]) -> None:
        check_settings(settings)

    def __repr__(self) -> str:
        r, alpha = self.penalty(self.param_groups[0])
        return f"GNP(r={r}, alpha={alpha}, base={self.base!r})"
