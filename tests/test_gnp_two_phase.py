"""Steps without closures: first_pass, second_pass, step."""

import pytest
import torch
from problems import closure_for, problem, two_phases
from torch import nn

from gnp.optim import GNP

SETTINGS = {"r": 0.3, "alpha": 0.8, "l2": 0.05, "max_grad_norm": 0.5}


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        {**SETTINGS, "normalize_reference": True},
        {**SETTINGS, "adaptive": True},
        {**SETTINGS, "direction_every": 3},
        {"alpha": 0.0},
        {"r": 0.0},
        {"alpha": 0.0, "normalize_reference": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_it_is_the_step_with_a_closure(settings):
    _, with_closure, loss_of, *_ = problem()
    _, in_two_phases, *_ = problem()
    for params, two_phase in ((with_closure, False), (in_two_phases, True)):
        base = torch.optim.SGD(params, lr=0.1, momentum=0.9)
        optimizer = GNP(base, **settings)
        for _ in range(5):
            if two_phase:
                two_phases(optimizer, lambda ps=params: loss_of(ps))
            else:
                optimizer.step(closure_for(optimizer, lambda ps=params: loss_of(ps)))
    for a, b in zip(with_closure, in_two_phases, strict=True):
        assert torch.equal(a, b)


def test_statistics_draws_and_mode_are_as_with_a_closure():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model)
    x, masks = torch.randn(8, 4), []

    def loss():
        out = model(x)
        masks.append(out == 0)
        return out.square().mean()

    two_phases(optimizer, loss)
    assert model[1].num_batches_tracked == 1
    assert torch.equal(*masks)
    assert model[1].track_running_stats


def test_between_the_passes_the_weights_are_the_old_ones():
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1), r=0.5)
    seen = []
    with optimizer.first_pass():
        (0.5 * p.square().sum()).backward()
    seen.append(p.detach().clone())
    with optimizer.second_pass():
        seen.append(p.detach().clone())
        (0.5 * p.square().sum()).backward()
    seen.append(p.detach().clone())
    assert torch.equal(seen[0], seen[2])
    torch.testing.assert_close(seen[1], torch.tensor([3.3, 4.4]))
    torch.testing.assert_close(p.grad, torch.tensor([3.24, 4.32]))  # (1 − 0.8)·p + 0.8·1.1·p


def test_an_error_in_the_second_pass_leaves_the_weights_and_asks_for_a_new_first_one():
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1))
    with optimizer.first_pass():
        p.sum().backward()
    with pytest.raises(OSError, match="no"), optimizer.second_pass():
        raise OSError("no")
    assert p.tolist() == [1, 1]
    with pytest.raises(TypeError, match="first_pass"):
        optimizer.step()
    two_phases(optimizer, p.sum)
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))


def test_passes_out_of_order_are_refused():
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1))
    with pytest.raises(RuntimeError, match="first_pass"), optimizer.second_pass():
        pass
    with optimizer.first_pass():
        p.sum().backward()
    with pytest.raises(TypeError, match="second_pass"):
        optimizer.step()
    two_phases(optimizer, p.sum)
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()  # a gradient is stepped with once


def test_a_trainers_idle_closure_is_not_called():
    """Lightning's manual optimization passes one to every step."""
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1))
    with optimizer.first_pass():
        p.sum().backward()
    with optimizer.second_pass():
        p.sum().backward()
    optimizer.step(lambda: pytest.fail("called"))
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))


def test_zeroing_the_gradients_gives_a_step_up():
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1), r=0.0)
    with optimizer.first_pass():
        p.sum().backward()
    optimizer.zero_grad()
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()
    optimizer.step(closure_for(optimizer, p.sum))
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))


def test_a_scaler_of_the_loop_may_do_the_unscaling():
    """As a trainer does that calls ``scaler.step(optimizer)`` and knows no closures."""
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    expected = GNP(torch.optim.SGD(plain, lr=0.1), 0.3, 0.8)
    two_phases(expected, lambda: loss_of(plain))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = GNP(torch.optim.SGD(params, lr=0.1), 0.3, 0.8)
    with optimizer.first_pass():
        scaler.scale(loss_of(params)).backward()
    with optimizer.second_pass():
        scaler.scale(loss_of(params)).backward()
    scaler.step(optimizer)
    scaler.update()
    for a, b in zip(params, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("bad_pass", [1, 2])
@pytest.mark.parametrize("pieces", [1, 2])
def test_an_overflow_leaves_no_trace_in_the_running_statistics(bad_pass, pieces):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, grad_scaler=scaler)
    calls, x = [], torch.randn(8, 4)

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        scaler.scale(loss).backward()
        if len(calls) == bad_pass:
            model[0].weight.grad[0, 0] = float("nan")
        return loss.detach()

    optimizer.step([closure] * pieces)
    scaler.update()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not optimizer.state
    optimizer.step([closure] * pieces)  # the next one counts
    assert model[1].num_batches_tracked == 1
    assert not torch.equal(model[0].weight, before["0.weight"])
