import math

import pytest
import torch
from torch import nn

from models import VGG


@pytest.mark.parametrize(
    ("batch_norm", "num_classes", "parameters"),
    [
        (False, 10, 33_638_218),
        (False, 100, 34_006_948),
        (True, 10, 33_646_666),
        (True, 100, 34_015_396),
    ],
)
def test_parameter_counts_are_the_papers(batch_norm, num_classes, parameters):
    with torch.device("meta"):
        model = VGG(batch_norm=batch_norm, num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_initialisation_is_the_official_codes():
    model = VGG(batch_norm=True, width=0.5)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            expected = math.sqrt(2 / (9 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03)
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert not module.bias.any()


def test_structure_is_vgg16s():
    kinds = [type(m).__name__ for m in VGG(batch_norm=True, width=0.125).features]
    assert kinds.count("Conv2d") == kinds.count("BatchNorm2d") == kinds.count("ReLU") == 13
    assert kinds.count("MaxPool2d") == 5
    assert kinds[:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    head = [type(m).__name__ for m in VGG(width=0.125).classifier]
    assert head == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in VGG(width=0.125).modules())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_forward_and_backward_reach_every_parameter(memory_format):
    model = VGG(batch_norm=True, width=0.125, num_classes=100).to(memory_format=memory_format)
    images = torch.randn(4, 3, 32, 32).contiguous(memory_format=memory_format)
    logits = model(images)
    assert logits.shape == (4, 100)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="leaves a layer without channels"):
        VGG(width=0.001)
    with pytest.raises(ValueError, match="expected five numbers"):
        VGG(blocks=(1, 1))
    with pytest.raises(ValueError, match="takes 32×32 images, not 28×28"):
        VGG(width=0.125)(torch.zeros(1, 3, 28, 28))
