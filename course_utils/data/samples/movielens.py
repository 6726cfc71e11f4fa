"""MovieLens 100k, real ratings, in the tables of the later ml-latest-small that the lesson reads.

100,000 ratings, 1 to 5, of 1,682 films by 943 people (Harper and Konstan: The MovieLens Datasets.
ACM TiiS, 2015).
"""

from pathlib import Path

import pandas as pd
from pandas import DataFrame, Series

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "recbole-1.2.1-py3-none-any.whl"
FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
RENAMED_GENRES = {"Children's": "Children", "unknown": "(no genres listed)"}  # by later editions


def build(target: Path) -> None:
    """Write `target`/ratings.csv and movies.csv, both sorted. Used in lesson 5."""
    ratings = _read("inter", ["userId", "movieId", "rating", "timestamp"])
    ratings = ratings.sort_values(["userId", "movieId"]).astype({"rating": float})
    films = _read("item", ["movieId", "title", "year", "genres"]).sort_values("movieId")
    films["title"] = _titles(films)
    films["genres"] = films["genres"].map(_genres)
    _write(ratings, target / "ratings.csv")
    _write(films[["movieId", "title", "genres"]], target / "movies.csv")


def _titles(films: DataFrame) -> Series:
    """With the year behind them, as in "Toy Story (1995)", where it is known."""
    title = films["title"].replace("unkonwn", "unknown")  # the package's slip
    year = films["year"]
    return title.where(~year.str.isdigit(), title + " (" + year + ")")


def _genres(names: str) -> str:
    """Two genres "Children's Comedy" become "Children|Comedy"."""
    return "|".join(RENAMED_GENRES.get(name, name) for name in names.split())


def _read(kind: str, names: list[str]) -> DataFrame:
    """A table of the package under these names: columns parted by tabs, no gaps."""
    file = member(WHEEL, f"{FOLDER}.{kind}")
    return pd.read_csv(file, sep="\t", header=0, names=names, keep_default_na=False)


def _write(table: DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")
