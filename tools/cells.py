"""What a notebook defines, without running the rest of it."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["code_cells", "definitions", "execute", "tagged"]

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook, their source as one text each."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return [
        cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"
    ]


def tagged(notebook: Path, tag: str) -> list[str]:
    """The sources of the code cells that have this tag."""
    cells = code_cells(notebook)
    return [cell["source"] for cell in cells if tag in cell["metadata"].get("tags", [])]


def definitions(notebook: Path) -> list[ast.stmt]:
    """Imports, functions, classes, and methods given to a class afterwards, in their order."""
    found = []
    for cell in code_cells(notebook):
        if cell["source"].startswith("%"):  # for IPython, such as %matplotlib inline
            continue
        statements = ast.parse(cell["source"]).body
        found += [s for s in statements if isinstance(s, DEFINITIONS) or _is_method(s)]
    return found


def _is_method(statement: ast.stmt) -> bool:
    """Whether it is an assignment such as `BnLayer.batch_statistics = batch_statistics`."""
    if not isinstance(statement, ast.Assign):
        return False
    target = statement.targets[0]
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
        return False
    return target.value.id[0].isupper()


def execute(statements: Sequence[ast.stmt]) -> ModuleType:
    """A module of these statements; where a name is defined twice, the later one stays."""
    module = ModuleType("lesson")
    tree = ast.Module([*statements], [])
    exec(compile(tree, "<cells of a notebook>", "exec"), vars(module))
    return module
