"""A step that would silently be another one: no backward, or gradients of other batches in g1."""

import sys
from types import SimpleNamespace

import pytest
import torch
from problems import closure_for, problem
from torch import nn

from gnp.optim import GNP


def optimizer_of(params, **settings):
    return GNP(torch.optim.SGD(params, lr=0.1), **{"r": 0.3, "alpha": 0.8, **settings})


def stepped(params, loss_of, steps=2):
    """Where plain steps lead."""
    optimizer = optimizer_of(params)
    for _ in range(steps):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    return params


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# ---------------------------------------------------------------------- no backward


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.0}, {"alpha": 1.0}, {"direction_every": 2}])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_closure_without_backward_is_refused(settings, pieces):
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params, **settings)
    before = [p.detach().clone() for p in params]

    def closure():
        optimizer.zero_grad()
        return loss_of(params)

    with pytest.raises(RuntimeError, match=r"backward\(\)"):
        optimizer.step([closure] * pieces)
    assert equal(params, before)


def test_a_closure_that_leaves_the_gradients_of_the_step_before_is_refused():
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)
    optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    before = [p.detach().clone() for p in params]
    with pytest.raises(RuntimeError, match=r"as they were.*backward\(\)"):
        optimizer.step(lambda: loss_of(params))
    assert equal(params, before)


@pytest.mark.parametrize("forgotten", [1, 2])
def test_a_pass_without_backward_is_refused(forgotten):
    p = nn.Parameter(torch.ones(2))
    optimizer = optimizer_of([p])
    if forgotten == 2:
        with optimizer.first_pass():
            p.sum().backward()
        which = optimizer.second_pass()
    else:
        which = optimizer.first_pass()
    with pytest.raises(RuntimeError, match=r"backward\(\)"), which:
        p.sum()
    assert p.tolist() == [1, 1]


@pytest.mark.parametrize("alpha", [0.8, 1.0])
def test_a_second_call_without_backward_is_refused(alpha):
    p, calls = nn.Parameter(torch.ones(2)), []
    optimizer = optimizer_of([p], alpha=alpha)

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        loss = p.sum()
        if len(calls) == 1:
            loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="second pass"):
        optimizer.step(closure)
    assert p.tolist() == [1, 1]


def test_a_closure_that_returns_no_loss_skips_its_batch():
    """As Lightning's do when ``training_step`` returns None."""
    p = nn.Parameter(torch.ones(2))
    optimizer = optimizer_of([p])
    assert optimizer.step(optimizer.zero_grad) is None
    assert p.tolist() == [1, 1]


SKIPPING = [
    {}, {"alpha": 0.0}, {"l2": 0.1}, {"l2": 0.1, "alpha": 0.0}, {"normalize_reference": True},
    {"direction_every": 3}, {"direction_every": 3, "normalize_reference": True, "l2": 0.1},
    {"climb_along": "momentum", "l2": 0.1}, {"max_grad_norm": 1.0}, {"probability": 0.5},
    {"grad_scaler": True}, {"grad_scaler": True, "l2": 0.1, "direction_every": 3},
]  # fmt: skip


@pytest.mark.parametrize("settings", SKIPPING, ids=lambda settings: "-".join(settings) or "plain")
@pytest.mark.parametrize("skipped", [0, 1])
def test_a_skipped_batch_is_no_step_whatever_is_on(settings, skipped):
    """The steps around it are those that there are without it, of the same weights and state."""

    def trained(skips):
        _, params, loss_of, *_ = problem()
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if "grad_scaler" in settings else None
        base = torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1)
        optimizer = GNP(base, **{"r": 0.3, "alpha": 0.8, **settings, "grad_scaler": scaler})
        for step in range(3):
            if step == skips:
                before = [p.detach().clone() for p in params]
                count = optimizer.param_groups[0].get("steps")
                assert optimizer.step(optimizer.zero_grad) is None
                assert equal(params, before)
                if count is not None:
                    assert optimizer.param_groups[0]["steps"] == count + 1
            elif step == skipped:
                optimizer.renew_direction()  # as after any step that was none
            if "probability" in settings:
                optimizer.param_groups[0]["steps"] = step  # the same draws
            optimizer.step(closure_for(optimizer, lambda: loss_of(params), scaler))
            if scaler is not None:
                scaler.update()
        return params

    assert equal(trained(skips=skipped), trained(skips=None))


def test_a_piece_cannot_be_skipped():
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)
    before = [p.detach().clone() for p in params]
    for closures in ([optimizer.zero_grad] * 2, [None, optimizer.zero_grad]):
        whole = closure_for(optimizer, lambda: loss_of(params))
        with pytest.raises(RuntimeError, match="skipped its piece"):
            optimizer.step([closure or whole for closure in closures])
        assert equal(params, before)


@pytest.mark.parametrize("as_what", [float, lambda loss: loss.detach(), lambda loss: None])
def test_pieces_may_return_what_one_closure_may(as_what):
    _, params, loss_of, *_ = problem()
    expected = loss_of(params).detach()
    optimizer = optimizer_of(params)
    whole = closure_for(optimizer, lambda: loss_of(params))
    loss = optimizer.step([lambda: as_what(whole())] * 2)
    if as_what(expected) is None:
        assert loss is None
    else:
        torch.testing.assert_close(float(loss), float(expected), rtol=1e-6, atol=0)
    assert equal(params, stepped(problem()[1], loss_of, steps=1))


# ---------------------------------------------------------------------- others' gradients


@pytest.mark.parametrize("settings", [{}, {"alpha": 1.0}, {"direction_every": 2}])
def test_gradients_accumulated_before_the_closure_are_refused(settings):
    """What Lightning does, and loops by hand."""
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params, **settings)
    before = [p.detach().clone() for p in params]
    optimizer.zero_grad()
    loss_of(params).backward()

    def closure():
        loss = loss_of(params)
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="To accumulate, loop over the micro-batches"):
        optimizer.step(closure)
    assert equal(params, before)


def test_gradients_of_the_step_before_are_refused():
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)

    def closure():
        loss = loss_of(params)
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(RuntimeError, match=r"zero_grad\(\)"):
        optimizer.step(closure)


def test_two_passes_onto_those_of_a_micro_batch_are_refused():
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)
    with optimizer.first_pass():
        loss_of(params).backward()
    with optimizer.second_pass():
        loss_of(params).backward()
    with pytest.raises(RuntimeError, match="To accumulate"), optimizer.first_pass():
        loss_of(params).backward()


def test_without_a_penalty_gradients_may_accumulate():
    """It is the base optimizer."""
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    optimizer, base = optimizer_of(params, alpha=0.0), torch.optim.SGD(plain, lr=0.1)
    for _ in range(2):
        loss_of(params).backward()
        loss_of(plain).backward()
    with optimizer.first_pass():
        loss_of(params).backward()
    loss_of(plain).backward()
    optimizer.step()
    base.step()
    assert equal(params, plain)


@pytest.mark.parametrize("steps", [2, 4])
def test_accelerates_accumulation_is_refused(monkeypatch, steps):
    gradient_state = type("GradientState", (), {"_shared_state": {1: 1}, "num_steps": steps})
    monkeypatch.setitem(
        sys.modules, "accelerate.state", SimpleNamespace(GradientState=gradient_state)
    )
    p = nn.Parameter(torch.ones(2))
    optimizer = optimizer_of([p])
    closure = closure_for(optimizer, p.sum)
    with pytest.raises(RuntimeError, match=f"gradient_accumulation_steps={steps}"):
        optimizer.step(closure)
    with pytest.raises(RuntimeError, match="accumulation_steps=1"), optimizer.first_pass():
        pass
    gradient_state.num_steps = 1
    optimizer.step(closure)


# ---------------------------------------------------------------------- no false alarms


def in_micro_batches(optimizer, params, loss_of):
    optimizer.zero_grad()
    for _ in range(2):
        (loss_of(params) / 2).backward()
    return loss_of(params).detach()


def zeroed_in_place(optimizer, params, loss_of):
    optimizer.zero_grad(set_to_none=False)
    loss_of(params).backward()
    return loss_of(params).detach()


def zeroed_in_place_by_hand(optimizer, params, loss_of):
    for p in params:
        if p.grad is not None:
            p.grad.zero_()
    loss_of(params).backward()
    return loss_of(params).detach()


def assigned(optimizer, params, loss_of):
    for p, g in zip(params, torch.autograd.grad(loss_of(params), params), strict=True):
        p.grad = g
    return loss_of(params).detach()


def copied(optimizer, params, loss_of):
    for p, g in zip(params, torch.autograd.grad(loss_of(params), params), strict=True):
        if p.grad is None:
            p.grad = g.clone()
        else:
            p.grad.copy_(g)
    return loss_of(params).detach()


def with_a_graph(optimizer, params, loss_of):
    optimizer.zero_grad()
    loss = loss_of(params)
    loss.backward(create_graph=True)
    return loss.detach()


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize(
    "body",
    [in_micro_batches, zeroed_in_place, zeroed_in_place_by_hand, assigned, copied, with_a_graph],
)
def test_closures_of_every_kind_make_the_step(body):
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)
    for _ in range(3):
        optimizer.step(lambda: body(optimizer, params, loss_of))
    _, plain, *_ = problem()
    for a, b in zip(params, stepped(plain, loss_of, 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("by", ["optimizer", "model"])
@pytest.mark.parametrize("two_phase", [True, False])
def test_gradients_may_be_zeroed_before_the_step(to_none, by, two_phase):
    model, params, _, x, y = problem()
    _, plain, loss_of, *_ = problem()
    optimizer = optimizer_of(params)

    def backward():
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(3):
        {"optimizer": optimizer, "model": model}[by].zero_grad(set_to_none=to_none)
        if two_phase:
            with optimizer.first_pass():
                backward()
            with optimizer.second_pass():
                backward()
            optimizer.step()
        else:
            optimizer.step(backward)
    for a, b in zip(params, stepped(plain, loss_of, 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_parameters_that_are_used_now_and_then_are_no_alarm():
    often, rarely = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = optimizer_of([rarely, often, rarely.detach().clone().requires_grad_()])
    for step in range(4):
        loss = often.sum() + (rarely.sum() if step == 0 else 0)
        optimizer.step(closure_for(optimizer, lambda loss=loss: loss + 0 * often.square().sum()))
        optimizer.zero_grad(set_to_none=False)
    assert (rarely != 1).all()


def test_a_step_leaves_no_hooks_behind():
    p = nn.Parameter(torch.ones(2))
    optimizer = optimizer_of([p])
    for _ in range(3):
        optimizer.step(closure_for(optimizer, p.sum))
    assert not p._backward_hooks
    assert not p._post_accumulate_grad_hooks


def test_a_closure_that_zeroes_in_place_and_calls_no_backward_is_refused():
    """Its gradients are there, and zero: g would be zero in each step."""
    _, params, loss_of, *_ = problem()
    optimizer = optimizer_of(params)
    optimizer.step(closure_for(optimizer, lambda: loss_of(params)))

    def closure():
        optimizer.zero_grad(set_to_none=False)
        return loss_of(params)

    with pytest.raises(RuntimeError, match=r"brought none.*backward\(\)"):
        optimizer.step(closure)


def test_zero_gradients_that_backward_brings_are_no_error():
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = optimizer_of([parameter])
    optimizer.step(closure_for(optimizer, lambda: (parameter**2).sum()))
    before = parameter.detach().clone()

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = (0 * parameter).sum()
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    assert torch.equal(parameter, before)
