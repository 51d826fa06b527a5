"""What the residual networks share: padding, shortcut and initialisation of the authors' code.

The authors of the GNP paper (https://github.com/zhaoyang-0204/gnp) build on the networks of
https://github.com/google-research/sam, which are TensorFlow's in these three details.

One detail is PyTorch's instead: the running variance of its batch normalisation is the unbiased
estimate, theirs the biased one. At n = batch·height·width values a channel the two differ by the
factor n/(n − 1), at most 1.0002 for batches of 128 images and 8×8 positions. It acts on
evaluation only.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """3×3 convolution without bias, padded as TensorFlow's "SAME".

    At stride 1 that is one pixel on every side. At stride 2 and even sizes it is one pixel below
    and to the right, none above and to the left, so that the windows start at pixels 0, 2, 4, …;
    PyTorch's usual ``padding=1`` starts them at −1, 1, 3, ….

    Shape: (N, in_channels, H, W) → (N, out_channels, H/stride, W/stride), H and W even.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        if stride not in (1, 2):
            raise ValueError(f"stride={stride}: expected 1 or 2")
        padding = 1 if stride == 1 else 0
        super().__init__(in_channels, out_channels, 3, stride, padding, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if self.stride != (1, 1):
            input = F.pad(input, (0, 1, 0, 1))
        return super().forward(input)


def pool_and_pad(x: Tensor, channels: int, stride: int) -> Tensor:
    """Parameter-free shortcut: average over stride×stride pixels, zeros for the new channels.

    Shape: (N, C, H, W) → (N, channels, H/stride, W/stride); the zeros are the last channels.
    """
    if stride != 1:
        x = F.avg_pool2d(x, stride)
    if channels != x.shape[1]:
        x = F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))
    return x


def initialise(model: nn.Module) -> None:
    """Convolutions N(0, 2/(k·k·c_out)), dense layers uniform on ±1/√outputs, their biases 0.

    Batch normalisation keeps PyTorch's scale 1 and shift 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
