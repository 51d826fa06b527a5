"""The GNP optimizer: gradient, climb, gradient, return, mix, base step.

Source: Zhao, Zhang, Hu, *Penalizing Gradient Norm for Efficiently Improving Generalization in
Deep Learning*, ICML 2022 (arXiv 2202.03599), Algorithm 1. SAM is Foret et al., arXiv 2010.01412.
``reference.py`` has the algorithm alone, on a page.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnp.optim.arrival import Arrival, any_gradient, arriving, refuse_accelerates_accumulation
from gnp.optim.chance import chance_of
from gnp.optim.climb import Adaptive, Ascent, climbed
from gnp.optim.climbing import climbing
from gnp.optim.first_pass import FirstPass
from gnp.optim.gradients import add_l2, current_gradients, norm_of, scale_, take_gradients
from gnp.optim.groups import Group
from gnp.optim.loss_scale import loss_scale
from gnp.optim.mix import mix_into_gradients, reference_in_the_mix
from gnp.optim.momentum import climb_of
from gnp.optim.passes import Passes
from gnp.optim.penalty import PenaltyWrapper
from gnp.optim.pieces import Closure, mean_over, pieces_of
from gnp.optim.processes import Reduction, processes_of
from gnp.optim.update_rule import clip_scale
from gnp.optim.wrapper import checked_bases, refusing_parameters


class GNP(PenaltyWrapper):
    r"""Gradient norm penalty around any ``torch.optim`` optimizer.

    Minimises L + λ‖∇L‖ with λ = α·r, by a gradient that needs no second derivative::

        g1 = ∇L(θ)      g2 = ∇L(θ + r · g1/‖g1‖)      g = (1 − α) g1 + α g2

    and gives g to the base optimizer. On a quadratic L this is exactly ∇(L + αr‖∇L‖).

    Degenerate cases: α = 0 is the base optimizer, bit for bit, at its cost (one closure call; but
    see ``normalize_reference``); α = 1 is SAM with ρ = r; r = 0, for any α, is the base optimizer
    too; where the gradient is zero there is no climb.

    >>> import torch
    >>> from gnp.optim import GNP
    >>> model = torch.nn.Linear(2, 1)
    >>> x, y = torch.ones(4, 2), 5 * torch.ones(4, 1)
    >>> base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> optimizer = GNP(base, r=0.1, alpha=0.8, model=model)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     return loss.detach()
    >>> first = optimizer.step(closure).item()
    >>> optimizer.step(closure).item() < first
    True

    Args:
        base: the optimizer that makes the update from g. Its ``param_groups`` and ``state`` are
            shared, so learning-rate schedulers and ``state_dict`` work on the wrapper.
            LBFGS and others that call the closure themselves cannot be a base. Several, such as
            ``[muon, adamw]`` with parameters of their own, climb together, by one norm.
        r: length of the climb, ≥ 0, in the units of the weights. 0.1 in the paper's recipes.
        alpha: α, from 0 to 1; the paper recommends 0.8. The penalty's λ is α·r.
        model: the network whose buffers the second pass must leave as the first left them. Without
            it running statistics, queues and the like see each batch twice (batch norm: one
            warning).
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
        batch_statistics: passes whose changes of ``model``'s buffers, such as running statistics,
            stay: "first" (the official code) or "both".
        replay_draws: give the second pass the random draws (dropout, shake) of the first, as the
            official code does. Without it g2 − g1 contains the noise of two different draws.
        true_gradient: in the first pass of two, modules of ``model`` with an attribute
            ``true_gradient`` (Shake-Shake, ShakeDrop) give the gradient of the computed loss
            (the official code); a second or only pass is always their ordinary one.
        grad_scaler: the ``torch.amp.GradScaler`` with which the closure scales its loss (fp16).
            ``step`` then unscales, clips and skips the update if a gradient overflowed in either
            pass, and ``model``'s buffers are put back; calling
            ``grad_scaler.update()`` afterwards stays with the training loop.
        direction_every: measure the direction of the climb every so many steps (LookSAM's
            economy, Liu et al., CVPR 2022, arXiv 2203.02714, by other means) and use it for the
            steps between, which take one gradient, at θ + αr·d with d = g1/‖g1‖ of then: to first
            order in r this is the mix. A step costs 1 + 1/k plain ones on average; a copy of the
            parameters more is held. d is not part of ``state_dict``: the first step after
            loading measures it.
        climb_only_norms: climb in the scales and shifts of ``model``'s normalisation layers alone,
            by the norm over them (SAM-ON, Mueller et al., NeurIPS 2023, arXiv 2306.04226); g1, g2
            and the step are of all parameters. Without ``model``: ``climbs=False`` in other groups.
        climb_along: "gradient", or "momentum": one gradient, at θ − αr·m/‖m‖, with m the base's
            momentum (MSAM, Becker et al., arXiv 2401.12033, whose sign it is; torch's SGD, Adam,
            AdamW). A step costs one pass; the first, before there is an m, is the base's.
        probability: of a step to have the penalty; the others are the base optimizer's (RST, Zhao,
            Zhang, Hu, AAAI 2023, arXiv 2203.09962). 1 + p passes a step.
        seed: of these draws, a function of (seed, the step's number); the number is in the groups.
        sync_climb: with ``model`` in DistributedDataParallel, climb along the gradient of all
            processes (two reductions a step) instead of each along its own (one; the official
            code). Without DDP, or if ``model`` is not the DDP module, whatever reduces gradients
            in ``backward`` makes the climb synchronous.

    Every parameter group may have its own ``r``, ``alpha``, ``l2``, ``adaptive`` and ``climbs``
    (``gnp_alpha`` where the base has an ``alpha`` itself, as RMSprop has); ‖g1‖ is one norm over
    all groups that climb.
    A parameter that has no gradient in a pass counts as having gradient zero in it. Beside the
    parameters and the two gradients one copy of the parameters is held during a step.
    Parameters sharded by FSDP2 (``fully_shard``) climb shard by shard, by the norm over all. Keep
    them in float32: in 16 bits most of the climb is rounded away (one warning).
    A setting that a group was not built with is this optimizer's, also if another GNP was around
    the base before, or a schedule has changed it since.

    Groups that the base maximises (``maximize=True``) climb where L falls.

    Raises:
        TypeError: ``base`` is not an optimizer or calls the closure itself, ``model`` is not a
            module, or a number is missing.
        ValueError: r, l2, ε or η is negative, α or a probability outside [0, 1], one of them not
            finite, ``direction_every`` below 1, or what does not go together.
    """

    model: nn.Module | None
    grad_scaler: torch.amp.GradScaler | None

    @refusing_parameters
    def __init__(
        self,
        base: Optimizer | Sequence[Optimizer],
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
        climb_only_norms: bool = False,
        climb_along: str = "gradient",
        probability: float = 1.0,
        seed: int = 0,
        sync_climb: bool = False,
    ):
        if max_grad_norm is not None and not 0 < max_grad_norm < math.inf:
            raise ValueError(f"max_grad_norm must be positive and finite, not {max_grad_norm}")
        # All that may refuse comes before the base's groups are touched.
        bases = checked_bases(base)
        self._passes = Passes(model, batch_statistics, replay_draws, true_gradient, bases)
        self._scale = loss_scale(grad_scaler, model)
        self._processes = processes_of(model, together=sync_climb)
        self._reference = reference_in_the_mix(normalize_reference, epsilon, self._scale.of)
        chance = chance_of(probability, seed, direction_every)
        which = climbing(climb_only_norms, model, bases)
        fresh = Adaptive(adaptive_eta, epsilon, self._scale.of, which)
        self._climb = climb_of(climb_along, direction_every, fresh, bases, normalize_reference)
        super().__init__(base, {"r": r, "alpha": alpha, "l2": l2, "adaptive": adaptive}, chance)
        self.max_grad_norm = max_grad_norm
        self._fix(model=model, grad_scaler=grad_scaler, sync_climb=sync_climb, epsilon=epsilon)
        self._fix(normalize_reference=normalize_reference, true_gradient=true_gradient)
        self._fix(batch_statistics=batch_statistics, replay_draws=replay_draws, seed=seed)
        self._fix(climb_only_norms=climb_only_norms, climb_along=climb_along)
        self._fix(
            adaptive_eta=adaptive_eta, direction_every=direction_every, probability=probability
        )
        which.warn_of_rounding(self._groups())
        self._first: FirstPass | None = None  # between the two passes
        self._complete = False  # p.grad is g, by two passes without a closure

    # ------------------------------------------------------------------ Algorithm 1

    def step(  # type: ignore[override]
        self,
        closure: Closure | Sequence[Closure] | None = None,
        reference: Closure | Sequence[Closure] | None = None,
    ) -> Tensor | None:
        """One update. Returns the loss of the first pass: at the weights before the step, but in a
        step along a direction that is known before its gradient is (``direction_every``,
        ``climb_along="momentum"``) at the climbed ones.

        Args:
            closure: zeroes the gradients, computes the loss on one fixed batch, calls
                ``backward`` and returns the loss. Called twice (once where ``needs_second_pass``
                would be False): prepare the batch outside it. One that returns None and leaves no
                gradient skips its batch: the base makes no step (where each of DDP's processes
                climbs by itself, the others' gradients and a zero for its own make one).
                After ``first_pass`` and ``second_pass`` it is None or (some trainers pass one
                always) not called, and there is no loss to return.

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
            RuntimeError: sparse gradients; gradients of both passes in the same memory; none, or
                those of other batches too, as when a trainer accumulates; no parameter that may
                climb; a piece that is skipped.

        If a pass raises, weights, statistics and random generators are as after the first pass
        (with several closures ``model``'s buffers as before it) and the base optimizer has made no
        step.
        """
        if self._complete:
            self._base_step()
            return None
        pieces, groups = pieces_of(closure, reference), self._groups()
        reduction = self._begin(len(pieces))
        mean = mean_over(pieces, groups, self.model, copy=self._processes.gradients_are_views)
        with self._climb.renewing_on_error(), torch.enable_grad(), mean as g:
            for piece in pieces:
                measures = self._has_penalty() and self._climb.old(groups, piece.index) is None
                first = piece.reference if measures else piece.closure
                same_images = piece.same_images or not measures
                with self._at_the_weights(reduction, piece.index, same_images) as arrival:
                    loss = arrival.loss = first()  # gradient
                if self.needs_second_pass:
                    with self._at_the_climbed_weights():  # climb; when it ends: return, mix
                        piece.closure()  # gradient
                g.add(loss)
        reduction.finish(self.base)
        self._base_step()
        return g.loss

    @contextmanager
    def _at_the_weights(
        self, reduction: Reduction, piece: int = 0, same_images: bool = True
    ) -> Iterator[Arrival]:
        """Gradient: after it g1 is in ``_first`` and a second pass has to follow, or, where one
        gradient is all that the step takes, ``p.grad`` is g.

        Args:
            piece: of the batch; each has a direction of its own.
            same_images: the second pass is on the same ones.
        """
        self._first, self._complete = None, False
        groups, has_penalty = self._groups(), self._has_penalty()
        old = self._climb.old(groups, piece) if has_penalty else None
        if old is not None:
            with climbed(groups, self._reference.single_ascent(groups, old)):
                with reduction.passing(), arriving(groups, climbs=True) as arrival:
                    yield arrival
                if arrival.skipped:
                    return
                add_l2(groups, self._scale.of)
            self._reference.finish_single(groups, old)
            return
        draws = self._passes.no_draws
        if has_penalty and same_images:
            draws = self._passes.draws(p.device for group in groups for p in group.params)
        first_of_two = self._passes.first(of_two=has_penalty)
        with reduction.passing(), first_of_two, arriving(groups, has_penalty) as arrival:
            yield arrival
        if arrival.skipped:
            return
        add_l2(groups, self._scale.of)
        if has_penalty:
            g1 = take_gradients(groups, copy=self._processes.gradients_are_views)
            self._first = FirstPass(g1, piece, draws, reduction)
        elif self._chance.drawn:
            self._reference.prepare_alone(groups)

    @contextmanager
    def _at_the_climbed_weights(self) -> Iterator[None]:
        """Climb, gradient, return, mix: after it ``p.grad`` is g."""
        first, self._first = self._first, None
        assert first is not None
        groups, norm = self._groups(), norm_of(first.gradients)
        with climbed(groups, self._ascent(groups, first, norm)):
            with first.reduction.passing(), self._passes.second(first.draws):
                yield
            first.refuse_lone(groups)
            add_l2(groups, self._scale.of)
        self._reference.prepare(groups, first.gradients, norm)
        mix_into_gradients(groups, first.gradients)
        first.fill()

    @torch.no_grad()
    def _ascent(self, groups: list[Group], first: FirstPass, norm: Tensor) -> Ascent:
        """Where g2 is taken. With α = 1 nothing of g1 is in the mix, and its memory is free for the
        second pass. (But an overflow of g1 has to be in the mix, to be seen.)"""
        spent = [group.alpha == 1 and not self._scale.sees_overflows for group in groups]
        ascent = self._climb.ascent(groups, first.gradients, norm, spent, first.piece)
        first.give_up(groups, spent)
        return ascent

    @torch.no_grad()
    def _base_step(self) -> None:
        """Clip g, and let the base make its update from it."""
        self._complete = False
        groups = self._groups()
        if not any_gradient(groups):  # the batch was skipped: nor has a scaler anything to look at
            self._climb.renew()
            self._count()
            return
        self._scale.unscale(self.base)
        norm = functools.cache(lambda: norm_of(current_gradients(groups)))  # before it is clipped
        if self.max_grad_norm is not None:
            scale_(current_gradients(groups), clip_scale(norm(), self.max_grad_norm))
        self._climb.after_step(self._scale.step(self.base, norm))
        torch.clear_autocast_cache()  # as the weights have moved: see ``climbed``
        self._count()

    # ------------------------------------------------------------------ steps without closures

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
        reduction = self._begin()
        with self._climb.renewing_on_error(), self._at_the_weights(reduction):
            yield
        if not self.needs_second_pass:
            reduction.finish(self.base)
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
        reduction = self._first.reduction
        with self._climb.renewing_on_error(), self._at_the_climbed_weights():
            yield
        reduction.finish(self.base)
        self._complete = True

    @property
    def needs_second_pass(self) -> bool:
        """After ``first_pass``: is a second one to come? Not if every group has α = 0, or every one
        r = 0, nor in a step without the penalty (``probability``), or along an old direction
        (``direction_every``) or the momentum."""
        return self._first is not None

    def renew_direction(self) -> None:
        """Measure the direction anew in the next step (``direction_every``)."""
        self._climb.renew()

    def _begin(self, pieces: int = 1) -> Reduction:
        refuse_accelerates_accumulation()
        self._scale.begin()
        self._draw()
        # The mean of what the processes would step with is another step than one for all: where
        # there is a climb of their own, a length of one or a mean already.
        climbs = self._has_penalty() and not self._climb.shared
        apart = climbs or self._reference.is_unit or pieces > 1
        return self._processes.reduction(apart)

    def _give_up_step(self) -> None:
        """Both passes were made, and ``step`` was not called: a scaler of the loop's own found an
        overflow, maybe, which must not stay in the direction."""
        if self._complete:
            self._complete = False
            self.renew_direction()

    # ------------------------------------------------------------------ state

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._give_up_step()
        super().zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.renew_direction()  # a kept one has no part for these parameters

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.renew_direction()
