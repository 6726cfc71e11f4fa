"""Archives that are damaged or lie: refused, or exactly the right content; 300 cases and what each rule is for."""

import gzip
import hashlib
import io
import lzma
import random
import shutil
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from course_utils import files as where
from course_utils.data import DataError, fetch, layout, registry, unpack

Files = dict[str, bytes]
FILES = {f"train/{k}/{i}.txt": bytes(f"{k}{i}", "ascii") * 150 for k in "ab" for i in (1, 2)}
LONE = {"pets.txt": b"woof\n" * 60}
BLOCK = tarfile.BLOCKSIZE


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """A home for data, and archives so small that one is soon too large."""
    monkeypatch.setattr(where, "ROOT", tmp_path)
    monkeypatch.setattr(unpack, "SPARE", 50_000)
    for name in ("COURSE_DATA", "COURSE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data" / "archives").mkdir(parents=True)
    return tmp_path


# --- packing ---


def member(name: str, data: bytes = b"", **attributes: object) -> bytes:
    """One member of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    head = info.tobuf(tarfile.GNU_FORMAT)
    return head + data + bytes(-len(data) % BLOCK)


def tar(files: Files) -> bytes:
    return b"".join(member(name, data) for name, data in files.items())


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED, mode: int = 0o100644) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, data)
    return raw.getvalue()


def pressed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


END = bytes(2 * BLOCK)
PRESS = {"tar": bytes, "tgz": pressed, "tar.gz": pressed, "tar.xz": lzma.compress}


def pack(kind: str, files: Files) -> bytes:
    if kind == "zip":
        return zipped(files)
    if kind in PRESS:
        return PRESS[kind](tar(files) + END)
    (data,) = files.values()
    return pressed(data) if kind == "txt.gz" else data


def whole(kind: str) -> Files:
    """The data set, in the form that a kind of archive can have."""
    return LONE if kind.startswith("txt") else FILES


# --- asking ---


def ask(kind: str, content: bytes, listed: bytes | None = None) -> Files | str:
    """What the data layer makes of an archive: the files, or the line that refuses it.

    `listed`: what the list of hashes is about.
    """
    name = f"pets.{kind}"
    wanted = {"pets.txt": 1} if kind.startswith("txt") else {"train/a/*.txt": 2, "train/b/*.txt": 2}
    entry = registry.Dataset("pets", "Pets", "CC0", "Noah", [[registry.Archive(name)]], wanted)
    store = where.ROOT / "data" / "archives"
    (store / name).write_bytes(content)
    if listed is not None:
        (store / "SHA256SUMS").write_text(f"{hashlib.sha256(listed).hexdigest()}  {name}\n")
    layout._warn_once.cache_clear()
    full = where.ROOT / "data" / "full"
    try:
        folder = fetch.full(entry)
    except DataError as error:
        assert [path.name for path in full.iterdir()] == [".pets.lock"]
        (line,) = [line for line in str(error).splitlines() if f"archives/{name}: " in line]
        return line
    assert sorted(path.name for path in full.iterdir()) == [".pets.lock", "pets"]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    return found


# --- the drill ---


class Case(NamedTuple):
    fault: str
    content: bytes
    right: tuple[Files, ...] = ()  # what may come of it; it may always be refused
    accepted: bool = False  # but not this


def flipped(kind: str, dice: random.Random, n: int) -> list[Case]:
    good = pack(kind, whole(kind))
    found = []
    for _ in range(n):
        content = bytearray(good)
        content[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
        found.append(Case("flipped bit", bytes(content), (whole(kind),)))
    return found


def cut(kind: str, dice: random.Random, n: int) -> list[Case]:
    good = pack(kind, whole(kind))
    # Zeros behind the end mark may be missing, but not the mark.
    return [Case("cut", good[: dice.randrange(len(good))]) for _ in range(n)]


def bad_header(kind: str, dice: random.Random, n: int) -> list[Case]:
    """With the checksums of what it is compressed with set right again."""
    found = []
    for _ in range(n):
        if kind in PRESS:
            content = bytearray(tar(FILES) + END)
            place = dice.randrange(1, 4) * 2 * BLOCK + dice.randrange(345)
            content[place] ^= 1 << dice.randrange(8)
            found.append(Case("header damaged", PRESS[kind](bytes(content))))
        elif kind == "zip":
            content = bytearray(zipped(FILES))
            place = dice.randrange(content.index(b"PK\1\2"), len(content))
            content[place] ^= 1 << dice.randrange(8)
            found.append(Case("header damaged", bytes(content), (FILES,)))
        else:
            content = bytearray(pack(kind, LONE))
            content[dice.randrange(10)] ^= 1 << dice.randrange(8)
            found.append(Case("header damaged", bytes(content), (LONE,)))
    return found


EXTRA = {"train/a/3.txt": b"more"}


def extra(kind: str) -> list[Case]:
    """Well made; behind the end; a second list; a second file of a name; one that leads out."""
    more = FILES | EXTRA
    if kind in PRESS:
        press = PRESS[kind]
        wrong = [
            tar(FILES) + END + b"x",
            tar(FILES) + END + tar(EXTRA) + END,
            tar(FILES) + tar({"train/a/1.txt": b"another"}) + END,
            tar(FILES) + tar({"../out.txt": b""}) + END,
            tar(FILES) + bytes(BLOCK) + tar(EXTRA) + END,
        ]
        good = press(tar(more) + END)
        return [Case("extra member", good, (more,), accepted=True)] + [
            Case("extra member", press(content)) for content in wrong
        ]
    if kind == "zip":
        twice = zipped(FILES | {"train/a/!.txt": b"another"}).replace(b"train/a/!.txt", b"train/a/1.txt")
        wrong = [twice, zipped(EXTRA) + zipped(FILES), hidden_member(), zipped(FILES | {"../out.txt": b""})]
        wrong.append(zipped(FILES) + b"x")
        return [Case("extra member", zipped(more), (more,), accepted=True)] + [Case("extra member", c) for c in wrong]
    return [Case("extra member", pack(kind, LONE) + b"x")]


def hidden_member() -> bytes:
    """A zip archive whose list passes over a member that is there."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, data in (FILES | EXTRA).items():
            archive.writestr(name, data)
        archive.filelist = [info for info in archive.filelist if info.filename not in EXTRA]
    return raw.getvalue()


DOTS = {f"train/{k}/{name}.txt": name.encode() for k in "ab" for name in ("cat..0", "..x", "a...b", ".h")}


def dots(kind: str) -> list[Case]:
    if kind.startswith("txt"):
        return []
    slashes = {f"./pets/{name}": data for name, data in DOTS.items()}
    return [Case("name with dots", pack(kind, files), (DOTS,), accepted=True) for files in (DOTS, slashes)]


def sparse(kind: str) -> list[Case]:
    """In the old form of GNU tar, and in the three of POSIX."""
    if kind not in PRESS:
        return []
    old = bytearray(member("train/a/3.txt", bytes(BLOCK), type=tarfile.GNUTYPE_SPARSE))
    old[386:410] = b"%011o\0%011o\0" % (BLOCK, BLOCK)  # one piece, behind a hole of 512 bytes
    old[483:495] = b"%011o\0" % (2 * BLOCK)
    old[148:156] = b"        "
    old[148:156] = b"%06o\0 " % sum(old[:BLOCK])
    forms = [
        bytes(old),
        pax({"GNU.sparse.size": "1024", "GNU.sparse.offset": "512", "GNU.sparse.numbytes": "512"}, bytes(BLOCK)),
        pax({"GNU.sparse.size": "1024", "GNU.sparse.map": "512,512"}, bytes(BLOCK)),
        pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, b"1\n512\n512\n".ljust(BLOCK, b"\0") + bytes(BLOCK)),
    ]
    return [Case("sparse", PRESS[kind](tar(FILES) + form + END)) for form in forms]


def pax(keywords: dict[str, str], data: bytes) -> bytes:
    """A member behind a POSIX header."""
    words = {"GNU.sparse.name": "train/a/3.txt", "GNU.sparse.realsize": "1024"} | keywords
    lines = b""
    for key, value in words.items():
        line = f" {key}={value}\n"
        lines += f"{len(line) + 2}{line}".encode()
    return member("x", lines, type=tarfile.XHDTYPE) + member("train/a/3.txt", data)


def too_large(kind: str) -> list[Case]:
    """A thousand times its size; a member that claims more, or less, than there is."""
    big = {"train/a/3.txt": bytes(500_000)}
    if kind in PRESS and kind != "tar":
        press = PRESS[kind]
        more = bytearray(tar(EXTRA))
        more[124:135] = b"%011o" % 10_000_000
        more[148:156] = b"        "
        more[148:156] = b"%06o\0 " % sum(more[:BLOCK])
        header = member("x", type=tarfile.XHDTYPE, size=2_000_000) + bytes(2_000_896)
        wrong = [tar(FILES | big) + END, tar(FILES) + bytes(more) + END, tar(FILES) + END + bytes(500_000)]
        wrong += [tar(FILES) + header + END, tar(FILES) + member("y", size=-BLOCK, type=tarfile.REGTYPE) + END]
        return [Case("too large", press(content)) for content in wrong]
    if kind == "zip":
        return [Case("too large", zipped(FILES | big)), *(Case("too large", claims(size)) for size in (0, 1, 299, 301))]
    if kind == "txt.gz":
        return [Case("too large", pressed(bytes(500_000))), Case("too large", b"".join([pressed(bytes(40_000))] * 9))]
    return []


def claims(size: int) -> bytes:
    """A zip archive whose first member has 300 bytes, and says that it has `size`."""
    content = bytearray(zipped(FILES))
    for begin, at in ((0, 22), (content.index(b"PK\1\2"), 24)):
        content[begin + at : begin + at + 4] = struct.pack("<I", size)
    return bytes(content)


N = {"zip": (18, 12, 18), "tgz": (18, 12, 12), "tar.gz": (6, 6, 6), "tar.xz": (18, 12, 12), "txt.gz": (18, 12, 10)}
N |= {"tar": (10, 12, 12), "txt": (10, 6, 6)}


def cases(kind: str) -> list[Case]:
    dice = random.Random(kind)
    flips, cuts, headers = N[kind]
    found = [*flipped(kind, dice, flips), *cut(kind, dice, cuts), *bad_header(kind, dice, headers)]
    return [*found, *extra(kind), *dots(kind), *sparse(kind), *too_large(kind)]


TOTAL: Counter = Counter()


@pytest.mark.parametrize("kind", N)
def test_every_damage_is_refused_or_does_no_harm(kind, record_property):
    for case in cases(kind):
        # A plain tar archive and a bare file have no checksums: their hashes are listed.
        needs_list = kind in ("tar", "txt") and (kind == "txt" or case.fault == "flipped bit")
        found = ask(kind, case.content, pack(kind, whole(kind)) if needs_list else None)
        (where.ROOT / "data" / "archives" / "SHA256SUMS").unlink(missing_ok=True)
        is_refused = isinstance(found, str)
        assert (not is_refused) if case.accepted else (is_refused or found in case.right), (case.fault, found)
        TOTAL[kind, case.fault, "refused" if is_refused else "right"] += 1
    record_property("drill", str(TOTAL))


def test_the_drill_has_300_cases_and_every_kind():
    n = {kind: len(cases(kind)) for kind in N}
    assert sum(n.values()) >= 300
    for kind in N:
        assert ask(kind, pack(kind, whole(kind))) == whole(kind)
