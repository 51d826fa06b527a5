"""GNP in several processes, beyond the matrix: running statistics, idle parameters, sharding."""

import pytest
import torch
import torch.distributed as dist
from matrix import BASES, SETTINGS, images, network
from problems import closure_for
from processes import run_in_processes
from torch import nn
from torch.nn.functional import cross_entropy

from gnp.optim import GNP, average_norm_statistics
from gnp.optim.processes import average_gradients

pytestmark = pytest.mark.slow


def in_each_process(rank):
    """Everything that is asked of the processes below, in one start of them."""
    return {
        "statistics": norm_statistics(rank),
        "idle": idle_parameters(rank),
        "buckets": buckets(rank),
        "overflow": overflow(rank),
        "skipped": [skipped(rank, when) for when in (0, 1)],
        **{f"sharded_{b}_{v}": sharded(b, v) for b in BASES for v in VARIANTS},
        "half": sharded("sgd", "plain", torch.bfloat16),
        "static_graph": {
            sync: special_ddp(rank, sync, static_graph=True) for sync in (True, False)
        },
        "hook": {sync: special_ddp(rank, sync, hook=True) for sync in (True, False)},
        "momentum": special_ddp(rank, False, hook=True, climb_along="momentum"),
    }


@pytest.fixture(scope="module")
def of_ranks():
    return run_in_processes(in_each_process, 2)


def closure_of(optimizer, model, x, y, scaler=None):
    return closure_for(optimizer, lambda: cross_entropy(model(x), y), scaler)


# ---------------------------------------------------------------------- batch norm


def norm_network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()


def norm_statistics(rank):
    model = norm_network()
    ddp = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.3, model=ddp)
    for step in range(3):
        x, y = (t.chunk(2)[rank] for t in images(step))
        optimizer.step(closure_of(optimizer, ddp, x, y))
    own = model[1].running_mean.clone()
    average_norm_statistics(model)
    return own, model.state_dict()


def test_processes_with_batch_norm_do_what_pieces_do(of_ranks):
    """Weights and, once averaged, running statistics too."""
    model = norm_network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.3, model=model)
    for step in range(3):
        pieces = zip(*(t.chunk(2) for t in images(step)), strict=True)
        optimizer.step([closure_of(optimizer, model, x, y) for x, y in pieces])
    own = [results["statistics"][0] for results in of_ranks]
    assert not torch.equal(*own)  # before averaging
    for results in of_ranks:
        for name, value in results["statistics"][1].items():
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------- gradients


def idle_parameters(rank):
    """A parameter that only one process uses counts as zero in the other."""
    both, one = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    model = nn.ParameterList([both, one])
    ddp = nn.parallel.DistributedDataParallel(_Sum(model), find_unused_parameters=True)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=1.0), r=0.3, model=ddp)

    def closure():
        optimizer.zero_grad()
        loss = ddp(rank == 0)
        loss.backward()
        return loss

    optimizer.step(closure)
    return [p.detach() for p in model]


class _Sum(nn.Module):
    def __init__(self, parameters):
        super().__init__()
        self.parameter_list = parameters

    def forward(self, use_second):
        loss = self.parameter_list[0].sum()
        return loss + self.parameter_list[1].sum() if use_second else loss


def test_a_parameter_that_one_process_uses(of_ranks):
    for both, one in (results["idle"] for results in of_ranks):
        assert both.tolist() == [0, 0]
        assert one.tolist() == [0.5, 0.5]


def buckets(rank):
    """Several buckets, of several dtypes, with a gap."""
    sizes = [4_000_000, 3, 4_000_000, 5]
    params = [nn.Parameter(torch.zeros(n)) for n in sizes]
    params += [nn.Parameter(torch.zeros(2, 2).double()), nn.Parameter(torch.zeros(3))]
    for i, p in enumerate(params[:-1]):
        p.grad = torch.full_like(p, i + rank)
    average_gradients(torch.optim.SGD(params, lr=1.0))
    return [(p.grad.min().item(), p.grad.max().item(), p.grad.dtype) for p in params]


def test_gradients_are_averaged_bucket_by_bucket(of_ranks):
    values = [0.5, 1.5, 2.5, 3.5, 4.5, 0.0]
    dtypes = [torch.float32] * 4 + [torch.float64, torch.float32]
    for results in of_ranks:
        assert results["buckets"] == [(v, v, d) for v, d in zip(values, dtypes, strict=True)]


def overflow(rank):
    """An overflow in one process skips the step in all."""
    model = norm_network().float()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ddp = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = GNP(base, r=0.3, model=ddp, grad_scaler=scaler)
    x, y = (t.chunk(2)[rank] for t in images(0))
    closure = closure_of(optimizer, ddp, x.float(), y, scaler)

    def overflowing():
        loss = closure()
        if rank == 1:
            model[0].weight.grad[0, 0] = float("inf")
        return loss

    optimizer.step(overflowing)
    scaler.update()
    same = all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    return same, scaler.get_scale()


def test_an_overflow_in_one_process_skips_the_step_in_all(of_ranks):
    assert [results["overflow"] for results in of_ranks] == [(True, 2.0)] * 2


def skipped(rank, when):
    """One process skips a batch: the others' gradients and a zero for its own make the step."""
    model = network().float()
    ddp = nn.parallel.DistributedDataParallel(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = GNP(base, r=0.3, model=ddp, grad_scaler=scaler)
    for step in range(3):
        x, y = (t.chunk(2)[rank] for t in images(step))
        closure = closure_of(optimizer, ddp, x.float(), y, scaler)
        before = model[0].weight.detach().clone()
        optimizer.step(optimizer.zero_grad if rank == 1 and step == when else closure)
        scaler.update()
        assert not torch.equal(before, model[0].weight)
    return [p.detach().clone() for p in model.parameters()]


def test_a_batch_that_one_process_skips_counts_as_zero_there(of_ranks):
    for ours, theirs in zip(*(results["skipped"] for results in of_ranks), strict=True):
        assert all(map(torch.equal, ours, theirs))
        assert all(p.isfinite().all() for p in ours)


# ---------------------------------------------------------------------- FSDP2

VARIANTS = {
    "plain": SETTINGS,
    "adaptive": {**SETTINGS, "adaptive": True},
    "economy": {**SETTINGS, "normalize_reference": False, "direction_every": 2},
}


def steps_of(model, optimizer, rows=slice(None)):
    for step in range(4):
        x, y = (t[rows] for t in images(step))
        x = x.to(next(model.parameters()).dtype)
        optimizer.step(closure_of(optimizer, model, x, y))


def sharded(base, variant, dtype=torch.float64):
    from torch.distributed.fsdp import fully_shard

    model = network().to(dtype)
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(model)
    optimizer = GNP(BASES[base](model.parameters()), model=model, **VARIANTS[variant])
    steps_of(model, optimizer, rows=slice(dist.get_rank(), None, 2))
    assert next(model.parameters()).to_local().shape != next(network().parameters()).shape
    return [p.full_tensor().detach() for p in model.parameters()]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("base", BASES)
def test_sharded_parameters_climb_as_whole_ones(of_ranks, base, variant):
    """fully_shard: the synchronous climb, because gradients are reduced as they are made."""
    model = network()
    optimizer = GNP(BASES[base](model.parameters()), **VARIANTS[variant])
    steps_of(model, optimizer)
    for results in of_ranks:
        for got, expected in zip(
            results[f"sharded_{base}_{variant}"], model.parameters(), strict=True
        ):
            torch.testing.assert_close(got, expected.detach(), rtol=1e-10, atol=1e-12)


def test_shards_in_half_precision(of_ranks):
    """As good as bfloat16 is: 8 bits."""
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    steps_of(model, GNP(BASES["sgd"](model.parameters()), **VARIANTS["plain"]))
    for results in of_ranks:
        for got, start, end in zip(results["half"], before, model.parameters(), strict=True):
            assert (got.double() - end).norm() < 0.2 * (end - start).norm()


# ---------------------------------------------------------------------- DDP's own ways


def special_ddp(rank, sync_climb, static_graph=False, hook=False, climb_along="gradient"):
    """Weights after three steps, with such a DDP and with a plain one; calls of the hook; what was
    refused. The last step has no penalty."""
    ends, calls, refused = [], [], []

    def count(state, bucket):
        calls.append(bucket.index())
        reduced = dist.all_reduce(bucket.buffer() / 2, async_op=True).get_future()
        return reduced.then(lambda future: future.value()[0])

    for special in (True, False):
        model = network()
        ddp = nn.parallel.DistributedDataParallel(model, static_graph=special and static_graph)
        if special and hook:
            ddp.register_comm_hook(None, count)
        base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer = GNP(base, r=0.3, model=ddp, sync_climb=sync_climb, climb_along=climb_along)
        for step in range(3):
            x, y = (t.chunk(2)[rank] for t in images(step))
            if step == 2:
                optimizer.set_penalty(optimizer.param_groups[0], 0.3, 0.0)
            try:
                optimizer.step(closure_of(optimizer, ddp, x, y))
            except RuntimeError as error:
                refused.append(str(error))
        ends.append([p.detach() for p in model.parameters()])
    return ends, len(calls), refused


@pytest.mark.parametrize("what", ["static_graph", "hook"])
def test_what_needs_ddps_own_reduction_works_with_a_synchronous_climb(of_ranks, what):
    for results in of_ranks:
        (special, plain), calls, refused = results[what][True]
        assert not refused
        assert calls == (5 if what == "hook" else 0)  # two passes, two passes, one
        for a, b in zip(special, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_along_the_momentum_ddp_reduces_in_backward_because_all_climb_alike(of_ranks):
    for results in of_ranks:
        (special, plain), calls, refused = results["momentum"]
        assert not refused
        assert calls == 3
        for a, b in zip(special, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("what", "words"), [("static_graph", "static_graph=True"), ("hook", "communication hooks")]
)
def test_what_needs_ddps_own_reduction_is_refused_where_each_process_climbs(of_ranks, what, words):
    for results in of_ranks:
        _, calls, refused = results[what][False]
        assert len(refused) == 2  # the step without a penalty is DDP's
        assert calls == (1 if what == "hook" else 0)
        for message in refused:
            assert words in message
            assert "sync_climb=True" in message
