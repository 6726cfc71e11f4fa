"""Sentences of film reviews, rated by people, in the folders of the large IMDB set.

10,605 sentences of critics on rottentomatoes.com, out of a data package. 15 people or more rated each from -4 (very
negative) to 4 (Hutto and Gilbert: VADER. ICWSM 2014); the mean is kept.
"""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
ARCHIVE = "vaderSentiment-0.5.zip"
INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
EVERY = 5  # one sentence in five is for the test; the source has them in no order but likes before dislikes
TWINS = 0.5  # share of their different words that two sentences have in common (Jaccard), from which they are twins
FOLDERS = {1: "pos", -1: "neg", 0: "unsup"}  # sign of the rating -> folder


def build(target: Path) -> None:
    """Write a sentence a file, and `target`/ratings.csv: file and mean rating, -4 to 4, of each.

    {train,test}/{pos,neg}/NUMBER_RATING.txt by the sign of the rating; the few rated 0 have no label and go to
    train/unsup. No sentence in test is another one, or nearly so, in test or train. Used in lesson 4.
    """
    with tarfile.open(fileobj=member(ARCHIVE, INNER)) as archive:
        text, columns = archive.extractfile(MEMBER), ["number", "rating", "text"]
        table = pd.read_csv(text, sep="\t", names=columns, quoting=3, keep_default_na=False)
    test = (table["number"] % EVERY == 0) & (table["rating"] != 0)
    test[test] = ~_has_twin(table["text"], np.flatnonzero(test))
    name = table["number"].astype(str) + "_" + table["rating"].map("{:.2f}.txt".format)
    table["file"] = (
        np.where(test, "test/", "train/") + np.sign(table["rating"]).map(FOLDERS) + "/" + name
    )
    for file, text in zip(table["file"], table["text"], strict=True):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes(text.encode("utf-8"))
    table[["file", "rating"]].to_csv(target / "ratings.csv", index=False, lineterminator="\n")


def _has_twin(texts: pd.Series, rows: np.ndarray) -> np.ndarray:
    """For each of `rows`, whether any other text is the same or nearly so."""
    words = CountVectorizer(binary=True, token_pattern=r"\w+", dtype=np.float32).fit_transform(
        texts
    )
    size = np.asarray(words.sum(1)).ravel()
    both = (words[rows] @ words.T).toarray()
    return (both >= TWINS * (size[rows, None] + size - both)).sum(1) > 1  # one is the text itself
