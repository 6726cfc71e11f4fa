"""Tiny notebooks, pictures, data and networks for tests."""

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from course_utils.core import DEVICE
from course_utils.learner import Learner
from course_utils.metrics import accuracy
from course_utils.vision import ImageClassifierData


def cell(kind: str, source: str, **more) -> dict:
    """A cell in the notebook format, version 4."""
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source} | code | more


def picture(rng: np.random.Generator, reddish: bool, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Noise, red or blue on the whole."""
    pixels = rng.integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., 0 if reddish else 2] += 100
    return Image.fromarray(pixels)


def size_of(file: Path) -> tuple[int, int]:
    """(Width, height) of a picture."""
    with Image.open(file) as im:
        return im.size


def picture_folder(root: Path, n_train: int = 12, n_valid: int = 6, n_test: int = 4) -> Path:
    """root/{train,valid}/{blue,red}/N.png, root/test/N.png; different shapes and sizes."""
    rng = np.random.default_rng(0)
    for split, n in ("train", n_train), ("valid", n_valid), ("test", n_test):
        for i in range(n):
            for name in ["blue", "red"] if split != "test" else [""]:
                file = root / split / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                size = [(40, 32), (32, 40), (64, 36)][i % 3]
                picture(rng, (name or "blue") == "red", size).save(file)
    return root


def array_data(path: Path, n: int = 48, c: int = 3, bs: int = 16) -> ImageClassifierData:
    """Vectors of ten numbers whose class is the largest of the first `c`."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2 * n, 10, generator=g)
    y = x[:, :c].argmax(1)
    return ImageClassifierData.from_arrays(path, (x[:n], y[:n]), (x[n:], y[n:]), bs=bs, test=x[:5])


def mlp(c: int = 3) -> nn.Sequential:
    """Two layer groups and an output, on the device, with BatchNorm in each group that is frozen in the tests."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU())
    second = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
    return nn.Sequential(first, second, nn.Sequential(nn.Linear(16, c), nn.LogSoftmax(1))).to(DEVICE)


def small_learner(path: Path) -> Learner:
    """An `mlp` with its data, loss and metric."""
    return Learner(array_data(path), mlp(), crit=F.nll_loss, metrics=[accuracy])


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights and statistics."""
    return copy.deepcopy(model.state_dict())


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[int]:
    """The layer groups, by number, of which some weight (not a statistic) changed."""
    weights = [k for k in before if k.endswith(("weight", "bias"))]
    return {int(k[0]) for k in weights if not torch.equal(before[k], after[k])}
