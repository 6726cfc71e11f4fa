"""Pictures in rows, and the confusion matrix."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from .core import to_np

__all__ = ["plot_confusion_matrix", "plots"]


def plots(
    ims: Sequence[Any], figsize: tuple = (12, 6), rows: int = 1, titles: Sequence[str] | None = None
) -> None:
    """Pictures in `rows` rows: arrays (h, w), (h, w, 3) or (3, h, w), floats in 0..1 or uint8."""
    _, axes = plt.subplots(
        rows, -(-len(ims) // rows), figsize=figsize, squeeze=False, layout="constrained"
    )
    for ax, im, title in zip_longest(axes.flat, map(to_np, ims), titles or []):
        ax.axis("off")
        if im is not None:
            ax.imshow(
                im if im.ndim == 2 or im.shape[-1] == 3 else np.moveaxis(im, 0, -1), cmap="gray"
            )
            ax.set_title(title or "")


def plot_confusion_matrix(cm: np.ndarray, classes: Sequence[str], normalize: bool = False) -> None:
    """A matrix of counts (true class, predicted class), or of shares of each true class."""
    cm = cm / cm.sum(1, keepdims=True) if normalize else cm
    shown = ConfusionMatrixDisplay(cm, display_labels=classes)
    shown.plot(cmap="Blues", colorbar=False, values_format=".2f" if normalize else "d")
