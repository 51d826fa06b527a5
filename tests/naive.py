"""The paper's formula written out, one parameter after another: the truth to test against."""

import torch


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
