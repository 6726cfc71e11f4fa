"""One name out of those known; the message of a wrong one says which is nearest."""

import difflib
from collections.abc import Collection
from contextlib import suppress

__all__ = ["choose"]


def choose(what: str, value: str, known: Collection[str]) -> str:
    """`value`, if it is known; ValueError with the nearest and all known ones, in one line, if not.

    `what` a value is: "column", "size", …; `known`: a set, a list, or a table for its columns.
    """
    with suppress(TypeError):  # a list, say, cannot be a name
        if value in known:  # asked of a table this is one look, even among 10,000 columns
            return value
    names = sorted(str(name) for name in known)
    nearest = difflib.get_close_matches(str(value), names, n=1)
    hint = f" did you mean {nearest[0]!r}?" if nearest else ""
    listed = " ".join(", ".join(names).split())  # in one line, whatever the names hold
    raise ValueError(f"unknown {what} {value!r};{hint} known: {listed}")
