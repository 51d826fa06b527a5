"""Gradients of two passes in the same memory are refused; those that have no memory are not."""

import warnings

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

from gnp.optim import GNP
from gnp.optim.gradients import refuse_shared_memory


def of_two_owners():
    """Two storages of the same memory."""
    values = np.ones(4, dtype=np.float32)
    return torch.from_numpy(values), torch.from_numpy(values)


class Wrapper(torch.Tensor):
    """One that does not tell what it wraps."""

    __torch_dispatch__ = classmethod(lambda *_, **__: NotImplemented)

    @staticmethod
    def __new__(cls):
        return torch.Tensor._make_wrapper_subclass(cls, (4,))


def fake():
    with FakeTensorMode():
        return torch.ones(4)


def two_views(whole):
    return whole.view(2, 2), whole.view(4)


ONE = torch.ones(4)
APART = {
    "plain": lambda: (torch.ones(4), torch.ones(4)),
    "parts of one bucket": lambda: ONE.split(2),
    "without entries": lambda: (ONE[:0], ONE[:0]),
    "meta": lambda: (torch.ones(4, device="meta"), torch.ones(4, device="meta")),
    "parts of one on meta": lambda: torch.ones(4, device="meta").split(2),
    "fake": lambda: (fake(), fake()),
    "functional": lambda: [torch._to_functional_tensor(torch.ones(4)) for _ in range(2)],
    "wrappers": lambda: [TwoTensor(torch.ones(4), torch.ones(4)) for _ in range(2)],
    "wrappers that do not tell": lambda: (Wrapper(), Wrapper()),
    "wrapper and plain": lambda: (TwoTensor(torch.ones(4), torch.ones(4)), torch.ones(4)),
}
SHARED = {
    "plain": lambda: two_views(torch.ones(4)),
    "of two owners": of_two_owners,
    "meta": lambda: two_views(torch.ones(4, device="meta")),
    "fake": lambda: two_views(fake()),
    "one tensor": lambda: (ONE, ONE),
    "one wrapper": lambda: [TwoTensor(torch.ones(4), torch.ones(4))] * 2,
    "wrappers of one": lambda: [TwoTensor(torch.ones(4), ONE) for _ in range(2)],
}


@pytest.mark.parametrize("kind", APART)
def test_gradients_that_lie_apart_are_not_taken_for_shared(kind):
    earlier, later = APART[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refuse_shared_memory([[earlier, None]], [[later, later]])


@pytest.mark.parametrize("kind", SHARED)
def test_gradients_in_the_same_memory_are_refused(kind):
    earlier, later = SHARED[kind]()
    with pytest.raises(RuntimeError, match="wrote its gradients over those of another"):
        refuse_shared_memory([[None, earlier]], [[None, later]])


@pytest.mark.parametrize("device", ["fake", "meta"])
@pytest.mark.parametrize("settings", [{}, {"direction_every": 2}, {"normalize_reference": True}])
def test_a_step_is_made_of_tensors_without_memory(device, settings):
    """For those who count FLOPs or memory, or trace: shapes alone."""
    if device == "fake":
        with FakeTensorMode():
            step(torch.nn.Linear(3, 2), settings)
    else:
        with torch.device("meta"):
            step(torch.nn.Linear(3, 2), settings)


def step(model, settings, pieces=2):
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, **settings)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3)).sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
        optimizer.step([closure] * pieces)
