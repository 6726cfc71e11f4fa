"""Collaborative filtering: what a person would give a thing, from factors learnt for each. Used in lesson 5."""

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
from .joined import check_codes, get_emb
from .learner import Learner
from .tabular import ColumnarModelData

__all__ = ["CollabFilterDataset", "EmbeddingDot", "EmbeddingDotBias", "EmbeddingNet", "get_emb"]


class EmbeddingDot(nn.Module):
    """The rating is the dot product of the `n_factors` numbers of the user (`u`) and those of the item (`i`)."""

    def __init__(self, n_factors: int, n_users: int, n_items: int) -> None:
        super().__init__()
        self.u, self.i = get_emb(n_users, n_factors), get_emb(n_items, n_factors)

    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """Numbers of user and item, int64 (n, 2), to ratings (n,); `conts` is not used."""
        users, items = cats.unbind(1)
        return (self.u(users) * self.i(items)).sum(1)


class EmbeddingDotBias(nn.Module):
    """The dot product and a bias for each user (`ub`) and item (`ib`), squeezed into the range of the scores.

    All in one table, users first, biases last: one lookup, one tensor. No gradient flows through `u`, `i`, `ub`, `ib`.
    """

    def __init__(
        self, n_factors: int, n_users: int, n_items: int, min_score: float, max_score: float
    ) -> None:
        super().__init__()
        self.emb, self.sizes = get_emb(n_users + n_items, n_factors + 1), [n_users, n_items]
        self.register_buffer("first", torch.tensor([0, n_users]), persistent=False)
        self.min_score, self.max_score = min_score, max_score

    u = property(
        lambda self: self._part(0, slice(None, -1)),
        doc="Factors of the users, on the memory of the table.",
    )
    i = property(lambda self: self._part(1, slice(None, -1)), doc="Factors of the items.")
    ub = property(
        lambda self: self._part(0, slice(-1, None)), doc="Biases of the users, (n_users, 1)."
    )
    ib = property(lambda self: self._part(1, slice(-1, None)), doc="Biases of the items.")

    def _part(self, kind: int, columns: slice) -> nn.Embedding:
        return nn.Embedding.from_pretrained(
            self.emb.weight.detach().split(self.sizes)[kind][:, columns]
        )

    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        """As in `EmbeddingDot`."""
        check_codes(cats, self.sizes)
        factors, biases = self.emb(cats + self.first).split([self.emb.embedding_dim - 1, 1], 2)
        users, items = factors.unbind(1)
        res = (users * items).sum(1) + biases.sum((1, 2))
        return self.min_score + (self.max_score - self.min_score) * res.sigmoid()


class EmbeddingNet(EmbeddingDot):
    """A hidden layer on the factors of user and item, side by side; ratings from half a point below to one above."""

    def __init__(self, n_factors: int, n_users: int, n_items: int, min_score: float, max_score: float, nh: int = 10,
                 p1: float = 0.05, p2: float = 0.5) -> None:  # fmt: skip
        """`nh`: hidden units; `p1`, `p2`: dropout before and after them."""
        super().__init__(n_factors, n_users, n_items)
        self.drop1, self.lin1 = nn.Dropout(p1), nn.Linear(2 * n_factors, nh)
        self.drop2, self.lin2 = nn.Dropout(p2), nn.Linear(nh, 1)
        self.low, self.high = min_score - 0.5, max_score + 0.5

    @torch.autocast("cuda", enabled=False)  # bfloat16 is too coarse for ratings
    def forward(self, cats: Tensor, conts: Tensor) -> Tensor:
        users, items = cats.unbind(1)
        x = self.drop1(torch.cat([self.u(users), self.i(items)], 1))
        x = self.lin2(self.drop2(self.lin1(x).relu()))
        return self.low + (self.high - self.low) * x.squeeze(1).sigmoid()


class CollabFilterDataset:
    """Ratings; `users`, `items` (names, sorted), `user2idx`, `item2idx` (name -> place). ValueError for gaps."""

    def __init__(
        self, path: str | Path, df: pd.DataFrame, user_name: str, item_name: str, rating: str
    ) -> None:
        for name in (user_name, item_name, rating):
            if df[choose("column", name, df)].replace([np.inf, -np.inf], np.nan).isna().any():
                raise ValueError(
                    f"column {name!r} has gaps or infinite values: leave those rows out"
                )
        self.path, self.y = Path(path), df[rating].to_numpy(np.float32)
        self.users, user = np.unique(df[user_name].to_numpy(), return_inverse=True)
        self.items, item = np.unique(df[item_name].to_numpy(), return_inverse=True)
        self.x = pd.DataFrame({user_name: user, item_name: item})
        self.user2idx, self.item2idx = (
            {name: i for i, name in enumerate(ids)} for ids in (self.users, self.items)
        )
        self.n_users, self.n_items = len(self.users), len(self.items)
        self.min_score, self.max_score = float(self.y.min()), float(self.y.max())

    @classmethod
    def from_csv(
        cls, path: str | Path, csv: str, user_name: str, item_name: str, rating: str
    ) -> Self:
        """Three columns of the file path/CSV."""
        table = read_csv(Path(path) / csv)
        return cls(
            path,
            table,
            *[choose(f"column of {csv}", name, table) for name in (user_name, item_name, rating)],
        )

    def get_data(self, val_idxs: Sequence[int], bs: int) -> ColumnarModelData:
        """Batches (user and item, int64 (n, 2); nothing, (n, 0); ratings, float32 (n,)); rows `val_idxs` validate."""
        return ColumnarModelData.from_data_frame(
            self.path, val_idxs, self.x, self.y, list(self.x), bs
        )

    def get_learner(
        self, n_factors: int, val_idxs: Sequence[int], bs: int, **kwargs: Any
    ) -> Learner:
        """`EmbeddingDotBias` with squared error and Adam, or another `opt_fn`."""
        model = EmbeddingDotBias(
            n_factors, self.n_users, self.n_items, self.min_score, self.max_score
        )
        return Learner(
            self.get_data(val_idxs, bs),
            model,
            **{"opt_fn": optim.Adam, "crit": F.mse_loss, **kwargs},
        )
