"""Deep pyramidal residual networks (PyramidNet-272-200), plain and with ShakeDrop, for CIFAR.

Papers: Han, Kim and Kim, *Deep Pyramidal Residual Networks*, CVPR 2017 (arXiv 1610.02915), the
additive, bottleneck kind; Yamada, Iwamura, Akiba and Kise, *ShakeDrop Regularization for Deep
Residual Learning*, 2018 (arXiv 1802.02375).

Trainable parameters for 10 / 100 classes:

=====================  ==========  ==========
PyramidNet-272-200     26,210,810  26,288,660
PyramidNet-272-200-SD  26,210,842  26,288,692
=====================  ==========  ==========

Where implementations differ, this one follows the GNP paper's authors' code:

- BN after the first convolution in the network with ShakeDrop only (the original has it in
  both), and no ReLU there.
- Block k (1, 2, …) of n has round(16 + alpha·k/n) inner channels, four times as many at its
  output, and with ShakeDrop the keep probability 1 − 0.5·k/n.
- All three random numbers of ShakeDrop are drawn for each image; the usual port decides once for
  the batch whether a block is kept.
- The shortcut has no parameters: average-pooling by the stride, zeros for the new channels.
- Stride-2 convolutions pad below and to the right only (``models.layers.SameConv2d``).
- Initialisation: convolutions N(0, 2/(k·k·c_out)), the dense layer uniform on ±1/√classes.
- Not followed: their running variance is the biased one, PyTorch's the unbiased
  (``models.layers``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import SameConv2d, initialise, pool_and_pad

EXPANSION = 4  # output channels of a bottleneck in units of its inner channels


class _Scale(torch.autograd.Function):
    """Forward x·scale; backward as if the scale had been another one."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, backward_scale: Tensor) -> Tensor:
        return x * scale

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx, grad: Tensor):
        (scale,) = ctx.saved_tensors
        return grad * scale, None, None


class ShakeDrop(nn.Module):
    """Keeps a residual branch, or scales it by a random number, drawn anew for each image.

    Training: with ``keep_probability`` p the branch stays as it is in both passes; else it is
    multiplied by α ~ U(−1, 1), and its gradient by an independent β ~ U(0, 1).
    Evaluation: the mean of the forward factor, p + (1 − p)·E[α] = p.

    With ``true_gradient`` set, the backward pass uses the forward factor and so gives the gradient
    of the loss that was computed. β is drawn all the same, so that both modes take the same
    numbers from torch's default generator.

    Shape: (N, C, H, W) → the same.
    """

    true_gradient: bool

    def __init__(self, keep_probability: float):
        super().__init__()
        self.keep_probability = keep_probability
        self.true_gradient = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * self.keep_probability
        # float32 whatever the precision, then cast: the same draws in all of them.
        draws = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=torch.float32)
        kept = draws[0] < self.keep_probability
        alpha = torch.where(kept, 1.0, 2 * draws[1] - 1).to(x.dtype)
        beta = torch.where(kept, 1.0, draws[2]).to(x.dtype)
        if self.true_gradient:
            return x * alpha
        return _Scale.apply(x, alpha, beta)

    def extra_repr(self) -> str:
        return f"keep_probability={self.keep_probability:g}"


class Bottleneck(nn.Module):
    """BN, 1×1 convolution, BN, ReLU, 3×3, BN, ReLU, 1×1, BN, [ShakeDrop], plus the shortcut.

    Args:
        in_channels: channels of the input.
        channels: inner channels; the output has four times as many.
        stride: of the 3×3 convolution and the shortcut.
        keep_probability: of ShakeDrop; None means no ShakeDrop.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        keep_probability: float | None = None,
    ):
        super().__init__()
        self.out_channels, self.stride = EXPANSION * channels, stride
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = SameConv2d(channels, channels, stride)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.out_channels, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(self.out_channels)
        if keep_probability is None:
            self.shake: nn.Module = nn.Identity()
        else:
            self.shake = ShakeDrop(keep_probability)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(out), inplace=True))
        out = self.conv3(F.relu(self.bn3(out), inplace=True))
        out = self.shake(self.bn4(out))
        return out + pool_and_pad(x, self.out_channels, self.stride)


class PyramidNet(nn.Module):
    """PyramidNet-``depth``-``alpha``: every block is a little wider than the one before.

    Args:
        depth: 9n + 2 for n bottlenecks in each of the three stages.
        alpha: inner channels that the last block has more than the first convolution.
        shake_drop: ShakeDrop in every block and BN after the first convolution.
        drop_probability: of ShakeDrop in the last block L; block l has drop_probability·l/L.
        num_classes: number of logits.
        base_width: channels of the first convolution; 16 is the paper's.
        stem_stride: stride of the first convolution; 1 is the paper's, 2 makes everything behind it
            four times cheaper.

    Raises:
        ValueError: a depth that is not 9n + 2, a negative alpha, no probability, or a stride
            other than 1 and 2.

    Shape: images (N, 3, H, W), H and W multiples of 4·stem_stride → logits (N, num_classes).
    """

    def __init__(
        self,
        depth: int = 272,
        alpha: int = 200,
        shake_drop: bool = False,
        drop_probability: float = 0.5,
        num_classes: int = 10,
        base_width: int = 16,
        stem_stride: int = 1,
    ):
        super().__init__()
        blocks, rest = divmod(depth - 2, 9)
        if blocks < 1 or rest:
            raise ValueError(
                f"depth={depth}: expected 9n + 2 for n bottlenecks a stage: 11, 20, 110, 272, …"
            )
        if alpha < 0 or base_width < 1 or not 0 <= drop_probability <= 1:
            raise ValueError(
                f"alpha={alpha}, base_width={base_width}, drop_probability={drop_probability}: "
                "expected alpha ≥ 0, base_width ≥ 1, a probability from 0 to 1"
            )
        self.stem = nn.Sequential(SameConv2d(3, base_width, stem_stride))
        if shake_drop:
            self.stem.append(nn.BatchNorm2d(base_width))
        total = 3 * blocks
        layers: list[nn.Module] = []
        previous = base_width
        for k in range(1, total + 1):
            block = Bottleneck(
                previous,
                round(base_width + alpha * k / total),
                stride=2 if k in (blocks + 1, 2 * blocks + 1) else 1,
                keep_probability=1 - drop_probability * k / total if shake_drop else None,
            )
            layers.append(block)
            previous = block.out_channels
        self.blocks = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(previous)
        self.head = nn.Linear(previous, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(
            self.stem(images)
        )  # (N, 4·(base_width + alpha), h/4, w/4), h and w the stem's
        x = F.relu(self.bn(x), inplace=True).mean(dim=(2, 3))
        return self.head(x)
