"""Wide residual networks (WRN-28-10, WRN-16-4, …) for CIFAR.

Paper: Zagoruyko and Komodakis, *Wide Residual Networks*, BMVC 2016 (arXiv 1605.07146), without
dropout. Shortcuts, padding and initialisation are those of the GNP paper's authors' code.

Trainable parameters for 10 / 100 classes:

=========  ==========  ==========
WRN-28-10  36,220,634  36,278,324
WRN-16-4    2,706,906   2,730,036
=========  ==========  ==========

Deviations from the paper and from the usual PyTorch port (which has 36,479,194 parameters for
WRN-28-10 and 10 classes):

- The shortcut has no parameters: average-pooling by the stride, zeros for the new channels,
  instead of a 1×1 convolution.
- Only the network's first block hands the *activated* tensor (after BN and ReLU) to its shortcut;
  the usual port does so wherever the width changes.
- Stride-2 convolutions pad below and to the right only (``models.layers.SameConv2d``).
- Initialisation: convolutions N(0, 2/(k·k·c_out)), the dense layer uniform on ±1/√classes.

The first four are the GNP paper's authors' code. A deviation from that: their running variance is
the biased one, PyTorch's the unbiased (``models.layers``).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import SameConv2d, initialise, pool_and_pad


class Block(nn.Module):
    """Pre-activation residual block: twice (BN, ReLU, 3×3 convolution), plus the shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions.
        stride: of the first convolution and the shortcut.
        activated_shortcut: the shortcut starts after the first ReLU instead of at the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, activated_shortcut: bool = False
    ):
        super().__init__()
        self.activated_shortcut = activated_shortcut
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = SameConv2d(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = SameConv2d(out_channels, out_channels)
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x), inplace=True)
        shortcut = activated if self.activated_shortcut else x
        out = self.conv1(activated)
        out = self.conv2(F.relu(self.bn2(out), inplace=True))
        return out + pool_and_pad(shortcut, self.out_channels, self.stride)


def stage(
    in_channels: int, out_channels: int, blocks: int, stride: int, activated_shortcut: bool = False
) -> nn.Sequential:
    """``blocks`` blocks of one width; the first changes width and resolution."""
    first = Block(in_channels, out_channels, stride, activated_shortcut)
    rest = [Block(out_channels, out_channels) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class WideResNet(nn.Module):
    """WRN-``depth``-``width``.

    Args:
        depth: number of convolutions on the path through the three stages, plus 4: 6n + 4 for n
            blocks a stage.
        width: factor on the channels of the stages.
        num_classes: number of logits.
        base_width: channels of the first convolution, and of the first stage at width 1; 16 is
            the paper's.
        stem_stride: stride of the first convolution; 1 is the paper's, 2 makes everything behind it
            four times cheaper.

    Raises:
        ValueError: a depth that is not 6n + 4, a width below 1, or a stride other than 1 and 2.

    Shape: images (N, 3, H, W), H and W multiples of 4·stem_stride → logits (N, num_classes).
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 10,
        num_classes: int = 10,
        base_width: int = 16,
        stem_stride: int = 1,
    ):
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth={depth}: expected 6n + 4 for n blocks a stage: 10, 16, 28, …")
        if width < 1 or base_width < 1:
            raise ValueError(f"width={width}, base_width={base_width}: expected at least 1")
        c1, c2, c3 = (base_width * width * factor for factor in (1, 2, 4))
        self.stem = SameConv2d(3, base_width, stem_stride)
        self.stages = nn.Sequential(
            stage(base_width, c1, blocks, stride=1, activated_shortcut=True),
            stage(c1, c2, blocks, stride=2),
            stage(c2, c3, blocks, stride=2),
        )
        self.bn = nn.BatchNorm2d(c3)
        self.head = nn.Linear(c3, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(self.stem(images))  # (N, c3, h/4, w/4), h and w the stem's
        x = F.relu(self.bn(x), inplace=True).mean(dim=(2, 3))
        return self.head(x)
