"""Shake-Shake residual networks (26 2×96d, the GNP paper's "WRN-SS 2×96") for CIFAR.

Paper: Gastaldi, *Shake-Shake regularization*, 2017 (arXiv 1705.07485).

Trainable parameters of Shake-Shake 26 2×96d for 10 / 100 classes: 26,192,922 / 26,227,572.

The block is the paper's: ReLU, 3×3 convolution, BN, ReLU, 3×3 convolution, BN in each of two
branches, and no ReLU after the sum.

Where implementations differ, this one follows the GNP paper's authors' code:

- Convolution and BN at the start, no ReLU between it and the shortcut of the first block.
- Wherever the width changes, the first stage included, the shortcut has two paths: every pixel
  that the stride leaves, and the same after a shift by one pixel up and left with zeros beyond
  the border; a 1×1 convolution to half the channels each, concatenated, BN.
- Stride-2 convolutions pad below and to the right only (``models.layers.SameConv2d``).
- Initialisation: convolutions N(0, 2/(k·k·c_out)), the dense layer uniform on ±1/√classes.
- Not followed: their running variance is the biased one, PyTorch's the unbiased
  (``models.layers``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import SameConv2d, initialise


class _Mix(torch.autograd.Function):
    """Forward gate·a + (1 − gate)·b; backward as if the gate had been another one."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, gate: Tensor, backward_gate: Tensor) -> Tensor:
        return torch.lerp(b, a, gate)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[3])

    @staticmethod
    def backward(ctx, grad: Tensor):
        (gate,) = ctx.saved_tensors
        return grad * gate, grad * (1 - gate), None, None


class ShakeShake(nn.Module):
    """A random convex combination of two branches, drawn anew for each image of the batch.

    Training: gate·a + (1 − gate)·b with gate ~ U(0, 1); the backward pass uses a second,
    independent gate. Evaluation: (a + b)/2.

    With ``true_gradient`` set, the backward pass uses the forward gate and so gives the gradient
    of the loss that was computed. The second gate is drawn all the same, so that both modes take
    the same numbers from torch's default generator.

    Shape: two (N, C, H, W) → (N, C, H, W).
    """

    true_gradient: bool

    def __init__(self):
        super().__init__()
        self.true_gradient = False

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if not self.training:
            return 0.5 * (a + b)
        # float32 whatever the precision, then cast: the same draws in all of them.
        gates = torch.rand(2, len(a), 1, 1, 1, device=a.device, dtype=torch.float32).to(a.dtype)
        if self.true_gradient:
            return torch.lerp(b, a, gates[0])
        return _Mix.apply(a, b, gates[0], gates[1])


class TwoPathShortcut(nn.Module):
    """1×1 convolutions of every stride-th pixel, and of the same after a shift up and left by one.

    Shape: (N, in_channels, H, W) → (N, out_channels, H/stride, W/stride), out_channels even.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        shifted = F.pad(x, (-1, 1, -1, 1))  # shifted[i, j] = x[i + 1, j + 1], 0 beyond the border
        # Sliced here rather than by the convolutions' stride: on CPUs the backward pass of strided
        # 1×1 convolutions corrupts memory for channels-last images of 2 to 7 channels (torch 2.14).
        paths = [
            conv(image[:, :, :: self.stride, :: self.stride])
            for conv, image in ((self.conv1, x), (self.conv2, shifted))
        ]
        return self.bn(torch.cat(paths, dim=1))


def branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """What follows a branch's first ReLU."""
    return nn.Sequential(
        SameConv2d(in_channels, out_channels, stride),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        SameConv2d(out_channels, out_channels),
        nn.BatchNorm2d(out_channels),
    )


class Block(nn.Module):
    """Two branches, mixed at random, plus the shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.branch1 = branch(in_channels, out_channels, stride)
        self.branch2 = branch(in_channels, out_channels, stride)
        self.shake = ShakeShake()
        if in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = TwoPathShortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(x)  # the same for both branches
        mixed = self.shake(self.branch1(activated), self.branch2(activated))
        return self.shortcut(x) + mixed


def stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """``blocks`` blocks of one width; the first changes width and resolution."""
    first = Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(Block(out_channels, out_channels) for _ in range(blocks - 1)))


class ShakeShakeNet(nn.Module):
    """Shake-Shake ``depth`` 2×``width``d.

    Args:
        depth: 6n + 2 for n blocks in each of the three stages.
        width: channels of the first stage; the second and third have twice and four times as many.
        num_classes: number of logits.
        stem_width: channels of the first convolution; 16 is the paper's.
        stem_stride: stride of the first convolution; 1 is the paper's, 2 makes everything behind it
            four times cheaper.

    Raises:
        ValueError: a depth that is not 6n + 2, an odd width, or a stride other than 1 and 2.

    Shape: images (N, 3, H, W), H and W multiples of 4·stem_stride → logits (N, num_classes).
    """

    def __init__(
        self,
        depth: int = 26,
        width: int = 96,
        num_classes: int = 10,
        stem_width: int = 16,
        stem_stride: int = 1,
    ):
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth={depth}: expected 6n + 2 for n blocks a stage: 8, 14, 26, …")
        if width < 2 or width % 2:
            raise ValueError(f"width={width}: expected an even number (each path makes half)")
        self.stem = nn.Sequential(
            SameConv2d(3, stem_width, stem_stride), nn.BatchNorm2d(stem_width)
        )
        self.stages = nn.Sequential(
            stage(stem_width, width, blocks, stride=1),
            stage(width, 2 * width, blocks, stride=2),
            stage(2 * width, 4 * width, blocks, stride=2),
        )
        self.head = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(self.stem(images))  # (N, 4·width, h/4, w/4), h and w the stem's
        return self.head(F.relu(x).mean(dim=(2, 3)))
