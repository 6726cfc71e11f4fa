"""Taking definitions out of a notebook."""

import pytest

from tools.cells import define

SOURCES = ["import math\nprint('not executed')", "def area(r):\n    return math.pi * r**2", "class Two:\n    n = 1"]


@pytest.fixture
def lesson(tmp_path, notebook):
    return notebook(tmp_path / "l.ipynb", [*SOURCES, "x = undefined_name", "class Two:\n    n = 2"])


def test_only_imports_and_wanted_names_are_executed(lesson, capsys):
    names = define(lesson, "area")
    assert names["area"](2) == pytest.approx(12.566371)
    assert "Two" not in names
    assert not capsys.readouterr().out


def test_the_later_definition_stays(lesson):
    assert define(lesson, "Two")["Two"].n == 2


def test_unknown_name_is_refused(lesson):
    with pytest.raises(ValueError, match=r"l\.ipynb does not define Three"):
        define(lesson, "area", "Three")
