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
    for whit_monday in ("2013-05-20", "2014-06-09", "2015-05-25"):
        assert set(kind.loc[whit_monday]) == {"a"}
    for ascension in ("2013-05-09", "2014-05-29", "2015-05-14"):
        assert set(kind.loc[ascension]) == {"a"}
    with_corpus_christi = ["BW", "BY", "HE", "NW", "RP"]  # and SL, which has no shop
    assert kind.loc["2015-06-04"].eq("a").pipe(lambda s: sorted(s[s].index)) == with_corpus_christi
    assert kind.loc["2013-11-01"].eq("a").pipe(lambda s: sorted(s[s].index)) == ["BW", "BY", "NW", "RP"]
    assert kind.loc["2014-10-31"].eq("a").pipe(lambda s: sorted(s[s].index)) == ["SN", "ST", "TH"]
    per_year = kind[kind.index.str.startswith("2014")].ne("0").sum()
    assert per_year.drop("BY").between(9, 12).all()
    assert per_year["BY"] == 13  # the most


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


def effects(shops, sold) -> tuple[pd.DataFrame, pd.Series]:
    """What a reader of the tables knows of each open day of 20 shops that were never refitted, and log(Expected)."""
    train = read(shops, "train", parse_dates=["Date"]).sort_values(["Store", "Date"])
    spell = (train["Open"] != train.groupby("Store")["Open"].shift()).cumsum()
    refitted = train[(train["Open"] == 0) & (train.groupby(spell)["Open"].transform("size") >= 9)]["Store"].unique()
    days = sold[~sold["Store"].isin(refitted)]
    days = days[days["Store"].isin(days["Store"].unique()[:20])]
    days = days[days["Date"] < "2015-07-20"]  # later ones may have a refit before them that only the test days show
    days = days.merge(read(shops, "store_states"), on="Store").merge(rossmann.STATES, on="State")
    days = days.merge(
        read(shops, "weather", parse_dates=["Date"]), left_on=["StateName", "Date"], right_on=["file", "Date"]
    )
    trend = read(shops, "googletrend")
    sunday = pd.to_datetime(trend["week"].str[:10])
    trend["State"] = trend["file"].str[12:].replace("NI", "HB,NI")
    trend["Year"], trend["Week"] = sunday.dt.year, sunday.dt.isocalendar().week
    date = days["Date"]
    days["Year"], days["Week"] = date.dt.year, date.dt.isocalendar().week
    days = days.merge(trend[["State", "Year", "Week", "trend"]], on=["State", "Year", "Week"])

    holidays = train.merge(read(shops, "store_states"), on="Store").query("StateHoliday != '0'")
    holidays = set(zip(holidays["State"], holidays["Date"], strict=True))

    def is_holiday(after: int) -> pd.Series:
        dates = days["Date"] + pd.Timedelta(days=after)
        return pd.Series([pair in holidays for pair in zip(days["State"], dates, strict=True)])

    date, weekday = days["Date"], days["DayOfWeek"]
    south, west = (51 - days["lat"]) / 3, (10 - days["lon"]) / 3
    advent = np.exp(-(((date.dt.day_of_year - 350) / 9) ** 2))
    opened = pd.to_datetime(
        {"year": days["CompetitionOpenSinceYear"], "month": days["CompetitionOpenSinceMonth"], "day": 15}
    )
    months = (date - opened).dt.days.clip(0, 720) // 30
    begun = days["Promo2SinceYear"] + days["Promo2SinceWeek"] / 53
    first = days["PromoInterval"].str[:3].map({"Jan": 0, "Feb": 1, "Mar": 2})
    known = {
        "winter": south * np.cos(2 * np.pi * date.dt.day_of_year / 365),
        "south_on_saturday": south * (weekday == 6),
        "west_on_monday": west * (weekday == 1),
        "advent": advent,
        "west_in_advent": west * advent,
        "payday": np.exp(-((date.dt.day - 1) % 30) / 3),
        "growth": days["Year"] - 2013,
        "day_before": is_holiday(1) & ~is_holiday(0),
        "two_days_before": is_holiday(2) & ~is_holiday(1) & ~is_holiday(0),
        "holiday": is_holiday(0),
        "day_after": is_holiday(-1) & ~is_holiday(0),
        "no_school": days["SchoolHoliday"] * (weekday < 6),
        "competition": (np.exp(-days["CompetitionDistance"] / 3000) * months / 24).fillna(0),
        "mailed": (days["Year"] + days["Week"] / 53 > begun) & (first == (date.dt.month - 1) % 3),
        "trend": days["trend"],
        "warmth": days["Mean_TemperatureC"].clip(0, 25),
        "snow": days["Events"].fillna("").str.contains("Snow"),
        "rain": days["Events"].fillna("").str.contains("Rain"),
    }
    known |= {f"weekday_{day}": weekday == day for day in range(2, 8)}
    for store in days["Store"].unique():
        known[f"level_{store}"] = days["Store"] == store
        known[f"answer_{store}"] = rossmann.PROMO[weekday - 1] * days["Promo"] * (days["Store"] == store)
        known[f"tourists_{store}"] = days["SchoolHoliday"] * (days["Store"] == store)
    return pd.DataFrame(known, dtype=float), np.log(days["Expected"])


def test_what_is_expected_follows_from_the_tables(shops, sold):
    """Least squares leave nothing over: all but the noise can be learned. And the effects are those meant."""
    known, log = effects(shops, sold)
    # The level of a shop and what it answers to promotions and holidays are free: all else is one number for all
    found, *_ = np.linalg.lstsq(known.to_numpy(), log.to_numpy())
    left_over = log - known.to_numpy() @ found
    assert abs(left_over).max() < 2e-4  # Expected has one decimal
    effect = dict(zip(known, found, strict=True))
    meant = {"winter": 0.04, "south_on_saturday": 0.06, "west_on_monday": -0.04, "advent": 0.3, "west_in_advent": 0.08}
    meant |= {
        "payday": 0.12,
        "growth": 0.04,
        "day_before": 0.16,
        "two_days_before": 0.08,
        "holiday": 0.3,
        "day_after": 0.08,
    }
    meant |= {"competition": -0.3, "mailed": 0.15, "trend": 0.01, "warmth": 0.006, "snow": -0.1, "rain": -0.05}
    assert {name: effect[name] for name in meant} == pytest.approx(meant, abs=2e-4)
    answers = np.array([value for name, value in effect.items() if name.startswith("answer")])
    assert ((answers >= 0.6) & (answers <= 1.4)).all()
    assert answers.std() > 0.1


def test_the_weather_is_that_of_the_country(shops):
    """Seasons, a warmer south, days like the day before; snow where it freezes, dew below the air."""
    weather = read(shops, "weather", parse_dates=["Date"]).merge(rossmann.STATES, left_on="file", right_on="StateName")
    mean, month = weather["Mean_TemperatureC"], weather["Date"].dt.month
    july, january = mean[month == 7].mean(), mean[month == 1].mean()
    assert 15 < july < 22
    assert -3 < january < 4
    by_state = weather.groupby("file").agg(celsius=("Mean_TemperatureC", "mean"), lat=("lat", "first"))
    assert by_state.corr().loc["celsius", "lat"] < -0.5
    anomaly = mean - mean.groupby([weather["file"], weather["Date"].dt.month]).transform("mean")
    assert 0.6 < anomaly.corr(anomaly.groupby(weather["file"]).shift()) < 0.95
    for name in ("TemperatureC", "Humidity"):
        columns = [weather[f"{which}_{name}"] for which in ("Min", "Mean", "Max")]
        assert ((columns[0] <= columns[1]) & (columns[1] <= columns[2])).all()
    assert (weather["Dew_PointC"] <= mean).all()
    events = weather["Events"].fillna("")
    snow, rain, thunder = (events.str.contains(name) for name in ("Snow", "Rain", "Thunderstorm"))
    assert mean[snow].max() <= 2
    assert mean[rain].min() >= 0
    assert mean[thunder].min() >= 14
    assert ((weather["Precipitationmm"] > 0) == (snow | rain)).all()
    assert 0.03 < snow.mean() < rain.mean() < 0.6


def test_more_people_search_in_winter_and_in_near_states_alike(shops):
    trend = read(shops, "googletrend")
    wide = trend.assign(week=trend["week"].str[:10]).pivot_table(index="week", columns="file", values="trend")
    assert wide.shape == (148, 14)
    assert wide.to_numpy().min() >= 0
    assert wide.to_numpy().max() <= 100
    month = pd.to_datetime(wide.index).month
    assert wide[month == 12].mean().mean() > wide[month == 6].mean().mean() + 10
    alone = wide.sub(wide["Rossmann_DE"], axis=0).corr()
    assert alone.loc["Rossmann_DE_SN", "Rossmann_DE_TH"] > alone.loc["Rossmann_DE_BY", "Rossmann_DE_SH"] + 0.2


def test_schools_are_closed_as_long_as_in_germany(shops):
    """Six weeks in summer, beginning on the day of each state; two in autumn, two at Easter, Christmas."""
    train = read(shops, "train", parse_dates=["Date"]).merge(read(shops, "store_states"), on="Store")
    days = train[train["Date"].dt.year == 2014]
    assert days.groupby(["State", "Date"])["SchoolHoliday"].nunique().max() == 1
    free = days.pivot_table(index="Date", columns="State", values="SchoolHoliday")
    begin = {
        state: pd.Timestamp(f"2014-{day}")
        for state, day in zip(rossmann.STATES["State"], rossmann.STATES["summer"], strict=True)
    }
    for state in free:
        first = begin[state]
        assert free.loc[first : first + pd.Timedelta(days=41), state].all()
        assert not free.loc[first - pd.Timedelta(days=1), state]
        assert not free.loc[first + pd.Timedelta(days=42), state]
    assert free.sum().between(80, 95).all()
    assert free.loc["2014-12-23":].all(axis=None)
    assert free.loc["2014-04-14":"2014-04-25"].all(axis=None)  # around Easter, 20 April


def test_a_customer_buys_for_what_is_usual_in_a_shop_of_that_type(sold):
    basket = (sold["Sales"] / sold["Customers"]).groupby(sold["StoreType"]).median()
    assert basket.to_dict() == pytest.approx({"a": 8.8, "b": 5.1, "c": 8.6, "d": 11.3}, rel=0.01)


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
