"""Schedules of the penalty: r and α as functions of the step."""

from collections.abc import Callable
from typing import Any

from gnp.optim.gnp import GNP

Factor = Callable[[int], float]

WARMUPS = ("none", "zero", "r", "lambda")


class PenaltySchedule:
    """Multiplies every group's r and α by a factor that depends on the step.

    Used like a learning-rate scheduler: after building it the factors of step 0 hold, and
    ``step()`` after each ``optimizer.step`` goes on to the next.

    Args:
        optimizer: its groups' r and α of now are what the factors multiply.
        r, alpha: step (from 0) → factor ≥ 0; α times its factor must stay at most 1.

    >>> import torch
    >>> base = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    >>> optimizer = GNP(base, r=0.1, alpha=0.8)
    >>> schedule = PenaltySchedule(optimizer, alpha=lambda step: min(1, step / 4))
    >>> alphas = []
    >>> for _ in range(6):
    ...     alphas.append(optimizer.param_groups[0]["alpha"])
    ...     schedule.step()
    >>> [round(alpha, 3) for alpha in alphas]
    [0.0, 0.2, 0.4, 0.6, 0.8, 0.8]
    """

    def __init__(self, optimizer: GNP, r: Factor | None = None, alpha: Factor | None = None):
        self._optimizer = optimizer
        self._factors = (r, alpha)
        self._initial = [optimizer.penalty(group) for group in optimizer.param_groups]
        self._step = 0
        self._apply()

    def step(self) -> None:
        self._step += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step, "initial": self._initial}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step, self._initial = state["step"], [tuple(pair) for pair in state["initial"]]
        self._apply()

    def _apply(self) -> None:
        for group, initial in zip(self._optimizer.param_groups, self._initial, strict=True):
            values = (
                value if factor is None else value * factor(self._step)
                for value, factor in zip(initial, self._factors, strict=True)
            )
            self._optimizer.set_penalty(group, *values)


def penalty_warmup(strategy: str, steps: int) -> dict[str, Factor]:
    """The factors of a penalty warm-up, as arguments of ``PenaltySchedule``.

    Source: Zhao, Zhang, Hu, *When Will Gradient Regularization Be Harmful?*, ICML 2024 (arXiv
    2406.09723), and the official code.

    Args:
        strategy: "none"; "zero", no penalty for ``steps`` steps and all of it afterwards;
            "r" or "lambda", r or λ = α·r (that is, α) grows linearly over ``steps`` steps.
        steps: length of the warm-up.

    Raises:
        ValueError: another strategy, or negative steps.
    """
    if strategy not in WARMUPS:
        raise ValueError(f"a penalty warm-up is one of {', '.join(WARMUPS)}, not {strategy!r}")
    if steps < 0:
        raise ValueError(f"a penalty warm-up takes ≥ 0 steps, not {steps}")
    if strategy == "none" or steps == 0:
        return {}
    if strategy == "zero":
        return late_penalty(steps)
    return {"r" if strategy == "r" else "alpha": lambda step: min(1.0, step / steps)}


def late_penalty(steps: int) -> dict[str, Factor]:
    """The factors of a penalty that begins after so many steps of the base optimizer, as arguments
    of ``PenaltySchedule``.

    Source: Zhou, Wang, Mao, Li, Yan, *Sharpness-Aware Minimization Efficiently Selects Flatter
    Minima Late in Training*, ICLR 2025 (arXiv 2410.10373).

    Raises:
        ValueError: negative steps.
    """
    if steps < 0:
        raise ValueError(f"a penalty begins after ≥ 0 steps, not {steps}")
    return {"r": lambda step: float(step >= steps)} if steps else {}  # r = 0 is the base optimizer
