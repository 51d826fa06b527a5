"""The paper's formula written out, one parameter after another: the truth to test against; and a
small problem in float64 to test it on."""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy


def gradients(loss_of, params):
    """∇L at ``params``; zero where the loss does not depend on a parameter."""
    grads = torch.autograd.grad(loss_of(params), params, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(params, grads, strict=True)]


def gnp_gradient(loss_of, params, r, alpha):
    """(1 − α) g1 + α g2 with g2 at θ + r g1/‖g1‖.

    ``loss_of`` is a function of a list of tensors; ``params`` are leaves of float64.
    """
    g1 = gradients(loss_of, params)
    norm = sum((g**2).sum() for g in g1).sqrt()
    climbed = [
        (p + r * g / norm).detach().requires_grad_() for p, g in zip(params, g1, strict=True)
    ]
    g2 = gradients(loss_of, climbed)
    return [(1 - alpha) * a + alpha * b for a, b in zip(g1, g2, strict=True)]


def problem():
    """A network, its parameters, its loss as a function of them, images and labels."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x, y = torch.randn(16, 5).double(), torch.randint(3, (16,))
    names = [n for n, _ in model.named_parameters()]

    def loss_of(params):
        return cross_entropy(functional_call(model, dict(zip(names, params, strict=True)), (x,)), y)

    return model, list(model.parameters()), loss_of, x, y


def closure_for(optimizer, loss_of, scaler=None):
    def closure():
        optimizer.zero_grad()
        loss = loss_of()
        (loss if scaler is None else scaler.scale(loss)).backward()
        return loss.detach()

    return closure
