"""Batch norm in a network that the optimizer was not told of: its running statistics count each
batch twice, which is said once."""

import gc
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from gnp.optim.errors import levels_to_the_caller


class UnknownNorms:
    """In the place of the context in which a known network's buffers are kept. The first time it
    looks for modules with running statistics whose scales or shifts are parameters of ``bases``,
    and warns if there are some; it keeps nothing.

    ``batch_statistics="both"`` says that this is meant, and asks for no look.
    """

    def __init__(self, bases: Sequence[Optimizer]):
        self._bases: Sequence[Optimizer] = bases

    def __call__(self) -> AbstractContextManager[None]:
        bases, self._bases = self._bases, ()
        groups = [group for base in bases for group in base.param_groups]
        parameters = [p for group in groups for p in group["params"]]
        if _may_be_norms(parameters) and (norm := _counting_norm(parameters)) is not None:
            warnings.warn(
                f"the network has batch norm ({type(norm).__name__}) and GNP does not know it: "
                f"running statistics count each batch twice, the second time at weights that are "
                f'not kept. Build it with GNP(…, model=model), or with batch_statistics="both" if '
                f"this is meant",
                stacklevel=levels_to_the_caller(),
            )
        return nullcontext()


def _may_be_norms(parameters: list[Tensor]) -> bool:
    """Scale and shift: two vectors of one length. The look itself takes some 20 ms."""
    lengths = Counter(p.shape[0] for p in parameters if p.ndim == 1)
    return any(count > 1 for count in lengths.values())


def _counting_norm(parameters: list[Tensor]) -> _NormBase | None:
    """One that is training and has running statistics. Parameters know no modules, but Python knows
    all modules that there are."""
    classes, ids = _subclasses(_NormBase), {id(p) for p in parameters}
    norms: list[_NormBase] = [thing for thing in gc.get_objects() if type(thing) in classes]
    for norm in norms:
        counts = norm.training and norm.running_mean is not None
        if counts and any(id(p) in ids for p in norm.parameters(recurse=False)):
            return norm
    return None


def _subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))
