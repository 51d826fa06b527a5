"""Bases of many kinds: those that maximise, several at once, schedule-free ones, wrappers."""

import copy
import io
import pickle

import pytest
import torch
from problems import closure_for, problem
from torch import nn

from gnp.optim import GNP
from gnp.optim.reference import gnp_gradient

VARIANTS = {
    "plain": {},
    "sam": {"alpha": 1.0},
    "l2": {"l2": 0.3},
    "normalised": {"normalize_reference": True},
    "adaptive": {"adaptive": True},
    "kept": {"direction_every": 2},
    "kept_normalised": {"direction_every": 2, "normalize_reference": True},
    "clipped": {"max_grad_norm": 0.01},
}


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def trained(optimizer, loss_of, params, steps=4):
    for _ in range(steps):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    return params


# ---------------------------------------------------------------------- maximize


def adamp(params, maximize):
    """Says it by an attribute, where torch's have it in their groups."""
    return pytest.importorskip("pytorch_optimizer").AdamP(params, lr=0.1, maximize=maximize)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.AdamW, adamp])
def test_minimising_a_loss_is_maximising_its_negative_bit_for_bit(base, variant):
    ends = []
    for maximize in (False, True):
        _, params, loss_of, *_ = problem()
        settings = {} if base is adamp else {"lr": 0.1, "weight_decay": 0.1}
        optimizer = GNP(base(params, maximize=maximize, **settings), 0.3, **VARIANTS[variant])
        sign = -1 if maximize else 1
        ends.append(trained(optimizer, lambda ps, s=sign, f=loss_of: s * f(ps), params))
    assert equal(*ends)


def test_each_group_climbs_where_its_objective_grows():
    down, up = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    groups = [{"params": [down]}, {"params": [up], "maximize": True}]
    optimizer = GNP(torch.optim.SGD(groups, lr=0.1), r=1.0)
    seen = []

    def loss():
        seen.append((down.item(), up.item()))
        return 3 * down.sum() + 4 * up.sum()

    optimizer.step(closure_for(optimizer, loss))
    assert seen[1] == pytest.approx((1 + 3 / 5, 1 - 4 / 5))
    assert (down.item(), up.item()) == pytest.approx((1 - 0.3, 1 + 0.4))


# ---------------------------------------------------------------------- several bases


def pair(params):
    matrices = [p for p in params if p.ndim > 1]
    rest = [p for p in params if p.ndim <= 1]
    return [torch.optim.SGD(matrices, lr=0.1, momentum=0.9), torch.optim.AdamW(rest, lr=0.02)]


def expected_of_pair(steps):
    """Both, given the gradient whose climb is by one norm over all."""
    _, params, loss_of, *_ = problem()
    bases = pair(params)
    for _ in range(steps):
        for p, g in zip(params, gnp_gradient(loss_of, params, 0.3, 0.8), strict=True):
            p.grad = g
        for base in bases:
            base.step()
    return params


def test_several_bases_climb_together_by_one_norm():
    _, params, loss_of, *_ = problem()
    trained(GNP(pair(params), 0.3, 0.8), loss_of, params)
    for ours, theirs in zip(params, expected_of_pair(4), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_muon_for_matrices_and_adamw_for_the_rest():
    muon = getattr(torch.optim, "Muon", None) or pytest.skip("torch has no Muon")
    _, params, loss_of, *_ = problem()
    bases = [
        muon([p for p in params if p.ndim == 2], lr=0.05),
        torch.optim.AdamW([p for p in params if p.ndim < 2], lr=0.05),
    ]
    before = loss_of(params).item()
    trained(GNP(bases, 0.05, 0.8), loss_of, params, steps=10)
    assert loss_of(params).item() < before


def test_without_a_penalty_several_bases_are_themselves_bit_for_bit():
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    trained(GNP(pair(params), r=0.0), loss_of, params)
    bases = pair(plain)
    for _ in range(4):
        for base in bases:
            base.zero_grad()
        loss_of(plain).backward()
        for base in bases:
            base.step()
    assert equal(params, plain)


def test_several_bases_resume_from_a_state_dict():
    _, params, loss_of, *_ = problem()
    optimizer = GNP(pair(params), 0.3, 0.8)
    trained(optimizer, loss_of, params, steps=2)
    buffer = io.BytesIO()
    torch.save({"weights": params, "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    _, fresh, *_ = problem()
    again = GNP(pair(fresh), 0.1, 0.1)
    again.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        for p, value in zip(fresh, saved["weights"], strict=True):
            p.copy_(value)
    assert [again.penalty(g) for g in again.param_groups] == [(0.3, 0.8)] * 2
    trained(again, loss_of, fresh, steps=2)
    assert equal(fresh, trained(optimizer, loss_of, params, steps=2))
    with pytest.raises(ValueError, match=r"of 1 base optimizer\(s\), these are 2"):
        again.load_state_dict(torch.optim.SGD(params, lr=0.1).state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_keep_several_bases(duplicate):
    _, params, loss_of, *_ = problem()
    optimizer = GNP(pair(params), 0.3, 0.8)
    trained(optimizer, loss_of, params, steps=2)
    twin = duplicate(optimizer)
    theirs = [p for group in twin.param_groups for p in group["params"]]
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    order = [next(i for i, p in enumerate(ours) if p is q) for q in params]
    trained(twin, loss_of, [theirs[i] for i in order], steps=2)
    trained(optimizer, loss_of, params, steps=2)
    assert equal(ours, theirs)


def test_groups_state_and_schedulers_of_several_bases():
    _, params, loss_of, *_ = problem()
    bases = pair(params)
    optimizer = GNP(bases, 0.3, 0.8)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append("wrapper"))
    bases[1].register_step_post_hook(lambda *_: calls.append("second base"))
    trained(optimizer, loss_of, params, steps=1)
    scheduler.step()
    assert [base.param_groups[0]["lr"] for base in bases] == [0.05, 0.01]
    assert calls == ["second base", "wrapper"]
    assert set(optimizer.state) == set(params)
    assert "exp_avg" in optimizer.state[params[1]]
    optimizer.state[params[1]] = {"step": 7}
    assert bases[1].state[params[1]] == {"step": 7}
    with pytest.raises(ValueError, match="momentum"):  # torch's own words
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=3)


def test_a_group_added_to_several_bases_says_who_updates_it():
    _, params, *_ = problem()
    bases = pair(params)
    optimizer = GNP(bases, 0.3, 0.8)
    extra = nn.Parameter(torch.ones(2))
    for wrong in ({}, {"base": 2}, {"base": "sgd"}):
        with pytest.raises(ValueError, match="base=0 to 1"):
            optimizer.add_param_group({"params": [extra], **wrong})
    optimizer.add_param_group({"params": [extra], "base": 1, "r": 0.5})
    assert bases[1].param_groups[1]["params"] == [extra]
    assert [group["r"] for group in optimizer.param_groups] == [0.3, 0.3, 0.5]


def test_several_bases_step_with_a_closure_as_one_optimizer_does():
    """What takes any optimizer may call it with torch's signature."""
    _, params, loss_of, *_ = problem()
    bases = GNP(pair(params)).base
    bases.zero_grad()
    before = [p.detach().clone() for p in params]
    assert bases.step(closure=None) is None
    assert equal(params, before)
    with torch.no_grad():
        loss = bases.step(closure_for(bases, lambda: loss_of(params)))
    assert loss == loss_of(before)
    assert not equal(params, before)


def test_impossible_lists_of_bases_are_refused():
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    first = torch.optim.SGD([p, q], lr=0.1)
    with pytest.raises(ValueError, match="at least one"):
        GNP([])
    with pytest.raises(ValueError, match="in two of the base optimizers"):
        GNP([first, torch.optim.AdamW([q])])
    with pytest.raises(TypeError, match="LBFGS evaluates the closure itself"):
        GNP([first, torch.optim.LBFGS([nn.Parameter(torch.ones(2))])])
    with pytest.raises(TypeError, match="not 'Parameter'"):
        GNP([p])
    with pytest.raises(TypeError, match="evaluates the closure itself"):
        GNP([GNP(first), torch.optim.SGD([nn.Parameter(torch.ones(2))])])
    assert set(first.param_groups[0]) >= {"lr", "r"}  # of the last line's inner GNP


@pytest.mark.parametrize("overflows", [False, True])
def test_several_bases_with_a_grad_scaler(overflows):
    _, params, loss_of, *_ = problem()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = GNP(pair(params), 0.3, 0.8, grad_scaler=scaler)
    before = [p.detach().clone() for p in params]
    for _ in range(4):
        factor = float("inf") if overflows else 1
        optimizer.step(closure_for(optimizer, lambda f=factor: f * loss_of(params), scaler))
        scaler.update()
    for ours, theirs in zip(params, before if overflows else expected_of_pair(4), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


# ---------------------------------------------------------------------- schedule-free bases


def schedule_free(params):
    return pytest.importorskip("schedulefree").SGDScheduleFree(params, lr=0.5, warmup_steps=2)


def test_schedule_free_bases_are_switched_through_the_wrapper():
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    optimizer, base = GNP(schedule_free(params), alpha=0.0), schedule_free(plain)
    optimizer.train()
    base.train()
    for _ in range(4):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
        base.step(closure_for(base, lambda: loss_of(plain)))
    assert equal(params, plain)
    between = [p.detach().clone() for p in params]
    optimizer.eval()
    assert not equal(params, between)
    base.eval()
    assert equal(params, plain)


def test_switching_reaches_each_of_several_bases_and_asks_for_nothing():
    _, params, *_ = problem()
    free = schedule_free(params[:1])
    optimizer = GNP([free, torch.optim.AdamW(params[1:])])
    optimizer.train()
    assert free.param_groups[0]["train_mode"]
    optimizer.eval()
    assert not free.param_groups[0]["train_mode"]


# ---------------------------------------------------------------------- bases that wrap


def test_pytorch_optimizers_lookahead_as_base():
    """Its groups cannot be set; they are the wrapped optimizer's."""
    library = pytest.importorskip("pytorch_optimizer")

    def lookahead(params):
        return library.Lookahead(torch.optim.SGD(params, lr=0.1, momentum=0.9), k=2)

    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    optimizer, base = GNP(lookahead(params), 0.3, 0.8), lookahead(plain)
    for _ in range(5):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
        for p, g in zip(plain, gnp_gradient(loss_of, plain, 0.3, 0.8), strict=True):
            p.grad = g
        base.step()
    for ours, theirs in zip(params, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    again = GNP(lookahead(params))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.penalty(again.param_groups[0]) == (0.3, 0.8)


def test_a_base_without_groups_of_its_own_is_refused():
    """As ``pytorch_optimizer.SafeFP16Optimizer``, which hides those of the optimizer inside."""

    class Hidden(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner, self.state = inner, {}

        def step(self, closure=None):
            self.inner.step()

    with pytest.raises(TypeError, match="Hidden has no param_groups and no defaults"):
        GNP(Hidden(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)))
