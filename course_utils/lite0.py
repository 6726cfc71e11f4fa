"""EfficientNet-Lite0, the small network of the samples."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import EfficientNet
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.ops import Conv2dNormActivation

__all__ = ["efficientnet_lite0"]


# Expansion, kernel, stride, channels in, channels out, blocks: EfficientNet-B0's seven stages.
STAGES = [(1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3)]
STAGES += [(6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1)]


class SameConv(nn.Conv2d):
    """Convolution padded like TensorFlow's "same": the odd pixel goes to the right and bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c', ceil(h / stride), ceil(w / stride))."""
        (k, _), (s, _) = self.kernel_size, self.stride
        h, w = (max((-(-n // s) - 1) * s + k - n, 0) for n in x.shape[2:])
        return self._conv_forward(
            F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2)), self.weight, None
        )


def efficientnet_lite0() -> EfficientNet:
    """EfficientNet-Lite0 with random weights: pictures (n, 3, h, w), mean = std = 0.5, to scores (n, 1000).

    EfficientNet-B0 (arXiv:1905.11946) without squeeze-and-excitation, with ReLU6 for SiLU and TensorFlow's padding.
    """
    block = partial(MBConv, se_layer=lambda *args, **kwargs: nn.Identity())
    stages = [MBConvConfig(*stage, width_mult=1, depth_mult=1, block=block) for stage in STAGES]
    model = EfficientNet(
        stages, dropout=0.2, stochastic_depth_prob=0, norm_layer=partial(nn.BatchNorm2d, eps=1e-3)
    )
    for layers in [m for m in model.modules() if isinstance(m, Conv2dNormActivation)]:
        if layers[0].stride == (2, 2):
            layers[0].__class__, layers[0].padding = SameConv, (0, 0)
        if len(layers) > 2:
            layers[2] = nn.ReLU6(inplace=True)
    return model
