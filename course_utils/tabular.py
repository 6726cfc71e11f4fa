"""Tables as training data, and a network of embeddings and numbers (arXiv:1604.06737)."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pandas import DataFrame
from pandas.api.types import is_integer_dtype, is_numeric_dtype
from torch import Tensor, nn, optim

from .choose import choose
from .columns import ColumnarDataset, ColumnarLoader
from .core import split_by_idx
from .frames import Names, add_datepart, apply_cats, get_elapsed, join_df, proc_df, train_cats
from .joined import Embeddings, Sizes
from .learner import Learner
from .metrics import exp_rmspe

__all__ = [
    "ColumnarModelData",
    "MixedInputModel",
    "add_datepart",
    "apply_cats",
    "exp_rmspe",
    "get_elapsed",
]
__all__ += ["join_df", "proc_df", "train_cats"]


class ColumnarModelData:
    """A table as loaders: trn_dl (shuffled), val_dl and test_dl (or None), these two with batches of 2 * bs rows."""

    def __init__(
        self, path: str | Path, val_idxs: Sequence[int], arrays: Sequence, bs: int, test: Any = None
    ) -> None:
        """`arrays`: inputs and y, of which the rows `val_idxs` validate; `test`: the inputs of test rows."""
        if len({len(a) for a in arrays}) > 1:
            raise ValueError(f"inputs and targets differ in length: {[len(a) for a in arrays]}")
        val, trn = zip(*split_by_idx(val_idxs, *arrays), strict=True)
        self.path, self.bs, self.trn_ds, self.val_ds = (
            Path(path),
            bs,
            ColumnarDataset(*trn),
            ColumnarDataset(*val),
        )
        self.test_ds = test and ColumnarDataset(*test, np.zeros(len(test[0])))
        self.trn_dl, self.val_dl = (
            ColumnarLoader(self.trn_ds, bs, shuffle=True),
            ColumnarLoader(self.val_ds, 2 * bs),
        )
        self.test_dl = test and ColumnarLoader(self.test_ds, 2 * bs)
        self.trn_y, self.val_y = self.trn_ds.y, self.val_ds.y

    @classmethod
    def from_data_frame(cls, path: str | Path, val_idxs: Sequence[int], df: DataFrame, y: Any, cat_flds: Names,
                        bs: int = 64, is_reg: bool = True, test_df: DataFrame | None = None) -> Self:  # fmt: skip
        """Batches (codes of `cat_flds`, int64 (n, n_cat); the other columns, float32 (n, n_cont); y).

        Tables as `proc_df` returns them, else ValueError; y: numbers, or with is_reg=False classes. Lessons 3 and 5.
        """
        names = list(cat_flds), [name for name in df if name not in cat_flds]
        y = np.asarray(y, float).reshape(len(y), -1)
        if not np.isfinite(y).all() or not (is_reg or (y % 1 == 0).all()):
            raise ValueError("y has gaps, infinite values, or (is_reg=False) fractions")
        y = (y[:, 0] if y.shape[1] == 1 else y).astype(np.float32 if is_reg else np.int64)
        arrays = [*_matrices(df, *names), y]
        return cls(
            path, val_idxs, arrays, bs, None if test_df is None else _matrices(test_df, *names)
        )

    @classmethod
    def from_arrays(cls, path: str | Path, val_idxs: Sequence[int], xs: Any, y: Any, bs: int = 64,
                    test_xs: Any = None) -> Self:  # fmt: skip
        """Batches (column, …, y): `xs` is an array (n, columns) or list of columns, y (n,) or (n, k). For lesson 6."""
        xs, test = [
            x if x is None or isinstance(x, list) else list(np.transpose(x)) for x in (xs, test_xs)
        ]
        return cls(path, val_idxs, [*map(np.asarray, xs), np.asarray(y)], bs, test)

    def get_learner(self, emb_szs: Sizes, n_cont: int, emb_drop: float, out_sz: int, szs: Sequence[int],
                    drops: Sequence[float], y_range: tuple[float, float] | None = None, use_bn: bool = False,
                    **kwargs: Any) -> Learner:  # fmt: skip
        """`MixedInputModel` with Adam and squared error (classes: cross entropy). ValueError: wrong sizes. Lesson 3."""
        for ds in filter(None, [self.trn_ds, self.val_ds, self.test_ds]):
            tops, columns = ds.arrays[0].amax(0).tolist(), ds.arrays[1].shape[1]
            low = [top for top, (rows, _) in zip(tops, emb_szs, strict=False) if top < rows]
            if (
                not len(tops) == len(low) == len(emb_szs)
                or columns != n_cont
                or (ds.arrays[0] < 0).any()
            ):
                raise ValueError(
                    f"the data have codes up to {tops} and n_cont {columns}: not as emb_szs, n_cont say"
                )
        model = MixedInputModel(emb_szs, n_cont, emb_drop, out_sz, szs, drops, y_range, use_bn)
        crit = F.mse_loss if self.trn_y.dtype.kind == "f" else F.cross_entropy
        return Learner(self, model, **{"opt_fn": optim.Adam, "crit": crit, **kwargs})


def _matrices(df: DataFrame, cat_flds: list[str], cont_flds: list[str]) -> list[np.ndarray]:
    """[codes, other numbers] of a table, (n, n_cat) and (n, n_cont)."""
    for name in [choose("column", n, df) for n in [*cat_flds, *cont_flds]]:
        kind, fits, low = (
            ("codes", is_integer_dtype, 0)
            if name in cat_flds
            else ("numbers", is_numeric_dtype, -np.inf)
        )
        if not fits(df[name]) or not (df[name].ge(low) & np.isfinite(df[name].astype(float))).all():
            raise ValueError(f"column {name!r} is not {kind} yet: see proc_df")
    return [df[cat_flds].to_numpy(np.int64), df[cont_flds].to_numpy(np.float32)]


class MixedInputModel(nn.Module):
    """Embeddings of the categories beside the other columns, then linear layers (arXiv:1604.06737). For lesson 3.

    `emb_szs`: (rows, width) of each table; `szs`, `drops`: units and dropout of each hidden layer. The children are the
    three layer groups: embs (m.embs[i].weight is table i), hidden, outp. A BatchNorm over the numbers would add noise.
    """

    def __init__(self, emb_szs: Sizes, n_cont: int, emb_drop: float, out_sz: int, szs: Sequence[int],
                 drops: Sequence[float], y_range: tuple[float, float] | None = None,
                 use_bn: bool = False) -> None:  # fmt: skip
        super().__init__()
        if len(szs) != len(drops):
            raise ValueError(f"{len(drops)} drops for {len(szs)} hidden layers: give one for each")
        self.embs, self.emb_drop, self.y_range, layers = Embeddings(emb_szs), emb_drop, y_range, []
        widths = [sum(width for _, width in emb_szs) + n_cont, *szs]
        for (n_in, n_out), p in zip(pairwise(widths), drops, strict=True):
            layers += [
                nn.Linear(n_in, n_out),
                nn.ReLU(True),
                *[nn.BatchNorm1d(n_out)] * use_bn,
                nn.Dropout(p),
            ]
        self.hidden, self.outp = nn.Sequential(*layers), nn.Linear(widths[-1], out_sz)
        for linear in [m for m in self.modules() if isinstance(m, nn.Linear)]:
            nn.init.kaiming_normal_(linear.weight)

    @torch.autocast(
        "cuda", enabled=False
    )  # bfloat16 has three digits: too few for the logarithm of sales
    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Codes, int64 (n, n_cat), and scaled numbers (n, n_cont), to (n,), or (n, out_sz) if that is not 1."""
        x = F.dropout(self.embs(x_cat), self.emb_drop, self.training)
        x = self.outp(self.hidden(torch.cat([x, x_cont], 1))).squeeze(
            1
        )  # no effect where out_sz is not 1
        if not self.y_range:
            return x
        low, high = map(float, self.y_range)
        return low + (high - low) * x.sigmoid()
