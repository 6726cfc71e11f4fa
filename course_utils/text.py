"""Text as numbers: tokens, vocabularies, streams for language models, labelled texts; and text out of numbers."""

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .core import to_device
from .data.registry import choose
from .loaders import BatchLoader
from .rnn import RNN_Learner, get_language_model, get_rnn_classifier

__all__ = ["IMDB", "Field", "LanguageModelData", "TextData", "Vocab", "char_windows", "generate", "tokenize"]

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


Names = str | Sequence[str]
TOKENIZERS = {"spacy": tokenize}


class Vocab:
    """Numbers for tokens seen `min_freq` times or more: `<unk>`, `<pad>`, by frequency, by alphabet. Lessons 4, 6."""

    def __init__(self, tokens: Iterable[str], min_freq: int = 1) -> None:
        counts = Counter(tokens)
        kept = [t for t, n in counts.items() if n >= min_freq and t not in (UNK, PAD)]
        self.itos = [UNK, PAD, *sorted(kept, key=lambda t: (-counts[t], t))]  # number to token
        self.stoi = Counter({token: i for i, token in enumerate(self.itos)})  # token to number, 0 for unknown ones

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
        self.tokenize = TOKENIZERS[choose("tokenizer", tokenize, TOKENIZERS)] if isinstance(tokenize, str) else tokenize
        self.lower, self.sequential, self.vocab = lower, sequential, None

    def preprocess(self, text: str) -> list[str] | str:
        """The tokens of a text; a label as it is."""
        if not self.sequential:
            return text
        return list(map(sys.intern, self.tokenize(text.lower() if self.lower else text)))  # each word once in memory

    def build_vocab(self, *texts: Iterable[str], min_freq: int = 1) -> None:
        """Make the `Vocab` of lists of tokens."""
        self.vocab = Vocab(chain.from_iterable(texts), min_freq)

    def numericalize(self, texts: Iterable[Iterable[str]]) -> Tensor:
        """Lists of tokens to a column of numbers each, int64 (longest, n) on the device, filled up with `<pad>`."""
        if self.vocab is None:
            raise ValueError("the field has no vocabulary yet: LanguageModelData.from_text_files makes it")
        return to_device(pad_sequence([self.vocab.numericalize(t) for t in texts], padding_value=self.vocab.stoi[PAD]))


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
        raise ValueError(f"{file}: not UTF-8 (byte {e.object[e.start]:#04x} at {e.start}): save it as UTF-8") from None
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
            files = [(file, label_field.preprocess(name)) for name in names for file in text_files(folder / name)]
            examples = (Example(text_field.preprocess(read_text(file)), label) for file, label in files)
            sets.append(TextDataset(examples, text=text_field, label=label_field))
        return sets


class StreamDataset:
    """Tokens, int64 (N,), as `bs` parallel streams: `x`, (n, bs), and the token after each, `y`; n = (N - 1) // bs."""

    def __init__(self, tokens: Tensor, bs: int, bptt: int) -> None:
        n = (len(tokens) - 1) // bs
        self.bs, self.bptt, self.pieces = bs, bptt, max(n // bptt - 1, 1)  # as the videos count batches
        self.x, self.y = (to_device(t[: n * bs].view(bs, n).t().contiguous()) for t in (tokens, tokens[1:]))

    def __len__(self) -> int:
        return self.bs * self.pieces


class LanguageModelLoader(BatchLoader):
    """Batches (x (t, bs), y (t * bs,)) of the streams in order, each token once; x[:, i] goes on in the next batch.

    `shuffle`: not t = bptt, or nearly, but drawn from N(bptt, 5), now and then from N(bptt / 2, 5), 5 at least, and
    scaled so that the batches fill the streams: else each epoch would cut at the same places (arXiv:1708.02182).
    """

    def _ends(self) -> list[int]:
        """Where each batch of a pass ends: at the last token in the end, one token at least after the one before."""
        ds, ones = self.dataset, torch.ones(self.dataset.pieces)
        mean = ds.bptt * torch.where(torch.rand_like(ones) < 0.95, ones, ones / 2) if self.shuffle else ones
        shares = torch.normal(mean, 5.0).int().clamp(min=5) - 1 if self.shuffle else ones
        total, free = shares.double().cumsum(0), len(ds.x) - ds.pieces
        return (ones.cumsum(0).long() + (total * free / total[-1]).long()).tolist()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        passes = (pairwise([0, *self._ends()]) for _ in range(math.ceil(self.passes)))
        for start, end in islice(chain.from_iterable(passes), len(self)):
            yield self.dataset.x[start:end], self.dataset.y[start:end].flatten()


class LanguageModelData:
    """Texts to be predicted token by token: trn_dl, val_dl and test_dl (or None), `nt` tokens in the vocabulary."""

    def __init__(self, path: str | Path, field: Field, sets: Sequence[TextDataset | None], bs: int, bptt: int) -> None:
        """`sets`: training, validation and test (or None), of one example each."""
        self.path, self.bs, self.bptt, self.nt = Path(path), bs, bptt, len(field.vocab)
        self.trn_ds, self.val_ds, self.test_ds = sets
        streams = [ds and StreamDataset(field.vocab.numericalize(ds[0].text), bs, bptt) for ds in sets]
        self.trn_dl = LanguageModelLoader(streams[0], bs, shuffle=True)
        self.val_dl, self.test_dl = (ds and LanguageModelLoader(ds, bs) for ds in streams[1:])

    @classmethod
    def from_text_files(cls, path: str | Path, field: Field, train: Names, validation: Names, test: Names | None = None,
                        bs: int = 64, bptt: int = 70, min_freq: int = 1) -> Self:  # fmt: skip
        """Each set: a file, a folder of .txt files, or a list of them, under `path`. Used in lessons 4 and 6.

        A set's files are one text, `<eos>` after each; the vocabulary is of the training set. Batches: x, int64 (t, bs)
        with t about bptt, and what follows, (t * bs,). ValueError: a file empty or not UTF-8, a set under bs * bptt.
        """
        if min(bs, bptt) < 1:
            raise ValueError(f"bs and bptt must be 1 or more, not {bs} and {bptt}")
        parts = [name if isinstance(name, str | None) else tuple(name) for name in (train, validation, test)]
        read = {part: _read_stream(Path(path), part, field, bs, bptt) for part in dict.fromkeys(parts) if part}
        field.build_vocab(read[parts[0]][0].text, min_freq=min_freq)
        return cls(path, field, [read.get(part) for part in parts], bs, bptt)

    def get_model(self, opt_fn: Callable | None, emb_sz: int, n_hid: int, n_layers: int,
                  **dropouts: float) -> "RNN_Learner":  # fmt: skip
        """A language model (`get_language_model`) with cross entropy. Used in lesson 4."""
        model = get_language_model(self.nt, emb_sz, n_hid, n_layers, **dropouts)
        return RNN_Learner(self, model, opt_fn, nn.functional.cross_entropy)


def _read_stream(path: Path, names: str | tuple[str, ...], field: Field, bs: int, bptt: int) -> TextDataset:
    files = chain.from_iterable(text_files(path / n) for n in ([names] if isinstance(names, str) else names))
    texts = (field.preprocess(read_text(file)) for file in files)
    tokens = [token for text in texts for token in (*text, EOS)]
    if len(tokens) < bs * bptt:
        need = f"bs x bptt = {bs} x {bptt}"
        raise ValueError(f"{names}: {len(tokens)} tokens, fewer than {need}: take more text, or a smaller bs or bptt")
    return TextDataset([Example(tokens)], text=field)


class ReviewDataset:
    """Texts as numbers and their classes `y`; a batch is (x, int64 (longest, n), padded behind; y (n,))."""

    def __init__(self, examples: Sequence[Example], field: Field, classes: list[str]) -> None:
        if any(not e.text for e in examples):
            raise ValueError("a text has no tokens: leave it out")
        self.examples, self.pad = examples, field.vocab.stoi[PAD]
        self.rows = [field.vocab.numericalize(e.text) for e in examples]
        self.lengths = torch.tensor([len(row) for row in self.rows])
        self.y = np.array([classes.index(choose("label", e.label, classes)) for e in examples])

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Texts `idx` and their classes, on the device."""
        x = pad_sequence([self.rows[i] for i in idx.tolist()], padding_value=self.pad)
        return to_device(x), to_device(torch.from_numpy(self.y[idx.numpy()]))


class BucketLoader(BatchLoader):
    """Random batches of texts of like length, in random order: sorted within pools of 100 batches drawn at random."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        pools = self._rows().split(100 * self.bs)
        rows = torch.cat([pool[self.dataset.lengths[pool].argsort(descending=True)] for pool in pools])
        batches = rows.split(self.bs)[: len(self)]  # a last batch of one text is left out, as in `BatchLoader`
        return (self.dataset.batch(batches[i]) for i in torch.randperm(len(batches)))


class TextData:
    """Labelled texts: trn_dl, val_dl and test_dl (or None), these two longest first; `classes`: the labels, sorted."""

    def __init__(self, path: str | Path, splits: Sequence[TextDataset], bs: int) -> None:
        trn, *others = splits
        if (field := trn.fields["text"]).vocab is None:
            raise ValueError("the text field has no vocabulary yet: LanguageModelData.from_text_files makes it")
        self.path, self.bs, self.classes = Path(path), bs, sorted({e.label for e in trn})
        self.c, self.nt, self.pad_idx = len(self.classes), len(field.vocab), field.vocab.stoi[PAD]
        ordered = [sorted(ds, key=lambda e: -len(e.text)) for ds in others]
        self.trn_ds, *others = [ReviewDataset(ds, field, self.classes) for ds in (trn, *ordered)]
        self.val_ds, self.test_ds = [*others, None][:2]
        self.trn_dl, self.val_dl = BucketLoader(self.trn_ds, bs, shuffle=True), BatchLoader(self.val_ds, bs)
        self.test_dl, self.val_y = self.test_ds and BatchLoader(self.test_ds, bs), self.val_ds.y

    @classmethod
    def from_splits(cls, path: str | Path, splits: Sequence[TextDataset], bs: int) -> Self:
        """Training, validation and perhaps test set, such as `IMDB.splits`, their field with a vocabulary. Lesson 4."""
        return cls(path, splits, bs)

    def get_model(self, opt_fn: Callable | None, max_sl: int, bptt: int, emb_sz: int, n_hid: int, n_layers: int,
                  dropout: float, **dropouts: float) -> "RNN_Learner":  # fmt: skip
        """A classifier (`get_rnn_classifier`) with one linear layer on top. Used in lesson 4."""
        sizes = (self.c, self.nt, emb_sz, n_hid, n_layers, self.pad_idx, [3 * emb_sz, self.c], [dropout])
        return RNN_Learner(self, get_rnn_classifier(bptt, max_sl, *sizes, **dropouts), opt_fn, nn.functional.nll_loss)


def char_windows(idx: Sequence[int], cs: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `cs` numbers, one every `step`, and the same one place on: both int64 (n, cs). Used in lesson 6.

    `y[:, -1]` is what follows a window; `y` what follows each of its places. ValueError if there is no window.
    """
    if len(idx) <= cs:
        raise ValueError(f"{len(idx)} characters make no window of {cs} and what follows: take more text")
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(idx), cs + 1)[::step]
    return windows[:, :-1].copy(), windows[:, 1:].copy()


@torch.no_grad()
def generate(model: nn.Module, field: Field, text: str, n: int, temperature: float = 1.0) -> list[str]:
    """The `n` tokens with which a model, (t, 1) numbers to (t, nt) scores, goes on with a text. Used in lessons 4, 6.

    Drawn by probability, sharpened by a low `temperature`, the likeliest always at 0; never `<unk>` or `<pad>`.
    """
    getattr(model.eval(), "reset", bool)()
    x, numbers = field.numericalize([field.preprocess(text)]), []
    for _ in range(n):
        out = model(x)
        scores = (out[0] if isinstance(out, tuple) else out)[-1].float()
        scores[:2] = -math.inf
        x = (scores / temperature).softmax(0).multinomial(1) if temperature else scores.argmax()
        numbers.append(x := x.view(1, 1))
    return field.vocab.textify(numbers)
