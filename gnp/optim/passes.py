"""What must not happen twice when a batch goes through the network twice.

GNP evaluates each batch at two points. Unless it is stopped, the second pass changes the network's
buffers again (running statistics count the batch twice, the second time at weights that nobody
keeps; a queue takes it in twice), and dropout draws another mask, so that g2 − g1 measures noise
instead of curvature. The official code takes running statistics from the first pass and replays its
draws ("Fidelity" in configs/README.md).

Layers whose backward pass is not the derivative of their forward pass (Shake-Shake, ShakeDrop)
have an attribute ``true_gradient``; ``true_gradients`` switches all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import device, nn
from torch.optim import Optimizer

from gnp.optim.buffers import Buffers, kept_buffers
from gnp.optim.draws import RandomState
from gnp.optim.errors import describe
from gnp.optim.unknown_norms import UnknownNorms

BATCH_STATISTICS = ("first", "both")

Context = Callable[[], AbstractContextManager[None]]


class Passes:
    """The contexts of a batch's two passes. What is off is a context that does nothing.

    Args:
        model: the network, if it is known.
        batch_statistics: passes whose changes of ``model``'s buffers stay, "first" or "both".
        replay_draws: the second pass has the random draws of the first.
        true_gradient: in the first pass of two, modules of ``model`` with an attribute of that name
            have it set.
        bases: whose parameters tell, without ``model``, whether there is batch norm.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: another ``batch_statistics``; ``true_gradient`` without ``model``.
    """

    def __init__(
        self,
        model: nn.Module | None,
        batch_statistics: str,
        replay_draws: bool,
        true_gradient: bool,
        bases: Sequence[Optimizer],
    ):
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {describe(model)}")
        if batch_statistics not in BATCH_STATISTICS:
            raise ValueError(
                f"batch_statistics must be 'first' or 'both', not {batch_statistics!r}"
            )
        if true_gradient and model is None:
            raise ValueError("true_gradient=True needs model=…, whose shake layers it switches")
        self._kept: Context = nullcontext
        self._true: Context = nullcontext
        if model is not None and batch_statistics == "first":
            self._kept = partial(kept_buffers, model, Buffers())
        elif model is None and batch_statistics == "first":
            self._kept = UnknownNorms(bases)
        if model is not None and true_gradient:
            self._true = partial(true_gradients, model)
        self._replays = replay_draws

    no_draws: Context = nullcontext

    def draws(self, devices: Iterable[device]) -> Context:
        """To be called before the first pass; the context in which the second draws the same."""
        return RandomState(devices).replayed if self._replays else nullcontext

    def first(self, of_two: bool) -> AbstractContextManager[None]:
        """A step with one pass has an ordinary one: without a penalty it is the base's."""
        return self._true() if of_two else nullcontext()

    @contextmanager
    def second(self, draws: Context) -> Iterator[None]:
        with draws(), self._kept():
            yield


@contextmanager
def true_gradients(model: nn.Module) -> Iterator[None]:
    """While this is open, modules that have an attribute ``true_gradient`` have it set to True.

    Shake-Shake and ShakeDrop then use the forward pass's random coefficients in the backward pass
    too, so that it gives the gradient of the loss that was computed.
    """
    switched = [m for m in model.modules() if getattr(m, "true_gradient", None) is False]
    try:
        for module in switched:
            module.true_gradient = True
        yield
    finally:
        for module in switched:
            module.true_gradient = False
