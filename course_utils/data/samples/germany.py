"""The country around the shops of rossmann.py. Holidays are real, weather and searches made up.

Weather and searches follow the map: near states are alike, and the lesson looks for that in what
the network learned of the states.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from .drawing import Rng

__all__ = ["DAYS", "STATES", "calendar", "searches", "weather"]

DAYS = pd.date_range("2013-01-01", "2015-09-17")

# StateName, State (its code), lat, lon, shops (how many), summer (first day of the holidays).
# Bremen has no shops, as in the competition: Lower Saxony's code stands for both.
STATES = pd.read_csv(Path(__file__).with_name("states.csv"))
NO_SEARCHES = ["Rossmann_DE_BB", "Rossmann_DE_HB", "Rossmann_DE_MV"]

EASTER = {
    2013: "2013-03-31",
    2014: "2014-04-20",
    2015: "2015-04-05",
}
EVERYWHERE = ["01-01", "05-01", "10-03"]  # New Year, Labour Day, Unity
EVERYWHERE_AFTER_EASTER = [39, 50]  # days: Ascension, Whit Monday
REGIONAL = {
    "01-06": "BW BY ST",  # Epiphany
    "08-15": "BY SL",  # Assumption
    "10-31": "BB MV SN ST TH",  # Reformation
    "11-01": "BW BY NW RP SL",  # All Saints
}
REGIONAL_AFTER_EASTER = {60: "BW BY HE NW RP SL"}  # Corpus Christi


def calendar() -> DataFrame:
    """A row for each state and day: Year, Week, DayOfWeek (1 to 7), StateHoliday, SchoolHoliday.

    And the days `since` and `until` the nearest holidays there.
    """
    grid = STATES.merge(DataFrame({"Date": DAYS}), how="cross")
    date = grid.Date
    grid["Year"] = date.dt.year
    grid["Week"] = date.dt.isocalendar().week
    grid["DayOfWeek"] = date.dt.day_of_week + 1
    easter = pd.to_datetime(grid.Year.map(EASTER))
    after_easter = (date - easter).dt.days
    grid["StateHoliday"] = _holidays(grid, after_easter)
    grid["SchoolHoliday"] = _no_school(grid, after_easter).astype(int)
    holiday = date.where(grid.StateHoliday != "0")
    last = holiday.groupby(grid.State).ffill()
    coming = holiday.groupby(grid.State).bfill()
    grid["since"] = (date - last).dt.days
    grid["until"] = (coming - date).dt.days
    return grid


def _holidays(grid: DataFrame, after_easter: Series) -> np.ndarray:
    """Of each row "b" for Easter, "c" for Christmas, "a" for another holiday, "0" for none."""
    day = grid.Date.dt.strftime("%m-%d")
    easter = after_easter.isin([-2, 1])  # Good Friday, Easter Monday; all Sundays are closed anyway
    christmas = day.isin(["12-25", "12-26"])
    other = day.isin(EVERYWHERE) | after_easter.isin(EVERYWHERE_AFTER_EASTER)
    for when, states in REGIONAL.items():
        there = grid.State.isin(states.split())
        other |= (day == when) & there
    for days, states in REGIONAL_AFTER_EASTER.items():
        there = grid.State.isin(states.split())
        other |= (after_easter == days) & there
    return np.select([easter, christmas, other], ["b", "c", "a"], "0")


def _no_school(grid: DataFrame, after_easter: Series) -> Series:
    """Whether a day lies in the holidays of its state."""
    first_day = grid.Year.astype(str) + "-" + grid.summer
    in_summer = (grid.Date - pd.to_datetime(first_day)).dt.days
    summer = in_summer.between(0, 41)
    autumn = in_summer.between(82, 95)
    easter = after_easter.between(-8, 5)
    day = grid.Date.dt.strftime("%m-%d")
    winter = (day > "12-22") | (day < "01-05")
    return summer | autumn | easter | winter


def _field(rng: Rng, n: int, memory: float) -> Series:
    """Noise (states * n,) of standard deviation 1, for n days (or weeks) of each state in turn.

    Near states are alike, and so are near days: `memory`, 0 to 1, is what a day has of the one
    before. The covariance of two states is exp(-distance / 300 km); its Cholesky factor times
    independent noise has that covariance.
    """
    km = STATES[["lat", "lon"]].to_numpy() * [111, 70]  # (states, 2), of a degree here
    distance = np.linalg.norm(km[:, None] - km, axis=2)  # (states, states)
    factor = np.linalg.cholesky(np.exp(-distance / 300))
    independent = rng.normal(size=(len(STATES), n))
    days = (factor @ independent).T  # (n, states)
    fresh = np.sqrt(1 - memory**2)  # keeps the standard deviation at 1
    for i in range(1, n):
        days[i] = memory * days[i - 1] + fresh * days[i]
    return Series(days.T.ravel())


class Sky(NamedTuple):
    """The weather of each state and day, a series each; a gap where nobody measured."""

    celsius: Series
    spread: Series  # from the mean temperature of a day to its highest or lowest
    humidity: Series  # per cent
    pressure: Series  # hPa
    wind_from: Series  # degrees
    sight: Series  # km
    wind: Series  # km/h
    gust: Series  # km/h
    rain: Series  # mm
    clouds: Series  # eighths of the sky
    is_foggy: Series


def _sky(rng: Rng, calendar: DataFrame) -> Sky:
    """Made of five fields: what follows from one of them goes together."""
    warm, wet, windy, dry, high = [_field(rng, len(DAYS), memory=0.8) for _ in range(5)]
    season = -_yearly(calendar.Date.dt.day_of_year - 20)  # 1 in July
    south = 51 - calendar.lat  # degrees
    wind = np.exp(2.4 + 0.4 * windy)
    no_sight, no_gust, no_clouds = rng.random((3, len(calendar)))
    sight = (14 + 6 * dry).clip(0, 31).round()
    gust = (3.2 * wind).round()
    has_gust = (windy > 0.4) & (no_gust > 0.3)
    clouds = (5 + 2 * wet - dry).clip(0, 8).round()
    return Sky(
        celsius=9.5 + 9.5 * season + 0.5 * south + 3.5 * warm,
        spread=4.5 + season,
        humidity=76 - 9 * season + 8 * wet - 4 * dry,
        pressure=1016 + 8 * high,
        wind_from=(225 + 70 * high) % 360,
        sight=sight.where(no_sight > 0.024),
        wind=wind,
        gust=gust.where(has_gust),
        rain=(4 * (wet - 0.1)).clip(lower=0).round(2),
        clouds=clouds.where(no_clouds > 0.074),
        is_foggy=(dry < -1) & (wind < 14),
    )


def weather(rng: Rng, calendar: DataFrame) -> DataFrame:
    """A row for each state and day, in the columns of the archive."""
    sky = _sky(rng, calendar)
    extremes = {"Max": 1, "Mean": 0, "Min": -1}
    table = DataFrame({"file": calendar.StateName, "Date": calendar.Date})
    for name, sign in extremes.items():
        table[f"{name}_TemperatureC"] = sky.celsius + sky.spread * sign
    table["Dew_PointC"] = sky.celsius - 1
    table["MeanDew_PointC"] = sky.celsius - 4
    table["Min_DewpointC"] = sky.celsius - 7
    for name, sign in extremes.items():
        humidity = sky.humidity + 17 * sign
        table[f"{name}_Humidity"] = humidity.clip(5, 100)
    for name, sign in extremes.items():
        table[f"{name}_Sea_Level_PressurehPa"] = sky.pressure + 3 * sign
    table["Max_VisibilityKm"] = (sky.sight + 9).clip(upper=31)
    table["Mean_VisibilityKm"] = sky.sight
    table["Min_VisibilitykM"] = (sky.sight - 6).clip(lower=0)
    table["Max_Wind_SpeedKm_h"] = 1.9 * sky.wind
    table["Mean_Wind_SpeedKm_h"] = sky.wind
    table["Max_Gust_SpeedKm_h"] = sky.gust
    table["Precipitationmm"] = sky.rain
    table["CloudCover"] = sky.clouds
    table["Events"] = _events(sky)
    table["WindDirDegrees"] = sky.wind_from
    whole = table.filter(regex="Temp|Dew|Humid|Pressure|Wind").columns
    return table.astype(dict.fromkeys(whole, int))


def _yearly(days: np.ndarray | Series) -> np.ndarray | Series:
    """A wave of a year: 1 at day 0, -1 half a year later."""
    return np.cos(2 * np.pi * days / 365)


def _events(sky: Sky) -> Series:
    """Names of what happened on each day, as in "Rain-Snow"; None where nothing did."""
    rain, celsius = sky.rain, sky.celsius
    happened = {
        "Fog": sky.is_foggy,
        "Rain": (rain > 0) & (celsius > 0),
        "Snow": (rain > 0) & (celsius < 2),
        "Thunderstorm": (rain > 5) & (celsius > 14),
    }
    names = Series([""] * len(rain))
    for name, there in happened.items():
        names = names + np.where(there, f"-{name}", "")
    return names.str[1:].replace("", None)


def searches(rng: Rng) -> DataFrame:
    """How many people searched for the shops, 0 to 100, by week: in the country and most states."""
    sundays = pd.date_range("2012-12-02", periods=148, freq="7D", name="Sunday")
    weeks = len(sundays)
    season = _yearly(sundays.day_of_year.to_numpy() - 345)  # 1 in December
    growth = np.linspace(0, 6, weeks)
    country = 66 + 9 * season + growth
    field = _field(rng, weeks, memory=0.7).to_numpy()
    local = country + 5 * field.reshape(-1, weeks)  # (states, weeks)
    files = "Rossmann_DE_" + STATES.State.str.removeprefix("HB,")
    table = DataFrame(local.T, index=sundays, columns=files)
    table = table.drop(columns=NO_SEARCHES)
    table["Rossmann_DE"] = country + 2 * rng.normal(size=weeks)
    table = table.clip(0, 100).round().astype(int)

    # From a column for each file to a row for each week and file
    table = table.melt(var_name="file", value_name="trend", ignore_index=False)
    table = table.reset_index()
    first = table.Sunday.dt.strftime("%Y-%m-%d")
    saturday = table.Sunday + pd.Timedelta(days=6)
    last = saturday.dt.strftime("%Y-%m-%d")
    table["week"] = first + " - " + last
    code = table.file.str.removeprefix("Rossmann_DE").str.removeprefix("_")
    table["State"] = code.replace("NI", "HB,NI")
    # Weeks of the calendar end on Sunday: sales go with the searches of the week after, as the
    # lesson joins them
    table["Year"] = table.Sunday.dt.year
    table["Week"] = table.Sunday.dt.isocalendar().week
    columns = ["file", "week", "trend", "State", "Year", "Week"]
    return table[columns].sort_values(["file", "week"])
