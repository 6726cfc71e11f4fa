"""Sentences of film reviews, rated by people, in the folders of the large IMDB set.

10,605 sentences of critics on rottentomatoes.com. 15 people or more rated each from -4 (very negative) to 4 (Hutto and
Gilbert: VADER, a parsimonious rule-based model for sentiment analysis of social media text. ICWSM 2014); the mean is
kept. They come out of a data package that is read as an archive; its code is never imported.
"""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from course_utils.data.registry import DataError
from course_utils.data.samples import package

__all__ = ["VERSION", "build"]

VERSION: int = 1
ARCHIVE = "vaderSentiment-0.5.zip"
INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
SENTENCES = 10_605
EVERY = 5  # one sentence in five is for the test; the source has them in no order but likes before dislikes
TWINS = 0.5  # share of their different words that two sentences have in common (Jaccard), from which they are twins
FOLDERS = {1: "pos", -1: "neg", 0: "unsup"}  # sign of the rating -> folder


def build(target: Path) -> None:
    """Write a sentence a file, and `target`/ratings.csv: file and mean rating, -4 to 4, of each.

    {train,test}/{pos,neg}/NUMBER_RATING.txt by the sign of the rating; the few rated 0 have no label and go to
    train/unsup. No sentence in test is another one, or nearly so, in test or train. DataError if the package is missing
    or holds something else. Used in lesson 4.
    """
    archive = package(ARCHIVE)
    table = _read(archive)
    if len(table) != SENTENCES:
        raise DataError(f"{archive}: not the rated sentences expected; delete it and run `make setup`")
    table["file"] = _files(table)
    for folder in sorted({str(Path(file).parent) for file in table["file"]}):
        (target / folder).mkdir(parents=True)
    for file, text in zip(table["file"], table["text"], strict=True):
        (target / file).write_bytes(text.encode("utf-8"))
    table[["file", "rating"]].to_csv(target / "ratings.csv", index=False, lineterminator="\n")


def _read(archive: Path) -> pd.DataFrame:
    """number (1 to 10,605), rating and text of each sentence, in the order of the source."""
    with zipfile.ZipFile(archive) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(INNER))) as inner:
        text = inner.extractfile(MEMBER)
        return pd.read_csv(text, sep="\t", names=["number", "rating", "text"], quoting=3, keep_default_na=False)


def _files(table: pd.DataFrame) -> list[str]:
    label = np.sign(table["rating"]).astype(int)
    test = (table["number"] % EVERY == 0) & (label != 0)
    test[test] = ~_has_twin(table["text"], np.flatnonzero(test))
    split = np.where(test, "test", "train")
    rows = zip(split, label.map(FOLDERS), table["number"], table["rating"], strict=True)
    return [f"{part}/{kind}/{number}_{rating:.2f}.txt" for part, kind, number, rating in rows]


def _has_twin(texts: pd.Series, rows: np.ndarray) -> np.ndarray:
    """For each of `rows`, whether any other text is the same or nearly so."""
    words = CountVectorizer(binary=True, token_pattern=r"\w+", dtype=np.float32).fit_transform(texts)
    size = np.asarray(words.sum(1)).ravel()
    found = []
    for block in np.array_split(rows, len(rows) // 256 + 1):  # a table of 11 MB, not one of 90
        both = (words[block] @ words.T).toarray()
        alike = both / (size[block, None] + size - both)
        found.append((alike >= TWINS).sum(1) > 1)  # one is the text itself
    return np.concatenate(found)
