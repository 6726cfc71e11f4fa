"""Arrays that hand out whole batches on the device, and the loader that walks through them.

There are no worker processes, and no rows are put together one by one: a batch is one indexing of
each array.
"""

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


def whole_number(value: Any, name: str) -> int:
    """`value`, a whole number of 1 or more, as an int: 64 / 8 is 8. Else ValueError with `name`."""
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if not is_number or value < 1 or value % 1 != 0:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value}")
    return int(value)


class ArrayDataset:
    """Arrays of equal length, the targets `y` last, in memory. Used in lessons 3 to 6.

    With transforms `tfm` the first array holds pictures, (n, 3, h, w) or (n, h, w, 3), whole
    numbers to 255 or floats to 1. The other numbers become int64 or float32. ValueError for
    arrays of different lengths, for pictures of other numbers, and for numbers beyond float32.
    """

    classes: Sequence[str] = ()  # their names, where y holds their numbers

    def __init__(self, *arrays: Any, tfm: "Transforms | None" = None) -> None:
        lengths = [len(array) for array in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"arrays differ in length: {lengths}")
        tensors = [as_tensor(array) for array in arrays]
        for i, tensor in enumerate(tensors):
            _check_float32(tensor, i)
        first, *rest = tensors
        if tfm is None:
            first = T(first)
        elif len(first):
            first = tfm.prepare(tfm.checked(first))  # (n, 3, side, side or more)
        self._tfm = tfm
        self.arrays = [first, *[T(tensor) for tensor in rest]]
        self.y = to_np(self.arrays[-1])

    @property
    def tfm(self) -> "Transforms | None":
        """The transforms; chosen once, for what is kept has been prepared by them."""
        return self._tfm

    def __len__(self) -> int:
        return len(self.arrays[-1])

    def batch(self, idx: Tensor) -> tuple[Tensor, ...]:
        """Rows `idx` of every array, on the device, the pictures transformed."""
        first, *rest = [array[idx] for array in self.arrays]
        if self.tfm is not None:
            first = self.tfm.batch(self.tfm.window(first))  # (n, 3, sz, sz)
        return to_device(first), *[to_device(array) for array in rest]

    def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
        """Item i as the network sees it: (x, …, y), arrays without the batch axis."""
        batch = self.batch(torch.tensor([i]))
        return tuple(to_np(array)[0] for array in batch)

    def contents(self) -> Any:
        """What identifies the inputs: the arrays themselves."""
        return to_np(self.arrays[:-1])

    def denorm(self, x: Any) -> np.ndarray:
        """Normalised pictures back to (…, h, w, 3) in 0..1, for imshow."""
        if self.tfm is None:
            raise ValueError("this data set was made without tfm: there is nothing to undo")
        return self.tfm.denorm(x)


def _check_float32(array: Tensor, i: int) -> None:
    """ValueError if a number that is finite in `array`, the i-th, would be infinite in float32."""
    if array.dtype != torch.float64:
        return
    beyond = array.isfinite() & array.float().isinf()
    if beyond.any():
        raise ValueError(
            f"array {i} holds {array[beyond][0]:g}; float32 ends at 3.4e+38: scale the array"
        )


class Batched(Protocol):
    """What a `BatchLoader` walks through: rows that can be counted and taken together."""

    def __len__(self) -> int: ...

    def batch(self, idx: Tensor) -> tuple[Tensor, ...]: ...


D = TypeVar("D", bound=Batched)


class BatchLoader(Generic[D]):
    """Batches (x, …, y) of `bs` rows, in order; with `shuffle` in a new order at each pass.

    An epoch is `passes` passes over the rows: with fewer pictures than in the video, 2.5 make its
    number of batches; 0.5 is half a pass. With `shuffle`, for training, a last batch of a single
    row is left out: BatchNorm cannot train on one. ValueError for an empty data set, a batch size
    that is no whole number, and, in use, passes that make no batch. Used in lessons 1 to 7.
    """

    def __init__(self, dataset: D, bs: int, shuffle: bool = False, passes: float = 1) -> None:
        if not len(dataset):
            raise ValueError("a data set is empty: check its folder or val_idxs")
        self.dataset = dataset
        self.bs = whole_number(bs, "the batch size")
        self.shuffle = shuffle
        self.passes = passes

    def __len__(self) -> int:
        full, rest = divmod(self._n_rows(), self.bs)
        if rest == 0 or (rest == 1 and full and self.shuffle):
            return full
        return full + 1

    def _n_rows(self) -> int:
        """The rows of an epoch."""
        n = int(len(self.dataset) * self.passes)
        if n < 1:
            raise ValueError(f"{self.passes} passes over {len(self.dataset)} rows make no batch")
        return n

    def _rows(self) -> Tensor:
        """The rows of an epoch, in their order: int64 (n,)."""
        n = self._n_rows()
        order = torch.randperm if self.shuffle else torch.arange
        passes = [order(len(self.dataset)) for _ in range(math.ceil(self.passes))]
        return torch.cat(passes)[:n]

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        batches = self._rows().split(self.bs)[: len(self)]
        return map(self.dataset.batch, batches)
