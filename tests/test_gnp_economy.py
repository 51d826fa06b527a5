"""Cheaper steps: the reference gradient on a part of the batch, a direction for several steps."""

import copy

import pytest
import torch
from problems import closure_for, problem, two_phases
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.optim import GNP
from gnp.optim.reference import gradient_of

R, ALPHA = 0.3, 0.8


def length(tensors):
    return sum((t**2).sum() for t in tensors).sqrt()


def assert_moved_by(before, params, expected):
    for b, p, e in zip(before, params, expected, strict=True):
        torch.testing.assert_close(b - p.detach(), e, rtol=1e-11, atol=1e-13)


def part_of(problem_, rows):
    model, _, _, x, y = problem_
    names = [n for n, _ in model.named_parameters()]

    def loss_of(ps):
        weights = dict(zip(names, ps, strict=True))
        return cross_entropy(functional_call(model, weights, (x[rows],)), y[rows])

    return loss_of


def along(params, steps):
    return [(p + s).detach().requires_grad_() for p, s in zip(params, steps, strict=True)]


# ---------------------------------------------------------------------- a part of the batch


@pytest.mark.parametrize("normalize", [False, True])
def test_a_reference_on_a_part_gives_g1_and_the_whole_batch_g2(normalize):
    whole = problem()
    _, params, loss_of, *_ = whole
    part = part_of(whole, slice(0, 4))
    g1 = gradient_of(part, params)
    norm = length(g1)
    g2 = gradient_of(loss_of, along(params, [R * g / norm for g in g1]))
    if normalize:
        g1 = [g / norm for g in g1]
    expected = [(1 - ALPHA) * a + ALPHA * b for a, b in zip(g1, g2, strict=True)]
    before = [p.detach().clone() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=1.0), R, ALPHA, normalize_reference=normalize)
    first = part(before)
    loss = optimizer.step(
        closure_for(optimizer, lambda: loss_of(params)),
        closure_for(optimizer, lambda: part(params)),
    )
    assert_moved_by(before, params, expected)
    torch.testing.assert_close(loss, first)


def test_where_there_is_nothing_to_climb_for_the_whole_batch_is_used():
    whole = problem()
    _, params, loss_of, *_ = whole
    expected = gradient_of(loss_of, params)
    before = [p.detach().clone() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=1.0), r=0.0)
    optimizer.step(
        closure_for(optimizer, lambda: loss_of(params)), lambda: pytest.fail("not to be called")
    )
    assert_moved_by(before, params, expected)


def test_each_piece_has_its_own_reference():
    whole = problem()
    _, params, *_ = whole
    pieces = [part_of(whole, slice(i, i + 8)) for i in (0, 8)]
    parts = [part_of(whole, slice(i, i + 2)) for i in (0, 8)]
    expected = [torch.zeros_like(p) for p in params]
    for piece, part in zip(pieces, parts, strict=True):
        g1 = gradient_of(part, params)
        g2 = gradient_of(piece, along(params, [R * g / length(g1) for g in g1]))
        for e, a, b in zip(expected, g1, g2, strict=True):
            e += ((1 - ALPHA) * a + ALPHA * b) / 2
    before = [p.detach().clone() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=1.0), R, ALPHA)

    def closures(losses):
        return [closure_for(optimizer, lambda f=f: f(params)) for f in losses]

    optimizer.step(closures(pieces), closures(parts))
    assert_moved_by(before, params, expected)


@pytest.mark.parametrize("reference", [[], [lambda: None] * 2, [3], 3])
def test_references_that_do_not_match_are_refused(reference):
    _, params, loss_of, *_ = problem()
    optimizer = GNP(torch.optim.SGD(params, lr=1.0))
    with pytest.raises(TypeError, match="reference"):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)), reference)


def test_draws_for_other_images_are_not_replayed():
    seen = []
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=0.1))

    def loss():
        seen.append(torch.rand(2))
        return (p * seen[-1]).sum()

    closure = closure_for(optimizer, loss)
    for reference in (closure_for(optimizer, loss), closure):
        seen.clear()
        optimizer.step(closure, reference)
        assert not torch.equal(*seen)


# ---------------------------------------------------------------------- a direction for k steps


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_steps_between_take_one_gradient_along_the_old_direction(normalize, adaptive):
    _, params, loss_of, *_ = problem()
    optimizer = GNP(
        torch.optim.SGD(params, lr=0.1),
        R,
        ALPHA,
        normalize_reference=normalize,
        adaptive=adaptive,
        direction_every=3,
    )
    calls = []

    def loss():
        calls.append(None)
        return loss_of(params)

    direction = unit = None
    for step in range(7):
        count, before = len(calls), [p.detach().clone().requires_grad_() for p in params]
        optimizer.step(closure_for(optimizer, loss))
        if step % 3 == 0:
            assert len(calls) - count == 2
            g1 = gradient_of(loss_of, before)
            unit = [g / length(g1) for g in g1]
            scales = [p.detach().abs() + 0.01 if adaptive else torch.ones_like(p) for p in before]
            scaled = length([t * g for t, g in zip(scales, g1, strict=True)])
            direction = [t**2 * g / scaled for t, g in zip(scales, g1, strict=True)]
            g2 = gradient_of(loss_of, along(before, [R * d for d in direction]))
            reference = unit if normalize else g1
            expected = [(1 - ALPHA) * a + ALPHA * b for a, b in zip(reference, g2, strict=True)]
        else:
            assert len(calls) - count == 1
            far = R if normalize else ALPHA * R
            expected = gradient_of(loss_of, along(before, [far * d for d in direction]))
            if normalize:
                expected = [
                    (1 - ALPHA) * u + ALPHA * g for u, g in zip(unit, expected, strict=True)
                ]
        assert_moved_by(before, params, [0.1 * e for e in expected])


def test_with_its_own_direction_the_single_gradient_is_the_mix_to_first_order():
    """The reason for one gradient at θ + αr·d: the error falls with r², and is not zero."""
    _, params, loss_of, *_ = problem()
    g1 = gradient_of(loss_of, params)
    unit = [g / length(g1) for g in g1]

    def error(r):
        g2 = gradient_of(loss_of, along(params, [r * u for u in unit]))
        mix = [(1 - ALPHA) * a + ALPHA * b for a, b in zip(g1, g2, strict=True)]
        single = gradient_of(loss_of, along(params, [ALPHA * r * u for u in unit]))
        return length([a - b for a, b in zip(mix, single, strict=True)]).item()

    assert error(0.1) / error(0.01) == pytest.approx(100, rel=0.2)


def test_weights_come_back_and_statistics_count_once_in_steps_between():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    x = torch.randn(8, 4)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), model=model, direction_every=4)
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(4):
        optimizer.step(closure_for(optimizer, lambda: model(x).square().mean()))
    assert all(torch.equal(b, p) for b, p in zip(before, model.parameters(), strict=True))
    assert model[1].num_batches_tracked == 4


def test_pieces_have_directions_of_their_own():
    whole = problem()
    _, params, *_ = whole
    pieces = [part_of(whole, slice(i, i + 8)) for i in (0, 8)]
    optimizer = GNP(torch.optim.SGD(params, lr=0.1), R, ALPHA, direction_every=2)
    closures = [closure_for(optimizer, lambda f=f: f(params)) for f in pieces]
    directions = []
    for piece in pieces:
        g = gradient_of(piece, params)
        directions.append([x / length(g) for x in g])
    optimizer.step(closures)
    before = [p.detach().clone().requires_grad_() for p in params]
    optimizer.step(closures)
    expected = [torch.zeros_like(p) for p in params]
    for piece, direction in zip(pieces, directions, strict=True):
        g = gradient_of(piece, along(before, [ALPHA * R * d for d in direction]))
        for e, x in zip(expected, g, strict=True):
            e += 0.1 * x / 2
    assert_moved_by(before, params, expected)


def test_it_is_measured_anew_after_loading_and_when_asked():
    _, params, loss_of, *_ = problem()
    optimizer = GNP(torch.optim.SGD(params, lr=0.1), direction_every=100)
    calls = []

    def step():
        calls.clear()

        def loss():
            calls.append(None)
            return loss_of(params)

        optimizer.step(closure_for(optimizer, loss))
        return len(calls)

    assert [step(), step()] == [2, 1]
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert [step(), step()] == [2, 1]
    optimizer.renew_direction()
    assert step() == 2


@pytest.mark.parametrize("own_scaler", [True, False], ids=["GNP's scaler", "the loop's"])
def test_an_overflow_does_not_stay_in_the_direction(own_scaler):
    """After a skipped step the direction is measured."""
    _, params, loss_of, *_ = problem()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    optimizer = GNP(
        torch.optim.SGD(params, lr=0.1),
        R,
        ALPHA,
        grad_scaler=scaler if own_scaler else None,
        direction_every=3,
    )
    calls, overflow = [], True

    def step():
        calls.clear()
        for context in (optimizer.first_pass, optimizer.second_pass):
            if context == optimizer.first_pass or optimizer.needs_second_pass:
                optimizer.zero_grad()
                with context():
                    calls.append(None)
                    scaler.scale(loss_of(params)).backward()
                    if overflow:
                        params[0].grad[0, 0] = float("inf")
        if own_scaler:
            optimizer.step()
        else:
            scaler.step(optimizer)
        scaler.update()
        return len(calls)

    before = [p.detach().clone() for p in params]
    step()
    assert all(torch.equal(b, p) for b, p in zip(before, params, strict=True))
    overflow = False
    assert step() == 2
    assert not any(torch.equal(b, p) for b, p in zip(before, params, strict=True))
    assert step() == 1
    assert all(p.isfinite().all() for p in params)


def test_nor_with_a_fused_base_which_is_called_though_it_does_not_step():
    params = problem()[1]
    params = [p.detach().float().requires_grad_() for p in params]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    base = torch.optim.AdamW(params, lr=0.1, fused=True)
    optimizer = GNP(base, R, ALPHA, grad_scaler=scaler, direction_every=2)
    target = [torch.ones_like(p) for p in params]
    before = [p.detach().clone() for p in params]
    for scale in (float("inf"), 1.0, 1.0):

        def loss(scale=scale):
            return scale * sum(((p - t) ** 2).sum() for p, t in zip(params, target, strict=True))

        optimizer.step(closure_for(optimizer, loss, scaler))
        scaler.update()
        if scale != 1:
            assert all(torch.equal(b, p) for b, p in zip(before, params, strict=True))
    assert all(p.isfinite().all() for p in params)
    assert not any(torch.equal(b, p) for b, p in zip(before, params, strict=True))


def test_a_step_that_raises_leaves_no_direction():
    _, params, loss_of, *_ = problem()
    optimizer = GNP(torch.optim.SGD(params, lr=0.1), direction_every=5)
    calls = []

    def loss():
        calls.append(None)
        if len(calls) == 2:
            raise OSError("no")
        return loss_of(params)

    with pytest.raises(OSError, match="no"):
        optimizer.step(closure_for(optimizer, loss))
    optimizer.step(closure_for(optimizer, loss))
    assert len(calls) == 4


@pytest.mark.parametrize("phases", [False, True])
def test_a_group_that_is_added_has_a_part_in_the_next_direction(phases):
    first, added = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = GNP(torch.optim.SGD([first], lr=0.1), R, ALPHA, direction_every=5)
    seen = []

    def loss():
        seen.append(added.detach().clone())
        return (first + added).square().sum()

    def step():
        if phases:
            two_phases(optimizer, loss)
        else:
            optimizer.step(closure_for(optimizer, loss))

    step()
    optimizer.add_param_group({"params": [added]})
    step()
    assert len(seen) == 4
    torch.testing.assert_close(seen[3] - seen[2], torch.full_like(added, R / 2))  # of four entries
    optimizer.base.add_param_group(
        {**optimizer.param_groups[1], "params": [nn.Parameter(added.detach().clone())]}
    )
    with pytest.raises(ValueError, match="argument 2 is shorter"):  # behind the optimizer's back
        step()
    step()


@pytest.mark.parametrize("every", [1, 2])
def test_groups_that_do_not_climb_keep_their_gradient_when_references_are_normalised(every):
    """r = 0 is the base optimizer for a group's reference, whatever the others do."""
    still, climbing = (nn.Parameter(torch.full((2,), 3.0, dtype=torch.float64)) for _ in range(2))
    groups = [{"params": [still], "r": 0.0}, {"params": [climbing]}]
    optimizer = GNP(
        torch.optim.SGD(groups, lr=1.0), r=0.1, normalize_reference=True, direction_every=every
    )
    for step in (1, 2):
        optimizer.step(closure_for(optimizer, lambda: (4 * still + climbing).sum()))
        torch.testing.assert_close(still.detach(), torch.full((2,), 3.0 - 4 * step).double())


@pytest.mark.parametrize("r", [0.1, 0.0])
def test_different_alphas_have_no_single_gradient(r):
    _, params, loss_of, *_ = problem()
    groups = [{"params": params[:2], "alpha": 0.5, "r": r}, {"params": params[2:]}]
    optimizer = GNP(torch.optim.SGD(groups, lr=0.1), direction_every=2)
    before = [p.detach().clone() for p in params]
    with pytest.raises(ValueError, match="one alpha"):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    assert all(torch.equal(b, p) for b, p in zip(before, params, strict=True))
