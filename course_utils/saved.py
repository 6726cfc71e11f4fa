"""Tensors in files: written whole or not at all, read only if they are as they were written."""

import io
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor

from .files import atomic, sweep_parts

__all__ = ["DamagedFile", "has_sums", "read_rows", "read_tensors", "write_tensors"]

# How files begin that torch wrote before version 1.6. They hold no checksums.
OLD_KIND = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


class DamagedFile(ValueError):
    """A file that was cut short, has changed since it was written, or is of another kind."""


def write_tensors(what: Any, file: Path) -> None:
    """`what`, tensors in dicts and lists, to a file. OSError that names it, if the disk is full.

    It is a zip archive, which holds a checksum (CRC-32) of each tensor.
    """
    buffer = io.BytesIO()  # of a full disk, torch would say "unexpected pos 576 vs 534"
    torch.save(what, buffer)
    sweep_parts(file)
    with atomic(file) as part:
        part.write_bytes(buffer.getbuffer())


def read_tensors(file: Path, kind: str, mend: str = "delete or replace it") -> Any:
    """What `write_tensors` or `torch.save` wrote, on the CPU; no code of the file runs.

    DamagedFile, which says that it is not `kind`, and `mend`, if a checksum is not right, or there
    is none but torch cannot read it.
    """
    refused = DamagedFile(f"{file}: not {kind}, or damaged since; {mend}")
    try:
        if has_sums(file):
            _check_sums(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception:  # of damage, zipfile and torch make a dozen kinds of errors
        raise refused from None


def read_rows(file: Path, n: int, kind: str) -> Tensor | None:
    """A tensor (n, …) that was kept; None if there is no such file, or it is damaged or another."""
    if not file.exists():
        return None
    try:
        rows = read_tensors(file, kind)
    except DamagedFile:
        return None
    return rows if isinstance(rows, Tensor) and len(rows) == n else None


def has_sums(file: Path) -> bool:
    """Whether a file is of the kind that torch writes today."""
    with file.open("rb") as f:
        return f.read(len(OLD_KIND)) != OLD_KIND


def _check_sums(file: Path) -> None:
    """BadZipFile unless each part of the archive has its checksum: torch does not look."""
    with ZipFile(file) as archive:
        if any(part.compress_type != ZIP_STORED for part in archive.infolist()):
            raise BadZipFile("torch compresses nothing")
        damaged = archive.testzip()
    if damaged is not None:
        raise BadZipFile(damaged)
