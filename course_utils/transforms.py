"""Pictures to what a network takes: resized once, then augmented and normalised in whole batches.

The way of a picture is that of `Transforms`: `prepare`, `window`, `batch`. What moves its pixels
(zoom, shift, rotation, flip) is an affine map; the maps of a picture are multiplied, so that its
pixels are interpolated once, whatever the number of augmentations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from .batches import whole_number
from .core import DEVICE, as_tensor, to_device, to_np

__all__ = [
    "AddPadding",
    "CropType",
    "RandomDihedral",
    "RandomFlip",
    "RandomLighting",
    "RandomRotate",
    "RandomScale",
    "Transforms",
    "imagenet_stats",
    "inception_stats",
    "tfms_from_model",
    "tfms_from_stats",
    "transforms_basic",
    "transforms_side_on",
    "transforms_top_down",
]

Stats = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of r, g, b in 0..1
imagenet_stats: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
inception_stats: Stats = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
HALF_STATS = ("efficientnet_lite0", "efficientnet_v2_l", "inception_v3", "googlenet")

AT_ONCE = 8  # pictures augmented together on a CPU: what lies between the steps stays in its cache


class CropType(Enum):
    """How a rectangle becomes a square."""

    RANDOM = 0  # a random crop in training, a central one in validation
    CENTER = 1  # a central crop in both
    NO = 2  # squashed in both, nothing is cut off


# Augmentations: those with a `matrix` move pixels, the others change their values


@runtime_checkable
class Geometric(Protocol):
    """An augmentation that moves pixels."""

    def matrix(self, n: int, sz: int) -> Tensor:
        """Random maps (n, 3, 3) for n pictures of sz x sz pixels: see `_affine`."""


Colouring = Callable[[Tensor, float], Tensor]  # (n, 3, h, w) in 0..top and top to the same


def _uniform(n: int, low: float, high: float, p: float = 1.0, neutral: float = 0.0) -> Tensor:
    """n draws from [low, high), each replaced by `neutral` with probability 1 - p."""
    chosen = torch.rand(n) < p
    return torch.where(chosen, torch.empty(n).uniform_(low, high), neutral)


Number = float | Tensor  # one for all pictures, or (n,), one each


def _affine(
    *,
    x_by_x: Number = 1.0,
    x_by_y: Number = 0.0,
    y_by_x: Number = 0.0,
    y_by_y: Number = 1.0,
    shift_x: Number = 0.0,
    shift_y: Number = 0.0,
) -> Tensor:
    """(n, 3, 3) maps from a place in the output to its source in the input, both in -1..1:

    source_x = x_by_x * x + x_by_y * y + shift_x
    source_y = y_by_x * x + y_by_y * y + shift_y
    """
    rows = [x_by_x, x_by_y, shift_x, y_by_x, y_by_y, shift_y, 0.0, 0.0, 1.0]
    numbers = torch.broadcast_tensors(*[torch.as_tensor(number) for number in rows])
    return torch.stack([number.float() for number in numbers], -1).unflatten(-1, (3, 3))


def _turn(angle: Tensor) -> Tensor:
    """Maps (n, 3, 3) that turn pictures by angles (n,), in radians, anti-clockwise."""
    return _affine(x_by_x=angle.cos(), x_by_y=-angle.sin(), y_by_x=angle.sin(), y_by_y=angle.cos())


@dataclass
class RandomScale:
    """Zoom in by a factor from 1 to `max_zoom` (with probability p) and crop at a random place."""

    max_zoom: float
    p: float = 0.75

    def matrix(self, n: int, sz: int) -> Tensor:
        kept = 1 / _uniform(n, 1, self.max_zoom, self.p, neutral=1.0)  # (n,) share of the side
        room = 1 - kept  # how far the crop can move from the middle to each side
        shift_x = room * _uniform(n, -1, 1)
        shift_y = room * _uniform(n, -1, 1)
        return _affine(x_by_x=kept, y_by_y=kept, shift_x=shift_x, shift_y=shift_y)


@dataclass
class AddPadding:
    """Reflect `pad` pixels at each border, then crop back at a random place."""

    pad: int

    def matrix(self, n: int, sz: int) -> Tensor:
        pixels = torch.randint(-self.pad, self.pad + 1, (2, n))  # to the side, and down
        shift_x, shift_y = pixels * 2 / sz  # (n,) each; a side is 2 long
        return _affine(shift_x=shift_x, shift_y=shift_y)


@dataclass
class RandomRotate:
    """Rotate by up to ±`deg` degrees with probability p."""

    deg: float
    p: float = 0.75

    def matrix(self, n: int, sz: int) -> Tensor:
        degrees = _uniform(n, -self.deg, self.deg, self.p)
        return _turn(torch.deg2rad(degrees))


@dataclass
class RandomFlip:
    """Mirror left and right with probability p."""

    p: float = 0.5

    def matrix(self, n: int, sz: int) -> Tensor:
        mirrored = torch.rand(n) < self.p
        return _affine(x_by_x=1 - 2.0 * mirrored)  # -1 or 1


@dataclass
class RandomDihedral:
    """One of the eight symmetries of the square: quarter turns, with or without a mirror."""

    def matrix(self, n: int, sz: int) -> Tensor:
        quarters = torch.randint(4, (n,))
        turns = _turn(quarters * torch.pi / 2).round()  # whole numbers: no pixel is interpolated
        return RandomFlip().matrix(n, sz) @ turns


@dataclass
class RandomLighting:
    """Change brightness by up to ±`b`, and contrast about the mean by 1 / (1 + `c`) to 1 + `c`."""

    b: float
    c: float

    def __call__(self, x: Tensor, top: float = 1.0) -> Tensor:
        """Float (n, 3, h, w) with values in 0..top to another such; `x` stays as it is."""
        brightness = _uniform(len(x), -self.b, self.b) * top
        contrast = _uniform(len(x), -self.c, self.c)
        gain = torch.where(contrast < 0, 1 / (1 - contrast), 1 + contrast)  # 2 as likely as 1/2
        brightness = to_device(brightness).view(-1, 1, 1, 1)
        gain = to_device(gain).view(-1, 1, 1, 1)
        mean = x.mean((1, 2, 3), keepdim=True)  # (n, 1, 1, 1), of all channels
        offset = mean * (1 - gain) + brightness
        return torch.addcmul(offset, x, gain).clamp_(0, top)  # offset + x * gain


transforms_basic: list[Geometric | Colouring] = [RandomRotate(10), RandomLighting(0.05, 0.05)]
transforms_side_on: list[Geometric | Colouring] = [*transforms_basic, RandomFlip()]
transforms_top_down: list[Geometric | Colouring] = [*transforms_basic, RandomDihedral()]


class Transforms:
    """From decoded pictures to batches for a network. Used in lessons 1, 2 and 7.

    1. `prepare`: resized to shortest side `side`. Once a picture; what comes out can be kept.
    2. `window`: squares of `side`, cut at random places where there is more.
    3. `batch`: augmented to squares of `sz`, and normalised by `stats`.

    `side` is `max_zoom` times `sz`: what is zoomed in on has its pixels. ValueError for a size
    that is no whole number, a zoom under 1, and an augmentation that cannot be called.
    """

    def __init__(
        self,
        sz: int,
        stats: Stats,
        crop: CropType,
        aug: Sequence[Geometric | Colouring] = (),
        max_zoom: float = 1,
    ) -> None:
        if np.ndim(sz):
            raise ValueError(f"sz is one number, the side of a square in pixels, not {sz}")
        if max_zoom < 1:
            raise ValueError(f"max_zoom is a factor of 1 or more, not {max_zoom}")
        self.sz = whole_number(sz, "sz (pixels)")
        self.crop = CropType(crop)
        self.side = round(self.sz * max_zoom)
        self.stats = np.array(stats, np.float32)  # (2, 3)
        self.geometry: list[Geometric] = []
        self.colour: list[Colouring] = []
        for step in aug:
            if isinstance(step, Geometric):
                self.geometry.append(step)
            elif callable(step):
                self.colour.append(step)
            else:
                raise ValueError(
                    f"{step!r} is no augmentation: it has no matrix, nor can be called"
                )

    def checked(self, pictures: Tensor) -> Tensor:
        """Pictures (…, 3, h, w) or (…, h, w, 3) as (…, 3, h, w), uint8 or float32 from 0 to 1.

        ValueError for other shapes, and for numbers that are neither 0..255 nor 0..1.
        """
        if pictures.ndim < 3 or 3 not in (pictures.shape[-3], pictures.shape[-1]):
            shape = tuple(pictures.shape)
            raise ValueError(f"pictures have shape (…, 3, h, w) or (…, h, w, 3), not {shape}")
        if pictures.shape[-3] != 3:
            pictures = pictures.movedim(-1, -3)  # (…, 3, h, w)
        if pictures.dtype == torch.uint8:
            return pictures
        if pictures.is_floating_point():
            _check_range(pictures, 1, "floats", "divide by 255, or pass uint8")
            return pictures.float()
        pictures = pictures.long()  # torch has no maximum of uint16
        mend = "divide by the largest there can be (4,095 in 12 bits)"
        _check_range(pictures, 255, "whole numbers", mend)
        return pictures.to(torch.uint8)

    def prepare(self, pictures: Tensor) -> Tensor:
        """(…, 3, h, w) with shortest side `side`; cut (CENTER) or squashed (NO) to a square."""
        if self.crop is CropType.NO:
            return TF.resize(pictures, [self.side, self.side], antialias=True)
        resized = TF.resize(pictures, [self.side], antialias=True)
        if self.crop is CropType.CENTER:
            return TF.center_crop(resized, [self.side])
        return resized

    def window(self, pictures: Tensor | Sequence[Tensor]) -> Tensor:
        """n prepared pictures, each (3, h, w), to (n, 3, side, side), cut at random places."""
        square = (self.side, self.side)
        if isinstance(pictures, Tensor) and pictures.shape[2:] == square:
            return pictures
        if all(picture.shape[1:] == square for picture in pictures):
            return torch.stack(list(pictures))  # nothing is drawn: no number after it depends on it
        at = torch.rand(len(pictures)).tolist()
        crops = []
        for picture, place in zip(pictures, at, strict=True):
            top, left = [round(place * (n - self.side)) for n in picture.shape[1:]]
            crops.append(TF.crop(picture, top, left, self.side, self.side))
        return torch.stack(crops)

    def batch(self, x: Tensor) -> Tensor:
        """(n, 3, side, side), uint8 or floats from 0 to 1, to normalised float32 (n, 3, sz, sz)."""
        top = 1.0 if x.is_floating_point() else 255.0
        stats = to_device(torch.from_numpy(self.stats) * top)
        mean, std = stats[:, :, None, None]  # (3, 1, 1) each
        if self.geometry:
            out = torch.empty(len(x), 3, self.sz, self.sz, device=DEVICE)
        else:
            out = torch.empty_like(x, dtype=torch.float32, device=DEVICE)
        at_once = AT_ONCE if DEVICE.type == "cpu" else len(x)
        for part, place in zip(x.split(at_once), out.split(at_once), strict=True):
            augmented = self._augmented(to_device(part), top)
            torch.sub(augmented, mean, out=place).div_(std)  # into `out`: no copy, no new memory
        return out

    def _augmented(self, x: Tensor, top: float) -> Tensor:
        """(n, 3, side, side) with values in 0..top to float32 (n, 3, sz, sz) with such values."""
        x = x.to(torch.float32, copy=True)  # an augmentation may write into it
        if self.geometry:
            grid = self._grid(len(x))  # (n, sz, sz, 2)
            x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        for change in self.colour:
            x = change(x, top)
        return x

    def _grid(self, n: int) -> Tensor:
        """Where each pixel of n augmented pictures comes from: x and y in -1..1, (n, sz, sz, 2).

        It is `F.affine_grid(maps, (n, 3, sz, sz), align_corners=False)`, which multiplies matrices
        where two products and two sums a pixel do.
        """
        maps = reduce(torch.matmul, [step.matrix(n, self.sz) for step in self.geometry])
        maps = to_device(maps[:, :2, :, None, None])  # (n, 2, 3, 1, 1)
        by_x, by_y, shift = maps.unbind(2)  # (n, 2, 1, 1) each
        x = to_device((2 * torch.arange(self.sz) + 1) / self.sz - 1)  # (sz,), middles of pixels
        y = x[:, None]  # (sz, 1)
        source = by_x * x + (by_y * y + shift)  # (n, 2, sz, sz)
        return source.permute(0, 2, 3, 1)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """One picture (h, w, 3), uint8 or float in 0..1, to a normalised (3, sz, sz) array."""
        pixels = as_tensor(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"a picture has shape (h, w, 3), not {tuple(pixels.shape)}")
        picture = self.prepare(self.checked(pixels.permute(2, 0, 1)))  # (3, side, side or more)
        return to_np(self.batch(self.window([picture])))[0]

    def denorm(self, x: Any) -> np.ndarray:
        """Undo the normalisation: (…, 3, h, w) to (…, h, w, 3) in 0..1, ready for imshow."""
        mean, std = self.stats
        pixels = np.moveaxis(to_np(x), -3, -1)  # (…, h, w, 3)
        return (pixels * std + mean).clip(0, 1)


def _check_range(pictures: Tensor, top: int, kind: str, mend: str) -> None:
    """ValueError if the numbers in `pictures` do not lie in 0..top."""
    if not pictures.numel():
        return
    low, high = pictures.min().item(), pictures.max().item()
    if not (low >= 0 and high <= top):  # nor is nan
        raise ValueError(f"{kind} in pictures lie in 0..{top}, these in {low:g}..{high:g}: {mend}")


def tfms_from_stats(
    stats: Stats,
    sz: int,
    aug_tfms: Sequence[Geometric | Colouring] | None = (),
    max_zoom: float | None = None,
    pad: int = 0,
    crop_type: CropType = CropType.RANDOM,
) -> tuple[Transforms, Transforms]:
    """(training, validation) transforms to squares of `sz` pixels. Used in lessons 2 and 7.

    Training zooms in by up to `max_zoom`, reflects `pad` pixels at the borders, shifts, and
    augments by `aug_tfms`; validation takes the middle, or squashes as training does.
    """
    aug: list[Geometric | Colouring] = []
    if max_zoom:
        aug.append(RandomScale(max_zoom))
    if pad:
        aug.append(AddPadding(pad))
    if aug_tfms:
        aug.extend(aug_tfms)
    crop_type = CropType(crop_type)
    val_crop = CropType.NO if crop_type is CropType.NO else CropType.CENTER
    return Transforms(sz, stats, crop_type, aug, max_zoom or 1), Transforms(sz, stats, val_crop)


def tfms_from_model(
    arch: Callable, sz: int, *args: Any, **kwargs: Any
) -> tuple[Transforms, Transforms]:
    """`tfms_from_stats` by the statistics that `arch` was pre-trained with. Used in lesson 1."""
    stats = inception_stats if arch.__name__ in HALF_STATS else imagenet_stats
    return tfms_from_stats(stats, sz, *args, **kwargs)
