"""Small copies of pictures, made once, and made again when a picture is another."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import Image
from torchvision.transforms.v2 import functional as TF

from .files import atomic, locked
from .pictures import POOL, Stamp
from .reading import read_picture

__all__ = ["small_copies"]

Source = list[str | int]  # where a picture lies and its `Stamp`, then the `Stamp` of its copy


def small_copies(path: Path, names: Sequence[str], folder: Path, targ: int) -> Path:
    """Copies, shortest side `targ`, of the pictures `names` of `path`; where these names find them.

    All are inside `folder`. made_of.json beside them says of which picture each is a copy, and of
    what size and time both are: a copy of another, or one that has changed, is made again. Used in
    lesson 2, by `data.resize`.
    """
    root = _root(folder, names, targ)
    sources = {name: _source(path.resolve() / name) for name in names}
    record = root / "made_of.json"
    if _stale(sources, root, _read(record)):
        with locked(record):
            _make(path, sources, root, targ)
    return root


def _make(path: Path, sources: dict[str, Source], root: Path, targ: int) -> None:
    """Make the copies that are stale; by now, another process may have made some or all."""
    record = root / "made_of.json"
    made_of = _read(record)
    stale = _stale(sources, root, made_of)
    if not stale:
        return

    for folder in {record.parent, *((root / name).parent for name in stale)}:
        _sweep(folder)
    for name in stale:
        made_of.pop(name, None)
    _write(record, made_of)  # before the copies change: what ends half-way is made again
    try:
        saved = POOL.map(lambda name: _save(path / name, root / name, targ), stale)
        for name, _ in zip(stale, saved, strict=True):
            made_of[name] = [*sources[name], *Stamp.of(root / name)]
    finally:
        _write(record, made_of)


def _stale(sources: dict[str, Source], root: Path, made_of: dict[str, Source]) -> list[str]:
    """The names of which there is no copy, or one of another picture, or one that has changed."""
    found = []
    for name, source in sources.items():
        copy = root / name
        if not copy.exists() or made_of.get(name) != [*source, *Stamp.of(copy)]:
            found.append(name)
    return found


def _sweep(folder: Path) -> None:
    """Delete what killed processes have left: the lock is ours, so nobody writes there now."""
    for part in folder.glob(".*.????????.part"):
        part.unlink(missing_ok=True)


def _root(folder: Path, names: Sequence[str], targ: int) -> Path:
    """A place so deep in `folder` that "../other/1.jpg" leads from it to a place in `folder`."""
    steps_up = 0
    for name in names:
        plain = PurePath(os.path.normpath(name))
        if plain.is_absolute():
            raise ValueError(f"{name}: resize needs names relative to the path of the data")
        steps_up = max(steps_up, plain.parts.count(".."))
    if steps_up == 0:
        return folder / str(targ)
    return folder.joinpath(f"{targ}-beside", *["data"] * steps_up)


def _source(picture: Path) -> Source:
    return [str(picture), *Stamp.of(picture)]


def _read(record: Path) -> dict[str, Source]:
    if not record.exists():
        return {}
    try:
        made_of = json.loads(record.read_text("utf-8"))
    except ValueError:  # cut short in a crash: all copies are made again
        return {}
    return made_of if isinstance(made_of, dict) else {}


def _write(record: Path, made_of: dict[str, Source]) -> None:
    with atomic(record) as part:
        part.write_text(json.dumps(made_of), "utf-8")


def _save(picture: Path, copy: Path, targ: int) -> None:
    small = TF.resize(read_picture(picture, targ), [targ], TF.InterpolationMode.BICUBIC)
    kind = Image.registered_extensions().get(picture.suffix.lower(), "PNG")
    buffer = io.BytesIO()  # of a full disk, Pillow would say "encoder error -2"
    small.save(buffer, kind, quality=95)
    with atomic(copy) as part:
        part.write_bytes(buffer.getbuffer())
