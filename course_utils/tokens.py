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
]
__all__ += ["text_files", "tokenize"]


UNK, PAD, EOS = "<unk>", "<pad>", "<eos>"  # numbers 0 and 1 of a vocabulary; EOS ends a file
BREAK = re.compile(r"(?:\s*<br\s*/?>)+\s*", re.IGNORECASE)
WORD = re.compile(
    r"(?:[A-Za-z]\.){2,}"  # U.S.
    r"|\d+(?:[.,:]\d+)*"  # 1,000.5
    r"|[^\W_]+?(?=n['’]t\b)|n['’]t\b"  # was n't
    r"|['’](?:s|m|d|re|ve|ll)\b"  # it 's
    r"|[^\W_]+|\.{2,}|-{2,}|\n|\S",
    re.IGNORECASE,
)


def tokenize(text: str) -> list[str]:
    r"""English as words, endings such as n't and 's, signs, and \n for `<br />` and line ends. Used in lesson 4."""
    return WORD.findall(BREAK.sub("\n", text))


TOKENIZERS = {"spacy": tokenize}


class Vocab:
    """Numbers for tokens seen `min_freq` times or more: `<unk>`, `<pad>`, by frequency, by alphabet. Lessons 4, 6."""

    def __init__(self, tokens: Iterable[str], min_freq: int = 1) -> None:
        counts = Counter(tokens)
        kept = [t for t, n in counts.items() if n >= min_freq and t not in (UNK, PAD)]
        self.itos = [UNK, PAD, *sorted(kept, key=lambda t: (-counts[t], t))]  # number to token
        self.stoi = Counter(
            {token: i for i, token in enumerate(self.itos)}
        )  # token to number, 0 for unknown ones

    def __len__(self) -> int:
        return len(self.itos)

    def numericalize(self, tokens: Iterable[str]) -> Tensor:
        """Tokens to their numbers, int64 (n,), on the CPU."""
        return torch.tensor([self.stoi[token] for token in tokens], dtype=torch.int64)

    def textify(self, numbers: Any) -> list[str]:
        """Numbers, as a list, array or tensor, to their tokens."""
        return [self.itos[i] for i in numbers]


class Field:
    """How a text becomes numbers. `tokenize`: text to tokens, such as `list`, or "spacy" for our own `tokenize`.

    `sequential=False`: a label, which stays whole. `vocab` is made by `build_vocab`. Used in lessons 4 and 6.
    """

    def __init__(self, lower: bool = False, tokenize: Callable[[str], list[str]] | str = "spacy",
                 sequential: bool = True) -> None:  # fmt: skip
        self.tokenize = (
            TOKENIZERS[choose("tokenizer", tokenize, TOKENIZERS)]
            if isinstance(tokenize, str)
            else tokenize
        )
        self.lower, self.sequential, self.vocab = lower, sequential, None

    def preprocess(self, text: str) -> list[str] | str:
        """The tokens of a text; a label as it is."""
        if not self.sequential:
            return text
        return list(
            map(sys.intern, self.tokenize(text.lower() if self.lower else text))
        )  # each word once in memory

    def build_vocab(self, *texts: Iterable[str], min_freq: int = 1) -> None:
        """Make the `Vocab` of lists of tokens."""
        self.vocab = Vocab(chain.from_iterable(texts), min_freq)

    def numericalize(self, texts: Iterable[Iterable[str]]) -> Tensor:
        """Lists of tokens to a column of numbers each, int64 (longest, n) on the device, filled up with `<pad>`."""
        if self.vocab is None:
            raise ValueError(
                "the field has no vocabulary yet: LanguageModelData.from_text_files makes it"
            )
        return to_device(
            pad_sequence(
                [self.vocab.numericalize(t) for t in texts], padding_value=self.vocab.stoi[PAD]
            )
        )


class Example(NamedTuple):
    """The tokens of one text, and its label where it has one."""

    text: list[str]
    label: str = ""


class TextDataset(list):
    """`examples`, and the `fields` (text, label) that they were read with."""

    examples = property(list, doc="The examples as a list.")

    def __init__(self, examples: Iterable[Example], **fields: Field) -> None:
        super().__init__(examples)
        self.fields = fields


def read_text(file: Path) -> str:
    """The text of a file; ValueError if it is not UTF-8, or has none."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(
            f"{file}: not UTF-8 (byte {e.object[e.start]:#04x} at {e.start}): save it as UTF-8"
        ) from None
    if not text.strip():
        raise ValueError(f"{file}: an empty file: delete it, or give it its text")
    return text


def text_files(path: Path) -> list[Path]:
    """The file, or the .txt files of the folder, sorted; FileNotFoundError if there are none."""
    if not (files := [path] if path.is_file() else sorted(path.glob("[!.]*.txt"))):
        raise FileNotFoundError(f"{path}: no such file, and no folder with texts (.txt)")
    return files


class IMDB:
    """Film reviews, a file each, in folders neg and pos. Used in lesson 4."""

    @staticmethod
    def splits(text_field: Field, label_field: Field, root: str | Path) -> list[TextDataset]:
        """Training and test reviews, ROOT/train and ROOT/test: first neg, then pos, in the order of the file names."""
        names, sets = ("neg", "pos"), []
        for folder in (Path(root) / "train", Path(root) / "test"):
            files = [
                (file, label_field.preprocess(name))
                for name in names
                for file in text_files(folder / name)
            ]
            examples = (
                Example(text_field.preprocess(read_text(file)), label) for file, label in files
            )
            sets.append(TextDataset(examples, text=text_field, label=label_field))
        return sets


def char_windows(idx: Sequence[int], cs: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `cs` numbers, one every `step`, and the same one place on: both int64 (n, cs). Used in lesson 6.

    `y[:, -1]` is what follows a window; `y` what follows each of its places. ValueError if there is no window.
    """
    if len(idx) <= cs:
        raise ValueError(
            f"{len(idx)} characters make no window of {cs} and what follows: take more text"
        )
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(idx), cs + 1)[::step]
    return windows[:, :-1].copy(), windows[:, 1:].copy()
