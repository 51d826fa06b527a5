"""GNP's gradient against truths that are computed another way, in float64."""

from pathlib import Path

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.optim import GNP, reference
from gnp.optim.reference import gnp_gradient, gnp_step


def step_and_read(params, loss_of, **settings):
    """One GNP step on SGD with lr 1: the mixed gradient is θ before − θ after."""
    before = [p.detach().clone() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=1.0), **settings)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    return [b - p.detach() for b, p in zip(before, params, strict=True)], loss


def quadratic(dimension=7):
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    return root @ root.T / dimension, torch.randn(dimension, generator=generator).double()


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("r", [0.01, 0.5])
def test_on_a_quadratic_it_is_the_gradient_of_the_penalised_loss(alpha, r):
    matrix, offset = quadratic()

    def loss_of(params):
        return 0.5 * params[0] @ matrix @ params[0] + offset @ params[0]

    theta = torch.randn(7, dtype=torch.float64, requires_grad=True)
    reference = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of([reference]), reference, create_graph=True)
    penalised = loss_of([reference]) + alpha * r * gradient.norm()
    (expected,) = torch.autograd.grad(penalised, reference)

    (got,), _ = step_and_read([theta], loss_of, r=r, alpha=alpha)

    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def small_network():
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    ).double()
    x, y = torch.randn(16, 5).double(), torch.randint(3, (16,))
    names = [n for n, _ in model.named_parameters()]

    def loss_of(params):
        return cross_entropy(functional_call(model, dict(zip(names, params, strict=True)), (x,)), y)

    return list(model.parameters()), loss_of


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_on_a_network_it_is_the_formula_written_out(alpha):
    params, loss_of = small_network()
    expected = gnp_gradient(loss_of, params, r=0.3, alpha=alpha)
    got, _ = step_and_read(params, loss_of, r=0.3, alpha=alpha)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-11, atol=1e-13)


def test_the_formula_test_would_notice_another_alpha():
    params, loss_of = small_network()
    expected = gnp_gradient(loss_of, params, r=0.3, alpha=0.8)
    got, _ = step_and_read(params, loss_of, r=0.3, alpha=0.7)
    assert not torch.allclose(got[0], expected[0], rtol=1e-6)


def test_alpha_one_is_sam():
    params, loss_of = small_network()
    # SAM as its paper has it: the gradient at θ + ρ g/‖g‖, nothing mixed in.
    gradient = torch.autograd.grad(loss_of(params), params)
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    climbed = [
        (p + 0.1 * g / norm).detach().requires_grad_()
        for p, g in zip(params, gradient, strict=True)
    ]
    expected = torch.autograd.grad(loss_of(climbed), climbed)
    got, _ = step_and_read(params, loss_of, r=0.1, alpha=1.0)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-12, atol=1e-14)


def test_several_steps_with_momentum_follow_the_formula():
    params, loss_of = small_network()
    twin = [p.detach().clone().requires_grad_() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True), r=0.1, alpha=0.8)
    plain = torch.optim.SGD(twin, lr=0.1, momentum=0.9, nesterov=True)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)
        gnp_step(plain, loss_of, twin, r=0.1, alpha=0.8)
    for p, t in zip(params, twin, strict=True):
        torch.testing.assert_close(p, t, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("other", [0.05, 0.0])
def test_each_group_has_its_own_r_and_alpha_and_the_norm_is_global(other):
    params, loss_of = small_network()
    g1 = torch.autograd.grad(loss_of(params), params)
    norm = torch.cat([g.flatten() for g in g1]).norm()
    radius, alpha = [0.3, 0.3, other, other], [0.8, 0.8, 0.4, 0.4]
    climbed = [
        (p + rad * g / norm).detach().requires_grad_()
        for p, g, rad in zip(params, g1, radius, strict=True)
    ]
    g2 = torch.autograd.grad(loss_of(climbed), climbed)
    expected = [(1 - a) * x + a * y for x, y, a in zip(g1, g2, alpha, strict=True)]

    before = [p.detach().clone() for p in params]
    base = torch.optim.SGD(
        [
            {"params": params[:2], "r": 0.3, "alpha": 0.8},
            {"params": params[2:], "r": other, "alpha": 0.4},
        ],
        lr=1.0,
    )
    optimizer = GNP(base)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        return loss

    optimizer.step(closure)
    for b, p, e in zip(before, params, expected, strict=True):
        torch.testing.assert_close(b - p.detach(), e, rtol=1e-11, atol=1e-13)


def test_clipping_scales_the_mixed_gradient_once():
    params, loss_of = small_network()
    expected = gnp_gradient(loss_of, params, r=0.3, alpha=0.8)
    norm = torch.cat([g.flatten() for g in expected]).norm()
    limit = 0.5 * norm.item()
    got, _ = step_and_read(params, loss_of, r=0.3, alpha=0.8, max_grad_norm=limit)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e * limit / norm, rtol=1e-9, atol=1e-12)


def test_a_gradient_below_the_limit_is_not_clipped():
    params, loss_of = small_network()
    expected = gnp_gradient(loss_of, params, r=0.3, alpha=0.8)
    limit = 2 * torch.cat([g.flatten() for g in expected]).norm().item()
    got, _ = step_and_read(params, loss_of, r=0.3, alpha=0.8, max_grad_norm=limit)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("clip", [None, 0.5], ids=["plain", "clipped"])
def test_loss_scaling_does_not_change_the_step(clip):
    """Nor what is clipped: gradients are unscaled first."""
    params, loss_of = small_network()
    expected = gnp_gradient(loss_of, params, r=0.3, alpha=0.8)
    limit = None
    if clip is not None:
        norm = torch.cat([g.flatten() for g in expected]).norm()
        limit = clip * norm.item()
        expected = [g * limit / norm for g in expected]
    before = [p.detach().clone() for p in params]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    base = torch.optim.SGD(params, lr=1.0)
    optimizer = GNP(base, r=0.3, alpha=0.8, max_grad_norm=limit, grad_scaler=scaler)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        scaler.scale(loss).backward()
        return loss.detach()

    assert torch.isclose(optimizer.step(closure), loss_of(before))
    scaler.update()
    for b, p, e in zip(before, params, expected, strict=True):
        torch.testing.assert_close(b - p.detach(), e, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad_pass", [1, 2])
def test_an_overflow_in_either_pass_skips_the_update(bad_pass):
    params, loss_of = small_network()
    before = [p.detach().clone() for p in params]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    base = torch.optim.SGD(params, lr=1.0, momentum=0.9)
    optimizer = GNP(base, r=0.3, alpha=0.8, grad_scaler=scaler)
    calls = []

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        loss = loss_of(params)
        scaler.scale(loss).backward()
        if len(calls) == bad_pass:
            params[0].grad[0, 0] = float("inf")
        return loss.detach()

    optimizer.step(closure)
    scaler.update()
    assert all(torch.equal(b, p) for b, p in zip(before, params, strict=True))
    assert not base.state
    assert scaler.get_scale() == 2.0**9


def test_the_reference_has_no_climb_where_there_is_no_gradient():
    flat = [torch.zeros(3, dtype=torch.float64)]
    (gradient,) = gnp_gradient(lambda ps: ps[0].square().sum(), flat, r=0.1, alpha=0.8)
    assert torch.equal(gradient, torch.zeros(3, dtype=torch.float64))


def test_the_reference_is_a_page():
    """Sixty lines at the most, and nothing of ours in it."""
    text = Path(reference.__file__).read_text()
    assert len(text.splitlines()) <= 60
    assert "from gnp" not in text
