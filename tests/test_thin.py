"""The package stays thin: the length of functions, names on display."""

import ast
import statistics
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "course_utils"
SAMPLES = PACKAGE / "data" / "samples"


def modules() -> list[Path]:
    return [file for file in sorted(PACKAGE.rglob("*.py")) if SAMPLES not in file.parents]


def functions(file: Path) -> dict[str, int]:
    """Name -> number of lines, from `def` on."""
    nodes = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.FunctionDef)]
    return {f"{file.stem}.{n.name}:{n.lineno}": n.end_lineno - n.lineno + 1 for n in nodes}


def test_functions_are_short():
    lengths = {name: n for file in modules() for name, n in functions(file).items()}
    assert [name for name, n in lengths.items() if n > 40] == []
    assert statistics.median(lengths.values()) <= 8


def test_every_module_says_what_it_offers():
    assert [file.name for file in modules() if "__all__" not in file.read_text("utf-8")] == []
