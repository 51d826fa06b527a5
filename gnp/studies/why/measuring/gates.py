"""Which ReLUs are on: where one changes, the gradient jumps, and no Hessian knows of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


class _Watching(TorchDispatchMode):
    """Keeps of each ReLU, of whatever module or function, where its input is above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.on: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in RELUS:
            self.on.append(args[0] > 0)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def gates_of(forward: Callable[[], Any]) -> list[Tensor]:
    """For each ReLU of a forward pass, in their order, bool tensors of its input's shape."""
    with _Watching() as watching:
        forward()
    return watching.on


def changed(before: Sequence[Tensor], after: Sequence[Tensor]) -> int:
    """How many are on in one pass and off in the other."""
    return sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
