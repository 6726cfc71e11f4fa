"""Pre-trained networks: where their weights come from, where to cut them, and the new head."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG, DenseNet, ResNet, get_model_weights

from .data import get_data
from .files import given
from .lite0 import efficientnet_lite0

__all__ = [
    "AdaptiveConcatPool2d",
    "count_features",
    "cut_body",
    "efficientnet_lite0",
    "load_pretrained",
    "make_head",
]
__all__ += ["weights_file"]


def weights_file(arch: Callable) -> Path | None:
    """File of ImageNet weights of `arch` in $COURSE_DATA/weights, $COURSE_MIRROR/weights or torch's cache, or None."""
    if arch is efficientnet_lite0:
        return get_data("efficientnet-lite0") / "weights.pth"
    names = f"{arch.__name__}.pth", _weights_name(arch)
    folders = [folder / "weights" for v in ("COURSE_DATA", "COURSE_MIRROR") for folder in given(v)]
    folders.append(Path(torch.hub.get_dir(), "checkpoints"))
    return next((folder / n for folder in folders for n in names if (folder / n).exists()), None)


def _weights_name(arch: Callable) -> str:
    return Path(get_model_weights(arch)["IMAGENET1K_V1"].url).name


def load_pretrained(arch: Callable) -> nn.Module:
    """`arch` with its ImageNet weights: `weights_file`, else torchvision's download; RuntimeError if there is none."""
    if file := weights_file(arch):
        model = arch()
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        return model
    try:
        return arch(weights="IMAGENET1K_V1")
    except URLError as e:
        at, file = next(iter(given("COURSE_MIRROR")), "$COURSE_MIRROR"), _weights_name(arch)
        raise RuntimeError(
            f"{arch.__name__}: no weights ({e.reason}); put {file} into {at}/weights"
        ) from None


def cut_body(model: nn.Module) -> tuple[nn.Sequential, int]:
    """(the layers up to the last feature map, the number of the one that opens the second group) of a classifier."""
    layers = dict(model.named_children())
    tail = next(
        i
        for i, n in enumerate([*layers, "fc"])
        if n in ("avgpool", "classifier", "fc", "head", "heads")
    )
    body = nn.Sequential(
        *[layers[n] for n in list(layers)[:tail] if not n.lower().startswith("aux")]
    )
    if len(body) == 1 and isinstance(body[0], nn.Sequential):
        body = body[0]
    if isinstance(model, DenseNet):
        body.append(nn.ReLU(inplace=True))  # torchvision applies it between features and pooling
    if isinstance(model, VGG):
        return body, [i for i, m in enumerate(body) if isinstance(m, nn.MaxPool2d)][2]
    return body, 6 if isinstance(model, ResNet) else len(body) // 2


def count_features(body: nn.Module) -> int:
    """Channels of the feature map that `body` makes of a picture; ValueError if it makes none."""
    with torch.inference_mode():
        out = body.eval()(torch.zeros(1, 3, 128, 128))
    if out.ndim != 4:
        raise ValueError(f"the body gives {tuple(out.shape)}, not a feature map to pool")
    return out.shape[1]


class AdaptiveConcatPool2d(nn.Module):
    """Maximum and mean over all positions, side by side: (n, c, h, w) to (n, 2c, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], 1)


def make_head(sizes: Sequence[int], ps: float | Sequence[float] | None = None,
              last: nn.Module | None = None) -> nn.Sequential:  # fmt: skip
    """Linear layers between `sizes`, each behind BatchNorm and Dropout `ps` (0.25, the last 0.5), ReLU between them."""
    n = len(sizes) - 1
    ps = [0.25] * (n - 1) + [0.5] if ps is None else ps if isinstance(ps, Sequence) else [ps] * n
    if len(ps) != n:
        raise ValueError(f"{len(ps)} dropouts (ps) for {n} fully connected layers")
    layers: list[nn.Module] = []
    for i, p in enumerate(ps):
        linear = nn.Linear(sizes[i], sizes[i + 1])
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [nn.BatchNorm1d(sizes[i]), nn.Dropout(p), linear, *[nn.ReLU()] * (i < n - 1)]
    return _Float32(*layers, *([last] if last else []))


class _Float32(nn.Sequential):
    """Layers that keep to float32 under autocast: in bfloat16 a sure answer of a sigmoid rounds to 1."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
