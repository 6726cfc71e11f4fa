"""Texts as tokens, and tokens as numbers: files read, tokenized, a vocabulary."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .choose import choose
from .core import to_device

__all__ = [
    "EOS",
    "IMDB",
    "PAD",
    "UNK",
    "Example",
    "Field",
    "TextDataset",
    "Vocab",
    "char_windows",
    "read_text",
    "text_files",
    "tokenize",
]

UNK = "<unk>"  # number 0 of a vocabulary: any token that it does not have
PAD = "<pad>"  # number 1: what fills up the shorter texts of a batch
EOS = "<eos>"  # the end of a file

# Spaces are looked at from the first of a run only (?<!\s), else a long run takes quadratic time.
BREAK = re.compile(r"(?<!\s)(?:\s*<br\s*/?>)+\s*", re.IGNORECASE)
WORD = re.compile(
    r"(?:[A-Za-z]\.){2,}"  # U.S.
    r"|\d+(?:[.,:]\d+)*"  # 1,000.5
    r"|[^\W_]+?(?=n['’]t\b)|n['’]t\b"  # was n't
    r"|['’](?:s|m|d|re|ve|ll)\b"  # it 's
    r"|[^\W_]+|\.{2,}|-{2,}|\n|\S",
    re.IGNORECASE,
)


def tokenize(text: str) -> list[str]:
    r"""English as words, endings such as n't and 's, and signs. Used in lesson 4.

    Spaces go; a line end is a token, \n, and so is a run of `<br />` with the spaces around it.
    """
    return WORD.findall(BREAK.sub("\n", text))


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"spacy": tokenize}


class Vocab:
    """Numbers for the tokens that occur `min_freq` times or more. Used in lessons 4 and 6.

    `itos`: number to token: `<unk>`, `<pad>`, then by frequency, equal ones by alphabet.
    `stoi`: token to number; 0 for any other token, which it does not take up.
    """

    def __init__(self, tokens: Iterable[str], min_freq: int = 1) -> None:
        counts = Counter(tokens)
        kept = [t for t, n in counts.items() if n >= min_freq and t not in (UNK, PAD)]
        kept.sort(key=lambda t: (-counts[t], t))
        self.min_freq = min_freq
        self.itos = [UNK, PAD, *kept]
        self.stoi = Counter({token: i for i, token in enumerate(self.itos)})

    def __len__(self) -> int:
        return len(self.itos)

    def numericalize(self, tokens: Iterable[str]) -> Tensor:
        """Tokens to their numbers, int64 (n,), on the CPU."""
        numbers = (self.stoi[token] for token in tokens)
        return torch.from_numpy(np.fromiter(numbers, np.int64))  # no list of millions in between

    def textify(self, numbers: Any) -> list[str]:
        """Numbers, as a list, array or tensor, to their tokens."""
        return [self.itos[i] for i in numbers]


class Field:
    """How a text becomes numbers. Used in lessons 4 and 6.

    `lower`: in lower case. `tokenize`: a function from a text to its tokens, such as `list`; or
    "spacy", which stands for our own `tokenize`. `sequential=False`: a label, which stays whole.
    `vocab`: None until `build_vocab` or `LanguageModelData.from_text_files` makes it.
    """

    def __init__(
        self,
        lower: bool = False,
        tokenize: Callable[[str], list[str]] | str = "spacy",
        sequential: bool = True,
    ) -> None:
        if isinstance(tokenize, str):
            tokenize = TOKENIZERS[choose("tokenizer", tokenize, TOKENIZERS)]
        self.tokenize = tokenize
        self.lower = lower
        self.sequential = sequential
        self.vocab: Vocab | None = None

    def preprocess(self, text: str) -> list[str] | str:
        """The tokens of a text, or a label as it is: torchtext's name for what it does to both."""
        return self.tokens(text) if self.sequential else text

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text; ValueError if this is the field of a label."""
        if not self.sequential:
            raise ValueError("Field(sequential=False) keeps a label whole: give texts a Field()")
        if self.lower:
            text = text.lower()
        return [sys.intern(token) for token in self.tokenize(text)]  # each word once in memory

    def build_vocab(self, *texts: Iterable[str], min_freq: int = 1) -> None:
        """Make the `Vocab` of lists of tokens, in place of any that there was."""
        self.vocab = Vocab(chain.from_iterable(texts), min_freq)

    def need_vocab(self) -> Vocab:
        """The vocabulary; ValueError if there is none yet."""
        if self.vocab is None:
            raise ValueError(
                "the field has no vocabulary yet: LanguageModelData.from_text_files makes it"
            )
        return self.vocab

    def numericalize(self, texts: Iterable[Iterable[str]]) -> Tensor:
        """Lists of tokens to a column of numbers each, int64 (longest, n), on the device.

        Shorter ones are filled up behind with `<pad>`. ValueError if there is no vocabulary yet.
        """
        vocab = self.need_vocab()
        columns = [vocab.numericalize(tokens) for tokens in texts]
        return to_device(pad_sequence(columns, padding_value=vocab.stoi[PAD]))


class Example(NamedTuple):
    """The tokens of one text, and its label where it has one."""

    text: list[str]
    label: str = ""


class TextDataset(list[Example]):
    """A list of examples, and the `fields` (text, label) that they were read with. Lesson 4."""

    def __init__(self, examples: Iterable[Example], **fields: Field) -> None:
        super().__init__(examples)
        self.fields = fields

    @property
    def examples(self) -> list[Example]:
        """The examples as a plain list."""
        return list(self)


def read_text(file: Path) -> str:
    """The text of a file; ValueError if it is not UTF-8, or has none."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as e:
        where = f"byte {e.object[e.start]:#04x} at {e.start}"
        raise ValueError(f"{file}: not UTF-8 ({where}): save it as UTF-8") from None
    if not text.strip():
        raise ValueError(f"{file}: an empty file: delete it, or give it its text")
    return text


def text_files(path: Path) -> list[Path]:
    """The file, or the .txt files of the folder, sorted; FileNotFoundError if there are none."""
    files = [path] if path.is_file() else sorted(path.glob("[!.]*.txt"))
    if not files:
        raise FileNotFoundError(f"{path}: no such file, and no folder with texts (.txt)")
    return files


class IMDB:
    """Film reviews, a file each, in folders neg and pos. Used in lesson 4."""

    @staticmethod
    def splits(text_field: Field, label_field: Field, root: str | Path) -> list[TextDataset]:
        """Training and test reviews, ROOT/train and ROOT/test, with the labels neg and pos.

        First neg, then pos, each in the order of the file names. ValueError for a file that
        `read_text` refuses, and for fields that are not of a text and a label.
        """
        if label_field.sequential:
            raise ValueError("a label stays whole: give labels a Field(sequential=False)")
        return [_reviews(Path(root) / part, text_field, label_field) for part in ("train", "test")]


def _reviews(folder: Path, text_field: Field, label_field: Field) -> TextDataset:
    examples = []
    for label in ("neg", "pos"):
        for file in text_files(folder / label):
            examples.append(Example(text_field.tokens(read_text(file)), label))
    return TextDataset(examples, text=text_field, label=label_field)


def char_windows(idx: Sequence[int], cs: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `cs` numbers, one every `step`, and the same one place on. Used in lesson 6.

    Both are arrays, (n, cs), and copies. `y[:, -1]` is what follows a window, `y` what follows each
    of its places. ValueError if `idx` is too short for a window and what follows.
    """
    if min(cs, step) < 1:
        raise ValueError(f"cs and step must be 1 or more, not {cs} and {step}")
    if len(idx) <= cs:
        raise ValueError(
            f"{len(idx)} characters make no window of {cs} and what follows: take more text"
        )
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(idx), cs + 1)  # (all, cs + 1)
    windows = windows[::step]  # (n, cs + 1)
    return windows[:, :-1].copy(), windows[:, 1:].copy()
