"""Sentences of film reviews, rated by people, in the folders of the large IMDB set.

10,605 sentences of critics on rottentomatoes.com, out of a data package. 15 people or more rated
each from -4 (very negative) to 4 (Hutto and Gilbert: VADER. ICWSM 2014); the mean is kept.
"""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from sklearn.feature_extraction.text import CountVectorizer

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
ARCHIVE = "vaderSentiment-0.5.zip"
INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
EVERY = 5  # one sentence in five is for the test; the source has likes before dislikes
TWINS = 0.5  # share of their different words that twins have in common at least (Jaccard)
FOLDERS = {1: "pos", -1: "neg", 0: "unsup"}  # sign of the rating -> folder


def build(target: Path) -> None:
    """Write a sentence a file, and ratings.csv: file and mean rating, -4 to 4, of each.

    {train,test}/{pos,neg}/NUMBER_RATING.txt by the sign of the rating; the few rated 0 have no
    label and go to train/unsup. No sentence in test is another one, or nearly so, in test or train.
    Used in lesson 4.
    """
    table = _sentences()
    is_labelled = table["rating"] != 0
    in_test = (table["number"] % EVERY == 0) & is_labelled
    candidates = np.flatnonzero(in_test)
    in_test[in_test] = ~_has_twin(table["text"], candidates)
    split = Series(np.where(in_test, "test", "train"))
    folder = np.sign(table["rating"]).map(FOLDERS)
    number = table["number"].astype(str)
    rating = table["rating"].map("{:.2f}".format)
    table["file"] = split + "/" + folder + "/" + number + "_" + rating + ".txt"
    for file, text in zip(table["file"], table["text"], strict=True):
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
    table[["file", "rating"]].to_csv(target / "ratings.csv", index=False, lineterminator="\n")


def _sentences() -> DataFrame:
    """number, rating and text of each; a quotation mark in it is only a character."""
    names = ["number", "rating", "text"]
    with tarfile.open(fileobj=member(ARCHIVE, INNER)) as archive:
        file = archive.extractfile(MEMBER)
        return pd.read_csv(file, sep="\t", names=names, quoting=3, keep_default_na=False)


def _has_twin(texts: Series, rows: np.ndarray) -> np.ndarray:
    """For each of `rows` (n,), whether any other text is the same or nearly so: bool (n,)."""
    counter = CountVectorizer(binary=True, token_pattern=r"\w+", dtype=np.float32)
    words = counter.fit_transform(texts)  # sparse (texts, words), 0 or 1
    size = np.asarray(words.sum(1)).ravel()  # different words of each text
    both = (words[rows] @ words.T).toarray()  # (n, texts), how many two texts share
    either = size[rows, None] + size - both
    is_near = both >= TWINS * either
    return is_near.sum(1) > 1  # one is the text itself
