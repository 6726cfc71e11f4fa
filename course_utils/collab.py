"""Collaborative filtering: what a person would give a thing, from factors learnt for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from .choose import choose
from .files import read_csv
from .joined import JoinedDotBias, get_emb, to_range
from .learner import Learner
from .tabular import ColumnarModelData

__all__ = [
    "CollabFilterDataset",
    "EmbeddingDot",
    "EmbeddingDotBias",
    "EmbeddingNet",
    "JoinedDotBias",
    "get_emb",
]


class EmbeddingDot(nn.Module):
    """The rating is the dot product of the factors of the user (`u`) and those of the item (`i`).

    Used in lesson 5.
    """

    def __init__(self, n_factors: int, n_users: int, n_items: int) -> None:
        super().__init__()
        self.u = get_emb(n_users, n_factors)
        self.i = get_emb(n_items, n_factors)

    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """Numbers of user and item, int64 (n, 2), to ratings (n,); `conts` is not used."""
        users, items = cats.unbind(1)  # (n,) each
        return (self.u(users) * self.i(items)).sum(1)  # (n,)


class EmbeddingDotBias(nn.Module):
    """The dot product and a bias for each user (`ub`) and item (`ib`), in the range of the scores.

    `CollabFilterDataset.get_learner` trains the same in one table, `joined.JoinedDotBias`. Used in
    lesson 5.
    """

    def __init__(
        self, n_factors: int, n_users: int, n_items: int, min_score: float, max_score: float
    ) -> None:
        super().__init__()
        self.u = get_emb(n_users, n_factors)
        self.i = get_emb(n_items, n_factors)
        self.ub = get_emb(n_users, 1)
        self.ib = get_emb(n_items, 1)
        self.min_score = min_score
        self.max_score = max_score

    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """Numbers of user and item, int64 (n, 2), to ratings (n,); `conts` is not used."""
        users, items = cats.unbind(1)  # (n,) each
        match = (self.u(users) * self.i(items)).sum(1)  # (n,)
        match = match + self.ub(users).squeeze(1) + self.ib(items).squeeze(1)
        return to_range(match, self.min_score, self.max_score)


class EmbeddingNet(EmbeddingDot):
    """A hidden layer on the factors of user and item, side by side. Used in lesson 5.

    Ratings from half a point below the lowest score to half a point above the highest, which a
    sigmoid never quite reaches.
    """

    def __init__(
        self,
        n_factors: int,
        n_users: int,
        n_items: int,
        min_score: float,
        max_score: float,
        nh: int = 10,
        p1: float = 0.05,
        p2: float = 0.5,
    ) -> None:
        """`nh`: hidden units; `p1`, `p2`: dropout before and after them."""
        super().__init__(n_factors, n_users, n_items)
        self.drop1 = nn.Dropout(p1)
        self.lin1 = nn.Linear(2 * n_factors, nh)
        self.drop2 = nn.Dropout(p2)
        self.lin2 = nn.Linear(nh, 1)
        self.low = min_score - 0.5
        self.high = max_score + 0.5

    @torch.autocast("cuda", enabled=False)  # bfloat16 is too coarse for ratings
    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """Numbers of user and item, int64 (n, 2), to ratings (n,); `conts` is not used."""
        users, items = cats.unbind(1)  # (n,) each
        x = torch.cat([self.u(users), self.i(items)], 1)  # (n, 2 * n_factors)
        x = self.lin1(self.drop1(x)).relu()  # (n, nh)
        x = self.lin2(self.drop2(x))  # (n, 1)
        return to_range(x.squeeze(1), self.low, self.high)  # (n,)


class CollabFilterDataset:
    """Ratings of items by users, both numbered in the order of their names. Used in lesson 5.

    `users`, `items`: the names; `user2idx`, `item2idx`: name -> number; `x`: the numbers, (n, 2);
    `y`: the ratings, float32 (n,), from `min_score` to `max_score`.
    """

    def __init__(
        self, path: str | Path, df: pd.DataFrame, user_name: str, item_name: str, rating: str
    ) -> None:
        """The columns of `df` with users, items, ratings.

        ValueError for a column that is missing, for gaps, and for ratings that are not numbers.
        """
        for name in (user_name, item_name, rating):
            if df[choose("column", name, df)].isna().any():
                raise ValueError(f"column {name!r} has gaps: leave those rows out")
        if df.empty:
            raise ValueError("there are no ratings: the table has no rows")
        self.path = Path(path)
        self.y = _ratings(df[rating])
        self.users, user = _numbered(df[user_name])
        self.items, item = _numbered(df[item_name])
        self.x = pd.DataFrame({user_name: user, item_name: item})
        self.user2idx = {name: i for i, name in enumerate(self.users)}
        self.item2idx = {name: i for i, name in enumerate(self.items)}
        self.n_users = len(self.users)
        self.n_items = len(self.items)
        self.min_score = float(self.y.min())
        self.max_score = float(self.y.max())

    @classmethod
    def from_csv(
        cls, path: str | Path, csv: str, user_name: str, item_name: str, rating: str
    ) -> Self:
        """Three columns of the file path/CSV."""
        table = read_csv(Path(path) / csv)
        for name in (user_name, item_name, rating):
            choose(f"column of {csv}", name, table)
        return cls(path, table, user_name, item_name, rating)

    def get_data(self, val_idxs: Sequence[int], bs: int) -> ColumnarModelData:
        """Batches (user and item, int64 (n, 2); nothing, (n, 0); ratings, float32 (n,)).

        The rows `val_idxs` validate.
        """
        names = list(self.x)
        return ColumnarModelData.from_data_frame(self.path, val_idxs, self.x, self.y, names, bs)

    def get_learner(
        self, n_factors: int, val_idxs: Sequence[int], bs: int, **kwargs: Any
    ) -> Learner:
        """`EmbeddingDotBias` (in one table) with squared error and Adam, or another `opt_fn`."""
        model = JoinedDotBias(n_factors, self.n_users, self.n_items, self.min_score, self.max_score)
        settings: dict[str, Any] = {"opt_fn": optim.Adam, "crit": F.mse_loss, **kwargs}
        return Learner(self.get_data(val_idxs, bs), model, **settings)


def _numbered(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(names, sorted; the number of each row's name)."""
    try:
        return np.unique(column.to_numpy(), return_inverse=True)
    except TypeError:
        raise ValueError(f"column {column.name!r} mixes text and numbers: make it one") from None


def _ratings(column: pd.Series) -> np.ndarray:
    """float32 (n,)."""
    try:
        with np.errstate(over="ignore"):  # it is looked for below
            ratings = column.to_numpy(np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"column {column.name!r} is not numbers") from None
    if np.isinf(ratings).any():
        raise ValueError(f"column {column.name!r} has numbers too large for float32, or infinite")
    return ratings
