"""Taking definitions out of a notebook."""

import pytest

from tools.cells import definitions, execute

SOURCES = ["import math\nprint('not executed')", "%matplotlib inline", "def area(r):\n    return math.pi * r**2"]
SOURCES += ["class Two:\n    n = 1", "def m(self):\n    return self.n\n\n\nTwo.m = m", "x = undefined_name"]
SOURCES += ["class Two:\n    n = 2"]


@pytest.fixture
def statements(tmp_path, notebook):
    return definitions(notebook(tmp_path / "l.ipynb", SOURCES))


def test_imports_functions_and_classes_are_executed_and_nothing_else(statements, capsys):
    module = execute(statements)
    assert module.area(2) == pytest.approx(12.566371)
    assert not hasattr(module, "x")
    assert not capsys.readouterr().out


def test_the_later_definition_stays(statements):
    assert execute(statements).Two.n == 2


def test_methods_given_later_belong_to_the_class(statements):
    assert execute(statements[:-1]).Two().m() == 1
