"""The cells of the videos, typed from the screen, after `from course_utils import *`, on small parts of the samples.

typed_along/LESSON.py holds the calls in the videos' own form. Each runs in one namespace, as in one notebook; what must
be typed differently is listed in docs/differences.md.
"""

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from torchvision.models import resnet34

from course_utils.core import set_seed
from course_utils.data import get_data

CELLS = Path(__file__).parent / "typed_along"

# What the screen shows and a library warns of, each until that library gives it up: then the cell is typed as
# docs/differences.md says.
GIVEN_UP = [
    "ignore:The inplace keyword in DataFrame.drop is deprecated",  # pandas 4
    "ignore:The 'lsuffix' and 'rsuffix' keywords in DataFrame.join are deprecated",  # pandas 4
    "ignore:__array_wrap__ must accept:DeprecationWarning",  # np.exp of a tensor: NumPy, unless PyTorch is first
    "ignore:Implicit dimension choice for log_softmax",  # PyTorch
]
ONE_FIGURE = "ignore:Attempt to set non-positive xlim"  # here, where the cells of a notebook have one each
OPEN_FILES = ["ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"]  # open(name).read()
pytestmark = [pytest.mark.filterwarnings(known) for known in [*GIVEN_UP, ONE_FIGURE, *OPEN_FILES]]


@pytest.fixture(autouse=True)
def closed():
    """What the cells leave open is closed here, where the warning is known, and not in another test."""
    yield
    gc.collect()


def part_of(folder: Path, target: Path, n: int) -> Path:
    """The first n files of each folder of a sample, copied, without what lessons have saved there."""
    for where, folders, names in os.walk(folder):
        folders[:] = set(folders) - {"models", "tmp"}
        there = target / Path(where).relative_to(folder)
        there.mkdir(parents=True, exist_ok=True)
        for name in sorted(names)[:n]:
            shutil.copy(Path(where, name), there / name)
    return target


def animals(tmp_path: Path) -> Path:
    return part_of(get_data("dogscats"), tmp_path / "dogscats", 12)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A mirror with weights for resnet34, random ones."""
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    torch.save(resnet34().state_dict(), folder / "weights" / "resnet34.pth")
    return folder


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch, weights):
    monkeypatch.setenv("COURSE_MIRROR", str(weights))
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    yield
    plt.close("all")


def type_along(lesson: str, **given: Any) -> None:
    """Run the cells of a lesson behind the star import and what the learner sets on the first line: PATH, say."""
    space: dict[str, Any] = {}
    exec("from course_utils import *", space)
    space |= given
    file = CELLS / f"{lesson}.py"
    set_seed(42)
    exec(compile(file.read_text("utf-8"), str(file), "exec"), space)


def test_lesson1(tmp_path):
    folder = animals(tmp_path)
    (folder / "test").mkdir()
    pictures = sorted(folder.glob("train/*/*.jpg"))
    for i, file in enumerate(pictures):
        shutil.copy(file, folder / "train" / f"{i}.jpg")
        shutil.copy(file, folder / "test" / f"{i}.jpg")
    breeds = [["boxer", "pug"][file.parent.name == "cats"] for file in pictures]
    pd.DataFrame({"id": range(len(breeds)), "breed": breeds}).to_csv(folder / "labels.csv", index=False)
    type_along("lesson1", PATH=f"{folder}/", sz=32)


def test_lesson2(tmp_path):
    folder = part_of(get_data("planet"), tmp_path / "planet", 12)
    table = pd.read_csv(folder / "train_v2.csv")
    there = table["image_name"].map(lambda name: (folder / "train-jpg" / f"{name}.jpg").exists())
    table[there].to_csv(folder / "train_v2.csv", index=False)
    type_along("lesson2", PATH=f"{folder}/")


def test_lesson3(tmp_path):
    type_along("lesson3", PATH=f"{part_of(get_data('rossmann'), tmp_path / 'rossmann', 99)}/")


def test_lesson4(tmp_path):
    import course_utils.text

    folder = part_of(get_data("imdb"), tmp_path / "imdb", 60)
    for part in ("train", "test"):
        (folder / part / "all").mkdir()
        for file in sorted(folder.glob(f"{part}/*/*.txt")):
            shutil.copy(file, folder / part / "all" / f"{file.parent.name}{file.name}")
    (folder / "models").mkdir()
    names = {"TRN_PATH": "train/all/", "VAL_PATH": "test/all/", "data": course_utils.text}
    type_along("lesson4", PATH=f"{folder}/", **names)


def test_lesson5(tmp_path):
    folder = part_of(get_data("ml-latest-small"), tmp_path / "ml", 99)
    pd.read_csv(folder / "ratings.csv").head(10_000).to_csv(folder / "ratings.csv", index=False)
    type_along("lesson5", path=f"{folder}/")


def test_lesson6(tmp_path):
    text = (get_data("nietzsche") / "nietzsche.txt").read_text("utf-8")[:60_000]
    for name, part in {"nietzsche.txt": text, "trn/trn.txt": text[:48_000], "val/val.txt": text[48_000:]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(part, "utf-8")
    type_along("lesson6", PATH=f"{tmp_path}/", TRN_PATH="trn/", VAL_PATH="val/")


def test_lesson7(tmp_path):
    folder = part_of(get_data("cifar10"), tmp_path / "cifar10", 10)
    type_along("lesson7", PATH=f"{folder}/", PATH2=f"{animals(tmp_path)}/")
