from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support import picture_folder

from course_utils import pictures
from course_utils.loaders import ArrayDataset, BatchLoader, FilesDataset, open_image
from course_utils.transforms import imagenet_stats, tfms_from_stats


@pytest.fixture
def files(tmp_path):
    picture_folder(tmp_path)
    names = [f"train/red/{i}.png" for i in range(12)]
    return FilesDataset(names, np.arange(12), tmp_path, tfms_from_stats(imagenet_stats, 24)[1])


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


def test_batch_equals_single_items(files):
    x, y = files.batch(torch.tensor([5, 0, 3]))
    for i, row in enumerate([5, 0, 3]):
        item, target = files[row]
        np.testing.assert_allclose(item, x[i].cpu().numpy(), atol=1e-6)
        assert target == y[i] == row


def test_pictures_are_decoded_once(files, monkeypatch):
    read, seen = pictures.read_picture, []
    monkeypatch.setattr(pictures, "read_picture", lambda f, side: (seen.append(f), read(f, side))[1])
    for _ in range(3):
        files.batch(torch.arange(12))
    assert len(seen) == 12


def test_the_last_picture_by_a_negative_number_is_not_kept_twice(files):
    np.testing.assert_array_equal(files[-1][0], files[11][0])
    assert list(files.kept) == [11]
    with pytest.raises(IndexError):
        files[12]


def test_grey_of_16_bits_keeps_its_shades(tmp_path):
    """One byte of the two, as OpenCV does it; Pillow alone makes 255 of all from 255 on."""
    shades = np.array([[0, 255, 5_000, 50_000, 65_535]], np.uint16)
    Image.fromarray(shades).save(tmp_path / "a.png")
    np.testing.assert_allclose(open_image(tmp_path / "a.png")[0, :, 0] * 255, shades[0] // 256, rtol=1e-6)


def test_floats_up_to_255_are_refused_not_cut_off(tmp_path):
    with pytest.raises(ValueError, match=r"floats in pictures lie in 0\.\.1, these reach 255: divide by 255"):
        ArrayDataset(np.full((2, 24, 24, 3), 255.0), np.zeros(2), tfm=tfms_from_stats(imagenet_stats, 24)[0])


def test_without_room_pictures_are_decoded_every_time_and_stay_the_same(files, monkeypatch):
    first = files.batch(torch.arange(6))[0]
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1, total=8))
    files.kept = {}
    again = files.batch(torch.arange(6))[0]
    assert torch.equal(first, again)
    assert not files.kept


def test_picture_arrays_in_either_layout():
    pictures = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    tfm = tfms_from_stats(imagenet_stats, 16)[1]
    a = ArrayDataset(pictures, np.arange(5), tfm=tfm)
    b = ArrayDataset(pictures.permute(0, 2, 3, 1).numpy(), np.arange(5), tfm=tfm)
    assert torch.equal(a.batch(torch.arange(5))[0], b.batch(torch.arange(5))[0])


def test_open_image(tmp_path):
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    np.testing.assert_allclose(open_image(tmp_path / "p.png"), pixels / 255, atol=1e-6)


def test_grey_pictures_become_three_channels(tmp_path):
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "g.png")
    assert open_image(tmp_path / "g.png").shape == (4, 5, 3)


def test_truncated_picture_is_named(files):
    name = files.path / files.fnames[4]
    name.write_bytes(name.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"red/4\.png: not a readable picture .*replace or delete it"):
        files.batch(torch.arange(12))


def test_truncated_jpeg_is_named(tmp_path):
    file = tmp_path / "a.jpg"
    Image.effect_noise((90, 80), 60).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"a\.jpg: not a readable picture"):
        open_image(file)


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such picture"):
        open_image(tmp_path / "none.png")


def test_unequal_arrays_and_bad_batch_size():
    with pytest.raises(ValueError, match=r"differ in length: \[3, 4\]"):
        ArrayDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="batch size"):
        BatchLoader(ArrayDataset(np.zeros(3)), 0)


def test_no_training_batch_has_a_single_row():
    sizes = [len(y) for _, y in BatchLoader(ArrayDataset(np.zeros(65), np.zeros(65)), 8, shuffle=True)]
    assert sizes == [8] * 8


def test_whole_number_and_double_pictures():
    """int64 in 0..255 and float64 in 0..1 are the same pictures as uint8."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3))
    tfm = tfms_from_stats(imagenet_stats, 16)[1]
    first, *others = (
        ArrayDataset(p, np.arange(3), tfm=tfm).batch(torch.arange(3))[0]
        for p in (pictures.astype(np.uint8), pictures, pictures / 255)
    )
    for x in others:
        torch.testing.assert_close(x, first, atol=1e-5, rtol=0)


def test_empty_set_is_refused():
    with pytest.raises(ValueError, match="a data set is empty: check its folder or val_idxs"):
        BatchLoader(ArrayDataset(np.zeros(0)), 4)


# Small pictures of one size become one tensor


@pytest.fixture
def small(tmp_path):
    """20 pictures of 24 x 24 pixels, brighter and brighter, for validation transforms."""
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 50, (24, 24, 3), np.uint8) + np.uint8(10 * i)).save(tmp_path / f"{i}.png")
    return FilesDataset(
        [f"{i}.png" for i in range(20)], np.arange(20), tmp_path, tfms_from_stats(imagenet_stats, 24)[1]
    )


def single(ds, i):
    """Picture i, read and transformed without the data set."""
    return torch.from_numpy(ds.tfm(np.asarray(Image.open(ds.path / ds.fnames[i]))))


@pytest.mark.parametrize("order", [list(range(20)), np.random.default_rng(1).permutation(20).tolist()])
def test_the_first_pass_over_small_pictures_makes_one_tensor(small, order):
    rows = torch.tensor(order).split(6)
    before = [small.batch(r) for r in rows[:-1]]
    assert len(small.arrays) == 1
    before.append(small.batch(rows[-1]))
    assert small.arrays[0].shape == (20, 3, 24, 24)
    assert not small.kept
    for r, (x, y) in zip(rows, before, strict=True):
        again = small.batch(r)
        assert torch.equal(again[0], x)
        assert torch.equal(again[1], y)
        assert y.tolist() == r.tolist()
        for i, picture in zip(r.tolist(), x.cpu(), strict=True):
            torch.testing.assert_close(picture, single(small, i), atol=1e-5, rtol=1e-5)


def test_a_tensor_on_the_device_needs_no_files(small):
    x, _ = small.batch(torch.arange(20))
    for name in small.fnames:
        (small.path / name).unlink()
    mixed = torch.tensor([7, 7, 0, 19])
    assert torch.equal(small.batch(mixed)[0], x[mixed])


def test_half_the_pictures_again_and_again_are_no_whole(small):
    for _ in range(3):
        small.batch(torch.arange(10))
    assert len(small.arrays) == 1
    assert sorted(small.kept) == list(range(10))


def test_pictures_of_different_sizes_are_not_stacked(files):
    tfm, sizes = files.tfm, {Image.open(files.path / name).size for name in files.fnames}
    files.tfm = tfms_from_stats(imagenet_stats, 24)[0]  # crops at random, so the whole pictures are kept
    assert len(sizes) == 3
    files.batch(torch.arange(12))
    assert len(files.arrays) == 1
    assert len(files.kept) == 12
    files.tfm, files.kept = tfm, {}  # central crops: all of one size
    files.batch(torch.arange(12))
    assert len(files.arrays) == 2


@pytest.mark.parametrize(("spare", "arrays"), [(0, 1), (1, 2)])
def test_pictures_of_more_bytes_than_on_device_are_not_stacked(small, monkeypatch, spare, arrays):
    monkeypatch.setattr("course_utils.pictures.ON_DEVICE", 20 * 3 * 24 * 24 + spare)
    first, _ = small.batch(torch.arange(20))
    assert len(small.arrays) == arrays
    assert len(small.kept) == 20 * (arrays == 1)
    assert torch.equal(small.batch(torch.arange(20))[0], first)


@pytest.mark.parametrize(("limit", "by_threads"), [(0, True), (10**6, False)])
def test_tiny_pictures_are_read_without_threads_and_are_the_same(small, monkeypatch, limit, by_threads):
    expected = [small._read(small.path / name) for name in small.fnames]
    used = []
    monkeypatch.setattr("course_utils.pictures.TINY", limit)
    monkeypatch.setattr("course_utils.pictures.POOL.map", lambda f, files: used.append(1) or map(f, files))
    small.batch(torch.arange(20))
    assert bool(used) == by_threads
    torch.testing.assert_close(small.arrays[0].cpu(), torch.stack(expected))


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
