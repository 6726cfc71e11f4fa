"""Tables: dates taken apart, categories numbered, gaps filled, and a network of embeddings and numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pandas import DataFrame, Series
from pandas.api.types import is_integer_dtype, is_numeric_dtype, is_string_dtype
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn, optim

from .core import DEVICE, as_tensor, split_by_idx, to_device
from .data.registry import choose
from .learner import Learner
from .loaders import ArrayDataset, BatchLoader

__all__ = ["ColumnarModelData", "MixedInputModel", "add_datepart", "apply_cats", "exp_rmspe", "get_elapsed"]
__all__ += ["join_df", "proc_df", "train_cats"]

DATE_PARTS = ["Year", "Month", "Week", "Day", "Day_of_week", "Day_of_year", "Is_month_end", "Is_month_start"]
DATE_PARTS += ["Is_quarter_end", "Is_quarter_start", "Is_year_end", "Is_year_start"]  # as pandas has them
Names, Sizes = Sequence[str], Sequence[tuple[int, int]]


def join_df(left: DataFrame, right: DataFrame, left_on: str | list[str], right_on: str | list[str] | None = None,
            suffix: str = "_y") -> DataFrame:  # fmt: skip
    """Every row of `left` with what `right` says of it; what both have gets `suffix` on the right. Used in lesson 3."""
    both = left.columns.intersection(right.columns)
    left = left.drop(columns=left.columns.intersection(both + suffix))  # of an earlier join
    return left.merge(right, how="left", left_on=left_on, right_on=right_on or left_on, suffixes=("", suffix))


def add_datepart(df: DataFrame, fldname: str, drop: bool = True, time: bool = False) -> None:
    """Add to `df` Year, Month, Week (ISO), …, Is_year_start and Elapsed (seconds since 1970) of a column of dates.

    Their names begin with `fldname` less "Date". `time`: Hour, Minute, Second too. `drop`: the column goes, else it
    becomes dates. ValueError if it is missing or is not dates. Used in lesson 3.
    """
    column = df[choose("column", fldname, df)]
    try:
        if is_numeric_dtype(column):  # pandas would count nanoseconds
            raise ValueError("it is numbers")
        date = pd.to_datetime(column)
    except (TypeError, ValueError) as e:
        raise ValueError(f"column {fldname!r} is not dates: {e}".splitlines()[0]) from None
    df[fldname], prefix = date, re.sub("[Dd]ate$", "", fldname)
    for part in DATE_PARTS + ["Hour", "Minute", "Second"] * time:
        of = date.dt.isocalendar().astype(date.dt.day.dtype) if part == "Week" else date.dt  # else UInt32
        df[prefix + part.replace("_of_", "of")] = getattr(of, part.lower())
    df[f"{prefix}Elapsed"] = (date - pd.Timestamp(0, tz=date.dt.tz)) // pd.Timedelta("1s")
    if drop:
        del df[fldname]


def get_elapsed(df: DataFrame, fld: str, pre: str) -> None:
    """Add the column pre + fld to `df`: the days from the Store's last row where `fld` holds to the row's own Date.

    By ascending Date: the days since the event; by descending: until it, negative. NaN without one. Used in lesson 3.
    """
    if is_string_dtype(df[choose("column", fld, df)].dtype):
        raise ValueError(f"column {fld!r} is text, of which even '0' would count: make it true or false first")
    event = df["Date"].where(df[fld].fillna(0).astype(bool))
    df[pre + fld] = (df["Date"] - event.groupby(df["Store"]).ffill()).dt.days


def train_cats(df: DataFrame) -> None:
    """Turn the columns of text of `df` into ordered categories, sorted. For tables of your own."""
    for name, column in df.items():
        if is_string_dtype(column.dtype):
            df[name] = column.astype("category").cat.as_ordered()


def apply_cats(df: DataFrame, trn: DataFrame) -> None:
    """Give the columns of `df` the categories of `trn`; a value that `trn` never had is missing. Used in lesson 3."""
    for name, column in trn.select_dtypes("category").items():
        if name in df:
            codes = df[name].astype("category").cat.set_categories(column.cat.categories, ordered=True)
            if codes.isna().all() and df[name].notna().any():
                kinds = f"{df[name].dtype} here, {column.cat.categories.dtype} there"
                raise ValueError(f"column {name!r}: no value is one of training ({kinds})")
            df[name] = codes


def proc_df(df: DataFrame, y_fld: str | None = None, skip_flds: Names | None = None, do_scale: bool = False,
            na_dict: Mapping[str, float] | None = None, mapper: StandardScaler | None = None,
            max_n_cat: int | None = None) -> list:  # fmt: skip
    """[table of numbers, y, na_dict], and the mapper if `do_scale`: what a model takes. `df` stays as it is.

    Gaps in numbers get the median of the column (na_dict) and a flag, the column NAME_na. `do_scale`: mean 0, standard
    deviation 1, by the mapper. Categories become 1, 2, …, or 0 if missing; those of up to `max_n_cat` values 0/1
    columns. New rows need na_dict and mapper of training; a gap in a column that had none then gets no flag.
    ValueError for a column that is not there, has no values, or is neither numbers nor categories. Used in lesson 3.
    """
    skipped = [choose("column", name, df) for name in [*(skip_flds or []), *([y_fld] if y_fld else [])]]
    y = None if y_fld is None else _codes(df[y_fld]).to_numpy(copy=True)
    df = df.drop(columns=skipped)
    if odd := [n for n, t in df.dtypes.items() if not (is_numeric_dtype(t) or isinstance(t, pd.CategoricalDtype))]:
        raise ValueError(f"column {odd[0]!r} is neither numbers nor categories: train_cats(df), or skip_flds")
    na_dict = _fill_missing(df, na_dict, mapper)
    if do_scale:
        if not (numbers := _numbers(df)):
            raise ValueError("do_scale=True, but there are no columns of numbers to scale")
        mapper = mapper or StandardScaler().fit(df[numbers].astype(float))
        names = [choose("column", name, df) for name in mapper.feature_names_in_]
        df[names] = mapper.transform(df[names].astype(float)).astype(np.float32)
    for name, column in df.select_dtypes("category").items():
        if max_n_cat is None or len(column.cat.categories) > max_n_cat:
            df[name] = _codes(column) + 1
    df = df if max_n_cat is None else pd.get_dummies(df, dummy_na=True)
    return [df, y, na_dict, mapper] if do_scale else [df, y, na_dict]


def _numbers(df: DataFrame) -> list[str]:
    return [name for name, dtype in df.dtypes.items() if is_numeric_dtype(dtype)]


def _codes(column: Series) -> Series:
    """Numbers as they are; anything else as the number of its category, in the smallest type, -1 if missing."""
    return column if is_numeric_dtype(column) else column.astype("category").cat.codes


def _fill_missing(df: DataFrame, na_dict: Mapping | None, mapper: StandardScaler | None) -> dict[str, float]:
    """Fill the gaps in `df`, with a flag for the columns in `na_dict` (None: for all), which it returns."""
    gaps = {name: df[name].median() for name in _numbers(df) if df[name].isna().any()}
    flagged = dict(gaps if na_dict is None else na_dict)
    means = dict(zip(mapper.feature_names_in_, mapper.mean_, strict=True)) if mapper else {}
    values = gaps | means | flagged
    for name in flagged | gaps:
        if np.isnan(values[choose("column", name, df)]):
            raise ValueError(f"column {name!r} has no values at all: drop it, or name it in skip_flds")
        if name in flagged:
            df[f"{name}_na"] = df[name].isna()
        df[name] = df[name].astype(float).fillna(values[name])
    return flagged


def exp_rmspe(y_pred: Any, targ: Any) -> float:
    """Root mean square of (sales - prediction) / sales, given logarithms; ValueError for sales of 0. Lesson 3."""
    pred, sales = as_tensor(y_pred).exp(), as_tensor(targ).exp()
    if wrong := int((~(sales > 0)).sum()):
        raise ValueError(f"RMSPE divides by the sales, and {wrong} of them are 0 or missing: leave closed days out")
    return (1 - pred.reshape(sales.shape) / sales).square().mean().sqrt().item()


class ColumnarDataset(ArrayDataset):
    """Columns, or groups of columns, and y: on the device, unless they would take half of a GPU's free memory."""

    def __init__(self, *arrays: Any) -> None:
        super().__init__(*arrays)
        if DEVICE.type != "cuda" or sum(a.nbytes for a in self.arrays) < torch.cuda.mem_get_info()[0] / 2:
            self.arrays = [to_device(a) for a in self.arrays]


class ColumnarLoader(BatchLoader):
    """Puts the table in order once an epoch: a batch is then a slice of it, faster than picking its rows."""

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rows = self._rows().to(self.dataset.arrays[0].device)
        batches = zip(*[a[rows].split(self.bs) for a in self.dataset.arrays], strict=True)
        return (tuple(map(to_device, batch)) for batch in islice(batches, len(self)))


class ColumnarModelData:
    """A table as loaders: trn_dl (shuffled), val_dl and test_dl (or None), these two with batches of 2 * bs rows."""

    def __init__(self, path: str | Path, val_idxs: Sequence[int], arrays: Sequence, bs: int, test: Any = None) -> None:
        """`arrays`: inputs and y, of which the rows `val_idxs` validate; `test`: the inputs of test rows."""
        if len({len(a) for a in arrays}) > 1:
            raise ValueError(f"inputs and targets differ in length: {[len(a) for a in arrays]}")
        val, trn = zip(*split_by_idx(val_idxs, *arrays), strict=True)
        self.path, self.bs, self.trn_ds, self.val_ds = Path(path), bs, ColumnarDataset(*trn), ColumnarDataset(*val)
        self.test_ds = test and ColumnarDataset(*test, np.zeros(len(test[0])))
        self.trn_dl, self.val_dl = ColumnarLoader(self.trn_ds, bs, shuffle=True), ColumnarLoader(self.val_ds, 2 * bs)
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
        return cls(path, val_idxs, arrays, bs, None if test_df is None else _matrices(test_df, *names))

    @classmethod
    def from_arrays(cls, path: str | Path, val_idxs: Sequence[int], xs: Any, y: Any, bs: int = 64,
                    test_xs: Any = None) -> Self:  # fmt: skip
        """Batches (column, …, y): `xs` is an array (n, columns) or list of columns, y (n,) or (n, k). For lesson 6."""
        xs, test = [x if x is None or isinstance(x, list) else list(np.transpose(x)) for x in (xs, test_xs)]
        return cls(path, val_idxs, [*map(np.asarray, xs), np.asarray(y)], bs, test)

    def get_learner(self, emb_szs: Sizes, n_cont: int, emb_drop: float, out_sz: int, szs: Sequence[int],
                    drops: Sequence[float], y_range: tuple[float, float] | None = None, use_bn: bool = False,
                    **kwargs: Any) -> Learner:  # fmt: skip
        """`MixedInputModel` with Adam and squared error (classes: cross entropy). ValueError: wrong sizes. Lesson 3."""
        for ds in filter(None, [self.trn_ds, self.val_ds, self.test_ds]):
            tops, columns = ds.arrays[0].amax(0).tolist(), ds.arrays[1].shape[1]
            low = [top for top, (rows, _) in zip(tops, emb_szs, strict=False) if top < rows]
            if not len(tops) == len(low) == len(emb_szs) or columns != n_cont or (ds.arrays[0] < 0).any():
                raise ValueError(f"the data have codes up to {tops} and n_cont {columns}: not as emb_szs, n_cont say")
        model = MixedInputModel(emb_szs, n_cont, emb_drop, out_sz, szs, drops, y_range, use_bn)
        crit = F.mse_loss if self.trn_y.dtype.kind == "f" else F.cross_entropy
        return Learner(self, model, **{"opt_fn": optim.Adam, "crit": crit, **kwargs})


def _matrices(df: DataFrame, cat_flds: list[str], cont_flds: list[str]) -> list[np.ndarray]:
    """[codes, other numbers] of a table, (n, n_cat) and (n, n_cont)."""
    for name in [choose("column", n, df) for n in [*cat_flds, *cont_flds]]:
        kind, fits, low = ("codes", is_integer_dtype, 0) if name in cat_flds else ("numbers", is_numeric_dtype, -np.inf)
        if not fits(df[name]) or not (df[name].ge(low) & np.isfinite(df[name].astype(float))).all():
            raise ValueError(f"column {name!r} is not {kind} yet: see proc_df")
    return [df[cat_flds].to_numpy(np.int64), df[cont_flds].to_numpy(np.float32)]


def check_codes(codes: Tensor, rows: Sequence[int]) -> None:
    """IndexError if a code, of (n, tables), has no row in its table. Not on a GPU, which would wait for the answer."""
    if codes.device.type == "cpu" and (codes.numpy().astype(np.uint64) >= rows).any():  # without a sign -1 is huge
        low, high = codes.amin(0).tolist(), codes.amax(0).tolist()
        raise IndexError(f"codes from {low} to {high} for tables of {list(rows)} rows")


class Embeddings(nn.Module):
    """Tables of (rows, width) numbers in one vector, so that one lookup serves all: 22 would keep a GPU waiting."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        tables = [torch.empty(size).uniform_(-2 / (size[1] + 1), 2 / (size[1] + 1)) for size in sizes]
        self.numbers, self.sizes = nn.Parameter(torch.cat([torch.empty(0), *[t.flatten() for t in tables]])), sizes
        starts = np.cumsum([0, *[table.numel() for table in tables]]).tolist()
        outputs = [(i, starts[i] + k, width) for i, (_, width) in enumerate(sizes) for k in range(width)]
        for name, value in zip(("table", "start", "width"), torch.tensor(outputs).long().view(-1, 3).T, strict=True):
            self.register_buffer(name, value.contiguous(), persistent=False)

    def __getitem__(self, i: int) -> nn.Embedding:
        """Table i, on the same memory."""
        parts = self.numbers.detach().split([rows * width for rows, width in self.sizes])
        return nn.Embedding.from_pretrained(parts[i].view(self.sizes[i]), freeze=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, tables), each below the rows of its table, to numbers (n, sum of the widths)."""
        check_codes(codes, [rows for rows, _ in self.sizes])
        places = codes.index_select(1, self.table) * self.width + self.start
        return self.numbers.index_select(0, places.flatten()).view_as(places)


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
            layers += [nn.Linear(n_in, n_out), nn.ReLU(True), *[nn.BatchNorm1d(n_out)] * use_bn, nn.Dropout(p)]
        self.hidden, self.outp = nn.Sequential(*layers), nn.Linear(widths[-1], out_sz)
        for linear in [m for m in self.modules() if isinstance(m, nn.Linear)]:
            nn.init.kaiming_normal_(linear.weight)

    @torch.autocast("cuda", enabled=False)  # bfloat16 has three digits: too few for the logarithm of sales
    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Codes, int64 (n, n_cat), and scaled numbers (n, n_cont), to (n,), or (n, out_sz) if that is not 1."""
        x = F.dropout(self.embs(x_cat), self.emb_drop, self.training)
        x = self.outp(self.hidden(torch.cat([x, x_cont], 1))).squeeze(1)  # no effect where out_sz is not 1
        if not self.y_range:
            return x
        low, high = map(float, self.y_range)
        return low + (high - low) * x.sigmoid()
