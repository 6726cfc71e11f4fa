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
    """Columns, or groups of columns, and y: on the device, unless they would take half of a GPU's free memory."""

    def __init__(self, *arrays: Any) -> None:
        super().__init__(*arrays)
        if (
            DEVICE.type != "cuda"
            or sum(a.nbytes for a in self.arrays) < torch.cuda.mem_get_info()[0] / 2
        ):
            self.arrays = [to_device(a) for a in self.arrays]


class ColumnarLoader(BatchLoader):
    """Puts the table in order once an epoch: a batch is then a slice of it, faster than picking its rows."""

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rows = self._rows().to(self.dataset.arrays[0].device)
        batches = zip(*[a[rows].split(self.bs) for a in self.dataset.arrays], strict=True)
        return (tuple(map(to_device, batch)) for batch in islice(batches, len(self)))
