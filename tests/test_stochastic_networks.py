"""Shake-Shake and ShakeDrop: one draw an image, independent backward draws, exact replay."""

import copy
import io

import pytest
import torch
from torch import nn

from gnp.optim import GNP, PenaltySchedule, RandomState, penalty_warmup, true_gradients
from models import PyramidNet, ShakeShakeNet
from models.pyramidnet import ShakeDrop
from models.shake_shake import ShakeShake

SMALL = {
    "shake_shake": lambda: ShakeShakeNet(depth=8, width=4, stem_width=4),
    "pyramidnet_sd": lambda: PyramidNet(depth=11, alpha=6, base_width=4, shake_drop=True),
}
F64 = torch.float64


def shake_shake_factors(n, true_gradient=False):
    """Forward and backward gate of each image, read off constant inputs: a = 1, b = 0."""
    layer = ShakeShake()
    layer.true_gradient = true_gradient
    a = torch.ones(n, 2, 3, 3, dtype=F64, requires_grad=True)
    b = torch.zeros(n, 2, 3, 3, dtype=F64, requires_grad=True)
    out = layer(a, b)
    out.sum().backward()
    torch.testing.assert_close(a.grad + b.grad, torch.ones_like(a))  # the gates are g and 1 − g
    return constant_per_image(out.detach()), constant_per_image(a.grad)


def shake_drop_factors(n, keep_probability=0.5, true_gradient=False):
    """Forward and backward factor of each image, read off a constant input."""
    layer = ShakeDrop(keep_probability)
    layer.true_gradient = true_gradient
    x = torch.ones(n, 2, 3, 3, dtype=F64, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    return constant_per_image(out.detach()), constant_per_image(x.grad)


def constant_per_image(x):
    """The one number that fills each image, (N, C, H, W) → (N,)."""
    assert torch.equal(x, x[:, :1, :1, :1].expand_as(x))
    return x[:, 0, 0, 0]


FACTORS = pytest.mark.parametrize(
    "factors", [shake_shake_factors, shake_drop_factors], ids=["shake_shake", "shake_drop"]
)


# ---------------------------------------------------------------------- the draws


@FACTORS
def test_every_image_has_its_own_draw(factors):
    # at p = 1/2 about half of ShakeDrop's factors are exactly 1
    forward, backward = factors(64)
    assert len(forward[forward != 1].unique()) > 16
    assert len(forward[forward != 1].unique()) == (forward != 1).sum()
    assert not torch.equal(forward, backward)


def test_shake_shake_gates_are_uniform_and_independent():
    forward, backward = shake_shake_factors(20_000)
    for gate in (forward, backward):
        assert gate.min() >= 0
        assert gate.max() < 1
        assert gate.mean().item() == pytest.approx(1 / 2, abs=0.01)
        assert gate.var().item() == pytest.approx(1 / 12, abs=0.003)
    assert torch.corrcoef(torch.stack([forward, backward]))[0, 1].abs() < 0.03


def test_shake_drop_factors_are_its_papers():
    forward, backward = shake_drop_factors(20_000, keep_probability=0.7)
    kept = forward == 1
    assert torch.equal(kept, backward == 1)  # kept in both passes or in none
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.015)
    alpha, beta = forward[~kept], backward[~kept]
    assert -1 <= alpha.min() < -0.95
    assert 0.95 < alpha.max() <= 1
    assert alpha.mean().item() == pytest.approx(0, abs=0.03)
    assert 0 <= beta.min() < 0.05
    assert 0.95 < beta.max() <= 1
    assert beta.mean().item() == pytest.approx(1 / 2, abs=0.02)
    assert torch.corrcoef(torch.stack([alpha, beta]))[0, 1].abs() < 0.05


def test_keep_probability_falls_linearly_to_a_half():
    with torch.device("meta"):
        model = PyramidNet(shake_drop=True)
    p = [m.keep_probability for m in model.modules() if isinstance(m, ShakeDrop)]
    assert p == pytest.approx([1 - 0.5 * k / 90 for k in range(1, 91)])
    assert p[-1] == 0.5


def test_shake_drop_with_probability_1_is_the_identity():
    forward, backward = shake_drop_factors(100, keep_probability=1.0)
    assert torch.equal(forward, torch.ones(100, dtype=F64))
    assert torch.equal(backward, forward)


# ---------------------------------------------------------------------- evaluation


def test_evaluation_is_the_mean_of_training():
    a, b = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    many_a, many_b = (x.repeat(20_000, 1, 1, 1) for x in (a, b))
    shake, drop = ShakeShake(), ShakeDrop(0.7)
    pairs = [(shake(many_a, many_b), shake.eval()(a, b)), (drop(many_a), drop.eval()(a))]
    for train, evaluation in pairs:
        mean = train.view(20_000, *a.shape).mean(0)
        torch.testing.assert_close(mean, evaluation, atol=0.03, rtol=0)
    torch.testing.assert_close(shake(a, b), (a + b) / 2)
    torch.testing.assert_close(drop(a), 0.7 * a)


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_draws_nothing(name):
    model = SMALL[name]().eval()
    images = torch.randn(2, 3, 32, 32)
    before = torch.get_rng_state()
    assert torch.equal(model(images), model(images))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- gradients


@pytest.mark.parametrize("true_gradient", [False, True])
def test_shake_shake_gradients_are_those_of_its_gates(true_gradient):
    torch.manual_seed(1)
    forward, backward = torch.rand(2, 5, 1, 1, 1).double()
    gate = forward if true_gradient else backward
    a, b = (torch.randn(5, 2, 3, 3, dtype=F64, requires_grad=True) for _ in range(2))
    upstream = torch.randn(5, 2, 3, 3, dtype=F64)
    layer = ShakeShake()
    layer.true_gradient = true_gradient
    torch.manual_seed(1)
    out = layer(a, b)
    out.backward(upstream)
    torch.testing.assert_close(out, forward * a + (1 - forward) * b)
    torch.testing.assert_close(a.grad, gate * upstream)
    torch.testing.assert_close(b.grad, (1 - gate) * upstream)


@pytest.mark.parametrize("true_gradient", [False, True])
def test_shake_drop_gradients_are_those_of_its_factors(true_gradient):
    torch.manual_seed(1)
    u = torch.rand(3, 8, 1, 1, 1).double()
    kept = u[0] < 0.5
    assert 0 < kept.sum() < 8
    alpha = torch.where(kept, 1, 2 * u[1] - 1)
    beta = torch.where(kept, 1, u[2])
    x = torch.randn(8, 2, 3, 3, dtype=F64, requires_grad=True)
    upstream = torch.randn(8, 2, 3, 3, dtype=F64)
    layer = ShakeDrop(0.5)
    layer.true_gradient = true_gradient
    torch.manual_seed(1)
    out = layer(x)
    out.backward(upstream)
    torch.testing.assert_close(out, alpha * x, rtol=1e-6, atol=1e-6)  # α is made in float32
    expected = (alpha if true_gradient else beta) * upstream
    torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("true_gradient", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_only_the_true_gradient_predicts_the_loss(name, true_gradient):
    """Central difference of the loss along a random direction, the draws held."""
    torch.manual_seed(0)
    model = SMALL[name]().double()
    images, labels = torch.randn(8, 3, 16, 16, dtype=F64), torch.arange(8)
    parameters = list(model.parameters())
    direction = [torch.randn_like(p) for p in parameters]

    def loss():
        torch.manual_seed(2)
        return nn.functional.cross_entropy(model(images), labels)

    if true_gradient:
        with true_gradients(model):
            gradient = torch.autograd.grad(loss(), parameters)
    else:
        gradient = torch.autograd.grad(loss(), parameters)
    predicted = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)).item()
    values = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):  # to +1e-6, then to −1e-6
            torch._foreach_add_(parameters, direction, alpha=step)
            values.append(loss().item())
    measured = (values[0] - values[1]) / 2e-6
    assert (predicted == pytest.approx(measured, rel=1e-3)) is true_gradient


def test_the_true_gradient_can_be_differentiated_again():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), ShakeDrop(0.5), nn.Conv2d(2, 1, 1)).double()
    images = torch.randn(4, 2, 3, 3, dtype=F64)
    weights = tuple(p.detach().clone() for p in model.parameters())
    names = [name for name, _ in model.named_parameters()]

    def loss(*values):
        torch.manual_seed(0)
        values = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, values, images).square().sum()

    with true_gradients(model):
        inputs = tuple(w.requires_grad_() for w in weights)
        assert torch.autograd.gradgradcheck(loss, inputs)
        grads = torch.func.grad(loss)(*inputs)  # torch.func needs setup_context
    assert grads.shape == inputs[0].shape


# ---------------------------------------------------------------------- the second pass


@pytest.mark.parametrize("name", SMALL)
def test_draws_are_the_same_in_both_gradient_modes(name):
    """The backward draws are made in both, else replay would go out of step."""
    model, images = SMALL[name](), torch.randn(4, 3, 32, 32)
    torch.manual_seed(0)
    ordinary = model(images)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    with true_gradients(model):
        true = model(images)
    assert torch.equal(ordinary, true)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("name", SMALL)
def test_the_second_pass_replays_the_draws(name):
    model, images = SMALL[name](), torch.randn(4, 3, 32, 32)
    state = RandomState()
    with true_gradients(model):
        first = model(images)
    with state.replayed():
        second = model(images)
    assert torch.equal(first, second)
    assert not torch.equal(first, model(images))


@pytest.mark.parametrize("name", SMALL)
def test_an_optimizer_step_uses_the_true_gradient_in_its_first_pass_only(name):
    model = SMALL[name]()
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    layers = [m for m in model.modules() if hasattr(m, "true_gradient")]
    assert len(layers) == 3
    optimizer = GNP(
        torch.optim.SGD(model.parameters(), lr=0.1), r=0.1, model=model, true_gradient=True
    )
    modes = []

    def closure():
        optimizer.zero_grad()
        modes.append({m.true_gradient for m in layers})
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert modes == [{True}, {False}]
    assert not any(m.true_gradient for m in layers)


WITHOUT_PENALTY = {
    "r": {"r": 0.0},
    "alpha": {"alpha": 0.0},
    "zero_warmup": {"r": 0.1},
}


@pytest.mark.parametrize("two_phase", [False, True])
@pytest.mark.parametrize("why", WITHOUT_PENALTY)
@pytest.mark.parametrize("name", SMALL)
def test_without_a_penalty_shake_networks_train_as_with_the_base_alone(name, why, two_phase):
    """Bit for bit, whatever ``true_gradient`` says: the only pass of a step is ordinary shake."""
    torch.manual_seed(2)
    model = SMALL[name]()
    bare = copy.deepcopy(model)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    base = torch.optim.SGD(bare.parameters(), lr=0.1, momentum=0.9)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = GNP(sgd, **WITHOUT_PENALTY[why], model=model, true_gradient=True)
    if why == "zero_warmup":
        PenaltySchedule(optimizer, **penalty_warmup("zero", 2))

    def backward(network, optimizer):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        return loss

    torch.manual_seed(3)
    for _ in range(2):
        backward(bare, base)
        base.step()
    torch.manual_seed(3)
    for _ in range(2):
        if two_phase:
            with optimizer.first_pass():
                backward(model, optimizer)
            assert not optimizer.needs_second_pass
            optimizer.step()
        else:
            optimizer.step(lambda: backward(model, optimizer))
    for ours, theirs in zip(model.parameters(), bare.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# ---------------------------------------------------------------------- as PyTorch modules


@pytest.mark.parametrize("name", SMALL)
def test_copies_and_saved_states_compute_the_same(name):
    model, images = SMALL[name](), torch.randn(4, 3, 32, 32)
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    loaded = SMALL[name]()
    saved.seek(0)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    outputs = []
    for m in (model, copy.deepcopy(model), loaded):
        torch.manual_seed(0)
        outputs.append(m(images))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("layer", [ShakeShake(), ShakeDrop(0.5)], ids=["shake_shake", "shake_drop"])
def test_layers_keep_memory_format_and_type(layer):
    inputs = 2 if isinstance(layer, ShakeShake) else 1
    for dtype in (torch.bfloat16, torch.float32, F64):
        images = torch.randn(4, 3, 8, 8, dtype=dtype).contiguous(memory_format=torch.channels_last)
        images.requires_grad_()
        out = layer(*[images] * inputs)
        (grad,) = torch.autograd.grad(out.sum(), images)
        for tensor in (out, grad):
            assert tensor.dtype == dtype
        assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", SMALL)
def test_autocast_trains(name):
    model, images = SMALL[name](), torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(images), torch.arange(4))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_compiled_network_computes_the_same_in_both_modes(name):
    torch._dynamo.reset()
    model, images = SMALL[name]().double(), torch.randn(4, 3, 16, 16, dtype=F64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)

    def output_and_gradients(forward):
        torch.manual_seed(0)
        output = forward(images)
        return [output, *torch.autograd.grad(output.square().sum(), model.parameters())]

    ordinary = output_and_gradients(model)
    for actual, expected in zip(output_and_gradients(compiled), ordinary, strict=True):
        torch.testing.assert_close(actual, expected)
    with true_gradients(model):
        true = output_and_gradients(model)
        for actual, expected in zip(output_and_gradients(compiled), true, strict=True):
            torch.testing.assert_close(actual, expected)
    assert not torch.allclose(ordinary[1], true[1])
