"""Which pictures a classifier gets right, wrong, or cannot decide."""

import matplotlib.pyplot as plt
import numpy as np

from .batches import ArrayDataset
from .plotting import plots

__all__ = ["ImageModelResults"]


class ImageModelResults:
    """Galleries of pictures, chosen by what a classifier says of them. Used in lesson 1.

    `ds`: the pictures and their classes. `log_preds`: log-probabilities (n, c), or (k, n, c) as
    `TTA` gives them. ValueError if these are of other pictures, or no logarithms.
    """

    def __init__(self, ds: ArrayDataset, log_preds: np.ndarray) -> None:
        if np.max(log_preds, initial=0) > 1e-3:  # rounding may leave a little above 0
            raise ValueError("log-probabilities are never above 0: of probabilities, pass np.log")
        probs = np.exp(log_preds)
        if probs.ndim == 3:
            probs = probs.mean(0)  # (n, c)
        if len(probs) != len(ds):
            raise ValueError(f"{len(probs)} predictions for {len(ds)} pictures")
        self.ds = ds
        self.probs = probs
        self.correct = probs.argmax(1) == ds.y  # (n,)

    def rand_by_correct(self, is_correct: bool, n: int = 4) -> np.ndarray:
        """Row numbers of up to n random pictures predicted rightly (or wrongly)."""
        rows = np.flatnonzero(self.correct == is_correct)
        return np.random.permutation(rows)[:n]  # noqa: NPY002  the generator of the videos

    def most_by_correct(self, y: int, is_correct: bool, n: int = 4) -> np.ndarray:
        """Up to n pictures of class y that the model is surest about, rightly (or wrongly)."""
        rows = np.flatnonzero((self.ds.y == y) & (self.correct == is_correct))
        sureness = self.probs[rows, y]
        if not is_correct:
            sureness = -sureness  # surest that they are not y
        surest_first = np.argsort(-sureness, kind="stable")
        return rows[surest_first[:n]]

    def most_by_uncertain(self, n: int = 4) -> np.ndarray:
        """Pictures whose highest probability is nearest to 1 / number of classes."""
        return np.argsort(self.probs.max(1), kind="stable")[:n]

    def plot_val_with_title(self, rows: np.ndarray, title: str, y: int = 1) -> None:
        """The pictures `rows`, each with the probability of class y."""
        if not len(rows):
            print(f"{title}: none")
            return
        items = [self.ds[row] for row in rows]
        pictures = [self.ds.denorm(x) for x, _ in items]
        titles = [f"{prob:.3f}" for prob in self.probs[rows, y]]
        plots(pictures, figsize=(1.8 * len(rows), 2.2), titles=titles)
        plt.suptitle(title)

    def plot_random(self, is_correct: bool, y: int = 1) -> None:
        """Random right (or wrong) answers, with the probability of class y."""
        title = "Random correct" if is_correct else "Random incorrect"
        self.plot_val_with_title(self.rand_by_correct(is_correct), title, y)

    def plot_most_correct(self, y: int) -> None:
        """Right answers for class y that the model is surest of."""
        rows = self.most_by_correct(y, is_correct=True)
        self.plot_val_with_title(rows, f"Most correct: {self._class(y)}", y)

    def plot_most_incorrect(self, y: int) -> None:
        """Pictures of class y that the model is surest are something else."""
        rows = self.most_by_correct(y, is_correct=False)
        self.plot_val_with_title(rows, f"Most incorrect: {self._class(y)}", y)

    def plot_most_uncertain(self, y: int = 1) -> None:
        """Pictures the model cannot decide about, with the probability of class y."""
        self.plot_val_with_title(self.most_by_uncertain(), "Most uncertain", y)

    def _class(self, y: int) -> str:
        if self.ds.classes:
            return self.ds.classes[y]
        return f"class {y}"
