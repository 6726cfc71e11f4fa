"""Simulated sales of 80 shops, in the tables of the Rossmann competition and of its entrants.

What a shop sells in a day is what the calendar, the shop, its state, the weather, ... make of it,
times noise that nobody can predict: exp(SIGMA * normal). `expected_sales.csv` has the former, so
that the best possible RMSPE is known.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from .drawing import Rng
from .germany import STATES, calendar, searches, weather

__all__ = ["PROMO", "SIGMA", "STATES", "VERSION", "build"]

VERSION: int = 3
SIGMA = 0.1  # of the logarithm of the sales of a day: what is left for nobody to predict
TYPES = {"a": 43, "b": 3, "c": 10, "d": 24}  # how many shops; those of type b never close
BASKET = {"a": 8.8, "b": 5.1, "c": 8.6, "d": 11.3}  # euros a customer, by type of shop
INTERVALS = ["Jan,Apr,Jul,Oct", "Feb,May,Aug,Nov", "Mar,Jun,Sept,Dec"]

# All effects are logarithms: they add up, and the sales are exp of the sum.
OF_DAY, PROMO = np.array(
    [
        (0.09, 0.42),  # Monday
        (0.0, 0.32),
        (-0.04, 0.27),
        (-0.02, 0.26),
        (0.04, 0.2),
        (-0.02, 0.0),
        (0.25, 0.0),  # Sunday
    ]
).T
ASSORTMENT = {"a": 0.0, "b": 0.1, "c": 0.06}
# By the days until a shop is refitted: it sells out, then its shelves are empty. By the days since.
CLEARANCE = dict(enumerate(np.linspace(-0.6, 0.9, 10), start=1))
REOPENED = dict(enumerate(np.linspace(0.5, 0.1, 7)))
# By the days until a holiday and since one.
BEFORE_HOLIDAY = {1: 0.16, 2: 0.08}
AFTER_HOLIDAY = {0: 0.3, 1: 0.08}


def build(target: Path) -> None:
    """Write the seven tables, and expected_sales.csv (Store, Date, Expected of open days)."""
    rng = np.random.default_rng(2013)
    dates = calendar()
    trend = searches(rng)
    shops = _shops(rng)
    known_to_nobody = _secrets(rng, shops)
    sky = weather(rng, dates)
    days = _days(shops.join(known_to_nobody), dates, sky, trend)
    days["Expected"] = _expected(days)
    sales = days.Open * days.Expected * _luck(rng, SIGMA, len(days))
    days["Sales"] = sales.round().astype(int)
    customers = days.Sales / days.basket * _luck(rng, 0.05, len(days))
    days["Customers"] = customers.round().astype(int)

    tables = _sales_tables(rng, days)
    tables["weather"] = sky
    tables["googletrend"] = trend[["file", "week", "trend"]]
    tables["store"] = shops.loc[:, "Store":"PromoInterval"]
    tables["store_states"] = shops[["Store", "State"]]
    tables["state_names"] = STATES[["StateName", "State"]]
    for name, table in tables.items():
        path = target / f"{name}.csv"
        table.to_csv(path, index=False, lineterminator="\n", na_rep="NA")


def _shops(rng: Rng) -> DataFrame:
    """A row for each shop: the columns of store.csv, and its State."""
    n = sum(TYPES.values())
    shops = DataFrame({"Store": range(1, n + 1)})
    types = np.repeat(list(TYPES), list(TYPES.values()))
    shops["StoreType"] = rng.permutation(types)
    assortment = rng.choice(["a", "c"], n, p=[0.54, 0.46])
    shops["Assortment"] = np.where(shops.StoreType == "b", "b", assortment)
    metres = np.exp(rng.normal(7.8, 1.2, n))
    shops["CompetitionDistance"] = metres.clip(20, 60000).round(-1)
    unknown = rng.integers(n)
    shops.loc[unknown, "CompetitionDistance"] = np.nan
    opened = ["CompetitionOpenSinceMonth", "CompetitionOpenSinceYear"]
    shops[opened] = _dates(rng, n, parts=12, years=(2002, 2015))
    shops["Promo2"] = (rng.random(n) < 0.51).astype(int)
    begun = ["Promo2SinceWeek", "Promo2SinceYear"]
    shops[begun] = _dates(rng, n, parts=50, years=(2009, 2015))
    shops["PromoInterval"] = rng.choice(INTERVALS, n, p=[0.6, 0.2, 0.2])
    # Rows that are not set again have gaps
    is_known = rng.random(n) > 0.32
    shops[opened] = shops.loc[is_known, opened]
    promo2 = [*begun, "PromoInterval"]
    shops[promo2] = shops.loc[shops.Promo2 == 1, promo2]
    shops["State"] = rng.permutation(STATES.State.repeat(STATES.shops))
    return shops


def _luck(rng: Rng, sigma: float, n: int) -> np.ndarray:
    """n factors about 1, whose logarithms have that standard deviation."""
    return np.exp(sigma * rng.normal(size=n))


def _dates(rng: Rng, n: int, parts: int, years: tuple[int, int]) -> np.ndarray:
    """Of n shops (n, 2): a month or week from 1 to `parts`, and a year, first and last included."""
    first, last = years
    low = [[1], [first]]
    high = [[parts], [last]]
    return rng.integers(low, high, (2, n), endpoint=True).T


def _secrets(rng: Rng, shops: DataFrame) -> DataFrame:
    """A row for each shop: what no table tells of it."""
    n = len(shops)
    secrets = DataFrame(index=shops.index)
    usual = rng.normal(8.7, 0.25, n)
    secrets["level"] = usual + shops.Assortment.map(ASSORTMENT)
    secrets["answer"] = rng.uniform(0.6, 1.4, n)  # to promotions
    secrets["tourists"] = rng.normal(0, 0.12, n)  # what school holidays add
    secrets["basket"] = shops.StoreType.map(BASKET)
    june = rng.choice(["2013-06-01", "2014-06-01", "2015-06-01"], n)
    later = rng.integers(0, 110, n)
    refit = pd.to_datetime(june) + pd.to_timedelta(later, "D")
    is_refitted = rng.random(n) < 0.5
    secrets["refit"] = refit.where(is_refitted)  # the day it begins
    secrets["refit_days"] = rng.integers(10, 25, n)
    return secrets


def _days(shops: DataFrame, dates: DataFrame, sky: DataFrame, trend: DataFrame) -> DataFrame:
    """A row for each shop and day, newest first: what is known of both, and whether it opens."""
    days = shops.merge(dates, on="State")
    days = days.merge(sky, left_on=["StateName", "Date"], right_on=["file", "Date"])
    days = days.merge(trend, on=["State", "Year", "Week"])
    days = days.sort_values(["Date", "Store"], ascending=[False, True])
    monday = pd.Timestamp("2012-12-31")
    week = (days.Date - monday).dt.days // 7
    days["Promo"] = week % 2 * (days.DayOfWeek <= 5)  # in every other week, Monday to Friday
    days["to_refit"] = (days.refit - days.Date).dt.days
    days["since_refit"] = -days.to_refit - days.refit_days
    in_refit = (days.to_refit <= 0) & (days.since_refit < 0)
    is_workday = (days.StateHoliday == "0") & (days.DayOfWeek < 7)
    never_closes = days.StoreType == "b"
    opens = (is_workday | never_closes) & ~in_refit
    days["Open"] = opens.astype(int)
    return days


def _expected(days: DataFrame) -> Series:
    """What a shop sells in a day but for the noise."""
    logarithm = _of_calendar(days) + _of_shop(days) + _of_surroundings(days)
    return np.exp(logarithm)


def _of_calendar(days: DataFrame) -> Series:
    """What the date adds to the logarithm of the sales, differently by region."""
    weekday = days.DayOfWeek - 1
    day = days.Date.dt.day_of_year
    south = (51 - days.lat) / 3  # near states are alike
    west = (10 - days.lon) / 3
    saturdays = 0.06 * south * (weekday == 5)
    mondays = 0.04 * west * (weekday == 0)
    rhythm = OF_DAY[weekday] + 0.05 * west + saturdays - mondays
    advent = np.exp(-(((day - 350) / 9) ** 2))  # a bell around 16 December
    christmas = (0.3 + 0.08 * west) * advent
    wave = np.cos(2 * np.pi * day / 365)  # 1 at New Year
    winter = 0.04 * south * wave
    since_payday = (days.Date.dt.day - 1) % 30
    payday = 0.12 * np.exp(-since_payday / 3)
    growth = 0.04 * (days.Year - 2013)
    before = days.until.map(BEFORE_HOLIDAY).fillna(0)
    after = days.since.map(AFTER_HOLIDAY).fillna(0)
    no_school = 0.06 * days.SchoolHoliday * (weekday < 5)
    season = christmas + winter
    holidays = before + after
    return rhythm + season + (payday + growth) + holidays - no_school


def _of_shop(days: DataFrame) -> Series:
    """What the shop, its promotions, a competitor and a refit add."""
    promo = PROMO[days.DayOfWeek - 1] * days.Promo
    opened = {
        "year": days.CompetitionOpenSinceYear,
        "month": days.CompetitionOpenSinceMonth,
        "day": 15,
    }
    since = (days.Date - pd.to_datetime(opened)).dt.days
    months = since.clip(0, 720) // 30  # 24 at most
    nearness = np.exp(-days.CompetitionDistance / 3000)
    lost = 0.3 * nearness * months / 24
    begun = days.Promo2SinceYear + days.Promo2SinceWeek / 53
    running = days.Year + days.Week / 53 > begun
    first_month = days.PromoInterval.map(INTERVALS.index, na_action="ignore")  # of each quarter
    month = (days.Date.dt.month - 1) % 3
    mailed = running & (first_month == month)
    tourists = days.tourists * days.SchoolHoliday
    clearance = days.to_refit.map(CLEARANCE).fillna(0)
    reopened = days.since_refit.map(REOPENED).fillna(0)
    refit = clearance + reopened
    shop = days.level + promo * days.answer - lost.fillna(0)
    return shop + 0.15 * mailed + tourists + refit


def _of_surroundings(days: DataFrame) -> Series:
    """What searches and the weather add."""
    events = days.Events.fillna("")
    trend = 0.01 * (days.trend - 66)
    warmth = (days.Mean_TemperatureC - 10).clip(-10, 15)
    snow = 0.1 * events.str.contains("Snow")
    rain = 0.05 * events.str.contains("Rain")
    return trend + 0.006 * warmth - snow - rain


def _sales_tables(rng: Rng, days: DataFrame) -> dict[str, DataFrame]:
    """train, test and expected_sales, out of a row for each shop and day."""
    at = ["Store", "DayOfWeek", "Date"]
    known = ["Open", "Promo", "StateHoliday", "SchoolHoliday"]
    shops = rng.permutation(days.Store.unique())
    half_year = days.Date.between("2014-07-01", "2014-12-31")
    rebuilt = days.Store.isin(shops[:6]) & half_year  # closed for long, as some are there
    late = days.Date >= "2015-08-01"
    in_train = ~late & ~rebuilt
    train = days.loc[in_train, [*at, "Sales", "Customers", *known]]
    in_test = late & days.Store.isin(shops[-62:])
    test = days.loc[in_test, [*at, *known]]
    numbers = range(1, len(test) + 1)
    test.insert(0, "Id", numbers)
    is_known = rng.random(len(test)) > 0.002  # a few gaps, as there
    test["Open"] = test.Open.where(is_known)
    sells = (days.Open == 1) & ~rebuilt
    expected = days.loc[sells, ["Store", "Date", "Expected"]]
    expected = expected.round({"Expected": 1})
    return {"train": train, "test": test, "expected_sales": expected}
