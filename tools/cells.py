"""What a notebook defines, without running the rest of it."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["definitions", "execute"]

KINDS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def definitions(notebook: Path) -> list[ast.stmt]:
    """Imports, functions and classes of a notebook, and methods given to a class afterwards, in its order."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    statements = [s for source in sources if source[:1] != "%" for s in ast.parse(source).body]
    return [s for s in statements if isinstance(s, KINDS) or _is_method(s)]


def _is_method(s: ast.stmt) -> bool:
    """Whether it is an assignment such as `BnLayer.batch_statistics = batch_statistics`."""
    target = s.targets[0] if isinstance(s, ast.Assign) else None
    return (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id[0].isupper()
    )


def execute(statements: Sequence[ast.stmt]) -> ModuleType:
    """A module of these statements; where a name is defined twice, the later one stays."""
    module = ModuleType("lesson")
    exec(compile(ast.Module([*statements], []), "<cells of a notebook>", "exec"), vars(module))
    return module
