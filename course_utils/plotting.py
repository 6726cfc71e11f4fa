"""Pictures in rows, and the confusion matrix."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from .core import to_np

__all__ = ["plot_confusion_matrix", "plots"]


def plots(
    ims: Sequence[Any],
    figsize: tuple[float, float] = (12, 6),
    rows: int = 1,
    titles: Sequence[str] | None = None,
) -> None:
    """Pictures in `rows` rows: arrays (h, w), (h, w, 3) or (3, h, w), floats in 0..1 or uint8.

    Used in lessons 1 and 2.
    """
    columns = math.ceil(len(ims) / rows)
    _, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")
    places = axes.flatten()  # row after row
    for ax in places:
        ax.axis("off")
    for ax, im in zip(places, ims, strict=False):  # the last places may stay empty
        ax.imshow(_channels_last(to_np(im)), cmap="gray")
    for ax, title in zip(places[: len(ims)], titles or [], strict=False):
        ax.set_title(title)


def _channels_last(im: np.ndarray) -> np.ndarray:
    """(h, w) and (h, w, 3) as they are, (3, h, w) as (h, w, 3)."""
    if im.ndim == 2 or im.shape[-1] == 3:
        return im
    return np.moveaxis(im, 0, -1)


def plot_confusion_matrix(cm: np.ndarray, classes: Sequence[str], normalize: bool = False) -> None:
    """A matrix (true class, predicted class) of counts, or of shares of each true class.

    Used in lesson 1.
    """
    cm = np.asarray(cm)
    values_format = "d"
    if normalize:
        cm = cm / cm.sum(1, keepdims=True)
        values_format = ".2f"
    shown = ConfusionMatrixDisplay(cm, display_labels=classes)
    shown.plot(cmap="Blues", colorbar=False, values_format=values_format)
