"""Texts as batches: streams side by side for language models, reviews of like length for classifiers."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .batches import BatchLoader
from .choose import choose
from .core import to_device
from .tokens import PAD, Example, Field

__all__ = ["BucketLoader", "LanguageModelLoader", "ReviewDataset", "StreamDataset"]


class StreamDataset:
    """Tokens, int64 (N,), as `bs` parallel streams: `x`, (n, bs), and the token after each, `y`; n = (N - 1) // bs."""

    def __init__(self, tokens: Tensor, bs: int, bptt: int) -> None:
        n = (len(tokens) - 1) // bs
        self.bs, self.bptt, self.pieces = (
            bs,
            bptt,
            max(n // bptt - 1, 1),
        )  # as the videos count batches
        self.x, self.y = (
            to_device(t[: n * bs].view(bs, n).t().contiguous()) for t in (tokens, tokens[1:])
        )

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
        mean = (
            ds.bptt * torch.where(torch.rand_like(ones) < 0.95, ones, ones / 2)
            if self.shuffle
            else ones
        )
        shares = torch.normal(mean, 5.0).int().clamp(min=5) - 1 if self.shuffle else ones
        total, free = shares.double().cumsum(0), len(ds.x) - ds.pieces
        return (ones.cumsum(0).long() + (total * free / total[-1]).long()).tolist()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        passes = (pairwise([0, *self._ends()]) for _ in range(math.ceil(self.passes)))
        for start, end in islice(chain.from_iterable(passes), len(self)):
            yield self.dataset.x[start:end], self.dataset.y[start:end].flatten()


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
        rows = torch.cat(
            [pool[self.dataset.lengths[pool].argsort(descending=True)] for pool in pools]
        )
        batches = rows.split(self.bs)[
            : len(self)
        ]  # a last batch of one text is left out, as in `BatchLoader`
        return (self.dataset.batch(batches[i]) for i in torch.randperm(len(batches)))
