"""Modules for the lessons; `from course_utils import *` gives all that the videos' cells use (see `everything`)."""

from importlib import import_module, util


def __getattr__(name: str) -> object:
    """A module, or a name of `everything`: loaded when first asked for, so that one module alone starts faster."""
    if util.find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    everything = import_module(f"{__name__}.everything")
    globals().update(
        {n: getattr(everything, n) for n in everything.__all__}
    )  # `plots` is a module as well
    return getattr(everything, name)
