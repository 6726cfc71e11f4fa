"""Embeddings made fast: all their tables lie in one tensor, so that one lookup serves them all.

Each class here equals one that is written as in the videos: read those first, `Embeddings` in
`tabular` and `EmbeddingDotBias` in `collab`.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["JoinedDotBias", "JoinedEmbeddings", "check_codes", "get_emb", "to_range"]

Sizes = Sequence[tuple[int, int]]  # (rows, width) of each table


class JoinedEmbeddings(nn.Module):
    """`tabular.Embeddings` in one lookup: 22 of them, and 22 parameters, would keep a GPU waiting.

    `numbers` holds the tables end to end, each row by row. Of sizes (2, 3), (2, 1), (3, 2):

        table     a           b   c
        row       0     1     0 1 0   1   2
        numbers   a a a a a a b b c c c c c c
        place     0     3     6 7 8   10  12

    Output j belongs to the code in column table[j] and stands at first[j] + code * width[j]:

        output    0 1 2 3 4 5
        table     0 0 0 1 2 2
        first     0 1 2 6 8 9
        width     3 3 3 1 2 2

    embs[i].weight is table i, as in the network of the video. Used in lesson 3.
    """

    table: Tensor
    first: Tensor
    width: Tensor
    rows: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        tables = [_first_numbers(rows, width) for rows, width in sizes]
        flat = [table.flatten() for table in tables]
        self.numbers = nn.Parameter(torch.cat([torch.empty(0), *flat]))  # there may be no table
        table_of: list[int] = []
        first_of: list[int] = []
        width_of: list[int] = []
        start = 0
        for i, (rows, width) in enumerate(sizes):
            table_of += [i] * width
            first_of += range(start, start + width)
            width_of += [width] * width
            start += rows * width
        self.register_buffer("table", _int64(table_of), persistent=False)
        self.register_buffer("first", _int64(first_of), persistent=False)
        self.register_buffer("width", _int64(width_of), persistent=False)
        self.register_buffer("rows", _int64(rows for rows, _ in sizes), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, tables), each below the rows of its table, to numbers (n, sum of the widths).

        IndexError for a code without a row, but on a GPU.
        """
        check_codes(codes, self.rows)
        code = codes.index_select(1, self.table)  # (n, outputs): the one behind each output
        place = self.first + code * self.width  # (n, outputs): where in `numbers`
        return self.numbers.index_select(0, place.flatten()).view_as(place)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self.sizes)

    def __getitem__(self, i: int) -> nn.Embedding:
        """Table i, on the same memory."""
        lengths = [rows * width for rows, width in self.sizes]
        parts = self.numbers.detach().split(lengths)
        return nn.Embedding.from_pretrained(parts[i].view(self.sizes[i]), freeze=False)


class JoinedDotBias(nn.Module):
    """`collab.EmbeddingDotBias` with its four tables in one: one lookup, one parameter to step.

        row of `emb`    n_factors columns   1 column
        0, …            u                   ub          of user 0, …
        n_users, …      i                   ib          of item 0, …

    `u`, `i`, `ub`, `ib` are the four tables, on the memory of `emb`. No gradient flows through
    them. Used in lesson 5.
    """

    first_row: Tensor
    rows: Tensor

    def __init__(
        self, n_factors: int, n_users: int, n_items: int, min_score: float, max_score: float
    ) -> None:
        super().__init__()
        self.n_factors = n_factors
        self.n_users = n_users
        self.n_items = n_items
        self.min_score = min_score
        self.max_score = max_score
        self.emb = get_emb(n_users + n_items, n_factors + 1)
        self.register_buffer("first_row", _int64([0, n_users]), persistent=False)
        self.register_buffer("rows", _int64([n_users, n_items]), persistent=False)

    @property
    def u(self) -> nn.Embedding:
        """Factors of the users, (n_users, n_factors)."""
        return nn.Embedding.from_pretrained(self._users()[:, :-1])

    @property
    def i(self) -> nn.Embedding:
        """Factors of the items, (n_items, n_factors)."""
        return nn.Embedding.from_pretrained(self._items()[:, :-1])

    @property
    def ub(self) -> nn.Embedding:
        """Biases of the users, (n_users, 1)."""
        return nn.Embedding.from_pretrained(self._users()[:, -1:])

    @property
    def ib(self) -> nn.Embedding:
        """Biases of the items, (n_items, 1)."""
        return nn.Embedding.from_pretrained(self._items()[:, -1:])

    def _users(self) -> Tensor:
        return self.emb.weight.detach()[: self.n_users]  # (n_users, n_factors + 1)

    def _items(self) -> Tensor:
        return self.emb.weight.detach()[self.n_users :]  # (n_items, n_factors + 1)

    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """Numbers of user and item, int64 (n, 2), to ratings (n,); `conts` is not used.

        IndexError for a number without a row, but on a GPU.
        """
        check_codes(cats, self.rows)
        rows = self.emb(cats + self.first_row)  # (n, 2, n_factors + 1): the user's, the item's
        factors, biases = rows.split([self.n_factors, 1], 2)  # (n, 2, n_factors), (n, 2, 1)
        users, items = factors.unbind(1)  # (n, n_factors) each
        match = (users * items).sum(1) + biases.sum((1, 2))  # (n,)
        return to_range(match, self.min_score, self.max_score)


def get_emb(rows: int, width: int, bound: float = 0.05) -> nn.Embedding:
    """A table of rows x width numbers, uniform from -bound to bound. Used in lesson 5."""
    emb = nn.Embedding(rows, width)
    nn.init.uniform_(emb.weight, -bound, bound)
    return emb


def to_range(x: Tensor, low: float, high: float) -> Tensor:
    """Squeeze numbers of any size into low..high, by a sigmoid. Used in lessons 3 and 5."""
    return low + (high - low) * x.sigmoid()


def check_codes(codes: Tensor, rows: Tensor) -> None:
    """IndexError for a code, of (n, tables), without a row in its table; `rows` (tables,): theirs.

    In one tensor it would read from the table beside. Not on a GPU: it would have to wait.
    """
    if codes.device.type != "cpu":
        return
    if ((codes < 0) | (codes >= rows)).any():
        low = codes.amin(0).tolist()
        high = codes.amax(0).tolist()
        raise IndexError(f"codes from {low} to {high} for tables of {rows.tolist()} rows")


def _first_numbers(rows: int, width: int) -> Tensor:
    bound = 2 / (width + 1)
    return torch.empty(rows, width).uniform_(-bound, bound)


def _int64(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.long)
