"""Data frames made ready: joined, dates taken apart, categories numbered, gaps filled."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from pandas.api.types import is_numeric_dtype, is_string_dtype
from sklearn.preprocessing import StandardScaler

from .choose import choose

__all__ = ["add_datepart", "apply_cats", "get_elapsed", "join_df", "proc_df", "train_cats"]

Names = Sequence[str]


DATE_PARTS = [
    "Year",
    "Month",
    "Week",
    "Day",
    "Day_of_week",
    "Day_of_year",
    "Is_month_end",
    "Is_month_start",
]
DATE_PARTS += [
    "Is_quarter_end",
    "Is_quarter_start",
    "Is_year_end",
    "Is_year_start",
]  # as pandas has them


def join_df(left: DataFrame, right: DataFrame, left_on: str | list[str], right_on: str | list[str] | None = None,
            suffix: str = "_y") -> DataFrame:  # fmt: skip
    """Every row of `left` with what `right` says of it; what both have gets `suffix` on the right. Used in lesson 3."""
    both = left.columns.intersection(right.columns)
    left = left.drop(columns=left.columns.intersection(both + suffix))  # of an earlier join
    return left.merge(
        right, how="left", left_on=left_on, right_on=right_on or left_on, suffixes=("", suffix)
    )


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
        of = (
            date.dt.isocalendar().astype(date.dt.day.dtype) if part == "Week" else date.dt
        )  # else UInt32
        df[prefix + part.replace("_of_", "of")] = getattr(of, part.lower())
    df[f"{prefix}Elapsed"] = (date - pd.Timestamp(0, tz=date.dt.tz)) // pd.Timedelta("1s")
    if drop:
        del df[fldname]


def get_elapsed(df: DataFrame, fld: str, pre: str) -> None:
    """Add the column pre + fld to `df`: the days from the Store's last row where `fld` holds to the row's own Date.

    By ascending Date: the days since the event; by descending: until it, negative. NaN without one. Used in lesson 3.
    """
    if is_string_dtype(df[choose("column", fld, df)].dtype):
        raise ValueError(
            f"column {fld!r} is text, of which even '0' would count: make it true or false first"
        )
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
            codes = (
                df[name].astype("category").cat.set_categories(column.cat.categories, ordered=True)
            )
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
    skipped = [
        choose("column", name, df) for name in [*(skip_flds or []), *([y_fld] if y_fld else [])]
    ]
    y = None if y_fld is None else _codes(df[y_fld]).to_numpy(copy=True)
    df = df.drop(columns=skipped)
    if odd := [
        n
        for n, t in df.dtypes.items()
        if not (is_numeric_dtype(t) or isinstance(t, pd.CategoricalDtype))
    ]:
        raise ValueError(
            f"column {odd[0]!r} is neither numbers nor categories: train_cats(df), or skip_flds"
        )
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


def _fill_missing(
    df: DataFrame, na_dict: Mapping | None, mapper: StandardScaler | None
) -> dict[str, float]:
    """Fill the gaps in `df`, with a flag for the columns in `na_dict` (None: for all), which it returns."""
    gaps = {name: df[name].median() for name in _numbers(df) if df[name].isna().any()}
    flagged = dict(gaps if na_dict is None else na_dict)
    means = dict(zip(mapper.feature_names_in_, mapper.mean_, strict=True)) if mapper else {}
    values = gaps | means | flagged
    for name in flagged | gaps:
        if np.isnan(values[choose("column", name, df)]):
            raise ValueError(
                f"column {name!r} has no values at all: drop it, or name it in skip_flds"
            )
        if name in flagged:
            df[f"{name}_na"] = df[name].isna()
        df[name] = df[name].astype(float).fillna(values[name])
    return flagged
