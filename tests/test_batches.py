import numpy as np
import pytest
import torch

from course_utils.batches import ArrayDataset, BatchLoader
from course_utils.transforms import RandomLighting, imagenet_stats, tfms_from_stats

# Arrays


def test_batch_has_the_rows_of_every_array_in_the_order_asked_for():
    a, b, y = np.random.default_rng(0).random((7, 2)), np.arange(7), np.arange(7) * 10
    got = ArrayDataset(a, b, y).batch(torch.tensor([5, 0, -1, 5]))
    for array, part in zip((a, b, y), got, strict=True):
        np.testing.assert_allclose(part.cpu(), array[[5, 0, 6, 5]], rtol=1e-6)
    assert [part.dtype for part in got] == [torch.float32, torch.int64, torch.int64]


def test_items_are_rows_without_the_batch_axis():
    x, y = ArrayDataset(np.arange(12.0).reshape(4, 3), np.arange(4))[2]
    assert (x.tolist(), y) == ([6.0, 7.0, 8.0], 2)


def test_unequal_arrays():
    with pytest.raises(ValueError, match=r"differ in length: \[3, 4\]"):
        ArrayDataset(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("number", [1e39, -1e39])
def test_numbers_that_float32_cannot_hold_are_refused(number):
    numbers = np.array([1.0, np.inf, number, np.nan])
    with pytest.raises(ValueError, match=r"array 1 holds -?1e\+39; float32 ends at 3\.4e\+38: scale the array"):
        ArrayDataset(np.zeros(4), numbers, np.zeros(4))


def test_numbers_that_are_infinite_already_and_the_largest_of_float32_stay():
    numbers = np.array([np.finfo(np.float32).max, -np.inf, np.nan])
    np.testing.assert_array_equal(ArrayDataset(numbers).y, numbers.astype(np.float32))


def test_transforms_are_chosen_once():
    tfm = tfms_from_stats(imagenet_stats, 16)[1]
    ds = ArrayDataset(np.zeros((2, 16, 16, 3), np.uint8), np.arange(2), tfm=tfm)
    assert ds.tfm is tfm
    with pytest.raises(AttributeError, match="tfm"):
        ds.tfm = tfm


def test_what_identifies_the_inputs_is_every_array_but_the_targets():
    a, b, y = np.arange(6.0).reshape(3, 2), np.arange(3), np.array([7, 8, 9])
    for got, array in zip(ArrayDataset(a, b, y).contents(), (a, b), strict=True):
        np.testing.assert_array_equal(got, array)


def test_denorm_without_transforms():
    with pytest.raises(ValueError, match="made without tfm: there is nothing to undo"):
        ArrayDataset(np.zeros(3)).denorm(np.zeros((3, 4, 4)))


# Arrays of pictures


def test_picture_arrays_in_either_layout():
    pictures = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    tfm = tfms_from_stats(imagenet_stats, 16)[1]
    a = ArrayDataset(pictures, np.arange(5), tfm=tfm)
    b = ArrayDataset(pictures.permute(0, 2, 3, 1).numpy(), np.arange(5), tfm=tfm)
    assert torch.equal(a.batch(torch.arange(5))[0], b.batch(torch.arange(5))[0])


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int16, np.int32])
def test_whole_number_and_double_pictures(kind):
    """Whole numbers in 0..255 and float64 in 0..1 are the same pictures as uint8."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3))
    tfm = tfms_from_stats(imagenet_stats, 16)[1]
    first, *others = (
        ArrayDataset(p, np.arange(3), tfm=tfm)
        for p in (pictures.astype(np.uint8), pictures.astype(kind), pictures / 255)
    )
    for ds in others:
        torch.testing.assert_close(ds.batch(torch.arange(3))[0], first.batch(torch.arange(3))[0], atol=1e-5, rtol=0)
    assert [ds.arrays[0].dtype for ds in others] == [torch.uint8, torch.float32]


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.int64])
def test_pictures_of_twelve_bits_are_refused_not_taken_for_too_bright_ones(kind):
    pictures = np.random.default_rng(0).integers(0, 4096, (4, 20, 20, 3)).astype(kind)
    pictures[0, 0, 0] = [0, 9, 4095]
    message = r"whole numbers in pictures lie in 0\.\.255, these in 0\.\.4095: divide by the largest there can be"
    with pytest.raises(ValueError, match=message):
        ArrayDataset(pictures, np.zeros(4), tfm=tfms_from_stats(imagenet_stats, 16)[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (255.0, r"floats in pictures lie in 0\.\.1, these in 0\.\.255: divide by 255, or pass uint8"),
        (-0.5, r"floats in pictures lie in 0\.\.1, these in -0\.5\.\.0"),
        (np.nan, r"floats in pictures lie in 0\.\.1, these in nan\.\.nan"),
        (-3, r"whole numbers in pictures lie in 0\.\.255, these in -3\.\.0"),
    ],
)
def test_numbers_that_are_no_pictures_are_refused_not_cut_off(value, message):
    pictures = np.zeros((2, 24, 24, 3), type(value))
    pictures[1, 3, 4] = value
    with pytest.raises(ValueError, match=message):
        ArrayDataset(pictures, np.zeros(2), tfm=tfms_from_stats(imagenet_stats, 24)[0])


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 28, 28, 1), (5, 1, 28, 28)])
def test_grey_arrays_are_no_pictures(shape):
    with pytest.raises(ValueError, match=rf"pictures have shape \(…, 3, h, w\) or \(…, h, w, 3\), not \({shape[0]}, "):
        ArrayDataset(np.zeros(shape, np.uint8), np.zeros(5), tfm=tfms_from_stats(imagenet_stats, 16)[0])


def test_pictures_of_the_caller_stay_as_they_are():
    """Also where nothing is resized or moved, so that the data set holds the caller's own memory."""
    pictures = torch.rand(9, 3, 16, 16)
    before = pictures.clone()
    tfm = tfms_from_stats(imagenet_stats, 16, aug_tfms=[RandomLighting(0.3, 0.3), lambda x, top: x.mul_(0.5)])[0]
    ArrayDataset(pictures, np.arange(9), tfm=tfm).batch(torch.arange(9))
    assert torch.equal(pictures, before)


# Loader


def test_loader_gives_every_row_once_in_batches():
    ds = ArrayDataset(torch.arange(10.0), np.arange(10))
    dl = BatchLoader(ds, 4)
    assert len(dl) == 3
    assert [len(y) for _, y in dl] == [4, 4, 2]
    assert torch.cat([y for _, y in dl]).tolist() == list(range(10))


def test_shuffled_loader_keeps_rows_together_and_changes_order():
    dl = BatchLoader(ArrayDataset(torch.arange(50.0) * 2, np.arange(50)), 8, shuffle=True)
    passes = [[(float(a), int(b)) for x, y in dl for a, b in zip(x, y, strict=True)] for _ in range(2)]
    assert passes[0] != passes[1]
    assert sorted(passes[0]) == [(2.0 * i, i) for i in range(50)]


@pytest.mark.parametrize("bs", [0, -8, 1.5, float("nan"), float("inf"), "8", (8,), None])
def test_batch_sizes_that_are_no_whole_number(bs):
    with pytest.raises(ValueError, match="the batch size must be a whole number of 1 or more, not "):
        BatchLoader(ArrayDataset(np.zeros(3)), bs)


@pytest.mark.parametrize("bs", [64 / 8, np.float32(8), np.int64(8)])
def test_a_whole_batch_size_may_come_out_of_a_division(bs):
    dl = BatchLoader(ArrayDataset(np.zeros(20), np.zeros(20)), bs)
    assert type(dl.bs) is int
    assert [len(y) for _, y in dl] == [8, 8, 4]


@pytest.mark.parametrize(
    ("n", "bs", "sizes"), [(65, 8, [8] * 8), (66, 8, [8] * 8 + [2]), (1, 8, [1]), (8, 8, [8]), (9, 8, [8])]
)
def test_no_training_batch_has_a_single_row_unless_there_is_no_other(n, bs, sizes):
    dl = BatchLoader(ArrayDataset(np.zeros(n), np.zeros(n)), bs, shuffle=True)
    assert [len(y) for _, y in dl] == sizes
    assert len(dl) == len(sizes)


def test_batches_of_one_row_are_what_was_asked_for():
    for shuffle in (False, True):
        dl = BatchLoader(ArrayDataset(np.arange(3.0), np.arange(3)), 1, shuffle)
        assert sorted(y.tolist() for _, y in dl) == [[0], [1], [2]]


def test_empty_set_is_refused():
    with pytest.raises(ValueError, match="a data set is empty: check its folder or val_idxs"):
        BatchLoader(ArrayDataset(np.zeros(0)), 4)


# Passes


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("n", "bs", "passes"), [(10, 4, 1), (10, 7, 2.5), (7, 4, 1.5), (20, 6, 3), (5, 8, 4.4), (9, 5, 1.89), (20, 4, 0.5)]
)
def test_an_epoch_of_several_passes(n, bs, passes, shuffle):
    dl = BatchLoader(ArrayDataset(torch.arange(n) * 2.0, np.arange(n)), bs, shuffle, passes)
    batches = list(dl)
    x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    assert len(y) == int(n * passes)
    assert len(batches) == len(dl) == -(-len(y) // bs)
    assert {len(b[1]) for b in batches[:-1]} <= {bs}
    assert torch.equal(x, y * 2.0)
    counts = np.bincount(y.cpu(), minlength=n)
    assert counts.min() >= int(passes)
    assert counts.max() <= np.ceil(passes)
    for k in range(int(passes)):  # each pass has every row, before any comes again
        assert sorted(y[k * n : (k + 1) * n].tolist()) == list(range(n))


def test_every_pass_has_an_order_of_its_own():
    y = torch.cat([y for _, y in BatchLoader(ArrayDataset(np.arange(50.0), np.arange(50)), 8, True, 2)])
    assert y[:50].tolist() != y[50:].tolist()


def test_no_epoch_of_several_passes_ends_in_a_single_row():
    dl = BatchLoader(ArrayDataset(np.zeros(10), np.zeros(10)), 8, shuffle=True, passes=2.5)
    assert [len(y) for _, y in dl] == [8, 8, 8]
    assert len(dl) == 3


@pytest.mark.parametrize("passes", [0, 0.05, -1])
def test_passes_that_make_no_batch(passes):
    dl = BatchLoader(ArrayDataset(np.zeros(10), np.zeros(10)), 8)
    dl.passes = passes  # as lessons set it
    with pytest.raises(ValueError, match=f"{passes} passes over 10 rows make no batch"):
        list(dl)
