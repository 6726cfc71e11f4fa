"""Archives of each kind, tiny, from a server on loopback: their conversion, a wrong size, a wrong begin."""

import gzip
import hashlib
import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import Server

import course_utils.data
from course_utils import files as where
from course_utils.data import DataError, convert, download, get_data, layout, registry
from course_utils.data.registry import Archive

Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """An empty repository; no data of the user."""
    monkeypatch.setattr(where, "ROOT", tmp_path)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    layout._warn_once.cache_clear()
    return tmp_path


def packed(files: Files, name: str) -> bytes:
    raw = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(raw, "w") as opened:
            for member, content in files.items():
                opened.writestr(member, content)
        return raw.getvalue()
    with tarfile.open(fileobj=raw, mode="w:") as opened:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


@pytest.fixture
def fetch(monkeypatch) -> Callable[..., Path]:
    """A function: the data set `name` from the server, if its archive is `content`; as the registry has it else."""

    def from_server(name: str, archive: str, content: Files, **checks: object) -> Path:
        entry = registry.load()[name]
        registered = [one for together in entry.alternatives for one in together]
        (real,) = [one for one in registered if one.name == archive]
        own = Path(archive).name
        with Server({own: packed(content, own)}) as server:
            tiny = replace(real, **{"urls": [server.url(own)], "sha256": None, "bytes": None, "prefix": None} | checks)
            entries = {name: replace(entry, alternatives=[[tiny]])}
            monkeypatch.setattr(course_utils.data, "load", lambda: entries)
            return get_data(name, "full")

    return from_server


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def picture(kind: str = "JPEG", mode: str = "RGB") -> bytes:
    raw = io.BytesIO()
    Image.new(mode, (8, 6)).save(raw, kind)
    return raw.getvalue()


def record(label: int) -> bytes:
    """A picture of CIFAR-10: every pixel its own number, a channel a third of them."""
    return bytes([label]) + bytes((i + label) % 251 for i in range(3072))


CIFAR = {f"cifar-10-batches-bin/data_batch_{i}.bin": record(0) + record(6) + record(6) for i in range(1, 6)}
CIFAR["cifar-10-batches-bin/test_batch.bin"] = b"".join(record(label) for label in (9, 3, 3, 0, 1))


def test_cifar_of_its_authors(fetch):
    folder = fetch("cifar10", "cifar-10-binary.tar.gz", CIFAR)
    train = [f"train/{kind}/{i:05}.png" for i in range(15) for kind in ["airplane" if i % 3 == 0 else "frog"]]
    kinds = ("truck", "cat", "cat", "airplane", "automobile")
    assert names(folder) == sorted(train + [f"test/{kind}/{i:05}.png" for i, kind in enumerate(kinds)])
    with Image.open(folder / "test/truck/00000.png") as opened:
        pixels = np.asarray(opened)
    assert pixels.shape == (32, 32, 3)
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (17, 5, 2), (31, 31, 2)]:
        assert pixels[row, column, channel] == record(9)[1 + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize(
    ("bad", "told"),
    [(record(10), "has a label 10, which is no class"), (record(1)[:-1], "ends within a picture")],
)
def test_a_bad_record_leaves_nothing(fetch, root, bad, told):
    content = CIFAR | {"cifar-10-batches-bin/test_batch.bin": record(1) + bad}
    with pytest.raises(DataError, match=rf"cifar-10-binary\.tar\.gz: test_batch\.bin {told}\n"):
        fetch("cifar10", "cifar-10-binary.tar.gz", content)
    assert [path.name for path in (root / "data" / "full").iterdir()] == [".cifar10.lock"]


def test_cifar_with_the_class_in_the_name(fetch):
    content = {"cifar/labels.txt": b"", "cifar/train/0_frog.png": b"0", "cifar/train/12_cat.png": b"1"}
    folder = fetch("cifar10", "cifar.tgz", content | {"cifar/test/0_cat.png": b"2", "cifar/test/1_cow.png": b"3"})
    assert names(folder) == ["test/cat/0.png", "train/cat/12.png", "train/frog/0.png"]
    assert (folder / "train/cat/12.png").read_bytes() == b"1"


RATED = [f"{kind}/{i}_{rating}.txt" for kind, rating in (("pos", 9), ("neg", 2)) for i in (0, 1)]
REVIEWS = {f"{split}/{name}": b"x" for split in ("train", "test") for name in RATED}


def refuse(*_, **__) -> None:
    raise OSError("no links here")


@pytest.mark.parametrize("archive", ["aclImdb_v1.tar.gz", "imdb.tgz"])
@pytest.mark.parametrize("can_link", [True, False])
def test_reviews_are_poured_together(fetch, monkeypatch, archive, can_link):
    top, unsup = ("imdb", "unsup") if archive == "imdb.tgz" else ("aclImdb", "train/unsup")
    content = REVIEWS | {"README": b"", f"{unsup}/0_0.txt": b"y"}
    if archive == "imdb.tgz":
        content |= {"tmp_lm/itos.pkl": b"cos\nsystem\n", "tmp_clas/itos.pkl": b""}
    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    folder = fetch("imdb", archive, {f"{top}/{name}": text for name, text in content.items()})
    rated = ["0_2.txt", "0_9.txt", "1_2.txt", "1_9.txt"]
    wanted = [*REVIEWS, "README", "train/unsup/0_0.txt", *(f"test/all/{name}" for name in rated)]
    assert names(folder) == sorted(wanted + [f"train/all/{name}" for name in ["0_0.txt", *rated]])
    assert (folder / "train/all/0_0.txt").samefile(folder / "train/unsup/0_0.txt") == can_link
    assert (folder / "train/all/0_0.txt").read_bytes() == b"y"


PETS = {f"images/{breed}_{i}.jpg": picture() for breed in ("Egyptian_Mau", "great_pyrenees") for i in range(1, 43)}
PETS |= {"images/Egyptian_Mau_1.jpg": picture("PNG", "RGBA"), "images/great_pyrenees_2.jpg": picture("JPEG", "L")}
PETS |= {"images/Abyssinian_100.mat": b"", "annotations/list.txt": b""}


@pytest.mark.parametrize("archive", ["oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet.tgz"])
@pytest.mark.parametrize(
    ("name", "folders"), [("pets", ("cats", "dogs")), ("pets-breeds", ("Egyptian_Mau", "great_pyrenees"))]
)
def test_pets_by_species_and_by_breed(fetch, name, folders, archive):
    top = "oxford-iiit-pet/" if archive.endswith(".tgz") else ""
    folder = fetch(name, archive, {top + member: content for member, content in PETS.items()})
    wanted = []
    for place, breed in zip(folders, ("Egyptian_Mau", "great_pyrenees"), strict=True):
        wanted += [f"{'train' if i < 3 else 'valid'}/{place}/{breed}_{i}.jpg" for i in range(1, 43)]
    assert names(folder) == sorted(wanted)
    for file in folder.rglob("*.jpg"):
        with Image.open(file) as opened:
            assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (8, 6))


def test_the_counts_of_pets_add_up():
    """2,400 cats and 4,990 dogs, 12 and 25 breeds."""
    sets = registry.load()
    by_species = sets["pets"].layout
    held_out = convert.PETS_HELD_OUT
    assert by_species["valid/cats/*.jpg"] == 12 * held_out
    assert by_species["valid/dogs/*.jpg"] == 25 * held_out
    assert sum(by_species.values()) == sum(sets["pets-breeds"].layout.values()) == 7390


def test_the_cats_and_dogs_of_microsoft(fetch, caplog):
    numbers = (0, 666, 2317, 11_499, 11_500, 11_702, 12_080, 12_499)
    content = {f"PetImages/{kind}/{i}.jpg": b"" for kind in ("Cat", "Dog") for i in numbers}
    content |= {"PetImages/Cat/Thumbs.db": b"", "readme[1].txt": b""}
    folder = fetch("dogscats", "kagglecatsanddogs_5340.zip", content)
    cats = [f"cats/cat.{i}.jpg" for i in numbers if i not in (666, 12_080)]
    dogs = [f"dogs/dog.{i}.jpg" for i in numbers if i not in (2317, 11_702)]
    split = {name: "valid" if int(name.split(".")[1]) >= 11_500 else "train" for name in cats + dogs}
    assert names(folder) == sorted(f"{split[name]}/{name}" for name in cats + dogs)


def test_the_numbers_of_microsoft_without_the_faulty_ones():
    counts = registry.load()["dogscats"].editions["Microsoft"]
    for kind, faulty in convert.FAULTY.items():
        late = {number for number in faulty if number >= convert.FIRST_HELD_OUT}
        assert counts[f"train/{kind}s/*.jpg"] == 11_500 - len(faulty - late)
        assert counts[f"valid/{kind}s/*.jpg"] == 1000 - len(late)


def test_the_sample_of_planet_gets_the_names_of_the_lesson(fetch):
    table = b"image_name,tags\ntrain_7,haze primary\n"
    content = {"planet_sample/labels.csv": table, "planet_sample/train/train_7.jpg": b""}
    folder = fetch("planet", "planet_sample.tgz", content)
    assert names(folder) == ["train-jpg/train_7.jpg", "train_v2.csv"]
    assert (folder / "train_v2.csv").read_bytes() == table


def test_an_edition_is_told_by_its_counts(fetch, caplog):
    tables = {"ratings.csv": b"h\n" * 100_837, "movies.csv": b"h\n" * 9743}
    content = {f"ml-latest-small/{name}": table for name, table in tables.items()}
    fetch("ml-latest-small", "2018-09/ml-latest-small.zip", content)
    told = "ml-latest-small: the edition '2018-09', ratings.csv 100836 of 100004, movies.csv 9742 of 9125"
    assert caplog.messages == [told]


# --- the size and the begin of a download ---


NOISE = {"cifar10/noise": random.Random(0).randbytes(3_000_000)}
LONG = NOISE | {f"cifar10/{split}/cat/0.png": b"" for split in ("train", "test")}
ARCHIVE = "fast-ai-sample/cifar10.tgz"


def stored(root: Path) -> list[str]:
    """What is in the folder of downloads, but for locks."""
    return [name for name in names(root / "data" / "archives") if not name.endswith(".lock")]


def begin(files: Files) -> str:
    return hashlib.md5(packed(files, "x.tgz")[: 2**20]).hexdigest()


@pytest.mark.parametrize("off", [-1, 1, 1_000_000])
def test_a_wrong_size_is_refused_before_a_byte_is_stored(fetch, root, off):
    size = len(packed(LONG, "x.tgz"))
    told = rf"cifar10\.tgz refused: {size:,} bytes announced, {size + off:,} expected\n"
    with pytest.raises(DataError, match=told):
        fetch("cifar10", ARCHIVE, LONG, bytes=size + off)
    assert stored(root) == []


def test_the_right_size_and_begin_are_taken_and_the_size_is_told_first(fetch, capsys):
    size = len(packed(LONG, "x.tgz"))
    folder = fetch("cifar10", ARCHIVE, LONG, bytes=size, prefix=begin(LONG))
    assert (folder / "train/cat/0.png").is_file()
    assert f"cifar10.tgz: {size / 1e6:.1f} MB, from http://127.0.0.1" in capsys.readouterr().err


def test_a_wrong_begin_is_refused_as_soon_as_it_is_there(fetch, root, monkeypatch):
    pieces, require = [], download._require_prefix

    def noted(part: Path, prefix: str | None) -> None:
        pieces.append(part.stat().st_size)
        require(part, prefix)

    monkeypatch.setattr(download, "_require_prefix", noted)
    told = rf"cifar10\.tgz refused: md5 of its begin expected {'0' * 32}, found {begin(LONG)}\n"
    with pytest.raises(DataError, match=told):
        fetch("cifar10", ARCHIVE, LONG, prefix="0" * 32)
    assert pieces == [2**20]
    assert stored(root) == []


@pytest.mark.parametrize("files", [LONG, {name: LONG[name] for name in LONG if "noise" not in name}])
def test_the_next_address_is_tried_after_a_wrong_begin(monkeypatch, files):
    """Of an archive below 1 MiB, the begin is all of it."""
    good = packed(files, "x.tgz")
    bad = bytes(len(good))
    with Server({"cifar10.tgz": bad}) as first, Server({"cifar10.tgz": good}) as second:
        urls = [first.url("cifar10.tgz"), second.url("cifar10.tgz")]
        archive = Archive(ARCHIVE, urls, bytes=len(good), prefix=begin(files))
        entry = replace(registry.load()["cifar10"], alternatives=[[archive]])
        monkeypatch.setattr(course_utils.data, "load", lambda: {"cifar10": entry})
        assert (get_data("cifar10", "full") / "test/cat/0.png").is_file()


def test_a_conversion_that_fails_leaves_nothing(fetch, root, monkeypatch):
    def fails(came: Path, made: Path) -> None:
        (made / "train").mkdir()
        raise MemoryError("half-way")

    monkeypatch.setitem(convert.CONVERTERS, "cifar_binary", fails)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: half-way\n"):
        fetch("cifar10", "cifar-10-binary.tar.gz", CIFAR)
    assert [path.name for path in (root / "data" / "full").iterdir()] == [".cifar10.lock"]
    monkeypatch.setitem(convert.CONVERTERS, "cifar_binary", convert.cifar_binary)
    assert fetch("cifar10", "cifar-10-binary.tar.gz", CIFAR).is_dir()
