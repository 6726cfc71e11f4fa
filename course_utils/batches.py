"""Arrays that hand out whole batches on the device, and the loader that walks through them; no worker processes."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from .core import T, as_tensor, to_device, to_np

if TYPE_CHECKING:  # importing it takes torchvision along, which tables can do without
    from .transforms import Transforms

__all__ = ["ArrayDataset", "BatchLoader"]


class ArrayDataset:
    """Arrays of equal length, `y` last; given `tfm` the first holds pictures (n, 3, h, w) or (n, h, w, 3)."""

    classes: Sequence[str] = ()  # their names, where y holds their numbers

    def __init__(self, *arrays: Any, tfm: "Transforms | None" = None) -> None:
        if len({len(a) for a in arrays}) > 1:
            raise ValueError(f"arrays differ in length: {[len(a) for a in arrays]}")
        x, *rest = map(as_tensor, arrays)
        if tfm is not None and x.is_floating_point() and len(x) and x.max() > 1:
            raise ValueError(
                f"floats in pictures lie in 0..1, these reach {x.max():g}: divide by 255, or pass uint8"
            )
        x = T(x) if tfm is None else tfm.prepare(x if x.shape[1] == 3 else x.permute(0, 3, 1, 2))
        self.tfm, self.arrays = tfm, [x, *map(T, rest)]
        self.y = to_np(self.arrays[-1])

    def __len__(self) -> int:
        return len(self.arrays[-1])

    def batch(self, idx: Tensor) -> tuple[Tensor, ...]:
        """Rows `idx` of every array, on the device, the pictures transformed."""
        first, *rest = (a[idx] for a in self.arrays)
        first = to_device(first) if self.tfm is None else self.tfm.batch(self.tfm.window(first))
        return first, *map(to_device, rest)

    def __getitem__(self, i: int) -> tuple:
        """Item i as the network sees it: (x, …, y), arrays without the batch axis."""
        return tuple(a[0] for a in to_np(self.batch(torch.tensor([i]))))

    def contents(self) -> Any:
        """What identifies the inputs: the arrays themselves."""
        return to_np(self.arrays[:-1])

    def denorm(self, x: Any) -> np.ndarray:
        """Normalised pictures back to (…, h, w, 3) in 0..1, for imshow."""
        return self.tfm.denorm(x)


class Batched(Protocol):
    """What a `BatchLoader` walks through: rows that can be counted and taken together."""

    def __len__(self) -> int: ...

    def batch(self, idx: Tensor) -> tuple[Tensor, ...]: ...


D = TypeVar("D", bound=Batched)


class BatchLoader(Generic[D]):
    """Batches (x, …, y) of `bs` rows; `shuffle`: in a new order at each pass, without a last batch of a single row.

    An epoch is `passes` passes: with fewer pictures than in the video, 2.5 make its number of batches; 0.5 is half one.
    """

    def __init__(self, dataset: D, bs: int, shuffle: bool = False, passes: float = 1) -> None:
        if bs < 1:
            raise ValueError(f"the batch size must be 1 or more, not {bs}")
        if not len(dataset):
            raise ValueError("a data set is empty: check its folder or val_idxs")
        self.dataset, self.bs, self.shuffle, self.passes = dataset, bs, shuffle, passes

    def __len__(self) -> int:
        n = int(len(self.dataset) * self.passes)
        return n // self.bs + (n % self.bs > (1 if self.shuffle and n > self.bs else 0))

    def _rows(self) -> Tensor:  # of an epoch, in their order
        order = torch.randperm if self.shuffle else torch.arange
        rows = torch.cat([order(len(self.dataset)) for _ in range(math.ceil(self.passes))])
        return rows[: int(len(self.dataset) * self.passes)]

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return map(
            self.dataset.batch, self._rows().split(self.bs)[: len(self)]
        )  # BatchNorm cannot train on one row
