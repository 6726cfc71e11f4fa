"""Texts as batches: streams side by side for language models, reviews of like length for judges."""

from collections.abc import Iterator, Sequence

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
    """Tokens, int64 (N,), as `bs` streams side by side, on the device. Used in lessons 4 and 6.

    `x`, (n, bs), and `y`, (n, bs), the token after each; n = (N - 1) // bs, what is left over at
    the end goes. The tokens a to k as two streams (bs = 2, n = 5):

        x   a f        y   b g
            b g            c h
            c h            d i
            d i            e j
            e j            f k

    `pieces`: the batches of about `bptt` rows that a pass has, as the videos count them.
    ValueError for fewer than bs + 1 tokens.
    """

    def __init__(self, tokens: Tensor, bs: int, bptt: int) -> None:
        n = (len(tokens) - 1) // bs
        if n < 1:
            raise ValueError(f"{len(tokens)} tokens are too few for {bs} streams: a smaller bs?")
        self.bs = bs
        self.bptt = bptt
        self.pieces = max(n // bptt - 1, 1)
        streams = tokens[: n * bs + 1].unfold(0, n + 1, n)  # (bs, n + 1): a to f, f to k
        rows = to_device(streams.t().contiguous())  # (n + 1, bs)
        self.x = rows[:-1]  # (n, bs)
        self.y = rows[1:]  # (n, bs), the same memory

    def __len__(self) -> int:
        """So that a loader of batches of `bs` counts `pieces` of them."""
        return self.bs * self.pieces


class LanguageModelLoader(BatchLoader):
    """Batches (x (t, bs), y (t * bs,)) of the streams in order, each token once. Lessons 4 and 6.

    x[:, i] goes on in the next batch. t is bptt or a little more, alike for all. `shuffle`: t is
    drawn from N(bptt, 5), now and then from N(bptt / 2, 5), and scaled so that the batches fill the
    streams: else each epoch would cut at the same places (arXiv:1708.02182).
    """

    dataset: StreamDataset

    def _lengths(self) -> Tensor:
        """How many rows each batch of a pass wishes for, (pieces,), beyond the one it has."""
        n = self.dataset.pieces
        bptt = self.dataset.bptt
        if not self.shuffle:
            return torch.ones(n)  # all the same
        mean = torch.where(torch.rand(n) < 0.95, bptt, bptt / 2)
        return torch.normal(mean, 5.0).int().clamp(min=5) - 1

    def _ends(self) -> list[int]:
        """The rows of the streams where the batches of a pass end; the last takes all to the end.

        Each batch has one row, and of all others a share in proportion to its wish.
        """
        n = self.dataset.pieces
        others = len(self.dataset.x) - n
        wished = self._lengths().double().cumsum(0)  # (n,): by a batch and those before it
        wished_by_all = wished[-1]
        shared = (wished * others / wished_by_all).long()
        return (torch.arange(1, n + 1) + shared).tolist()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        left = len(self)
        while left > 0:  # a pass after the other
            ends = self._ends()[:left]
            left -= len(ends)
            start = 0
            for end in ends:
                x = self.dataset.x[start:end]  # (t, bs)
                y = self.dataset.y[start:end]
                yield x, y.flatten()
                start = end


class ReviewDataset:
    """Texts as numbers, and their classes `y`. Used in lesson 4.

    `rows`: the numbers of each, int64 (length,), on the CPU; `lengths`, int64 (n,). ValueError for
    a text without tokens, or with `<pad>` among them, and for a label that is not in `classes`.
    """

    def __init__(self, examples: Sequence[Example], field: Field, classes: list[str]) -> None:
        vocab = field.need_vocab()
        self.examples = examples
        self.pad = vocab.stoi[PAD]
        for i, example in enumerate(examples):
            if not example.text:
                raise ValueError(f"text {i} has no tokens: leave it out")
            if PAD in example.text:
                raise ValueError(
                    f"text {i} has {PAD} among its tokens: leave them out, batches are filled up"
                )
        self.rows = [vocab.numericalize(e.text) for e in examples]
        self.lengths = torch.tensor([len(row) for row in self.rows], dtype=torch.int64)
        numbers = {name: i for i, name in enumerate(classes)}
        labels = [choose("label", e.label, numbers) for e in examples]
        self.y = np.array([numbers[label] for label in labels], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Texts `idx`, int64 (longest, n), filled up behind with `<pad>`; their classes (n,)."""
        rows = [self.rows[i] for i in idx.tolist()]
        x = pad_sequence(rows, padding_value=self.pad)  # (longest, n)
        y = torch.from_numpy(self.y[idx.numpy()])
        return to_device(x), to_device(y)


class BucketLoader(BatchLoader[ReviewDataset]):
    """Random batches of texts of like length, in random order. Used in lesson 4.

    The texts are drawn at random in pools of 100 batches, and sorted within a pool: little padding,
    and other batches at each pass.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        pools = self._rows().split(100 * self.bs)
        rows = torch.cat([self._longest_first(pool) for pool in pools])
        batches = rows.split(self.bs)[: len(self)]  # without a last one of a single text
        order = torch.randperm(len(batches)).tolist()
        return (self.dataset.batch(batches[i]) for i in order)

    def _longest_first(self, pool: Tensor) -> Tensor:
        lengths = self.dataset.lengths[pool]
        return pool[lengths.argsort(descending=True)]
