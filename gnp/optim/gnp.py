"""The GNP optimizer: gradient, climb, gradient, mix, return, base step.

Source: Zhao, Zhang, Hu, *Penalizing Gradient Norm for Efficiently Improving Generalization in
Deep Learning*, ICML 2022 (arXiv 2202.03599), Algorithm 1. SAM is Foret et al., arXiv 2010.01412.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnp.optim.passes import (
    RandomState,
    averaged_norm_statistics,
    frozen_norm_statistics,
    true_gradients,
)
from gnp.optim.update_rule import (
    add_l2_,
    climb_,
    climb_scale,
    clip_scale,
    global_norm,
    mix_,
)

GROUP_SETTINGS = ("r", "alpha", "l2")
BATCH_STATISTICS = ("first", "both")

Closure = Callable[[], Tensor]


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
        l2: coefficient of an L2 term ½·l2·‖θ‖² inside the loss, added to g1 (and so to the
            direction) and, at the climbed weights, to g2, over all parameters (the official
            code's weight decay). The base's own ``weight_decay`` acts on g instead: use one.
        normalize_reference: mix g1/‖g1‖ in place of g1 (the official code's default). g's
            length then no longer follows ‖g1‖, and α = 0 with r > 0 steps along g1/‖g1‖; r = 0
            stays the base optimizer.
        epsilon: added to ‖g1‖ in the climb and in ``normalize_reference``. 0 in the official
            code; 1e-12 in many SAM ports.
        batch_statistics: passes that count in the running statistics of ``model``'s
            normalisation layers, "first" (the official code) or "both".
        replay_draws: give the second pass the random draws (dropout, shake) of the first, as the
            official code does. Without it g2 − g1 contains the noise of two different draws.
        true_gradient: in the first pass, modules of ``model`` with an attribute
            ``true_gradient`` (Shake-Shake, ShakeDrop) give the gradient of the computed loss
            (the official code); the second pass is always their ordinary one.
        grad_scaler: the ``torch.amp.GradScaler`` with which the closure scales its loss (fp16).
            ``step`` then unscales, clips and skips the update if a gradient overflowed in either
            pass; calling ``grad_scaler.update()`` afterwards stays with the training loop.

    Every parameter group may have its own ``r``, ``alpha`` and ``l2`` (``gnp_r``, ``gnp_alpha``
    where the base has a setting of that name itself, as RMSprop has); ‖g1‖ is one norm over all
    groups.
    A parameter that has no gradient in a pass counts as having gradient zero in it. Beside the
    parameters and the two gradients one copy of the parameters is held during a step.

    Raises:
        TypeError: ``base`` is not an optimizer or calls the closure itself, ``model`` is not a
            module, or a number is missing.
        ValueError: r, l2 or ε is negative, α outside [0, 1], one of them not finite, or
            ``true_gradient`` without ``model``.
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
        l2: float = 0.0,
        normalize_reference: bool = False,
        epsilon: float = 0.0,
        batch_statistics: str = "first",
        replay_draws: bool = True,
        true_gradient: bool = False,
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
        if batch_statistics not in BATCH_STATISTICS:
            raise ValueError(
                f"batch_statistics must be 'first' or 'both', not {batch_statistics!r}"
            )
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"epsilon must be finite and ≥ 0, not {epsilon}")
        if true_gradient and model is None:
            raise ValueError("true_gradient=True needs model=…, whose shake layers it switches")
        # RMSprop and ASGD have an alpha of their own in their groups.
        self._keys = {k: f"gnp_{k}" if k in base.defaults else k for k in GROUP_SETTINGS}
        own = dict(zip(self._keys.values(), (r, alpha, l2), strict=True))
        for group in base.param_groups:  # all of them before anything is changed
            self._check_group({**own, **group})
        self._check_group(own)
        self.base = base
        self.model = model
        self.max_grad_norm = max_grad_norm
        self.grad_scaler = grad_scaler
        self.normalize_reference = normalize_reference
        self.epsilon = epsilon
        self.batch_statistics = batch_statistics
        self.replay_draws = replay_draws
        self.true_gradient = true_gradient
        state, groups = base.state, list(base.param_groups)
        # Optimizer.__init__ empties param_groups and state, which are the base's, and adds the
        # same group dicts back.
        super().__init__(groups, {**base.defaults, **own})
        self.state = state

    # ------------------------------------------------------------------ the step

    def step(self, closure: Closure | Sequence[Closure] | None = None) -> Tensor:
        """One update. Returns the loss of the first pass, at the weights before the step.

        Args:
            closure: zeroes the gradients, computes the loss on one fixed batch, calls
                ``backward`` and returns the loss. Called twice (once if α = 0 or r = 0 in every
                group): prepare the batch outside it.

                A sequence of closures, each for an equal piece of the batch, is m-sharpness
                (Foret et al., §4.1): each piece climbs along its own gradient, and the mean of
                the pieces' g makes the step, as on several devices that each climb by
                themselves. ``model``'s running statistics become the mean over the pieces too.

        Raises:
            TypeError: no closure.
            RuntimeError: sparse gradients.

        If a pass raises, weights, statistics and random generators are as after the first pass
        and the base optimizer has made no step.
        """
        closures = [closure] if callable(closure) else closure
        if not isinstance(closures, Sequence) or not closures or not all(map(callable, closures)):
            raise TypeError(
                "GNP evaluates the gradient twice: call step(closure) with a function that zeroes "
                f"the gradients, computes the loss, calls backward() and returns it (or a sequence "
                f"of them), not {_describe(closure)}"
            )
        if len(closures) == 1:
            loss = self._penalized_gradient(closures[0])
        else:
            loss = self._mean_over_pieces(closures)
        self._base_step()
        return loss

    def _mean_over_pieces(self, closures: Sequence[Closure]) -> Tensor:
        """``p.grad`` ← mean of the pieces' g; returns the mean loss."""
        losses, total = [], None
        with averaged_norm_statistics(self.model, len(closures)) as after_piece:
            for closure in closures:
                losses.append(self._penalized_gradient(closure))
                after_piece()
                g = self._take_gradients()
                total = g if total is None else [_add(*pair) for pair in zip(total, g, strict=True)]
        for group, grads in zip(self.param_groups, total, strict=True):
            for p, grad in zip(group["params"], grads, strict=True):
                p.grad = None if grad is None else grad.div_(len(closures))
        return torch.stack(losses).mean()

    def _penalized_gradient(self, closure: Closure) -> Tensor:
        """``p.grad`` ← g for one closure; returns its first loss."""
        closure = torch.enable_grad()(closure)
        single = all(0 in (self._alpha(group), self._r(group)) for group in self.param_groups)
        draws = None
        if self.replay_draws and not single:
            draws = RandomState(p.device for p in self._parameters())
        with true_gradients(self.model) if self.true_gradient else nullcontext():
            loss = closure()
        self._add_l2()
        if single:
            if self.normalize_reference:
                self._normalize_gradients()
            return loss
        g1 = self._take_gradients()
        norm = _norm(g1)
        with self._climbed(g1, norm):
            with self._second_pass(draws):
                closure()
            self._add_l2()  # of the climbed weights
        self._mix_into_gradients(g1, norm)
        return loss

    @torch.no_grad()
    def _add_l2(self) -> None:
        """p.grad ← p.grad + l2 · p, at the weights as they are now, in every group that has l2."""
        for group in self.param_groups:
            l2 = group[self._keys["l2"]]
            if l2 == 0:
                continue
            weights = [p for p in group["params"] if p.requires_grad]
            for p in weights:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
            pairs = [(p, p.grad) for p in weights]
            for device_weights, grads in _by_device_and_dtype(pairs):
                add_l2_(grads, device_weights, self._scaled(l2, grads[0].device))

    def _scaled(self, value: float, device: torch.device) -> float | Tensor:
        """A value in the units of the gradients, which the grad scaler may have scaled."""
        if self.grad_scaler is None or not self.grad_scaler.is_enabled() or value == 0:
            return value
        # Asking the scaler for its scale would wait for the device.
        return self.grad_scaler.scale(torch.full((), value, device=device))

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
    def _climbed(self, g1: list[list[Tensor | None]], norm: Tensor) -> Iterator[None]:
        """Inside, the weights are θ + r · g1/‖g1‖; afterwards θ again, bit for bit."""
        epsilon = self._scaled(self.epsilon, norm.device)
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
                        scale = climb_scale(norm, self._r(group), epsilon)
                        climb_(device_weights, device_grads, scale.to(device_weights[0].device))
                with torch.enable_grad():
                    yield
            finally:
                for device_weights, copies in saved:
                    torch._foreach_copy_(device_weights, copies)

    @contextmanager
    def _second_pass(self, draws: RandomState | None) -> Iterator[None]:
        with ExitStack() as stack:
            if draws is not None:
                stack.enter_context(draws.replayed())
            if self.model is not None and self.batch_statistics == "first":
                stack.enter_context(frozen_norm_statistics(self.model))
            yield

    @torch.no_grad()
    def _mix_into_gradients(self, g1: list[list[Tensor | None]], norm: Tensor) -> None:
        """p.grad ← (1 − α) g1 + α p.grad; a missing gradient counts as zero."""
        if self.normalize_reference:
            self._normalize(g1, norm)
        for group, first in zip(self.param_groups, g1, strict=True):
            for p, g in zip(group["params"], first, strict=True):
                if g is not None and p.grad is None:
                    p.grad = torch.zeros_like(g)
                elif g is None and p.grad is not None:
                    p.grad.mul_(self._alpha(group))
            second = [p.grad for p in group["params"]]
            for second_grads, first_grads in _by_device_and_dtype(_with_gradient(second, first)):
                mix_(first_grads, second_grads, self._alpha(group))

    @torch.no_grad()
    def _normalize_gradients(self) -> None:
        """p.grad ← p.grad/‖g1‖ in the groups with r > 0; r = 0 is the base optimizer."""
        grads = [[p.grad for p in group["params"]] for group in self.param_groups]
        norm = _norm(grads)
        moved = zip(grads, self.param_groups, strict=True)
        self._normalize([g for g, group in moved if self._r(group) > 0], norm)

    def _normalize(self, gradients: list[list[Tensor | None]], norm: Tensor) -> None:
        """g ← g/(‖g1‖ + ε), in place and in the scaler's units; zero gradients stay zero."""
        epsilon = self._scaled(self.epsilon, norm.device)
        _scale_(gradients, climb_scale(norm, self._scaled(1.0, norm.device), epsilon))

    @torch.no_grad()
    def _clip(self, max_norm: float) -> None:
        grads = [[p.grad for p in self._parameters()]]
        _scale_(grads, clip_scale(_norm(grads), max_norm))

    def _base_step(self) -> None:
        scaler = self.grad_scaler
        scaled = scaler is not None and scaler.is_enabled()
        if scaled:
            scaler.unscale_(self.base)
        if self.max_grad_norm is not None:
            self._clip(self.max_grad_norm)
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
        """Add a group; ``r``, ``alpha`` and ``l2`` in it override the optimizer's.

        Raises:
            ValueError: its r or l2 is negative, its α outside [0, 1], or one of them not finite.
        """
        for key in self._keys.values():
            param_group.setdefault(key, self.defaults[key])
        self._check_group(param_group)
        self.base.add_param_group(param_group)

    def penalty(self, group: dict) -> tuple[float, float]:
        """(r, α) of a group, whatever their keys are called in it."""
        return self._r(group), self._alpha(group)

    def set_penalty(self, group: dict, r: float, alpha: float) -> None:
        """Set r and α of a group.

        Raises:
            ValueError: r is negative, α outside [0, 1], or either not finite.
        """
        values = {self._keys["r"]: r, self._keys["alpha"]: alpha}
        self._check_group({**group, **values})
        group.update(values)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        """The base's state dict; its groups carry ``r``, ``alpha`` and ``l2`` too."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state dict of a GNP or, keeping this one's r, α and l2, of a bare base optimizer.

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
        for name, upper in (("r", math.inf), ("alpha", 1.0), ("l2", math.inf)):
            value = group[self._keys[name]]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, not {_describe(value)}")
            if not (math.isfinite(value) and 0 <= value <= upper):
                expected = "≥ 0" if upper == math.inf else "from 0 (base optimizer) to 1 (SAM)"
                raise ValueError(f"{name} must be finite and {expected}, not {value}")


def _describe(value: object) -> str:
    return value.__name__ + " (a class)" if isinstance(value, type) else repr(type(value).__name__)


def _norm(gradients: list[list[Tensor | None]]) -> Tensor:
    return global_norm([g for grads in gradients for g in grads if g is not None])


def _scale_(gradients: list[list[Tensor | None]], scale: Tensor) -> None:
    """Multiply all of them by a 0-d tensor, in place."""
    present = [(g, g) for grads in gradients for g in grads if g is not None]
    for same_device, _ in _by_device_and_dtype(present):
        torch._foreach_mul_(same_device, scale.to(same_device[0].device))


def _add(left: list[Tensor | None], right: list[Tensor | None]) -> list[Tensor | None]:
    """Sums of two pieces' gradients, into the left ones where both are present."""
    return [
        b if a is None else a if b is None else a.add_(b) for a, b in zip(left, right, strict=True)
    ]


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
