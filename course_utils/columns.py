"""Columns of a table as batches: on the device, put in order once an epoch."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .batches import ArrayDataset, BatchLoader
from .core import DEVICE, to_device

__all__ = ["ColumnarDataset", "ColumnarLoader"]


class ColumnarDataset(ArrayDataset):
    """Columns, or groups of columns, and y last; on the device if there is room for them."""

    def __init__(self, *arrays: Any) -> None:
        super().__init__(*arrays)
        if self._there_is_room():
            self.arrays = [to_device(a) for a in self.arrays]

    def _there_is_room(self) -> bool:
        if DEVICE.type != "cuda":
            return True
        n_bytes = sum(a.nbytes for a in self.arrays)
        free, _ = torch.cuda.mem_get_info()
        return n_bytes < free / 2  # a shuffled epoch takes them once more


class ColumnarLoader(BatchLoader):
    """Batches (column, …, y) of a `ColumnarDataset`, on the device.

    The table is copied once an epoch, in its order: a batch is then a slice, faster than picking
    its rows, and whoever writes into it leaves the data set as it is.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        arrays = self.dataset.arrays
        rows = self._rows().to(arrays[0].device)
        columns = [a[rows].split(self.bs) for a in arrays]
        batches = islice(zip(*columns, strict=True), len(self))  # without a last one of one row
        return (tuple(to_device(column) for column in batch) for batch in batches)
