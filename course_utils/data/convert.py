"""Archives in another layout than the lesson's: unpacked once more, into the folders it reads.

A converter takes the folder `came`, which holds what was in the archive, and fills the empty folder
`made`. It may take files away from `came`, which goes afterwards. The registry names it, beside the
archive. No pickle is read, and no name from an archive is used unless a pattern here allows it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.data.disk import link_or_copy
from course_utils.data.registry import DataError

__all__ = ["CONVERTERS"]

CIFAR_CLASSES = [  # in the order of batches.meta.txt
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
CIFAR_SIDE = 32  # pixels
CIFAR_RECORD = 1 + 3 * CIFAR_SIDE**2  # bytes: the label, then all red, all green, all blue

PET_NAME = re.compile(r"([A-Za-z_]+)_(\d+)\.jpg")  # its breed, and its number there
PETS_HELD_OUT = 40  # of each breed: those with the last numbers

# Of Microsoft's pictures: what no reader can read (gomlx/gomlx, examples/dogsvscats).
FAULTY = {
    "cat": {666, 5370, 6435, 10404, 11095, 12080},
    "dog": {2317, 9500, 11233, 11702, 11912},
}
FIRST_HELD_OUT = 11_500  # of 12,500 numbers of each kind


def cifar_binary(came: Path, made: Path) -> None:
    """{data_batch_1..5, test_batch}.bin -> {train, test}/CLASS/NUMBER.png, 32 x 32.

    CIFAR-10's binary version (cs.toronto.edu/~kriz/cifar.html). DataError for half a record, or a
    label that is no class.
    """
    home = _home(came, "test_batch.bin")
    for split, pattern in {"train": "data_batch_*.bin", "test": "test_batch.bin"}.items():
        folders = [made / split / name for name in CIFAR_CLASSES]
        for folder in folders:
            folder.mkdir(parents=True)
        files = sorted(home.glob(pattern))
        for number, record in enumerate(_cifar_records(files)):
            pixels = np.frombuffer(record, np.uint8, offset=1)
            picture = pixels.reshape(3, CIFAR_SIDE, CIFAR_SIDE).transpose(1, 2, 0)
            folder = folders[record[0]]
            Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{number:05}.png")


def _cifar_records(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as opened:
            while record := opened.read(CIFAR_RECORD):
                if len(record) < CIFAR_RECORD:
                    raise DataError(f"{file.name} ends within a picture")
                if record[0] >= len(CIFAR_CLASSES):
                    raise DataError(f"{file.name} has a label {record[0]}, which is no class")
                yield record


def cifar_names(came: Path, made: Path) -> None:
    """{train,test}/NUMBER_CLASS.png -> {train,test}/CLASS/NUMBER.png.

    CIFAR-10 as pjreddie.com packs it, whose class is in the name (0_frog.png).
    """
    wanted = re.compile(rf"(\d+)_({'|'.join(CIFAR_CLASSES)})\.png")
    home = _home(came, "train")
    for split in ("train", "test"):
        for file, (number, name) in _matches(home / split, wanted):
            _move(file, made / split / name / f"{number}.png")


def imdb_folders(came: Path, made: Path) -> None:
    """{train,test}/{pos,neg}, unsup at the top or in train -> train/unsup, {train,test}/all too.

    Of the authors (ai.stanford.edu/~amaas/data/sentiment) and of fast.ai, whose `tmp_*` hold
    pickles: these are left out unread. `all` has the files of the others, as links where the disk
    can do that.
    """
    home = _home(came, "train")
    for path in sorted(home.iterdir()):
        if not path.name.startswith("tmp_") and path.name != "unsup":
            path.replace(made / path.name)
    if (home / "unsup").is_dir():
        (home / "unsup").replace(made / "train" / "unsup")
    for split in ("train", "test"):
        if (made / split).is_dir() and not (made / split / "all").exists():
            _pour_together(made / split)


def _pour_together(folder: Path) -> None:
    """`all` in `folder`: the texts of pos, neg and unsup. The rating is part of each name."""
    together = folder / "all"
    together.mkdir()
    for name in ("neg", "pos", "unsup"):
        for file in sorted((folder / name).glob("*.txt")):
            place = together / file.name
            if place.exists():
                raise DataError(f"two texts in {folder.name} are called {file.name}")
            link_or_copy(file, place)


def pets_by_species(came: Path, made: Path) -> None:
    """images/BREED_NUMBER.jpg -> {train,valid}/{cats,dogs}/BREED_NUMBER.jpg, all RGB JPEG.

    Oxford-IIIT Pet (robots.ox.ac.uk/~vgg/data/pets), where breeds of cats begin with a capital.
    The last 40 of each breed validate.
    """
    for file, split, breed in _pets(came):
        species = "cats" if breed[0].isupper() else "dogs"
        _put_jpeg(file, made / split / species / file.name)


def pets_by_breed(came: Path, made: Path) -> None:
    """images/BREED_NUMBER.jpg -> {train,valid}/BREED/BREED_NUMBER.jpg, else `pets_by_species`."""
    for file, split, breed in _pets(came):
        _put_jpeg(file, made / split / breed / file.name)


def _pets(came: Path) -> Iterator[tuple[Path, str, str]]:
    """Each picture, its split and its breed. The archive's stray .mat files are none."""
    numbered = defaultdict(list)
    for file, (breed, number) in _matches(_home(came, "images") / "images", PET_NAME):
        numbered[breed].append((int(number), file))
    for breed, pictures in sorted(numbered.items()):
        files = [file for _, file in sorted(pictures)]
        for file in files[:-PETS_HELD_OUT]:
            yield file, "train", breed
        for file in files[-PETS_HELD_OUT:]:
            yield file, "valid", breed


def _put_jpeg(file: Path, place: Path) -> None:
    """Move a picture; one that only has the name of an RGB JPEG is written anew, as one."""
    with Image.open(file, formats=("JPEG", "PNG", "GIF", "BMP")) as picture:
        is_jpeg = picture.format == "JPEG" and picture.mode == "RGB"
        if not is_jpeg:
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.convert("RGB").save(place, "JPEG", quality=95)
    if is_jpeg:
        _move(file, place)


def microsoft_pets(came: Path, made: Path) -> None:
    """PetImages/{Cat,Dog}/N.jpg -> {train,valid}/{cats,dogs}/{cat,dog}.N.jpg.

    Microsoft's edition of the pictures of lesson 1. Numbers from 11,500 validate; files known to be
    faulty are left out.
    """
    home = _home(came, "PetImages") / "PetImages"
    for kind, faulty in FAULTY.items():
        for file, (digits,) in _matches(home / kind.capitalize(), re.compile(r"(\d+)\.jpg")):
            number = int(digits)
            split = "valid" if number >= FIRST_HELD_OUT else "train"
            if number not in faulty:
                _move(file, made / split / f"{kind}s" / f"{kind}.{number}.jpg")


def _home(came: Path, name: str) -> Path:
    """The folder that has `name` in it: `came`, or one in that; DataError if there is none."""
    for folder in [came, *sorted(came.iterdir())]:
        if (folder / name).exists():
            return folder
    raise DataError(f"there is no {name} in it; the archive is not the one expected")


def _matches(folder: Path, name: re.Pattern[str]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The files of a folder whose whole name fits, and the groups of the pattern in it."""
    if not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        found = name.fullmatch(file.name)
        if found and file.is_file():
            yield file, found.groups()


def _move(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    file.replace(place)


CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "cifar_binary": cifar_binary,
    "cifar_names": cifar_names,
    "imdb_folders": imdb_folders,
    "microsoft_pets": microsoft_pets,
    "pets_by_breed": pets_by_breed,
    "pets_by_species": pets_by_species,
}
"""What the registry may name: each takes the folders `came` and `made`."""
