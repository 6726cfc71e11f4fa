import calendar
import copy
import datetime as dt
import math
import time

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from course_utils import files
from course_utils.core import DEVICE, get_cv_idxs, set_seed, to_np
from course_utils.data import get_data
from course_utils.learner import fit
from course_utils.tabular import (
    ColumnarModelData,
    Embeddings,
    MixedInputModel,
    add_datepart,
    apply_cats,
    exp_rmspe,
    get_elapsed,
    join_df,
    proc_df,
    train_cats,
)


def one_line(error) -> str:
    """The message of an error, which must be a single line."""
    assert "\n" not in str(error.value)
    return str(error.value)


# join_df


def test_join_keeps_every_row_of_the_left_in_order_and_marks_double_names():
    left = pd.DataFrame({"key": ["b", "a", "c", "a"], "x": [1, 2, 3, 4]})
    right = pd.DataFrame({"name": ["a", "b"], "x": [10, 20]})
    found = join_df(left, right, "key", "name")
    assert list(found.columns) == ["key", "x", "name", "x_y"]
    assert found["x"].tolist() == [1, 2, 3, 4]
    assert found["x_y"].fillna(-1).tolist() == [20, 10, -1, 10]


def test_a_column_of_the_left_that_only_looks_like_a_double_stays():
    left = pd.DataFrame({"key": [1, 2], "a_y": [3, 4]})
    found = join_df(left, pd.DataFrame({"key": [1, 2], "a": [5, 6]}), "key")
    assert found.to_dict("list") == {"key": [1, 2], "a_y": [3, 4], "a": [5, 6]}


def test_a_second_join_replaces_the_double_names_of_the_first():
    left = pd.DataFrame({"key": ["a"], "x": [1]})
    for value in (2, 3):
        left = join_df(left, pd.DataFrame({"key": ["a"], "x": [value]}), ["key"])
    assert left.to_dict("records") == [{"key": "a", "x": 1, "x_y": 3}]


# add_datepart


def parts_by_hand(day: dt.datetime) -> dict:
    """What the standard library says of a date."""
    last = calendar.monthrange(day.year, day.month)[1]
    quarter = {"start": (1, 4, 7, 10), "end": (3, 6, 9, 12)}
    return {
        "Year": day.year, "Month": day.month, "Week": day.isocalendar()[1], "Day": day.day, "Dayofweek": day.weekday(),
        "Dayofyear": day.timetuple().tm_yday, "Is_month_end": day.day == last, "Is_month_start": day.day == 1,
        "Is_quarter_end": day.day == last and day.month in quarter["end"],
        "Is_quarter_start": day.day == 1 and day.month in quarter["start"],
        "Is_year_end": (day.month, day.day) == (12, 31), "Is_year_start": (day.month, day.day) == (1, 1),
        "Elapsed": int(day.replace(tzinfo=dt.UTC).timestamp()),
    }  # fmt: skip


def test_date_parts_are_those_of_the_standard_library():
    first = dt.datetime(1899, 12, 25)
    days = [first + dt.timedelta(days=int(d)) for d in np.random.default_rng(0).integers(0, 60_000, 300)]
    days += [dt.datetime(y, m, d) for y in (2012, 2013, 2016) for m, d in [(1, 1), (2, 28), (3, 31), (6, 30), (12, 31)]]
    df = pd.DataFrame({"Date": [f"{d:%Y-%m-%d}" for d in days]})
    assert add_datepart(df, "Date") is None
    expected = pd.DataFrame([parts_by_hand(d) for d in days])
    pd.testing.assert_frame_equal(df, expected, check_dtype=False)
    assert {t.kind for t in df.dtypes} == {"i", "b"}  # no types of pandas' own: they would not go into a tensor


def test_the_names_of_the_parts_begin_with_the_column_less_date():
    df = pd.DataFrame({"saledate": ["2011-11-16 13:05:59"], "x": [1]})
    add_datepart(df, "saledate", drop=False, time=True)
    assert list(df.columns[:4]) == ["saledate", "x", "saleYear", "saleMonth"]
    assert list(df.columns[-4:]) == ["saleHour", "saleMinute", "saleSecond", "saleElapsed"]
    assert df.iloc[0, -4:].tolist() == [13, 5, 59, 1321448759]
    assert df["saledate"].iloc[0] == pd.Timestamp(2011, 11, 16, 13, 5, 59)


def test_a_missing_date_gives_missing_parts_not_numbers_from_nowhere():
    df = pd.DataFrame({"Date": ["2013-01-01", None]})
    add_datepart(df, "Date")
    assert df.loc[1, ["Year", "Week", "Day", "Elapsed"]].isna().all()
    assert df.loc[0, ["Year", "Week", "Day", "Elapsed"]].tolist() == [2013, 1, 1, 1356998400]


def test_dates_with_a_time_zone():
    df = pd.DataFrame({"Date": pd.to_datetime(["2013-01-01 01:00"]).tz_localize("Europe/Berlin")})
    add_datepart(df, "Date")
    assert df.loc[0, ["Year", "Elapsed"]].tolist() == [2013, 1356998400]


def test_a_column_that_is_not_there_or_holds_no_dates_is_named():
    df = pd.DataFrame({"Date": ["2013-01-01", "Monday"], "Data": [1, 2]})
    with pytest.raises(ValueError, match=r"unknown column 'Dat'; did you mean 'Dat.'\? known: Data, Date") as e:
        add_datepart(df, "Dat")
    one_line(e)
    with pytest.raises(ValueError, match="column 'Date' is not dates: ") as e:
        add_datepart(df, "Date")
    one_line(e)
    assert list(df) == ["Date", "Data"]


# get_elapsed


def elapsed_by_hand(df: pd.DataFrame, fld: str) -> list[float]:
    """The loop over the rows, as in the video."""
    last, found = {}, []
    for store, date, event in zip(df["Store"], df["Date"], df[fld], strict=True):
        if event:
            last[store] = date
        found.append((date - last[store]).days if store in last else math.nan)
    return found


def random_days(seed: int, stores: int = 4, days: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    df = pd.MultiIndex.from_product([range(stores), pd.date_range("2013-01-01", periods=days)]).to_frame(index=False)
    df.columns = ["Store", "Date"]
    df["Promo"] = (rng.random(len(df)) < rng.choice([0, 0.02, 0.3])).astype(int)
    return df.iloc[rng.permutation(len(df))[: int(len(df) * 0.8)]]  # with gaps


@pytest.mark.parametrize("ascending", [True, False])
def test_elapsed_days_are_those_of_a_loop(ascending):
    for seed in range(40):
        df = random_days(seed).sort_values(["Store", "Date"], ascending=[True, ascending])
        expected = elapsed_by_hand(df, "Promo")
        get_elapsed(df, "Promo", "After")
        np.testing.assert_array_equal(df["AfterPromo"], expected)
        assert (df["AfterPromo"].dropna().abs() < 400).all()  # no smallest of all integers for "never" (T8)


def test_elapsed_by_hand():
    df = pd.DataFrame({"Store": 1, "Date": pd.date_range("2013-01-01", periods=4), "Promo": [0, 1, 0, 0]})
    get_elapsed(df, "Promo", "After")
    assert df["AfterPromo"].fillna(99).tolist() == [99, 0, 1, 2]
    with pytest.raises(ValueError, match="unknown column 'Prom'; did you mean 'Promo'"):
        get_elapsed(df, "Prom", "After")
    df = df[::-1].copy()
    get_elapsed(df, "Promo", "Before")
    assert df["BeforePromo"].fillna(99).tolist() == [99, 99, 0, -1]


def row_loop(df: pd.DataFrame, fld: str) -> list[float]:
    """The loop of the video, on NumPy's scalars."""
    store, last, found = 0, np.datetime64("NaT"), []
    for s, event, date in zip(df["Store"].to_numpy(), df[fld].to_numpy(), df["Date"].to_numpy(), strict=True):
        if s != store:
            store, last = s, np.datetime64("NaT")
        if event:
            last = date
        found.append((date - last).astype("timedelta64[D]") / np.timedelta64(1, "D"))
    return found


def test_a_gap_is_no_event_and_text_is_refused():
    df = pd.DataFrame({"Store": 1, "Date": pd.date_range("2020-01-01", periods=4), "Promo": [0, np.nan, 1, 0]})
    get_elapsed(df, "Promo", "After")
    assert df["AfterPromo"].fillna(-9).tolist() == [-9, -9, 0, 1]
    with pytest.raises(ValueError, match="column 'Promo' is text"):
        get_elapsed(df.astype({"Promo": str}), "Promo", "After")


def test_elapsed_takes_a_twentieth_of_the_time_of_a_loop():
    df = random_days(0, stores=150, days=1000).sort_values(["Store", "Date"])
    start = time.process_time()
    expected = row_loop(df, "Promo")
    middle = time.process_time()
    get_elapsed(df, "Promo", "After")
    end = time.process_time()
    assert end - middle < (middle - start) / 20
    np.testing.assert_array_equal(df["AfterPromo"], expected)


# train_cats, apply_cats


def test_text_becomes_ordered_categories_and_nothing_else_changes():
    df = pd.DataFrame({"s": ["b", "a", None], "n": [1, 2, 3], "c": pd.Categorical(["y", "x", "y"], ["y", "x"])})
    assert train_cats(df) is None
    assert df["s"].cat.categories.tolist() == ["a", "b"]
    assert df["s"].cat.ordered
    assert df["s"].cat.codes.tolist() == [1, 0, -1]
    assert df["c"].cat.categories.tolist() == ["y", "x"]
    assert df["n"].tolist() == [1, 2, 3]


@pytest.mark.filterwarnings("error")
def test_a_category_never_seen_in_training_is_number_zero():
    trn = pd.DataFrame({"s": ["a", "b", "d"], "k": pd.Categorical([7, 8, 9])})
    train_cats(trn)
    new = pd.DataFrame({"s": ["d", "c", None, "a"], "k": [9.0, 5.0, 7.0, 8.0], "other": [1, 2, 3, 4]})
    apply_cats(new, trn)
    codes, _, _ = proc_df(new)
    assert codes["s"].tolist() == [3, 0, 0, 1]
    assert codes["k"].tolist() == [3, 0, 1, 2]
    assert codes["other"].tolist() == [1, 2, 3, 4]
    assert proc_df(trn)[0]["s"].tolist() == [1, 2, 3]


def test_categories_of_another_type_are_refused():
    trn = pd.DataFrame({"shop": ["1", "2"]})
    train_cats(trn)
    with pytest.raises(ValueError, match=r"'shop': no value is one of training \(int64 here, (str|object) there\)$"):
        apply_cats(pd.DataFrame({"shop": [1, 2]}), trn)
    apply_cats(new := pd.DataFrame({"shop": [None, None]}, dtype=object), trn)  # nothing known is another matter
    assert new["shop"].isna().all()


def test_categories_applied_twice_stay():
    trn = pd.DataFrame({"s": ["a", "b"]})
    train_cats(trn)
    new = pd.DataFrame({"s": ["b"]})
    for _ in range(2):
        apply_cats(new, trn)
    assert new["s"].cat.codes.tolist() == [1]


# proc_df


def random_table(seed: int) -> pd.DataFrame:
    """Numbers, flags and categories, with gaps, in random order of columns; y is full."""
    rng = np.random.default_rng(seed)
    n = 30

    def holes(values):
        return pd.Series(values).where(rng.random(n) > rng.choice([0, 0.3]))

    columns = {
        "y": pd.Series(rng.normal(size=n)), "int": pd.Series(rng.integers(0, 9, n)), "float": holes(rng.normal(size=n)),
        "float32": holes(rng.normal(size=n)).astype("float32"), "flag": pd.Series(rng.random(n) < 0.5),
        "Int": holes(rng.integers(0, 5, n)).astype("Int64"), "text": holes(rng.choice(["p", "q", "r"], n)),
        "cat": holes(rng.choice([3, 1, 2], n)).astype("category"), "skip": pd.Series(["?"] * n),
    }  # fmt: skip
    df = pd.DataFrame({name: columns[name] for name in rng.permutation(list(columns)).tolist()})
    train_cats(df)
    return df


def plain(df: pd.DataFrame, y_fld: str, skip: str, na_dict: dict | None, known: dict) -> tuple[dict, dict]:
    """`proc_df` in plain Python: ({name: list}, na_dict). `known`: what to put into gaps that training had not."""
    x, nas, flags = {}, {}, {}
    for name in [c for c in df if c not in (y_fld, skip)]:
        values = [None if pd.isna(v) else v for v in df[name].tolist()]
        if isinstance(df[name].dtype, pd.CategoricalDtype):
            names = df[name].cat.categories.tolist()
            x[name] = [0 if v is None else names.index(v) + 1 for v in values]
            continue
        there = sorted(float(v) for v in values if v is not None)
        middle = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
        if (len(there) < len(values)) if na_dict is None else name in na_dict:
            nas[name] = middle if na_dict is None else na_dict[name]
            flags[f"{name}_na"] = [v is None for v in values]
        filler = nas.get(name, known.get(name, middle))
        x[name] = [filler if v is None else float(v) for v in values]
    return x | flags, nas


def assert_like(table: pd.DataFrame, expected: dict) -> None:
    assert set(table.columns) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name].to_numpy(float), np.array(values, float), rtol=1e-6, err_msg=name)


def test_tables_of_all_kinds_come_out_as_from_plain_python():
    flagged = 0
    for seed in range(40):
        df = random_table(seed)
        x, y, nas = proc_df(df, "y", skip_flds=["skip"])
        expected, expected_nas = plain(df, "y", "skip", None, {})
        assert_like(x, expected)
        np.testing.assert_array_equal(y, df["y"])
        assert nas == pytest.approx(expected_nas)
        flagged += len(nas)
    assert flagged > 40


def test_new_rows_are_treated_as_those_of_training():
    for seed in range(40):
        trn, new = random_table(seed), random_table(100 + seed)
        _, _, nas, mapper = proc_df(trn, "y", skip_flds=["skip"], do_scale=True)
        apply_cats(new, trn)
        x, _, nas_again, mapper_again = proc_df(new, "y", ["skip"], do_scale=True, na_dict=nas, mapper=mapper)
        means = dict(zip(mapper.feature_names_in_, mapper.mean_, strict=True))
        expected, _ = plain(new, "y", "skip", nas, means)
        scaled = mapper.transform(pd.DataFrame(expected)[mapper.feature_names_in_].astype(float))
        expected |= dict(zip(mapper.feature_names_in_, scaled.T, strict=True))
        assert set(x.columns) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(x[name].to_numpy(float), values, rtol=1e-5, atol=1e-6, err_msg=name)
        assert (nas_again, mapper_again) == (nas, mapper)


def test_a_gap_that_training_did_not_have_becomes_an_average_row():
    trn = pd.DataFrame({"x": [1.0, 2.0, 6.0]})
    _, _, nas, mapper = proc_df(trn, do_scale=True)
    new, *_ = proc_df(pd.DataFrame({"x": [None, 6.0]}, dtype=float), do_scale=True, na_dict=nas, mapper=mapper)
    assert list(new) == ["x"]
    np.testing.assert_allclose(new["x"], [0, 3 / np.std([1, 2, 6])], atol=1e-6)


def test_scaling_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(3, 7, (500, 3)), columns=["a", "b", "c"])
    df["same"], df["c"] = 5.0, df["c"].where(df["c"] > 0)
    x, _, _, mapper = proc_df(df, do_scale=True)
    raw, *_ = proc_df(df)
    np.testing.assert_allclose(x, StandardScaler().fit_transform(raw.astype(float)), rtol=1e-5, atol=1e-6)
    assert isinstance(mapper, StandardScaler)
    assert set(x.dtypes) == {np.dtype("float32")}


def test_the_table_given_stays_as_it_is():
    for seed in range(5):
        df, nas = random_table(seed), {"float": 0.5}
        before, nas_before = df.copy(deep=True), dict(nas)
        x, y, *_ = proc_df(df, "y", skip_flds=["skip"], do_scale=True, na_dict=nas)
        x.iloc[:, :], y[:] = 0, 0
        pd.testing.assert_frame_equal(df, before)
        assert nas == nas_before


@pytest.mark.parametrize(("n", "dtype"), [(126, "int8"), (127, "int16"), (32766, "int16"), (32767, "int32")])
def test_codes_take_the_smallest_type_that_holds_them_all(n, dtype):
    x, *_ = proc_df(pd.DataFrame({"c": pd.Categorical(range(n))}))
    assert x["c"].dtype == dtype
    assert x["c"].tolist() == list(range(1, n + 1))


def test_small_categories_become_columns_of_zero_and_one():
    df = pd.DataFrame({"big": list("abcd"), "small": ["u", "v", None, "u"], "x": [1, 2, 3, 4]})
    train_cats(df)
    x, *_ = proc_df(df, max_n_cat=2)
    assert list(x) == ["big", "x", "small_u", "small_v", "small_nan"]
    assert x.astype(int).to_numpy().tolist() == [
        [1, 1, 1, 0, 0],
        [2, 2, 0, 1, 0],
        [3, 3, 0, 0, 1],
        [4, 4, 1, 0, 0],
    ]


def test_targets_may_be_text_or_absent():
    df = pd.DataFrame({"x": [1, 2, 3], "y": ["no", "yes", "no"]})
    assert proc_df(df, "y")[1].tolist() == [0, 1, 0]
    assert proc_df(df[["x"]])[1] is None


@pytest.mark.parametrize(
    ("columns", "kwargs", "message"),
    [
        ({"x": [1]}, {"y_fld": "Sales"}, "unknown column 'Sales'; known: x"),
        ({"x": [1]}, {"skip_flds": ["xx"]}, "unknown column 'xx'; did you mean 'x'? known: x"),
        ({"x": [1]}, {"na_dict": {"d": 1.0}}, "unknown column 'd'; known: x"),
        ({"s": ["a"]}, {}, "column 's' is neither numbers nor categories: train_cats(df), or skip_flds"),
        ({"d": [pd.Timestamp(2013, 1, 1)]}, {}, "column 'd' is neither numbers nor categories: train_cats(df), or"),
        ({"d": [pd.Timedelta(1)]}, {}, "column 'd' is neither numbers nor categories: train_cats(df), or skip_flds"),
        ({"x": [math.nan, math.nan]}, {}, "column 'x' has no values at all: drop it, or name it in skip_flds"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(columns, kwargs, message):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        proc_df(pd.DataFrame(columns), **kwargs)
    assert one_line(e).startswith(message)


def test_a_column_missing_from_new_rows_is_named():
    _, _, nas, mapper = proc_df(pd.DataFrame({"Distance": [1.0, 2.0], "z": [1, 5]}), do_scale=True)
    with pytest.raises(ValueError, match="unknown column 'Distance'; known: z"):
        proc_df(pd.DataFrame({"z": [1]}), do_scale=True, na_dict=nas, mapper=mapper)


# exp_rmspe


def test_rmspe_by_hand():
    sales, predicted = np.array([100.0, 200, 400]), np.array([110.0, 150, 400])
    expected = math.sqrt((0.1**2 + 0.25**2 + 0) / 3)
    assert exp_rmspe(np.log(predicted), np.log(sales)) == pytest.approx(expected)
    column = torch.tensor(predicted).log()[:, None]
    assert exp_rmspe(column, torch.tensor(sales).log()) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, math.nan])
def test_rmspe_with_sales_of_zero_is_refused(bad):
    with np.errstate(divide="ignore"):
        targ = np.log(np.array([100.0, bad]))
    with pytest.raises(ValueError, match="RMSPE divides by the sales, and 1 of them are 0 or missing") as e:
        exp_rmspe(np.zeros(2), targ)
    one_line(e)


# ColumnarModelData


def small_data(path, n: int = 50, **kwargs) -> ColumnarModelData:
    """Three columns, the middle one a category; row i has x = i and code i % 4."""
    df = pd.DataFrame({"x": np.arange(n, dtype=float), "c": np.arange(n) % 4, "flag": np.arange(n) % 2 == 0})
    return ColumnarModelData.from_data_frame(path, range(10), df, np.arange(n) * 10.0, ["c"], **{"bs": 8, **kwargs})


def test_batches_of_a_table(tmp_path):
    data = small_data(tmp_path)
    cats, conts, y = next(iter(data.val_dl))
    assert (cats.dtype, conts.dtype, y.dtype) == (torch.int64, torch.float32, torch.float32)
    assert (cats.shape, conts.shape, y.shape) == ((10, 1), (10, 2), (10,))  # all ten in one batch of 16
    assert conts.tolist() == [[float(i), float(i % 2 == 0)] for i in range(10)]
    assert cats[:, 0].tolist() == [i % 4 for i in range(10)]
    assert (data.bs, data.val_dl.bs, data.test_dl) == (8, 16, None)
    np.testing.assert_array_equal(data.val_y, np.arange(10) * 10)
    np.testing.assert_array_equal(data.trn_y, np.arange(10, 50) * 10)


def test_training_rows_come_once_an_epoch_and_together_with_their_targets(tmp_path):
    data = small_data(tmp_path)
    set_seed(0)
    orders = []
    for _ in range(2):
        cats, conts, y = (torch.cat(part) for part in zip(*data.trn_dl, strict=True))
        torch.testing.assert_close(y, conts[:, 0] * 10)
        assert (cats[:, 0] == conts[:, 0] % 4).all()
        orders.append(conts[:, 0].tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10, 50))
    assert orders[0] != orders[1]


def test_test_rows_take_the_columns_in_the_order_of_training(tmp_path):
    test = pd.DataFrame({"flag": [True], "c": [3], "x": [7.0], "more": [1]})
    cats, conts, _ = next(iter(small_data(tmp_path, test_df=test).test_dl))
    assert (cats.tolist(), conts.tolist()) == ([[3]], [[7.0, 1.0]])


@pytest.mark.parametrize(("y", "is_reg"), [([1, np.nan, 2], True), ([1, np.inf, 2], True), ([0, 1, 1.5], False)])
def test_targets_that_are_no_targets_are_refused(tmp_path, y, is_reg):
    with pytest.raises(ValueError, match="y has gaps, infinite values, or"):
        ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame({"x": [1.0, 2, 3]}), y, [], is_reg=is_reg)


def test_a_column_of_targets_is_one_target(tmp_path):
    df = pd.DataFrame({"x": [1.0, 2, 3], "y": [4.0, 5, 6]})
    data = ColumnarModelData.from_data_frame(tmp_path, [0], df[["x"]], df[["y"]], [])
    assert data.trn_y.tolist() == [5, 6]


def test_numbers_are_no_dates():
    with pytest.raises(ValueError, match="column 'Date' is not dates: it is numbers"):
        add_datepart(pd.DataFrame({"Date": [20150101]}), "Date")


def test_there_must_be_numbers_to_scale():
    df = pd.DataFrame({"shop": ["a", "b"]})
    train_cats(df)
    with pytest.raises(ValueError, match="no columns of numbers to scale"):
        proc_df(df, do_scale=True)


def test_class_numbers_stay_whole(tmp_path):
    data = ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame({"x": [1.0, 2, 3]}), [1, 0, 2], [], 2, False)
    cats, conts, y = next(iter(data.val_dl))
    assert (cats.shape, conts.shape, y.tolist(), y.dtype) == ((1, 0), (1, 1), [1], torch.int64)


@pytest.mark.parametrize("as_list", [True, False])
def test_batches_of_arrays_have_a_tensor_for_each_column(tmp_path, as_list):
    columns = [np.arange(9) + 100 * k for k in range(3)]
    xs = columns if as_list else np.stack(columns, 1)
    test = [c[:2] for c in columns] if as_list else np.stack(columns, 1)[:2]
    data = ColumnarModelData.from_arrays(tmp_path, [-1], xs, np.arange(9) * 2, bs=4, test_xs=test)
    *xs, y = next(iter(data.val_dl))
    assert [x.tolist() for x in xs] == [[8], [108], [208]]
    assert (y.tolist(), y.dtype, xs[0].dtype) == ([16], torch.int64, torch.int64)
    assert [len(batch) for batch in data.trn_dl] == [4, 4]
    *xs, _ = next(iter(data.test_dl))
    assert [x.tolist() for x in xs] == [[0, 1], [100, 101], [200, 201]]


def test_a_target_may_have_several_columns(tmp_path):
    data = ColumnarModelData.from_arrays(tmp_path, [0], np.ones((5, 2)), np.arange(15).reshape(5, 3))
    assert next(iter(data.val_dl))[-1].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("df", "y", "cats", "message"),
    [
        ({"x": [1.0, 2]}, [1, 2], ["Store"], "unknown column 'Store'; known: x"),
        ({"c": ["a", "b"]}, [1, 2], ["c"], "column 'c' is not codes yet: see proc_df"),
        ({"c": [1.0, 2]}, [1, 2], ["c"], "column 'c' is not codes yet: see proc_df"),
        ({"c": [1, -1]}, [1, 2], ["c"], "column 'c' is not codes yet: see proc_df"),
        ({"c": ["a", "b"]}, [1, 2], [], "column 'c' is not numbers yet: see proc_df"),
        ({"x": [1.0, math.nan]}, [1, 2], [], "column 'x' is not numbers yet: see proc_df"),
        ({"x": [1.0, 2]}, [1], [], "inputs and targets differ in length: [2, 2, 1]"),
    ],
)
def test_tables_that_are_not_ready_are_refused(tmp_path, df, y, cats, message):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame(df), y, cats)
    assert one_line(e) == message


# The model


class Reference(nn.Module):
    """The model as in the video: a table for each category, looked up one by one."""

    def __init__(self, model: MixedInputModel) -> None:
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(*table.weight.shape) for table in model.embs)
        for mine, theirs in zip(self.embs, model.embs, strict=True):
            mine.weight.data = theirs.weight.data.clone()
        self.hidden, self.outp, self.y_range = copy.deepcopy(model.hidden), copy.deepcopy(model.outp), model.y_range

    def forward(self, x_cat, x_cont):
        x = torch.cat([table(x_cat[:, i]) for i, table in enumerate(self.embs)], 1)
        x = self.outp(self.hidden(torch.cat([x, x_cont], 1)))[:, 0]
        return self.y_range[0] + (self.y_range[1] - self.y_range[0]) * torch.sigmoid(x)


SIZES = [(5, 3), (2, 1), (7, 4)]


def random_batch(n: int = 64, n_cont: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    codes = [torch.randint(0, rows, (n,), generator=g) for rows, _ in SIZES]
    return torch.stack(codes, 1), torch.randn(n, n_cont, generator=g)


def test_one_lookup_equals_one_for_each_table_forwards_and_backwards():
    set_seed(0)
    model = MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0, 0], (-1, 3))
    reference, (codes, numbers) = Reference(model), random_batch()
    for m in (model, reference):
        (m(codes, numbers) ** 2).sum().backward()
    torch.testing.assert_close(model(codes, numbers), reference(codes, numbers))
    gradients = model.embs.numbers.grad.split([rows * width for rows, width in SIZES])
    for table, gradient in zip(reference.embs, gradients, strict=True):
        torch.testing.assert_close(gradient.view_as(table.weight), table.weight.grad)
    torch.testing.assert_close(model.outp.weight.grad, reference.outp.weight.grad)


@pytest.mark.skipif(DEVICE.type != "cpu", reason="on a GPU codes are not checked: it would wait for the answer")
@pytest.mark.parametrize("codes", [[5, 0, 0], [0, 2, 0], [0, 0, 7], [0, -1, 0]])
def test_a_code_without_a_row_is_refused_and_no_neighbour_read(codes):
    with pytest.raises(IndexError, match=r"codes from \[.*\] to \[.*\] for tables of \[5, 2, 7\] rows"):
        Embeddings(SIZES)(torch.tensor([[4, 1, 6], codes]))


def test_a_table_of_the_model_is_the_memory_it_trains():
    embs = Embeddings(SIZES)
    assert [tuple(table.weight.shape) for table in embs] == SIZES
    with torch.no_grad():
        embs[1].weight[1, 0] = 42
    codes = torch.tensor([[0, 1, 0]])
    assert embs(codes)[0, 3] == 42
    torch.testing.assert_close(embs(codes)[0, 4:], embs[2].weight[0])
    with pytest.raises(IndexError):
        embs[3]


def test_prediction_by_hand():
    """1 + (5 - 1) * sigmoid(relu([emb, x] @ w + b) @ v), every number set."""
    model = MixedInputModel([(2, 1)], 1, 0, 1, [1], [0], (1, 5)).eval()
    with torch.no_grad():
        model.embs[0].weight[:] = torch.tensor([[0.5], [2.0]])
        model.hidden[0].weight[:], model.hidden[0].bias[:] = torch.tensor([[3.0, 1.0]]), -1
        model.outp.weight[:], model.outp.bias[:] = 0.5, 0.25
    found = model(torch.tensor([[0], [1], [0]]), torch.tensor([[1.0], [-2.0], [-5.0]]))
    hidden = [max(0, 3 * e + x - 1) for e, x in [(0.5, 1), (2, -2), (0.5, -5)]]
    expected = [1 + 4 / (1 + math.exp(-(0.5 * h + 0.25))) for h in hidden]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert hidden[2] == 0


def test_first_numbers_of_the_model():
    set_seed(0)
    model = MixedInputModel([(1000, 9), (50, 1)], 1, 0.1, 1, [400], [0.2])
    for (_, width), table in zip([(1000, 9), (50, 1)], model.embs, strict=True):
        bound = 2 / (width + 1)
        assert table.weight.abs().max() <= bound
        assert table.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
    assert model.hidden[0].weight.std().item() == pytest.approx(math.sqrt(2 / 11), rel=0.1)
    assert model.outp.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.1)


def test_layers_in_the_order_of_the_video():
    layers = MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0.1, 0.2], use_bn=True).hidden
    assert [type(m).__name__ for m in layers] == ["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 2
    assert [layers[3].p, layers[7].p] == [0.1, 0.2]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in MixedInputModel(SIZES, 2, 0, 1, [6], [0]).hidden)


@pytest.mark.parametrize(("sizes", "n_cont"), [([], 2), (SIZES, 0)])
def test_either_kind_of_column_may_be_absent(sizes, n_cont):
    model = MixedInputModel(sizes, n_cont, 0.1, 3, [6], [0.1])
    codes, numbers = random_batch(n_cont=n_cont)
    out = model(codes[:, : len(sizes)], numbers)
    assert out.shape == (64, 3)
    out.sum().backward()


def test_dropout_of_embeddings_and_layers_works_in_training_only():
    set_seed(0)
    codes, numbers = random_batch()
    for drops in ((0.5, 0), (0, 0.5)):
        model = MixedInputModel(SIZES, 2, drops[0], 1, [20], [drops[1]])
        assert not torch.equal(model(codes, numbers), model(codes, numbers))
        model.eval()
        torch.testing.assert_close(model(codes, numbers), model(codes, numbers), rtol=0, atol=0)


def test_a_dropout_for_each_layer_is_asked_for():
    with pytest.raises(ValueError, match="1 drops for 2 hidden layers: give one for each"):
        MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0.1])


# The learner


def planted(path, n: int = 1200, is_reg: bool = True, **kwargs) -> ColumnarModelData:
    """y is a secret number of each of six categories, plus x: or, without is_reg, whether that is above 0."""
    rng = np.random.default_rng(0)
    code, x = rng.integers(1, 7, n), rng.normal(size=n)
    y = np.array([0, -2, 1.5, 0.5, -1, 2, -0.5])[code] + x
    df = pd.DataFrame({"code": code, "x": x, "noise": rng.normal(size=n)})
    target = y if is_reg else y > 0
    return ColumnarModelData.from_data_frame(path, get_cv_idxs(n), df, target, ["code"], 32, is_reg, **kwargs)


def test_the_learner_finds_what_is_planted_and_a_straight_line_does_not(tmp_path):
    data = planted(tmp_path)
    set_seed(0)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [32], [0], y_range=(-6, 6))
    loss = learn.fit(1e-2, 6)[-1]
    xs = [to_np(torch.cat(ds.arrays[:2], 1)) for ds in (data.trn_ds, data.val_ds)]
    line = LinearRegression().fit(xs[0], data.trn_y)
    assert loss < 0.1 * np.mean((line.predict(xs[1]) - data.val_y) ** 2)
    assert loss < 0.02 * data.val_y.var()
    preds, targs = learn.predict_with_targs()
    assert preds.shape == targs.shape == (240,)
    assert np.mean((preds - targs) ** 2) == pytest.approx(loss, rel=1e-4)


def test_batch_normalisation_trains(tmp_path):
    """T3: the running mean follows the data, without any call of unfreeze."""
    learn = planted(tmp_path).get_learner([(7, 4)], 2, 0, 1, [8], [0], use_bn=True)
    before = learn.model.hidden[2].running_mean.clone()
    learn.fit(1e-3, 1)
    assert not torch.equal(before, learn.model.hidden[2].running_mean)


def test_the_groups_are_embeddings_hidden_layers_and_output(tmp_path):
    data = planted(tmp_path)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [8], [0], opt_fn=torch.optim.SGD)
    m = learn.model
    assert learn.get_layer_groups() == [m.embs, m.hidden, m.outp]
    assert sum(p.numel() for g in learn.get_layer_groups() for p in g.parameters()) == 28 + 6 * 8 + 8 + 8 + 1
    data.trn_dl.bs, data.trn_dl.shuffle = len(data.trn_ds), False
    before, plain_model = copy.deepcopy(m.state_dict()), copy.deepcopy(m).train()
    *xs, y = data.trn_ds.arrays
    F.mse_loss(plain_model(*xs), y).backward()
    learn.fit([0, 0.01, 0.1], 1)
    for name, p in plain_model.named_parameters():
        rate = {"embs": 0, "hidden": 0.01, "outp": 0.1}[name.split(".")[0]]
        torch.testing.assert_close(m.state_dict()[name], before[name] - rate * p.grad, msg=name)


def test_class_numbers_are_learnt_by_cross_entropy(tmp_path):
    set_seed(0)
    data = planted(tmp_path, is_reg=False)
    learn = data.get_learner([(7, 4)], 2, 0, 2, [32], [0])
    learn.fit(1e-2, 6)
    preds, targs = learn.predict_with_targs()
    assert preds.shape == (240, 2)
    assert (preds.argmax(1) == targs).mean() > 0.93


def test_the_plain_loop_trains_it_too(tmp_path):
    set_seed(0)
    data = planted(tmp_path)
    model = MixedInputModel([(7, 4)], 2, 0, 1, [32], [0]).to(DEVICE)
    opt = torch.optim.Adam(model.parameters(), 1e-2)
    first = fit(model, data, 1, opt, F.mse_loss)[0]
    assert fit(model, data, 4, opt, F.mse_loss)[0] < 0.5 * first


def test_test_rows_are_predicted_and_weights_saved(tmp_path):
    test = pd.DataFrame({"code": [0, 6], "x": [0.0, 1.0], "noise": [0.0, 0.0]})  # 0: unknown
    data = planted(tmp_path, test_df=test)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [8], [0])
    learn.save("first")
    before = learn.predict(is_test=True)
    assert before.shape == (2,)
    learn.fit(1e-2, 1)
    assert not np.array_equal(learn.predict(True), before)
    learn.load("first")
    np.testing.assert_array_equal(learn.predict(True), before)
    assert "Embeddings" in str(learn.summary())


@pytest.mark.parametrize(("emb_szs", "n_cont"), [([(6, 4)], 2), ([(7, 4)], 3), ([(7, 4), (2, 1)], 2), ([], 2)])
def test_sizes_that_do_not_fit_the_data_are_refused(tmp_path, emb_szs, n_cont):
    with pytest.raises(ValueError, match=r"the data have codes up to \[6\] and n_cont 2: not as emb_szs") as e:
        planted(tmp_path).get_learner(emb_szs, n_cont, 0, 1, [8], [0])
    one_line(e)


def test_negative_codes_are_refused(tmp_path):
    """They would be read from the table before."""
    data = planted(tmp_path)
    data.val_ds.arrays[0][0, 0] = -1
    with pytest.raises(ValueError, match="the data have codes up to"):
        data.get_learner([(7, 4)], 2, 0, 1, [8], [0])


# Real data


@pytest.fixture(scope="module")
def rossmann(real_data, tmp_path_factory):
    """Folder of the real tables."""
    root = tmp_path_factory.mktemp("rossmann")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROOT", root)
        patch.delenv("COURSE_DATA", raising=False)
        patch.setenv("COURSE_MIRROR", str(real_data))
        return get_data("rossmann", "full")


@pytest.mark.real
def test_elapsed_days_of_real_shops_are_those_of_a_loop(rossmann):
    train = pd.read_csv(rossmann / "train.csv", low_memory=False, parse_dates=["Date"])
    train = train[train["Store"] % 100 == 0]
    train["StateHoliday"] = train["StateHoliday"] != "0"
    for ascending in (True, False):
        df = train.sort_values(["Store", "Date"], ascending=[True, ascending])
        for fld in ("StateHoliday", "SchoolHoliday", "Promo"):
            expected = elapsed_by_hand(df, fld)
            get_elapsed(df, fld, "x")
            np.testing.assert_array_equal(df[f"x{fld}"], expected)


@pytest.mark.real
def test_the_real_tables_join_without_a_gap(rossmann):
    """Cells of the lesson, on the real tables: every day finds its weather and its searches."""
    names = ("train", "store", "store_states", "state_names", "googletrend", "weather")
    read = {name: pd.read_csv(rossmann / f"{name}.csv", low_memory=False) for name in names}
    trend, weather = read["googletrend"], join_df(read["weather"], read["state_names"], "file", "StateName")
    trend["Date"] = trend["week"].str.split(" - ", expand=True)[0]
    trend["State"] = trend["file"].str.split("_", expand=True)[2].replace("NI", "HB,NI")
    train = read["train"]
    for table in (train, trend, weather):
        add_datepart(table, "Date", drop=False)
    joined = join_df(train, join_df(read["store"], read["store_states"], "Store"), "Store")
    joined = join_df(join_df(joined, trend, ["State", "Year", "Week"]), weather, ["State", "Date"])
    assert len(joined) == 1_017_209
    assert joined[["trend", "Mean_TemperatureC", "StoreType"]].notna().all().all()
