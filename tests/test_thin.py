"""The package stays thin: lines of code, the length of functions and modules, names on display."""

import ast
import io
import statistics
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "course_utils"
SAMPLES = PACKAGE / "data" / "samples"
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def modules() -> list[Path]:
    return [file for file in sorted(PACKAGE.rglob("*.py")) if SAMPLES not in file.parents]


def code_lines(source: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in LAYOUT]
    lines = {n for t in tokens for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def functions(file: Path) -> dict[str, int]:
    """Name -> number of lines, from `def` on."""
    nodes = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.FunctionDef)]
    return {f"{file.stem}.{n.name}:{n.lineno}": n.end_lineno - n.lineno + 1 for n in nodes}


def test_lines_are_counted_as_by_hand():
    assert code_lines('"""Doc."""\n\n# comment\nx = [\n    1,  # one\n]\n') == 3
    assert code_lines('def f():\n    """Doc,\n\n    more."""\n\n    return """a\n\n    b"""\n') == 1 + 3


@pytest.mark.parametrize(("files", "most"), [(modules(), 1_920), (sorted(SAMPLES.glob("*.py")), 790)])
def test_lines_of_code(files, most):
    assert 0 < sum(code_lines(file.read_text("utf-8")) for file in files) <= most


def test_functions_are_short():
    lengths = {name: n for file in modules() for name, n in functions(file).items()}
    assert [name for name, n in lengths.items() if n > 40] == []
    assert statistics.median(lengths.values()) <= 8


def test_every_module_says_what_it_offers():
    assert [file.name for file in modules() if "__all__" not in file.read_text("utf-8")] == []
