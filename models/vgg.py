"""VGG16 and VGG16-BN for 32×32 images.

Paper: Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image
Recognition*, ICLR 2015 (configuration D); batch normalisation after each convolution as in
torchvision's ``vgg16_bn``. The GNP paper trains both on CIFAR (its Table 1).

Trainable parameters at width 1 for 10 / 100 classes:

=========  ==========  ==========
VGG16      33,638,218  34,006,948
VGG16-BN   33,646,666  34,015,396
=========  ==========  ==========

Deviations from the ImageNet network: five 2×2 poolings take 32×32 to 1×1, so that the head is
512-4096-4096-classes (not 25088-4096-4096-classes) and there is no adaptive pooling.
Initialisation follows the authors' code for the GNP paper, not torchvision.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGE_SIZE = 32


def conv_block(
    in_channels: int, out_channels: int, depth: int, batch_norm: bool
) -> list[nn.Module]:
    """``depth`` times (3×3 convolution, [BN], ReLU), then a 2×2 max-pool: halves H and W."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
        in_channels = out_channels
    layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return layers


def classifier(in_features: int, hidden: int, num_classes: int, dropout: float) -> nn.Sequential:
    """The fully connected head: two hidden layers with ReLU and dropout, no normalisation."""
    return nn.Sequential(
        nn.Linear(in_features, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )


class VGG(nn.Module):
    """VGG with five convolution blocks and a three-layer head.

    Args:
        batch_norm: BN after each convolution (the convolutions keep their bias).
        width: factor on every channel count and on the head's 4096 units; 1 is the paper's.
        num_classes: number of logits.
        dropout: probability of dropping a unit after each hidden layer of the head.
        blocks: number of convolutions in each of the five blocks; the default is VGG16.

    Raises:
        ValueError: a width that leaves a layer without channels, or not five blocks.

    Shape: images (N, 3, 32, 32) → logits (N, num_classes).
    """

    def __init__(
        self,
        batch_norm: bool = False,
        width: float = 1.0,
        num_classes: int = 10,
        dropout: float = 0.5,
        blocks: Sequence[int] = (2, 2, 3, 3, 3),
    ):
        super().__init__()
        channels = [round(width * c) for c in (64, 128, 256, 512, 512)]
        if min(channels) < 1:
            raise ValueError(f"width={width} leaves a layer without channels; use at least 1/64")
        if len(blocks) != len(channels) or min(blocks) < 1:
            raise ValueError(f"blocks={list(blocks)}: expected five numbers of at least 1")
        layers: list[nn.Module] = []
        previous = 3
        for out_channels, depth in zip(channels, blocks, strict=True):
            layers += conv_block(previous, out_channels, depth, batch_norm)
            previous = out_channels
        self.features = nn.Sequential(*layers)
        self.classifier = classifier(previous, round(width * 4096), num_classes, dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Convolutions N(0, 2/(k·k·c_out)), dense ±1/√outputs uniform, all biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.out_features)
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            size = "×".join(str(s) for s in images.shape[-2:])
            raise ValueError(f"VGG takes 32×32 images, not {size}")
        features = self.features(images)  # (N, C, 1, 1)
        return self.classifier(torch.flatten(features, 1))
