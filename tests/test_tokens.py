"""Tokens, vocabularies and windows: by hand, by brute force, and on real text."""

import pickle
import re
from collections import Counter

import numpy as np
import pytest
import torch
from text_support import files

from course_utils import tokens as tk
from course_utils.core import DEVICE, VV
from course_utils.text import Field, TextDataset, Vocab, char_windows


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It wasn't bad!", "It was n't bad !"),
        ("You can’t say they're John's, I'll bet", "You ca n’t say they 're John 's , I 'll bet"),
        ("10/10 for $1,000.50 in the U.S. ...", "10 / 10 for $ 1,000.50 in the U.S. ..."),
        ("good-hearted -- naïve (1950s)", "good - hearted -- naïve ( 1950 s )"),
        ("'quoted' n'test a_b", "' quoted ' n ' test a _ b"),
        ("I'd say he’d go, I'm in", "I 'd say he ’d go , I 'm in"),
        ("HE ISN'T, WE'VE; at 12:30", "HE IS N'T , WE 'VE ; at 12:30"),
        ("3.14. a.b, A. e.g. it", "3.14 . a . b , A . e.g. it"),
    ],
)
def test_tokens_by_hand(text, tokens):
    assert tk.tokenize(text) == tokens.split()


def test_tokens_keep_every_letter_and_html_breaks_become_one_line_end():
    text = "Don't   wait...<br /><br />It's 5:30, <BR/>isn't it?"
    assert "".join(tk.tokenize(text)) == "Don'twait...\nIt's5:30,\nisn'tit?"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a<br>b", ["a", "\n", "b"]),
        ("<br/>b", ["\n", "b"]),
        ("  <br /> \n <BR >\n\nb<br", ["\n", "b", "<", "br"]),
        ("a \n\n b", ["a", "\n", "\n", "b"]),
        ("a <br><i>", ["a", "\n", "<", "i", ">"]),
    ],
)
def test_a_run_of_breaks_is_one_line_end(text, tokens):
    assert tk.tokenize(text) == tokens


def test_breaks_as_the_plain_pattern_finds_them():
    """Without the look behind, which is there for speed alone."""
    rng = np.random.default_rng(0)
    plain = re.compile(r"(?:\s*<br\s*/?>)+\s*", re.IGNORECASE)
    for _ in range(2000):
        text = "".join(rng.choice(["<br>", "<br />", "<br", " ", "\n", "a", ">", "/"], rng.integers(1, 15)))
        assert tk.BREAK.sub("|", text) == plain.sub("|", text)


LONG = 1_000_000  # a step for each pair of characters would take half an hour


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part",
    [" ", "\n ", "<br ", "<br", "<br>", "< br>", "a", "1", "1,", "a.", ".", "-", "'", "n't", "'s", "a'", "_", "n"],
)
def test_no_run_of_anything_takes_quadratic_time(part):
    text = f"one{part * (LONG // len(part))}two"
    assert "".join(tk.tokenize(text)).replace("\n", "") == re.sub(r"\s|<br\s*/?>", "", text)


def test_vocabulary_by_hand():
    vocab = Vocab(["d", "d", "b", "b", "b", "c", "a", "a", *["<pad>", "<unk>"] * 2], min_freq=2)
    assert vocab.itos == ["<unk>", "<pad>", "b", "a", "d"]
    numbers = vocab.numericalize(["d", "c", "b", "<pad>"])
    assert numbers.tolist() == [4, 0, 2, 1]
    assert (numbers.dtype, numbers.device.type) == (torch.int64, "cpu")
    assert vocab.numericalize([]).tolist() == []
    assert vocab.textify(numbers) == ["d", "<unk>", "b", "<pad>"]


def test_vocabulary_round_trip_and_unknown_words_leave_it_as_it_is():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in rng.zipf(1.5, 3000)]
    vocab = Vocab(words, min_freq=3)
    counts = Counter(words)
    assert set(vocab.itos[2:]) == {w for w, n in counts.items() if n >= 3}
    numbers = [counts[w] for w in vocab.itos[2:]]
    assert numbers == sorted(numbers, reverse=True)
    assert vocab.textify(vocab.numericalize(words)) == [w if counts[w] >= 3 else "<unk>" for w in words]
    size = len(vocab)
    assert vocab.stoi["never seen"] == 0
    assert len(vocab) == len(vocab.stoi) == size


def test_a_field_lowers_splits_numbers_and_fills_up():
    field = Field(lower=True, tokenize=str.split)
    texts = [field.preprocess(t) for t in ("The cat", "the dog saw THE cat")]
    assert texts[1] == ["the", "dog", "saw", "the", "cat"]
    field.build_vocab(*texts)
    assert field.vocab.itos == ["<unk>", "<pad>", "the", "cat", "dog", "saw"]
    numbers = field.numericalize(texts)
    assert numbers.T.tolist() == [[2, 3, 1, 1, 1], [2, 4, 5, 2, 3]]
    assert numbers.device.type == DEVICE.type
    assert texts == [["the", "cat"], ["the", "dog", "saw", "the", "cat"]]
    field.build_vocab(*texts, min_freq=2)
    assert field.vocab.itos == ["<unk>", "<pad>", "the", "cat"]


def test_a_label_stays_whole():
    assert Field(lower=True, sequential=False).preprocess("Two words") == "Two words"
    assert Field().preprocess("Two words") == ["Two", "words"]


def test_characters_typed_as_in_the_video_become_a_row():
    """`TEXT.numericalize('for thos')` gives (1, 8), which the lesson turns round: (8, 1)."""
    field = Field(tokenize=list)
    field.build_vocab("for those")
    row = field.numericalize("for thos")
    assert row.shape == (1, 8)
    assert VV(row.transpose(0, 1)).shape == (8, 1)
    assert "".join(field.vocab.textify(row[0])) == "for thos"


def test_a_field_survives_pickle():
    field = Field(lower=True, tokenize="spacy")
    field.build_vocab(tokens := field.preprocess("It wasn't. It was."))
    again = pickle.loads(pickle.dumps(field))
    assert again.preprocess("It wasn't. It was.") == tokens
    assert again.vocab.itos == field.vocab.itos
    assert again.vocab.stoi["nothing"] == 0


def test_equal_words_are_one_object():
    words = Field().preprocess("a longer word and another longer word")
    assert words[1] is words[5]


def test_misused_fields_say_so():
    with pytest.raises(ValueError, match=r"^unknown tokenizer 'spacey'; did you mean 'spacy'\? known: spacy$"):
        Field(tokenize="spacey")
    with pytest.raises(ValueError, match=r"^the field has no vocabulary yet: LanguageModelData\.from_text_files"):
        Field().numericalize([["a"]])
    with pytest.raises(ValueError, match=r"^Field\(sequential=False\) keeps a label whole: give texts a Field\(\)$"):
        Field(sequential=False).tokens("a text")


def test_a_byte_order_mark_is_no_character(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfab")
    assert tk.read_text(tmp_path / "a.txt") == "ab"


def test_reviews_are_read_with_their_labels_in_order(tmp_path):
    files(tmp_path / "train" / "neg", b="bad B", a="bad A")
    files(tmp_path / "train" / "pos", c="GOOD")
    files(tmp_path / "train" / "unsup", d="unlabelled")
    files(tmp_path / "test" / "neg", a="worse")
    files(tmp_path / "test" / "pos", a="better")
    text, label = Field(lower=True), Field(sequential=False)
    trn, test = tk.IMDB.splits(text, label, tmp_path)
    assert trn.examples == [(["bad", "a"], "neg"), (["bad", "b"], "neg"), (["good"], "pos")]
    assert test.examples == [(["worse"], "neg"), (["better"], "pos")]
    assert type(trn.examples) is list
    assert trn.fields == test.fields == {"text": text, "label": label}
    assert text.vocab is None
    with pytest.raises(ValueError, match=r"^a label stays whole: give labels a Field\(sequential=False\)$"):
        tk.IMDB.splits(text, Field(), tmp_path)
    with pytest.raises(ValueError, match=r"^Field\(sequential=False\) keeps a label whole"):
        tk.IMDB.splits(label, label, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"neg: no such file, and no folder with texts \(\.txt\)$"):
        tk.IMDB.splits(text, label, tmp_path / "train")


def test_examples_may_be_cut_off_from_the_set():
    texts = TextDataset([tk.Example(["a"], "x")])
    texts.examples.clear()
    assert texts == [(["a"], "x")]
    assert tk.Example(["a"]).label == ""


@pytest.mark.parametrize(("n", "cs", "step"), [(30, 3, 3), (31, 8, 1), (40, 8, 8), (4, 3, 1)])
def test_windows_by_brute_force(n, cs, step):
    idx = np.random.default_rng(0).integers(0, 99, n).tolist()
    x, y = char_windows(idx, cs, step)
    starts = range(0, n - cs, step)
    assert x.tolist() == [idx[i : i + cs] for i in starts]
    assert y.tolist() == [idx[i + 1 : i + cs + 1] for i in starts]


def test_windows_are_copies():
    idx = np.arange(9)
    x, y = char_windows(idx, 3)
    x[:] = -1
    assert idx.tolist() == [*range(9)]
    assert y[0].tolist() == [1, 2, 3]
    y[:] = -1
    assert idx.tolist() == [*range(9)]


def test_windows_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"^3 characters make no window of 3 and what follows: take more text$"):
        char_windows([1, 2, 3], 3)
    with pytest.raises(ValueError, match=r"^cs and step must be 1 or more, not 3 and 0$"):
        char_windows([1, 2, 3, 4], 3, 0)
    with pytest.raises(ValueError, match=r"^cs and step must be 1 or more, not 0 and 1$"):
        char_windows([1, 2, 3, 4], 0)


@pytest.mark.real
def test_windows_of_real_text_are_as_many_as_in_the_video(real_data):
    text = (real_data / "nietzsche.txt").read_text("utf-8")
    assert len(char_windows(list(map(ord, text)), 8, 8)[0]) == 75_111
