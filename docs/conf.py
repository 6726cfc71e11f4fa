"""The site: README.md, the executed lessons, their solutions, results, and the package's docstrings.

`make site` has Sphinx read the checkout as it is. Nothing is executed and nothing is fetched; a
link that leads nowhere is an error.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from nbconvert.preprocessors.sanitize import SanitizeHTML
from sphinx.application import Sphinx
from sphinx.util import rst

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import run  # noqa: E402  # from this checkout

# --- what it shows ---

root_doc = "README"
ABOUT = ["docs/*.md", "results/*.md", "data/*.md", "*.md"]
include_patterns = [*ABOUT, "docs/api/*.rst", "nbs/**.ipynb"]
exclude_patterns = [".*", "**/.*", "course_utils", "data/[!R]*", "docs/templates", "tests", "tools"]
templates_path = [str(ROOT / "docs" / "templates")]


def contents(readme: str) -> str:
    """The hidden lists of pages that make the side bar, and lead from page to page."""
    found = run.find(run.NOTEBOOKS, solutions=True)
    names = sorted(found, key=lambda name: _place(readme, name))
    files = [file for pattern in ABOUT for file in sorted(ROOT.glob(pattern))]
    pages = [file.relative_to(ROOT).with_suffix("").as_posix() for file in files]
    parts = {
        "Lessons": [f"nbs/{name}" for name in names if name.startswith("lesson")],
        "The 2016/17 edition": [f"nbs/{name}" for name in names if name.startswith("2017/")],
        "Solutions": [f"nbs/{name}" for name in names if name.startswith("solutions/")],
        "About": [page for page in pages if page != root_doc],
    }
    trees = []
    for title, listed in parts.items():
        lines = ["```{toctree}", f":caption: {title}", ":hidden:", "", *listed, "```", ""]
        trees.append("\n".join(lines))
    return "\n".join(trees)


def _place(readme: str, name: str) -> int:
    """Where README.md names a lesson, or the lesson of a solution: its order is that of the site."""
    return readme.index(f"(nbs/{name.removeprefix('solutions/')}.ipynb)")


def read(app: Sphinx, docname: str, content: list[str]) -> None:
    """Links to folders lead to the page in them; the front page gets the lists of pages.

    What notebooks have put out is made harmless.
    """
    text = re.sub(r"\]\(((?:\.\./)*)(results|data)/?\)", r"](\1\2/README.md)", content[0])
    if docname == "README":
        text = f"{text}\n{contents(text)}"
    if Path(app.env.doc2path(docname)).suffix == ".ipynb":
        text = harmless(text)
    content[0] = text


# --- outputs of notebooks ---

# Tables, and words in them. Whatever else there is, scripts above all, is shown as text.
TAGS = ["a", "b", "br", "code", "div", "em", "i", "p", "pre", "span", "strong"]
TAGS += ["caption", "table", "tbody", "td", "tfoot", "th", "thead", "tr"]
ATTRIBUTES = {
    "*": ["class", "id", "style"],
    "a": ["href"],
    "table": ["border"],
    "td": ["colspan", "halign", "rowspan", "valign"],
    "th": ["colspan", "halign", "rowspan", "valign"],
}
STYLES = ["background-color", "color", "font-weight", "text-align", "vertical-align"]
SANITIZER = SanitizeHTML(tags=TAGS, attributes=ATTRIBUTES, styles=STYLES)
# A style sheet as pandas writes it, with rules for its own table; it can load nothing.
SHEET = re.compile(r"<style[^<>]*>(?:\s*(?:#T_|\.dataframe)[\w\s,.:#-]+\{[\w\s:;#%.-]*\})*\s*</style>")


def harmless(notebook: str) -> str:
    """The same notebook, but no script lives on in its outputs, and no markup but of tables."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = _harmless_data(output["data"])
    return json.dumps(content)


def _harmless_data(data: dict[str, Any]) -> dict[str, Any]:
    """What is shown of one output, by MIME type; scripts and drawings (SVG) are left out."""
    kept = {}
    for kind, value in data.items():
        if kind in SANITIZER.safe_output_keys:
            kept[kind] = value
        elif kind in SANITIZER.sanitized_output_types:
            text = value if isinstance(value, str) else "".join(value)
            sheets = "".join(SHEET.findall(text))
            kept[kind] = sheets + SANITIZER.sanitize_html_tags(SHEET.sub("", text))
    return kept


def finish(app: Sphinx, failure: Exception | None) -> None:
    """The front page is README.html, as links to README.md have it; a web server wants an index."""
    front = Path(app.outdir) / "README.html"
    if front.exists():
        shutil.copy(front, front.with_name("index.html"))


# --- docstrings ---


def as_markdown(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written as Markdown is: `code`, and what is drawn stands four blanks in.

    The first paragraph becomes reStructuredText, since tables of modules show it.
    """
    first, _, more = "\n".join(lines).partition("\n\n")
    texts = first.split("`")  # outside of code, inside, outside, …
    texts[::2] = map(rst.escape, texts[::2])
    texts[1::2] = [f"\\ ``{code}``\\ " for code in texts[1::2]]
    html = MarkdownIt("commonmark", {"html": False}).render(more)  # <int> is no tag
    lines[:] = "".join(texts).splitlines()
    if html:
        lines += ["", ".. raw:: html", "", *(f"   {line}" for line in html.splitlines())]
    lines.append("")


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """What a module hands on is shown where it is made."""
    made = getattr(thing, "__module__", None)
    here = app.env.current_document.autodoc_module
    return True if what == "module" and made and here and made != here else None


def setup(app: Sphinx) -> None:
    app.connect("source-read", read)
    app.connect("build-finished", finish)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-skip-member", skip)


# --- how it looks ---

project = "Practical Deep Learning"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
html_copy_source = False
html_favicon = "icon.svg"
html_show_copyright = False
html_theme = "furo"
html_title = "Practical Deep Learning, 2017/18"
maximum_signature_line_length = 88
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # no script from elsewhere
nb_merge_streams = True
pygments_style = "default"
