"""Small sets: what is drawn, that it is always the same, and that nothing half-made or lost is left."""

import hashlib
import re
import shutil
import struct
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_utils import files as where
from course_utils.data import DataError, draw, fetch, fingerprint, get_data, layout, registry
from course_utils.data.draw import small
from course_utils.data.registry import Small
from tools.clean import clean

OURS = {".made", ".version"}
MIRROR = where.ROOT.parent / "shared" / "data"
SETS = registry.load()
SMALL = [name for name, entry in SETS.items() if entry.small]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """A place for data with nothing in it; the web is not asked."""
    monkeypatch.setattr(where, "ROOT", tmp_path / "home")
    monkeypatch.setattr(fetch, "download", no_network)
    layout._warn_once.cache_clear()
    return where.ROOT


def no_network(url, *_):
    raise DataError(f"no network in this test: {url}")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but the two hidden ones."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in OURS]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def beside(folder: Path) -> list[str]:
    """What lies in a folder, but for locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def animals(n_train: int, n_valid: int) -> dict[str, str]:
    """Cats and dogs in the layout of the course."""
    counts = {"train": n_train, "valid": n_valid}
    return {
        f"{split}/{kind}s/{kind}.{i}.jpg": f"{split} {kind} {i}"
        for split, n in counts.items()
        for kind in ("cat", "dog")
        for i in range(n)
    }


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """COURSE_DATA, still empty."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("COURSE_DATA", str(folder))
    return folder


def packed(mirror: Path, name: str, files: dict[str, str]) -> None:
    """MIRROR/NAME.tgz with these files in a folder NAME."""
    source = write(mirror.parent / f"to pack {name}", {f"{name}/{path}": text for path, text in files.items()})
    mirror.mkdir(exist_ok=True)
    with tarfile.open(mirror / f"{name}.tgz", "w:gz") as archive:
        archive.add(source / name, name)


# --- pictures and texts ---


def test_each_folder_has_so_many_files_and_all_are_of_the_source(own):
    source = animals(350, 160) | {f"test1/{i}.jpg": "" for i in range(101)} | {"notes.txt": "", "models/x.pt": ""}
    write(own / "dogscats", source)
    folder = get_data("dogscats", "small")
    assert folder == where.ROOT / "data" / "small" / "dogscats"
    found = tree(folder)
    wanted = {f"{split}/{kind}": n for split, n in {"train": 300, "valid": 150}.items() for kind in ("cats", "dogs")}
    assert Counter(name.rpartition("/")[0] for name in found) == wanted | {"test1": 100}
    assert all(source[name].encode() == content for name, content in found.items())
    assert not (where.ROOT / "data" / "full").exists()  # COURSE_DATA is there: nothing is unpacked


def drawn_by_hand(names: list[str], n: int) -> set[str]:
    return set(sorted(names, key=lambda name: hashlib.sha256(f"1 {name}".encode()).digest())[:n])


def test_the_draw_depends_on_names_alone(own, monkeypatch):
    source = write(own / "dogscats", animals(400, 160))
    first = tree(get_data("dogscats", "small"))
    for split, kind, n in [("train", "cat", 300), ("train", "dog", 300), ("valid", "cat", 150)]:
        names = [name for name in animals(400, 160) if name.startswith(f"{split}/{kind}")]
        assert {name for name in first if name.startswith(f"{split}/{kind}")} == drawn_by_hand(names, n)
    shutil.rmtree(where.ROOT / "data" / "small")
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *a: sorted(listed(*a), reverse=True))  # another disk's order
    assert tree(get_data("dogscats", "small")) == first
    monkeypatch.undo()
    assert len(tree(source)) == 2 * (400 + 160)  # the source is as it was


def test_of_a_larger_source_most_of_the_files_are_other_ones(own):
    """No file is taken for being first: the draw is spread over the whole list."""
    write(own / "dogscats", animals(3000, 160))
    found = [int(name.split(".")[1]) for name in tree(get_data("dogscats", "small")) if name.startswith("train/cats")]
    assert abs(np.mean(found) - 1499.5) < 4 * 3000 / np.sqrt(12 * 300)
    assert np.ptp(found) > 2900


def test_a_source_with_fewer_gives_all_it_has_and_says_so(own, caplog):
    write(own / "dogscats", animals(300, 20))
    folder = get_data("dogscats", "small")
    assert tree(folder) == {name: text.encode() for name, text in animals(300, 20).items()}
    told = f"dogscats, small: 20 files of 150 in valid/{{}}, all that {own / 'dogscats'} has"
    assert caplog.messages == [told.format("cats"), told.format("dogs")]
    get_data("dogscats", "small")
    assert len(caplog.messages) == 2  # it is made once, and never a "reduced copy"


def test_a_read_only_source_gives_files_that_a_learner_may_change(own):
    source = write(own / "dogscats", animals(2, 2))
    (source / "train" / "cats" / "cat.0.jpg").chmod(0o444)
    copied = get_data("dogscats", "small") / "train" / "cats" / "cat.0.jpg"
    assert copied.stat().st_mode & 0o200


# --- where it comes from ---


def test_an_archive_in_a_mirror_is_unpacked_once(tmp_path, monkeypatch):
    packed(tmp_path / "mirror", "dogscats", animals(310, 151))
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "mirror"))
    first = tree(get_data("dogscats", "small"))
    assert len(first) == 2 * (300 + 150)
    assert beside(where.ROOT / "data" / "full") == ["dogscats"]
    assert beside(where.ROOT / "data" / "small") == ["dogscats"]
    assert set(tree(get_data("dogscats", "full"))) > set(first)
    (tmp_path / "mirror" / "dogscats.tgz").unlink()
    shutil.rmtree(where.ROOT / "data" / "small")
    assert tree(get_data("dogscats", "small")) == first  # of the full folder, which is there


def test_a_set_that_is_there_is_given_without_its_source(own):
    write(own / "dogscats", animals(2, 2))
    folder = get_data("dogscats", "small")
    before = fingerprint(folder)
    shutil.rmtree(own / "dogscats")
    assert get_data("dogscats", "small") == folder
    assert fingerprint(folder) == before


def test_a_source_that_is_nowhere_is_told_as_of_the_full_set():
    with pytest.raises(DataError, match=r"^statefarm: not found\. Tried:\n  COURSE_DATA: not set") as caught:
        get_data("statefarm", "small")
    assert "By hand: put statefarm.zip or " in str(caught.value)
    assert beside(where.ROOT / "data" / "small") == []


def test_unknown_names_are_told_in_one_line():
    listed = ", ".join(sorted(SMALL))
    told = "unknown small data set 'dogcats'; did you mean 'dogscats'? known: " + listed
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        get_data("dogcats", "small")
    with pytest.raises(ValueError, match=r"^unknown small data set 'fish'"):  # which has no full set
        get_data("fish", "small")
    with pytest.raises(ValueError, match=r"^unknown size 'smal'; did you mean 'small'\?"):
        get_data("dogscats", "smal")


# --- whole or not at all, and a learner's files ---


def test_a_build_that_breaks_off_leaves_nothing(own, monkeypatch):
    write(own / "dogscats", animals(5, 5))
    copy = shutil.copyfile
    steps = iter(range(9))

    def breaks(source, target):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(draw.shutil, "copyfile", breaks)
    with pytest.raises(KeyboardInterrupt):
        get_data("dogscats", "small")
    assert beside(where.ROOT / "data" / "small") == []
    monkeypatch.setattr(draw.shutil, "copyfile", copy)
    assert len(tree(get_data("dogscats", "small"))) == 20


def test_a_full_disk_is_one_line(own, monkeypatch):
    write(own / "dogscats", animals(5, 5))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(draw.shutil, "copyfile", full)
    with pytest.raises(DataError, match=r"^the disk of .*/data/small is full: make room there$"):
        get_data("dogscats", "small")
    assert beside(where.ROOT / "data" / "small") == []


MINE = {"models/x.pt": b"weights", "train/cats/mine.jpg": b"mine", "tmp/a": b"1"}


def test_another_version_is_made_anew_and_keeps_what_is_the_learners(own, caplog):
    write(own / "dogscats", animals(20, 10))
    entry = SETS["dogscats"]
    folder = small(replace(entry, small=Small(version=1, files={"*/*/*.jpg": 4})))
    first = tree(folder)
    changed = min(first)
    write(folder, MINE | {changed: b"changed"})
    caplog.clear()
    newer = replace(entry, small=Small(version=2, files={"*/*/*.jpg": 7}))
    assert small(newer) == folder
    second = tree(folder)
    assert set(second) > set(first)
    assert len(second) == 4 * 7 + len(MINE)
    assert {name: second[name] for name in MINE} == MINE
    assert tree(folder.with_name("dogscats-kept")) == {changed: b"changed"}
    assert [message.partition(": ")[2][:11] for message in caplog.messages] == ["built anew;"]


def test_make_clean_removes_a_small_set_and_keeps_a_learners_files(own, root):
    write(own / "dogscats", animals(5, 5))
    folder = get_data("dogscats", "small")
    assert clean(root / "data" / "small") == []
    assert not folder.exists()
    write(get_data("dogscats", "small"), MINE)
    assert clean(root / "data" / "small") == [folder]
    assert tree(folder) == MINE


# --- tables ---


STORES = pd.DataFrame({"Store": range(1, 201), "StoreType": [*"a" * 99, "b", *"c" * 50, *"d" * 50]})


def rossmann() -> dict[str, str]:
    """The seven tables, ten days of 200 shops."""
    days = [(store, day) for day in range(10) for store in STORES.Store]
    sales = "".join(f'{store},"2015-07-{day + 10}",{store * day},"0"\n' for store, day in days)
    tested = "".join(f"{i},{store}\n" for i, store in enumerate(STORES.Store[::2]))
    return {
        "train.csv": f'"Store","Date","Sales","StateHoliday"\n{sales}',
        "test.csv": f"Id,Store\n{tested}",
        "store.csv": STORES.to_csv(index=False),
        "store_states.csv": "Store,State\n" + "".join(f"{store},NA\n" for store in STORES.Store),
        "state_names.csv": "StateName,State\nBayern,BY\n",
        "googletrend.csv": "file,week,trend\nRossmann_DE_BY,x,1\n",
        "weather.csv": "file,Date,T\nBayern,2015-07-10,NA\n",
    }


def test_the_seven_tables_agree_and_every_type_of_shop_is_there(own):
    source = write(own / "rossmann", rossmann())
    folder = get_data("rossmann", "small")
    assert set(tree(folder)) == set(rossmann())
    tables = {name: pd.read_csv(folder / name, keep_default_na=False) for name in rossmann()}
    stores = tables["store.csv"]
    drawn = Counter(stores.StoreType)
    assert {kind: drawn[kind] - (kind == "a") for kind in "bcd"} == {"b": 1, "c": 4, "d": 4}  # 8 %, rounded up
    assert drawn["a"] in (8, 9)  # of 99, and shop 1 in any case
    assert 1 in set(stores.Store)
    for name in ("train.csv", "test.csv", "store_states.csv"):
        whole = pd.read_csv(source / name, keep_default_na=False)
        wanted = whole[whole.Store.isin(stores.Store)].reset_index(drop=True)
        pd.testing.assert_frame_equal(tables[name], wanted)
    for name in ("state_names.csv", "googletrend.csv", "weather.csv"):
        assert tree(folder)[name] == rossmann()[name].encode()
    lines = set(tree(folder)["store.csv"].splitlines())
    assert lines < set(rossmann()["store.csv"].encode().splitlines())  # nothing is written another way


def test_a_table_without_a_column_is_named(own):
    write(own / "rossmann", rossmann() | {"store.csv": "Shop,StoreType\n1,a\n"})
    told = f"unknown column of {own}/rossmann/store.csv 'Store'; did you mean 'StoreType'? known: Shop, StoreType"
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        get_data("rossmann", "small")
    write(own / "rossmann", {"store.csv": ""})
    with pytest.raises(DataError, match=r"store\.csv: not a readable CSV file"):
        get_data("rossmann", "small")
    assert beside(where.ROOT / "data" / "small") == []


def drivers(n: int) -> tuple[str, dict[str, str]]:
    """The list of pictures, and these: of three drivers, `n` in each of ten postures."""
    rows = [(f"p{d:03}", f"c{c}", f"img_{d}{c}{i:03}.jpg") for d in (2, 12, 14) for c in range(10) for i in range(n)]
    table = "".join(",".join(row) + "\n" for row in rows)
    return f"subject,classname,img\n{table}", {f"train/{c}/{img}": f"{who} {c}" for who, c, img in rows}


def test_the_table_of_drivers_lists_the_pictures_that_are_there(own):
    table, pictures = drivers(9)
    write(own / "statefarm", pictures | {"driver_imgs_list.csv": table})
    folder = get_data("statefarm", "small")
    listed = pd.read_csv(folder / "driver_imgs_list.csv")
    assert list(listed) == ["subject", "classname", "img"]
    assert set(listed.groupby(["subject", "classname"]).size()) == {6}
    assert listed.subject.nunique() == 3  # a split by driver has all of them
    found = {f"train/{row.classname}/{row.img}": f"{row.subject} {row.classname}" for row in listed.itertuples()}
    assert {name: text.encode() for name, text in found.items()} == {
        name: content for name, content in tree(folder).items() if name.startswith("train")
    }


def test_rows_without_a_picture_are_not_drawn(own):
    table, pictures = drivers(9)
    there = {name: text for name, text in pictures.items() if not name.endswith(("0.jpg", "1.jpg", "2.jpg", "3.jpg"))}
    write(own / "statefarm", there | {"driver_imgs_list.csv": table})
    folder = get_data("statefarm", "small")
    listed = pd.read_csv(folder / "driver_imgs_list.csv")
    assert set(listed.groupby(["subject", "classname"]).size()) == {5}
    assert {f"train/{row.classname}/{row.img}" for row in listed.itertuples()} == set(there)


def test_a_table_leads_to_no_file_outside(own):
    table, pictures = drivers(1)
    write(own, {"secret.jpg": "secret"})
    write(own / "statefarm", pictures | {"driver_imgs_list.csv": f"{table}p002,c0,../../../secret.jpg\n"})
    with pytest.raises(
        DataError, match=r"statefarm/driver_imgs_list\.csv: 'train/c0/\.\./\.\./\.\./secret\.jpg' is no name inside"
    ):
        get_data("statefarm", "small")
    assert beside(where.ROOT / "data" / "small") == []


def test_planets_labels_all_stay(own):
    """One tile at least of each combination of labels, and the labels of no other tile."""
    tags = ["clear primary"] * 300 + ["cloudy"] * 60 + ["clear blow_down"]
    rows = {f"train_{i}": combination for i, combination in enumerate(tags)}
    source = {"train_v2.csv": "image_name,tags\n" + "".join(f"{name},{tag}\n" for name, tag in rows.items())}
    source |= {f"train-jpg/{name}.jpg": "" for name in rows} | {f"test-jpg/test_{i}.jpg": "" for i in range(110)}
    write(own / "planet", source)
    folder = get_data("planet", "small")
    listed = pd.read_csv(folder / "train_v2.csv", index_col="image_name").tags
    assert Counter(listed) == {"clear primary": 6, "cloudy": 2, "clear blow_down": 1}
    assert {path.stem for path in folder.glob("train-jpg/*")} == set(listed.index)
    assert listed.to_dict().items() <= rows.items()
    assert len(list(folder.glob("test-jpg/*"))) == 100


# --- digits ---


def idx(x: np.ndarray) -> bytes:
    """An array of bytes in idx format."""
    return struct.pack(f">{1 + x.ndim}I", 0x800 + x.ndim, *x.shape) + x.tobytes()


def digits(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels, by the numbers in the heads of the files."""
    images = (folder / f"{part}-images-idx3-ubyte").read_bytes()
    labels = (folder / f"{part}-labels-idx1-ubyte").read_bytes()
    kind, *shape = struct.unpack(">4I", images[:16])
    assert (kind, *struct.unpack(">2I", labels[:8])) == (0x803, 0x801, shape[0])
    return np.frombuffer(images[16:], np.uint8).reshape(shape), np.frombuffer(labels[8:], np.uint8)


def mnist() -> dict[str, bytes]:
    """Digits of noise; the first two pixels of each hold its number."""
    files = {}
    for part, n in {"train": 6000, "t10k": 1500}.items():
        rng = np.random.default_rng(n)
        x = rng.integers(0, 256, (n, 28, 28), np.uint8)
        x[:, 0, 0], x[:, 0, 1] = np.divmod(np.arange(n), 256)
        files[f"{part}-images-idx3-ubyte"] = idx(x)
        files[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, n, np.uint8))
    return files


def test_digits_keep_their_labels(own):
    source = write(own / "mnist", mnist())
    folder = get_data("mnist", "small")
    for part, n in {"train": 500, "t10k": 100}.items():
        all_x, all_y = digits(source, part)
        x, y = digits(folder, part)
        assert list(np.bincount(y)) == [n] * 10
        numbers = x[:, 0, :2].astype(int) @ [256, 1]
        assert (np.diff(numbers) > 0).all()  # in the order of the source
        assert (x == all_x[numbers]).all()
        assert (y == all_y[numbers]).all()


def test_pictures_and_labels_of_other_numbers_are_refused(own):
    files = mnist()
    write(own / "mnist", files | {"t10k-labels-idx1-ubyte": files["train-labels-idx1-ubyte"]})
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: not 6000 pictures of 28 x 28$"):
        get_data("mnist", "small")


# --- recipes ---


def test_every_recipe_is_described():
    readme = (Path(__file__).parents[1] / "data" / "README.md").read_text("utf-8")
    section = readme.partition("\n## Small sets\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| ([a-z0-9-]+) \|", section, re.MULTILINE)) == sorted([*SMALL, "name"])
    for number in [n for name in SMALL for n in SETS[name].small.files.values()]:
        assert f"{number:,}" in section
