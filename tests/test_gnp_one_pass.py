"""Variants that ask whether two passes are worth it, each against its formula in float64: steps by
chance, a climb of the norms alone, a climb along the momentum, a late penalty."""

import copy
import hashlib
import pickle

import pytest
import torch
from problems import closure_for, problem, two_phases
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.optim import GNP, PenaltySchedule, late_penalty
from gnp.optim.climbing import norm_parameters
from gnp.optim.reference import gnp_gradient, gradient_of, norm_of

R, ALPHA, STEPS = 0.3, 0.8, 12
EXACT = {"rtol": 1e-12, "atol": 1e-12}
BASES = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    "nesterov": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda ps: torch.optim.Adam(ps, lr=0.01, eps=0.01),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.3, eps=0.01),
}


def assert_same(params, expected):
    for got, right in zip(params, expected, strict=True):
        torch.testing.assert_close(got, right, **EXACT)


def trained(optimizer, params, loss_of, steps=STEPS, calls=None):
    """The weights after each step."""

    def loss():
        if calls is not None:
            calls.append([p.detach().clone() for p in params])
        return loss_of(params)

    seen = []
    for _ in range(steps):
        optimizer.step(closure_for(optimizer, loss))
        seen.append([p.detach().clone() for p in params])
    return seen


# ---------------------------------------------------------------------- steps by chance


def heads(p, seed, step):
    """As chance.py has it, written anew."""
    bits = int(hashlib.sha256(f"{seed}/{step}".encode()).hexdigest()[:16], 16) >> 11
    return bits * 2.0**-53 < p


def expected_by_chance(p, seed, steps=STEPS, begin=0):
    """Weights after each step, and how many gradients were taken."""
    _, params, loss_of, *_ = problem()
    base, seen, passes = BASES["nesterov"](params), [], 0
    for step in range(begin, begin + steps):
        penalised = heads(p, seed, step)
        passes += 1 + penalised
        g = gnp_gradient(loss_of, params, R, ALPHA) if penalised else gradient_of(loss_of, params)
        for parameter, gradient in zip(params, g, strict=True):
            parameter.grad = gradient
        base.step()
        seen.append([q.detach().clone() for q in params])
    return seen, passes


def by_chance(p, seed, base="nesterov", **settings):
    _, params, loss_of, *_ = problem()
    optimizer = GNP(BASES[base](params), R, ALPHA, probability=p, seed=seed, **settings)
    return optimizer, params, loss_of


@pytest.mark.parametrize(("p", "seed"), [(0.5, 0), (0.5, 7), (0.1, 0), (0.0, 0), (1.0, 0)])
def test_each_step_is_gnps_with_probability_p_and_else_the_bases(p, seed):
    calls, (optimizer, params, loss_of) = [], by_chance(p, seed)
    seen, passes = expected_by_chance(p, seed)
    for got, right in zip(trained(optimizer, params, loss_of, calls=calls), seen, strict=True):
        assert_same(got, right)
    assert len(calls) == passes


def test_the_draws_are_a_share_of_p_and_others_with_another_seed():
    steps = 4000
    for p in (0.1, 0.5, 0.9):
        share = sum(heads(p, 3, step) for step in range(steps)) / steps
        assert abs(share - p) < 4 * (p * (1 - p) / steps) ** 0.5
    assert [heads(0.5, 0, s) for s in range(64)] != [heads(0.5, 1, s) for s in range(64)]


@pytest.mark.parametrize("phases", [False, True])
def test_a_resumed_optimizer_draws_what_the_whole_run_would(phases):
    whole, _ = expected_by_chance(0.5, 1)
    optimizer, params, loss_of = by_chance(0.5, 1)
    trained(optimizer, params, loss_of, 5)
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other, others, loss_of = by_chance(0.5, 1)
    for p, q in zip(others, params, strict=True):
        p.data.copy_(q)
    other.load_state_dict(state)
    for _ in range(5, STEPS):
        if phases:
            two_phases(other, lambda: loss_of(others))
        else:
            other.step(closure_for(other, lambda: loss_of(others)))
    assert_same(others, whole[-1])


def test_a_pass_that_raises_is_no_step_and_the_draw_is_made_again():
    optimizer, params, loss_of = by_chance(0.5, 1)
    right, _ = expected_by_chance(0.5, 1, steps=3)

    def broken():
        raise OSError("no")

    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            optimizer.step(broken)
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    assert_same(params, right[-1])


def test_steps_without_the_penalty_have_the_plain_gradient_whatever_is_mixed_in_the_others():
    optimizer, params, loss_of = by_chance(0.5, 1, normalize_reference=True)
    _, plain, *_ = problem()
    base = BASES["nesterov"](plain)
    for step in range(STEPS):
        g1 = gradient_of(loss_of, plain)
        g = g1
        if heads(0.5, 1, step):
            unit = [x / norm_of(g1) for x in g1]
            climbed = [(p + R * u).detach() for p, u in zip(plain, unit, strict=True)]
            g2 = gradient_of(loss_of, climbed)
            g = [(1 - ALPHA) * u + ALPHA * b for u, b in zip(unit, g2, strict=True)]
        for p, gradient in zip(plain, g, strict=True):
            p.grad = gradient
        base.step()
    trained(optimizer, params, loss_of)
    assert_same(params, plain)


def test_all_pieces_of_a_batch_have_one_draw():
    calls, (optimizer, params, loss_of) = [], by_chance(0.5, 0)

    def loss():
        calls.append(None)
        return loss_of(params)

    for step in range(8):
        before = len(calls)
        optimizer.step([closure_for(optimizer, loss)] * 3)
        assert len(calls) - before == 3 * (1 + heads(0.5, 0, step))


def test_the_default_has_no_count_in_its_groups():
    optimizer, *_ = by_chance(1.0, 0)
    assert "steps" not in optimizer.param_groups[0]


# ---------------------------------------------------------------------- norms alone


def normed():
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.BatchNorm1d(8),
        nn.Linear(8, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    x, y = torch.randn(16, 5).double(), torch.randint(3, (16,))
    names = [n for n, _ in model.named_parameters()]

    def loss_of(params):
        return cross_entropy(functional_call(model, dict(zip(names, params, strict=True)), (x,)), y)

    return model, list(model.parameters()), loss_of


NORMS = (2, 3, 6, 7)  # of the parameters


def norms_only(loss_of, params, r, alpha, eta=None, normalize=False):
    """g: the climb is of the norms, by the norm over them; g1 and g2 are of all."""
    g1 = gradient_of(loss_of, params)
    t = [torch.ones_like(p) if eta is None else p.abs() + eta for p in params]
    length = norm_of([t[i] * g1[i] for i in NORMS])
    climbed = [
        (p + (r * t[i] ** 2 * g1[i] / length if i in NORMS else 0)).detach()
        for i, p in enumerate(params)
    ]
    g2 = gradient_of(loss_of, climbed)
    unit = norm_of(g1) if normalize else 1
    return [(1 - alpha) * a / unit + alpha * b for a, b in zip(g1, g2, strict=True)]


VARIATIONS = [{}, {"adaptive": True, "adaptive_eta": 0.1}, {"normalize_reference": True}]


@pytest.mark.parametrize("by", ["model", "groups"])
@pytest.mark.parametrize("alpha", [0.8, 1.0])
@pytest.mark.parametrize("settings", VARIATIONS, ids="-".join)
def test_only_the_norms_climb_and_all_parameters_are_mixed_and_stepped(settings, alpha, by):
    _, params, loss_of = normed()
    base = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        eta = settings.get("adaptive_eta")
        g = norms_only(loss_of, params, R, alpha, eta, "normalize_reference" in settings)
        for p, gradient in zip(params, g, strict=True):
            p.grad = gradient
        base.step()
    model, ours, loss_of = normed()
    if by == "model":
        groups, more = ours, {"model": model, "climb_only_norms": True}
    else:
        others = [p for i, p in enumerate(ours) if i not in NORMS]
        norms = [ours[i] for i in NORMS]
        groups, more = [{"params": others, "climbs": False}, {"params": norms}], {}
    optimizer = GNP(torch.optim.SGD(groups, lr=0.1, momentum=0.9), R, alpha, **settings, **more)
    calls = []
    trained(optimizer, ours, loss_of, calls=calls)
    assert_same(ours, params)
    for i, (at, climbed) in enumerate(zip(*calls[:2], strict=True)):
        assert torch.equal(at, climbed) == (i not in NORMS)


def test_norms_of_a_group_that_is_added_climb_too():
    model, params, loss_of = normed()
    late = [p for i, p in enumerate(params) if i in NORMS[2:]]
    early = [p for i, p in enumerate(params) if i not in NORMS[2:]]
    base = torch.optim.SGD(early, lr=0.1)
    optimizer = GNP(base, R, ALPHA, model=model, climb_only_norms=True)
    optimizer.add_param_group({"params": late})
    calls = []
    trained(optimizer, params, loss_of, 1, calls)
    for i, (at, climbed) in enumerate(zip(*calls, strict=True)):
        assert torch.equal(at, climbed) == (i not in NORMS)


@pytest.mark.parametrize("more", [{}, {"direction_every": 2}, {"climb_along": "momentum"}])
@pytest.mark.parametrize("why", ["no group climbs", "norms in one that does not", "r", "frozen"])
def test_where_nothing_climbs_it_is_an_error(why, more):
    """…and not two passes at the same weights."""
    model, params, loss_of = normed()
    norms = [params[i] for i in NORMS]
    others = [p for i, p in enumerate(params) if i not in NORMS]
    groups = [{"params": others}, {"params": norms}]
    settings = {"model": model, "climb_only_norms": True}
    if why == "no group climbs":
        groups, settings = [{"params": params, "climbs": False}], {}
    elif why == "r":
        groups[1]["r"] = 0.0
    elif why == "frozen":
        for p in norms:
            p.requires_grad_(False)
    else:
        groups[1]["climbs"] = False
    optimizer = GNP(torch.optim.SGD(groups, lr=0.1, momentum=0.9), R, ALPHA, **settings, **more)
    before = [p.detach().clone() for p in params]
    with pytest.raises(RuntimeError, match="nothing climbs"):
        trained(optimizer, params, loss_of, 1)
    assert all(map(torch.equal, params, before))


@pytest.mark.parametrize("along", ["gradient", "momentum"])
def test_gradients_that_no_backward_has_made_climb_too(along):
    """Parameters that require none, as with ``torch.func``."""
    p = torch.tensor([3.0, 4.0])
    base = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer = GNP(base, r=1.0, alpha=1.0, climb_along=along)
    seen = []

    def closure():
        seen.append(p.clone())
        p.grad = p.clone()
        return p.square().sum() / 2

    optimizer.step(closure)
    optimizer.step(closure)
    at, climbed = (seen[0], seen[1]) if along == "gradient" else (seen[0] - 0.1 * seen[0], seen[1])
    direction = torch.tensor([0.6, 0.8])
    expected = at + direction if along == "gradient" else at - direction
    torch.testing.assert_close(climbed, expected)


def test_norms_alone_go_with_old_directions():
    model, params, loss_of = normed()
    g1 = gradient_of(loss_of, params)
    length = norm_of([g1[i] for i in NORMS])
    optimizer = GNP(
        torch.optim.SGD(params, lr=0.0), R, ALPHA, model=model, climb_only_norms=True,
        direction_every=2,
    )  # fmt: skip
    calls = []
    trained(optimizer, params, loss_of, 2, calls)
    assert len(calls) == 3
    for i, (at, last) in enumerate(zip(calls[0], calls[2], strict=True)):
        move = ALPHA * R * g1[i] / length if i in NORMS else torch.zeros_like(at)
        torch.testing.assert_close(last - at, move, **EXACT)


def test_norm_layers_are_known_by_class_and_by_name():
    timm_norms = pytest.importorskip("timm.layers")

    class LlamaRMSNorm(nn.Module):  # as other libraries have their own
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(size))

    class NormedLinear(nn.Linear):
        """A classifier by cosines: its matrix is no scale of a norm."""

    norms = nn.ModuleList([
        nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.SyncBatchNorm(4), nn.LayerNorm(4),
        nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.RMSNorm(4), LlamaRMSNorm(4),
        timm_norms.RmsNorm(4), timm_norms.RmsNorm2d(4), timm_norms.LayerNorm2d(4),
        timm_norms.BatchNormAct2d(4), timm_norms.GroupNormAct(4, num_groups=2),
        timm_norms.LayerNormAct(4),
    ])  # fmt: skip

    class LayerNormLinear(nn.Linear):
        """As fused layers are called: its matrix is none either."""

    others = [nn.Linear(4, 4), nn.Conv2d(4, 4, 3), NormedLinear(4, 4), nn.Embedding(4, 4)]
    others.append(LayerNormLinear(4, 4))
    others.append(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    found = norm_parameters(nn.ModuleList([*others, norms]))
    assert {id(p) for p in found} == {id(p) for p in norms.parameters()}
    assert len(found) == sum(1 for _ in norms.parameters())
    activated = timm_norms.BatchNormAct2d(4, act_layer=nn.PReLU)  # which has a slope to train
    assert {id(p) for p in norm_parameters(activated)} == {
        id(activated.weight),
        id(activated.bias),
    }
    assert len(list(activated.parameters())) == 3
    shared = nn.LayerNorm(4)
    shared_twice = nn.ModuleList([shared, nn.RMSNorm(4)])
    shared_twice[1].weight = shared.weight
    assert len(norm_parameters(shared_twice)) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copied_optimizer_knows_its_own_norms(copied):
    model, params, loss_of = normed()
    optimizer = GNP(torch.optim.SGD(params, lr=0.1), R, model=model, climb_only_norms=True)
    other_model, other = copied((model, optimizer))
    others, calls = list(other_model.parameters()), []
    trained(other, others, loss_of, 1, calls)
    for i, (at, climbed) in enumerate(zip(*calls, strict=True)):
        assert torch.equal(at, climbed) == (i not in NORMS)


# ---------------------------------------------------------------------- along the momentum


def momentum_steps(kind, loss_of, params, r, steps, l2=0.0, ascending=False):
    """MSAM written out, with numbers of its own: w̃ = w − r·m/‖m‖, m of the steps before."""
    m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
    points = []
    for step in range(1, steps + 1):
        length = norm_of(m)
        move = [0 * x if length == 0 else r * x / length for x in m]
        points.append([(p - x).detach() for p, x in zip(params, move, strict=True)])
        g = gradient_of(loss_of, points[-1])
        g = [a + l2 * b for a, b in zip(g, points[-1], strict=True)]
        new = []
        for i, p in enumerate(params):
            if kind in ("sgd", "nesterov"):
                m[i] = 0.9 * m[i] + g[i]
                update = 0.1 * (g[i] + 0.9 * m[i] if kind == "nesterov" else m[i])
            else:
                m[i], v[i] = 0.9 * m[i] + 0.1 * g[i], 0.999 * v[i] + 0.001 * g[i] ** 2
                right = m[i] / (1 - 0.9**step), (v[i] / (1 - 0.999**step)).sqrt() + 0.01
                update = 0.01 * right[0] / right[1] + (0.003 * p if kind == "adamw" else 0)
            new.append((p - update).detach())
        params = new
    return params, points


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("base", BASES)
def test_along_the_momentum_one_gradient_is_taken_onward_from_the_weights(base, l2, alpha):
    """With α below 1 the climb is of αr: to first order that is the mix."""
    _, params, loss_of, *_ = problem()
    start = [p.detach().clone() for p in params]
    expected, points = momentum_steps(base, loss_of, start, alpha * 0.5, STEPS, l2)
    optimizer = GNP(BASES[base](params), 0.5, alpha, l2=l2, climb_along="momentum")
    calls = []
    trained(optimizer, params, loss_of, calls=calls)
    assert len(calls) == STEPS
    for got, right in zip(calls, points, strict=True):
        assert_same(got, right)
    assert_same(params, expected)


def test_the_perturbed_point_lies_where_the_last_update_went():
    """MSAM's sign: on in the way of the last update, by a length of r."""
    _, params, loss_of, *_ = problem()
    optimizer = GNP(BASES["sgd"](params), R, 1.0, climb_along="momentum")
    calls = []
    weights = trained(optimizer, params, loss_of, 5, calls)
    update = [a - b for a, b in zip(weights[3], weights[2], strict=True)]
    onward = [a - b for a, b in zip(calls[4], weights[3], strict=True)]
    assert norm_of(onward).item() == pytest.approx(R, rel=1e-12)
    assert_same(onward, [R * u / norm_of(update) for u in update])


def test_the_first_step_along_the_momentum_is_the_bases():
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    optimizer, base = GNP(BASES["sgd"](params), 5.0, 1.0, climb_along="momentum"), None
    base = BASES["sgd"](plain)
    optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    base.step(closure_for(base, lambda: loss_of(plain)))
    assert all(torch.equal(a, b) for a, b in zip(params, plain, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_it_is_the_authors_way_of_keeping_the_perturbed_weights_between_steps(decay):
    """…which they take back before they evaluate. Their decay is of the perturbed weights."""
    _, params, loss_of, *_ = problem()
    theirs = [p.detach().clone() for p in params]
    v, inverse = [torch.zeros_like(p) for p in params], 0.0
    for _ in range(STEPS):
        g = gradient_of(loss_of, theirs)
        g = [x + decay * w for x, w in zip(g, theirs, strict=True)]
        back = [w + R * inverse * x for w, x in zip(theirs, v, strict=True)]
        v = [0.9 * x + y for x, y in zip(v, g, strict=True)]
        inverse = 1 / norm_of(v)
        theirs = [w - 0.1 * x - R * inverse * x for w, x in zip(back, v, strict=True)]
    optimizer = GNP(BASES["sgd"](params), R, 1.0, l2=decay, climb_along="momentum")
    trained(optimizer, params, loss_of)
    evaluated = [w + R * inverse * x for w, x in zip(theirs, v, strict=True)]
    assert_same(params, evaluated)


@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_maximising_the_negative_loss_along_the_momentum_is_the_same(base):
    ends = []
    for sign in (1, -1):
        _, params, loss_of, *_ = problem()
        built = BASES[base](params)
        built.param_groups[0]["maximize"] = sign == -1
        optimizer = GNP(built, R, 1.0, climb_along="momentum")
        trained(optimizer, params, lambda ps, f=loss_of, s=sign: s * f(ps))
        ends.append(params)
    assert_same(*ends)


@pytest.mark.parametrize("how", ["pieces", "two phases", "resumed", "scaled", "epsilon"])
def test_along_the_momentum_goes_with_pieces_phases_resumption_and_scaling(how):
    epsilon = 0.5 if how == "epsilon" else 0.0
    scaler = (
        torch.amp.GradScaler("cpu", init_scale=2.0**10) if how in ("scaled", "epsilon") else None
    )
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    settings = {"r": R, "alpha": 1.0, "climb_along": "momentum", "epsilon": epsilon}
    right = GNP(BASES["sgd"](plain), **settings)
    trained(right, plain, loss_of)

    def build():
        return GNP(BASES["sgd"](params), **settings, grad_scaler=scaler)

    optimizer = build()
    closure = closure_for(optimizer, lambda: loss_of(params), scaler)
    for step in range(STEPS):
        if how == "resumed" and step == 6:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = build()
            optimizer.load_state_dict(state)
            closure = closure_for(optimizer, lambda o=optimizer: loss_of(params))
        if how == "two phases":
            two_phases(optimizer, lambda: loss_of(params))
        else:
            optimizer.step([closure] * (3 if how == "pieces" else 1))
        if scaler is not None:
            scaler.update()
    tolerance = {"rtol": 1e-6, "atol": 1e-8} if scaler else EXACT  # unscale_ works in float32
    for a, b in zip(params, plain, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def test_adaptive_along_the_momentum_is_in_proportion_to_the_weights():
    _, params, loss_of, *_ = problem()
    base = BASES["sgd"](params)
    optimizer = GNP(base, R, 1.0, adaptive=True, adaptive_eta=0.1, climb_along="momentum")
    trained(optimizer, params, loss_of, 3)
    t = [p.detach().abs() + 0.1 for p in params]
    m = [base.state[p]["momentum_buffer"].clone() for p in params]
    length = norm_of([a * b for a, b in zip(t, m, strict=True)])
    right = [p.detach() - R * a**2 * b / length for p, a, b in zip(params, t, m, strict=True)]
    calls = []
    trained(optimizer, params, loss_of, 1, calls)
    assert_same(calls[0], right)
    assert not base.state[params[0]]["momentum_buffer"].requires_grad


def test_norms_alone_climb_along_their_momentum():
    model, params, loss_of = normed()
    base = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    optimizer = GNP(base, R, 1.0, model=model, climb_only_norms=True, climb_along="momentum")
    trained(optimizer, params, loss_of, 3)
    at = [p.detach().clone() for p in params]
    m = [base.state[p]["momentum_buffer"].clone() for p in params]
    length, calls = norm_of([m[i] for i in NORMS]), []
    trained(optimizer, params, loss_of, 1, calls)
    right = [p - R * m[i] / length if i in NORMS else p for i, p in enumerate(at)]
    assert_same(calls[0], right)


# ---------------------------------------------------------------------- a late penalty


def test_before_a_late_penalty_the_steps_are_the_bases_bit_for_bit():
    _, params, loss_of, *_ = problem()
    _, plain, *_ = problem()
    optimizer, base = GNP(BASES["nesterov"](params), R, ALPHA), BASES["nesterov"](plain)
    schedule, calls = PenaltySchedule(optimizer, **late_penalty(7)), []
    for step in range(STEPS):
        trained(optimizer, params, loss_of, 1, calls)
        schedule.step()
        if step < 7:
            base.step(closure_for(base, lambda: loss_of(plain)))
            assert all(torch.equal(a, b) for a, b in zip(params, plain, strict=True))
        else:
            g = gnp_gradient(loss_of, plain, R, ALPHA)
            for p, gradient in zip(plain, g, strict=True):
                p.grad = gradient
            base.step()
            assert_same(params, plain)
    assert len(calls) == 7 + 2 * (STEPS - 7)


def test_a_late_penalty_cannot_begin_before_the_first_step():
    assert late_penalty(0) == {}
    with pytest.raises(ValueError, match="≥ 0 steps"):
        late_penalty(-1)


# ---------------------------------------------------------------------- what is refused

MOMENTUM = {"climb_along": "momentum"}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"probability": -0.1}, ValueError, "probability must be from 0 to 1"),
        ({"probability": float("nan")}, ValueError, "probability must be from 0 to 1"),
        ({"probability": True}, TypeError, "probability must be a number"),
        ({"probability": 0.5, "seed": 0.5}, TypeError, "seed must be an integer"),
        ({"probability": 0.5, "direction_every": 2}, ValueError, "do not go together"),
        ({"climb_only_norms": True}, ValueError, "needs model"),
        ({"climb_only_norms": True, "model": nn.Linear(2, 2)}, ValueError, "nothing would climb"),
        ({"climb_only_norms": True, "model": nn.LayerNorm(2)}, ValueError, "nothing would climb"),
        ({"climb_along": "sideways"}, ValueError, "'gradient' or 'momentum'"),
        ({**MOMENTUM, "direction_every": 2}, ValueError, "set direction_every=1"),
        ({**MOMENTUM, "normalize_reference": True}, ValueError, "normalize_reference=False"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line_and_leaves_the_base_alone(settings, error, words):
    base = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    with pytest.raises(error, match=words) as raised:
        GNP(base, **settings)
    assert "\n" not in str(raised.value)
    assert "alpha" not in base.param_groups[0]


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (lambda ps: torch.optim.RMSprop(ps, momentum=0.9), "SGD, Adam and AdamW, not of RMSprop"),
        (lambda ps: torch.optim.NAdam(ps), "SGD, Adam and AdamW, not of NAdam"),
        (lambda ps: torch.optim.SGD(ps, lr=0.1), "momentum above 0"),
    ],
)
def test_a_base_without_a_momentum_that_is_known_is_refused(base, words):
    with pytest.raises((TypeError, ValueError), match=words):
        GNP(base([nn.Parameter(torch.ones(2))]), climb_along="momentum")


def test_groups_of_different_alphas_cannot_climb_along_the_momentum():
    ps = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": ps[:1], "alpha": 0.5}, {"params": ps[1:]}]
    optimizer = GNP(torch.optim.SGD(groups, lr=0.1, momentum=0.9), climb_along="momentum")
    with pytest.raises(ValueError, match="climb_along='momentum' needs one alpha"):
        optimizer.step(closure_for(optimizer, lambda: sum(p.sum() for p in ps)))


def test_what_climbs_is_true_or_false():
    base = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(2))], "climbs": 1}], lr=0.1)
    with pytest.raises(TypeError, match="climbs must be True or False"):
        GNP(base)
