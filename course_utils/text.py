"""Texts as training data for language models and classifiers; and text out of a model."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self
from warnings import warn

import torch
from torch import Tensor, nn

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
from .training import eval_mode

__all__ = [
    "IMDB",
    "Field",
    "LanguageModelData",
    "TextData",
    "TextDataset",
    "Vocab",
    "char_windows",
    "generate",
    "read_text",
    "tokenize",
]

Names = str | Path | Sequence[str | Path]
COLDEST = 1e-30  # below this temperature scores / temperature could overflow


class LanguageModelData:
    """Texts to be predicted token by token. Used in lessons 4 and 6.

    trn_dl, val_dl, test_dl: batches (x, int64 (t, bs); what follows, (t * bs,)), see
    `LanguageModelLoader`; the last two are None where there is no such set. trn_ds, val_ds,
    test_ds: their tokens. `vocab`: the vocabulary, of `nt` tokens.
    """

    def __init__(
        self, path: str | Path, field: Field, sets: Sequence[TextDataset | None], bs: int, bptt: int
    ) -> None:
        """`sets`: training, validation and test, the examples of each one after another."""
        trn, val, test = sets
        if not trn:
            raise ValueError("the training set is empty: a language model needs a text")
        self.path = Path(path)
        self.bs = bs
        self.bptt = bptt
        self.vocab = field.need_vocab()
        self.nt = len(self.vocab)
        self.trn_ds = trn
        self.val_ds = val
        self.test_ds = test
        self.trn_dl = self._load(trn, shuffle=True)
        self.val_dl = self._load(val) if val else None
        self.test_dl = self._load(test) if test else None

    def _load(self, texts: TextDataset, shuffle: bool = False) -> LanguageModelLoader:
        tokens = chain.from_iterable(example.text for example in texts)
        streams = StreamDataset(self.vocab.numericalize(tokens), self.bs, self.bptt)
        return LanguageModelLoader(streams, self.bs, shuffle=shuffle)

    @classmethod
    def from_text_files(
        cls,
        path: str | Path,
        field: Field,
        train: Names,
        validation: Names,
        test: Names | None = None,
        bs: int = 64,
        bptt: int = 70,
        min_freq: int = 1,
    ) -> Self:
        """Each set: a file, a folder of .txt files, or a list of them, under `path`.

        A set's files are one text, `<eos>` after each. The vocabulary is of the training set, of
        tokens that it has `min_freq` times; one that the field has already is kept, so that models
        and data stay together. `bs`: streams side by side; `bptt`: about the tokens of a batch in
        each. ValueError: a file empty or not UTF-8, fewer than bs * bptt tokens in a set, no token
        that the vocabulary knows. Used in lessons 4 and 6.
        """
        if min(bs, bptt) < 1:
            raise ValueError(f"bs and bptt must be 1 or more, not {bs} and {bptt}")
        sets = _read_sets(Path(path), [train, validation, test], field, bs, bptt)
        trn, _, _ = sets
        if trn is not None:
            (stream,) = trn  # all its files are one example
            _make_vocab(field, stream.text, min_freq)
        return cls(path, field, sets, bs, bptt)

    def get_model(
        self, opt_fn: Callable | None, emb_sz: int, n_hid: int, n_layers: int, **dropouts: float
    ) -> RNN_Learner:
        """A language model (`get_language_model`) with cross entropy. Used in lesson 4."""
        model = get_language_model(self.nt, emb_sz, n_hid, n_layers, **dropouts)
        model.encoder.words = self.vocab.itos
        return RNN_Learner(self, model, opt_fn, nn.functional.cross_entropy)


def _read_sets(
    path: Path, parts: Sequence[Names | None], field: Field, bs: int, bptt: int
) -> list[TextDataset | None]:
    """The tokens of each set; of equal files, such as validation and test may name, read once."""
    read: dict[tuple[str | Path, ...], TextDataset] = {}
    sets = []
    for part in parts:
        names = _names(part)
        if names and names not in read:
            read[names] = _read_stream(path, names, field, bs, bptt)
        sets.append(read.get(names))
    return sets


def _names(part: Names | None) -> tuple[str | Path, ...]:
    """One name or several as a tuple; () for none."""
    if part is None:
        return ()
    if isinstance(part, str | Path):
        return (part,)
    return tuple(part)


def _read_stream(
    path: Path, names: tuple[str | Path, ...], field: Field, bs: int, bptt: int
) -> TextDataset:
    """The tokens of all files as one example."""
    tokens = []
    for name in names:
        for file in text_files(path / name):
            tokens += field.tokens(read_text(file))
            tokens.append(EOS)
    if len(tokens) < bs * bptt:
        what = f"{', '.join(map(str, names))}: {len(tokens)} tokens"
        raise ValueError(
            f"{what}, fewer than bs x bptt = {bs} x {bptt}: take more text, or a smaller bs or bptt"
        )
    return TextDataset([Example(tokens)], text=field)


def _make_vocab(field: Field, tokens: list[str], min_freq: int) -> None:
    """Give a field its vocabulary, or keep the one that it has."""
    vocab = field.vocab
    if vocab is None:
        vocab = Vocab(tokens, min_freq)
    elif min_freq not in (1, vocab.min_freq):
        warn(
            f"min_freq={min_freq} is not used: the field keeps its vocabulary of {len(vocab)} "
            "tokens; a new Field makes a new one",
            stacklevel=3,
        )
    if not any(vocab.stoi[token] for token in tokens if token != EOS):
        raise ValueError(
            "the vocabulary has none of the training tokens: take a new Field for other texts, "
            "or a lower min_freq"
        )
    field.vocab = vocab


class TextData:
    """Labelled texts. Used in lesson 4.

    trn_dl, val_dl, test_dl: batches (x, int64 (longest, n), filled up behind with `<pad>`; classes,
    (n,)); training ones at random, of like length, the others longest text first. trn_ds, val_ds,
    test_ds: their `ReviewDataset`s. test_dl and test_ds are None without a test set. `classes`: the
    `c` labels, sorted; `val_y`: the classes of the validation set, in its order. `vocab`: the
    vocabulary, of `nt` tokens; `pad_idx`: the number of `<pad>` in it.
    """

    def __init__(self, path: str | Path, splits: Sequence[TextDataset | None], bs: int) -> None:
        """`splits`: as in `from_splits`."""
        trn, val, test = _trn_val_test(splits)
        if "text" not in trn.fields:
            raise ValueError("the training set has no field: TextDataset(examples, text=field)")
        field = trn.fields["text"]
        self.path = Path(path)
        self.bs = bs
        self.vocab = field.need_vocab()
        self.nt = len(self.vocab)
        self.pad_idx = self.vocab.stoi[PAD]
        self.classes = sorted({example.label for example in trn})
        self.c = len(self.classes)
        self.trn_ds = ReviewDataset(trn, field, self.classes)
        self.val_ds = ReviewDataset(_longest_first(val), field, self.classes)
        self.test_ds = ReviewDataset(_longest_first(test), field, self.classes) if test else None
        self.trn_dl = BucketLoader(self.trn_ds, bs, shuffle=True)
        self.val_dl = BatchLoader(self.val_ds, bs)
        self.test_dl = None if self.test_ds is None else BatchLoader(self.test_ds, bs)
        self.val_y = self.val_ds.y

    @classmethod
    def from_splits(cls, path: str | Path, splits: Sequence[TextDataset | None], bs: int) -> Self:
        """Training, validation and perhaps test set, such as `IMDB.splits`. Used in lesson 4.

        Their field must have its vocabulary, that of the language model. ValueError if it has not,
        if a set other than the test set is empty, and for texts as in `ReviewDataset`.
        """
        return cls(path, splits, bs)

    def get_model(
        self,
        opt_fn: Callable | None,
        max_sl: int,
        bptt: int,
        emb_sz: int,
        n_hid: int,
        n_layers: int,
        dropout: float,
        **dropouts: float,
    ) -> RNN_Learner:
        """A classifier (`get_rnn_classifier`) with one linear layer on top. Used in lesson 4.

        `max_sl`: how many of the last tokens of a text are pooled; `dropout`: before that layer.
        """
        model = get_rnn_classifier(
            bptt=bptt,
            max_seq=max_sl,
            n_class=self.c,
            n_tok=self.nt,
            emb_sz=emb_sz,
            n_hid=n_hid,
            n_layers=n_layers,
            pad_token=self.pad_idx,
            layers=[3 * emb_sz, self.c],
            drops=[dropout],
            **dropouts,
        )
        model.encoder.words = self.vocab.itos
        return RNN_Learner(self, model, opt_fn, nn.functional.nll_loss)


def _trn_val_test(
    splits: Sequence[TextDataset | None],
) -> tuple[TextDataset, TextDataset, TextDataset | None]:
    """Training and validation set, not empty, and the test set, if there is one."""
    if len(splits) not in (2, 3):
        raise ValueError(f"a training, a validation and perhaps a test set, not {len(splits)} sets")
    trn, val = splits[:2]
    if not trn or not val:
        raise ValueError("the training or the validation set is empty: give it some texts")
    return trn, val, splits[2] if len(splits) == 3 else None


def _longest_first(texts: TextDataset) -> list[Example]:
    return sorted(texts, key=lambda example: -len(example.text))


@torch.no_grad()
def generate(
    model: nn.Module, field: Field, text: str, n: int, temperature: float = 1.0
) -> list[str]:
    """The `n` tokens with which a model goes on with a text. Used in lessons 4 and 6.

    The model: numbers (t, 1) to scores (t, nt), alone or first in a tuple. It runs in evaluation
    mode, reads the text from a fresh state, and is left as it was. Tokens are drawn by probability,
    sharpened by a `temperature` below 1; at 0 the likeliest always; never `<unk>` or `<pad>`.
    ValueError for a text without tokens, and for a temperature that is no number from 0 on.
    """
    if n < 0:
        raise ValueError(f"n, the number of tokens, must be 0 or more, not {n}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a number from 0 on, not {temperature}")
    vocab = field.need_vocab()
    start = field.tokens(text)
    if not start:
        raise ValueError(f"{text!r} has no tokens: give generate a text to go on with")
    x = field.numericalize([start])  # (t, 1)
    drawn = []
    with _as_it_was(model):
        eval_mode(model)
        for _ in range(n):
            x = _next_token(model(x), temperature)  # (1, 1)
            drawn.append(x)
    return vocab.textify([int(x) for x in drawn])


def _next_token(out: Any, temperature: float) -> Tensor:
    """The number of a token, (1, 1), drawn by the scores (t, nt) at the last place."""
    scores = out[0] if isinstance(out, tuple) else out
    last = scores[-1].float().clone()  # (nt,)
    if last.isnan().any():
        raise ValueError("the model's scores are nan, its training has gone astray: a lower rate?")
    last[:2] = -math.inf  # <unk> and <pad>
    if temperature < COLDEST:
        return last.argmax().view(1, 1)
    probabilities = (last / temperature).softmax(0)
    return probabilities.multinomial(1).view(1, 1)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards each module has the attributes it had: its mode, and the state of its reading."""
    before = [(m, dict(vars(m)), dict(m.named_buffers(recurse=False))) for m in model.modules()]
    try:
        yield
    finally:
        for m, attributes, buffers in before:
            for new in vars(m).keys() - attributes.keys():
                delattr(m, new)
            vars(m).update(attributes)
            m._buffers.update(buffers)
