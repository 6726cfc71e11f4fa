"""The samples that are tables: simulated sales and MovieLens 100k."""

import hashlib
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from course_utils.data.registry import DataError
from course_utils.data.samples import member, movielens, rossmann
from course_utils.tabular import add_datepart, exp_rmspe, join_df

TABLES = ["train", "test", "store", "store_states", "state_names", "googletrend", "weather"]
SIGMA = rossmann.SIGMA
LEAST_RMSPE = np.sqrt(1 - np.exp(-(SIGMA**2)))


def read(folder, name: str, **kwargs) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", low_memory=False, **kwargs)


def digests(folder) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


# Rossmann


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    target = tmp_path_factory.mktemp("rossmann")
    rossmann.build(target)
    return target


@pytest.fixture(scope="module")
def sold(shops):
    """Open days of training with what was to be expected, calendar parts and shop."""
    days = read(shops, "train", parse_dates=["Date"])
    expected = read(shops, "expected_sales", parse_dates=["Date"])
    return days[days["Sales"] > 0].merge(expected, on=["Store", "Date"]).merge(read(shops, "store"), on="Store")


def test_all_tables_and_two_builds_alike(shops, tmp_path):
    rossmann.build(tmp_path)
    assert digests(tmp_path) == digests(shops)
    assert {p.stem for p in shops.iterdir()} == {*TABLES, "expected_sales"}
    assert sum(p.stat().st_size for p in shops.iterdir()) < 8e6


def test_shops_and_days(shops):
    train, test = read(shops, "train", parse_dates=["Date"]), read(shops, "test", parse_dates=["Date"])
    rows = train.groupby("Store").size()
    assert (len(rows), rows.max(), rows.min()) == (80, 942, 942 - 184)  # some were closed for half a year, as there
    assert [*train["Date"].agg(["min", "max"]), *test["Date"].agg(["min", "max"])] == [
        *pd.to_datetime(["2013-01-01", "2015-07-31", "2015-08-01", "2015-09-17"])
    ]
    assert not train.duplicated(["Store", "Date"]).any()
    assert not test.duplicated(["Store", "Date"]).any()
    assert (test["Store"].nunique(), len(test)) == (62, 62 * 48)
    assert (train["Date"].dt.day_of_week + 1 == train["DayOfWeek"]).all()


def test_closed_days_sell_nothing_and_open_ones_something(shops, sold):
    train = read(shops, "train")
    assert ((train["Sales"] == 0) == (train["Open"] == 0)).all()
    assert ((train["Customers"] > 0) == (train["Open"] == 1)).all()
    assert len(sold) == train["Open"].sum()  # each has its expectation
    sundays = train[train["DayOfWeek"] == 7].merge(read(shops, "store"), on="Store")
    assert sundays.loc[sundays["Open"] == 1, "StoreType"].unique().tolist() == ["b"]
    assert not train.loc[train["DayOfWeek"] > 5, "Promo"].any()


def test_some_shops_sell_out_then_close_for_a_refit(shops):
    """Long spells of closed days, found in the table; what is expected before one, against what is usual there."""
    days = read(shops, "train", parse_dates=["Date"]).sort_values(["Store", "Date"])
    days = days.merge(read(shops, "expected_sales", parse_dates=["Date"]), on=["Store", "Date"], how="left")
    spell = (days["Open"] != days.groupby("Store")["Open"].shift()).cumsum()
    length = days.groupby(spell)["Open"].transform("size")
    starts = days[(days["Open"] == 0) & (length >= 10) & ~spell.duplicated()]
    assert 20 < len(starts) < 50
    assert set(starts["Date"].dt.month) <= {6, 7, 8, 9}
    assert length[starts.index].max() <= 24 + 2  # a Sunday before it and after it
    usual = days.groupby(["Store", "DayOfWeek", "Promo"])["Expected"].transform("median")
    ratio = days["Expected"] / usual
    left = starts.set_index("Store")["Date"].reindex(days["Store"]).reset_index(drop=True) - days["Date"]
    assert ratio[left.dt.days.between(7, 9)].median() > 1.5
    assert ratio[left.dt.days.between(1, 2)].median() < 0.8
    assert ratio[left.dt.days.between(20, 40)].median() == pytest.approx(1, abs=0.1)


def test_holidays_are_those_of_germany(shops):
    train = read(shops, "train").merge(read(shops, "store_states"), on="Store")
    assert train.groupby(["Date", "State"])["StateHoliday"].nunique().max() == 1
    kind = train.pivot_table(index="Date", columns="State", values="StateHoliday", aggfunc="first")
    assert set(kind.loc["2013-10-03"]) == {"a"}
    assert set(kind.loc["2014-04-18"]) == set(kind.loc["2014-04-21"]) == {"b"}  # Good Friday, Easter Monday
    assert set(kind.loc["2014-12-26"]) == {"c"}
    assert kind.loc["2015-01-06"].eq("a").pipe(lambda s: sorted(s[s].index)) == ["BW", "BY", "ST"]
    assert set(kind.loc["2014-06-18"]) == {"0"}


def test_the_noise_is_as_large_as_the_builder_says(sold):
    """RMSPE of the expected sales m, and the least, of m * exp(-1.5 sigma²): by formula, simulated, in the sales."""
    ratio = np.exp(SIGMA * np.random.default_rng(0).normal(size=4_000_000))
    factors = np.linspace(0.95, 1.0, 51)
    simulated = [np.sqrt(np.mean((1 - f / ratio) ** 2)) for f in factors]
    of_expected = np.sqrt(1 - 2 * np.exp(SIGMA**2 / 2) + np.exp(2 * SIGMA**2))
    assert simulated[-1] == pytest.approx(of_expected, rel=2e-3)
    assert min(simulated) == pytest.approx(LEAST_RMSPE, rel=2e-3)
    assert factors[np.argmin(simulated)] == pytest.approx(np.exp(-1.5 * SIGMA**2), abs=2e-3)
    errors = np.log(sold["Sales"] / sold["Expected"])
    n = len(sold)
    assert abs(errors.mean()) < 4 * SIGMA / np.sqrt(n)
    assert errors.std() == pytest.approx(SIGMA, rel=4 / np.sqrt(2 * n))
    found = exp_rmspe(np.log(sold["Expected"]), np.log(sold["Sales"]))
    assert found == pytest.approx(of_expected, rel=0.02)


def test_the_noise_depends_on_nothing(sold):
    """Not on its shop, its day, its neighbour in time: what is left over cannot be predicted."""
    errors = np.log(sold["Sales"] / sold["Expected"])
    for column in ("Store", "DayOfWeek", "Date", "Promo", "StoreType"):
        groups = errors.groupby(sold[column])
        z = groups.mean() / (0.1 / np.sqrt(groups.size()))
        assert z.pow(2).mean() < 1 + 5 * np.sqrt(2 / len(z)), column
    in_time = errors.to_frame("e").assign(Store=sold["Store"]).groupby("Store")["e"]
    assert abs(errors.corr(in_time.shift())) < 4 / np.sqrt(len(errors))


def test_no_cheap_predictor_comes_near_the_noise(sold):
    log, valid = np.log(sold["Sales"]), sold["Date"] >= "2015-06-01"
    for keys, margin in ([], 2.5), (["Store"], 1.9), (["Store", "DayOfWeek", "Promo"], 1.3):
        means = log[~valid].groupby([sold[k] for k in keys] or sold["Open"]).mean()
        found = sold.loc[valid, keys or ["Open"]].join(means.rename("mean"), on=keys or ["Open"])["mean"]
        assert exp_rmspe(found, log[valid]) > margin * LEAST_RMSPE, keys


def test_near_states_are_alike(shops, sold):
    """What the lesson hopes to see in the embedding of the states: weather and rhythm of the week follow the map."""
    weather = read(shops, "weather").pivot_table(index="Date", columns="file", values="Mean_TemperatureC")
    change = weather.diff().corr()
    assert change.loc["Berlin", "Brandenburg"] > 0.8 > 0.5 > change.loc["Berlin", "Bayern"]
    days = sold.merge(read(shops, "store_states"), on="Store").merge(rossmann.STATES, on="State")
    level = days.assign(log=np.log(days["Expected"])).pivot_table(index="lat", columns="DayOfWeek", values="log")
    assert np.corrcoef(level.index, level[6] - level[[2, 3, 4]].mean(axis=1))[0, 1] < -0.9


def test_the_tables_join_as_in_the_lesson(shops):
    weather = join_df(read(shops, "weather"), read(shops, "state_names"), "file", "StateName")
    trend, train = read(shops, "googletrend"), read(shops, "train")
    trend["Date"] = trend["week"].str.split(" - ", expand=True)[0]
    trend["State"] = trend["file"].str.split("_", expand=True)[2].replace("NI", "HB,NI")
    for table in (train, trend, weather):
        add_datepart(table, "Date", drop=False)
    joined = join_df(train, join_df(read(shops, "store"), read(shops, "store_states"), "Store"), "Store")
    joined = join_df(join_df(joined, trend, ["State", "Year", "Week"]), weather, ["State", "Date"])
    assert len(joined) == len(train)
    assert joined[["trend", "Mean_TemperatureC", "StoreType", "State"]].notna().all().all()
    country = trend[trend["file"] == "Rossmann_DE"]
    assert len(train.merge(country, on=["Year", "Week"])) == len(train)


@pytest.mark.real
def test_columns_and_types_are_those_of_the_real_tables(shops, real_data, tmp_path):
    with tarfile.open(real_data / "rossmann.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    for name in TABLES:
        ours, real = read(shops, name), read(tmp_path / "rossmann", name)
        assert ours.dtypes.to_dict() == real.dtypes.to_dict(), name
        assert list(ours) == list(real)
        gaps = ours.isna().any()
        assert (gaps == real.isna().any()).all(), name
    for name in ("state_names", "googletrend"):
        ours, real = read(shops, name), read(tmp_path / "rossmann", name)
        columns = [c for c in ours if c != "trend"]
        pd.testing.assert_frame_equal(
            ours[columns].sort_values(columns, ignore_index=True), real[columns].sort_values(columns, ignore_index=True)
        )
    for name in ("train", "test"):  # newest day first, shops in order
        ours, real = read(shops, name), read(tmp_path / "rossmann", name)
        assert (ours["Date"].iloc[0], ours["Date"].iloc[-1]) == (real["Date"].iloc[0], real["Date"].iloc[-1])


# MovieLens


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    try:
        member(movielens.WHEEL, f"{movielens.FOLDER}.item")
    except DataError as e:
        pytest.skip(str(e))
    target = tmp_path_factory.mktemp("movielens")
    movielens.build(target)
    return target


def test_ratings_are_those_of_movielens_100k(films):
    """Counts that GroupLens states of the set, and a line of its file u.data."""
    ratings = read(films, "ratings")
    assert list(ratings) == ["userId", "movieId", "rating", "timestamp"]
    assert [len(ratings), ratings["userId"].nunique(), ratings["movieId"].nunique()] == [100_000, 943, 1_682]
    assert ratings.groupby("userId").size().min() == 20
    assert sorted(ratings["rating"].unique()) == [1, 2, 3, 4, 5]
    assert ratings["rating"].dtype == float
    assert ratings["rating"].mean() == pytest.approx(3.52986)
    assert ratings.query("userId == 196 and movieId == 242")[["rating", "timestamp"]].to_numpy().tolist() == [
        [3, 881250949]
    ]
    assert not ratings.duplicated(["userId", "movieId"]).any()


def test_films_have_title_year_and_genres(films):
    movies = read(films, "movies").set_index("movieId")
    assert list(movies) == ["title", "genres"]
    assert movies.loc[1].tolist() == ["Toy Story (1995)", "Animation|Children|Comedy"]
    assert movies.loc[12, "title"] == "Usual Suspects, The (1995)"
    assert movies.loc[1412, "title"] == "Land Before Time III: The Time of the Great Giving (1995)"
    assert movies.loc[267].tolist() == ["unknown", "(no genres listed)"]
    assert movies["title"].str.contains(r" \(\d{4}\)$").sum() == 1681
    assert movies.loc[543, "title"] == "Misérables, Les (1995)"
    assert set(read(films, "ratings")["movieId"]) == set(movies.index)


@pytest.mark.real
def test_the_layout_is_that_of_the_real_films(films, real_data):
    with zipfile.ZipFile(real_data / "ml-latest-small.zip") as archive:
        for name in ("ratings", "movies"):
            with archive.open(f"ml-latest-small/{name}.csv") as file:
                real = pd.read_csv(file)
            ours = read(films, name)
            named = [column for column in real if not column.startswith("Unnamed")]  # that copy has stray commas
            assert ours.dtypes.to_dict() == real[named].dtypes.to_dict()
            if name == "movies":
                genres = [set(table["genres"].str.split("|").explode()) for table in (ours, real)]
                assert genres[0] <= genres[1]


def test_two_builds_of_the_films_are_alike(films, tmp_path):
    movielens.build(tmp_path)
    assert digests(tmp_path) == digests(films)
