"""Pre-trained networks: where their weights come from, where to cut them, and the new head."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG, DenseNet, ResNet, get_model_weights

from .data import get_data
from .data.sums import passes
from .files import given
from .lite0 import efficientnet_lite0
from .saved import DamagedFile, has_sums, read_tensors

__all__ = [
    "AdaptiveConcatPool2d",
    "count_features",
    "cut_body",
    "efficientnet_lite0",
    "load_pretrained",
    "make_head",
    "weights_file",
]

Arch = Callable[..., nn.Module]
TAILS = ("avgpool", "classifier", "fc", "head", "heads")  # what comes behind the last feature map


def weights_file(arch: Arch) -> Path | None:
    """The file of ImageNet weights of `arch`, or None if there is none on this machine.

    It is ARCH.pth, or has torchvision's name, in $COURSE_DATA/weights, $COURSE_MIRROR/weights or
    torch's cache. A mirror's list of hashes (data/README.md) holds for it too. Used in lesson 1.
    """
    if arch is efficientnet_lite0:
        return get_data("efficientnet-lite0") / "weights.pth"
    names = [f"{arch.__name__}.pth"]
    official = _weights_name(arch)
    if official is not None:
        names.append(official)
    own = [folder / "weights" for folder in given("COURSE_DATA")]
    mirrored = [folder / "weights" for folder in given("COURSE_MIRROR")]
    folders = [*own, *mirrored, Path(torch.hub.get_dir(), "checkpoints")]
    for folder in folders:
        for name in names:
            file = folder / name
            if file.exists() and (folder not in mirrored or passes(file, folder.parent)):
                return file
    return None


def _weights_name(arch: Arch) -> str | None:
    """The name of torchvision's file of weights; None for a network that torchvision has not."""
    try:
        return Path(get_model_weights(arch)["IMAGENET1K_V1"].url).name
    except (KeyError, ValueError):
        return None


def load_pretrained(arch: Arch) -> nn.Module:
    """`arch` with its ImageNet weights, out of `weights_file`, else downloaded by torchvision.

    RuntimeError if there are none, ValueError if the file is not one of weights for `arch`.
    """
    file = weights_file(arch)
    if file is None:
        return _download(arch)
    model = arch()
    saved = read_tensors(file, "a file of weights")
    if not has_sums(file):
        _check_name(file)
    try:
        if isinstance(model, DenseNet):
            saved = _without_old_names(saved)
        model.load_state_dict(saved)
    except (AttributeError, RuntimeError, TypeError):
        raise ValueError(
            f"{file}: not the weights of {arch.__name__}; delete or replace it"
        ) from None
    return model


def _check_name(file: Path) -> None:
    """torchvision's files have the first eight digits of their SHA-256 in their names."""
    named = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    if named is None:
        return
    with file.open("rb") as f:
        found = hashlib.file_digest(f, "sha256").hexdigest()
    if not found.startswith(named[1]):
        raise DamagedFile(
            f"{file}: not the file of this name (its SHA-256 is {found[:8]}…); replace it"
        )


def _without_old_names(saved: dict[str, Tensor]) -> dict[str, Tensor]:
    """norm.1 and conv.2, as torchvision's file of a DenseNet has them, are norm1 and conv2 now."""
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    return {old.sub(r"\1\2.", name): tensor for name, tensor in saved.items()}


def _download(arch: Arch) -> nn.Module:
    mirrors = given("COURSE_MIRROR") or [Path("$COURSE_MIRROR")]
    place = mirrors[0] / "weights"
    file = _weights_name(arch)
    if file is None:
        raise RuntimeError(
            f"{arch.__name__}: torchvision has no weights; put {arch.__name__}.pth into {place}"
        )
    try:
        return arch(weights="IMAGENET1K_V1")
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise RuntimeError(
            f"{arch.__name__}: no weights ({reason}); put {file} into {place}"
        ) from None


def cut_body(model: nn.Module) -> tuple[nn.Sequential, int]:
    """What a classifier has up to its last feature map, as layers; `model` stays as it was.

    Returns (body, number of the layer that opens the second group).
    """
    layers = []
    for name, layer in model.named_children():
        if name in TAILS:
            break
        if not name.lower().startswith("aux"):  # a second classifier, for training only
            layers.append(layer)
    if len(layers) == 1 and isinstance(layers[0], nn.Sequential):
        body = nn.Sequential(OrderedDict(layers[0].named_children()))
    else:
        body = nn.Sequential(*layers)
    if isinstance(model, DenseNet):
        body.append(nn.ReLU(inplace=True))  # torchvision applies it between features and pooling
    return body, _second_group(model, body)


def _second_group(model: nn.Module, body: nn.Sequential) -> int:
    if isinstance(model, VGG):
        pools = [i for i, layer in enumerate(body) if isinstance(layer, nn.MaxPool2d)]
        return pools[2]
    if isinstance(model, ResNet):
        return 6  # layer3
    return len(body) // 2


def count_features(body: nn.Module) -> int:
    """Channels of the feature map that `body` makes of a picture; ValueError if it makes none."""
    training = {layer: layer.training for layer in body.modules()}
    body.eval()
    try:
        with torch.inference_mode():
            out = body(torch.zeros(1, 3, 128, 128))
    finally:
        for layer, mode in training.items():
            layer.training = mode
    if out.ndim != 4:  # (1, channels, h, w)
        raise ValueError(f"the body gives {tuple(out.shape)}, not a feature map to pool")
    return out.shape[1]


class AdaptiveConcatPool2d(nn.Module):
    """Maximum and mean over all positions, side by side."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, 2c, 1, 1)."""
        highest = F.adaptive_max_pool2d(x, 1)  # (n, c, 1, 1)
        mean = F.adaptive_avg_pool2d(x, 1)
        return torch.cat([highest, mean], 1)


def make_head(
    sizes: Sequence[int],
    ps: float | Sequence[float] | np.ndarray | None = None,
    last: nn.Module | None = None,
) -> nn.Sequential:
    """Linear layers from each of `sizes` to the next, BatchNorm and Dropout before, ReLU between.

    `ps`: dropout of all layers, or one each; without it 0.25, and 0.5 before the last. `last`: what
    follows the scores. It takes (n, sizes[0]) and gives (n, sizes[-1]), in float32.
    """
    dropouts = _dropouts(ps, len(sizes) - 1)
    layers: list[nn.Module] = []
    for n_in, n_out, p in zip(sizes[:-1], sizes[1:], dropouts, strict=True):
        layers += [nn.BatchNorm1d(n_in), nn.Dropout(p), _linear(n_in, n_out), nn.ReLU()]
    layers.pop()  # no ReLU behind the last
    if last is not None:
        layers.append(last)
    return _Float32(*layers)


def _dropouts(ps: float | Sequence[float] | np.ndarray | None, n: int) -> list[float]:
    """The dropout before each of n layers."""
    if ps is None:
        return [0.25] * (n - 1) + [0.5]
    dropouts = np.asarray(ps, float)
    if dropouts.ndim == 0:
        return [dropouts.item()] * n
    if len(dropouts) != n:
        raise ValueError(f"{len(dropouts)} dropouts (ps) for {n} fully connected layers")
    return dropouts.tolist()


def _linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer before a ReLU: weights of He et al. (arXiv:1502.01852), no bias at first."""
    linear = nn.Linear(n_in, n_out)
    nn.init.kaiming_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class _Float32(nn.Sequential):
    """Layers that keep to float32 under autocast: in bfloat16 a sigmoid's 0.999 rounds to 1."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())
