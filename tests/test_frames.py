"""Data frames made ready, against plain Python, the standard library and scikit-learn."""

import calendar
import datetime as dt
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from course_utils import files
from course_utils.choose import choose
from course_utils.data import get_data
from course_utils.frames import add_datepart, apply_cats, get_elapsed, join_df, proc_df, train_cats
from tests.tables_support import one_line

# choose


def test_a_known_name_is_looked_up_and_the_others_are_not_listed():
    """Else a table of n columns, each of which is asked for, takes n * n steps."""

    class Names(list):
        def __iter__(self):
            raise AssertionError("listed")

    assert choose("column", "b", Names("abc")) == "b"
    assert choose("column", "b", pd.DataFrame({"a": [1], "b": [2]})) == "b"


def test_a_wrong_name_lists_the_known_ones_and_the_nearest_in_one_line():
    message = r"^unknown column 'Sale'; did you mean 'Sales'\? known: 7, Day of week, Sales$"
    with pytest.raises(ValueError, match=message):
        choose("column", "Sale", ["Sales", "Day\nof week", 7])
    with pytest.raises(ValueError, match=r"^unknown column \['a'\];.* known: a$"):
        choose("column", ["a"], pd.DataFrame({"a": [1]}))


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


def test_a_missing_key_finds_nothing_and_no_row_comes_twice():
    left = pd.DataFrame({"State": ["BE", None, None], "Week": [1, 1, 2], "x": [1, 2, 3]})
    right = pd.DataFrame({"State": ["BE", None, None], "Week": [1, 1, 2], "mm": [10.0, 20.0, 30.0]})
    for keys in ("State", ["State", "Week"]):
        found = join_df(left, right, keys)
        assert found["x"].tolist() == [1, 2, 3]
        assert found["mm"].fillna(-1).tolist() == [10, -1, -1]
    assert len(right) == 3


def test_a_key_that_the_right_has_twice_gives_two_rows():
    right = pd.DataFrame({"key": ["a", "a"], "y": [1, 2]})
    assert join_df(pd.DataFrame({"key": ["b", "a"]}), right, "key")["y"].fillna(0).tolist() == [0, 1, 2]


def test_joined_rows_are_those_of_a_loop():
    """Random keys under two names, with gaps, and a column that both have."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        left = pd.DataFrame({"a": rng.integers(0, 5, 20), "b": rng.choice(["x", "y", None], 20), "v": range(20)})
        right = pd.DataFrame({"c": rng.integers(0, 5, 15), "b": rng.choice(["x", "y", None], 15), "v": range(15)})
        expected = []
        for row in left.itertuples():
            fits = [r.v for r in right.itertuples() if pd.notna(row.b) and (r.c, r.b) == (row.a, row.b)]
            expected += [(row.v, v) for v in fits] or [(row.v, -1)]
        found = join_df(left, right, ["a", "b"], ["c", "b"])
        assert list(found) == ["a", "b", "v", "c", "v_y"]
        assert list(zip(found["v"], found["v_y"].fillna(-1).astype(int), strict=True)) == expected


def test_a_column_named_like_the_double_of_a_key_stays():
    """The key stands once in the result, so key_y is not of an earlier join."""
    left = pd.DataFrame({"key": [1], "key_y": [7]})
    found = join_df(left, pd.DataFrame({"key": [1], "a": [5]}), "key")
    assert found.to_dict("list") == {"key": [1], "key_y": [7], "a": [5]}


def test_the_suffix_may_be_another():
    left = pd.DataFrame({"k": [1], "x": [2]})
    assert list(join_df(left, left, "k", suffix="_DE")) == ["k", "x", "x_DE"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("Stor",), "unknown column of the left table 'Stor'; did you mean 'Store'? known: Store, x"),
        (("Store", "Shop"), "unknown column of the right table 'Shop'; known: Store, y"),
        ((["Store"], ["Store", "y"]), "2 right_on for 1 left_on"),
    ],
)
def test_a_key_that_is_not_there_is_named(keys, message):
    left, right = pd.DataFrame({"Store": [1], "x": [2]}), pd.DataFrame({"Store": [1], "y": [2]})
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        join_df(left, right, *keys)
    assert one_line(e) == message


def test_a_second_join_by_keys_of_two_names_replaces_the_double_of_the_key():
    left = pd.DataFrame({"a": [1]})
    for value in (5, 6):
        left = join_df(left, pd.DataFrame({"b": [1], "a": [value]}), "a", "b")
    assert left.to_dict("records") == [{"a": 1, "b": 1, "b_y": 1, "a_y": 6}]


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


def test_only_an_ending_of_date_leaves_the_name():
    df = pd.DataFrame({"Date_of_sale": ["2011-11-16"]})
    add_datepart(df, "Date_of_sale")
    assert df.columns[0] == "Date_of_saleYear"


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


@pytest.mark.parametrize(
    "numbers",
    [
        [20150101, 20160229],
        [20150131.0, None],
        pd.Series([20150131, 20160229, None], dtype=object),
        pd.Series(["2015-01-31", 20150131], dtype=object),
        pd.Categorical([20150131, 20160229]),
        [True, False],
    ],
)
def test_numbers_are_no_dates(numbers):
    df = pd.DataFrame({"Date": numbers})
    with pytest.raises(ValueError, match=r"^column 'Date' is not dates: it is numbers$"):
        add_datepart(df, "Date")
    assert list(df) == ["Date"]


def test_dates_may_be_objects_or_categories():
    days = [dt.date(2015, 1, 31), None, dt.date(2016, 2, 29)]
    for column in (pd.Series(days, dtype=object), pd.Categorical(["2015-01-31", None, "2016-02-29"])):
        df = pd.DataFrame({"Date": column})
        add_datepart(df, "Date")
        assert df["Dayofyear"].fillna(0).tolist() == [31, 0, 60]


def test_a_column_named_like_a_part_stays_and_is_named():
    """`Year` may be that of a car."""
    df = pd.DataFrame({"saledate": ["2011-11-16"], "saleYear": [1998]})
    before = df.copy()
    with pytest.raises(ValueError, match=r"^column 'saleYear' is there already, with other values: rename it$"):
        add_datepart(df, "saledate")
    pd.testing.assert_frame_equal(df, before)


def test_a_cell_may_be_run_twice():
    df = pd.DataFrame({"Date": ["2011-11-16", None], "x": [1, 2]})
    add_datepart(df, "Date", drop=False)
    before = df.copy()
    df["Year"] = df["Year"].astype("category")  # as in the lesson, before that cell is run again
    df["Month"] = df["Month"].astype("Int64")
    add_datepart(df, "Date", drop=False)
    pd.testing.assert_frame_equal(df, before)


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


@pytest.mark.parametrize("dtype", [float, object, "Int64", "boolean", "category"])
def test_a_gap_is_no_event(dtype):
    dates = pd.date_range("2020-01-01", periods=4)
    events = pd.Series([0, None, 1, 0], dtype="Int64").astype(dtype)
    df = pd.DataFrame({"Store": 1, "Date": dates, "Promo": events})
    get_elapsed(df, "Promo", "After")
    assert df["AfterPromo"].fillna(-9).tolist() == [-9, -9, 0, 1]


@pytest.mark.parametrize("dtype", [str, object, "string", "category"])
def test_text_is_no_event(dtype):
    """Of which even "0" would count, also as a category."""
    df = pd.DataFrame({"Store": 1, "Date": pd.date_range("2020-01-01", periods=3), "Promo": ["0", "a", "0"]})
    df["Promo"] = df["Promo"].astype(dtype)
    with pytest.raises(ValueError, match=r"^column 'Promo' is text, of which even '0' would count") as e:
        get_elapsed(df, "Promo", "After")
    one_line(e)
    df["Promo"] = pd.Series([0, "a", 0], dtype=object)
    with pytest.raises(ValueError, match="column 'Promo' is text"):
        get_elapsed(df, "Promo", "After")


def test_elapsed_days_need_dates_and_shops():
    df = pd.DataFrame({"Shop": 1, "Date": ["2020-01-01"], "Promo": [1]})
    with pytest.raises(ValueError, match=r"^unknown column 'Store'; known: Date, Promo, Shop$"):
        get_elapsed(df, "Promo", "After")
    with pytest.raises(ValueError, match=r"^column 'Date' is not dates yet"):
        get_elapsed(df.rename(columns={"Shop": "Store"}), "Promo", "After")


def test_shops_may_be_categories_and_rows_have_any_index():
    df = random_days(3).sort_values(["Store", "Date"])
    expected = elapsed_by_hand(df, "Promo")
    df = df.astype({"Store": "category"}).set_axis(np.zeros(len(df), int))
    get_elapsed(df, "Promo", "After")
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


def test_a_column_of_lists_stays():
    df = pd.DataFrame({"genres": [["Drama", "War"], ["Comedy"]], "title": ["B", "A"]})
    train_cats(df)
    assert df["genres"].tolist() == [["Drama", "War"], ["Comedy"]]
    assert df["title"].cat.codes.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"^column 'genres' is neither numbers nor categories"):
        proc_df(df)


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
    assert new["s"].cat.ordered
    assert list(new["s"].cat.categories) == ["a", "b", "d"]
    assert proc_df(trn)[0]["s"].tolist() == [1, 2, 3]


def test_categories_of_another_type_are_refused():
    trn = pd.DataFrame({"shop": ["1", "2"]})
    train_cats(trn)
    with pytest.raises(ValueError, match=r"'shop': no value is one of training \(int64 here, (str|object) there\)$"):
        apply_cats(pd.DataFrame({"shop": [1, 2]}), trn)
    apply_cats(new := pd.DataFrame({"shop": [None, None]}, dtype=object), trn)  # nothing known is another matter
    assert new["shop"].isna().all()


def test_a_table_that_is_refused_stays_as_it_was():
    trn = pd.DataFrame({"a": ["p", "q"], "shop": ["1", "2"]})
    train_cats(trn)
    new = pd.DataFrame({"a": ["p", "x"], "shop": [1, 2]})
    before = new.copy()
    with pytest.raises(ValueError, match="'shop': no value is one of training"):
        apply_cats(new, trn)
    pd.testing.assert_frame_equal(new, before)


def test_columns_that_only_training_has_are_left_out():
    trn = pd.DataFrame({"a": ["p", "q"], "b": ["r", "s"]})
    train_cats(trn)
    new = pd.DataFrame({"b": ["s"]})
    apply_cats(new, trn)
    assert (list(new), new["b"].cat.codes.tolist()) == (["b"], [1])


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
        x, y, returned, _ = proc_df(df, "y", skip_flds=["skip"], do_scale=True, na_dict=nas)
        x.iloc[:, :], y[:] = 0, 0
        returned["float"] = 7
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


def test_a_column_of_zero_and_one_does_not_take_the_name_of_another():
    df = pd.DataFrame({"small": pd.Categorical(["u", "v"]), "small_u": [1, 2]})
    with pytest.raises(ValueError, match=r"^column 'small_u' is there twice: rename one$"):
        proc_df(df, max_n_cat=2)


def test_a_flag_does_not_take_the_place_of_a_column():
    """The sales in North America, say."""
    df = pd.DataFrame({"sales": [1.0, None, 3.0], "sales_na": [10.0, 20.0, 30.0]})
    message = r"^column 'sales_na' is there, and the gaps of 'sales' need that name$"
    with pytest.raises(ValueError, match=message):
        proc_df(df)
    with pytest.raises(ValueError, match=message):
        proc_df(df.fillna(2), na_dict={"sales": 2.0})
    assert list(proc_df(df, skip_flds=["sales_na"])[0]) == ["sales", "sales_na"]
    assert list(proc_df(df.fillna(2))[0]) == ["sales", "sales_na"]


def test_a_mapper_without_do_scale_is_refused():
    """The rows would come out unscaled."""
    df = pd.DataFrame({"x": [100.0, 200.0, 300.0]})
    _, _, nas, mapper = proc_df(df, do_scale=True)
    with pytest.raises(ValueError, match=r"^mapper is of no use without do_scale=True$"):
        proc_df(df, na_dict=nas, mapper=mapper)


def test_a_mapper_of_another_making_is_refused():
    mapper = StandardScaler().fit(np.arange(6.0).reshape(3, 2))
    with pytest.raises(ValueError, match=r"^the mapper knows no names of columns: take the one of proc_df$"):
        proc_df(pd.DataFrame({"x": [1.0]}), do_scale=True, mapper=mapper)


def test_names_to_scale_by_are_text():
    with pytest.raises(ValueError, match=r"^the name of column 0 must be text, to be scaled$"):
        proc_df(pd.DataFrame([[1.0, 2.0], [3.0, 4.0]]), do_scale=True)
    assert list(proc_df(pd.DataFrame([[1.0, None], [3.0, 4.0]]))[0]) == [0, 1, "1_na"]


@pytest.mark.parametrize("value", [1e39, -1.7e308, math.inf])
def test_numbers_too_large_to_scale_are_named(value):
    """A sentinel of 1.7e308 has an infinite variance, by which all others would become 0."""
    df = pd.DataFrame({"age": [1.0, 2.0], "income": [1.0, value]})
    with pytest.raises(ValueError, match=r"^column 'income' has numbers too large for float32: ") as e:
        proc_df(df, do_scale=True)
    one_line(e)
    _, _, nas, mapper = proc_df(df.assign(income=[1.0, 2.0]), do_scale=True)
    with pytest.raises(ValueError, match="column 'income' has numbers too large"):
        proc_df(df, do_scale=True, na_dict=nas, mapper=mapper)


def test_numbers_that_are_categories_in_new_rows_are_named():
    trn = pd.DataFrame({"x": [1.0, None], "z": [1.0, 3.0]})
    _, _, nas, mapper = proc_df(trn, do_scale=True)
    for name, given in (("x", {"na_dict": nas}), ("z", {"na_dict": {}, "mapper": mapper, "do_scale": True})):
        new = pd.DataFrame({"x": [1.0, 2.0], "x_na": [False, False], "z": [1.0, 2.0]})
        if name == "x":
            new = new.drop(columns="x_na")
        new[name] = pd.Categorical(["p", "q"])
        message = f"^column '{name}' is categories here, and was numbers in training$"
        with pytest.raises(ValueError, match=message):
            proc_df(new, **given)


def test_a_column_that_is_there_twice_is_named():
    df = pd.DataFrame([[1, 2]], columns=["x", "x"])
    with pytest.raises(ValueError, match=r"^column 'x' is there twice: rename one$"):
        proc_df(df)


def test_flags_follow_in_the_order_of_na_dict_and_columns_keep_theirs():
    df = pd.DataFrame({"b": [1.0, None], "a": [None, 2.0], "c": [1, 2]})
    assert list(proc_df(df)[0]) == ["b", "a", "c", "b_na", "a_na"]
    assert list(proc_df(df, na_dict={"a": 0.0, "b": 0.0})[0]) == ["b", "a", "c", "a_na", "b_na"]


def test_the_index_stays():
    """Dates, of which shops have the same ones."""
    days = pd.DatetimeIndex(["2013-01-02", "2013-01-01", "2013-01-02"])
    df = pd.DataFrame({"x": [1.0, None, 3.0], "c": pd.Categorical(["p", "q", "p"])}, index=days)
    for kwargs in ({}, {"do_scale": True}, {"max_n_cat": 5}):
        pd.testing.assert_index_equal(proc_df(df, **kwargs)[0].index, days)
    pd.testing.assert_index_equal(proc_df(df, "x", ["c"])[0].index, days)  # of no column at all


def test_wide_tables_come_without_a_warning():
    """pandas warns where columns are put in one by one."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.random((30, 300)), columns=[f"c{i}" for i in range(300)])
    df = df.mask(df < 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, *_ = proc_df(df, do_scale=True)
    filled = df.fillna(df.median())
    np.testing.assert_allclose(x[list(df)], (filled - filled.mean()) / filled.std(ddof=0), atol=1e-4)


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


def test_there_must_be_numbers_to_scale():
    df = pd.DataFrame({"shop": ["a", "b"]})
    train_cats(df)
    with pytest.raises(ValueError, match="no columns of numbers to scale"):
        proc_df(df, do_scale=True)


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
