"""A moving average of the weights: its formula, what is evaluated, and that without it all is as
it was."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

from gnp.optim import GNP
from gnp.settings import ConfigError
from gnp.training import run as run_module
from gnp.training.build import build_model
from gnp.training.checkpoint import read_checkpoint
from gnp.training.ema import LastWeights, MovingAverage, evaluated_network
from gnp.training.loop import evaluate
from gnp.training.run import folder_of, run

DECAY = 0.9


def numbers(config):
    text = (folder_of(config) / "metrics.jsonl").read_text()
    return [
        {k: v for k, v in json.loads(line).items() if "seconds" not in k}
        for line in text.splitlines()
    ]


@pytest.fixture
def config_of(tiny, tmp_path):
    return lambda name, *more: tiny(
        "optimizer=gnp", f"root={tmp_path / name}", "wandb.mode=disabled", *more
    )


def test_weights_under_two_names_are_refused(tiny):
    """timm's average would take them twice a step."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    optimizer = GNP(torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(ConfigError, match=r"training\.ema=0\.9: the network has weights under sev"):
        evaluated_network(tiny("training.ema=0.9"), network, network, optimizer)
    assert isinstance(evaluated_network(tiny(), network, network, optimizer), LastWeights)


def test_it_is_the_formula_from_the_initial_weights_on():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    average = MovingAverage(model, DECAY, lambda net: net)
    right = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(7):
        optimizer.zero_grad()
        model(torch.randn(8, 3).double()).square().sum().backward()
        optimizer.step()
        average.after_step()
        for name, value in model.state_dict().items():
            moved = DECAY * right[name] + (1 - DECAY) * value
            right[name] = moved if value.is_floating_point() else value.clone()
    found = average.network.state_dict()
    assert found["1.num_batches_tracked"] == 7
    assert found.keys() == right.keys()
    for name, value in right.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    assert not torch.equal(found["1.running_var"], model[1].running_var)


def test_the_average_is_evaluated_and_training_does_not_see_it(config_of):
    with_average, without = config_of("with", "training.ema=0.8"), config_of("without")
    summary, plain = run(with_average), run(without)
    lines, plain_lines = numbers(with_average), numbers(without)
    for line, other in zip(lines, plain_lines, strict=True):
        assert line.keys() == other.keys()
        for name in ("train_loss", "train_error", "learning_rate"):
            assert line[name] == other[name]
        assert line["test_loss"] != other["test_loss"]
    state = read_checkpoint(folder_of(with_average) / "checkpoint.pt")
    same = read_checkpoint(folder_of(without) / "checkpoint.pt")
    assert all(torch.equal(v, same["model"][k]) for k, v in state["model"].items())
    assert "ema" not in same
    network = build_model(with_average)
    network.load_state_dict(state["ema"])
    the_run = run_module._Run(with_average, None, torch.device("cpu"), run_module.Processes())
    found = evaluate(network, the_run.data, torch.device("cpu"), the_run.autocast)
    assert summary["final"]["test_loss"] == pytest.approx(found.loss, rel=1e-6)
    assert summary["final"]["fit_loss"] != plain["final"]["fit_loss"]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(config_of, run_stopped_in):
    whole, stopped = (config_of(name, "training.ema=0.8") for name in ("whole", "stopped"))
    run(whole)
    run_stopped_in(stopped, 2)
    run(stopped)
    assert numbers(whole) == numbers(stopped)
    ends = [read_checkpoint(folder_of(c) / "checkpoint.pt")["ema"] for c in (whole, stopped)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_without_it_the_network_itself_is_evaluated_and_timm_is_not_needed(config_of):
    network = nn.Linear(2, 2)
    optimizer = GNP(torch.optim.SGD(network.parameters(), lr=0.1))
    evaluated = evaluated_network(config_of("off"), network, network, optimizer)
    assert isinstance(evaluated, LastWeights)
    assert evaluated.network is network
    assert evaluated.state_dict() == {}
    code = "import sys, gnp.training.run; print('timm' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_base_that_averages_by_itself_is_refused(config_of):
    schedulefree = pytest.importorskip("schedulefree")
    network = nn.Linear(2, 2)
    optimizer = GNP(schedulefree.SGDScheduleFree(network.parameters(), lr=0.1))
    with pytest.raises(ConfigError, match=r"training\.ema=0\.8: SGDScheduleFree .*ema=null"):
        evaluated_network(config_of("x", "training.ema=0.8"), network, network, optimizer)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["optimizer.climb_only_norms=true", "model.batch_norm=false"], "nothing would climb"),
        (["optimizer.climb_along=momentum", "recipe.base.momentum=0",
          "recipe.base.nesterov=false"], "needs momentum above 0"),
    ],
)  # fmt: skip
def test_a_climb_that_does_not_go_with_the_network_or_base_is_refused(config_of, settings, words):
    with pytest.raises(ConfigError, match=rf"^optimizer: .*{words}"):
        run(config_of("refused", *settings))
