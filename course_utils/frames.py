"""Data frames made ready: joined, dates taken apart, categories numbered, gaps filled."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Number

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype, is_string_dtype
from sklearn.preprocessing import StandardScaler

from .choose import choose

__all__ = ["add_datepart", "apply_cats", "get_elapsed", "join_df", "proc_df", "train_cats"]

Names = Sequence[str]
Columns = dict[str, Series]  # name -> column

DATE_PARTS = [  # as pandas has them; in a table without "_of_"
    "Year",
    "Month",
    "Week",
    "Day",
    "Day_of_week",
    "Day_of_year",
    "Is_month_end",
    "Is_month_start",
    "Is_quarter_end",
    "Is_quarter_start",
    "Is_year_end",
    "Is_year_start",
]
TIME_PARTS = ["Hour", "Minute", "Second"]
LARGEST = float(np.finfo(np.float32).max)  # 3.4e38; what is larger becomes infinite


def join_df(
    left: DataFrame,
    right: DataFrame,
    left_on: str | list[str],
    right_on: str | list[str] | None = None,
    suffix: str = "_y",
) -> DataFrame:
    """Every row of `left` with what `right` says of it; what both have gets `suffix` on the right.

    A missing key finds nothing; a key that `right` has twice gives two rows. Columns of an earlier
    join, with the suffix, are replaced. ValueError for a key that is no column. Used in lesson 3.
    """
    left_keys = _listed(left_on)
    right_keys = left_keys if right_on is None else _listed(right_on)
    if len(left_keys) != len(right_keys):
        raise ValueError(f"{len(right_keys)} right_on for {len(left_keys)} left_on")
    for name in left_keys:
        choose("column of the left table", name, left)
    for name in right_keys:
        choose("column of the right table", name, right)
    has_key = right[right_keys].notna().all(axis=1)
    if not has_key.all():
        right = right[has_key]  # pandas takes two gaps for equal keys
    one_key = {name for name, other in zip(left_keys, right_keys, strict=True) if name == other}
    in_both = [name for name in left.columns.intersection(right.columns) if name not in one_key]
    earlier = left.columns.intersection([f"{name}{suffix}" for name in in_both])
    return left.drop(columns=earlier).merge(
        right, how="left", left_on=left_keys, right_on=right_keys, suffixes=("", suffix)
    )


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def add_datepart(df: DataFrame, fldname: str, drop: bool = True, time: bool = False) -> None:
    """Add to `df` Year, Month, Week (ISO), …, Is_year_start, Elapsed (seconds since 1970) of dates.

    Their names begin with `fldname` less "Date". `time`: Hour, Minute, Second too. `drop`: the
    column of dates goes, else it holds dates, not text. ValueError, and `df` as it was, if the
    column is missing or is not dates, or if `df` has one of the names for something else.
    Used in lesson 3.
    """
    date = _dates(df[choose("column", fldname, df)])
    prefix = re.sub("[Dd]ate$", "", fldname)
    parts = {f"{prefix}{name}": values for name, values in _date_parts(date, time).items()}
    for name, values in parts.items():
        if name in df and not _are_equal(df[name], values):
            raise ValueError(f"column {name!r} is there already, with other values: rename it")
    df[fldname] = date
    for name, values in parts.items():
        df[name] = values
    if drop:
        del df[fldname]


def _dates(column: Series) -> Series:
    """A column of dates, or of text, as dates; ValueError if it holds anything else."""
    try:
        if _holds(Number, column):
            raise ValueError("it is numbers")  # which pandas would count as nanoseconds
        return pd.to_datetime(column)
    except (TypeError, ValueError) as e:
        reason = str(e).splitlines()[0]
        raise ValueError(f"column {column.name!r} is not dates: {reason}") from None


def _holds(kind: type, column: Series) -> bool:
    """Whether a column, or the categories of one, holds numbers (`Number`) or text (`str`)."""
    if _is_category(column):
        column = column.cat.categories.to_series()
    if column.dtype == object:  # may hold anything
        return any(isinstance(value, kind) for value in column.dropna())
    is_kind = is_numeric_dtype if kind is Number else is_string_dtype
    return is_kind(column.dtype)


def _date_parts(date: Series, time: bool) -> dict[str, Series]:
    """Name of a part -> its column. A missing date gives missing parts."""
    parts = {}
    for name in DATE_PARTS + TIME_PARTS if time else DATE_PARTS:
        if name == "Week":
            weeks = date.dt.isocalendar()["week"]
            values = weeks.astype(date.dt.day.dtype)  # of a type that goes into a tensor
        else:
            values = getattr(date.dt, name.lower())
        parts[name.replace("_of_", "of")] = values
    first = pd.Timestamp(0, tz=date.dt.tz)
    parts["Elapsed"] = (date - first) // pd.Timedelta("1s")
    return parts


def _are_equal(one: Series, other: Series) -> bool:
    """Whether two columns hold the same values, whatever their types; two gaps are equal."""
    a, b = (column.astype(object).where(column.notna(), None) for column in (one, other))
    return a.equals(b)


def get_elapsed(df: DataFrame, fld: str, pre: str) -> None:
    """Add to `df` the column pre + fld: the days since the Store's last row where `fld` holds.

    Sorted by ascending Date: the days since the event; by descending: until it, negative. NaN
    without one; a gap is no event. ValueError for a column that is missing, for an event that is
    text, for Dates that are not dates. Used in lesson 3.
    """
    for name in (fld, "Store", "Date"):
        choose("column", name, df)
    if _holds(str, df[fld]):
        raise ValueError(
            f"column {fld!r} is text, of which even '0' would count: make it true or false first"
        )
    if not is_datetime64_any_dtype(df["Date"]):
        raise ValueError("column 'Date' is not dates yet: add_datepart(df, 'Date', drop=False)")
    happens = df[fld].notna().to_numpy(copy=True)
    happens[happens] = df[fld][happens].to_numpy().astype(bool)
    event = df["Date"].where(happens)  # its date in the row of an event, else a gap
    last = event.groupby(df["Store"], observed=True).ffill()  # the gaps filled, shop by shop
    df[pre + fld] = (df["Date"] - last).dt.days


def train_cats(df: DataFrame) -> None:
    """Turn the columns of text of `df` into ordered categories, sorted. For tables of your own.

    Anything else stays: numbers, dates, categories; and lists, which cannot be categories.
    """
    for name, column in df.items():
        if is_string_dtype(column.dtype):
            with suppress(TypeError):  # of a list
                df[name] = column.astype("category").cat.as_ordered()


def apply_cats(df: DataFrame, trn: DataFrame) -> None:
    """Give the columns of `df` the categories of `trn`; a value that `trn` never had is missing.

    ValueError, and `df` as it was, for a column none of whose values is one of training: numbers
    here, text there. Used in lesson 3.
    """
    known = {}
    for name, column in trn.select_dtypes("category").items():
        if name in df:
            known[name] = _with_categories(df[name], column.cat.categories)
    for name, column in known.items():
        df[name] = column


def _with_categories(column: Series, categories: pd.Index) -> Series:
    found = column.astype("category").cat.set_categories(categories, ordered=True)
    if found.isna().all() and column.notna().any():
        kinds = f"{column.dtype} here, {categories.dtype} there"
        raise ValueError(f"column {column.name!r}: no value is one of training ({kinds})")
    return found


def proc_df(
    df: DataFrame,
    y_fld: str | None = None,
    skip_flds: Names | None = None,
    do_scale: bool = False,
    na_dict: Mapping[str, float] | None = None,
    mapper: StandardScaler | None = None,
    max_n_cat: int | None = None,
) -> list:
    """[table of numbers, y, na_dict], and the mapper if `do_scale`: what a model takes.

    `df` stays as it is. Gaps in numbers get the median of the column (na_dict) and a flag, the
    column NAME_na. `do_scale`: mean 0, standard deviation 1, by the mapper. Categories become 1, 2,
    …, or 0 if missing; those of up to `max_n_cat` values 0/1 columns. New rows need na_dict and
    mapper of training; a gap in a column that had none then gets no flag. ValueError for a column
    that is not there, has no values, or is neither numbers nor categories, and where a flag would
    take the place of a column. Used in lesson 3.
    """
    if mapper is not None and not do_scale:
        raise ValueError("mapper is of no use without do_scale=True")
    columns = _inputs(df, y_fld, skip_flds)
    y = None if y_fld is None else _codes(df[y_fld]).to_numpy(copy=True)
    medians = _medians_where_gaps(columns)
    if na_dict is None:
        na_dict = medians  # these rows are those of training
    na_dict = dict(na_dict)
    known = medians | _means(mapper) | na_dict  # what training says of a column goes before
    fillers = {name: known[name] for name in na_dict | medians}
    filled = _filled(columns, fillers)
    columns |= _flags(columns, na_dict) | filled
    if do_scale:
        numbers = _numbers(columns, mapper)
        mapper = StandardScaler().fit(numbers) if mapper is None else mapper
        columns |= _scaled(numbers, mapper)
    columns |= _numbered(columns, max_n_cat)
    table = DataFrame(columns, index=df.index)
    if max_n_cat is not None:
        table = pd.get_dummies(table, dummy_na=True)  # of the categories that are left
        check_names_differ(table)
    return [table, y, na_dict, mapper] if do_scale else [table, y, na_dict]


def check_names_differ(df: DataFrame) -> None:
    """ValueError for a name that two columns have."""
    twice = df.columns[df.columns.duplicated()]
    if len(twice):
        raise ValueError(f"column {twice[0]!r} is there twice: rename one")


def _inputs(df: DataFrame, y_fld: str | None, skip_flds: Names | None) -> Columns:
    """All columns but y and those to skip; ValueError unless they are numbers or categories."""
    check_names_differ(df)
    others = list(skip_flds or [])
    if y_fld is not None:
        others.append(y_fld)
    for name in others:
        choose("column", name, df)
    columns = dict(df.drop(columns=others).items())
    for name, column in columns.items():
        if not (is_numeric_dtype(column) or _is_category(column)):
            raise ValueError(
                f"column {name!r} is neither numbers nor categories: train_cats(df), or skip_flds"
            )
    return columns


def _is_category(column: Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _medians_where_gaps(columns: Columns) -> dict[str, float]:
    """Of each column of numbers that has gaps; NaN if it has nothing else."""
    medians = {}
    for name, column in columns.items():
        n_known = column.count()
        if is_numeric_dtype(column) and n_known < len(column):
            medians[name] = column.median() if n_known else np.nan
    return medians


def _means(mapper: StandardScaler | None) -> dict[str, float]:
    """The mean of each column of training: a gap that gets it is an average row."""
    if mapper is None:
        return {}
    return dict(zip(_names(mapper), mapper.mean_, strict=True))


def _names(mapper: StandardScaler) -> list[str]:
    if not hasattr(mapper, "feature_names_in_"):
        raise ValueError("the mapper knows no names of columns: take the one of proc_df")
    return list(mapper.feature_names_in_)


def _filled(columns: Columns, fillers: Mapping[str, float]) -> Columns:
    filled = {}
    for name, value in fillers.items():
        column = _of_numbers(columns, name)
        if np.isnan(value):
            raise ValueError(
                f"column {name!r} has no values at all: drop it, or name it in skip_flds"
            )
        filled[name] = column.astype(float).fillna(value)
    return filled


def _of_numbers(columns: Columns, name: str) -> Series:
    column = columns[choose("column", name, columns)]
    if not is_numeric_dtype(column):
        raise ValueError(f"column {name!r} is categories here, and was numbers in training")
    return column


def _flags(columns: Columns, na_dict: Mapping[str, float]) -> Columns:
    """NAME_na for each column in `na_dict`: where its gaps are."""
    flags = {}
    for name in na_dict:
        flag = f"{name}_na"
        if flag in columns:
            raise ValueError(f"column {flag!r} is there, and the gaps of {name!r} need that name")
        flags[flag] = columns[name].isna()
    return flags


def _numbers(columns: Columns, mapper: StandardScaler | None) -> DataFrame:
    """The columns to scale: those of the mapper, else all of numbers, as float64."""
    if mapper is None:
        names = [name for name, column in columns.items() if is_numeric_dtype(column)]
    else:
        names = _names(mapper)
    if not names:
        raise ValueError("do_scale=True, but there are no columns of numbers to scale")
    numbers = DataFrame({name: _of_numbers(columns, name).astype(float) for name in names})
    for name, largest in numbers.abs().max().items():
        if not isinstance(name, str):
            raise ValueError(f"the name of column {name!r} must be text, to be scaled")
        if largest > LARGEST:
            raise ValueError(f"column {name!r} has numbers too large for float32: {largest:g}")
    return numbers


def _scaled(numbers: DataFrame, mapper: StandardScaler) -> Columns:
    scaled = mapper.transform(numbers).astype(np.float32)  # (n, columns)
    return dict(DataFrame(scaled, index=numbers.index, columns=numbers.columns).items())


def _numbered(columns: Columns, max_n_cat: int | None) -> Columns:
    """The categories as 1, 2, …, 0 if missing; but those that become 0/1 columns."""
    numbered = {}
    for name, column in columns.items():
        if _is_category(column):
            n_values = len(column.cat.categories)
            if max_n_cat is None or n_values > max_n_cat:
                numbered[name] = _codes(column) + 1
    return numbered


def _codes(column: Series) -> Series:
    """Numbers as they are; else the number of the category, in the smallest type, -1 if missing."""
    if is_numeric_dtype(column):
        return column
    return column.astype("category").cat.codes
