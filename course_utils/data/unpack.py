"""One archive into a folder: looked through to its end first, then written, then compared.

Nothing is written of an archive with a member that is no plain file or leads out of the folder, of
one that is damaged where it can be seen (checksums, a list without an end, bytes that belong to
no member), or of one that holds far more than an archive of its size can.
"""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, NamedTuple, cast

from course_utils.data.disk import Bounded, in_words, room
from course_utils.data.registry import DataError

__all__ = ["Member", "members", "unpack"]

FILE = "file"
FOLDER = "folder"
SPECIAL = "a link or a device"
SPARSE = "sparse"

GZIP_BYTES = 18  # of head and end, and nothing between them
BARE = (".csv", ".txt")  # a file that is no archive
END_MARK = bytes(2 * tarfile.BLOCKSIZE)
PIECE = 2**20  # bytes read at a time; the header of a member of a tar is shorter

# What no honest archive exceeds: pictures hardly shrink, tables and texts to a tenth.
RATIO = 100
SPARE = 100_000_000  # bytes, for archives so small that a ratio says nothing

XZ = b"\xfd7zXZ\0"  # the begin of such a file

LOCAL_HEADER = struct.Struct("<4s2xH18xHH")  # magic, flags, bytes of the name, of what is extra
IN_UTF8 = 0x800  # the flag of a zip archive's member whose name is in UTF-8
END_RECORD = b"PK\5\6"  # the last of a zip archive, but for a comment
END_RECORD_BYTES = 22
DESCRIPTOR_BYTES = 24  # at most, behind a member whose size was not known when it was written


class Member(NamedTuple):
    """What unpacking writes: a file or folder."""

    name: str
    size: int  # bytes
    kind: str

    @property
    def path(self) -> PurePosixPath:
        """Its place below the folder, without "./" and the like."""
        return PurePosixPath(self.name)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip, .tar, .tgz, .tar.gz, .tar.xz or a single file (.gz or bare) into a folder.

    DataError before anything is written if a member is a link, a device, sparse, leads out of the
    folder or comes twice; OSError, EOFError or an error of the format if the archive is damaged.
    """
    found = members(archive)
    for member in found:
        _refuse(member, archive)
    _refuse_twins(found, archive)
    with room(sum(member.size for member in found), target):
        _write(archive, target)
    _compare(found, archive, target)


def _refuse(member: Member, archive: Path) -> None:
    path = PureWindowsPath(member.name)  # knows drives and both slashes
    if member.kind not in (FILE, FOLDER):
        fault = f"is {member.kind}"
    elif path.anchor or ".." in path.parts:
        fault = "leads out of its folder"
    elif member.size < 0:
        fault = "has a size below 0"
    else:
        return
    raise DataError(f"{archive.name} refused: its member {member.name!r} {fault}")


def _refuse_twins(found: list[Member], archive: Path) -> None:
    """A second file of one name would replace the first in silence."""
    times = Counter(member.path for member in found if member.kind == FILE)
    for path, n in times.items():
        if n > 1:
            raise DataError(f"{archive.name} refused: its member {str(path)!r} comes {n} times")


def _compare(found: list[Member], archive: Path, target: Path) -> None:
    """DataError if the files in `target` are not those that the archive lists, byte for byte."""
    listed = {member.path: member.size for member in found if member.kind == FILE}
    written = _sizes(target)
    for path in sorted({*listed, *written}):
        wanted = listed.get(path, 0)
        found_bytes = written.get(path, 0)
        if wanted != found_bytes or path not in written:
            raise DataError(
                f"{archive.name} refused: of its member {str(path)!r} {found_bytes:,} bytes were "
                f"written, {wanted:,} are listed; has this disk no room for such a name?"
            )


def _sizes(target: Path) -> dict[PurePosixPath, int]:
    """The bytes of each file below a folder."""
    found = {}
    for folder, _, names in os.walk(target):
        for name in names:
            file = Path(folder, name)
            found[PurePosixPath(file.relative_to(target).as_posix())] = file.stat().st_size
    return found


def _most(archive: Path) -> int:
    """How many bytes an archive of this size may hold."""
    return RATIO * archive.stat().st_size + SPARE


def _too_much(archive: Path) -> str:
    size = in_words(archive.stat().st_size)
    return f"{archive.name} refused: {size} that hold more than {in_words(_most(archive))}"


def _write(archive: Path, target: Path) -> None:
    if archive.suffix in BARE:
        shutil.copy(archive, target)
    elif _is_single(archive):
        with gzip.open(archive) as source, (target / archive.stem).open("wb") as out:
            shutil.copyfileobj(source, out)
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(target)  # the checksum of each member is compared
    else:
        with _tar(archive) as (opened, _):
            opened.extractall(target, filter="data")


def members(archive: Path) -> list[Member]:
    """Each thing that unpacking would write; the archive is read to its end."""
    if archive.suffix in BARE:
        return [Member(archive.name, archive.stat().st_size, FILE)]
    if _is_single(archive):
        return [Member(archive.stem, _unzipped_size(archive), FILE)]
    if archive.suffix == ".zip":
        return _zip_members(archive)
    return _tar_members(archive)


def _is_single(archive: Path) -> bool:
    """Whether this is one file in gzip format, and no tar archive."""
    return archive.suffix == ".gz" and not archive.name.endswith(".tar.gz")


def _unzipped_size(file: Path) -> int:
    """The number of bytes in a file in gzip format, read to its end, where a checksum is."""
    if file.stat().st_size < GZIP_BYTES:  # Python takes an empty file for one that holds nothing
        raise DataError(f"{file.name} refused: too short for a file in gzip format")
    with gzip.open(file) as opened:
        stream = Bounded(cast(BinaryIO, opened), _most(file), _too_much(file))
        while stream.read(PIECE):
            pass
    return stream.given


# --- tar ---


class _Unpressed:
    """What is in a compressed file, as `tarfile` reads it: so much in all, so much at a time.

    `tarfile` reads a header of any size that it claims into memory, and goes on where it says.
    """

    def __init__(self, stream: BinaryIO, archive: Path) -> None:
        self.stream = stream
        self.most = _most(archive)
        self.refusal = _too_much(archive)

    def read(self, size: int) -> bytes:
        if size > PIECE or self.tell() + size > self.most:
            raise DataError(self.refusal)
        return self.stream.read(size)

    def seek(self, place: int) -> int:
        if place > self.most:
            raise DataError(self.refusal)
        return self.stream.seek(place)

    def tell(self) -> int:
        return self.stream.tell()


@contextmanager
def _tar(archive: Path) -> Iterator[tuple[tarfile.TarFile, _Unpressed]]:
    """A tar archive, and the stream that it is read from, whose end has checksums."""
    with archive.open("rb") as file:
        magic = file.read(len(XZ))
        file.seek(0)
        if magic == XZ:
            _require_xz_end(archive, file)
        with _opener(magic)(file) as stream:
            unpressed = _Unpressed(stream, archive)
            with tarfile.open(fileobj=cast(BinaryIO, unpressed), mode="r:") as opened:
                yield opened, unpressed


def _opener(magic: bytes) -> Callable[..., AbstractContextManager[Any]]:
    """What reads a file that begins so, with all of its checksums."""
    if magic == XZ:
        return lzma.open
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open
    if magic.startswith(b"BZh"):
        return bz2.open
    return nullcontext


def _require_xz_end(archive: Path, file: BinaryIO) -> None:
    """DataError if something follows the last stream, which `lzma` passes over in silence."""
    size = archive.stat().st_size
    file.seek(max(size - PIECE, 0))
    if not file.read().rstrip(b"\0").endswith(b"YZ"):
        raise DataError(f"{archive.name} refused: cut short, or something follows its end")
    file.seek(0)


def _tar_members(archive: Path) -> list[Member]:
    found = []
    with _tar(archive) as (opened, stream):
        for info in opened:
            member = Member(info.name, info.size, _tar_kind(info))
            _refuse(member, archive)  # at once: a size below 0 would lead back to its header
            found.append(member)
        _require_end(archive, stream, opened.offset)
    return found


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return SPARSE
    if info.isreg():
        return FILE
    return FOLDER if info.isdir() else SPECIAL


def _require_end(archive: Path, stream: _Unpressed, place: int) -> None:
    """DataError unless the end mark, two blocks of zeros, is at `place`, and zeros to the end.

    `tarfile` takes a damaged header, and the end of the file, for the end of the list as well.
    """
    stream.seek(place)
    piece = stream.read(len(END_MARK))
    if piece != END_MARK:
        raise DataError(f"{archive.name} refused: its list of members breaks off at byte {place:,}")
    while piece:
        if piece.count(0) != len(piece):
            raise DataError(f"{archive.name} refused: something follows the end of its list")
        piece = stream.read(tarfile.BLOCKSIZE)


# --- zip ---


def _zip_members(archive: Path) -> list[Member]:
    with zipfile.ZipFile(archive) as opened, archive.open("rb") as file:
        infos = opened.infolist()
        _require_tiles(archive, file, infos, opened.start_dir)
        file.seek(-END_RECORD_BYTES - len(opened.comment), os.SEEK_END)
        if file.read(len(END_RECORD)) != END_RECORD:
            raise DataError(f"{archive.name} refused: something follows its end")
    if sum(info.file_size for info in infos) > _most(archive):
        raise DataError(_too_much(archive))
    return [Member(info.filename, info.file_size, _zip_kind(info)) for info in infos]


def _zip_kind(info: zipfile.ZipInfo) -> str:
    """Of the file type in a Unix mode, which lies in the upper half of an attribute."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):  # 0: packed on a system without such modes
        return SPECIAL
    return FOLDER if info.is_dir() else FILE


def _require_tiles(
    archive: Path, file: BinaryIO, infos: list[zipfile.ZipInfo], list_begins: int
) -> None:
    """DataError unless the listed members, one behind the other, fill the file up to the list.

    Else the list lacks one, or another archive comes first, or members share their bytes.
    """
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        _require_no_gap(archive, file, end, info.header_offset)
        end = _end_of(archive, file, info)
    _require_no_gap(archive, file, end, list_begins)


def _require_no_gap(archive: Path, file: BinaryIO, start: int, stop: int) -> None:
    if stop < start:
        raise DataError(f"{archive.name} refused: its members lie over each other")
    if stop - start <= DESCRIPTOR_BYTES:
        return
    file.seek(start)
    gap = file.read(min(stop - start, PIECE))
    if gap.count(0) != stop - start:  # zeros align members in some archives
        raise DataError(
            f"{archive.name} refused: {stop - start:,} bytes at byte {start:,} are no listed member"
        )


def _end_of(archive: Path, file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member end; DataError if it begins with another header than listed."""
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        raise DataError(f"{archive.name} refused: cut short before its member {info.filename!r}")
    magic, flags, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    if magic != b"PK\3\4" or (flags ^ info.flag_bits) & IN_UTF8:
        raise DataError(f"{archive.name} refused: its member {info.filename!r} is not as listed")
    return info.header_offset + len(header) + name_bytes + extra_bytes + info.compress_size
