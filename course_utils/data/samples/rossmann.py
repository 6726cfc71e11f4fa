"""Simulated sales of 80 shops, in the tables of the Rossmann competition and those that its entrants added.

What a shop sells in a day is what the calendar, the shop, its state, the weather, … make of it, times noise that nobody
can predict: exp(SIGMA * normal). `expected_sales.csv` has the former, so that the best possible RMSPE is known.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

__all__ = ["VERSION", "build"]

VERSION: int = 3
SIGMA = 0.1
DAYS = pd.date_range("2013-01-01", "2015-09-17")
TYPES = {
    "a": 43,
    "b": 3,
    "c": 10,
    "d": 24,
}  # how many shops; those of type b open on Sundays and holidays

# summer: first day of the holidays. Bremen has no shops, as in the competition: Lower Saxony's code stands for both
STATES = pd.read_csv(Path(__file__).with_name("states.csv"))
NO_TREND = ["Rossmann_DE_BB", "Rossmann_DE_HB", "Rossmann_DE_MV"]
EASTER = {2013: "2013-03-31", 2014: "2014-04-20", 2015: "2015-04-05"}
REGIONAL = {
    "01-06": "BW BY ST",
    "08-15": "BY SL",
    "10-31": "BB MV SN ST TH",
    "11-01": "BW BY NW RP SL",
}
REGIONAL |= {60: "BW BY HE NW RP SL"}  # holidays of some states, by date or by days after Easter
INTERVALS = ["Jan,Apr,Jul,Oct", "Feb,May,Aug,Nov", "Mar,Jun,Sept,Dec"]
# Logarithms, Monday to Sunday: the rhythm of the week, and what a promotion adds.
WEEKDAY = np.array([0.09, 0.0, -0.04, -0.02, 0.04, -0.02, 0.25])
PROMO = np.array([0.42, 0.32, 0.27, 0.26, 0.2, 0.0, 0.0])
# Logarithms, by the days that are left until a shop is refitted (it sells out, then its shelves are empty), and since.
CLEARANCE = dict(zip(range(1, 11), np.linspace(-0.6, 0.9, 10), strict=True))
REOPENED = dict(enumerate(np.linspace(0.5, 0.1, 7)))


def build(target: Path) -> None:
    """Write the seven tables into `target`, and expected_sales.csv (Store, Date, Expected of open days)."""
    rng = np.random.default_rng(2013)
    calendar, trend, shops = _calendar(), _trend(rng), _shops(rng)
    weather = _weather(rng, calendar)
    days = shops.merge(calendar, on="State").merge(
        weather, left_on=["StateName", "Date"], right_on=["file", "Date"]
    )
    days = days.merge(trend, on=["State", "Year", "Week"]).sort_values(
        ["Date", "Store"], ascending=[False, True]
    )
    days["Promo"] = (
        (days.Date - pd.Timestamp("2012-12-31")).dt.days // 7 % 2 * (days.DayOfWeek <= 5)
    )
    days["to_refit"] = (days.refit - days.Date).dt.days
    days["since_refit"] = -days.to_refit - days.refit_days
    refit = (days.to_refit <= 0) & (days.since_refit < 0)
    usual = (days.StateHoliday == "0") & (days.DayOfWeek < 7) | (days.StoreType == "b")
    days["Open"] = (usual & ~refit).astype(int)
    days["Expected"] = _expected(days)
    days["Sales"] = (
        (days.Open * days.Expected * np.exp(SIGMA * rng.normal(size=len(days)))).round().astype(int)
    )
    days["Customers"] = (
        (days.Sales / days.basket * np.exp(0.05 * rng.normal(size=len(days)))).round().astype(int)
    )
    tables = _sales_tables(rng, days) | {
        "weather": weather,
        "googletrend": trend.loc[:, "file":"trend"],
    }
    tables |= {"store": shops.loc[:, "Store":"PromoInterval"]}
    tables |= {
        "store_states": shops[["Store", "State"]],
        "state_names": STATES[["StateName", "State"]],
    }
    for name, table in tables.items():
        table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n", na_rep="NA")


def _sales_tables(rng: np.random.Generator, days: DataFrame) -> dict[str, DataFrame]:
    """train, test and expected_sales, out of a row for each shop and day."""
    columns = [
        "Store",
        "DayOfWeek",
        "Date",
        "Sales",
        "Customers",
        "Open",
        "Promo",
        "StateHoliday",
        "SchoolHoliday",
    ]
    shops = rng.permutation(days.Store.unique())
    rebuilt = days.Store.isin(shops[:6]) & days.Date.between(
        "2014-07-01", "2014-12-31"
    )  # closed half a year, as there
    late = days.Date >= "2015-08-01"
    train = days.loc[~late & ~rebuilt, columns]
    test = days.loc[late & days.Store.isin(shops[-62:]), columns].drop(
        columns=["Sales", "Customers"]
    )
    test.insert(0, "Id", range(1, len(test) + 1))
    test["Open"] = test.Open.where(rng.random(len(test)) > 0.002)  # a few gaps, as there
    expected = days.loc[(days.Open == 1) & ~rebuilt, ["Store", "Date", "Expected"]].round(
        {"Expected": 1}
    )
    return {"train": train, "test": test, "expected_sales": expected}


def _calendar() -> DataFrame:
    """A row for each state and day: its holiday (b Easter, c Christmas, a another, 0 none), days since and to one."""
    grid = STATES.merge(DataFrame({"Date": DAYS}), how="cross")
    date, day = grid.Date, grid.Date.dt.strftime("%m-%d")
    grid["Year"], grid["Week"], grid["DayOfWeek"] = (
        date.dt.year,
        date.dt.isocalendar().week,
        date.dt.day_of_week + 1,
    )
    after_easter = (date - pd.to_datetime(grid.Year.map(EASTER))).dt.days
    other = day.isin(["01-01", "05-01", "10-03"]) | after_easter.isin([39, 50])
    for when, states in REGIONAL.items():
        other |= ((day == when) | (after_easter == when)) & grid.State.isin(states.split())
    kinds = [after_easter.isin([-2, 1]), day.isin(["12-25", "12-26"]), other]
    grid["StateHoliday"] = np.select(kinds, ["b", "c", "a"], "0")
    in_summer = (date - pd.to_datetime(grid.Year.astype(str) + "-" + grid.summer)).dt.days
    school = in_summer.between(0, 41) | in_summer.between(82, 95) | after_easter.between(-8, 5)
    grid["SchoolHoliday"] = (school | (day > "12-22") | (day < "01-05")).astype(int)
    holiday = date.where(grid.StateHoliday != "0").groupby(grid.State)
    grid["since"], grid["until"] = (
        (date - holiday.ffill()).dt.days,
        (holiday.bfill() - date).dt.days,
    )
    return grid


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
    season = -np.cos(2 * np.pi * (calendar.Date.dt.day_of_year - 20) / 365)
    mean = 9.5 + 9.5 * season + 0.5 * (51 - calendar.lat) + 3.5 * warm
    around = {"Max": 1, "Mean": 0, "Min": -1}
    rain = np.maximum(0, 4 * (wet - 0.1)).round(2)
    humidity, wind, gap = (
        76 - 9 * season + 8 * wet - 4 * dry,
        np.exp(2.4 + 0.4 * windy),
        rng.random((3, len(mean))),
    )
    w = {"file": calendar.StateName, "Date": calendar.Date}
    w |= {f"{name}_TemperatureC": mean + (4.5 + season) * k for name, k in around.items()}
    w |= {"Dew_PointC": mean - 1, "MeanDew_PointC": mean - 4, "Min_DewpointC": mean - 7}
    w |= {f"{name}_Humidity": (humidity + 17 * k).clip(5, 100) for name, k in around.items()}
    w |= {f"{name}_Sea_Level_PressurehPa": 1016 + 8 * high + 3 * k for name, k in around.items()}
    sight = (14 + 6 * dry).clip(0, 31).round().where(gap[0] > 0.024)
    w |= {"Max_VisibilityKm": (sight + 9).clip(upper=31), "Mean_VisibilityKm": sight}
    w |= {
        "Min_VisibilitykM": (sight - 6).clip(lower=0),
        "Max_Wind_SpeedKm_h": 1.9 * wind,
        "Mean_Wind_SpeedKm_h": wind,
    }
    w |= {
        "Max_Gust_SpeedKm_h": (3.2 * wind).round().where((windy > 0.4) & (gap[1] > 0.3)),
        "Precipitationmm": rain,
    }
    w |= {"CloudCover": (5 + 2 * wet - dry).clip(0, 8).round().where(gap[2] > 0.074)}
    signs = {
        "-Fog": (dry < -1) & (wind < 14),
        "-Rain": (rain > 0) & (mean > 0),
        "-Snow": (rain > 0) & (mean < 2),
    }
    signs = DataFrame(signs | {"-Thunderstorm": (rain > 5) & (mean > 14)})
    w |= {
        "Events": signs.dot(signs.columns).str[1:].replace("", None),
        "WindDirDegrees": (225 + 70 * high) % 360,
    }
    table = DataFrame(w)
    return table.astype(dict.fromkeys(table.filter(regex="Temp|Dew|Humid|Pressure|Wind"), int))


def _trend(rng: np.random.Generator) -> DataFrame:
    """What people searched for, 0 to 100, week by week: in the country, and in most states."""
    sundays = pd.date_range("2012-12-02", periods=148, freq="7D", name="Sunday")
    season = np.cos(2 * np.pi * (sundays.day_of_year.to_numpy() - 345) / 365)
    country = 66 + 9 * season + np.linspace(0, 6, len(sundays))
    local = country + 5 * _field(rng, len(sundays), 0.7).to_numpy().reshape(len(STATES), -1)
    table = DataFrame(local.T, sundays, "Rossmann_DE_" + STATES.State.str.removeprefix("HB,")).drop(
        columns=NO_TREND
    )
    table = (
        table.assign(Rossmann_DE=country + 2 * rng.normal(size=len(sundays)))
        .clip(0, 100)
        .round()
        .astype(int)
    )
    table = table.melt(var_name="file", value_name="trend", ignore_index=False).reset_index()
    table["week"] = [
        f"{day:%Y-%m-%d} - {day + pd.Timedelta(days=6):%Y-%m-%d}" for day in table.Sunday
    ]
    table["State"] = table.file.str[12:].replace("NI", "HB,NI")
    # Weeks of the calendar end on Sunday: sales go with the searches of the week after, as the lesson joins them
    table["Year"], table["Week"] = table.Sunday.dt.year, table.Sunday.dt.isocalendar().week
    return table[["file", "week", "trend", "State", "Year", "Week"]].sort_values(["file", "week"])


def _shops(rng: np.random.Generator) -> DataFrame:
    """The columns of store.csv, then what no table tells: level, answers to promotions and holidays, …."""
    n = sum(TYPES.values())
    shops = DataFrame({"Store": np.arange(1, n + 1)})
    shops["StoreType"] = rng.permutation(np.repeat([*TYPES], [*TYPES.values()]))
    shops["Assortment"] = np.where(
        shops.StoreType == "b", "b", rng.choice(["a", "c"], n, p=[0.54, 0.46])
    )
    shops["CompetitionDistance"] = np.exp(rng.normal(7.8, 1.2, n)).clip(20, 60000).round(-1)
    shops.loc[rng.integers(n), "CompetitionDistance"] = np.nan
    opened = ["CompetitionOpenSinceMonth", "CompetitionOpenSinceYear"]
    shops[opened] = rng.integers([[1], [2002]], [[13], [2016]], (2, n)).T
    shops["Promo2"] = (rng.random(n) < 0.51).astype(int)
    shops["Promo2SinceWeek"], shops["Promo2SinceYear"] = rng.integers(
        [[1], [2009]], [[51], [2016]], (2, n)
    )
    shops["PromoInterval"] = rng.choice(INTERVALS, n, p=[0.6, 0.2, 0.2])
    shops[opened] = shops.loc[rng.random(n) > 0.32, opened]  # gaps elsewhere
    promo2 = ["Promo2SinceWeek", "Promo2SinceYear", "PromoInterval"]
    shops[promo2] = shops.loc[shops.Promo2 == 1, promo2]
    shops["State"] = rng.permutation(STATES.State.repeat(STATES.shops))
    shops["level"] = rng.normal(8.7, 0.25, n) + shops.Assortment.map(
        {"a": 0.0, "b": 0.1, "c": 0.06}
    )
    shops["answer"], shops["tourists"] = rng.uniform(0.6, 1.4, n), rng.normal(0, 0.12, n)
    shops["basket"] = shops.StoreType.map({"a": 8.8, "b": 5.1, "c": 8.6, "d": 11.3})
    june = pd.to_datetime(rng.choice(["2013-06-01", "2014-06-01", "2015-06-01"], n))
    shops["refit"] = (june + pd.to_timedelta(rng.integers(0, 110, n), "D")).where(
        rng.random(n) < 0.5
    )
    shops["refit_days"] = rng.integers(10, 25, n)
    return shops


def _expected(days: DataFrame) -> Series:
    """What a shop sells in a day but for the noise: exp of what the calendar, the shop, searches and weather add."""
    weekday, day = days.DayOfWeek - 1, days.Date.dt.day_of_year
    south, west = (51 - days.lat) / 3, (10 - days.lon) / 3  # near states are alike
    calendar = (
        WEEKDAY[weekday]
        + 0.05 * west
        + 0.06 * south * (weekday == 5)
        - 0.04 * west * (weekday == 0)
    )
    calendar += (0.3 + 0.08 * west) * np.exp(-(((day - 350) / 9) ** 2)) + 0.04 * south * np.cos(
        day * 2 * np.pi / 365
    )
    calendar += 0.12 * np.exp(-((days.Date.dt.day - 1) % 30) / 3) + 0.04 * (days.Year - 2013)
    calendar += days.until.map({1: 0.16, 2: 0.08}).fillna(0) + days.since.map(
        {0: 0.3, 1: 0.08}
    ).fillna(0)
    calendar -= 0.06 * days.SchoolHoliday * (weekday < 5)
    opened = {
        "year": days.CompetitionOpenSinceYear,
        "month": days.CompetitionOpenSinceMonth,
        "day": 15,
    }
    months = (days.Date - pd.to_datetime(opened)).dt.days.clip(0, 720) // 30
    lost = 0.3 * np.exp(-days.CompetitionDistance / 3000) * months / 24
    running = days.Year + days.Week / 53 > days.Promo2SinceYear + days.Promo2SinceWeek / 53
    mailed = running & (
        days.PromoInterval.map(INTERVALS.index, na_action="ignore") == (days.Date.dt.month - 1) % 3
    )
    refit = days.to_refit.map(CLEARANCE).fillna(0) + days.since_refit.map(REOPENED).fillna(0)
    promo = PROMO[weekday] * days.Promo * days.answer
    shop = (
        days.level
        + promo
        - lost.fillna(0)
        + 0.15 * mailed
        + days.tourists * days.SchoolHoliday
        + refit
    )
    events = days.Events.fillna("")
    other = 0.01 * (days.trend - 66) + 0.006 * (days.Mean_TemperatureC - 10).clip(-10, 15)
    other = other - 0.1 * events.str.contains("Snow") - 0.05 * events.str.contains("Rain")
    return np.exp(calendar + shop + other)
