"""A small problem in float64 for the optimizer's tests, and closures."""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy


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


def two_phases(optimizer, loss, second=None):
    """A step as the docstring of ``first_pass`` has it."""
    optimizer.zero_grad()
    with optimizer.first_pass():
        loss().backward()
    if optimizer.needs_second_pass:
        with optimizer.second_pass():
            (second or loss)().backward()
    optimizer.step()
