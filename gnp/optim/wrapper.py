"""An optimizer around another one, the base, with settings of its own in the base's groups."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from gnp.optim.bases import Bases, Borrower, bases_of
from gnp.optim.errors import describe

Init = TypeVar("Init", bound=Callable[..., None])

# An optimizer → its groups (by their first parameter) → keys that they have from the arguments of a
# wrapper, and not by themselves. It cannot stand in the groups, which are in every checkpoint.
_FROM_ARGUMENTS: "WeakKeyDictionary[Optimizer, dict[int, set[str]]]" = WeakKeyDictionary()


class OptimizerWrapper(Borrower):
    """Shares ``param_groups`` and ``state`` with ``base``, so that learning-rate schedulers work on
    the wrapper and its ``state_dict`` is the base's. What a step is, subclasses say.

    Args:
        base: a built ``torch.optim.Optimizer``, or a sequence of them (``Bases``).
        own: settings that every group gets beside the base's, with their defaults. Where the base
            has a setting of that name itself (RMSprop's ``alpha``), the key has ``prefix`` before
            it: see ``own_setting``. What a group has already stays, but for what it has from
            the ``own`` of an earlier wrapper.
        kept: the same, but they stay from an earlier wrapper too: what is counted there.

    Raises:
        TypeError: ``base`` is not an optimizer, is a wrapper itself or evaluates the closure
            itself; or what ``_check_own`` raises for the settings of a group.
    """

    prefix = "own_"
    base: Optimizer

    def __init__(
        self,
        base: Optimizer | Sequence[Optimizer],
        own: Mapping[str, Any],
        kept: Mapping[str, Any],
    ):
        checked_bases(base)
        base = Bases(base) if isinstance(base, Sequence) else base
        theirs = {name for part in bases_of(base) for name in part.defaults}
        ours = {**own, **kept}
        self._keys = {name: self.prefix + name if name in theirs else name for name in ours}
        defaults = {self._keys[name]: value for name, value in ours.items()}
        missing = [
            {
                k: v
                for k, v in defaults.items()
                if k not in group or k in _from_arguments(part, group)
            }
            for part, group in _groups(base)
        ]
        for (_, group), more in zip(_groups(base), missing, strict=True):
            self._check_group({**group, **more})  # all of them before anything is changed
        self._check_group(defaults)
        self.base = base
        renewed = {self._keys[name] for name in own}
        for (part, group), more in zip(_groups(base), missing, strict=True):
            group.update(more)
            _remember(part, group, renewed.intersection(more))
        self._build(base.param_groups, {**base.defaults, **defaults})

    def _fix(self, **values: Any) -> None:
        """Attributes that can be read, and not be set: what was made of them would not follow."""
        fixed = self.__dict__.get("_fixed", frozenset())
        self.__dict__.update(values, _fixed=fixed | values.keys())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_fixed", ()):
            raise AttributeError(
                f"{type(self).__name__}.{name} is fixed when the optimizer is built; build another "
                f"one around the same base"
            )
        super().__setattr__(name, value)

    def _check_own(self, settings: dict[str, Any]) -> None:
        """Refuse what a group's own settings (all of them, by name) cannot be."""
        raise NotImplementedError

    # ------------------------------------------------------------------ one set of groups

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        if not self._building:
            self.base.param_groups = groups

    @property
    def state(self) -> Any:
        return self.base.state

    @state.setter
    def state(self, state: Any) -> None:
        if not self._building:
            self.base.state = state

    def own_setting(self, group: dict[str, Any], name: str) -> Any:
        """The value of one of the wrapper's settings in a group, whatever its key is there."""
        return group[self._keys[name]]

    def set_own(self, group: dict[str, Any], **values: Any) -> None:
        """Change some of the wrapper's settings in a group; checked before any is changed."""
        renamed = {self._keys[name]: value for name, value in values.items()}
        self._check_group({**group, **renamed})
        group.update(renamed)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; the wrapper's settings in it override the optimizer's.

        Raises:
            TypeError, ValueError: one of them is what it cannot be.
        """
        missing = {key: self.defaults[key] for key in self._keys.values() if key not in param_group}
        param_group.update(missing)
        self._check_group(param_group)
        if self._building:
            return
        self.base.add_param_group(param_group)
        for part, group in _groups(self.base):
            if group is param_group:
                _remember(part, group, missing)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def train(self) -> None:
        """Before training, where the base has a ``train`` (schedule-free ones, which train at
        other weights than those that are evaluated and saved)."""
        self._switch("train")

    def eval(self) -> None:
        """Before evaluating or saving, where the base has an ``eval``."""
        self._switch("eval")

    def _switch(self, mode: str) -> None:
        for part in bases_of(self.base):
            if callable(switch := getattr(part, mode, None)):
                switch()

    # ------------------------------------------------------------------ one state

    def __getstate__(self) -> dict[str, Any]:
        marks = [_from_arguments(part, group) for part, group in _groups(self.base)]
        return {**super().__getstate__(), "_from_arguments": marks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        marks = state.pop("_from_arguments")
        super().__setstate__(state)
        for (part, group), keys in zip(_groups(self.base), marks, strict=True):
            _remember(part, group, keys)

    def state_dict(self) -> dict[str, Any]:
        """The base's state dict; its groups carry the wrapper's settings too.

        Hooks that were registered on this optimizer see it and its state dict, those on the base
        see the base.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state_dict = self.base.state_dict()
        for post_hook in self._optimizer_state_dict_post_hooks.values():
            changed = post_hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of such a wrapper or, keeping this one's own settings, of a bare base
        optimizer.

        Raises:
            ValueError: other groups or sizes than this optimizer's (from the base).
        """
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        kept = [{key: g[key] for key in self._keys.values()} for g in self.param_groups]
        self.base.load_state_dict(state_dict)
        for group, values in zip(self.param_groups, kept, strict=True):
            for key, value in values.items():
                group.setdefault(key, value)
            self._check_group(group)
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def _check_group(self, group: dict[str, Any]) -> None:
        self._check_own({name: group[key] for name, key in self._keys.items()})


def _groups(base: Optimizer) -> Iterator[tuple[Optimizer, dict[str, Any]]]:
    """Its groups, each with the optimizer that updates it."""
    return ((part, group) for part in bases_of(base) for group in part.param_groups)


def _from_arguments(part: Optimizer, group: dict[str, Any]) -> set[str]:
    return _FROM_ARGUMENTS.get(part, {}).get(_identity(group), set())


def _remember(part: Optimizer, group: dict[str, Any], keys: Iterable[str]) -> None:
    _FROM_ARGUMENTS.setdefault(part, {})[_identity(group)] = set(keys)


def _identity(group: dict[str, Any]) -> int:
    return id(next(iter(group["params"]), None))


def checked_bases(base: Optimizer | Sequence[Optimizer]) -> tuple[Optimizer, ...]:
    """As a tuple.

    Raises:
        TypeError: one of them cannot be a base.
    """
    parts = tuple(base) if isinstance(base, Sequence) else (base,)
    for part in parts:
        _check_base(part)
    return parts


def refusing_parameters(init: Init) -> Init:
    """``__init__(self, base, …)`` that looks at ``base`` before Python looks at the other
    arguments: of ``GNP(model.parameters(), lr=0.1)`` the ``lr`` is not what is wrong."""

    @wraps(init)
    def looked_at(self: Any, *args: Any, **kwargs: Any) -> None:
        if args or "base" in kwargs:
            checked_bases(args[0] if args else kwargs["base"])
        init(self, *args, **kwargs)

    return cast(Init, looked_at)


def _check_base(base: object) -> None:
    if not isinstance(base, Optimizer):
        raise TypeError(
            f"base must be a built torch.optim.Optimizer, as in GNP(SGD(model.parameters(), "
            f"lr=0.1), r=0.1), not {describe(base)}"
        )
    if missing := [n for n in ("param_groups", "state", "defaults") if not hasattr(base, n)]:
        raise TypeError(
            f"{type(base).__name__} has no {' and no '.join(missing)}, which every torch optimizer "
            f"has; use the optimizer that it wraps as the base"
        )
    closure = inspect.signature(base.step).parameters.get("closure")
    if isinstance(base, OptimizerWrapper) or (
        closure is not None and closure.default is closure.empty
    ):
        raise TypeError(
            f"{type(base).__name__} evaluates the closure itself and cannot be a base; use one "
            f"that needs only gradients, such as SGD or AdamW"
        )
