"""The second pass: statistics from the first pass only, the same random draws."""

import pytest
import torch
from torch import nn

from gnp.optim import GNP, RandomState, frozen_norm_statistics


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
    with frozen_norm_statistics(norm):
        frozen = norm(x)
    assert torch.equal(frozen, norm(x))


def test_a_norm_in_eval_mode_keeps_using_its_running_statistics():
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(16, 3) + 5)
    norm.eval()
    x = torch.randn(4, 3)
    expected = norm(x)
    with frozen_norm_statistics(norm):
        assert torch.equal(norm(x), expected)


def test_what_was_changed_is_put_back_after_an_exception_and_nested():
    model = nn.Sequential(
        nn.BatchNorm1d(3, momentum=0.3), nn.InstanceNorm1d(3, track_running_stats=True)
    ).train()
    with pytest.raises(ValueError), frozen_norm_statistics(model), frozen_norm_statistics(model):
        raise ValueError
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_draws_on_cuda_are_replayed():
    state = RandomState([torch.device("cuda")])
    drawn = torch.rand(2, device="cuda")
    with state.replayed():
        assert torch.equal(torch.rand(2, device="cuda"), drawn)
