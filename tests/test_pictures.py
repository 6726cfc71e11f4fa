import io
import struct
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, ImageOps
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile
from support import picture_folder, size_of

from course_utils import pictures, reading
from course_utils.batches import BatchLoader
from course_utils.core import to_np
from course_utils.pictures import FilesDataset, open_image, picture_names
from course_utils.reading import read_picture
from course_utils.transforms import CropType, imagenet_stats, tfms_from_stats
from course_utils.vision import ImageClassifierData

PLAIN = ((0, 0, 0), (1, 1, 1))


@pytest.fixture
def files(tmp_path):
    picture_folder(tmp_path)
    names = [f"train/red/{i}.png" for i in range(12)]
    return FilesDataset(names, np.arange(12), tmp_path, tfms_from_stats(imagenet_stats, 24)[1])


# One file


def test_open_image(tmp_path):
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    np.testing.assert_allclose(open_image(tmp_path / "p.png"), pixels / 255, atol=1e-6)


def test_grey_pictures_become_three_channels(tmp_path):
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "g.png")
    assert open_image(tmp_path / "g.png").shape == (4, 5, 3)


def test_grey_of_16_bits_keeps_its_shades(tmp_path):
    """One byte of the two, as OpenCV does it; Pillow alone makes 255 of all from 255 on."""
    shades = np.array([[0, 255, 5_000, 50_000, 65_535]], np.uint16)
    Image.fromarray(shades).save(tmp_path / "a.png")
    np.testing.assert_allclose(open_image(tmp_path / "a.png")[0, :, 0] * 255, shades[0] // 256, rtol=1e-6)


def test_truncated_jpeg_is_named(tmp_path):
    file = tmp_path / "a.jpg"
    Image.effect_noise((90, 80), 60).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"a\.jpg: not a readable picture"):
        open_image(file)


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such picture"):
        open_image(tmp_path / "none.png")


@pytest.mark.parametrize(("side", "decoded"), [(0, 400), (30, 100), (50, 100), (51, 200), (100, 200), (101, 400)])
def test_a_large_jpeg_is_decoded_at_twice_the_side_or_more(tmp_path, side, decoded):
    """At a half, a quarter or an eighth of its size, whichever is the last that has 2 * side; 0: whole."""
    for size, expected in (((600, 400), (decoded * 3 // 2, decoded)), ((400, 600), (decoded, decoded * 3 // 2))):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / "a.jpg")
        assert read_picture(tmp_path / "a.jpg", side).size == expected


# Pictures that claim to be huge


def claiming(kind, width, height, **options):
    """A picture of 8 x 8 whose header says that it is of another size."""
    out = io.BytesIO()
    more = [Image.new("RGB", (8, 8), "red")] if kind == "WEBP" else []
    Image.new("RGB", (8, 8)).save(out, kind, **({"save_all": True, "append_images": more} if more else options))
    content = bytearray(out.getvalue())
    if kind == "JPEG":
        start = content.index(b"\xff\xc2" if options else b"\xff\xc0")
        content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    elif kind == "PNG":
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif kind == "GIF":
        content[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        content[18:26] = struct.pack("<ii", width, height)
    else:
        start = content.index(b"VP8X") + 12
        content[start : start + 6] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(content)


@pytest.fixture
def never_decoded(monkeypatch):
    """It fails where any pixels are asked for."""
    for kind in (ImageFile.ImageFile, JpegImageFile, WebPImageFile, GifImageFile):
        monkeypatch.setattr(kind, "load", lambda im: pytest.fail(f"{im.size} decoded"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # which decodes it nevertheless
@pytest.mark.parametrize("side", [0, 224])
@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("JPEG", (13_000, 13_000), {}),
        ("JPEG", (14_000, 14_000), {}),
        ("JPEG", (13_000, 13_000), {"progressive": True}),
        ("JPEG", (700, 600), {}),
        ("PNG", (13_000, 13_000), {}),
        ("GIF", (9_000, 9_000), {}),
        ("BMP", (13_000, 13_000), {}),
        ("WEBP", (7_000, 7_000), {}),
    ],
)
def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(
    tmp_path, never_decoded, kind, size, options, side
):
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(content := claiming(kind, *size, **options))
    assert len(content) < 1_000
    with pytest.raises(
        ValueError, match=rf"a\.{kind.lower()}: not a readable picture \(.*; replace or delete it$"
    ) as e:
        read_picture(file, side)
    assert "\n" not in str(e.value)
    shown = "{:,} x {:,}".format(*size)
    assert shown in str(e.value) or "Image size (196000000 pixels)" in str(e.value)  # Pillow's own


def test_a_file_must_hold_a_bit_for_each_block_of_a_jpeg(tmp_path):
    """The least that an encoder makes of a picture is more: one colour, no detail, the best codes."""
    for options in ({}, {"optimize": True}, {"progressive": True}, {"quality": 1, "progressive": True}):
        for mode in ("L", "RGB"):
            Image.new(mode, (3_000, 2_000)).save(file := tmp_path / "a.jpg", **options)
            assert read_picture(file).size == (3_000, 2_000)


def test_a_photograph_of_100_megapixels_is_read_small(tmp_path, monkeypatch):
    """Decoded at an eighth it takes little; whole, it takes 400 MB."""
    monkeypatch.setattr(reading, "MOST_BYTES", 2**20)
    Image.new("RGB", (1_600, 1_200), "red").save(file := tmp_path / "a.jpg")
    assert read_picture(file, 64).size == (200, 150)
    with pytest.raises(ValueError, match=r"a\.jpg: .*1,600 x 1,200 pixels would take 7 MB, more than 1 MB"):
        read_picture(file)
    Image.new("RGB", (1_600, 1_200), "red").save(file, progressive=True)  # of such, all is held at full size
    with pytest.raises(ValueError, match="would take 11 MB"):
        read_picture(file, 64)


def test_an_honest_picture_of_one_colour_is_read(tmp_path):
    """16 megapixels in 47 kB."""
    Image.new("RGB", (4_000, 4_000)).save(file := tmp_path / "a.png")
    assert file.stat().st_size < 60_000
    assert read_picture(file, 100).size == (4_000, 4_000)


# Every file is read in one way


def corners(mode="RGB"):
    """40 x 32 pixels, each quarter of another colour, none of which is grey: no turn or mirror image equals it."""
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[:16, :20] = [220, 30, 40]
    pixels[:16, 20:] = [40, 200, 30]
    pixels[16:, :20] = [30, 50, 210]
    pixels[16:, 20:] = [210, 190, 20]
    return Image.fromarray(pixels).convert(mode)


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def seen(file):
    """Pixels of a file as Pillow shows it, as `open_image` gives it, and as a data set feeds it."""
    with Image.open(file) as im:
        upright = ImageOps.exif_transpose(im)
    tfm = tfms_from_stats(PLAIN, 40, crop_type=CropType.NO)[1]
    ds = FilesDataset([file.name], [0], file.parent, tfm)
    ds_pixels = ds.denorm(ds[0][0])
    return [np.asarray(upright.convert("RGB")) / 255, open_image(file), ds_pixels]


KINDS = [
    ("red.jpg", "RGB", {}),
    ("grey.jpg", "L", {}),
    ("cmyk.jpg", "CMYK", {}),
    ("progressive.jpg", "RGB", {"progressive": True}),
    ("red.png", "RGB", {}),
    ("palette.png", "P", {}),
    ("transparent.png", "RGBA", {}),
    ("lossless.webp", "RGB", {"lossless": True}),
    ("palette.gif", "P", {}),
    ("red.bmp", "RGB", {}),
    *[(f"turned{i}.jpg", "RGB", {"exif": exif(i)}) for i in range(1, 9)],
    ("turned.png", "RGB", {"exif": exif(6)}),
    ("twice.jpg", "RGB", {"exif": b"Exif\0\0" + exif(6)}),  # as some apps write it
]


@pytest.mark.parametrize(("name", "mode", "options"), KINDS, ids=[name for name, _, _ in KINDS])
def test_a_data_set_sees_what_pillow_shows(tmp_path, name, mode, options):
    """Colours in their order, three channels, turned upright."""
    file = tmp_path / name
    corners(mode).save(file, **({"quality": 95} | options if file.suffix == ".jpg" else options))
    pillow, single, in_batch = seen(file)
    np.testing.assert_allclose(single, pillow, atol=1e-6)
    squashed = Image.fromarray((pillow * 255).round().astype(np.uint8)).resize((40, 40), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(in_batch, np.asarray(squashed) / 255, atol=1.01 / 255)
    if mode == "RGB" and "exif" not in options:
        np.testing.assert_allclose(single[4, 4], [220 / 255, 30 / 255, 40 / 255], atol=0.02)


@pytest.mark.parametrize("name", ["turned.jpg", "twice.jpg", "turned.png"])
def test_resized_copies_are_upright_once(tmp_path, name):
    block = exif(6) if name != "twice.jpg" else b"Exif\0\0" + exif(6)
    for folder in ("train/a", "train/b", "valid/a", "valid/b"):
        (tmp_path / folder).mkdir(parents=True)
        corners().resize((160, 128)).save(tmp_path / folder / name, exif=block)
    tfms = tfms_from_stats(PLAIN, 40)
    data = ImageClassifierData.from_paths(tmp_path, tfms=tfms)
    copies = data.resize(64)
    first, second = (d.val_ds.denorm(d.val_ds[0][0]) for d in (data, copies))
    np.testing.assert_allclose(first[[4, 4, -5, -5], [4, -5, 4, -5]], second[[4, 4, -5, -5], [4, -5, 4, -5]], atol=0.03)


def test_names_of_all_kinds_of_pictures_in_their_order(tmp_path):
    names = [*(name for name, _, _ in KINDS if "." in name), "LARGE.JPG", "b.jpeg", "C.PNG", "d.Webp", "e.GIF", "f.BMP"]
    for name in [*names, ".hidden.jpg", "notes.txt", "a.jpg.part", "jpg", "a.tiff"]:
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).touch()
    assert picture_names(tmp_path / "x", tmp_path) == sorted(f"x/{name}" for name in names)


# A data set of files


def test_batch_equals_single_items(files):
    x, y = files.batch(torch.tensor([5, 0, 3]))
    for i, row in enumerate([5, 0, 3]):
        item, target = files[row]
        np.testing.assert_allclose(item, x[i].cpu().numpy(), atol=1e-6)
        assert target == y[i] == row


@pytest.fixture
def seen_files(monkeypatch):
    """The files that are read, in their order."""
    read, seen = read_picture, []
    monkeypatch.setattr(pictures, "read_picture", lambda file, side: (seen.append(file), read(file, side))[1])
    return seen


def test_pictures_are_decoded_once(files, seen_files):
    for _ in range(3):
        files.batch(torch.arange(12))
    assert len(seen_files) == 12


def test_a_row_that_comes_twice_in_a_batch_is_decoded_once(files, seen_files):
    x, y = files.batch(torch.tensor([3, 1, 3]))
    assert len(seen_files) == 2
    assert torch.equal(x[0], x[2])
    assert y.tolist() == [3, 1, 3]


def test_the_last_picture_by_a_negative_number_is_not_kept_twice(files):
    np.testing.assert_array_equal(files[-1][0], files[11][0])
    assert list(files.kept) == [11]
    with pytest.raises(IndexError):
        files[12]


def test_truncated_picture_is_named(files):
    name = files.path / files.fnames[4]
    name.write_bytes(name.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"red/4\.png: not a readable picture .*replace or delete it"):
        files.batch(torch.arange(12))


def test_a_picture_that_vanished_is_named(files):
    (files.path / files.fnames[4]).unlink()
    for use in (lambda: files.batch(torch.arange(12)), files.contents):
        with pytest.raises(FileNotFoundError, match=r"red/4\.png: no such picture$"):
            use()


def test_a_data_set_needs_files_and_a_target_each(tmp_path):
    tfm = tfms_from_stats(imagenet_stats, 24)[1]
    with pytest.raises(ValueError, match="a data set is empty: check its folder or val_idxs"):
        FilesDataset([], [], tmp_path, tfm)
    with pytest.raises(ValueError, match="2 pictures, but 3 targets"):
        FilesDataset(["a.jpg", "b.jpg"], [0, 1, 1], tmp_path, tfm)


def test_transforms_cannot_be_changed_under_pictures_that_are_kept(files):
    with pytest.raises(AttributeError, match="tfm"):
        files.tfm = tfms_from_stats(imagenet_stats, 16)[1]


def test_what_identifies_the_inputs_is_what_was_read(files):
    """A picture replaced while the old one is kept: the old one is still what a network is fed, so it is named."""
    before, x = files.contents(), files.batch(torch.tensor([4]))[0]
    for row in (4, 5):
        Image.new("RGB", (50, 50)).save(files.path / files.fnames[row])
    after = files.contents()
    assert torch.equal(files.batch(torch.tensor([4]))[0], x)
    assert [row for row in range(12) if after[row] != before[row]] == [5]
    fresh = FilesDataset(files.fnames, files.y, files.path, files.tfm).contents()
    assert [row for row in range(12) if fresh[row] != before[row]] == [4, 5]


def test_what_was_read_is_known_of_each_batch(files):
    before = files.contents()
    for rows in ([4, 5], [6], [0, 1]):
        files.batch(torch.tensor(rows))
    for name in files.fnames:
        Image.new("RGB", (50, 50)).save(files.path / name)
    after = files.contents()
    assert [row for row in range(12) if after[row] == before[row]] == [0, 1, 4, 5, 6]


# Memory


def test_without_room_pictures_are_decoded_every_time_and_stay_the_same(files, monkeypatch):
    first = files.batch(torch.arange(6))[0]
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1, total=8))
    files.kept = {}
    again = files.batch(torch.arange(6))[0]
    assert torch.equal(first, again)
    assert not files.kept


def test_a_container_without_room_keeps_nothing(files, monkeypatch):
    """Whatever its host has."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**40, total=2**40))
    monkeypatch.setattr("course_utils.memory.limits", lambda most: [pictures_left])
    pictures_left = SimpleNamespace(free=2**28, total=2**31)
    files.batch(torch.arange(6))
    assert not files.kept
    pictures_left = SimpleNamespace(free=2**30, total=2**31)
    files.batch(torch.arange(6))
    assert len(files.kept) == 6


def test_a_kept_crop_does_not_hold_on_to_the_picture_it_was_cut_from(tmp_path):
    Image.effect_noise((900, 30), 60).convert("RGB").save(tmp_path / "wide.jpg")
    ds = FilesDataset(["wide.jpg", "wide.jpg"], [0, 1], tmp_path, tfms_from_stats(PLAIN, 24)[1])
    ds.batch(torch.tensor([0]))
    assert ds.kept[0].untyped_storage().nbytes() == ds.kept[0].nbytes == 3 * 24 * 24


def test_a_thread_holds_one_decoded_picture_at_a_time(files, monkeypatch):
    """A batch of 64 photos of 12 megapixels would else take 2 GB before the first is resized."""
    read, decoded, alive = read_picture, [], []

    def counting(file, side):
        alive.append(sum(picture() is not None for picture in decoded))
        picture = read(file, side)
        decoded.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(pictures, "read_picture", counting)
    monkeypatch.setattr(pictures, "POOL", ThreadPoolExecutor(1))
    monkeypatch.setattr(pictures, "TINY", 0)
    files.batch(torch.arange(12))
    assert alive == [0] * 12


# Small pictures of one size become one tensor


@pytest.fixture
def small(tmp_path):
    """20 pictures of 24 x 24 pixels, brighter and brighter, for validation transforms."""
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 50, (24, 24, 3), np.uint8) + np.uint8(10 * i)).save(tmp_path / f"{i}.png")
    names = [f"{i}.png" for i in range(20)]
    return FilesDataset(names, np.arange(20), tmp_path, tfms_from_stats(imagenet_stats, 24)[1])


def single(ds, i):
    """Picture i, read and transformed without the data set."""
    with Image.open(ds.path / ds.fnames[i]) as im:
        return torch.from_numpy(ds.tfm(np.asarray(im)))


@pytest.mark.parametrize("order", [list(range(20)), np.random.default_rng(1).permutation(20).tolist()])
def test_the_first_pass_over_small_pictures_makes_one_tensor(small, order):
    rows = torch.tensor(order).split(6)
    before = [small.batch(r) for r in rows[:-1]]
    assert small.stacked is None
    before.append(small.batch(rows[-1]))
    assert small.stacked.shape == (20, 3, 24, 24)
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
    contents = small.contents()
    for name in small.fnames:
        (small.path / name).unlink()
    mixed = torch.tensor([7, 7, 0, 19])
    assert torch.equal(small.batch(mixed)[0], x[mixed])
    assert small.contents() == contents


def test_half_the_pictures_again_and_again_are_no_whole(small):
    for _ in range(3):
        small.batch(torch.arange(10))
    assert small.stacked is None
    assert sorted(small.kept) == list(range(10))


def test_pictures_of_different_sizes_are_not_stacked(files):
    assert len({size_of(files.path / name) for name in files.fnames}) == 3
    random_crops, central = tfms_from_stats(imagenet_stats, 24)
    whole = FilesDataset(files.fnames, files.y, files.path, random_crops)  # the whole pictures are kept
    whole.batch(torch.arange(12))
    assert whole.stacked is None
    assert len(whole.kept) == 12
    cut = FilesDataset(files.fnames, files.y, files.path, central)  # all of one size
    cut.batch(torch.arange(12))
    assert len(cut.stacked) == 12


@pytest.mark.parametrize(("spare", "kept"), [(0, 20), (1, 0)])
def test_pictures_of_more_bytes_than_on_device_are_not_stacked(small, monkeypatch, spare, kept):
    monkeypatch.setattr(pictures, "ON_DEVICE", 20 * 3 * 24 * 24 + spare)
    first, _ = small.batch(torch.arange(20))
    assert len(small.kept) == kept
    assert (small.stacked is None) == bool(kept)
    assert torch.equal(small.batch(torch.arange(20))[0], first)


def test_pictures_are_not_stacked_where_there_is_no_room_for_both(small, monkeypatch):
    """While one tensor is made of them, the pictures take twice their memory."""
    monkeypatch.setattr(pictures, "memory_is_free", lambda after=0: after < 20 * 3 * 24 * 24)
    small.batch(torch.arange(20))
    assert small.stacked is None
    assert len(small.kept) == 20


@pytest.mark.parametrize(("limit", "by_threads"), [(0, True), (10**6, False)])
def test_tiny_pictures_are_read_without_threads_and_are_the_same(small, monkeypatch, limit, by_threads):
    used = []
    monkeypatch.setattr(pictures, "TINY", limit)
    monkeypatch.setattr(pictures.POOL, "map", lambda f, rows: used.append(1) or map(f, rows))
    x, _ = small.batch(torch.arange(20))
    assert bool(used) == by_threads
    torch.testing.assert_close(x.cpu(), torch.stack([single(small, i) for i in range(20)]), atol=1e-5, rtol=0)


def test_a_loader_walks_through_the_files(files):
    y = [y for _, ys in BatchLoader(files, 5, shuffle=True) for y in to_np(ys)]
    assert sorted(y) == list(range(12))
