"""Texts as training data for language models and classifiers; and text out of a model."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import torch
from torch import nn

from .batches import BatchLoader
from .rnn import RNN_Learner, get_language_model, get_rnn_classifier
from .streams import BucketLoader, LanguageModelLoader, ReviewDataset, StreamDataset
from .tokens import (
    EOS,
    IMDB,
    PAD,
    Example,
    Field,
    TextDataset,
    Vocab,
    char_windows,
    read_text,
    text_files,
    tokenize,
)

__all__ = [
    "IMDB",
    "Field",
    "LanguageModelData",
    "TextData",
    "TextDataset",
    "Vocab",
    "char_windows",
    "generate",
]
__all__ += ["read_text", "tokenize"]

Names = str | Sequence[str]


class LanguageModelData:
    """Texts to be predicted token by token: trn_dl, val_dl and test_dl (or None), `nt` tokens in the vocabulary."""

    def __init__(
        self, path: str | Path, field: Field, sets: Sequence[TextDataset | None], bs: int, bptt: int
    ) -> None:
        """`sets`: training, validation and test (or None), of one example each."""
        self.path, self.bs, self.bptt, self.nt = Path(path), bs, bptt, len(field.vocab)
        self.trn_ds, self.val_ds, self.test_ds = sets
        streams = [
            ds and StreamDataset(field.vocab.numericalize(ds[0].text), bs, bptt) for ds in sets
        ]
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
        parts = [
            name if isinstance(name, str | None) else tuple(name)
            for name in (train, validation, test)
        ]
        read = {
            part: _read_stream(Path(path), part, field, bs, bptt)
            for part in dict.fromkeys(parts)
            if part
        }
        field.build_vocab(read[parts[0]][0].text, min_freq=min_freq)
        return cls(path, field, [read.get(part) for part in parts], bs, bptt)

    def get_model(self, opt_fn: Callable | None, emb_sz: int, n_hid: int, n_layers: int,
                  **dropouts: float) -> "RNN_Learner":  # fmt: skip
        """A language model (`get_language_model`) with cross entropy. Used in lesson 4."""
        model = get_language_model(self.nt, emb_sz, n_hid, n_layers, **dropouts)
        return RNN_Learner(self, model, opt_fn, nn.functional.cross_entropy)


def _read_stream(
    path: Path, names: str | tuple[str, ...], field: Field, bs: int, bptt: int
) -> TextDataset:
    files = chain.from_iterable(
        text_files(path / n) for n in ([names] if isinstance(names, str) else names)
    )
    texts = (field.preprocess(read_text(file)) for file in files)
    tokens = [token for text in texts for token in (*text, EOS)]
    if len(tokens) < bs * bptt:
        need = f"bs x bptt = {bs} x {bptt}"
        raise ValueError(
            f"{names}: {len(tokens)} tokens, fewer than {need}: take more text, or a smaller bs or bptt"
        )
    return TextDataset([Example(tokens)], text=field)


class TextData:
    """Labelled texts: trn_dl, val_dl and test_dl (or None), these two longest first; `classes`: the labels, sorted."""

    def __init__(self, path: str | Path, splits: Sequence[TextDataset], bs: int) -> None:
        trn, *others = splits
        if (field := trn.fields["text"]).vocab is None:
            raise ValueError(
                "the text field has no vocabulary yet: LanguageModelData.from_text_files makes it"
            )
        self.path, self.bs, self.classes = Path(path), bs, sorted({e.label for e in trn})
        self.c, self.nt, self.pad_idx = len(self.classes), len(field.vocab), field.vocab.stoi[PAD]
        ordered = [sorted(ds, key=lambda e: -len(e.text)) for ds in others]
        self.trn_ds, *others = [ReviewDataset(ds, field, self.classes) for ds in (trn, *ordered)]
        self.val_ds, self.test_ds = [*others, None][:2]
        self.trn_dl, self.val_dl = (
            BucketLoader(self.trn_ds, bs, shuffle=True),
            BatchLoader(self.val_ds, bs),
        )
        self.test_dl, self.val_y = self.test_ds and BatchLoader(self.test_ds, bs), self.val_ds.y

    @classmethod
    def from_splits(cls, path: str | Path, splits: Sequence[TextDataset], bs: int) -> Self:
        """Training, validation and perhaps test set, such as `IMDB.splits`, their field with a vocabulary. Lesson 4."""
        return cls(path, splits, bs)

    def get_model(self, opt_fn: Callable | None, max_sl: int, bptt: int, emb_sz: int, n_hid: int, n_layers: int,
                  dropout: float, **dropouts: float) -> "RNN_Learner":  # fmt: skip
        """A classifier (`get_rnn_classifier`) with one linear layer on top. Used in lesson 4."""
        sizes = (
            self.c,
            self.nt,
            emb_sz,
            n_hid,
            n_layers,
            self.pad_idx,
            [3 * emb_sz, self.c],
            [dropout],
        )
        return RNN_Learner(
            self,
            get_rnn_classifier(bptt, max_sl, *sizes, **dropouts),
            opt_fn,
            nn.functional.nll_loss,
        )


@torch.no_grad()
def generate(
    model: nn.Module, field: Field, text: str, n: int, temperature: float = 1.0
) -> list[str]:
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
