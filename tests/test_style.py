"""One thought a statement: how much syntax stands in a line, beside what the models of the field have."""

import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = {
    "package": [*sorted((ROOT / "course_utils").glob("*.py")), *sorted((ROOT / "course_utils/data").glob("*.py"))],
    "samples": sorted((ROOT / "course_utils/data/samples").glob("*.py")),
    "tools": sorted((ROOT / "tools").rglob("*.py")),
}
COUNTED = (ast.stmt, ast.expr, ast.arg, ast.keyword)
IMPORTS = (ast.Import, ast.ImportFrom)
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef)


def docstring(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
        return [node.body[0]]
    return []


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements, expressions, arguments and keywords, without annotations, docstrings and imports."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, IMPORTS) and child not in docstring(tree):
                if isinstance(child, COUNTED):
                    yield child
                yield from nodes(child)


def per_line(tree: ast.AST) -> list[int]:
    return list(Counter(node.lineno for node in nodes(tree)).values())


def per_statement(tree: ast.AST) -> list[int]:
    """Nodes of each statement, those of the statements inside it not counted again."""
    statements = [node for node in nodes(tree) if isinstance(node, ast.stmt)]

    def inside(node: ast.AST) -> int:
        return 1 + sum(1 for _ in nodes(node))

    sizes = {id(s): inside(s) for s in statements}
    own = []
    for s in statements:
        nearest = []  # statements directly inside s
        stack = list(ast.iter_child_nodes(s))
        while stack:
            child = stack.pop()
            if id(child) in sizes:
                nearest.append(sizes[id(child)])
            else:
                stack += ast.iter_child_nodes(child)
        own.append(sizes[id(s)] - sum(nearest))
    return own


def ninetieth(values: list[int]) -> float:
    return statistics.quantiles(values, n=10)[-1]


def test_nodes_are_counted_as_by_hand():
    tree = ast.parse('"""Doc."""\nimport x\n\ndef f(a: int) -> int:\n    """Doc."""\n    return a + 1\n')
    assert sorted(per_line(tree)) == [2, 4]  # def f, its a; return, a + 1, a, 1
    assert sorted(per_statement(tree)) == [2, 4]


@pytest.mark.parametrize("part", PARTS)
def test_a_statement_is_one_thought(part):
    trees = [ast.parse(file.read_text("utf-8")) for file in PARTS[part]]
    statements = [n for tree in trees for n in per_statement(tree)]
    lines = [n for tree in trees for n in per_line(tree)]
    assert statistics.median(statements) <= 8
    assert ninetieth(statements) <= 17  # d2l and fastai: 15 to 17
    assert statistics.mean(lines) <= 7.5  # the models of the field: 5.6 to 7.5


@pytest.mark.parametrize("part", PARTS)
def test_lines_are_what_a_page_of_a_notebook_shows(part):
    lines = [line for file in PARTS[part] for line in file.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) > 500
    assert sum(len(line) > 100 for line in lines) <= 0.03 * len(lines)


@pytest.mark.parametrize("part", PARTS)
def test_functions_are_short(part):
    found = {}
    for file in PARTS[part]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[len(docstring(node)) :] or node.body
                found[f"{file.name}:{node.name}"] = node.end_lineno - body[0].lineno + 1
    assert [name for name, length in found.items() if length > 40] == []
