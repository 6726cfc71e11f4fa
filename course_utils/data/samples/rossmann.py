"""Simulated sales of 80 shops, in the tables of the Rossmann competition and those that its entrants added.

What a shop sells in a day is what the calendar, the shop, its state, the weather, … make of it, times noise that nobody
can predict: exp(SIGMA * normal). `expected_sales.csv` has the former, so that the best possible RMSPE is known.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

__all__ = ["VERSION", "build"]

VERSION: int = 2
SEED, SIGMA = 2013, 0.1
DAYS = pd.date_range("2013-01-01", "2015-09-17")
TEST_START, TEST_SHOPS, N_REBUILT = "2015-08-01", 62, 6
TYPES = {"a": 43, "b": 3, "c": 10, "d": 24}  # how many shops; those of type b open on Sundays and holidays

# Name, code, latitude, longitude, shops, first day of the summer holidays. As in the competition Bremen has no shops
# of its own: Lower Saxony's code stands for both.
STATES = DataFrame(
    [
        ("BadenWuerttemberg", "BW", 48.6, 9.0, 8, "07-25"),
        ("Bayern", "BY", 48.9, 11.5, 9, "07-31"),
        ("Berlin", "BE", 52.5, 13.4, 8, "07-09"),
        ("Brandenburg", "BB", 52.3, 13.6, 0, "07-09"),
        ("Bremen", "HB", 53.1, 8.8, 0, "07-20"),
        ("Hamburg", "HH", 53.6, 10.0, 5, "07-12"),
        ("Hessen", "HE", 50.6, 9.0, 8, "07-22"),
        ("MecklenburgVorpommern", "MV", 53.8, 12.5, 0, "07-08"),
        ("Niedersachsen", "HB,NI", 52.8, 9.2, 5, "07-20"),
        ("NordrheinWestfalen", "NW", 51.5, 7.5, 12, "07-02"),
        ("RheinlandPfalz", "RP", 49.9, 7.4, 5, "07-22"),
        ("Saarland", "SL", 49.4, 6.9, 0, "07-22"),
        ("Sachsen", "SN", 51.0, 13.4, 6, "07-14"),
        ("SachsenAnhalt", "ST", 51.9, 11.7, 5, "07-14"),
        ("SchleswigHolstein", "SH", 54.2, 9.8, 5, "07-14"),
        ("Thueringen", "TH", 50.9, 11.0, 4, "07-14"),
    ],
    columns=["StateName", "State", "lat", "lon", "shops", "summer"],
)
NO_TREND = ["BB", "HB", "MV"]
EASTER = {2013: "2013-03-31", 2014: "2014-04-20", 2015: "2015-04-05"}
EPIPHANY, ASSUMPTION, REFORMATION = ["BW", "BY", "ST"], ["BY", "SL"], ["BB", "MV", "SN", "ST", "TH"]
CORPUS_CHRISTI, ALL_SAINTS = ["BW", "BY", "HE", "NW", "RP", "SL"], ["BW", "BY", "NW", "RP", "SL"]
INTERVALS = ["Jan,Apr,Jul,Oct", "Feb,May,Aug,Nov", "Mar,Jun,Sept,Dec"]
# Logarithms, Monday to Sunday: the rhythm of the week, and what a promotion adds.
WEEKDAY = np.array([0.09, 0.0, -0.04, -0.02, 0.04, -0.02, 0.25])
PROMO = np.array([0.42, 0.32, 0.27, 0.26, 0.2, 0.0, 0.0])
# Logarithms, by the days that are left until a shop is refitted (it sells out, then its shelves are empty), and since.
CLEARANCE = dict(zip(range(1, 11), np.linspace(-0.6, 0.9, 10), strict=True))
REOPENED = dict(zip(range(7), np.linspace(0.5, 0.1, 7), strict=True))


def build(target: Path) -> None:
    """Write the seven tables into `target`, expected_sales.csv (Store, Date, Expected of open days) and noise.json."""
    rng = np.random.default_rng(SEED)
    calendar, trend, shops = _calendar(), _trend(rng), _shops(rng)
    weather = _weather(rng, calendar)
    days = shops.merge(calendar, on="State").merge(weather, left_on=["StateName", "Date"], right_on=["file", "Date"])
    days = days.merge(trend, on=["State", "Year", "Week"]).sort_values(["Date", "Store"], ascending=[False, True])
    days["Promo"] = (days["Date"] - pd.Timestamp("2012-12-31")).dt.days // 7 % 2 * (days["DayOfWeek"] <= 5)
    closed = (days["StateHoliday"] != "0") | (days["DayOfWeek"] == 7)
    days["to_refit"] = (days["refit"] - days["Date"]).dt.days
    days["since_refit"] = -days["to_refit"] - days["refit_days"]
    refit = (days["to_refit"] <= 0) & (days["since_refit"] < 0)
    days["Open"] = ((~closed | (days["StoreType"] == "b")) & ~refit).astype(int)
    days["Expected"] = np.exp(_calendar_effects(days) + _shop_effects(days) + _other_effects(days))
    days["Sales"] = _whole(days["Open"] * days["Expected"] * np.exp(SIGMA * rng.normal(size=len(days))))
    days["Customers"] = _whole(days["Sales"] / days["basket"] * np.exp(0.05 * rng.normal(size=len(days))))
    tables = _sales_tables(rng, days) | {"weather": weather, "googletrend": trend.loc[:, "file":"trend"]}
    tables |= {"store": shops.loc[:, "Store":"PromoInterval"], "store_states": shops[["Store", "State"]]}
    tables |= {"state_names": STATES[["StateName", "State"]]}
    for name, table in tables.items():
        table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n", na_rep="NA")
    (target / "noise.json").write_text(json.dumps(_noise(), indent=1) + "\n", "utf-8")


def _noise() -> dict[str, float]:
    """For sales of m * exp(sigma * normal): RMSPE of Expected, m, and the least of any, of m * exp(-1.5 sigma²)."""
    v = SIGMA**2
    of_expected = np.sqrt(1 - 2 * np.exp(v / 2) + np.exp(2 * v))
    return {"sigma": SIGMA, "rmspe_of_expected": float(of_expected), "least_rmspe": float(np.sqrt(1 - np.exp(-v)))}


def _whole(numbers: Series) -> Series:
    return numbers.round().astype(int)


def _sales_tables(rng: np.random.Generator, days: DataFrame) -> dict[str, DataFrame]:
    """train, test and expected_sales, out of a row for each shop and day."""
    columns = ["Store", "DayOfWeek", "Date", "Sales", "Customers", "Open", "Promo", "StateHoliday", "SchoolHoliday"]
    shops = rng.permutation(days["Store"].unique())
    rebuilt = days["Store"].isin(shops[:N_REBUILT]) & days["Date"].between("2014-07-01", "2014-12-31")
    train = days.loc[(days["Date"] < TEST_START) & ~rebuilt, columns]
    test = days.loc[(days["Date"] >= TEST_START) & days["Store"].isin(shops[-TEST_SHOPS:]), columns]
    test = test.drop(columns=["Sales", "Customers"])
    test.insert(0, "Id", range(1, len(test) + 1))
    test["Open"] = test["Open"].where(rng.random(len(test)) > 0.002)  # a few gaps, as there
    expected = days.loc[(days["Open"] == 1) & ~rebuilt, ["Store", "Date", "Expected"]].round({"Expected": 1})
    return {"train": train, "test": test, "expected_sales": expected}


def _calendar() -> DataFrame:
    """A row for each state and day: its holidays, the days since and until one, and the parts of the date."""
    grid = STATES.merge(DataFrame({"Date": DAYS}), how="cross")
    date, day = grid["Date"], grid["Date"].dt.strftime("%m-%d")
    grid["Year"], grid["Week"], grid["DayOfWeek"] = date.dt.year, date.dt.isocalendar().week, date.dt.day_of_week + 1
    after_easter = (date - pd.to_datetime(grid["Year"].map(EASTER))).dt.days
    grid["StateHoliday"] = _holiday(day, grid["State"], after_easter)
    in_summer = (date - pd.to_datetime(grid["Year"].astype(str) + "-" + grid["summer"])).dt.days
    school = in_summer.between(0, 41) | in_summer.between(82, 95) | after_easter.between(-8, 5)
    grid["SchoolHoliday"] = (school | (day > "12-22") | (day < "01-05")).astype(int)
    holiday = date.where(grid["StateHoliday"] != "0").groupby(grid["State"])
    grid["since"], grid["until"] = (date - holiday.ffill()).dt.days, (holiday.bfill() - date).dt.days
    return grid


def _holiday(day: Series, state: Series, after_easter: Series) -> np.ndarray:
    """The competition's letter for each day (MM-DD): b Easter, c Christmas, a another holiday, else 0."""
    everywhere = day.isin(["01-01", "05-01", "10-03"]) | after_easter.isin([39, 50])
    some = (day == "01-06") & state.isin(EPIPHANY) | (day == "10-31") & state.isin(REFORMATION)
    some |= (after_easter == 60) & state.isin(CORPUS_CHRISTI) | (day == "11-01") & state.isin(ALL_SAINTS)
    some |= (day == "08-15") & state.isin(ASSUMPTION)
    kinds = [after_easter.isin([-2, 1]), day.isin(["12-25", "12-26"]), everywhere | some]
    return np.select(kinds, ["b", "c", "a"], "0")


def _field(rng: np.random.Generator, n: int, memory: float) -> Series:
    """Noise (states * n,) of standard deviation 1: alike in near states, and on near days by `memory`, 0 to 1."""
    place = STATES[["lat", "lon"]].to_numpy() * [111, 70]  # km
    near = np.exp(-np.linalg.norm(place[:, None] - place, axis=2) / 300)
    field = np.linalg.cholesky(near) @ rng.normal(size=(len(near), n))
    for i in range(1, n):
        field[:, i] = memory * field[:, i - 1] + np.sqrt(1 - memory**2) * field[:, i]
    return Series(field.ravel())


def _weather(rng: np.random.Generator, calendar: DataFrame) -> DataFrame:
    """A row for each state and day, in the columns of the archive."""
    warm, wet, windy, dry, high = (_field(rng, len(DAYS), 0.8) for _ in range(5))
    season = -np.cos(2 * np.pi * (calendar["Date"].dt.day_of_year - 20) / 365)
    mean = 9.5 + 9.5 * season + 0.5 * (51 - calendar["lat"]) + 3.5 * warm
    around = {"Max": 1, "Mean": 0, "Min": -1}
    rain = np.maximum(0, 4 * (wet - 0.1)).round(2)
    humidity, wind, gap = 76 - 9 * season + 8 * wet - 4 * dry, np.exp(2.4 + 0.4 * windy), rng.random((3, len(mean)))
    w = {"file": calendar["StateName"], "Date": calendar["Date"]}
    w |= {f"{name}_TemperatureC": mean + (4.5 + season) * k for name, k in around.items()}
    w |= {"Dew_PointC": mean - 1, "MeanDew_PointC": mean - 4, "Min_DewpointC": mean - 7}
    w |= {f"{name}_Humidity": (humidity + 17 * k).clip(5, 100) for name, k in around.items()}
    w |= {f"{name}_Sea_Level_PressurehPa": 1016 + 8 * high + 3 * k for name, k in around.items()}
    sight = (14 + 6 * dry).clip(0, 31).round().where(gap[0] > 0.024)
    w |= {"Max_VisibilityKm": (sight + 9).clip(upper=31), "Mean_VisibilityKm": sight}
    w |= {"Min_VisibilitykM": (sight - 6).clip(lower=0), "Max_Wind_SpeedKm_h": 1.9 * wind, "Mean_Wind_SpeedKm_h": wind}
    w |= {"Max_Gust_SpeedKm_h": (3.2 * wind).round().where((windy > 0.4) & (gap[1] > 0.3)), "Precipitationmm": rain}
    w |= {"CloudCover": (5 + 2 * wet - dry).clip(0, 8).round().where(gap[2] > 0.074)}
    signs = {"Fog": (dry < -1) & (wind < 14), "Rain": (rain > 0) & (mean > 0), "Snow": (rain > 0) & (mean < 2)}
    signs["Thunderstorm"] = (rain > 5) & (mean > 14)
    events = sum((np.where(seen, f"-{name}", "") for name, seen in signs.items()), np.full(len(mean), "", object))
    w |= {"Events": Series(events).str[1:].replace("", None), "WindDirDegrees": (225 + 70 * high) % 360}
    floats = ["Precipitationmm", "CloudCover", *[name for name in w if "isibility" in name or "Gust" in name]]
    table = DataFrame(w)
    whole = table.select_dtypes("number").columns.difference(floats)
    return table.astype(dict.fromkeys(whole, int))


def _trend(rng: np.random.Generator) -> DataFrame:
    """What people searched for, 0 to 100, week by week: in the country, and in most states."""
    sundays = pd.date_range("2012-12-02", periods=148, freq="7D")
    country = (
        66 + 9 * np.cos(2 * np.pi * (sundays.day_of_year.to_numpy() - 345) / 365) + np.linspace(0, 6, len(sundays))
    )
    local = country + 5 * _field(rng, len(sundays), 0.7).to_numpy().reshape(len(STATES), -1)
    series = {"Rossmann_DE": country + 2 * rng.normal(size=len(sundays))}
    codes = STATES["State"].str.removeprefix("HB,")
    series |= {f"Rossmann_DE_{c}": row for c, row in zip(codes, local, strict=True) if c not in NO_TREND}
    table = DataFrame(series, index=sundays).clip(0, 100).round().astype(int)
    table = table.melt(var_name="file", value_name="trend", ignore_index=False).reset_index(names="Sunday")
    table["week"] = [f"{day:%Y-%m-%d} - {day + pd.Timedelta(days=6):%Y-%m-%d}" for day in table["Sunday"]]
    table["State"] = table["file"].str[12:].replace("NI", "HB,NI")
    # Weeks of the calendar end on Sunday: sales go with the searches of the week after, as the lesson joins them
    table["Year"], table["Week"] = table["Sunday"].dt.year, table["Sunday"].dt.isocalendar().week
    return table[["file", "week", "trend", "State", "Year", "Week"]].sort_values(["file", "week"])


def _shops(rng: np.random.Generator) -> DataFrame:
    """The columns of store.csv, then what no table tells: level, answers to promotions and holidays, …."""
    n = sum(TYPES.values())
    shops = DataFrame(
        {"Store": np.arange(1, n + 1), "StoreType": rng.permutation(np.repeat([*TYPES], [*TYPES.values()]))}
    )
    shops["Assortment"] = np.where(shops["StoreType"] == "b", "b", rng.choice(["a", "c"], n, p=[0.54, 0.46]))
    shops["CompetitionDistance"] = np.exp(rng.normal(7.8, 1.2, n)).clip(20, 60000).round(-1)
    shops.loc[rng.integers(n), "CompetitionDistance"] = np.nan
    shops["CompetitionOpenSinceMonth"], shops["CompetitionOpenSinceYear"] = rng.integers(
        [[1], [2002]], [[13], [2016]], (2, n)
    )
    shops["Promo2"] = (rng.random(n) < 0.51).astype(int)
    shops["Promo2SinceWeek"], shops["Promo2SinceYear"] = rng.integers([[1], [2009]], [[51], [2016]], (2, n))
    shops["PromoInterval"] = rng.choice(INTERVALS, n, p=[0.6, 0.2, 0.2])
    for part, there in ("CompetitionOpen", rng.random(n) > 0.32), ("Promo2S|PromoI", shops["Promo2"] == 1):
        for name in shops.filter(regex=part):
            shops[name] = shops[name].where(there)
    shops["State"] = rng.permutation(STATES["State"].repeat(STATES["shops"]))
    shops["level"] = rng.normal(8.7, 0.25, n) + shops["Assortment"].map({"a": 0.0, "b": 0.1, "c": 0.06})
    shops["answer"], shops["tourists"] = rng.uniform(0.6, 1.4, n), rng.normal(0, 0.12, n)
    shops["basket"] = shops["StoreType"].map({"a": 8.8, "b": 5.1, "c": 8.6, "d": 11.3})
    june = pd.to_datetime(DataFrame({"year": rng.choice([2013, 2014, 2015], n), "month": 6, "day": 1}))
    shops["refit"] = (june + pd.to_timedelta(rng.integers(0, 110, n), "D")).where(rng.random(n) < 0.5)
    shops["refit_days"] = rng.integers(10, 25, n)
    return shops


def _calendar_effects(days: DataFrame) -> Series:
    """Logarithm of the sales, as far as the date and the place decide. Near states are alike."""
    weekday, of_year = days["DayOfWeek"] - 1, days["Date"].dt.day_of_year
    south, west = (51 - days["lat"]) / 3, (10 - days["lon"]) / 3
    log = WEEKDAY[weekday] + 0.05 * west + 0.06 * south * (weekday == 5) - 0.04 * west * (weekday == 0)
    log += (0.3 + 0.08 * west) * np.exp(-(((of_year - 350) / 9) ** 2)) + 0.04 * south * np.cos(
        of_year * 2 * np.pi / 365
    )
    log += 0.12 * np.exp(-((days["Date"].dt.day - 1) % 30) / 3) + 0.04 * (days["Year"] - 2013)
    log += days["until"].map({1: 0.16, 2: 0.08}).fillna(0) + days["since"].map({0: 0.3, 1: 0.08}).fillna(0)
    return log - 0.06 * days["SchoolHoliday"] * (weekday < 5)


def _shop_effects(days: DataFrame) -> Series:
    """Logarithm of the sales, as far as the shop decides: its level, promotions, competition, refit."""
    opened = {"year": days["CompetitionOpenSinceYear"], "month": days["CompetitionOpenSinceMonth"]}
    months = (days["Date"] - pd.to_datetime(opened | {"day": 15})).dt.days.clip(lower=0) // 30
    lost = 0.3 * np.exp(-days["CompetitionDistance"] / 3000) * months.clip(upper=24) / 24
    running = days["Year"] + days["Week"] / 53 > days["Promo2SinceYear"] + days["Promo2SinceWeek"] / 53
    month = days["PromoInterval"].map({interval: i for i, interval in enumerate(INTERVALS)})
    mailed = running & (month == (days["Date"].dt.month - 1) % 3)
    promo = PROMO[days["DayOfWeek"] - 1] * days["Promo"] * days["answer"]
    refit = days["to_refit"].map(CLEARANCE).fillna(0) + days["since_refit"].map(REOPENED).fillna(0)
    return days["level"] + promo - lost.fillna(0) + 0.15 * mailed + days["tourists"] * days["SchoolHoliday"] + refit


def _other_effects(days: DataFrame) -> Series:
    """Logarithm of the sales, as far as searches and weather decide."""
    weather = days["Events"].fillna("")
    log = 0.01 * (days["trend"] - 66) + 0.006 * (days["Mean_TemperatureC"] - 10).clip(-10, 15)
    return log - 0.1 * weather.str.contains("Snow") - 0.05 * weather.str.contains("Rain")
