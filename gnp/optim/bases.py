"""Several optimizers that make one update together, as Muon for matrices and AdamW for the rest."""

from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer


class Borrower(Optimizer):
    """An optimizer whose groups and state belong to others: building it leaves them alone."""

    _building = False

    def _build(self, groups: list[dict[str, Any]], defaults: dict[str, Any]) -> None:
        # Optimizer.__init__ empties groups and state, and adds all groups again.
        self._building = True
        Optimizer.__init__(self, groups, defaults)
        self._building = False

    def __getstate__(self) -> dict[str, Any]:
        # Optimizer's own keeps three attributes and would lose the others.
        return {k: v for k, v in self.__dict__.items() if k != "step"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._patch_step_function()


class Bases(Borrower):
    """Their groups in a row, each updated by its own optimizer.

    ``state_dict`` is ``{"bases": [state dict, …]}``. A group that is added later says who updates
    it: ``add_param_group({"params": …, "base": 1})``.

    Raises:
        ValueError: no optimizer, or a parameter in two of them.
    """

    def __init__(self, bases: Sequence[Optimizer]):
        if not bases:
            raise ValueError("a list of base optimizers needs at least one")
        self.bases = tuple(bases)
        parameters = [id(p) for group in self.param_groups for p in group["params"]]
        if len(set(parameters)) < len(parameters):
            raise ValueError("a parameter is in two of the base optimizers; each needs its own")
        # What a scheduler may take for granted is what all of them have.
        common = set.intersection(*(set(base.defaults) for base in bases))
        self._build(self.param_groups, {k: bases[0].defaults[k] for k in common})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for base in self.bases for group in base.param_groups]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        if not self._building:
            raise AttributeError("the groups of several bases are set on each of them")

    @property
    def state(self) -> Any:
        return _States(*(base.state for base in self.bases))

    @state.setter
    def state(self, state: Any) -> None:
        if not self._building:
            raise AttributeError("the state of several bases is set on each of them")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self._building:
            return
        index = param_group.pop("base", None)
        if isinstance(index, bool) or index not in range(len(self.bases)):
            raise ValueError(
                f"with several bases a group says which one updates it: base=0 to "
                f"{len(self.bases) - 1}, not {index!r}"
            )
        self.bases[index].add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for base in self.bases:
            base.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for base in self.bases:
            base.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"bases": [base.state_dict() for base in self.bases]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        states = state_dict.get("bases", [state_dict])
        if len(states) != len(self.bases):
            raise ValueError(
                f"the state dict is of {len(states)} base optimizer(s), these are {len(self.bases)}"
            )
        for base, state in zip(self.bases, states, strict=True):
            base.load_state_dict(state)

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.bases))}]"


class _States(ChainMap[Any, Any]):
    """Of several optimizers. What is written goes where its parameter is."""

    def _of(self, parameter: Any) -> Any:
        try:
            return next(state for state in self.maps if parameter in state)
        except StopIteration:
            raise KeyError(parameter) from None

    def __getitem__(self, parameter: Any) -> Any:
        # ChainMap's would make an entry in the first, which is a defaultdict.
        return self._of(parameter)[parameter]

    def __setitem__(self, parameter: Any, value: Any) -> None:
        self._of(parameter)[parameter] = value


def bases_of(base: Optimizer) -> tuple[Optimizer, ...]:
    """The optimizers that a base is made of: itself, mostly."""
    return base.bases if isinstance(base, Bases) else (base,)
