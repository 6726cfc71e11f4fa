"""Where a network looks: a hook that keeps a layer's output, and maps made of it.

Used in lesson 7.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from .core import T, to_np

__all__ = ["SaveFeatures", "cam", "grad_cam", "heat_map", "show_cam"]


class SaveFeatures(AbstractContextManager):
    """Keeps in `features` what `module` gave last, graph included.

    Until `remove()`, or the end of a `with` block.
    """

    def __init__(self, module: nn.Module) -> None:
        self._output: Any = None
        self.hook = module.register_forward_hook(self._save)

    def _save(self, module: nn.Module, args: tuple, output: Any) -> Any:
        self._output = output  # the next layer gets a copy: it may work in place
        return output.clone() if isinstance(output, Tensor) else output

    @property
    def features(self) -> Any:
        """The latest output; RuntimeError if the module has not run yet."""
        if self._output is None:
            raise RuntimeError("no features yet: run the model once after SaveFeatures(module)")
        return self._output

    def remove(self) -> None:
        """Take the hook off the module; `features` stay."""
        self.hook.remove()

    def __exit__(self, *error: object) -> None:
        self.remove()


def heat_map(scores: Any) -> np.ndarray:
    """Any map (h, w) stretched to 0..1; zeros if it is the same everywhere."""
    scores = to_np(scores)
    low = scores.min()
    high = scores.max()
    if high > low:
        return (scores - low) / (high - low)
    return np.zeros_like(scores)


def cam(features: Any, weights: Any) -> np.ndarray:
    """Class activation map (arXiv:1512.04150): maps (c, h, w) times weights (c,), added up.

    Stretched to a `heat_map` (h, w); ValueError for other shapes.
    """
    features = np.asarray(to_np(features))
    weights = np.asarray(to_np(weights))
    if weights.shape != features.shape[:1] or features.ndim != 3:
        raise ValueError(
            f"cam needs maps (c, h, w) and weights (c,), not {features.shape} and {weights.shape}"
        )
    return heat_map(np.tensordot(weights, features, 1))  # (h, w)


def grad_cam(model: nn.Module, layer: nn.Module, x: Tensor, y: int | Sequence[int]) -> Tensor:
    """Grad-CAM (arXiv:1610.02391): what in `layer` speaks for class y of each picture.

    `model`, in evaluation mode, turns pictures x (n, 3, h, w) into scores (n, classes), best
    those before softmax. Each channel of `layer` counts with the mean gradient of the score.
    Returns maps (n, h', w') of 0 or more; ValueError if `layer` gives no maps.
    """
    with SaveFeatures(layer) as saved, torch.enable_grad():
        scores = model(x.detach().requires_grad_())  # or frozen layers would have no gradient
        maps = saved.features  # (n, c, h', w')
        if maps.ndim != 4:
            raise ValueError(f"grad_cam needs maps (n, c, h, w), not {tuple(maps.shape)}")
        (grads,) = torch.autograd.grad(scores[range(len(x)), y].sum(), maps)
    weights = grads.mean((2, 3))  # (n, c)
    return torch.einsum("nc,nchw->nhw", weights, maps).relu().detach()


def show_cam(ax: Axes, picture: np.ndarray, heat: Any, title: str = "") -> None:
    """A heat map (h', w') of values in 0..1, enlarged bilinearly, over its picture (h, w, 3)."""
    size = picture.shape[:2]
    small = T(heat)[None, None]  # (1, 1, h', w')
    large = nn.functional.interpolate(small, size, mode="bilinear", align_corners=False)
    ax.imshow(picture)
    ax.imshow(to_np(large[0, 0]), cmap="hot", alpha=0.5, vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
