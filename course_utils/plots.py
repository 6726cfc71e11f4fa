"""Pictures in rows, and the confusion matrix."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from .core import to_np

__all__ = ["plot_confusion_matrix", "plots"]


def plots(
    ims: Sequence[Any], figsize: tuple[float, float] = (12, 6), rows: int = 1, titles: Sequence[str] | None = None
) -> None:
    """Pictures in `rows` rows: arrays (h, w), (h, w, 3) or (3, h, w), in 0..1 or 0..255."""
    fig, axes = plt.subplots(rows, -(-len(ims) // rows), figsize=figsize, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, im) in enumerate(zip(axes.flat, ims, strict=False)):
        im = to_np(im)
        if im.ndim == 3 and im.shape[-1] != 3:
            im = np.moveaxis(im, 0, -1)
        ax.imshow(im, cmap="gray" if im.ndim == 2 else None)
        if titles is not None:
            ax.set_title(titles[i])
    fig.tight_layout()


def plot_confusion_matrix(cm: np.ndarray, classes: Sequence[str], normalize: bool = False) -> None:
    """A matrix of counts (true class, predicted class), or of shares of each true class."""
    cm = np.asarray(cm)
    cm = cm / cm.sum(1, keepdims=True) if normalize else cm
    shown = ConfusionMatrixDisplay(cm, display_labels=classes)
    shown.plot(cmap="Blues", colorbar=False, values_format=".2f" if normalize else "d")
