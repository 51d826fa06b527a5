"""The GNP optimizer: gradient, climb, gradient, mix, return, base step.

Source: Zhao, Zhang, Hu, *Penalizing Gradient Norm for Efficiently Improving Generalization in
Deep Learning*, ICML 2022 (arXiv 2202.03599), Algorithm 1. SAM is Foret et al., arXiv 2010.01412.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnp.optim.passes import RandomState, frozen_norm_statistics
from gnp.optim.update_rule import climb_, climb_scale, global_norm, mix_


class GNP(Optimizer):
    r"""Gradient norm penalty around any ``torch.optim`` optimizer.

    Minimises L + λ‖∇L‖ with λ = α·r, by a gradient that needs no second derivative::

        g1 = ∇L(θ)      g2 = ∇L(θ + r · g1/‖g1‖)      g = (1 − α) g1 + α g2

    and gives g to the base optimizer. On a quadratic L this is exactly ∇(L + αr‖∇L‖).

    Degenerate cases: α = 0 is the base optimizer, bit for bit, at its cost (one closure call);
    α = 1 is SAM with ρ = r; r = 0, for any α, is the base optimizer too; where the gradient is
    zero there is no climb.

    >>> import torch
    >>> from gnp.optim import GNP
    >>> model = torch.nn.Linear(2, 1)
    >>> x, y = torch.ones(4, 2), torch.zeros(4, 1)
    >>> base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> optimizer = GNP(base, r=0.1, alpha=0.8, model=model)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure).item()
    >>> optimizer.step(closure).item() < first
    True

    Args:
        base: the optimizer that makes the update from g. Its ``param_groups`` and ``state`` are
            shared, so learning-rate schedulers and ``state_dict`` work on the wrapper.
            LBFGS and others that call the closure themselves cannot be a base.
        r: length of the climb, ≥ 0, in the units of the weights. 0.1 in the paper's recipes.
        alpha: α, from 0 to 1; the paper recommends 0.8. The penalty's λ is α·r.
        model: the network whose normalisation layers must not count the second pass. Without it
            their running statistics see each batch twice.
        max_grad_norm: clip g, once, to this global norm before the base step (as the official
            code does; g1 and g2 are not clipped). None does not clip.
        grad_scaler: the ``torch.amp.GradScaler`` with which the closure scales its loss (fp16).
            ``step`` then unscales, clips and skips the update if a gradient overflowed in either
            pass; calling ``grad_scaler.update()`` afterwards stays with the training loop.

    Every parameter group may have its own ``r`` and ``alpha`` (``gnp_r``, ``gnp_alpha`` where the
    base has a setting of that name itself, as RMSprop has); ‖g1‖ is one norm over all groups.
    A parameter that has no gradient in a pass counts as having gradient zero in it. Beside the
    parameters and the two gradients one copy of the parameters is held during a step.

    Raises:
        TypeError: ``base`` is not an optimizer or calls the closure itself, ``model`` is not a
            module, or a number is missing.
        ValueError: r is negative, α outside [0, 1], or either of them not finite.
    """

    def __init__(
        self,
        base: Optimizer,
        r: float = 0.1,
        alpha: float = 0.8,
        *,
        model: nn.Module | None = None,
        max_grad_norm: float | None = None,
        grad_scaler: torch.amp.GradScaler | None = None,
    ):
        if not isinstance(base, Optimizer):
            raise TypeError(
                f"base must be a built torch.optim.Optimizer such as SGD(model.parameters(), "
                f"lr=0.1), not {_describe(base)}"
            )
        closure = inspect.signature(base.step).parameters.get("closure")
        if isinstance(base, GNP) or (closure is not None and closure.default is closure.empty):
            raise TypeError(
                f"{type(base).__name__} evaluates the closure itself and cannot be a base; use one "
                f"that needs only gradients, such as SGD or AdamW"
            )
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {_describe(model)}")
        if max_grad_norm is not None and not 0 < max_grad_norm < math.inf:
            raise ValueError(f"max_grad_norm must be positive and finite, not {max_grad_norm}")
        # RMSprop and ASGD have an alpha of their own in their groups.
        self._keys = {k: f"gnp_{k}" if k in base.defaults else k for k in ("r", "alpha")}
        own = {self._keys["r"]: r, self._keys["alpha"]: alpha}
        for group in base.param_groups:  # all of them before anything is changed
            self._check_group({**own, **group})
        self._check_group(own)
        self.base = base
        self.model = model
        self.max_grad_norm = max_grad_norm
        self.grad_scaler = grad_scaler
        state, groups = base.state, list(base.param_groups)
        # Optimizer.__init__ empties param_groups and state, which are the base's, and adds the
        # same group dicts back.
        super().__init__(groups, {**base.defaults, **own})
        self.state = state

    # ------------------------------------------------------------------ the step

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        """One update. Returns the loss of the first pass, at the weights before the step.

        Args:
            closure: zeroes the gradients, computes the loss on one fixed batch, calls
                ``backward`` and returns the loss. Called twice (once if α = 0 or r = 0 in every
                group): prepare the batch outside it.

        Raises:
            TypeError: no closure.
            RuntimeError: sparse gradients.

        If a pass raises, weights, statistics and random generators are as after the first pass
        and the base optimizer has made no step.
        """
        if not callable(closure):
            raise TypeError(
                "GNP evaluates the gradient twice: call step(closure) with a function that zeroes "
                f"the gradients, computes the loss, calls backward() and returns it, not "
                f"{_describe(closure)}"
            )
        closure = torch.enable_grad()(closure)
        if self._single_pass():
            loss = closure()
        else:
            draws = RandomState(p.device for p in self._parameters())
            loss = closure()
            g1 = self._take_gradients()
            with self._climbed(g1), self._second_pass(draws):
                closure()
            self._mix_into_gradients(g1)
        self._base_step()
        return loss

    def _single_pass(self) -> bool:
        return all(0 in (self._alpha(group), self._r(group)) for group in self.param_groups)

    def _r(self, group: dict) -> float:
        return group[self._keys["r"]]

    def _alpha(self, group: dict) -> float:
        return group[self._keys["alpha"]]

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    def _take_gradients(self) -> list[list[Tensor | None]]:
        """The gradients, a list a group, taken away from the parameters.

        Taken away, so that a closure that zeroes in place cannot overwrite g1.
        """
        taken = []
        for group in self.param_groups:
            taken.append([p.grad for p in group["params"]])
            for p in group["params"]:
                p.grad = None
        sparse = [g for grads in taken for g in grads if g is not None and g.is_sparse]
        if sparse:
            raise RuntimeError("GNP needs dense gradients; build the embedding with sparse=False")
        return taken

    @contextmanager
    def _climbed(self, g1: list[list[Tensor | None]]) -> Iterator[None]:
        """Inside, the weights are θ + r · g1/‖g1‖; afterwards θ again, bit for bit."""
        norm = global_norm([g for grads in g1 for g in grads if g is not None])
        saved: list[tuple[list[Tensor], list[Tensor]]] = []  # (weights, their copies)
        with torch.no_grad():
            try:
                for group, grads in zip(self.param_groups, g1, strict=True):
                    if self._r(group) == 0:
                        continue
                    pairs = _with_gradient(group["params"], grads)
                    for device_weights, device_grads in _by_device_and_dtype(pairs):
                        # Rounding makes θ + s − s differ from θ: a copy is the way back.
                        saved.append((device_weights, [w.clone() for w in device_weights]))
                        scale = climb_scale(norm, self._r(group)).to(device_weights[0].device)
                        climb_(device_weights, device_grads, scale)
                with torch.enable_grad():
                    yield
            finally:
                for device_weights, copies in saved:
                    torch._foreach_copy_(device_weights, copies)

    @contextmanager
    def _second_pass(self, draws: RandomState) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(draws.replayed())
            if self.model is not None:
                stack.enter_context(frozen_norm_statistics(self.model))
            yield

    @torch.no_grad()
    def _mix_into_gradients(self, g1: list[list[Tensor | None]]) -> None:
        """p.grad ← (1 − α) g1 + α p.grad; a missing gradient counts as zero."""
        for group, first in zip(self.param_groups, g1, strict=True):
            for p, g in zip(group["params"], first, strict=True):
                if g is not None and p.grad is None:
                    p.grad = torch.zeros_like(g)
                elif g is None and p.grad is not None:
                    p.grad.mul_(self._alpha(group))
            second = [p.grad for p in group["params"]]
            for second_grads, first_grads in _by_device_and_dtype(_with_gradient(second, first)):
                mix_(first_grads, second_grads, self._alpha(group))

    def _base_step(self) -> None:
        scaler = self.grad_scaler
        scaled = scaler is not None and scaler.is_enabled()
        if scaled:
            scaler.unscale_(self.base)
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self._parameters()), self.max_grad_norm)
        if scaled:
            scaler.step(self.base)  # does nothing if unscale_ met an inf or a NaN
        else:
            self.base.step()

    # ------------------------------------------------------------------ one set of groups

    @property
    def param_groups(self) -> list[dict]:
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict]) -> None:
        self.base.param_groups = groups

    @property
    def state(self) -> dict:
        return self.base.state

    @state.setter
    def state(self, state: dict) -> None:
        self.base.state = state

    def add_param_group(self, param_group: dict) -> None:
        """Add a group; ``r`` and ``alpha`` in it override the optimizer's.

        Raises:
            ValueError: its r is negative, its α outside [0, 1], or either not finite.
        """
        for key in self._keys.values():
            param_group.setdefault(key, self.defaults[key])
        self._check_group(param_group)
        self.base.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        """The base's state dict; its groups carry ``r`` and ``alpha`` too."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state dict of a GNP or, keeping this one's r and α, of a bare base optimizer.

        Raises:
            ValueError: other groups or sizes than this optimizer's (from the base).
        """
        kept = [{key: g[key] for key in self._keys.values()} for g in self.param_groups]
        self.base.load_state_dict(state_dict)
        for group, values in zip(self.param_groups, kept, strict=True):
            for name, value in values.items():
                group.setdefault(name, value)
            self._check_group(group)

    def __getstate__(self) -> dict:
        # Optimizer's own keeps three attributes and would lose the base.
        return {k: v for k, v in self.__dict__.items() if k != "step"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._patch_step_function()

    def __repr__(self) -> str:
        group = self.param_groups[0]
        return f"GNP(r={self._r(group)}, alpha={self._alpha(group)}, base={self.base!r})"

    def _check_group(self, group: dict) -> None:
        for name, upper in (("r", math.inf), ("alpha", 1.0)):
            value = group[self._keys[name]]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, not {_describe(value)}")
            if not (math.isfinite(value) and 0 <= value <= upper):
                expected = "≥ 0" if upper == math.inf else "from 0 (base optimizer) to 1 (SAM)"
                raise ValueError(f"{name} must be finite and {expected}, not {value}")


def _describe(value: object) -> str:
    return value.__name__ + " (a class)" if isinstance(value, type) else repr(type(value).__name__)


def _with_gradient(
    tensors: list[Tensor], grads: list[Tensor | None]
) -> list[tuple[Tensor, Tensor]]:
    return [(t, g) for t, g in zip(tensors, grads, strict=True) if g is not None]


def _by_device_and_dtype(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[list, list]]:
    """Pairs of tensors as pairs of lists, each list of one device and dtype.

    ``torch._foreach_*`` with a 0-d tensor on one device needs lists of that device.
    """
    lists: dict[tuple, tuple[list, list]] = {}
    for left, right in pairs:
        group = lists.setdefault((left.device, left.dtype), ([], []))
        group[0].append(left)
        group[1].append(right)
    return list(lists.values())
