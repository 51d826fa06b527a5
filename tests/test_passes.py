"""The second pass: buffers as the first pass left them, the same random draws."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from problems import closure_for
from torch import nn
from torch.nn.functional import batch_norm

from gnp.optim import GNP, RandomState, kept_buffers


def buffers(model):
    return {name: b.clone() for name, b in model.named_buffers()}


NORMS = [
    nn.BatchNorm2d(3),
    nn.BatchNorm2d(3, momentum=None),
    nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
]


@pytest.mark.parametrize("norm", NORMS, ids=repr)
def test_running_statistics_come_from_the_first_pass_only(norm):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.Flatten(), nn.Linear(48, 2))
    x, y = torch.randn(8, 3, 4, 4) * 3 + 1, torch.randint(2, (8,))
    model.train()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=5.0, alpha=0.8, model=model)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        calls.append(buffers(model))
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(calls) == 2
    assert calls[0]
    for name, value in buffers(model).items():
        assert torch.equal(value, calls[0][name]), name


# ---------------------------------------------------------------------- buffers of any class


class GhostNorm(nn.BatchNorm1d):
    """Statistics of each half of the batch. It hands its buffers to the function itself, whatever
    its flags say, and makes them anew when the mode changes (as in cifar10-fast)."""

    def __init__(self, features):
        super().__init__(features)
        self.running_mean = torch.zeros(2 * features)
        self.running_var = torch.ones(2 * features)

    def train(self, mode=True):
        self.running_mean = self.running_mean.view(2, -1).mean(0).repeat(2)
        self.running_var = self.running_var.view(2, -1).mean(0).repeat(2)
        return super().train(mode)

    def forward(self, x):
        n, c = x.shape
        if not self.training:
            return batch_norm(x, self.running_mean[:c], self.running_var[:c])
        x = x.view(2, n // 2, c).transpose(0, 1).reshape(n // 2, 2 * c)
        x = batch_norm(x, self.running_mean, self.running_var, training=True)
        return x.view(n // 2, 2, c).transpose(0, 1).reshape(n, c)


class Queue(nn.Module):
    """A memory bank that takes in each batch."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("bank", torch.zeros(64, features))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        at = int(self.next)
        self.bank[at : at + len(x)] = x.detach()
        self.next += len(x)
        return x


class Lazy(nn.Module):
    """Puts a new tensor in the place of its buffer, and one more beside it, at each pass."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))

    def forward(self, x):
        self.centre = self.centre + x.detach().mean(0)
        self.register_buffer(f"pass{len(self._buffers)}", self.centre.clone())
        return x


class Growing(nn.Module):
    """One more row for each pass."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("rows", torch.zeros(0, features))

    def forward(self, x):
        self.rows.resize_(len(self.rows) + 1, x.shape[1])[-1] = x.detach().mean(0)
        return x


class Average(nn.Module):
    """Does not let go of the graph that its average comes from."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, x):
        self.mean = 0.9 * self.mean.detach() + 0.1 * x.mean(0)
        return x


def moving_average_observer(features):
    return torch.ao.quantization.FakeQuantize(
        torch.ao.quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255
    )


CHANGING = {
    "ghost norm": GhostNorm,
    "queue": Queue,
    "observer": moving_average_observer,
    "replaced": Lazy,
    "growing": Growing,
    "with a history": Average,
    "spectral norm": lambda n: torch.nn.utils.parametrizations.spectral_norm(nn.Linear(n, n)),
    "batch norm": nn.BatchNorm1d,
}


def network_with(kind):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), CHANGING[kind](6), nn.Linear(6, 2))


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", CHANGING)
def test_after_a_step_every_buffer_is_what_the_first_pass_left(kind, scaled):
    model, x = network_with(kind), torch.randn(8, 4)
    model.eval()  # an evaluation before: it may make buffers anew
    model.train()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
    optimizer = GNP(
        torch.optim.SGD(model.parameters(), lr=0.1), r=5.0, model=model, grad_scaler=scaler
    )
    for _ in range(3):
        before, calls = buffers(model), []

        def loss(calls=calls):
            value = model(x).square().mean()
            calls.append(buffers(model))
            return value

        optimizer.step(closure_for(optimizer, loss, scaler))
        if scaler:
            scaler.update()
        assert len(calls) == 2
        assert_same(buffers(model), calls[0])
        for other in (before, calls[1]):  # so that the line above says something
            with pytest.raises(AssertionError):
                assert_same(other, calls[0])


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_pieces_of_a_batch_count_once_whatever_the_norms_class():
    """A ghost norm's statistics are the pieces' mean, a queue takes in one piece after another."""
    x = torch.randn(8, 4)
    ghost, queue = network_with("ghost norm"), network_with("queue")
    alone = []
    for piece in x.split(4):
        twin = network_with("ghost norm")
        twin(piece)
        alone.append(twin[1].running_mean.clone())
    hidden = queue[0](x).detach()
    step_in_pieces(ghost, x)
    step_in_pieces(queue, x)
    torch.testing.assert_close(ghost[1].running_mean, torch.stack(alone).mean(0))
    assert queue[1].next == 8
    torch.testing.assert_close(queue[1].bank[:8], hidden)


def step_in_pieces(model, x):
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=5.0, model=model)
    optimizer.step(
        [closure_for(optimizer, lambda p=p: model(p).square().mean()) for p in x.split(4)]
    )


@pytest.mark.parametrize("kind", ["queue", "with a history", "batch norm"])
def test_a_skipped_step_leaves_no_trace_in_any_buffer(kind):
    model, x = network_with(kind), torch.randn(8, 4)
    before = buffers(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, grad_scaler=scaler)

    def overflowing():
        return model(x).square().mean() * float("inf")

    optimizer.step(closure_for(optimizer, overflowing, scaler))
    assert_same(buffers(model), before)


class Cache(nn.Module):
    """A table that is made longer when it has to be, and an attribute that says how long it is."""

    def __init__(self, features):
        super().__init__()
        self.length = 0
        self.register_buffer("table", torch.zeros(0, 1))

    def forward(self, x):
        if len(x) > self.length:
            self.length = len(x)
            self.table = torch.ones(self.length, 1)
        return x * self.table[: len(x)]


def test_a_skipped_step_leaves_a_cache_as_long_as_its_module_believes_it_to_be():
    model, x = nn.Sequential(nn.Linear(4, 6), Cache(6), nn.Linear(6, 2)), torch.randn(8, 4)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, grad_scaler=scaler)
    for factor in (float("inf"), 1.0):
        loss = closure_for(optimizer, lambda f=factor: model(x).square().mean() * f, scaler)
        assert optimizer.step(loss).isfinite() == (factor == 1)
        scaler.update()


CONSTANTS = {
    "expanded": lambda: torch.ones(1).expand(5),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
}


@pytest.mark.filterwarnings("ignore")  # torch's, about its kinds of tensors
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("kind", CONSTANTS)
def test_constant_buffers_of_any_kind_are_no_hindrance(kind, pieces, scaled):
    model, x = nn.Linear(4, 2), torch.randn(8, 4)
    constant = CONSTANTS[kind]()
    model.register_buffer("constant", constant)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, grad_scaler=scaler)
    for _ in range(2):
        closure = closure_for(optimizer, lambda: model(x).square().mean(), scaler)
        assert optimizer.step([closure] * pieces).isfinite()
        if scaler:
            scaler.update()
    assert model.constant is constant


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_scripted_network_counts_a_batch_once(pieces, scaled):
    model, x = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), torch.randn(8, 4)
    scripted = torch.jit.script(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
    base = torch.optim.SGD(scripted.parameters(), lr=0.1)
    optimizer = GNP(base, model=scripted, grad_scaler=scaler)
    closure = closure_for(optimizer, lambda: scripted(x).square().mean(), scaler)
    for _ in range(2):
        optimizer.step([closure] * pieces)
        if scaler:
            scaler.update()
    assert dict(scripted.named_buffers())["1.num_batches_tracked"] == 2


def test_a_pickle_holds_no_copies_of_buffers():
    model = network_with("queue")
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model)
    before = len(pickle.dumps(optimizer))
    optimizer.step(closure_for(optimizer, lambda: model(torch.randn(8, 4)).square().mean()))
    model.zero_grad()
    assert len(pickle.dumps(optimizer)) < 1.1 * before
    copy.deepcopy(optimizer)


def test_a_piece_that_raises_leaves_every_buffer_alone():
    model, x = network_with("queue"), torch.randn(8, 4)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model)
    before = buffers(model)

    def broken():
        model(x)
        raise OSError("no")

    good = closure_for(optimizer, lambda: model(x).square().mean())
    with pytest.raises(OSError, match="no"):
        optimizer.step([good, broken])
    assert_same(buffers(model), before)


def test_a_buffer_that_an_evaluation_made_in_inference_mode_is_kept_too():
    model, x = network_with("ghost norm"), torch.randn(8, 4)
    with torch.inference_mode():
        model.eval()
        model(x)
    model.train()
    assert not model[1].running_mean.is_inference()
    model[1]._buffers["running_mean"] = _in_inference_mode(model[1].running_mean)
    before = model[1].running_mean.clone()
    with kept_buffers(model):
        with torch.inference_mode():
            model[1].running_mean.add_(1)
        assert not torch.equal(model[1].running_mean, before)
    assert torch.equal(model[1].running_mean, before)


def _in_inference_mode(tensor):
    with torch.inference_mode():
        return tensor.clone()


@pytest.mark.slow
def test_a_compiled_network_with_batch_norm_is_compiled_once():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model, x = network_with("batch norm"), torch.randn(8, 4)
    compiled = torch.compile(model, backend=backend)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=compiled)
    for _ in range(3):
        optimizer.step(closure_for(optimizer, lambda: compiled(x).square().mean()))
    assert len(graphs) == 1
    assert model[1].num_batches_tracked == 3


@pytest.mark.filterwarnings("ignore:the network has batch norm")
def test_without_a_model_the_statistics_see_both_passes():
    """The other side of the promise: without it the test above would pass for any optimizer."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    x, y = torch.randn(8, 3), torch.randint(2, (8,))
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.1)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert model[0].num_batches_tracked == 2


def test_a_frozen_norm_still_normalises_by_the_batch():
    norm = nn.BatchNorm1d(3).train()
    x = torch.randn(16, 3) * 7 + 3
    with kept_buffers(norm):
        frozen = norm(x)
    assert torch.equal(frozen, norm(x))


def test_a_norm_in_eval_mode_keeps_using_its_running_statistics():
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(16, 3) + 5)
    norm.eval()
    x = torch.randn(4, 3)
    expected = norm(x)
    with kept_buffers(norm):
        assert torch.equal(norm(x), expected)


def test_what_was_changed_is_put_back_after_an_exception_and_nested():
    model = nn.Sequential(
        nn.BatchNorm1d(3, momentum=0.3), nn.InstanceNorm1d(3, track_running_stats=True)
    ).train()
    kept = buffers(model)
    with pytest.raises(ValueError), kept_buffers(model), kept_buffers(model):
        model(torch.randn(8, 3, 4) + 5)
        assert not torch.equal(model[0].running_mean, kept["0.running_mean"])
        raise ValueError
    for name, value in buffers(model).items():
        assert torch.equal(value, kept[name]), name
    assert model[0].track_running_stats
    assert model[1].momentum == 0.1
    before = model[0].running_mean.clone()
    model[0](torch.randn(8, 3) + 5)
    assert not torch.equal(model[0].running_mean, before)


def test_both_passes_see_the_same_dropout():
    drop = nn.Dropout(0.5)
    theta = nn.Parameter(torch.ones(1000))
    optimizer = GNP(torch.optim.SGD([theta], lr=0.0), r=0.1)
    masks = []

    def closure():
        optimizer.zero_grad()
        dropped = drop(theta)
        masks.append(dropped.detach() == 0)
        loss = dropped.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    optimizer.step(closure)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


DRAWS = {
    "torch": lambda: torch.rand(()).item(),
    "python": random.random,
    "numpy": np.random.rand,
}


@pytest.mark.parametrize("source", DRAWS)
def test_both_passes_have_the_same_draws_of_every_default_generator(source):
    """LayerDrop by ``random`` or ``numpy.random`` drops the same layers twice."""
    theta = nn.Parameter(torch.ones(3))
    optimizer = GNP(torch.optim.SGD([theta], lr=0.0), r=0.1)
    drawn = []

    def loss():
        drawn.append(DRAWS[source]())
        return theta.square().sum()

    for _ in range(2):
        optimizer.step(closure_for(optimizer, loss))
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert drawn[1] != drawn[2]


class _Accelerator:
    """Stands for a kind of device with generators: one for each device, or one for all (mps)."""

    def __init__(self, one_for_all):
        self.state = {None: 0, "a": 0}
        if one_for_all:
            self.get_rng_state = lambda: self.state[None]
            self.set_rng_state = lambda state: self.state.update({None: state})
        else:
            self.get_rng_state = lambda device: self.state[device.type[0]]
            self.set_rng_state = lambda state, device: self.state.update({device.type[0]: state})


@pytest.mark.parametrize("one_for_all", [False, True])
def test_other_accelerators_generators_are_replayed(monkeypatch, one_for_all):
    module = _Accelerator(one_for_all)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    device = type("Device", (), {"type": "acc"})()
    key = None if one_for_all else "a"
    module.state[key] = 5
    state = RandomState([device])
    module.state[key] = 6
    with state.replayed():
        assert module.state[key] == 5
        module.state[key] = 99
    assert module.state[key] == 6


def test_the_generator_goes_on_as_after_one_pass_whatever_the_second_draws():
    theta = nn.Parameter(torch.ones(3))
    optimizer = GNP(torch.optim.SGD([theta], lr=0.0), r=0.1)
    calls = []

    def closure():
        calls.append(None)
        torch.rand(3 if len(calls) == 1 else 77)
        optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        return loss

    torch.manual_seed(9)
    torch.rand(3)
    expected = torch.rand(1)
    torch.manual_seed(9)
    optimizer.step(closure)
    assert torch.equal(torch.rand(1), expected)


def test_a_replay_restores_the_generator_after_an_exception():
    state = RandomState()
    drawn = torch.rand(2)
    after = torch.get_rng_state()
    with pytest.raises(ValueError), state.replayed():
        assert torch.equal(torch.rand(2), drawn)
        raise ValueError
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.cuda
def test_draws_on_cuda_are_replayed():
    state = RandomState([torch.device("cuda")])
    drawn = torch.rand(2, device="cuda")
    with state.replayed():
        assert torch.equal(torch.rand(2, device="cuda"), drawn)
