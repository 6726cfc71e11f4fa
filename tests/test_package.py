"""course_utils as a whole: what it offers, when it loads it, how its functions read."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import course_utils
from course_utils.files import ROOT
from tools import stub

PACKAGE = ROOT / "course_utils"


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_list_of_names_is_that_of_the_modules():
    assert stub.FILE.read_text("utf-8") == stub.stub(), "run `python -m tools.stub`"


def test_every_name_is_there_for_completion_and_for_the_star():
    names = {alias.name for node in ast.walk(ast.parse(stub.stub())) for alias in getattr(node, "names", [])}
    assert names <= set(dir(course_utils))
    assert set(course_utils.__all__) == names - {*stub.MODULES} | {"metrics"}
    assert {"ConvLearner", "F", "PIL", "fit", "get_data", "np", "plots", "proc_df", "VV"} <= set(course_utils.__all__)


def test_asking_loads_nothing_else():
    """Nor does asking for what is not there."""
    code = """
import sys
import course_utils
assert not hasattr(course_utils, "x")
assert "torch" not in sys.modules
from course_utils.results import begin
assert "torchvision" not in sys.modules and "course_utils.vision" not in sys.modules
from course_utils import learner
assert learner is sys.modules["course_utils.learner"]
"""
    in_a_new_process(code)


def test_a_name_is_the_same_before_and_after_a_star():
    code = """
from course_utils import plots, metrics
first = plots, metrics
from course_utils import *
import course_utils, course_utils.vision
assert first == (plots, metrics) == (course_utils.plots, course_utils.metrics)
assert ConvLearner is course_utils.vision.ConvLearner and begin is course_utils.begin
print(type(plots).__name__, type(metrics).__name__, np.__name__)
"""
    assert in_a_new_process(code) == "function module numpy"


def test_tables_and_results_need_no_torchvision():
    code = "import sys, course_utils.collab, course_utils.tabular; print('torchvision' in sys.modules)"
    assert in_a_new_process(code) == "False"


def test_every_module_says_what_it_offers():
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent.name != "samples"]
    assert [file.name for file in files if "__all__" not in file.read_text("utf-8")] == []


@pytest.mark.parametrize("module", stub.MODULES)
def test_what_a_module_offers_is_there(module):
    found = import_module(f"course_utils.{module}")
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


def test_it_is_typed_and_its_version_is_in_the_changelog():
    assert (PACKAGE / "py.typed").is_file()
    assert f"## {course_utils.__version__}\n" in Path(ROOT, "CHANGELOG.md").read_text("utf-8")
