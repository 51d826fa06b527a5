"""How gradients become means over processes, in one process: ``torch.distributed`` is played.

What real processes do is in ``test_gnp_distributed.py``.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gnp.optim import processes
from gnp.optim.processes import AtTheEnd, DataParallel, InBackward, average_gradients, processes_of


@pytest.fixture
def _two(monkeypatch):
    """A second process, each of whose gradients is greater by 2 than the one here."""
    monkeypatch.setattr(processes.dist, "get_world_size", lambda group=None: 2)
    monkeypatch.setattr(
        processes.dist, "all_reduce", lambda half, group=None: half.mul_(2).add_(1.0)
    )


@pytest.mark.usefixtures("_two")
def test_the_mean_over_the_processes_is_of_every_gradient(monkeypatch):
    monkeypatch.setattr(processes, "BUCKET_BYTES", 24)  # of 4-byte numbers: 6
    sizes = [(2, 2), (1,), (5,), (7,), (3,)]
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters += [nn.Parameter(torch.zeros(2).double()), nn.Parameter(torch.zeros(2))]
    for i, p in enumerate(parameters[:-1]):
        p.grad = torch.full_like(p, 10.0 * i)
    fixed = nn.Parameter(torch.zeros(2), requires_grad=False)
    average_gradients(torch.optim.SGD([*parameters, fixed], lr=1.0))
    for i, p in enumerate(parameters[:-1]):
        assert torch.equal(p.grad, torch.full_like(p, 10.0 * i + 1))
    assert torch.equal(parameters[-1].grad, torch.ones(2))
    assert fixed.grad is None


def played_ddp(**attributes):
    given = {"process_group": None, "static_graph": False, "_comm_hooks": [], **attributes}
    return SimpleNamespace(gradient_as_bucket_view=False, **given)


@pytest.mark.parametrize(
    ("together", "climbs", "when"),
    [
        (True, True, InBackward),
        (False, True, AtTheEnd),
        (False, False, InBackward),
        (True, False, InBackward),
    ],
)
@pytest.mark.usefixtures("_two")
def test_who_climbs_together_decides_when_gradients_are_reduced(together, climbs, when):
    assert type(DataParallel(played_ddp(), together).reduction(climbs)) is when


def test_one_process_has_nothing_to_reduce_at_the_end(monkeypatch):
    monkeypatch.setattr(processes.dist, "get_world_size", lambda group=None: 1)
    assert type(DataParallel(played_ddp(), together=False).reduction(True)) is InBackward


def test_a_compiled_ddp_module_is_seen():
    ddp = DistributedDataParallel.__new__(DistributedDataParallel)  # a group is not needed here
    for model in (ddp, SimpleNamespace(_orig_mod=ddp)):
        assert isinstance(processes_of(model, together=True), DataParallel)
    assert not isinstance(processes_of(nn.Linear(1, 1), together=True), DataParallel)
