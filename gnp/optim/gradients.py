"""Gradients of all parameter groups as lists of lists, and what GNP does with them as a whole.

A parameter without a gradient has None in its place; it counts as having gradient zero. Sharded
tensors (``DTensor``, FSDP2) are worked on in place through their local shards; only norms, which
are over all shards, need the other processes.
"""

import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from gnp.optim.groups import Group
from gnp.optim.update_rule import HALVES, add_l2_, global_norm

Gradients = list[list[Tensor | None]]  # a list a parameter group
Units = Callable[[float, torch.device], float | Tensor]  # a value → in the units of the gradients


def take_gradients(groups: Iterable[Group], copy: bool = False) -> Gradients:
    """The gradients, taken away from the parameters, so that a closure that zeroes them in place
    cannot overwrite them.

    Args:
        copy: for gradients whose memory is written again by the next backward pass (DDP's
            ``gradient_as_bucket_view``).

    Raises:
        RuntimeError: sparse gradients.
    """
    taken: Gradients = []
    for group in groups:
        taken.append([p.grad for p in group.params])
        for p in group.params:
            p.grad = None
    present = [g for grads in taken for g in grads if g is not None]
    if any(g.is_sparse for g in present):
        raise RuntimeError("GNP needs dense gradients; build the embedding with sparse=False")
    if copy:
        taken = [[None if g is None else g.clone() for g in grads] for grads in taken]
    return taken


def give_gradients(groups: Iterable[Group], gradients: Gradients) -> None:
    """``p.grad`` ← gradients."""
    for group, grads in zip(groups, gradients, strict=True):
        for p, grad in zip(group.params, grads, strict=True):
            p.grad = grad


def current_gradients(groups: Iterable[Group]) -> Gradients:
    return [[p.grad for p in group.params] for group in groups]


@torch.no_grad()
def add_l2(groups: Iterable[Group], units: Units) -> None:
    """p.grad ← p.grad + l2 · p, at the weights as they are now, in every group that has l2 (minus,
    where the base maximises)."""
    for group in groups:
        if group.l2 == 0:
            continue
        weights = [p for p in group.params if p.requires_grad]
        for p in weights:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        pairs = with_gradient(weights, [p.grad for p in weights])
        for device_weights, grads in by_device_and_dtype(pairs):
            add_l2_(grads, device_weights, units(group.decay, grads[0].device))


def norm_of(gradients: Gradients) -> Tensor:
    """Euclidean norm over all groups and all shards: 0-d."""
    present = [g for grads in gradients for g in grads if g is not None]
    plain = [g for g in present if not is_sharded(g)]
    sharded = [g for g in present if is_sharded(g)]
    if not sharded:
        return global_norm(plain)
    # DTensor has no norm of half-precision shards that is taken in float32.
    wide = [g.float() if g.dtype in HALVES else g for g in sharded]
    of_shards = global_norm(wide).full_tensor()
    if not plain:  # a zero from the CPU would wait for the device
        return of_shards
    return torch.linalg.vector_norm(torch.stack([global_norm(plain).to(of_shards), of_shards]))


@torch.no_grad()
def refuse_shared_memory(earlier: Gradients, later: Gradients) -> None:
    """Raises RuntimeError if a later backward pass wrote its gradients over an earlier one's."""
    for pair in zip(earlier, later, strict=True):
        for a, b in zip(*pair, strict=True):
            if a is None or b is None:
                continue
            a, b = _local(a), _local(b)
            if a.data_ptr() == b.data_ptr() and a.numel() > 0:
                raise RuntimeError(
                    "one backward pass wrote its gradients over those of another. DDP with "
                    "gradient_as_bucket_view=True? Then pass it as model=…; other code that keeps "
                    "gradients in buffers of its own must not do so"
                )


def scale_(gradients: Gradients, scale: Tensor) -> None:
    """Multiply all of them by a 0-d tensor, in place."""
    present = [(g, g) for grads in gradients for g in grads if g is not None]
    for same_device, _ in by_device_and_dtype(present):
        torch._foreach_mul_(same_device, scale.to(same_device[0].device))


def add(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Sums, into the left ones where both are present."""
    return [
        b if a is None else a if b is None else a.add_(b) for a, b in zip(left, right, strict=True)
    ]


def with_gradient(
    tensors: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[tuple[Tensor, Tensor]]:
    return [(t, g) for t, g in zip(tensors, grads, strict=True) if g is not None]


def by_device_and_dtype(
    pairs: Iterable[tuple[Tensor, Tensor]],
) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of tensors (of their local shards) as pairs of lists, of one device and dtype each.

    ``torch._foreach_*`` with a 0-d tensor on one device needs lists of that device. To be called
    under ``no_grad``.
    """
    lists: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for left, right in pairs:
        key = left.device, left.dtype
        group = lists.get(key) or lists.setdefault(key, ([], []))
        group[0].append(_local(left))
        group[1].append(_local(right))
    return list(lists.values())


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a ``DTensor``. Where nobody has imported their module there are none; importing
    it here would take more than half a second, which most training does not need."""
    if type(tensor) in (Tensor, nn.Parameter):
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return isinstance(tensor, getattr(module, "DTensor", ()))
