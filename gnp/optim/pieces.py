"""A batch as one piece or several that climb apart (m-sharpness), and the mean over them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnp.optim.arrival import any_gradient
from gnp.optim.buffers import averaged_buffers
from gnp.optim.errors import describe
from gnp.optim.gradients import (
    Gradients,
    add,
    give_gradients,
    refuse_shared_memory,
    take_gradients,
)
from gnp.optim.groups import Group

Closure = Callable[[], Tensor]


@dataclass(frozen=True)
class Piece:
    """``reference`` computes g1: on a part of the piece, or on the ``same_images``, as ``closure``
    does."""

    index: int
    closure: Closure
    reference: Closure
    same_images: bool


def pieces_of(
    closure: Closure | Sequence[Closure] | None, reference: Closure | Sequence[Closure] | None
) -> list[Piece]:
    """What ``GNP.step`` was called with, as a list.

    Raises:
        TypeError: it is not what it should be.
    """
    closures = [closure] if callable(closure) else closure
    if not isinstance(closures, Sequence) or not closures or not all(map(callable, closures)):
        raise TypeError(
            "GNP evaluates the gradient twice: call step(closure) with a function that zeroes "
            f"the gradients, computes the loss, calls backward() and returns it (or a sequence "
            f"of them), not {describe(closure)}; or step() after first_pass() and second_pass()"
        )
    references = [reference] if callable(reference) else reference
    if references is None:
        return [Piece(i, c, c, same_images=True) for i, c in enumerate(closures)]
    if (
        not isinstance(references, Sequence)
        or len(references) != len(closures)
        or not all(map(callable, references))
    ):
        raise TypeError("reference must be a closure for each closure")
    pairs = enumerate(zip(closures, references, strict=True))
    return [Piece(i, c, reference, same_images=False) for i, (c, reference) in pairs]


class OnePiece:
    """Its g and its loss are the batch's."""

    loss: Tensor | None

    def add(self, loss: Tensor | None) -> None:
        self.loss = loss


class MeanOfPieces:
    """Sums of what the pieces leave in ``p.grad``, until ``give`` puts their mean there."""

    def __init__(self, groups: list[Group], after_piece: Callable[[], None], copy: bool):
        self._groups, self._after_piece, self._copy = groups, after_piece, copy
        self._losses: list[Tensor | None] = []
        self._total: Gradients | None = None

    def add(self, loss: Tensor | None) -> None:
        """After each piece; ``p.grad`` is its g.

        Raises:
            RuntimeError: it has none.
        """
        if not any_gradient(self._groups):
            raise RuntimeError(
                "one of several closures has skipped its piece of the batch (it returned None and "
                "left no gradient): leave it out of the sequence; if there is none, call no step"
            )
        self._losses.append(loss)
        self._after_piece()
        g = take_gradients(self._groups, copy=self._copy)
        if self._total is None:
            self._total = g
        else:
            refuse_shared_memory(self._total, g)
            self._total = [add(*pair) for pair in zip(self._total, g, strict=True)]

    @torch.no_grad()
    def give(self) -> None:
        assert self._total is not None
        for grads in self._total:
            for grad in grads:
                if grad is not None:
                    grad.div_(len(self._losses))
        give_gradients(self._groups, self._total)

    @property
    def loss(self) -> Tensor | None:
        known = [torch.as_tensor(loss) for loss in self._losses if loss is not None]
        return torch.stack(known).mean() if len(known) == len(self._losses) else None


@contextmanager
def mean_over(
    pieces: Sequence[Piece], groups: list[Group], model: nn.Module | None, copy: bool
) -> Iterator[OnePiece | MeanOfPieces]:
    """Tell what this yields of each piece's loss. When it ends, ``p.grad`` is the mean of the
    pieces' g, and ``model``'s buffers are those of one batch.

    Args:
        copy: the next backward pass writes over these gradients.
    """
    if len(pieces) == 1:
        yield OnePiece()
        return
    with averaged_buffers(model, len(pieces)) as after_piece:
        mean = MeanOfPieces(groups, after_piece, copy)
        yield mean
    mean.give()
