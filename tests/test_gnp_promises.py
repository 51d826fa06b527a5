"""What GNP promises beside its formula: each test fails when its promise is broken."""

import copy
import math
import pickle
import warnings
from contextlib import nullcontext

import pytest
import torch
from problems import closure_for, two_phases
from torch import nn

from gnp.benchmarks.memory import LiveBytes
from gnp.optim import GNP
from gnp.optim.update_rule import global_norm


def network(dtype=torch.float32):
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).to(dtype)


def batch(n=32):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, 6, generator=generator), torch.randint(4, (n,), generator=generator)


def make_closure(model, optimizer, calls=None, zero_to_none=True):
    x, y = batch()

    def closure():
        if calls is not None:
            calls.append([p.detach().clone() for p in model.parameters()])
        optimizer.zero_grad(zero_to_none)
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return closure


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9),  # an alpha of its own
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("settings", [{"r": 0.1, "alpha": 0.0}, {"r": 0.0, "alpha": 0.8}])
def test_alpha_zero_or_r_zero_is_the_base_optimizer_bit_for_bit_with_one_call(base, settings):
    model, calls = network(), []
    twin = copy.deepcopy(model)
    optimizer, plain = (
        GNP(BASES[base](model.parameters()), **settings),
        BASES[base](twin.parameters()),
    )
    closure, plain_closure = make_closure(model, optimizer, calls), make_closure(twin, plain)
    for _ in range(5):
        assert optimizer.step(closure) == plain.step(plain_closure)
    assert len(calls) == 5
    assert equal(weights(model), weights(twin))


def test_step_returns_the_loss_of_the_first_pass():
    model = network()
    x, y = batch()
    expected = nn.functional.cross_entropy(model(x), y)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=5.0, alpha=1.0)
    assert torch.equal(optimizer.step(make_closure(model, optimizer)), expected)


def test_weights_are_restored_bit_for_bit():
    model = network()
    before = weights(model)
    calls = []
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=math.pi, alpha=0.8)
    optimizer.step(make_closure(model, optimizer, calls))
    assert equal(calls[0], before)
    assert not equal(calls[1], before)
    distance = torch.cat([(a - b).flatten() for a, b in zip(*calls, strict=True)]).norm()
    assert distance.item() == pytest.approx(math.pi, rel=1e-5)
    assert equal(weights(model), before)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_weights_are_restored_when_the_second_pass_raises(error):
    model, calls = network(), []
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=1.0)
    inner = make_closure(model, optimizer, calls)

    def closure():
        loss = inner()
        if len(calls) == 2:
            raise error
        return loss

    before = weights(model)
    with pytest.raises(error):
        optimizer.step(closure)
    assert equal(weights(model), before)


def test_zeroing_gradients_in_place_does_not_destroy_the_first_gradient():
    model = network()
    twin = copy.deepcopy(model)
    results = []
    for net, to_none in ((model, True), (twin, False)):
        optimizer = GNP(torch.optim.SGD(net.parameters(), lr=0.1), r=0.5, alpha=0.5)
        for _ in range(3):
            optimizer.step(make_closure(net, optimizer, zero_to_none=to_none))
        results.append(weights(net))
    assert equal(*results)


@pytest.mark.parametrize(
    ("pieces", "settings"),
    [(1, {}), (2, {}), (2, {"alpha": 1.0}), (2, {"r": 0.0}), (2, {"direction_every": 2})],
)
def test_gradients_of_two_passes_in_the_same_memory_are_refused(pieces, settings):
    """As DDP's bucket views are: the earlier would silently become the later."""
    p, buffer = nn.Parameter(torch.ones(2)), torch.zeros(2)
    optimizer = GNP(torch.optim.SGD([p], lr=0.1), **settings)

    def closure():
        p.grad = buffer.copy_(2 * p.detach())
        return p.sum()

    with pytest.raises(RuntimeError, match="gradient_as_bucket_view"):
        optimizer.step([closure] * pieces)
    assert p.tolist() == [1, 1]


# What is held of the parameters' size during a step, both gradients included.
HELD = {
    "GNP": ({}, 3),  # g1, g2 and the weights' copy
    "SAM": ({"alpha": 1.0}, 2),  # g1 is not needed after the climb
    "base": ({"alpha": 0.0}, 1),
    "adaptive": ({"adaptive": True}, 3),  # T·T·g1 is gone before g2 comes
    "direction_every": ({"direction_every": 2}, 4),  # the direction
}


@pytest.mark.parametrize("variant", HELD)
def test_memory_held_during_a_step(variant):
    # One big parameter; the loss needs no memory of its own to speak of.
    size = 1_000_000
    theta = nn.Parameter(torch.randn(size))
    settings, copies = HELD[variant]
    optimizer = GNP(torch.optim.SGD([theta], lr=0.1), r=0.1, **settings)
    gradient = torch.randn(size)

    def closure():
        optimizer.zero_grad()
        theta.grad = gradient.clone()
        return theta.new_zeros(())

    with LiveBytes() as live:
        optimizer.step(closure)
    assert live.peak / (4 * size) == pytest.approx(copies, abs=0.1)


def test_a_zero_gradient_gives_no_nan():
    """At the minimum of a quadratic: a NaN climb would come back in the second gradient."""
    theta = nn.Parameter(torch.zeros(3))
    optimizer = GNP(torch.optim.SGD([theta], lr=0.1), r=0.1, alpha=0.8)

    def closure():
        optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.equal(theta.detach(), torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_gradient_too_small_to_divide_by_gives_no_nan(dtype):
    theta = nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = GNP(torch.optim.SGD([theta], lr=0.1), r=100.0, alpha=1.0)
    seen = []

    def closure():
        seen.append(theta.detach().clone())
        theta.grad = torch.tensor([torch.finfo(dtype).tiny / 4, 0, 0], dtype=dtype)
        return theta.sum()

    optimizer.step(closure)
    assert len(seen) == 2
    assert seen[1].isfinite().all()


@pytest.mark.parametrize(("dtype", "entry"), [(torch.bfloat16, 1.0), (torch.float16, 60_000.0)])
def test_the_norm_of_half_precision_gradients_is_taken_in_single(dtype, entry):
    norm = global_norm([torch.full((2,), entry, dtype=dtype), torch.full((1,), entry, dtype=dtype)])
    rounded = torch.tensor(entry, dtype=dtype).item()
    assert norm.item() == pytest.approx(3**0.5 * rounded, rel=1e-6)
    both = global_norm([torch.full((2,), entry, dtype=dtype), torch.full((7,), rounded)])
    assert both.item() == pytest.approx(3 * rounded, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"r": -0.1}, ValueError, "r must be finite and ≥ 0, not -0.1"),
        ({"r": math.nan}, ValueError, "r must be finite"),
        ({"r": math.inf}, ValueError, "r must be finite"),
        ({"r": "0.1"}, TypeError, "r must be a number"),
        ({"alpha": 1.5}, ValueError, "alpha must be finite and from 0"),
        ({"alpha": -0.1}, ValueError, "alpha must be finite and from 0"),
        ({"alpha": math.nan}, ValueError, "alpha must be finite"),
        ({"alpha": True}, TypeError, "alpha must be a number"),
        ({"max_grad_norm": 0}, ValueError, "max_grad_norm must be positive"),
        ({"model": "net"}, TypeError, "model must be a torch.nn.Module"),
    ],
)
def test_wrong_values_are_refused_with_what_was_expected(settings, error, words):
    with pytest.raises(error, match=words):
        GNP(torch.optim.SGD(network().parameters(), lr=0.1), **settings)


@pytest.mark.parametrize("base", [None, torch.optim.SGD, network()])
def test_a_base_that_is_no_optimizer_is_refused(base):
    with pytest.raises(TypeError, match=r"base must be a built torch\.optim\.Optimizer"):
        GNP(base)


def test_a_base_that_calls_the_closure_itself_is_refused():
    with pytest.raises(TypeError, match="LBFGS evaluates the closure itself"):
        GNP(torch.optim.LBFGS(network().parameters()))
    with pytest.raises(TypeError, match="GNP evaluates the closure itself"):
        GNP(GNP(torch.optim.SGD(network().parameters(), lr=0.1)))


def test_wrong_values_in_a_group_are_refused():
    model = network()
    base = torch.optim.SGD([{"params": model.parameters(), "r": -1.0}], lr=0.1)
    with pytest.raises(ValueError, match="r must be finite"):
        GNP(base)
    assert len(base.param_groups) == 1  # as it was
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="alpha must be finite"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "alpha": 2.0})


@pytest.mark.parametrize("closure", [None, 3])
def test_a_step_without_a_closure_is_refused(closure):
    optimizer = GNP(torch.optim.SGD(network().parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"call step\(closure\)"):
        optimizer.step(closure)


def test_sparse_gradients_are_refused():
    model = nn.Embedding(5, 3, sparse=True)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1))

    def closure():
        optimizer.zero_grad()
        loss = model(torch.tensor([1])).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="dense gradients"):
        optimizer.step(closure)


@pytest.mark.parametrize("base", BASES)
def test_state_dict_carries_the_bases_state(base):
    model = network()
    optimizer = GNP(BASES[base](model.parameters()), r=0.05, alpha=0.7)
    for _ in range(3):
        optimizer.step(make_closure(model, optimizer))
    twin = network()
    twin.load_state_dict(model.state_dict())
    other = GNP(BASES[base](twin.parameters()), r=0.9, alpha=0.1)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["r"] == 0.05
    assert "GNP(r=0.05, alpha=0.7" in repr(other)
    assert other.param_groups is other.base.param_groups
    assert other.state is other.base.state
    for _ in range(3):
        optimizer.step(make_closure(model, optimizer))
        other.step(make_closure(twin, other))
    assert equal(weights(model), weights(twin))


def test_a_bare_base_optimizers_state_dict_can_be_loaded():
    model = network()
    base = BASES["sgd"](model.parameters())
    base.step(make_closure(model, base))
    optimizer = GNP(BASES["sgd"](network().parameters()), r=0.05, alpha=0.7)
    optimizer.load_state_dict(copy.deepcopy(base.state_dict()))
    assert optimizer.param_groups[0]["alpha"] == 0.7
    assert len(optimizer.state) == 4


def test_wrapping_keeps_the_state_of_a_base_that_has_stepped():
    model = network()
    base = BASES["sgd"](model.parameters())
    base.step(make_closure(model, base))
    momentum = next(iter(base.state.values()))["momentum_buffer"]
    assert next(iter(GNP(base).state.values()))["momentum_buffer"] is momentum


def test_learning_rate_schedulers_reach_the_base():
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    rates = []
    for _ in range(5):
        optimizer.step(make_closure(model, optimizer))
        scheduler.step()
        rates.append(optimizer.base.param_groups[0]["lr"])
    expected = [0.05 * (1 + math.cos(math.pi * t / 10)) for t in range(1, 6)]
    assert rates == pytest.approx(expected)


def test_parameters_without_gradient_are_left_alone():
    model = network()
    unused = nn.Parameter(torch.ones(3))
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.detach().clone()
    optimizer = GNP(torch.optim.SGD([*model.parameters(), unused], lr=0.1), r=0.1)
    before = weights(model)
    optimizer.step(make_closure(model, optimizer))
    assert torch.equal(model[0].weight, frozen)
    assert torch.equal(unused.detach(), torch.ones(3))
    assert not torch.equal(model[2].weight, before[2])


@pytest.mark.parametrize(("used_in", "factor"), [(1, 0.2), (2, 0.8)])
def test_a_gradient_missing_in_one_pass_counts_as_zero_there(used_in, factor):
    always, sometimes = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
    optimizer = GNP(torch.optim.SGD([always, sometimes], lr=1.0), r=0.1, alpha=0.8)
    calls = []

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        loss = always.sum()
        if len(calls) == used_in:
            loss = loss + 3 * sometimes.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(sometimes.detach(), torch.full((2,), -3 * factor))


def test_a_shared_parameter_climbs_once():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    before = weights(model)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.7, alpha=1.0)
    calls = []
    optimizer.step(make_closure(model, optimizer, calls))
    distance = torch.cat([(a - b).flatten() for a, b in zip(calls[1], before, strict=True)]).norm()
    assert distance.item() == pytest.approx(0.7, rel=1e-5)


def test_mixed_dtypes_climb_by_one_global_norm():
    double, single = nn.Parameter(torch.ones(2).double()), nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([double, single], lr=0.0), r=1.0, alpha=1.0)
    seen = []

    def closure():
        optimizer.zero_grad()
        seen.append((double.detach().clone(), single.detach().clone()))
        loss = double.sum() + single.double().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert seen[1][0].tolist() == pytest.approx([1.5, 1.5])
    assert seen[1][1].tolist() == pytest.approx([1.5, 1.5])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_keep_the_base(duplicate):
    model = network()
    optimizer = GNP(BASES["sgd"](model.parameters()), r=0.05, alpha=0.7)
    optimizer.step(make_closure(model, optimizer))
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # wraps step on the instance
    twin = duplicate(optimizer)
    assert twin.base is not optimizer.base
    assert twin.param_groups is twin.base.param_groups
    assert twin.param_groups[0]["r"] == 0.05
    assert len(twin.state) == 4
    assert "GNP(r=0.05, alpha=0.7" in repr(twin)


def test_state_dict_hooks_run_on_the_wrapper_and_on_the_base():
    net = nn.Linear(2, 1)
    base = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer = GNP(base)
    seen = []
    for owner in (optimizer, base):
        owner.register_state_dict_pre_hook(lambda o: seen.append(("before saving", o)))
        owner.register_state_dict_post_hook(lambda o, d: seen.append(("after saving", o)))
        owner.register_load_state_dict_pre_hook(lambda o, d: seen.append(("before loading", o)))
        owner.register_load_state_dict_post_hook(lambda o: seen.append(("after loading", o)))
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "note": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: {k: d[k] for k in d if k != "note"})
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert state["note"] == 1
    for what in ("before saving", "after saving", "before loading", "after loading"):
        assert [o for w, o in seen if w == what].count(optimizer) == 1
        assert [o for w, o in seen if w == what].count(base) == 1


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Adam", "RMSprop"])
def test_the_bases_paths_are_equal(kind):
    """One tensor after another, all together, fused: the same steps."""
    results = []
    paths = [{"foreach": False}, {"foreach": True}]
    paths += [{"fused": True}] if kind != "RMSprop" else []
    for path in paths:
        torch.manual_seed(1)
        net = network()
        base = getattr(torch.optim, kind)(net.parameters(), lr=0.01, **path)
        optimizer = GNP(base, r=0.3, l2=0.01, max_grad_norm=0.1, adaptive=True)
        for _ in range(4):
            optimizer.step(make_closure(net, optimizer))
        results.append([p.detach() for p in net.parameters()])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_group_added_later_climbs_too():
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = GNP(torch.optim.SGD([first], lr=0.1, momentum=0.9), r=0.5)
    optimizer.add_param_group({"params": [second], "alpha": 1.0, "lr": 0.2})
    assert len(optimizer.base.param_groups) == 2
    seen = []

    def closure():
        optimizer.zero_grad()
        seen.append(second.detach().clone())
        loss = first.sum() + 0.5 * second.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(seen[1] - seen[0], torch.full((2,), 0.25))  # 0.5 · 1/‖(1,1,1,1)‖
    torch.testing.assert_close(second.detach(), 1 - 0.2 * torch.full((2,), 1.25))  # α = 1: g2


def losses_under_autocast(around, how="step", **settings):
    """Of all passes of three steps. ``around``: what it is open around, each "forward" pass, each
    "step", or "all" of them."""
    torch.manual_seed(0)
    model, seen = network(), []
    base = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    optimizer = GNP(base, **{"r": 2.0, "alpha": 0.9, **settings})
    x, y = batch()

    def here(level):
        return torch.autocast("cpu", torch.bfloat16) if around == level else nullcontext()

    def loss():
        with here("forward"):
            loss = nn.functional.cross_entropy(model(x), y)
        seen.append(loss.item())
        return loss

    closure = closure_for(optimizer, loss)
    with here("all"):
        for _ in range(3):
            with here("step"):
                if how == "passes":
                    two_phases(optimizer, loss)
                else:
                    optimizer.step([closure] * 2 if how == "pieces" else closure)
    return seen


@pytest.mark.parametrize("how", ["step", "pieces", "passes"])
@pytest.mark.parametrize("every", [1, 2])
def test_a_surrounding_autocast_does_not_compute_with_the_old_weights(how, every):
    """It keeps copies of the weights in bf16 until it ends, whatever becomes of them."""
    at, climbed, *_ = apart = losses_under_autocast("forward", how, direction_every=every)
    assert at != climbed
    assert losses_under_autocast("step", how, direction_every=every) == apart


@pytest.mark.parametrize("settings", [{}, {"r": 0.0}, {"climb_along": "momentum"}])
def test_nor_does_one_around_several_steps(settings):
    apart = losses_under_autocast("forward", **settings)
    assert len(set(apart)) >= 3
    assert losses_under_autocast("all", **settings) == apart


def test_another_gnp_around_the_same_base_has_its_own_settings():
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    base = torch.optim.SGD([{"params": [first]}, {"params": [second], "r": 0.3}], lr=0.1)
    GNP(base, r=0.1, alpha=0.8, l2=0.2)
    with pytest.raises(ValueError, match="alpha"):
        GNP(base, r=0.5, alpha=2.0)
    assert [g["r"] for g in base.param_groups] == [0.1, 0.3]
    optimizer = GNP(base, r=0.5, alpha=1.0, probability=0.5)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "alpha": 0.4})
    optimizer.set_penalty(optimizer.param_groups[0], r=0.0, alpha=0.2)  # as a schedule does
    groups = base.param_groups
    assert [(g["r"], g["alpha"], g["l2"]) for g in groups] == [
        (0.0, 0.2, 0.0), (0.3, 1.0, 0.0), (0.5, 0.4, 0.0)
    ]  # fmt: skip
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    GNP(base, r=0.7, alpha=0.9, adaptive=True)
    assert [(g["r"], g["alpha"], g["adaptive"]) for g in base.param_groups] == [
        (0.7, 0.9, True), (0.3, 0.9, True), (0.7, 0.4, True)
    ]  # fmt: skip
    del base.param_groups[0]
    optimizer = GNP(base, r=0.2)
    optimizer.add_param_group({"params": [first], "r": 0.6})
    GNP(base, r=0.9)
    assert [g["r"] for g in base.param_groups] == [0.3, 0.9, 0.6]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_so_has_one_around_a_copy(duplicate):
    first, second = network(), network()
    groups = [{"params": first.parameters()}, {"params": second.parameters(), "r": 0.3}]
    base = duplicate(GNP(torch.optim.SGD(groups, lr=0.1), r=0.1)).base
    GNP(base, r=0.5)
    assert [g["r"] for g in base.param_groups] == [0.5, 0.3]


def test_another_gnp_goes_on_counting_steps():
    p = nn.Parameter(torch.ones(2))
    base = torch.optim.SGD([p], lr=0.1)
    for steps in (1, 2):
        optimizer = GNP(base, r=0.1 * steps, probability=0.5)

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            p.sum().backward()
            return p.sum().detach()

        optimizer.step(closure)
        assert optimizer.param_groups[0]["steps"] == steps


def test_a_checkpoint_of_a_gnp_brings_its_settings_into_a_bare_base_too():
    saved = GNP(torch.optim.SGD(network().parameters(), lr=0.1), r=0.2, alpha=0.6).state_dict()
    base = torch.optim.SGD(network().parameters(), lr=0.1)
    base.load_state_dict(saved)
    assert GNP(base, r=0.5).penalty(base.param_groups[0]) == (0.2, 0.6)


def test_one_group_may_climb_and_another_mix():
    """α of each group weighs g2, wherever the others have led it."""
    climbing = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    mixing = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    groups = [{"params": [climbing], "alpha": 0.0}, {"params": [mixing], "r": 0.0, "alpha": 0.5}]
    optimizer = GNP(torch.optim.SGD(groups, lr=1.0), r=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (climbing * mixing).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    up = 3 + 0.1 * 2 / math.hypot(2, 3)  # where the first group is at g2; its gradient is mixing
    assert climbing.item() == 3 - 2
    assert mixing.item() == pytest.approx(2 - (0.5 * 3 + 0.5 * up), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_which_the_climb_is_rounded_away_are_named(dtype):
    with pytest.warns(UserWarning, match=f"stored in {dtype}.*torch.float32") as caught:
        GNP(torch.optim.SGD(network(dtype).parameters(), lr=0.1))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GNP(torch.optim.SGD(network().parameters(), lr=0.1))
        GNP(torch.optim.SGD(network(dtype).parameters(), lr=0.1), r=0.0)
        GNP(torch.optim.SGD(network(dtype).parameters(), lr=0.1), alpha=0.0)
        mixed = nn.Sequential(nn.Linear(2, 4).to(dtype), nn.LayerNorm(4))
        GNP(torch.optim.SGD(mixed.parameters(), lr=0.1), model=mixed, climb_only_norms=True)


def test_step_hooks_run():
    model, seen = network(), []
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1))
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.step(make_closure(model, optimizer))
    assert seen == ["before", "after"]


def test_it_works_under_no_grad():
    model = network()
    before = weights(model)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1))
    with torch.no_grad():
        optimizer.step(make_closure(model, optimizer))
    assert not equal(weights(model), before)


@pytest.mark.cuda
def test_on_cuda_a_step_does_not_wait_for_the_device():
    model = network().cuda()
    x, y = (t.cuda() for t in batch())
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.1, model=model)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step(closure)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_setting_that_the_base_has_too_has_a_key_of_its_own():
    """RMSprop has an alpha; records and checkpoints know the penalty's as gnp_alpha."""
    base = torch.optim.RMSprop([{"params": network().parameters(), "gnp_alpha": 0.3}], lr=0.1)
    optimizer = GNP(base, r=0.2)
    (group,) = optimizer.param_groups
    assert optimizer.penalty(group) == (0.2, 0.3)
    assert (group["r"], group["gnp_alpha"], group["alpha"]) == (0.2, 0.3, 0.99)


@pytest.mark.parametrize(
    "wrong", [{"epsilon": -1.0}, {"adaptive_eta": -1.0}, {"direction_every": 0}, {"model": 3}]
)
def test_a_refused_optimizer_leaves_the_base_as_it_was(wrong):
    base = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises((TypeError, ValueError)):
        GNP(base, r=0.5, **wrong)
    assert "r" not in base.param_groups[0]


def test_what_is_fixed_when_it_is_built_cannot_be_set_afterwards():
    optimizer = GNP(torch.optim.SGD(network().parameters(), lr=0.1), direction_every=2)
    assert optimizer.direction_every == 2
    for name in ("model", "grad_scaler", "direction_every", "normalize_reference", "sync_climb"):
        with pytest.raises(AttributeError, match="fixed when the optimizer is built"):
            setattr(optimizer, name, None)
    optimizer.max_grad_norm = 1.0  # read in each step


@pytest.mark.parametrize("scaled", [False, True])
def test_with_alpha_one_a_gradient_of_the_first_pass_alone_is_zero_not_missing(scaled):
    always, sometimes = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
    base = torch.optim.SGD([always, sometimes], lr=0.1, weight_decay=0.5)
    optimizer = GNP(base, alpha=1.0, grad_scaler=scaler)
    calls = []

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        loss = always.sum() + (sometimes.sum() if len(calls) == 1 else 0)
        (loss if scaler is None else scaler.scale(loss)).backward()
        return loss.detach()

    optimizer.step(closure)
    torch.testing.assert_close(sometimes.detach(), torch.full((2,), 0.95))  # it decays


def test_with_alpha_one_an_overflow_of_the_first_pass_alone_skips_the_step():
    p = nn.Parameter(torch.ones(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = GNP(torch.optim.SGD([p], lr=0.1), alpha=1.0, grad_scaler=scaler)
    calls = []

    def closure():
        calls.append(None)
        optimizer.zero_grad()
        scaler.scale(p.sum()).backward()
        if len(calls) == 1:
            p.grad[0] = float("inf")
        return p.sum().detach()

    optimizer.step(closure)
    scaler.update()
    assert p.tolist() == [1, 1]
    assert scaler.get_scale() == 2.0
