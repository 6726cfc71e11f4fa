"""Lessons on real data, as much of it as a laptop does in minutes.

A fixed list, so that continuous integration needs some ten minutes of CPU time for it. The others
(lesson1-plain-pytorch, lesson1-rxt50, lesson4-imdb, lesson7-cam, lesson7-cifar10,
lesson7-progressive-resizing) are run by `make run SIZE=small ONLY=NAME`; lesson6-sgd has the same
data at every size, and planet has no source here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib import cpu_count

from course_utils import files
from course_utils.data import get_data
from tools import ROOT
from tools.run import __main__ as command
from tools.run.execute import Outcome
from tools.run.pool import run_all
from tools.run.verdict import load_expected, load_originals, problems

SEED = 7
HANGS = 2 * 3600  # seconds: the first test waits for all of them
SETS = ("dogscats", "ml-latest-small", "nietzsche", "rossmann")
FAST = (
    "lesson1-convolutions",
    "lesson1-dogscats",
    "lesson2-your-own-images",
    "lesson3-rossmann",
    "lesson5-movielens",
    "lesson6-rnn",
)

pytestmark = [pytest.mark.real, pytest.mark.notebook, pytest.mark.timeout(HANGS)]


@pytest.fixture(scope="module")
def real_sets(real_data, tmp_path_factory) -> Iterator[Path]:
    """A COURSE_DATA made of the mirror; small sets that the checkout did not have go in the end."""
    made = [ROOT / "data" / "small" / name for name in SETS if not (ROOT / "data" / "small" / name).exists()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROOT", tmp_path_factory.mktemp("home"))
        patch.setenv("COURSE_MIRROR", str(real_data))
        folders = [get_data(name, "full") for name in SETS]
        yield folders[0].parent
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def outcomes(real_sets, tmp_path_factory) -> dict[str, Outcome]:
    """Each notebook of the list, executed with a seed that is not its own."""
    out = tmp_path_factory.mktemp("run")
    line = ["--size", "small", "--seed", str(SEED), "--out", str(out), "--only", *FAST]
    tasks = command.tasks_for(command.parser().parse_args(line))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(real_sets))
        return {outcome.name: outcome for outcome in run_all(tasks, min(2, cpu_count()))}


@pytest.mark.parametrize("name", FAST)
def test_runs_on_real_data_and_reaches_its_floors(name, outcomes):
    outcome = outcomes[name]
    assert not outcome.error, outcome.error
    lesson, original = load_expected(size="small").get(name), load_originals().get(name, {})
    assert problems(outcome.recorded, lesson, original) == []
