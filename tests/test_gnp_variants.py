"""The official code's variants of the step, against the rule written out in float64."""

import itertools

import pytest
import torch
from problems import closure_for, problem
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.optim import GNP, PenaltySchedule, penalty_warmup
from gnp.optim.reference import gradient_of

SETTINGS = {"r": 0.3, "alpha": 0.8, "normalize_reference": True, "l2": 0.05, "max_grad_norm": 0.5}


class Trajectory:
    """Ten steps of the official rule: L2 inside the loss, normalised reference, clip, SGD/AdamW.

    Written with numbers of its own, one parameter after another; ``without`` drops an ingredient.
    """

    def __init__(self, loss_of, params, without=(), *, r, alpha, normalize_reference, l2, **clip):
        self.loss_of, self.params = loss_of, [p.detach().clone().requires_grad_() for p in params]
        self.r, self.alpha = r, alpha
        self.normalize = normalize_reference and "normalize_reference" not in without
        self.l2 = 0 if "l2" in without else l2
        self.clip = None if "max_grad_norm" in without else clip["max_grad_norm"]
        self.state = [{"m": torch.zeros_like(p), "v": torch.zeros_like(p)} for p in params]
        self.steps = 0

    def gradient(self):
        def loss(params):
            return self.loss_of(params) + 0.5 * self.l2 * sum((p**2).sum() for p in params)

        g1 = gradient_of(loss, self.params)
        norm = sum((g**2).sum() for g in g1).sqrt()
        climbed = [p + self.r * g / norm for p, g in zip(self.params, g1, strict=True)]
        g2 = gradient_of(loss, [c.detach().requires_grad_() for c in climbed])
        if self.normalize:
            g1 = [g / norm for g in g1]
        g = [(1 - self.alpha) * a + self.alpha * b for a, b in zip(g1, g2, strict=True)]
        length = sum((x**2).sum() for x in g).sqrt()
        if self.clip is not None and length > self.clip:
            g = [x / length * self.clip for x in g]
        return g

    def nesterov_sgd(self, lr=0.1, momentum=0.9):
        for p, g, s in zip(self.params, self.gradient(), self.state, strict=True):
            s["m"] = momentum * s["m"] + g
            with torch.no_grad():
                p -= lr * (g + momentum * s["m"])

    def adamw(self, lr=0.01, decay=0.3, b1=0.9, b2=0.999, epsilon=1e-8):
        self.steps += 1
        for p, g, s in zip(self.params, self.gradient(), self.state, strict=True):
            s["m"], s["v"] = b1 * s["m"] + (1 - b1) * g, b2 * s["v"] + (1 - b2) * g**2
            m, v = s["m"] / (1 - b1**self.steps), s["v"] / (1 - b2**self.steps)
            with torch.no_grad():
                p -= lr * (m / (v.sqrt() + epsilon) + decay * p)


BASES = {
    "nesterov_sgd": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.3),
}


def ten_steps(base, settings):
    _, params, loss_of, *_ = problem()
    optimizer = GNP(BASES[base](params), **settings)
    for _ in range(10):
        optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    return params


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0])
def test_ten_steps_follow_the_official_rule(base, normalize, l2, alpha):
    settings = {**SETTINGS, "normalize_reference": normalize, "l2": l2, "alpha": alpha}
    _, params, loss_of, *_ = problem()
    truth = Trajectory(loss_of, params, **settings)
    for _ in range(10):
        getattr(truth, base)()
    for got, expected in zip(ten_steps(base, settings), truth.params, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dropped", ["normalize_reference", "l2", "max_grad_norm"])
def test_the_rule_without_an_ingredient_is_another(base, dropped):
    _, params, loss_of, *_ = problem()
    truth = Trajectory(loss_of, params, without=[dropped], **SETTINGS)
    for _ in range(10):
        getattr(truth, base)()
    assert not torch.allclose(ten_steps(base, SETTINGS)[0], truth.params[0], rtol=1e-3)


def test_l2_reaches_parameters_that_the_loss_does_not_depend_on():
    used, unused = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = GNP(torch.optim.SGD([used, unused], lr=1.0), r=0.0, l2=0.1)
    optimizer.step(closure_for(optimizer, lambda: used.sum()))
    torch.testing.assert_close(unused.detach(), torch.full((2,), 0.9).double())


def test_groups_have_their_own_l2():
    decayed, free = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    groups = [{"params": [decayed], "l2": 0.1}, {"params": [free]}]
    optimizer = GNP(torch.optim.SGD(groups, lr=1.0), r=0.0)
    optimizer.step(closure_for(optimizer, lambda: 0 * (decayed + free).sum()))
    assert decayed[0].item() == pytest.approx(0.9)
    assert free[0].item() == 1


def test_a_grad_scaler_changes_nothing_whatever_its_scale():
    results = []
    for scale in (None, 2.0**3, 2.0**12):
        _, params, loss_of, *_ = problem()
        scaler = scale and torch.amp.GradScaler("cpu", init_scale=scale)
        base = torch.optim.SGD(params, lr=0.1)
        optimizer = GNP(base, **SETTINGS, epsilon=0.1, grad_scaler=scaler)

        def closure(optimizer=optimizer, scaler=scaler, params=params, loss_of=loss_of):
            optimizer.zero_grad()
            loss = loss_of(params)
            (scaler.scale(loss) if scaler else loss).backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
            if scaler:
                scaler.update()
        results.append(params[0].detach())
    for scaled in results[1:]:
        # The scale is a float32 number, a power of two: exact. unscale_ works in float32.
        torch.testing.assert_close(scaled, results[0], rtol=1e-6, atol=1e-8)


def test_epsilon_shortens_the_climb():
    moved = {}
    for epsilon in (0.0, 1.0):
        p = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
        seen = []
        optimizer = GNP(torch.optim.SGD([p], lr=0.0), r=0.5, epsilon=epsilon)

        def loss(p=p, seen=seen):
            seen.append(p.detach().clone())
            return 0.5 * (p**2).sum()

        optimizer.step(closure_for(optimizer, loss))
        moved[epsilon] = (seen[1] - seen[0]).norm().item()
    assert moved[0.0] == pytest.approx(0.5)
    assert moved[1.0] == pytest.approx(0.5 * 5 / (5 + 1))


@pytest.mark.parametrize("alpha", [0.8, 1.0])
@pytest.mark.parametrize("normalize", [False, True])
def test_adaptive_climbs_as_asam_and_mixes_the_plain_gradient(alpha, normalize):
    _, params, loss_of, *_ = problem()
    eta, r = 0.02, 0.5
    g1 = gradient_of(loss_of, params)
    scales = [p.abs() + eta if i < 2 else torch.ones_like(p) for i, p in enumerate(params)]
    norm = sum(((t * g) ** 2).sum() for t, g in zip(scales, g1, strict=True)).sqrt()
    climbed = [
        (p + r * t**2 * g / norm).detach().requires_grad_()
        for p, t, g in zip(params, scales, g1, strict=True)
    ]
    g2 = gradient_of(loss_of, climbed)
    length = sum((g**2).sum() for g in g1).sqrt() if normalize else 1
    expected = [(1 - alpha) * a / length + alpha * b for a, b in zip(g1, g2, strict=True)]
    before = [p.detach().clone() for p in params]
    groups = [{"params": params[:2]}, {"params": params[2:], "adaptive": False}]
    optimizer = GNP(
        torch.optim.SGD(groups, lr=1.0),
        r=r,
        alpha=alpha,
        adaptive=True,
        adaptive_eta=eta,
        normalize_reference=normalize,
    )
    optimizer.step(closure_for(optimizer, lambda: loss_of(params)))
    for b, p, e in zip(before, params, expected, strict=True):
        torch.testing.assert_close(b - p.detach(), e, rtol=1e-11, atol=1e-13)


def test_a_zero_gradient_stays_zero_when_it_is_normalised():
    p = nn.Parameter(torch.ones(2))
    optimizer = GNP(torch.optim.SGD([p], lr=1.0), normalize_reference=True)
    optimizer.step(closure_for(optimizer, lambda: 0 * p.sum()))
    assert p.tolist() == [1, 1]


def test_with_r_zero_the_reference_is_not_normalised():
    p = nn.Parameter(torch.zeros(2))
    optimizer = GNP(torch.optim.SGD([p], lr=1.0), r=0.0, normalize_reference=True)
    optimizer.step(closure_for(optimizer, lambda: 3 * p.sum()))
    assert p.tolist() == [-3, -3]


# ---------------------------------------------------------------------- pieces of a batch


@pytest.mark.parametrize("alpha", [0.0, 0.8])
def test_pieces_climb_apart_and_their_gradients_are_averaged(alpha):
    settings = {**SETTINGS, "alpha": alpha, "max_grad_norm": 1e9}
    model, params, _, x, y = problem()
    names = [n for n, _ in model.named_parameters()]

    def piece_loss(rows):
        def loss_of(ps):
            logits = functional_call(model, dict(zip(names, ps, strict=True)), (x[rows],))
            return cross_entropy(logits, y[rows])

        return loss_of

    pieces = [piece_loss(slice(i, i + 4)) for i in range(0, 16, 4)]
    truths = [Trajectory(loss_of, params, **settings).gradient() for loss_of in pieces]
    expected = [torch.stack(gs).mean(0) for gs in zip(*truths, strict=True)]
    before = [p.detach().clone() for p in params]
    optimizer = GNP(torch.optim.SGD(params, lr=1.0), **settings)
    mean_loss = torch.stack([loss_of(params).detach() for loss_of in pieces]).mean()

    loss = optimizer.step([closure_for(optimizer, lambda f=f: f(params)) for f in pieces])

    torch.testing.assert_close(loss, mean_loss)
    for b, p, e in zip(before, params, expected, strict=True):
        torch.testing.assert_close(b - p.detach(), e, rtol=1e-11, atol=1e-13)


def test_running_statistics_are_the_mean_over_the_pieces():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).double()
    x = torch.randn(12, 4).double()
    hidden = model[0](x).detach()
    means = torch.stack([piece.mean(0) for piece in hidden.split(4)])
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model)
    optimizer.step(
        [closure_for(optimizer, lambda p=p: model(p).square().mean()) for p in x.split(4)]
    )
    torch.testing.assert_close(model[1].running_mean, 0.1 * means.mean(0))
    assert model[1].num_batches_tracked == 1


def test_a_piece_that_raises_leaves_statistics_and_weights_alone():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model)

    def broken():
        model(torch.randn(4, 4))
        raise OSError("no")

    good = closure_for(optimizer, lambda: model(torch.randn(4, 4)).square().mean())
    with pytest.raises(OSError, match="no"):
        optimizer.step([good, broken])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


# ---------------------------------------------------------------------- what the passes share


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.ones(3))
        self.seen = []

    def forward(self):
        noise = torch.rand(3)
        self.seen.append(noise)
        return (self.p * noise).sum()


@pytest.mark.parametrize("replay", [True, False])
def test_draws_are_replayed_only_if_asked(replay):
    model = Noisy()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), replay_draws=replay)
    optimizer.step(closure_for(optimizer, model))
    assert torch.equal(*model.seen) == replay


@pytest.mark.parametrize("passes", ["first", "both"])
def test_batch_statistics_count_the_passes_that_were_asked_for(passes):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    optimizer = GNP(
        torch.optim.SGD(model.parameters(), lr=0.1), model=model, batch_statistics=passes
    )
    x = torch.randn(8, 4)
    optimizer.step(closure_for(optimizer, lambda: model(x).square().mean()))
    assert model[1].num_batches_tracked == {"first": 1, "both": 2}[passes]


class Shaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.ones(2))
        self.true_gradient = False
        self.seen = []

    def forward(self):
        self.seen.append(self.true_gradient)
        return self.p.square().sum()


@pytest.mark.parametrize("asked", [True, False])
def test_only_the_first_pass_has_the_true_gradient(asked):
    model = Shaky()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), model=model, true_gradient=asked)
    optimizer.step(closure_for(optimizer, model))
    assert model.seen == [asked, False]
    assert model.true_gradient is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l2": -1.0}, "l2 must be"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"adaptive_eta": -1.0}, "adaptive_eta"),
        ({"direction_every": 0}, "direction_every"),
        ({"batch_statistics": "second"}, "first"),
        ({"true_gradient": True}, "model"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GNP(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), **settings)


def test_an_empty_sequence_of_closures_is_refused():
    optimizer = GNP(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    with pytest.raises(TypeError, match="closure"):
        optimizer.step([])


# ---------------------------------------------------------------------- penalty warm-up


def values(strategy, steps=4):
    base = torch.optim.RMSprop([nn.Parameter(torch.ones(1))], lr=0.1)  # has an alpha of its own
    optimizer = GNP(base, r=0.2, alpha=0.8)
    schedule = PenaltySchedule(optimizer, **penalty_warmup(strategy, steps))
    seen = []
    for _ in range(6):
        seen.append(tuple(round(v, 6) for v in optimizer.penalty(optimizer.param_groups[0])))
        schedule.step()
    return seen, schedule, optimizer


def test_each_warmup_does_what_its_name_says():
    assert values("none")[0] == [(0.2, 0.8)] * 6
    assert values("zero")[0] == [(0.0, 0.8)] * 4 + [(0.2, 0.8)] * 2
    assert values("r")[0] == [(0.0, 0.8), (0.05, 0.8), (0.1, 0.8), (0.15, 0.8)] + [(0.2, 0.8)] * 2
    assert values("lambda")[0] == [(0.2, a) for a in (0.0, 0.2, 0.4, 0.6, 0.8, 0.8)]


def test_a_schedule_resumes_where_it_was():
    _, schedule, _ = values("lambda", steps=12)
    _, fresh, optimizer = values("lambda", steps=12)
    fresh.load_state_dict({**schedule.state_dict(), "step": 3})
    assert optimizer.penalty(optimizer.param_groups[0])[1] == pytest.approx(0.8 * 3 / 12)


@pytest.mark.parametrize("arguments", [("linear", 3), ("zero", -1)])
def test_an_unknown_warmup_is_refused(arguments):
    with pytest.raises(ValueError, match="warm-up"):
        penalty_warmup(*arguments)


def test_every_combination_of_variants_makes_a_finite_step():
    flags = ("normalize_reference", "adaptive", "true_gradient", "replay_draws", "economy")
    for chosen in itertools.product([False, True], repeat=len(flags)):
        model, params, loss_of, *_ = problem()
        settings = dict(zip(flags, chosen, strict=True))
        economy = settings.pop("economy")
        settings["direction_every"] = 2 if economy else 1
        optimizer = GNP(torch.optim.SGD(params, lr=0.1), l2=0.1, model=model, **settings)
        closure = closure_for(optimizer, lambda f=loss_of, ps=params: f(ps))
        for _ in range(3):
            optimizer.step([closure] * 2, [closure] * 2 if economy else None)
        assert all(p.isfinite().all() for p in params)
