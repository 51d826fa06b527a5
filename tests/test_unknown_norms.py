"""Batch norm that GNP was not told of is said once, and only where it matters."""

import warnings

import pytest
import torch
from torch import nn

from gnp.optim import GNP

IMAGES = torch.linspace(-1, 1, 8).reshape(4, 2)


def network(norm):
    return nn.Sequential(nn.Linear(2, 3), norm, nn.Linear(3, 1))


def said(trained, steps=2, **settings):
    """The warnings of some steps."""
    optimizer = GNP(torch.optim.SGD(trained.parameters(), lr=0.1), **settings)

    def closure():
        optimizer.zero_grad()
        loss = trained(IMAGES).square().mean()
        loss.backward()
        return loss.detach()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(steps):
            optimizer.step(closure)
    return [w for w in caught if issubclass(w.category, UserWarning)]


class Ghost(nn.BatchNorm1d):
    """Somebody's own."""


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, Ghost])
def test_it_is_said_once_where_the_step_was_called(norm):
    # Made here: a script of ours that ran in this process has frozen what there was before, and
    # Python does not list that.
    (warning,) = said(network(norm(3)))
    assert "model=model" in str(warning.message)
    assert norm.__name__ in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_statistics": "both"},  # that is what it says
        {"alpha": 0.0},
        {"r": 0.0},
    ],
)
def test_nothing_is_said_where_a_batch_counts_once_or_twice_is_meant(settings):
    assert not said(network(nn.BatchNorm1d(3)), **settings)


@pytest.mark.parametrize("norm", [nn.LayerNorm(3), nn.BatchNorm1d(3, track_running_stats=False)])
def test_nothing_is_said_of_norms_without_running_statistics(norm):
    assert not said(network(norm))


def test_nothing_is_said_of_a_known_network_nor_of_somebody_elses():
    model, _others = network(nn.BatchNorm1d(3)), network(nn.BatchNorm1d(3))
    assert not said(model, model=model)
    assert not said(network(nn.LayerNorm(3)))  # while the others are there


def test_nothing_is_said_of_frozen_statistics():
    model = network(nn.BatchNorm1d(3))
    model[1].eval()
    assert not said(model)


def test_the_base_is_looked_at_before_its_arguments():
    parameters = nn.Linear(2, 1).parameters()
    with pytest.raises(TypeError, match=r"as in GNP\(SGD\(model.parameters\(\).*not 'generator'"):
        GNP(parameters, lr=0.1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'lr'"):
        GNP(torch.optim.SGD(parameters, lr=0.1), lr=0.1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'base'"):
        GNP(r=0.1)
