"""Which pictures a classifier gets right, wrong, or cannot decide."""

import matplotlib.pyplot as plt
import numpy as np

from .pictures import FilesDataset
from .plotting import plots

__all__ = ["ImageModelResults"]


class ImageModelResults:
    """Galleries of pictures chosen by log-probabilities for them: (n, c), or (k, n, c) as `TTA` gives them."""

    def __init__(self, ds: FilesDataset, log_preds: np.ndarray) -> None:
        probs = np.exp(log_preds)
        self.ds, self.probs = ds, probs.mean(0) if probs.ndim == 3 else probs
        if len(self.probs) != len(ds):
            raise ValueError(f"{len(self.probs)} predictions for {len(ds)} pictures")
        self.correct = self.probs.argmax(1) == ds.y

    def rand_by_correct(self, is_correct: bool, n: int = 4) -> np.ndarray:
        """Row numbers of up to n random pictures predicted rightly (or wrongly)."""
        return np.random.permutation(np.flatnonzero(self.correct == is_correct))[:n]  # noqa: NPY002

    def most_by_correct(self, y: int, is_correct: bool, n: int = 4) -> np.ndarray:
        """Pictures of class y that the model is surest about, rightly (or wrongly)."""
        rows = np.flatnonzero((self.ds.y == y) & (self.correct == is_correct))
        return rows[np.argsort(self.probs[rows, y] * (-1 if is_correct else 1), kind="stable")[:n]]

    def most_by_uncertain(self, n: int = 4) -> np.ndarray:
        """Pictures whose highest probability is nearest to 1 / number of classes."""
        return np.argsort(self.probs.max(1), kind="stable")[:n]

    def plot_val_with_title(self, rows: np.ndarray, title: str, y: int = 1) -> None:
        """The pictures `rows`, each with the probability of class y."""
        if not len(rows):
            return print(f"{title}: none")
        ims = [self.ds.denorm(self.ds[i][0]) for i in rows]
        plots(ims, figsize=(1.8 * len(rows), 2.2), titles=[f"{p:.3f}" for p in self.probs[rows, y]])
        plt.suptitle(title)

    def plot_random(self, is_correct: bool, y: int = 1) -> None:
        """Random right (or wrong) answers, with the probability of class y."""
        self.plot_val_with_title(
            self.rand_by_correct(is_correct), f"Random {'' if is_correct else 'in'}correct", y
        )

    def _class(self, y: int) -> str:
        return self.ds.classes[y] if self.ds.classes else f"class {y}"

    def plot_most_correct(self, y: int) -> None:
        """Right answers for class y that the model is surest of."""
        self.plot_val_with_title(
            self.most_by_correct(y, True), f"Most correct: {self._class(y)}", y
        )

    def plot_most_incorrect(self, y: int) -> None:
        """Pictures of class y that the model is surest are something else."""
        self.plot_val_with_title(
            self.most_by_correct(y, False), f"Most incorrect: {self._class(y)}", y
        )

    def plot_most_uncertain(self, y: int = 1) -> None:
        """Pictures the model cannot decide about, with the probability of class y."""
        self.plot_val_with_title(self.most_by_uncertain(), "Most uncertain", y)
