"""Names that a notebook defines, without running the rest of it."""

import ast
import json
from pathlib import Path
from typing import Any

__all__ = ["define"]


def define(notebook: Path, *names: str, **given: Any) -> dict[str, Any]:
    """Execute the cells of imports and those that bind a class or function of `names`, in order; the namespace.

    Where a name is defined twice, the later one stays. `given`: names that the cells use. ValueError if a name is not
    defined.
    """
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    space = dict(given)
    for source in (s for s in sources if not s.startswith("%")):
        body = ast.parse(source).body
        imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        wanted = [node for node in body if getattr(node, "name", None) in names]
        exec(compile(ast.Module(imports + wanted, []), str(notebook), "exec"), space)
    if missing := [name for name in names if name not in space]:
        raise ValueError(f"{notebook.name} does not define {', '.join(missing)}")
    return space
