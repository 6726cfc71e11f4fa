"""Small copies of pictures, made once, and made again when a picture is another."""

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import Image
from torchvision.transforms.v2 import functional as TF

from .files import atomic
from .pictures import POOL, Stamp, read_picture

__all__ = ["small_copies"]

Source = list[str | int]  # where a picture lies, and its `Stamp`


def small_copies(path: Path, names: Sequence[str], folder: Path, targ: int) -> Path:
    """Copies, shortest side `targ`, of the pictures `names` of `path`; where these names find them.

    All are inside `folder`. made_of.json beside them says of which picture each is a copy, and of
    what size and time: a copy of another is made again. Used in lesson 2, by `data.resize`.
    """
    root = _root(folder, names, targ)
    sources = {name: _source(path.resolve() / name) for name in names}
    record = root / "made_of.json"
    made_of = _read(record)
    stale = []
    for name in names:
        if made_of.get(name) != sources[name] or not (root / name).exists():
            made_of.pop(name, None)
            stale.append(name)
    if not stale:
        return root

    _write(record, made_of)  # before the copies change: what ends half-way is made again
    try:
        saved = POOL.map(lambda name: _save(path / name, root / name, targ), stale)
        for name, _ in zip(stale, saved, strict=True):
            made_of[name] = sources[name]
    finally:
        _write(record, made_of)
    return root


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
        return json.loads(record.read_text("utf-8"))
    except ValueError:  # cut short in a crash: all copies are made again
        return {}


def _write(record: Path, made_of: dict[str, Source]) -> None:
    with atomic(record) as part:
        part.write_text(json.dumps(made_of), "utf-8")


def _save(picture: Path, copy: Path, targ: int) -> None:
    small = TF.resize(read_picture(picture, targ), [targ], TF.InterpolationMode.BICUBIC)
    kind = Image.registered_extensions().get(picture.suffix.lower(), "PNG")
    with atomic(copy) as part:
        small.save(part, kind, quality=95)
