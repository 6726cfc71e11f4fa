"""`make site`: the executed lessons, their solutions and results as a static site in .runs/site/html.

What the site shows is copied to .runs/site/source under the names it has here, so that links between pages hold, and
Sphinx makes pages of it (myst-nb for notebooks, furo for the looks). Nothing is executed and nothing is fetched; a link
that leads nowhere is an error.
"""

import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from tools import run

__all__ = ["build", "copy", "main"]

ROOT = run.NOTEBOOKS.parent
OUT = ROOT / ".runs" / "site"
PAGES = ["CONTRIBUTING.md", "data/README.md", "docs/differences.md", "results/README.md"]
FILES = ["LICENSE", "course_utils/data/registry.toml", "docs/icon.svg"]
SETTINGS = {
    "project": "Practical Deep Learning",
    "extensions": ["myst_nb"],
    "html_favicon": "docs/icon.svg",
    "html_theme": "furo",
    "html_title": "Practical Deep Learning, 2017/18",
    "html_show_copyright": False,
    "html_copy_source": False,
    "myst_heading_anchors": 3,
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},  # no script from elsewhere
    "nb_merge_streams": True,
    "pygments_style": "default",
}


def copy(target: Path) -> None:
    """Put all that the site shows below `target`, README.md as index.md with the table of contents behind it."""
    notebooks = run.find(run.NOTEBOOKS, solutions=True)
    for path in [*notebooks.values(), *(ROOT / name for name in PAGES + FILES)]:
        there = target / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".ipynb", ".md"):
            there.write_text(_with_pages(path.read_text("utf-8")), "utf-8")
        else:
            shutil.copy(path, there)
    readme = (ROOT / "README.md").read_text("utf-8")
    names = sorted(notebooks, key=lambda name: _place(readme, name))
    (target / "index.md").write_text(f"{_with_pages(readme)}\n{_contents(names)}", "utf-8")


def _place(readme: str, name: str) -> int:
    """Where README.md names a lesson, or the lesson of a solution: its order is that of the site."""
    return readme.index(f"(nbs/{name.removeprefix('solutions/')}.ipynb)")


def _with_pages(text: str) -> str:
    """Links to folders lead to the page in them, links to README.md to the front page."""
    text = re.sub(r"\]\(((?:\.\./)*)(results|data)/?\)", r"](\1\2/README.md)", text)
    return re.sub(r"\]\(((?:\.\./)*)README\.md([#)])", r"](\1index.md\2", text)


def _contents(names: list[str]) -> str:
    """The hidden lists of pages that make the side bar and the links to the previous and the next one."""
    parts = {
        "Lessons": [n for n in names if n.startswith("lesson")],
        "The 2016/17 edition": [n for n in names if n.startswith("2017/")],
        "Solutions": [n for n in names if n.startswith("solutions/")],
    }
    lists = {title: [f"nbs/{name}" for name in pages] for title, pages in parts.items()}
    lists["About"] = [name.removesuffix(".md") for name in PAGES]
    trees = [
        f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n" + "\n".join(p) + "\n```\n"
        for title, p in lists.items()
    ]
    return "\n".join(trees)


def build(out: Path = OUT) -> Path:
    """Make the site anew; the folder of its pages. SphinxWarning for a link that leads nowhere."""
    source, html = out / "source", out / "html"
    shutil.rmtree(out, ignore_errors=True)
    copy(source)
    with docutils_namespace():  # so that a second one can be built in the same process
        app = Sphinx(
            source,
            None,
            html,
            out / "doctrees",
            "html",
            SETTINGS,
            status=None,
            exception_on_warning=True,
        )
        app.build()
    return html


def main() -> int:
    """Build and say where; the exit code."""
    print(f"open {build() / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
