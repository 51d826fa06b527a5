"""Which parameters climb: all, some groups, or those of the normalisation layers alone."""

import re
import warnings
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from gnp.optim.errors import levels_to_the_caller
from gnp.optim.gradients import Gradients
from gnp.optim.groups import Group
from gnp.optim.update_rule import HALVES

# _NormBase: batch, synchronised and instance norm, lazy ones too.
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# What other libraries call theirs: timm's RmsNorm2d, SimpleNorm and LayerNormAct, LlamaRMSNorm, …
_CALLED = re.compile(r"(Batch|Layer|Group|Instance|R[Mm][Ss]|Simple)Norm(Exp|Act|Fp32|\d+d?)*$")


class Climbing:
    """The groups with ``climbs``."""

    def __call__(self, groups: list[Group], gradients: Gradients) -> Gradients:
        """``gradients`` themselves, or with None in place of those of what stays where it is."""
        if all(group.climbs for group in groups):
            return gradients
        pairs = zip(groups, gradients, strict=True)
        return [grads if group.climbs else [None] * len(grads) for group, grads in pairs]

    def check(self, groups: list[Group]) -> None:
        """Raises RuntimeError if both passes would be at the same weights, whatever the batch."""
        # Where none requires a gradient, they are made by other means than backward.
        by_hand = not any(p.requires_grad for group in groups for p in group.params)
        if not any(p.requires_grad or by_hand for p in self._able(groups)):
            raise RuntimeError(
                "nothing climbs: no group with r > 0 and climbs=True has a parameter that may "
                "climb and requires a gradient. For the base optimizer alone set r=0 or alpha=0 in "
                "every group"
            )

    def warn_of_rounding(self, groups: list[Group]) -> None:
        """Where weights are stored in 16 bits: an entry moves only by about 1/256 (bf16) or 1/2048
        (fp16) of itself or more, and its part of a climb of length r is less, mostly."""
        able = self._able(groups) if any(group.alpha > 0 for group in groups) else ()
        halves = {str(p.dtype) for p in able if p.requires_grad and p.dtype in HALVES}
        if halves:
            warnings.warn(
                f"parameters are stored in {' and '.join(sorted(halves))}, in which much of the "
                f"climb is rounded away: entries that move by less than half of their last bit do "
                f"not move. Keep the parameters in torch.float32 and compute in torch.autocast",
                stacklevel=levels_to_the_caller(),
            )

    def _able(self, groups: list[Group]) -> Iterator[Tensor]:
        """What has a length to climb."""
        climbing = (group.params for group in groups if group.climbs and group.r > 0)
        return (p for params in climbing for p in params if self._may(p))

    def _may(self, parameter: Tensor) -> bool:
        return True


class OnlyNorms(Climbing):
    """Of those groups, the scales and shifts of the normalisation layers."""

    def __init__(self, parameters: Iterable[Tensor]):
        self._norms = set(parameters)

    def __call__(self, groups: list[Group], gradients: Gradients) -> Gradients:
        pairs = zip(groups, super().__call__(groups, gradients), strict=True)
        return [
            [g if self._may(p) else None for p, g in zip(group.params, grads, strict=True)]
            for group, grads in pairs
        ]

    def _may(self, parameter: Tensor) -> bool:
        return parameter in self._norms


def norm_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of ``model``'s batch, layer, group, instance and RMS norms: torch's, their
    subclasses, and modules whose class, or one that it derives from, has such a name
    (``RmsNorm2d``, ``LlamaRMSNorm``)."""
    norms = [m for m in model.modules() if _is_norm(m)]
    return list({id(p): p for m in norms for p in m.parameters(recurse=False)}.values())


def _is_norm(module: nn.Module) -> bool:
    named = any(_CALLED.search(kind.__name__) for kind in type(module).__mro__)
    return named or isinstance(module, _NORMS)


def climbing(only_norms: bool, model: nn.Module | None, bases: Iterable[Optimizer]) -> Climbing:
    """Raises:
    ValueError: no network, or the bases update no normalisation layer of it.
    """
    if not only_norms:
        return Climbing()
    if model is None:
        raise ValueError(
            "climb_only_norms=True needs model=…, whose normalisation layers climb; or give the "
            "other groups climbs=False"
        )
    norms = norm_parameters(model)
    updated = {p for base in bases for group in base.param_groups for p in group["params"]}
    if updated.isdisjoint(norms):
        raise ValueError(
            "climb_only_norms=True, and the optimizer has no scales or shifts of normalisation "
            "layers: nothing would climb"
        )
    return OnlyNorms(norms)  # those that come with a later group too
