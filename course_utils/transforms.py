"""Pictures to network inputs: resized once; then one affine map a picture and normalisation, in whole batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from .core import DEVICE, as_tensor, to_device, to_np

__all__ = [
    "AddPadding",
    "CropType",
    "RandomDihedral",
    "RandomFlip",
    "RandomLighting",
    "RandomRotate",
    "RandomScale",
]
__all__ += ["Transforms", "imagenet_stats", "inception_stats", "tfms_from_model", "tfms_from_stats"]
__all__ += ["transforms_basic", "transforms_side_on", "transforms_top_down"]

Stats = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of r, g, b in 0..1
imagenet_stats: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
inception_stats: Stats = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
HALF_STATS = ("efficientnet_lite0", "efficientnet_v2_l", "inception_v3", "googlenet")


class CropType(Enum):
    """How a rectangle becomes a square: a random or central crop, or squashed (NO)."""

    RANDOM, CENTER, NO = range(3)


def _uniform(n: int, low: float, high: float, p: float = 1.0, neutral: float = 0.0) -> Tensor:
    """n draws from [low, high), each replaced by `neutral` with probability 1 - p."""
    return torch.where(torch.rand(n) < p, torch.empty(n).uniform_(low, high), neutral)


def _affine(
    xx: Any = 1.0, xy: Any = 0.0, yx: Any = 0.0, yy: Any = 1.0, tx: Any = 0.0, ty: Any = 0.0
) -> Tensor:
    """(n, 3, 3) maps from output to input coordinates, both in -1..1."""
    rows = torch.broadcast_tensors(*map(torch.as_tensor, (xx, xy, tx, yx, yy, ty, 0.0, 0.0, 1.0)))
    return torch.stack([r.float() for r in rows], -1).unflatten(-1, (3, 3))


@dataclass
class RandomScale:
    """Zoom in by a factor from 1 to `max_zoom` (with probability p) and crop at a random place."""

    max_zoom: float
    p: float = 0.75

    def matrix(self, n: int, sz: int) -> Tensor:
        keep = 1 / _uniform(n, 1, self.max_zoom, self.p, neutral=1.0)
        return _affine(
            xx=keep, yy=keep, tx=(1 - keep) * _uniform(n, -1, 1), ty=(1 - keep) * _uniform(n, -1, 1)
        )


@dataclass
class AddPadding:
    """Reflect `pad` pixels at each border, then crop back at a random place."""

    pad: int

    def matrix(self, n: int, sz: int) -> Tensor:
        x, y = torch.randint(-self.pad, self.pad + 1, (2, n)) * 2 / sz
        return _affine(tx=x, ty=y)


@dataclass
class RandomRotate:
    """Rotate by up to ±`deg` degrees with probability p."""

    deg: float
    p: float = 0.75

    def matrix(self, n: int, sz: int) -> Tensor:
        a = torch.deg2rad(_uniform(n, -self.deg, self.deg, self.p))
        return _affine(xx=a.cos(), xy=-a.sin(), yx=a.sin(), yy=a.cos())


@dataclass
class RandomFlip:
    """Mirror left and right with probability p."""

    p: float = 0.5

    def matrix(self, n: int, sz: int) -> Tensor:
        return _affine(xx=1 - 2.0 * (torch.rand(n) < self.p))


class RandomDihedral:
    """One of the eight symmetries of the square: quarter turns, with or without a mirror."""

    def matrix(self, n: int, sz: int) -> Tensor:
        a = torch.randint(4, (n,)) * torch.pi / 2
        return RandomFlip().matrix(n, sz) @ _affine(a.cos(), -a.sin(), a.sin(), a.cos()).round()


@dataclass
class RandomLighting:
    """Change brightness by up to ±`b` and contrast about the picture's mean by up to 1/(1±`c`)."""

    b: float
    c: float

    def __call__(self, x: Tensor, top: float = 1.0) -> Tensor:
        """Float (n, 3, h, w) with values in 0..top to the same, in place."""
        bright, c = _uniform(len(x), -self.b, self.b), _uniform(len(x), -self.c, self.c)
        gain = torch.where(c < 0, 1 / (1 - c), 1 + c)
        bright, gain = (to_device(o).view(-1, 1, 1, 1) for o in (bright * top, gain))
        return torch.addcmul(x.mean((1, 2, 3), keepdim=True) * (1 - gain) + bright, x, gain).clamp_(
            0, top
        )


transforms_basic = [RandomRotate(10), RandomLighting(0.05, 0.05)]
transforms_side_on = [*transforms_basic, RandomFlip()]
transforms_top_down = [*transforms_basic, RandomDihedral()]


class Transforms:
    """From decoded pictures to a batch: `prepare` each (cacheable), `window` cuts squares, `batch` augments them."""

    def __init__(
        self, sz: int, stats: Stats, crop: CropType, aug: Sequence = (), max_zoom: float = 1
    ) -> None:
        if sz < 1 or max_zoom < 1:
            raise ValueError(
                f"sz (pixels) and max_zoom (a factor) must be 1 or more, not {sz} and {max_zoom}"
            )
        self.sz, self.crop, self.side = sz, crop, round(sz * max_zoom)
        self.stats = np.array(stats, np.float32)
        self.geometry = [t for t in aug if hasattr(t, "matrix")]
        self.colour = [t for t in aug if not hasattr(t, "matrix")]

    def prepare(self, picture: Any) -> Any:
        """A PIL picture, or a tensor (…, 3, h, w), with shortest side `side`; squashed for CropType.NO."""
        picture = TF.resize(
            picture, [self.side] * (2 if self.crop is CropType.NO else 1), antialias=True
        )
        return TF.center_crop(picture, [self.side]) if self.crop is CropType.CENTER else picture

    def window(self, pictures: Sequence[Tensor]) -> Tensor:
        """n prepared pictures of any shape to uint8 (n, 3, side, side), cut at random places."""
        square = (self.side, self.side)
        if isinstance(pictures, Tensor) and pictures.shape[2:] == square:
            return pictures
        if all(p.shape[1:] == square for p in pictures):
            return torch.stack(
                list(pictures)
            )  # without drawing: kept activations or not, the same numbers follow
        at = torch.rand(len(pictures)).tolist()
        starts = [
            [round(u * (n - self.side)) for n in p.shape[1:]]
            for p, u in zip(pictures, at, strict=True)
        ]
        return torch.stack(
            [TF.crop(p, *yx, self.side, self.side) for p, yx in zip(pictures, starts, strict=True)]
        )

    def batch(self, x: Tensor) -> Tensor:
        """(n, 3, side, side), whole numbers to 255 or floats to 1, to normalised float32 (n, 3, sz, sz)."""
        few = (
            8 if DEVICE.type == "cpu" else len(x)
        )  # what lies between the steps then stays in the processor's cache
        return torch.cat([self._part(to_device(part)) for part in x.split(few)])

    def _part(self, x: Tensor) -> Tensor:
        top = 1.0 if x.is_floating_point() else 255.0
        x = x.to(torch.float32, copy=True)  # the next steps work in place
        if self.geometry:
            x = nn.functional.grid_sample(
                x, self._grid(len(x)), padding_mode="reflection", align_corners=False
            )
        for t in self.colour:
            x = t(x, top)
        mean, std = to_device(torch.from_numpy(self.stats) * top)[..., None, None]
        return x.sub_(mean).div_(std)

    def _grid(self, n: int) -> Tensor:
        """Where each output pixel of n pictures comes from: (n, sz, sz, 2) in -1..1; `F.affine_grid`, but faster."""
        theta = reduce(torch.matmul, [t.matrix(n, self.sz) for t in self.geometry])
        x, y, shift = to_device(theta[:, :2, :, None, None]).unbind(2)
        at = to_device((2 * torch.arange(self.sz) + 1) / self.sz - 1)  # the middles of the pixels
        return (x * at + (y * at[:, None] + shift)).permute(0, 2, 3, 1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """One picture (h, w, 3), uint8 or float in 0..1, to a normalised (3, sz, sz) array."""
        return to_np(self.batch(self.window([self.prepare(as_tensor(image).permute(2, 0, 1))])))[0]

    def denorm(self, x: Any) -> np.ndarray:
        """Undo the normalisation: (…, 3, h, w) to (…, h, w, 3) in 0..1, ready for imshow."""
        return (np.moveaxis(to_np(x), -3, -1) * self.stats[1] + self.stats[0]).clip(0, 1)


def tfms_from_stats(stats: Stats, sz: int, aug_tfms: Sequence = (), max_zoom: float | None = None, pad: int = 0,
                    crop_type: CropType = CropType.RANDOM) -> tuple[Transforms, Transforms]:  # fmt: skip
    """(training, validation) transforms: `aug_tfms`, zoom, reflected `pad` pixels and crop; or a central crop of sz."""
    aug = (
        [RandomScale(max_zoom)] * bool(max_zoom)
        + [AddPadding(pad)] * bool(pad)
        + list(aug_tfms or [])
    )
    val_crop = CropType.NO if crop_type is CropType.NO else CropType.CENTER
    return Transforms(sz, stats, crop_type, aug, max_zoom or 1), Transforms(sz, stats, val_crop)


def tfms_from_model(
    arch: Callable, sz: int, *args: Any, **kwargs: Any
) -> tuple[Transforms, Transforms]:
    """`tfms_from_stats` with the statistics that the pre-trained `arch` was trained with."""
    return tfms_from_stats(
        inception_stats if arch.__name__ in HALF_STATS else imagenet_stats, sz, *args, **kwargs
    )
