"""Tables as training data, and a network of embeddings and numbers (arXiv:1604.06737)."""

from collections.abc import Sequence
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
from .frames import (
    Names,
    add_datepart,
    apply_cats,
    check_names_differ,
    get_elapsed,
    join_df,
    proc_df,
    train_cats,
)
from .joined import JoinedEmbeddings, Sizes, to_range
from .learner import Learner
from .metrics import exp_rmspe

__all__ = [
    "ColumnarModelData",
    "Embeddings",
    "MixedInputModel",
    "add_datepart",
    "apply_cats",
    "exp_rmspe",
    "get_elapsed",
    "join_df",
    "proc_df",
    "train_cats",
]


class ColumnarModelData:
    """A table as loaders: trn_dl (shuffled), val_dl and test_dl with batches of 2 * bs rows.

    test_ds and test_dl are None without test rows.
    """

    def __init__(
        self, path: str | Path, val_idxs: Sequence[int], arrays: Sequence, bs: int, test: Any = None
    ) -> None:
        """`arrays`: inputs and y, of which the rows `val_idxs` validate; `test`: the inputs alone.

        ValueError if they differ in length.
        """
        lengths = [len(a) for a in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"inputs and targets differ in length: {lengths}")
        parts = split_by_idx(val_idxs, *arrays)  # (rows that validate, the rest) of each
        self.path = Path(path)
        self.bs = bs
        self.trn_ds = ColumnarDataset(*[_tensor(trn) for _, trn in parts])
        self.val_ds = ColumnarDataset(*[_tensor(val) for val, _ in parts])
        self.test_ds = None if test is None else _without_targets(test)
        self.trn_dl = ColumnarLoader(self.trn_ds, bs, shuffle=True)
        self.val_dl = ColumnarLoader(self.val_ds, 2 * bs)
        self.test_dl = None if self.test_ds is None else ColumnarLoader(self.test_ds, 2 * bs)
        self.trn_y = self.trn_ds.y
        self.val_y = self.val_ds.y

    @classmethod
    def from_data_frame(
        cls,
        path: str | Path,
        val_idxs: Sequence[int],
        df: DataFrame,
        y: Any,
        cat_flds: Names,
        bs: int = 64,
        is_reg: bool = True,
        test_df: DataFrame | None = None,
    ) -> Self:
        """Batches (codes, numbers, y): int64 (n, n_cat), float32 (n, n_cont) and (n,) or (n, k).

        `cat_flds` are the columns of codes, all others are numbers, as `proc_df` returns them.
        `test_df` has the same columns, in any order. With is_reg=False y holds numbers of classes,
        int64 (n,). ValueError for what cannot be learnt from: text, gaps, codes below 0, numbers
        too large for float32. Used in lessons 3 and 5.
        """
        codes = set(cat_flds)
        cont_flds = [name for name in df if name not in codes]
        arrays = [*_matrices(df, cat_flds, cont_flds), _targets(y, is_reg)]
        test = None if test_df is None else _matrices(test_df, cat_flds, cont_flds)
        return cls(path, val_idxs, arrays, bs, test)

    @classmethod
    def from_arrays(
        cls,
        path: str | Path,
        val_idxs: Sequence[int],
        xs: Any,
        y: Any,
        bs: int = 64,
        test_xs: Any = None,
    ) -> Self:
        """Batches (column, …, y), each column (n,), y (n,) or (n, k).

        `xs` and `test_xs`: an array (n, columns), or a list of columns. Used in lesson 6.
        """
        test = None if test_xs is None else _columns(test_xs)
        return cls(path, val_idxs, [*_columns(xs), np.asarray(y)], bs, test)

    def get_learner(
        self,
        emb_szs: Sizes,
        n_cont: int,
        emb_drop: float,
        out_sz: int,
        szs: Sequence[int],
        drops: Sequence[float],
        y_range: tuple[float, float] | None = None,
        use_bn: bool = False,
        **kwargs: Any,
    ) -> Learner:
        """`MixedInputModel` with Adam and squared error, or for classes cross entropy.

        ValueError for sizes that the data do not have; `kwargs` go to `Learner`, and with a `crit`
        of your own targets may have any shape. Used in lesson 3.
        """
        for ds in (self.trn_ds, self.val_ds, self.test_ds):
            if ds is not None:
                _check_sizes(ds, emb_szs, n_cont)
        if "crit" not in kwargs:
            for y in (self.trn_y, self.val_y):
                _check_targets(y, out_sz)
        model = MixedInputModel(emb_szs, n_cont, emb_drop, out_sz, szs, drops, y_range, use_bn)
        crit = F.cross_entropy if _are_classes(self.trn_y) else F.mse_loss
        settings: dict[str, Any] = {"opt_fn": optim.Adam, "crit": crit, **kwargs}
        return Learner(self, model, **settings)


def _tensor(part: Any) -> Tensor:
    """Rows that `split_by_idx` has copied; a data set would copy an array once more."""
    return part if isinstance(part, Tensor) else torch.from_numpy(np.asarray(part))


def _without_targets(test: Sequence) -> ColumnarDataset:
    n = len(test[0]) if len(test) else 0
    if n == 0:
        raise ValueError("there are no test rows: leave them out, or give some")
    return ColumnarDataset(*test, np.zeros(n))


def _columns(xs: Any) -> list[np.ndarray]:
    """The columns of an array (n, columns), or those of a list."""
    if isinstance(xs, (list, tuple)):
        return [np.asarray(x) for x in xs]
    table = np.asarray(xs)
    if table.ndim < 2:
        raise ValueError(f"xs must be (n, columns), not {table.shape}; or a list of columns")
    return list(table.T)


def _matrices(df: DataFrame, cat_flds: Names, cont_flds: Names) -> list[np.ndarray]:
    """[codes, numbers] of a table: int64 (n, n_cat), float32 (n, n_cont)."""
    check_names_differ(df)
    for name in [*cat_flds, *cont_flds]:
        choose("column", name, df)
    for name in cat_flds:
        column = df[name]
        if not is_integer_dtype(column):
            raise ValueError(f"column {name!r} is not codes yet: see proc_df")
        if column.isna().any():
            raise ValueError(f"column {name!r} of codes has gaps: see proc_df")
        if column.lt(0).any():
            raise ValueError(f"column {name!r} has codes below 0, for which there is no row")
    for name in cont_flds:
        if not is_numeric_dtype(df[name]):
            raise ValueError(f"column {name!r} is not numbers yet: see proc_df")
    with np.errstate(over="ignore"):  # it is looked for below
        numbers = df[list(cont_flds)].to_numpy(np.float32, na_value=np.nan)
    for name, values in zip(cont_flds, numbers.T, strict=True):
        if np.isnan(values).any():
            raise ValueError(f"column {name!r} has gaps: see proc_df")
        if np.isinf(values).any():
            raise ValueError(f"column {name!r} has numbers too large for float32, or infinite")
    return [df[list(cat_flds)].to_numpy(np.int64), numbers]


def _targets(y: Any, is_reg: bool) -> np.ndarray:
    """Numbers, float32 (n,) or (n, k); or classes, int64 (n,)."""
    try:
        targets = np.asarray(y, float)
    except (TypeError, ValueError):
        raise ValueError("y is not numbers yet: see proc_df") from None
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]  # (n, 1) to (n,)
    with np.errstate(over="ignore"):
        numbers = targets.astype(np.float32)
    if np.isnan(numbers).any():
        raise ValueError("y has gaps: leave those rows out")
    if np.isinf(numbers).any():
        raise ValueError("y has numbers too large for float32, or infinite")
    if is_reg:
        return numbers
    if (targets % 1 != 0).any():
        raise ValueError("y has fractions: with is_reg=False it holds the numbers of classes")
    return targets.astype(np.int64)


def _check_sizes(ds: ColumnarDataset, emb_szs: Sizes, n_cont: int) -> None:
    """ValueError if the rows of a table do not fit a `MixedInputModel` of these sizes."""
    if len(ds.arrays) != 3 or ds.arrays[0].ndim != 2 or ds.arrays[1].ndim != 2:
        raise ValueError("get_learner needs codes and numbers: make the data by from_data_frame")
    codes, numbers, _ = ds.arrays  # (n, n_cat), (n, n_cont)
    _, n_cat = codes.shape
    _, n_numbers = numbers.shape
    if len(emb_szs) != n_cat:
        raise ValueError(f"{len(emb_szs)} emb_szs, but the table has {n_cat} columns of codes")
    if n_cont != n_numbers:
        raise ValueError(f"n_cont is {n_cont}, but the table has {n_numbers} columns of numbers")
    lowest = codes.amin(0).tolist()
    highest = codes.amax(0).tolist()
    for i, (rows, _) in enumerate(emb_szs):
        if lowest[i] < 0 or highest[i] >= rows:
            raise ValueError(
                f"emb_szs[{i}] has {rows} rows for codes from {lowest[i]} to {highest[i]}"
            )


def _are_classes(y: np.ndarray) -> bool:
    return y.dtype.kind != "f"


def _check_targets(y: np.ndarray, out_sz: int) -> None:
    """ValueError for targets that a model of `out_sz` outputs cannot learn."""
    predicted = (len(y),) if out_sz == 1 or _are_classes(y) else (len(y), out_sz)
    if y.shape != predicted:  # torch would spread one over the other
        raise ValueError(f"y is {y.shape}, but with out_sz={out_sz} it must be {predicted}")
    if _are_classes(y):
        lowest = y.min()
        highest = y.max()
        if lowest < 0 or highest >= out_sz:
            raise ValueError(
                f"y has classes {lowest} to {highest}, but with out_sz={out_sz} they are 0 to"
                f" {out_sz - 1}"
            )


class Embeddings(nn.ModuleList):
    """A table of (rows, width) numbers for each category; what the codes find stands side by side.

    `MixedInputModel` trains the same in one lookup, `joined.JoinedEmbeddings`. Used in lesson 3.
    """

    def __init__(self, sizes: Sizes) -> None:
        """`sizes`: (rows, width) of each table."""
        tables = [nn.Embedding(rows, width) for rows, width in sizes]
        for table in tables:
            bound = 2 / (table.embedding_dim + 1)
            nn.init.uniform_(table.weight, -bound, bound)
        super().__init__(tables)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, tables), each below the rows of its table, to numbers (n, widths summed)."""
        found = [table(codes[:, i]) for i, table in enumerate(self)]  # (n, width) each
        return torch.cat(found, 1)  # (n, sum of the widths)


class MixedInputModel(nn.Module):
    """Embeddings of the categories beside the numbers, then linear layers (arXiv:1604.06737).

    The children are the three layer groups: embs (m.embs[i].weight is table i), hidden, outp. A
    BatchNorm over the numbers would add noise. Used in lesson 3.
    """

    def __init__(
        self,
        emb_szs: Sizes,
        n_cont: int,
        emb_drop: float,
        out_sz: int,
        szs: Sequence[int],
        drops: Sequence[float],
        y_range: tuple[float, float] | None = None,
        use_bn: bool = False,
    ) -> None:
        """`emb_szs`: (rows, width) of each table; `szs`, `drops`: of each hidden layer.

        `y_range`: what predictions are squeezed into. ValueError unless there are as many drops as
        layers.
        """
        super().__init__()
        if len(szs) != len(drops):
            raise ValueError(f"{len(drops)} drops for {len(szs)} hidden layers: give one for each")
        self.embs = JoinedEmbeddings(emb_szs)  # equal to Embeddings(emb_szs), in one lookup
        self.emb_drop = emb_drop
        self.y_range: tuple[float, float] | None = None
        if y_range is not None:
            low, high = y_range
            self.y_range = float(low), float(high)
        layers: list[nn.Module] = []
        n_in = sum(width for _, width in emb_szs) + n_cont
        for n_out, p in zip(szs, drops, strict=True):
            layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
            if use_bn:
                layers.append(nn.BatchNorm1d(n_out))
            layers.append(nn.Dropout(p))
            n_in = n_out
        self.hidden = nn.Sequential(*layers)
        self.outp = nn.Linear(n_in, out_sz)
        for layer in [*layers, self.outp]:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    @torch.autocast("cuda", enabled=False)  # bfloat16 is too coarse for the logarithm of sales
    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Codes, int64 (n, n_cat), and scaled numbers (n, n_cont), to (n,), or (n, out_sz)."""
        found = F.dropout(self.embs(x_cat), self.emb_drop, self.training)  # (n, sum of the widths)
        x = torch.cat([found, x_cont], 1)  # (n, sum of the widths + n_cont)
        x = self.outp(self.hidden(x))  # (n, out_sz)
        x = x.squeeze(1)  # (n,) if out_sz is 1
        if self.y_range is None:
            return x
        low, high = self.y_range
        return to_range(x, low, high)
