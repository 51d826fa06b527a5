"""``training.probe_every`` and ``training.snapshot_every``: what they say, and that nothing else of
a run is different with them."""

import copy
import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gnp.data import batches
from gnp.jobs.work import Work, checkpoint_bytes, work_of
from gnp.optim import RandomState
from gnp.settings import is_due, snapshot_epochs
from gnp.training import probe as probe_module
from gnp.training import run as run_module
from gnp.training.build import build_model
from gnp.training.checkpoint import CheckpointError, read_checkpoint
from gnp.training.probe import GradientProbe, NoProbe, unnoticed
from gnp.training.run import folder_of, run
from gnp.training.seeds import stream_seed
from gnp.training.snapshots import read_snapshot, snapshot_path

NAMES = {"g1_norm", "g2_norm", "g1_g2_cosine", "hv_norm", "probe_r"}


def lines_of(config):
    text = (folder_of(config) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def without(line, *also):
    return {k: v for k, v in line.items() if "seconds" not in k and k not in NAMES | {*also}}


@pytest.fixture
def config_of(tiny, tmp_path):
    return lambda name, *more: tiny(f"root={tmp_path / name}", "wandb.mode=disabled", *more)


def a_run(config):
    return run_module._Run(config, None, torch.device("cpu"), run_module.Processes())


# ---------------------------------------------------------------------- what is measured


class Quadratic(nn.Module):
    """Logits whose loss is replaced: ½ θᵀ A θ."""

    def __init__(self, hessian, theta):
        super().__init__()
        self.hessian, self.theta = hessian, nn.Parameter(theta)


def test_on_a_quadratic_the_numbers_are_those_of_the_formula(config_of, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    half = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    hessian, theta = half @ half.T, torch.randn(5, generator=generator, dtype=torch.float64)
    model = Quadratic(hessian, theta.clone())
    training = a_run(config_of("q", "training.probe_every=1", "optimizer.r=0.3"))
    probe = GradientProbe(
        training.config, model, training.data, training.augmentation, training.autocast,
        training.memory_format, None,
    )  # fmt: skip
    monkeypatch.setattr(
        GradientProbe,
        "_gradient",
        lambda self, images, targets: probe_module.gradient(
            0.5 * model.theta @ model.hessian @ model.theta, self._params
        ),
    )
    found = probe.measure(1)
    g1 = hessian @ theta
    v = g1 / g1.norm()
    g2 = hessian @ (theta + 0.3 * v)
    wanted = {
        "g1_norm": g1.norm(),
        "g2_norm": g2.norm(),
        "g1_g2_cosine": g1 @ g2 / g1.norm() / g2.norm(),
        "hv_norm": (hessian @ v).norm(),
        "probe_r": 0.3,
    }
    assert found == {k: pytest.approx(float(w), rel=1e-12) for k, w in wanted.items()}
    assert torch.equal(model.theta, theta)


def test_they_are_what_a_naive_loop_finds_in_float64(config_of):
    config = config_of("n", "training.probe_every=2", "optimizer=gnp", "optimizer.r=0.05")
    training = a_run(config)
    training.model.train()
    found = training.probe.measure(2)

    model = copy.deepcopy(training.model).double().train()
    generator = torch.Generator().manual_seed(stream_seed(config.seed, "probe", 2))
    train = training.data.train
    order = torch.randperm(len(train), generator=generator)[: 8 * config.training.batch_size]
    few = copy.copy(training.data)
    object.__setattr__(few, "train", train.take(order))
    rows = []
    for images, labels in batches(few, 16, training.augmentation, generator):
        gradients = []
        for climb in (False, True):
            net = copy.deepcopy(model)
            if climb:
                length = torch.cat([g.flatten() for g in gradients[0]]).norm()
                for p, g in zip(net.parameters(), gradients[0], strict=True):
                    p.data += 0.05 * g / length
            cross_entropy(net(images.double()), labels).backward()
            gradients.append([p.grad for p in net.parameters()])
        g1, g2 = (torch.cat([g.flatten() for g in gs]) for gs in gradients)
        product = (g2 - g1).norm() / 0.05
        rows.append([g1.norm(), g2.norm(), torch.cosine_similarity(g1, g2, dim=0), product])
    assert len(rows) == 5  # 80 images in batches of 16
    means = torch.tensor(rows).mean(0).tolist()
    names = ("g1_norm", "g2_norm", "g1_g2_cosine", "hv_norm")
    assert [found[name] for name in names] == pytest.approx(means, rel=2e-3)
    assert found["probe_r"] == 0.05


def test_both_gradients_have_the_same_draws(config_of, monkeypatch):
    training = a_run(config_of("d", "training.probe_every=1"))
    drawn = []

    def draws(self, images, targets):
        drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))
        return [torch.ones_like(p) for p in self._params]

    monkeypatch.setattr(GradientProbe, "_gradient", draws)
    training.probe.measure(1)
    assert drawn[0::2] == drawn[1::2]
    assert len(set(drawn)) == 5


def test_a_flat_point_has_no_direction_and_no_cosine(config_of, monkeypatch):
    training = a_run(config_of("flat", "training.probe_every=1", "optimizer=sgd"))
    zero = [torch.zeros_like(p) for p in training.probe._params]
    monkeypatch.setattr(GradientProbe, "_gradient", lambda *_: zero)
    assert training.probe.measure(1) == {
        "g1_norm": 0, "g2_norm": 0, "hv_norm": 0, "probe_r": 0.1,
    }  # fmt: skip


# ---------------------------------------------------------------------- what is left alone


@pytest.mark.parametrize(
    "settings",
    [
        ["optimizer=sgd"],
        ["optimizer=gnp", "augmentation=cutmix"],
        ["optimizer=sam", "training.sharpness_batch=8", "training.drop_last=true"],
        ["optimizer=gnp", "training.ema=0.8", "training.precision=bf16"],
        ["optimizer=gnp", "optimizer.direction_every=2"],
        ["optimizer=sam", "training.precision=fp16"],
    ],
    ids=" ".join,
)
def test_a_run_with_it_is_the_same_bit_for_bit(config_of, settings):
    plain = config_of("plain", *settings)
    probed = config_of("probed", *settings, "training.probe_every=1", "training.snapshot_every=2")
    run(plain)
    run(probed)
    ends = [read_checkpoint(folder_of(c) / "checkpoint.pt") for c in (plain, probed)]
    for name in ("model", "ema"):
        for key, value in ends[0].get(name, {}).items():
            assert torch.equal(value, ends[1][name][key]), key
    lines, probed_lines = lines_of(plain), lines_of(probed)
    assert [without(a) for a in lines] == [without(b) for b in probed_lines]
    assert all(line.keys() >= NAMES for line in probed_lines)
    assert not any(line.keys() & NAMES for line in lines)


def test_networks_buffers_modes_gradients_and_generators_are_left_as_they_were(config_of):
    training = a_run(config_of("left", "training.probe_every=1"))
    model = training.model
    model.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes())
    training.probe.measure(1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.full_like(p, 3.0)) for p in model.parameters())
    assert not any(m.training for m in model.modules())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tobytes() == states[2]


def test_draws_of_any_generator_are_put_back_also_by_an_exception():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    state = RandomState()
    wanted = (torch.rand(1).item(), random.random(), np.random.rand())
    state.put_back()
    with pytest.raises(KeyError), unnoticed(model, torch.device("cpu")):
        torch.rand(3), random.random(), np.random.rand(7)
        raise KeyError
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == wanted


def test_it_is_off_unless_it_is_asked_for(config_of):
    assert isinstance(a_run(config_of("off")).probe, NoProbe)


def test_only_the_epochs_that_are_due_have_numbers(config_of):
    config = config_of("due", "training.epochs=5", "training.probe_every=2", "optimizer=sgd")
    run(config)
    assert [line["epoch"] for line in lines_of(config) if "g1_norm" in line] == [2, 4, 5]
    assert [e for e in range(6) if is_due(e, 5, 2)] == [0, 2, 4, 5]
    assert not any(is_due(e, 5, 0) for e in range(6))


# ---------------------------------------------------------------------- snapshots


def test_snapshots_are_the_weights_of_their_epochs(config_of):
    config = config_of("kept", "training.epochs=3", "training.snapshot_every=2")
    run(config)
    assert snapshot_epochs(3, 2) == [0, 2, 3]
    assert snapshot_epochs(3, 0) == []
    folder = folder_of(config)
    end = read_checkpoint(folder / "checkpoint.pt")

    def weights(epoch):
        return read_snapshot(folder, end["run"], end["config"], epoch)["model"]

    torch.manual_seed(stream_seed(config.seed, "initialisation"))
    first = build_model(config).state_dict()
    assert all(torch.equal(v, weights(0)[k]) for k, v in first.items())
    assert all(torch.equal(v, weights(3)[k]) for k, v in end["model"].items())
    assert any(not torch.equal(v, weights(2)[k]) for k, v in end["model"].items())
    with pytest.raises(CheckpointError, match=r"has no checkpoint\.epoch1\.pt"):
        weights(1)
    with pytest.raises(CheckpointError, match="it is of"):
        read_snapshot(folder, "another", end["config"], 2)
    snapshot_path(folder, 2).write_bytes(snapshot_path(folder, 2).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be used"):
        weights(2)


def test_a_run_that_goes_on_has_the_same_snapshots_and_numbers(config_of, run_stopped_in):
    settings = ["training.epochs=4", "training.snapshot_every=1", "training.probe_every=1"]
    whole, stopped = (config_of(name, *settings) for name in ("whole", "stopped"))
    run(whole)
    run_stopped_in(stopped, 3)
    run(stopped)
    kinds = [{k: v for k, v in line.items() if "seconds" not in k} for line in lines_of(whole)]
    assert kinds == [
        {k: v for k, v in line.items() if "seconds" not in k} for line in lines_of(stopped)
    ]
    for epoch in range(5):
        both = [read_checkpoint(snapshot_path(folder_of(c), epoch)) for c in (whole, stopped)]
        assert all(torch.equal(v, both[1]["model"][k]) for k, v in both[0]["model"].items())


# ---------------------------------------------------------------------- what it costs


def test_a_plan_counts_its_passes_and_its_disk():
    training = {"epochs": 5, "batch_size": 10, "drop_last": True, "sharpness_batch": None}
    training |= {"ema": None, "evaluate_every": 0}
    optimizer = {"r": 0.0, "alpha": 0.0, "reference_fraction": 1.0, "direction_every": 1}
    optimizer |= {"penalty_warmup": "none", "penalty_warmup_epochs": 0, "penalty_start": 0.0}
    optimizer |= {"probability": 1.0, "climb_along": "gradient"}
    plain = {"training": training, "optimizer": optimizer}
    probed = {**plain, "training": training | {"probe_every": 2, "snapshot_every": 2}}
    before, after = (work_of(config, 100, 20) for config in (plain, probed))
    assert after == before + Work(drawn=80, trained=160, updates=8) * 3  # epochs 2, 4, 5
    assert work_of(probed, 100, 20, done=4) == work_of(plain, 100, 20, done=4) + Work(80, 160, 0, 8)
    few = work_of(probed, 35, 20).trained - work_of(plain, 35, 20).trained
    assert few == 3 * 2 * 30
    cost = {"flops": {"checkpoint": 1000, "network": 400}}
    assert checkpoint_bytes(probed, cost) - checkpoint_bytes(plain, cost) == 4 * 400
