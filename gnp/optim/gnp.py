"""The GNP optimizer: gradient, climb, gradient, mix, return, base step.

Source: Zhao, Zhang, Hu, *Penalizing Gradient Norm for Efficiently Improving Generalization in
Deep Learning*, ICML 2022 (arXiv 2202.03599), Algorithm 1. SAM is Foret et al., arXiv 2010.01412.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from gnp.optim.gradients import (
    Gradients,
    add,
    average_gradients,
    by_device_and_dtype,
    current_gradients,
    give_gradients,
    norm_of,
    refuse_shared_memory,
    scale_,
    take_gradients,
    with_gradient,
)
from gnp.optim.passes import (
    NormStatistics,
    RandomState,
    averaged_norm_statistics,
    frozen_norm_statistics,
    true_gradients,
)
from gnp.optim.update_rule import (
    adaptive_,
    add_l2_,
    climb_,
    climb_scale,
    clip_scale,
    mix_,
)

_Saved = tuple[list[Tensor], list[Tensor]]  # weights, their copies
GROUP_SETTINGS = ("r", "alpha", "l2", "adaptive")
BATCH_STATISTICS = ("first", "both")

Closure = Callable[[], Tensor]


@dataclass
class _FirstPass:
    """What the second pass needs of the first."""

    gradients: Gradients  # g1
    draws: RandomState | None
    # Parameters whose g1 was given up, and counts as zero in the mix.
    without_gradient: list[Tensor] = field(default_factory=list)


@dataclass
class _Direction:
    """A direction that is climbed in for several steps."""

    climb: Gradients  # of unit length (under ASAM's norm where that is on)
    reference: Gradients | None  # g1/‖g1‖, for ``normalize_reference``


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
            length then no longer follows ‖g1‖, and α = 0 with r > 0 steps along g1/‖g1‖; groups
            with r = 0 keep g1.
        adaptive: climb r · T²g1/‖T g1‖ with T = |θ| + ``adaptive_eta``, elementwise: ASAM (Kwon
            et al., ICML 2021, arXiv 2102.11600; their code scales the weights and not the
            biases: give those a group with ``adaptive=False``). r is in other units then; 0.5 to
            2 in their recipes, with η = 0.01. The mix takes g1 itself.
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
            pass, and ``model``'s running statistics are put back; calling
            ``grad_scaler.update()`` afterwards stays with the training loop.
        direction_every: measure the direction of the climb every so many steps (LookSAM's
            economy, Liu et al., CVPR 2022, arXiv 2203.02714, by other means) and use it for the
            steps between, which take one gradient, at θ + αr·d with d = g1/‖g1‖ of then: to first
            order in r this is the mix. A step costs 1 + 1/k plain ones on average; a copy of the
            parameters more is held. d is not part of ``state_dict``: the first step after
            loading measures it.
        sync_climb: with ``model`` in DistributedDataParallel, climb along the gradient of all
            processes (two reductions a step) instead of each along its own (one; the official
            code). Without DDP, or if ``model`` is not the DDP module, whatever reduces gradients
            in ``backward`` makes the climb synchronous.

    Every parameter group may have its own ``r``, ``alpha``, ``l2`` and ``adaptive`` (``gnp_r``,
    ``gnp_alpha`` where the base has a setting of that name itself, as RMSprop has); ‖g1‖ is one
    norm over all groups.
    A parameter that has no gradient in a pass counts as having gradient zero in it. Beside the
    parameters and the two gradients one copy of the parameters is held during a step.
    Parameters sharded by FSDP2 (``fully_shard``) climb shard by shard, by the norm over all.

    Raises:
        TypeError: ``base`` is not an optimizer or calls the closure itself, ``model`` is not a
            module, or a number is missing.
        ValueError: r, l2, ε or η is negative, α outside [0, 1], one of them not finite,
            ``direction_every`` below 1, or ``true_gradient`` without ``model``.
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
        adaptive: bool = False,
        adaptive_eta: float = 0.01,
        epsilon: float = 0.0,
        batch_statistics: str = "first",
        replay_draws: bool = True,
        true_gradient: bool = False,
        direction_every: int = 1,
        sync_climb: bool = False,
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
        for name, value in (("epsilon", epsilon), ("adaptive_eta", adaptive_eta)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and ≥ 0, not {value}")
        if isinstance(direction_every, bool) or not isinstance(direction_every, int):
            raise TypeError(f"direction_every must be a number of steps, not {direction_every!r}")
        if direction_every < 1:
            raise ValueError(f"direction_every must be ≥ 1 step, not {direction_every}")
        if true_gradient and model is None:
            raise ValueError("true_gradient=True needs model=…, whose shake layers it switches")
        # RMSprop and ASGD have an alpha of their own in their groups.
        self._keys = {k: f"gnp_{k}" if k in base.defaults else k for k in GROUP_SETTINGS}
        own = dict(zip(self._keys.values(), (r, alpha, l2, adaptive), strict=True))
        for group in base.param_groups:  # all of them before anything is changed
            self._check_group({**own, **group})
        self._check_group(own)
        self.base = base
        self.model = model
        self.max_grad_norm = max_grad_norm
        self.grad_scaler = grad_scaler
        self.normalize_reference = normalize_reference
        self.adaptive_eta = adaptive_eta
        self.epsilon = epsilon
        self.batch_statistics = batch_statistics
        self.replay_draws = replay_draws
        self.true_gradient = true_gradient
        self.direction_every = direction_every
        self.sync_climb = sync_climb
        self._first: _FirstPass | None = None  # between the two passes
        self._complete = False  # p.grad is g, by two passes without a closure
        self._statistics: NormStatistics | None = None  # before the batch, for a skipped step
        self.renew_direction()
        state, groups = base.state, list(base.param_groups)
        # Optimizer.__init__ empties param_groups and state, which are the base's, and adds the
        # same group dicts back.
        super().__init__(groups, {**base.defaults, **own})
        self.state = state

    # ------------------------------------------------------------------ the step

    def step(
        self,
        closure: Closure | Sequence[Closure] | None = None,
        reference: Closure | Sequence[Closure] | None = None,
    ) -> Tensor | None:
        """One update. Returns the loss of the first pass, at the weights before the step.

        Args:
            closure: zeroes the gradients, computes the loss on one fixed batch, calls
                ``backward`` and returns the loss. Called twice (once if α = 0 or r = 0 in every
                group): prepare the batch outside it. After ``first_pass`` and ``second_pass`` it
                is None or (some trainers pass one always) not called, and there is no loss to
                return.

                A sequence of closures, each for an equal piece of the batch, is m-sharpness
                (Foret et al., §4.1): each piece climbs along its own gradient, and the mean of
                the pieces' g makes the step, as on several devices that each climb by
                themselves. ``model``'s running statistics become the mean over the pieces too.
            reference: a closure like ``closure`` (or a sequence, one for each) on a part of its
                batch, from which g1 is taken instead; with a quarter of the images a step costs
                1.25 plain ones instead of 2. The loss and the running statistics are then the
                part's, and draws are not replayed, because they are for other images.

        Raises:
            TypeError: no closure and no passes before; ``reference`` is not what it should be.
            RuntimeError: sparse gradients; gradients of both passes in the same memory.

        If a pass raises, weights, statistics and random generators are as after the first pass
        and the base optimizer has made no step.
        """
        if self._complete:
            self._base_step()
            return None
        closures = [closure] if callable(closure) else closure
        if not isinstance(closures, Sequence) or not closures or not all(map(callable, closures)):
            raise TypeError(
                "GNP evaluates the gradient twice: call step(closure) with a function that zeroes "
                f"the gradients, computes the loss, calls backward() and returns it (or a sequence "
                f"of them), not {_describe(closure)}; or step() after first_pass() and "
                "second_pass()"
            )
        references = [reference] if callable(reference) else reference
        if references is None:
            references = [None] * len(closures)
        elif (
            not isinstance(references, Sequence)
            or len(references) != len(closures)
            or not all(map(callable, references))
        ):
            raise TypeError("reference must be a closure for each closure")
        self._remember_statistics()
        reduce = self._averages_itself(len(closures))
        with self._renewing_on_error():
            if len(closures) == 1:
                loss = self._penalized_gradient(closures[0], references[0], reduce)
            else:
                loss = self._mean_over_pieces(closures, references, reduce)
        self._average(reduce)
        self._base_step()
        return loss

    @contextmanager
    def first_pass(self) -> Iterator[None]:
        """Step without closures, its first part: inside, the gradient at the weights is computed.

            with optimizer.first_pass():
                loss = criterion(model(images), labels)
                loss.backward()
            if optimizer.needs_second_pass:
                with optimizer.second_pass():
                    criterion(model(images), labels).backward()
            optimizer.step()

        Both passes begin with gradients that are None or zero: ``second_pass`` finds them so,
        ``zero_grad`` belongs before ``first_pass``. Forward passes belong inside too: running
        statistics, random draws and DDP's reduction are switched here.
        """
        self._give_up_step()
        self._remember_statistics()
        reduce = self._averages_itself(1)
        with self._first_pass(reduce=reduce):
            yield
        if not self.needs_second_pass:
            self._average(reduce)
            self._complete = True

    @contextmanager
    def second_pass(self) -> Iterator[None]:
        """Its second part: inside, the weights are θ + r · g1/‖g1‖; afterwards θ again, bit for
        bit, and ``p.grad`` is g. See ``first_pass``.

        Raises:
            RuntimeError: no first pass before, or the step needs no second one.
        """
        if self._first is None:
            raise RuntimeError(
                "second_pass() comes after first_pass(), and only where needs_second_pass is True"
            )
        reduce = self._averages_itself(1)
        with self._renewing_on_error(), self._second_pass(reduce=reduce):
            yield
        self._average(reduce)
        self._complete = True

    @property
    def needs_second_pass(self) -> bool:
        """After ``first_pass``: is a second one to come? Not if α = 0 or r = 0 in every group, nor
        in a step that climbs in an old direction (``direction_every``)."""
        return self._first is not None

    def renew_direction(self) -> None:
        """Measure the direction anew in the next step (``direction_every``)."""
        self._directions: dict[int, _Direction] = {}  # a piece of the batch → its direction
        self._age = 0  # steps that used them

    def _give_up_step(self) -> None:
        """Both passes were made, and ``step`` was not called: a scaler of the loop's own found an
        overflow, maybe, which must not stay in the direction."""
        if self._complete:
            self._complete = False
            self.renew_direction()

    @contextmanager
    def _renewing_on_error(self) -> Iterator[None]:
        """A direction is one that a whole step was made with."""
        try:
            yield
        except BaseException:
            self.renew_direction()
            raise

    def _mean_over_pieces(
        self, closures: Sequence[Closure], references: Sequence[Closure | None], reduce: bool
    ) -> Tensor:
        """``p.grad`` ← mean of the pieces' g; returns the mean loss."""
        losses, total = [], None
        with averaged_norm_statistics(self.model, len(closures)) as after_piece:
            for piece, closures_of_piece in enumerate(zip(closures, references, strict=True)):
                losses.append(self._penalized_gradient(*closures_of_piece, reduce, piece))
                after_piece()
                g = take_gradients(self.param_groups, copy=self._buckets_are_gradients)
                if total is None:
                    total = g
                else:
                    refuse_shared_memory(total, g)
                    total = [add(*pair) for pair in zip(total, g, strict=True)]
        with torch.no_grad():
            for grads in total:
                for grad in grads:
                    if grad is not None:
                        grad.div_(len(closures))
        give_gradients(self.param_groups, total)
        return torch.stack(losses).mean()

    def _penalized_gradient(
        self, closure: Closure, reference: Closure | None, reduce: bool, piece: int = 0
    ) -> Tensor:
        """``p.grad`` ← g for one piece of the batch; returns its first loss."""
        closure = torch.enable_grad()(closure)
        if reference is None or not self._has_penalty() or piece in self._directions:
            with self._first_pass(piece, reduce):
                loss = closure()
        else:
            with self._first_pass(piece, reduce, replay=False):
                loss = torch.enable_grad()(reference)()
        if self.needs_second_pass:
            with self._second_pass(piece, reduce):
                closure()
        return loss

    # ------------------------------------------------------------------ the two passes

    @contextmanager
    def _first_pass(
        self, piece: int = 0, reduce: bool = False, replay: bool = True
    ) -> Iterator[None]:
        """After it either ``p.grad`` is g, or g1 is in ``_first`` and a second pass has to follow.

        Args:
            piece: of the batch; each has a direction of its own.
            reduce: the gradients are averaged by ``average_gradients`` in the end, not by DDP.
            replay: the second pass is on the same images.
        """
        self._first, self._complete = None, False
        has_penalty = self._has_penalty()
        direction = self._directions.get(piece) if has_penalty else None
        with ExitStack() as stack:
            if reduce:
                stack.enter_context(self._ddp().no_sync())
            if direction is not None:
                with self._climbed_in_old_direction(direction):
                    yield
                    self._add_l2()  # of the climbed weights
                return
            draws = None
            if self.replay_draws and has_penalty and replay:
                draws = RandomState(p.device for g in self.param_groups for p in g["params"])
            if self.true_gradient:
                stack.enter_context(true_gradients(self.model))
            yield
        self._add_l2()
        if has_penalty:
            g1 = take_gradients(self.param_groups, copy=self._buckets_are_gradients)
            self._first = _FirstPass(g1, draws)
        elif self.normalize_reference:
            grads = current_gradients(self.param_groups)
            self._normalize(grads, norm_of(grads))

    @contextmanager
    def _second_pass(self, piece: int = 0, reduce: bool = False) -> Iterator[None]:
        first, self._first = self._first, None
        norm = norm_of(first.gradients)
        with self._climbed(first, norm, piece):
            with ExitStack() as stack:
                if reduce:
                    stack.enter_context(self._ddp().no_sync())
                if first.draws is not None:
                    stack.enter_context(first.draws.replayed())
                if self.model is not None and self.batch_statistics == "first":
                    stack.enter_context(frozen_norm_statistics(self.model))
                yield
            self._add_l2()  # of the climbed weights
        if self.normalize_reference:
            self._normalize(first.gradients, norm)
        self._mix_into_gradients(first.gradients)
        for p in first.without_gradient:
            if p.grad is None:
                p.grad = torch.zeros_like(p)

    @contextmanager
    def _climbed(self, first: _FirstPass, norm: Tensor, piece: int) -> Iterator[None]:
        """Inside, the weights are θ + r · g1/‖g1‖; afterwards θ again, bit for bit."""
        with torch.no_grad():
            directions, climb_norm = self._adapted(first.gradients, norm)
            epsilon = self._scaled(self.epsilon, norm.device)
            # With α = 1 nothing of g1 is in the mix, and its memory is free for the second pass.
            # (But an overflow of g1 has to be in the mix, to be seen.)
            spent = [self._alpha(group) == 1 and not self._is_scaled for group in self.param_groups]
            overwrite = [
                self.direction_every == 1 and (of_group is not g1 or over)
                for of_group, g1, over in zip(directions, first.gradients, spent, strict=True)
            ]
            if self.direction_every == 1:
                scales = [
                    climb_scale(climb_norm, self._r(group), epsilon) for group in self.param_groups
                ]
            else:
                directions = self._keep_direction(
                    directions, climb_norm, first.gradients, norm, piece
                )
                scales = [self._r(group) for group in self.param_groups]
            first.without_gradient = [
                p
                for group, g1, over in zip(self.param_groups, first.gradients, spent, strict=True)
                if over
                for p, _ in with_gradient(group["params"], g1)
            ]
            first.gradients = [
                [None] * len(g1) if over else g1
                for g1, over in zip(first.gradients, spent, strict=True)
            ]
            saved = self._move(directions, scales, overwrite)
            del directions  # which may be the last that holds g1
        try:
            yield
        finally:
            _copy_back(saved)

    def _adapted(self, g1: Gradients, norm: Tensor) -> tuple[Gradients, Tensor]:
        """The climb's direction, and the norm that it is divided by: g1 and ‖g1‖, or T²g1 and
        ‖T g1‖ where ``adaptive`` is on."""
        groups = [
            (g, group[self._keys["adaptive"]])
            for g, group in zip(g1, self.param_groups, strict=True)
        ]
        if not any(adaptive for _, adaptive in groups):
            return g1, norm
        directions = [
            [None if g is None else g.clone() for g in grads] if adaptive else grads
            for grads, adaptive in groups
        ]

        def times_t() -> None:
            for group, grads, (_, adaptive) in zip(
                self.param_groups, directions, groups, strict=True
            ):
                if adaptive:
                    pairs = with_gradient(group["params"], grads)
                    for weights, device_grads in by_device_and_dtype(pairs):
                        adaptive_(device_grads, weights, self.adaptive_eta)

        times_t()
        adapted_norm = norm_of(directions)
        times_t()
        return directions, adapted_norm

    def _keep_direction(
        self, directions: Gradients, climb_norm: Tensor, g1: Gradients, norm: Tensor, piece: int
    ) -> Gradients:
        """Directions of unit length, which are kept for the next ``direction_every`` − 1 steps."""
        alphas = {self._alpha(group) for group in self.param_groups if self._r(group) > 0}
        if len(alphas) > 1:
            raise ValueError(
                "direction_every needs one alpha for all groups: a step in an old direction takes "
                f"one gradient, at θ + αr·d; these have {sorted(alphas)}"
            )

        def unit(gradients: Gradients, length: Tensor) -> Gradients:
            inverse = climb_scale(length, 1.0, self._scaled(self.epsilon, length.device))
            return [
                [None if g is None else g * inverse.to(g.device) for g in gs] for gs in gradients
            ]

        climb = unit(directions, climb_norm)
        reference = None
        if self.normalize_reference:
            reference = climb if directions is g1 else unit(g1, norm)
        self._directions[piece] = _Direction(climb, reference)
        return climb

    @contextmanager
    def _climbed_in_old_direction(self, direction: _Direction) -> Iterator[None]:
        """One gradient does for both: g1 + α(g2 − g1) = ∇L(θ + αr·d) up to terms in r².

        With a normalised reference, which is d itself, g2 is taken at θ + r·d and mixed with it.
        """
        lengths = [
            self._r(group) * (1 if self.normalize_reference else self._alpha(group))
            for group in self.param_groups
        ]
        with torch.no_grad():
            saved = self._move(direction.climb, lengths, [False] * len(lengths))
        try:
            yield
        finally:
            _copy_back(saved)
        if self.normalize_reference:
            with torch.no_grad():
                reference = [
                    [None if g is None else g * self._scaled(1.0, g.device) for g in grads]
                    for grads in direction.reference
                ]
            self._mix_into_gradients(reference, still_too=False)

    def _move(
        self,
        directions: Gradients,
        scales: Sequence[float | Tensor],
        overwrite: Sequence[bool],
    ) -> list[_Saved]:
        """Each group's weights ← θ + scale · direction. Returns what θ was.

        Args:
            overwrite: the group's directions are not needed any more.
        """
        saved: list[_Saved] = []
        try:
            for group, grads, scale, over in zip(
                self.param_groups, directions, scales, overwrite, strict=True
            ):
                if self._r(group) == 0:
                    continue
                pairs = with_gradient(group["params"], grads)
                for weights, device_grads in by_device_and_dtype(pairs):
                    # Rounding makes θ + s − s differ from θ: a copy is the way back.
                    saved.append((weights, [w.clone() for w in weights]))
                    here = scale.to(weights[0].device) if isinstance(scale, Tensor) else scale
                    climb_(weights, device_grads, here, over)
        except BaseException:
            _copy_back(saved)
            raise
        return saved

    # ------------------------------------------------------------------ gradients

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
            for device_weights, grads in by_device_and_dtype(pairs):
                add_l2_(grads, device_weights, self._scaled(l2, grads[0].device))

    @torch.no_grad()
    def _mix_into_gradients(self, g1: Gradients, still_too: bool = True) -> None:
        """p.grad ← (1 − α) g1 + α p.grad; a missing gradient counts as zero.

        Args:
            still_too: also in the groups with r = 0.
        """
        refuse_shared_memory(g1, current_gradients(self.param_groups))
        for group, first in zip(self.param_groups, g1, strict=True):
            if self._r(group) == 0 and not still_too:
                continue
            for p, g in zip(group["params"], first, strict=True):
                if g is not None and p.grad is None:
                    p.grad = torch.zeros_like(g)
                elif g is None and p.grad is not None and self._alpha(group) != 1:
                    p.grad.mul_(self._alpha(group))
            second = [p.grad for p in group["params"]]
            for second_grads, first_grads in by_device_and_dtype(with_gradient(second, first)):
                mix_(first_grads, second_grads, self._alpha(group))

    @torch.no_grad()
    def _normalize(self, gradients: Gradients, norm: Tensor) -> None:
        """g ← g/(‖g1‖ + ε), in place and in the scaler's units, in the groups with r > 0 (r = 0 is
        the base optimizer); zero gradients stay zero."""
        epsilon = self._scaled(self.epsilon, norm.device)
        climbing = [
            g for g, group in zip(gradients, self.param_groups, strict=True) if self._r(group) > 0
        ]
        scale_(climbing, climb_scale(norm, self._scaled(1.0, norm.device), epsilon))

    def _scaled(self, value: float, device: torch.device) -> float | Tensor:
        """A value in the units of the gradients, which the grad scaler may have scaled."""
        if not self._is_scaled or value == 0:
            return value
        # Asking the scaler for its scale would wait for the device.
        return self.grad_scaler.scale(torch.full((), value, device=device))

    @property
    def _is_scaled(self) -> bool:
        return self.grad_scaler is not None and self.grad_scaler.is_enabled()

    def _has_penalty(self) -> bool:
        return any(self._alpha(group) > 0 and self._r(group) > 0 for group in self.param_groups)

    def _r(self, group: dict) -> float:
        return group[self._keys["r"]]

    def _alpha(self, group: dict) -> float:
        return group[self._keys["alpha"]]

    # ------------------------------------------------------------------ several processes

    def _ddp(self) -> DistributedDataParallel | None:
        model = getattr(self.model, "_orig_mod", self.model)  # torch.compile(ddp)
        return model if isinstance(model, DistributedDataParallel) else None

    @property
    def _buckets_are_gradients(self) -> bool:
        ddp = self._ddp()
        return ddp is not None and ddp.gradient_as_bucket_view

    def _averages_itself(self, pieces: int) -> bool:
        """Does DDP leave this step's gradients alone, so that each process climbs by itself?

        Where there is nothing to climb for, DDP's own reduction does, while backward runs.
        """
        ddp = self._ddp()
        if ddp is None or self.sync_climb or dist.get_world_size(ddp.process_group) == 1:
            return False
        return self._has_penalty() or self.normalize_reference or pieces > 1

    # ------------------------------------------------------------------ the update

    def _remember_statistics(self) -> None:
        self._statistics = NormStatistics(self.model) if self._is_scaled else None

    def _average(self, reduce: bool) -> None:
        if reduce:
            average_gradients(self.base, self._ddp().process_group)

    @torch.no_grad()
    def _base_step(self) -> None:
        self._complete = False
        if self._is_scaled:
            self.grad_scaler.unscale_(self.base)
        if self._is_scaled or self.max_grad_norm is not None:
            grads = current_gradients(self.param_groups)
            norm = norm_of(grads)
        if self.max_grad_norm is not None:
            scale_(grads, clip_scale(norm, self.max_grad_norm))
        stepped = True
        if self._is_scaled:
            # What is skipped here has not happened: a forward pass that overflowed must not stay
            # in the running statistics.
            self._statistics.restore_where(~norm.isfinite())
            self._statistics = None
            stepped = self._scaler_step()
        else:
            self.base.step()
        self._age += 1
        if self._age >= self.direction_every or not stepped:
            self.renew_direction()

    def _scaler_step(self) -> bool:
        """Does nothing, and returns False, if ``unscale_`` met an inf or a NaN."""
        calls: list[None] = []
        hook = self.base.register_step_post_hook(lambda *_: calls.append(None))
        try:
            self.grad_scaler.step(self.base)
        finally:
            hook.remove()
        return bool(calls)

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
        """Add a group; ``r``, ``alpha``, ``l2`` and ``adaptive`` in it override the optimizer's.

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
        self._give_up_step()
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        """The base's state dict; its groups carry ``r``, ``alpha``, ``l2`` and ``adaptive`` too.

        Hooks that were registered on this optimizer see it and its state dict, those on the base
        see the base.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state_dict = self.base.state_dict()
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state dict of a GNP or, keeping this one's r, α, l2 and ``adaptive``, of a bare
        base optimizer.

        Raises:
            ValueError: other groups or sizes than this optimizer's (from the base).
        """
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        kept = [{key: g[key] for key in self._keys.values()} for g in self.param_groups]
        self.base.load_state_dict(state_dict)
        for group, values in zip(self.param_groups, kept, strict=True):
            for name, value in values.items():
                group.setdefault(name, value)
            self._check_group(group)
        self.renew_direction()
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

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
        if not isinstance(group[self._keys["adaptive"]], bool):
            raise TypeError(
                f"adaptive must be True or False, not {_describe(group[self._keys['adaptive']])}"
            )


@torch.no_grad()
def _copy_back(saved: list[_Saved]) -> None:
    for weights, copies in saved:
        torch._foreach_copy_(weights, copies)


def _describe(value: object) -> str:
    return value.__name__ + " (a class)" if isinstance(value, type) else repr(type(value).__name__)
