"""EfficientNet-Lite0, the small network of the samples."""

from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import EfficientNet
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.ops import Conv2dNormActivation

__all__ = ["efficientnet_lite0"]


class Stage(NamedTuple):
    """Blocks of one size: each widens its channels `expand` times, convolves, and narrows them."""

    expand: int
    kernel: int
    stride: int  # of the first block, 1 in the others
    channels_in: int
    channels_out: int
    blocks: int


STAGES = [  # those of EfficientNet-B0
    Stage(1, 3, 1, 32, 16, 1),
    Stage(6, 3, 2, 16, 24, 2),
    Stage(6, 5, 2, 24, 40, 2),
    Stage(6, 3, 2, 40, 80, 3),
    Stage(6, 5, 1, 80, 112, 3),
    Stage(6, 5, 2, 112, 192, 4),
    Stage(6, 3, 1, 192, 320, 1),
]


class SameConv(nn.Conv2d):
    """Convolution padded like TensorFlow's "same": the odd pixel goes to the right and bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c', ceil(h / stride), ceil(w / stride))."""
        left, right = self._padding(x.shape[3])
        top, bottom = self._padding(x.shape[2])
        padded = F.pad(x, (left, right, top, bottom))
        return self._conv_forward(padded, self.weight, None)

    def _padding(self, size: int) -> tuple[int, int]:
        """How many zeros stand before and behind `size` pixels."""
        kernel = self.kernel_size[0]
        stride = self.stride[0]
        last = (size - 1) // stride * stride  # where the last window starts, without padding
        total = max(last + kernel - size, 0)
        return total // 2, total - total // 2


def efficientnet_lite0() -> EfficientNet:
    """EfficientNet-Lite0, random weights: pictures (n, 3, h, w), mean = std = 0.5, to (n, 1000).

    EfficientNet-B0 (arXiv:1905.11946) without squeeze-and-excitation, with ReLU6 for SiLU and
    TensorFlow's padding. Used in lesson 1.
    """
    block = partial(MBConv, se_layer=_no_squeeze)
    stages = [MBConvConfig(*stage, width_mult=1, depth_mult=1, block=block) for stage in STAGES]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    model = EfficientNet(stages, dropout=0.2, stochastic_depth_prob=0, norm_layer=norm)
    for module in list(model.modules()):
        if isinstance(module, Conv2dNormActivation):
            _as_in_lite0(module)
    return model


def _no_squeeze(*args: Any, **kwargs: Any) -> nn.Module:
    return nn.Identity()


def _as_in_lite0(layers: Conv2dNormActivation) -> None:
    """Change (convolution, BatchNorm, perhaps an activation) in place."""
    conv = layers[0]
    if conv.stride == (2, 2):
        conv.__class__ = SameConv
        conv.padding = (0, 0)
    if len(layers) > 2:
        layers[2] = nn.ReLU6(inplace=True)
