"""Modules for the lessons; `from course_utils import *` gives all that the videos' cells use.

`__init__.pyi` lists the names, for editors as well; each is loaded when it is first asked for, so
that one module alone starts in a third of the time that all of them take.
"""

from pkgutil import iter_modules

import lazy_loader

from .shown import escape_tables as _escape_tables

__version__ = "1.0.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
_modules = {module.name for module in iter_modules(__path__)}
__all__ = [name for name in _names if name not in _modules or name == "metrics"]

_escape_tables()
