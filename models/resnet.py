"""Residual networks for CIFAR: ResNet-20, -32, -56, … of the ResNet paper, and ResNet-18 for 32×32.

Paper: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385):
``CIFARResNet`` is its section 4.2 (6n + 2 layers of 16, 32, 64 channels, shortcuts without
parameters), ``ResNet18`` its Table 1 with the usual stem for small images, one 3×3 convolution and
no pooling (as in https://github.com/kuangliu/pytorch-cifar). Neither is in the GNP paper; third
parties measured SAM with them.

Trainable parameters for 10 / 100 classes:

=========  ==========  ==========
ResNet-8       75,290      81,140
ResNet-20     269,722     275,572
ResNet-32     464,154     470,004
ResNet-56     853,018     858,868
ResNet-18  11,173,962  11,220,132
=========  ==========  ==========

The paper says 0.27 M, 0.46 M, 0.85 M for depths 20, 32, 56 and 10 classes. Convolutions are padded
by one pixel on every side, as PyTorch does; initialised N(0, 2/(k·k·c_out)) (He et al. 2015, by the
output), the dense layer as PyTorch's. ``ResNet18``'s parts have the names of torchvision's, so its
weights can be exchanged with those of ``torchvision.models.resnet18``, the stem apart.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Basic block: (3×3 convolution, BN, ReLU), (3×3 convolution, BN), plus the shortcut, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions.
        stride: of the first convolution and the shortcut.
        projection: where the shape changes, the shortcut is a 1×1 convolution, with BN, of the
            pixels that the stride leaves ("option B"); otherwise these and zeros for the new
            channels ("option A").
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, projection: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride, self.new_channels = stride, out_channels - in_channels
        self.downsample = None
        if projection and (stride != 1 or self.new_channels):
            conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self._shortcut(x), inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride != 1:
            # A projection has no stride of its own: of few channels (8 with AVX2, 16 with AVX-512),
            # channels last, oneDNN 3.12 writes the weight gradient of a strided 1×1 convolution
            # past its workspace (https://github.com/uxlfoundation/oneDNN/issues/6035).
            x = x[:, :, :: self.stride, :: self.stride]
        if self.downsample is not None:
            return self.downsample(x)
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x


def stage(
    in_channels: int, out_channels: int, blocks: int, stride: int, projection: bool
) -> nn.Sequential:
    """``blocks`` blocks of one width; the first changes width and resolution."""
    first = Block(in_channels, out_channels, stride, projection)
    rest = [Block(out_channels, out_channels, 1, projection) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class CIFARResNet(nn.Module):
    """ResNet-``depth`` with three stages.

    Args:
        depth: layers with weights on the longest path: 6n + 2 for n blocks a stage.
        num_classes: number of logits.
        base_width: channels of the first convolution and the first stage; 16 is the paper's.
        stem_stride: stride of the first convolution; 1 is the paper's, 2 makes everything behind it
            four times cheaper.

    Raises:
        ValueError: a depth that is not 6n + 2, a width below 1, or a stride other than 1 and 2.

    Shape: images (N, 3, H, W), H and W multiples of 4·stem_stride → logits (N, num_classes).
    """

    def __init__(
        self, depth: int = 20, num_classes: int = 10, base_width: int = 16, stem_stride: int = 1
    ):
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth={depth}: expected 6n + 2 for n blocks a stage: 8, 20, 32, 56")
        if base_width < 1:
            raise ValueError(f"base_width={base_width}: expected at least 1")
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride={stem_stride}: expected 1 or 2")
        c1, c2, c3 = (base_width * factor for factor in (1, 2, 4))
        self.conv1 = nn.Conv2d(3, c1, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c1)
        self.layer1 = stage(c1, c1, blocks, stride=1, projection=False)
        self.layer2 = stage(c1, c2, blocks, stride=2, projection=False)
        self.layer3 = stage(c2, c3, blocks, stride=2, projection=False)
        self.fc = nn.Linear(c3, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))  # (N, c3, h/4, w/4), h and w the stem's
        return self.fc(x.mean(dim=(2, 3)))


class ResNet18(nn.Module):
    """ResNet-18 for small images: 3×3 stem of stride 1, no max-pooling, four stages of two blocks.

    Args:
        num_classes: number of logits.
        base_width: channels of the stem and the first stage; 64 is the paper's.

    Raises:
        ValueError: a width below 1.

    Shape: images (N, 3, H, W), H and W multiples of 8 → logits (N, num_classes).
    """

    def __init__(self, num_classes: int = 10, base_width: int = 64):
        super().__init__()
        if base_width < 1:
            raise ValueError(f"base_width={base_width}: expected at least 1")
        c1, c2, c3, c4 = (base_width * factor for factor in (1, 2, 4, 8))
        self.conv1 = nn.Conv2d(3, c1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c1)
        self.layer1 = stage(c1, c1, 2, stride=1, projection=True)
        self.layer2 = stage(c1, c2, 2, stride=2, projection=True)
        self.layer3 = stage(c2, c3, 2, stride=2, projection=True)
        self.layer4 = stage(c3, c4, 2, stride=2, projection=True)
        self.fc = nn.Linear(c4, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, c4, H/8, W/8)
        return self.fc(x.mean(dim=(2, 3)))


def initialise(model: nn.Module) -> None:
    """Convolutions N(0, 2/(k·k·c_out)); the rest keeps PyTorch's initialisation."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
