"""Saved outputs of notebooks that show recorded numbers: made anew from the records."""

import json
from typing import Any

from course_utils.result_lines import KEY, renewed

__all__ = ["lines_of", "with_outputs"]


def with_outputs(notebook: str) -> str:
    """The text of a notebook with what `record` and `results_table` show, as they would now.

    The same text, to the byte, if they show that already.
    """
    content = json.loads(notebook)
    changed = False
    for output in lines_of(content):
        shown = _as_saved(renewed(output["metadata"][KEY]))
        changed |= shown != output["data"]
        output["data"] = shown
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n" if changed else notebook


def lines_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs that `record` and `results_table` have made."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [output for output in outputs if KEY in output.get("metadata", {})]


def _as_saved(data: dict[str, str]) -> dict[str, list[str]]:
    """MIME type to lines, as files of notebooks have texts."""
    return {kind: data[kind].splitlines(keepends=True) for kind in sorted(data)}
