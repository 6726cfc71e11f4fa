"""One name out of those known; the message of a wrong one says which is nearest."""

import difflib
from collections.abc import Iterable

__all__ = ["choose"]


def choose(what: str, value: str, known: Iterable[str]) -> str:
    """Return `value` if it is known; ValueError with the nearest and all known ones, in one line, if not."""
    if value in (known := list(known)):
        return value
    names = sorted(map(str, known))
    hint = "".join(
        f" did you mean {near!r}?" for near in difflib.get_close_matches(str(value), names, n=1)
    )
    raise ValueError(f"unknown {what} {value!r};{hint} known: {' '.join(', '.join(names).split())}")
