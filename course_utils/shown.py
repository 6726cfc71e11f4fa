"""What a notebook shows of a table: its words are text, whatever stands in them.

A film may be called `<script>…</script>`, and so may a file, a class or a column. pandas escapes
this in plain tables, but not in styled ones.
"""

import sys
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing it takes pandas along, which not every module needs
    from pandas.io.formats.style import Styler

__all__ = ["escape_tables", "styled_html"]


def escape_tables() -> None:
    """Have this notebook show styled tables by `styled_html`; nothing outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type_by_name("pandas.io.formats.style", "Styler", styled_html)


def styled_html(table: "Styler") -> str | None:
    """`table.to_html()` with every cell, index, column and caption escaped.

    Whatever a format makes of them is escaped, too, unless it is `markupsafe.Markup`. A pandas
    whose template is unknown here shows the table without its style.
    """
    import pandas as pd

    if pd.get_option("styler.render.repr") != "html":
        return None
    template = _escaping_template()
    if template is None:
        return table.data.to_html()
    shown = copy(table)
    shown.template_html_table = template
    return shown.to_html()


@cache
def _escaping_template() -> Any | None:
    """pandas' own template, but it escapes what it prints; None of an unknown one."""
    from pandas.io.formats.style import Styler

    name = Styler.template_html_table.name
    source, _, _ = Styler.loader.get_source(Styler.env, name)
    for value in ("c.display_value", "caption", "caption[0]"):
        plain = f"{{{{{value}}}}}"
        escaped = f"{{{{{value} if {value} == '&nbsp;' else {value} | e}}}}"  # a corner left empty
        if plain not in source:
            return None
        source = source.replace(plain, escaped)
    return Styler.env.from_string(source)
