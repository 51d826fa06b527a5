"""What the studies of why it works measure, against closed forms and naive float64."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.studies.why.measuring import geometry
from gnp.studies.why.measuring.directions import filter_normalised
from gnp.studies.why.measuring.landscape import along
from gnp.studies.why.measuring.loss import BatchLoss, cosine
from gnp.studies.why.measuring.sharpness import asam_step, rise, sam_step
from gnp.studies.why.measuring.spectrum import from_flat, to_flat, top_eigenvalues, trace
from gnp.studies.why.measuring.step_length import difference_quotient, over
from gnp.studies.why.numbers import evenly
from gnp.training.vectors import difference, dot, gradient, moved, norm

DOUBLE = torch.float64


class Smooth(nn.Module):
    """Has batch norm, and derivatives of every order."""

    def __init__(self, dtype=DOUBLE):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.to(dtype).train()

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x))))


def images(count=3, size=6, dtype=DOUBLE):
    generator = torch.Generator().manual_seed(7)
    return [
        (torch.randn(size, 4, generator=generator, dtype=DOUBLE).to(dtype),
         torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]  # fmt: skip


def flat(vector):
    return torch.cat([v.detach().flatten() for v in vector])


def naive_loss(model, batches):
    """Of a vector of all weights."""
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def of(weights):
        parts = weights.split([math.prod(shape) for shape in shapes.values()])
        named = {
            n: part.view(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)
        }
        outputs = [(functional_call(copy.deepcopy(model), named, (x,)), y) for x, y in batches]
        return torch.stack([cross_entropy(logits, y) for logits, y in outputs]).mean()

    return of


@pytest.fixture
def smooth():
    """(loss, the same as a function of a vector, the weights as a vector)"""
    torch.manual_seed(3)
    model = Smooth()
    loss = BatchLoss(model, images())
    return loss, naive_loss(model, images()), flat(loss.params)


class Quadratic(nn.Module):
    """Two logits whose cross-entropy for class 0 is f = ½ θᵀAθ: softplus of log(expm1 f)."""

    def __init__(self, hessian, theta):
        super().__init__()
        self.register_buffer("hessian", hessian)
        self.theta = nn.Parameter(theta)

    def forward(self, x):
        value = 0.5 * self.theta @ self.hessian @ self.theta
        logits = torch.stack([torch.zeros_like(value), torch.log(torch.expm1(value))])
        return logits.expand(len(x), 2)


@pytest.fixture
def quadratic():
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=DOUBLE)).Q
    values = torch.tensor([0.5, 1, 2, 3, 5, 9], dtype=DOUBLE)
    hessian = basis @ torch.diag(values) @ basis.T
    theta = torch.randn(6, generator=generator, dtype=DOUBLE)
    model = Quadratic(hessian, theta.clone())
    batch = (torch.zeros(2, 1, dtype=DOUBLE), torch.zeros(2, dtype=torch.int64))
    return BatchLoss(model, [batch]), hessian, theta


# ---------------------------------------------------------------------- loss, gradient, H v


def test_value_gradient_and_product_are_those_of_the_mean_over_the_batches(smooth):
    loss, naive, weights = smooth
    assert loss.value() == pytest.approx(naive(weights).item(), rel=1e-12)
    weights = weights.requires_grad_()
    (wanted,) = torch.autograd.grad(naive(weights), weights)
    torch.testing.assert_close(flat(loss.gradient()), wanted, rtol=1e-10, atol=1e-12)
    hessian = torch.autograd.functional.hessian(naive, weights.detach())
    vector = torch.randn(len(weights), dtype=DOUBLE)
    product = loss.hessian_product(from_flat(vector.numpy(), loss.params))
    torch.testing.assert_close(flat(product), hessian @ vector, rtol=1e-9, atol=1e-11)


def test_of_a_quadratic_everything_is_known(quadratic):
    loss, hessian, theta = quadratic
    value = (0.5 * theta @ hessian @ theta).item()
    assert loss.value() == pytest.approx(value, rel=1e-12)
    g = hessian @ theta
    torch.testing.assert_close(flat(loss.gradient()), g)
    v = g / g.norm()
    torch.testing.assert_close(flat(loss.hessian_product([v])), hessian @ v)
    for r in (1e-3, 0.1, 2.0):  # the difference is exact at every length
        ((error, angle),) = over(loss, [hessian @ v], [r])
        assert error < 1e-11 / r
        assert angle == pytest.approx(1, abs=1e-12)
    # one ascent step: ρ‖g‖ + ½ ρ² vᵀAv
    for rho in (0.05, 0.7):
        wanted = rho * g.norm() + 0.5 * rho**2 * v @ hessian @ v
        assert rise(loss, sam_step([g], rho), value) == pytest.approx(wanted.item(), rel=1e-9)
    torch.testing.assert_close(loss.params[0].detach(), theta, rtol=0, atol=0)


def test_the_loss_takes_each_batchs_own_statistics_and_the_same_draws():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    loss = BatchLoss(model.double().train(), images())
    before = loss.value()
    model[1].running_mean.fill_(100)
    model[1].running_var.fill_(0.01)
    torch.rand(3)
    assert loss.value() == before
    assert loss.value() != BatchLoss(model.eval(), images()).value()


def test_error_counts_the_heaviest_label():
    model = nn.Linear(4, 3).double()
    batches = images(2)
    mixed = [(x, nn.functional.one_hot(y, 3) * 0.7 + 0.1) for x, y in batches]
    plain, mixtures = (BatchLoss(model, b).average() for b in (batches, mixed))
    wrong = sum((model(x).argmax(1) != y).sum().item() for x, y in batches)
    assert plain.error == mixtures.error == pytest.approx(100 * wrong / 12)
    assert plain.loss != mixtures.loss


# ---------------------------------------------------------------------- the note on r


def test_on_a_smooth_loss_the_error_falls_as_r_and_rises_as_the_precision_over_r(smooth):
    loss, _, _ = smooth
    first = loss.gradient()
    length = norm(first)
    exact = loss.hessian_product([g / length for g in first])
    lengths = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    errors = {r: error for r, (error, _) in zip(lengths, over(loss, exact, lengths), strict=True)}
    assert errors[1e-3] / errors[1e-4] == pytest.approx(10, rel=0.1)
    assert errors[1e-2] / errors[1e-3] == pytest.approx(10, rel=0.2)
    single = BatchLoss(copy.deepcopy(loss._model).float(), images(dtype=torch.float32))
    at = [error for error, _ in over(single, exact, lengths)]
    assert at[0] > 3 * at[1] > 9 * at[2]
    assert at[-1] == pytest.approx(errors[1e-2], rel=0.1)
    assert at[0] > 100 * errors[1e-4]


def test_the_difference_is_the_formula(smooth):
    loss, naive, weights = smooth
    r = 0.3

    def grad(at):
        at = at.detach().requires_grad_()
        return torch.autograd.grad(naive(at), at)[0]

    g1 = grad(weights)
    wanted = (grad(weights + r * g1 / g1.norm()) - g1) / r
    torch.testing.assert_close(
        flat(difference_quotient(loss, loss.gradient(), r)), wanted, rtol=1e-9, atol=1e-11
    )
    torch.testing.assert_close(flat(loss.params), weights, rtol=0, atol=0)


# ---------------------------------------------------------------------- curvature


def test_eigenvalues_and_trace_are_those_of_the_matrix(quadratic, smooth):
    loss, _, _ = quadratic
    found = top_eigenvalues(loss.hessian_product, loss.params, 3, tolerance=1e-8)
    assert found == pytest.approx([9, 5, 3], rel=1e-6)
    loss, naive, weights = smooth
    matrix = torch.autograd.functional.hessian(naive, weights)
    values = torch.linalg.eigvalsh(matrix)
    found = top_eigenvalues(loss.hessian_product, loss.params, 2, tolerance=1e-8)
    assert found == pytest.approx(values.flip(0)[:2].tolist(), rel=1e-6)
    estimate, error = trace(loss.hessian_product, loss.params, 60)
    assert abs(estimate - matrix.trace().item()) < 4 * error
    assert 0 < error < 0.5 * abs(estimate)


def test_of_a_diagonal_matrix_random_signs_give_the_trace_itself():
    scales = torch.tensor([1.0, -2.0, 4.5], dtype=DOUBLE)
    assert trace(lambda v: [scales * v[0]], [scales], 3) == (pytest.approx(3.5), pytest.approx(0))


def test_vectors_go_to_one_row_and_back():
    like = [torch.zeros(2, 3), torch.zeros(4), torch.zeros(())]
    row = np.arange(11.0)
    parts = from_flat(row, like)
    assert [p.shape for p in parts] == [p.shape for p in like]
    assert all(p.dtype == torch.float32 for p in parts)
    assert np.array_equal(to_flat(parts), row)


def test_products_are_those_of_curvlinops():
    curvlinops = pytest.importorskip("curvlinops")
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    loss = BatchLoss(model, images())
    operator = curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), images()
    )
    vector = torch.randn(sum(p.numel() for p in loss.params), dtype=DOUBLE)
    product = flat(loss.hessian_product(from_flat(vector.numpy(), loss.params)))
    torch.testing.assert_close(product, operator @ vector, rtol=1e-9, atol=1e-11)


# ---------------------------------------------------------------------- sharpness


def test_steps_have_their_length_in_their_own_norm(smooth):
    loss, _, weights = smooth
    g = loss.gradient()
    step = flat(sam_step(g, 0.3))
    torch.testing.assert_close(step, 0.3 * flat(g) / flat(g).norm())
    t = weights.abs() + 0.01
    wanted = 0.3 * t**2 * flat(g) / (t * flat(g)).norm()
    adaptive = flat(asam_step(g, loss.params, 0.3, 0.01))
    torch.testing.assert_close(adaptive, wanted)
    assert (adaptive / t).norm().item() == pytest.approx(0.3, rel=1e-12)
    flat_point = [torch.zeros_like(p) for p in loss.params]
    assert norm(sam_step(flat_point, 0.3)) == norm(asam_step(flat_point, g, 0.3, 0.01)) == 0


def test_rise_is_the_difference_of_two_losses(smooth):
    loss, naive, weights = smooth
    step = sam_step(loss.gradient(), 0.2)
    wanted = (naive(weights + flat(step)) - naive(weights)).item()
    assert rise(loss, step, loss.value()) == pytest.approx(wanted, rel=1e-9)


def test_a_batchs_numbers_are_those_of_the_formulas(smooth):
    loss, naive, weights = smooth
    found = geometry.of_batch(loss, 0.1, 0.05)
    weights = weights.requires_grad_()
    (g1,) = torch.autograd.grad(naive(weights), weights)
    v = g1 / g1.norm()
    there = (weights + 0.1 * v).detach().requires_grad_()
    (g2,) = torch.autograd.grad(naive(there), there)
    hessian = torch.autograd.functional.hessian(naive, weights.detach())
    wanted = {
        "g1_norm": g1.norm(),
        "g2_norm": g2.norm(),
        "g1_g2_cosine": g1 @ g2 / g1.norm() / g2.norm(),
        "hv_norm": (hessian @ v).norm(),
        "hv_norm_by_difference": (g2 - g1).norm() / 0.1,
        "sam_sharpness": naive(weights + 0.05 * v) - naive(weights),
    }
    assert found == {name: pytest.approx(w.item(), rel=1e-8) for name, w in wanted.items()}


# ---------------------------------------------------------------------- directions and lines


def test_filters_have_the_norm_of_the_solutions_own():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))
    with torch.no_grad():
        model[0].weight[2] = 0  # a filter of zeros does not move
    params = list(model.parameters())
    direction = filter_normalised(params, torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(1)
    for p, d in zip(params, direction, strict=True):
        gaussian = torch.randn(p.shape, generator=drawn)
        if p.ndim <= 1:
            assert d.abs().max() == 0
            continue
        for index in range(len(p)):  # Li et al., §4: d_ij ← d_ij · ‖θ_ij‖/‖d_ij‖
            wanted = gaussian[index] * p[index].norm() / gaussian[index].norm()
            torch.testing.assert_close(d[index], wanted.detach())
    other = [p.detach() * 3 for p in params]
    for a, b in zip(direction, filter_normalised(other, torch.Generator().manual_seed(1)),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(3 * a, b)


def test_a_line_goes_from_one_solution_to_the_other(smooth):
    loss, naive, weights = smooth
    torch.manual_seed(9)
    end = [torch.randn_like(p) for p in loss.params]
    found = along(loss, difference(end, loss.params), [0, 0.25, 1])
    for t, average in zip((0, 0.25, 1), found, strict=True):
        wanted = naive((1 - t) * weights + t * flat(end)).item()
        assert average.loss == pytest.approx(wanted, rel=1e-10)
    assert evenly(-0.5, 1.5, 5) == [-0.5, 0, 0.5, 1, 1.5]


def test_weights_come_back_bit_for_bit_also_by_an_exception():
    p = torch.randn(100)
    saved = p.clone()
    with pytest.raises(KeyError), moved([p], [torch.randn(100)], 1e7):
        assert not torch.equal(p, saved)
        raise KeyError
    assert torch.equal(p, saved)


def test_vectors_of_the_weights_space():
    a, b = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], [torch.ones(2), torch.ones(1, 1)]
    assert (dot(a, b).item(), norm(a).item()) == (7, 5)
    assert cosine(a, b) == pytest.approx(7 / 5 / math.sqrt(3))
    p, q = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = gradient((2 * p).sum(), [p, q])
    assert [g.tolist() for g in found] == [[2, 2], [0, 0, 0]]
