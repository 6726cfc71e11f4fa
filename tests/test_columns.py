"""Columns as batches, against slices of the columns themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_utils import columns
from course_utils.columns import ColumnarDataset, ColumnarLoader
from course_utils.core import DEVICE, set_seed


def loader(n: int, bs: int, **kwargs) -> ColumnarLoader:
    """Row i of the columns holds i, [2i, 3i], and y = -i."""
    i = np.arange(n)
    return ColumnarLoader(ColumnarDataset(i, np.stack([2.0 * i, 3.0 * i], 1), -1.0 * i), bs, **kwargs)


def test_batches_are_slices_of_the_columns_in_their_order():
    batches = list(loader(10, 4))
    assert [x.tolist() for x, _, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    x, pairs, y = batches[1]
    assert (x.dtype, pairs.dtype, y.dtype) == (torch.int64, torch.float32, torch.float32)
    assert pairs.tolist() == [[8, 12], [10, 15], [12, 18], [14, 21]]
    assert y.tolist() == [-4, -5, -6, -7]
    assert {t.device.type for t in batches[0]} == {DEVICE.type}
    assert len(loader(10, 4)) == 3


def test_each_epoch_has_every_row_once_in_another_order_its_columns_together():
    set_seed(0)
    dl = loader(41, 8, shuffle=True)
    orders = []
    for _ in range(3):
        x, pairs, y = (torch.cat(column) for column in zip(*dl, strict=True))
        torch.testing.assert_close(pairs, torch.stack([2.0 * x, 3.0 * x], 1))
        torch.testing.assert_close(y, -1.0 * x)
        orders.append(x.tolist())
    assert all(len(set(order)) == len(order) for order in orders)
    assert orders[0] != orders[1] != orders[2] != sorted(orders[2])


def test_a_last_row_alone_is_left_out_of_training_only():
    """BatchNorm cannot train on it."""
    assert [len(x) for x, _, _ in loader(9, 4, shuffle=True)] == [4, 4]
    assert [len(x) for x, _, _ in loader(9, 4)] == [4, 4, 1]
    assert [len(x) for x, _, _ in loader(1, 4, shuffle=True)] == [1]


@pytest.mark.parametrize(("passes", "n"), [(2.5, 25), (0.5, 5)])
def test_an_epoch_may_be_more_or_less_than_one_pass(passes, n):
    rows = torch.cat([x for x, _, _ in loader(10, 4, passes=passes)]).tolist()
    assert rows == (3 * list(range(10)))[:n]


@pytest.mark.parametrize("shuffle", [False, True])
def test_whoever_writes_into_a_batch_leaves_the_data_set_as_it_is(shuffle):
    dl = loader(10, 4, shuffle=shuffle)
    for x, pairs, y in dl:
        for column in (x, pairs, y):
            column.fill_(7)
    assert dl.dataset.arrays[0].tolist() == list(range(10))
    assert dl.dataset.arrays[2].tolist() == [-i for i in range(10)]


def test_an_order_is_drawn_when_an_epoch_begins():
    """Before the first batch is asked for: whoever draws in between does not change it."""
    set_seed(0)
    expected = torch.randperm(10).tolist()
    set_seed(0)
    epoch = iter(loader(10, 4, shuffle=True))
    torch.rand(3)
    assert torch.cat([x for x, _, _ in epoch]).tolist() == expected


@pytest.mark.parametrize(("free", "moves"), [(400, False), (960, False), (970, True), (2000, True)])
def test_a_table_moves_to_a_gpu_where_it_takes_less_than_half_of_the_free_memory(monkeypatch, free, moves):
    """40 rows of 8 bytes, and as many of 4: 480 bytes."""
    moved = []
    monkeypatch.setattr(columns, "DEVICE", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 10**9))
    monkeypatch.setattr(columns, "to_device", lambda t: moved.append(t.nbytes) or t)
    ColumnarDataset(np.arange(40), np.zeros(40, np.float32))
    assert moved == ([320, 160] if moves else [])
