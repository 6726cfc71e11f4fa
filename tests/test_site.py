"""The static site: every link and picture resolves, and Chromium shows it without an error, wide, narrow and dark."""

import json
import pkgutil
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pandas as pd
import pytest
from support import cell
from waiting import BROWSER

import course_utils
from course_utils.shown import styled_html
from tools import ROOT, run

NAMES = list(run.find(run.NOTEBOOKS, solutions=True))
LESSON = "nbs/lesson1-dogscats.html"
APIS = ["docs/api", "docs/api/course_utils.learner", "docs/api/course_utils.vision"]

pytestmark = pytest.mark.timeout(3600)


def build(source: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    """What `make site` does."""
    options = ("-W", "-q", "-c", str(ROOT / "docs"), "-d", str(out / "doctrees"), *options)
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(out / "html")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_make_site_does_the_same():
    told = subprocess.run(["make", "-n", "site"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m sphinx -W -q -c docs -d .runs/site/doctrees . .runs/site/html" in told


class Page(HTMLParser):
    """What a page leads to (`links`) and what can be led to in it (`anchors`)."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}


def broken(root: Path) -> list[str]:
    """Links within the site that lead to no file, or to no anchor of a page."""
    pages = {file: Page(file) for file in sorted(root.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, anchor = urldefrag(urljoin(file.as_uri(), link))
            target = Path(unquote(path.removeprefix("file://")).split("?")[0])
            if not target.exists() or (anchor and target in pages and unquote(anchor) not in pages[target].anchors):
                found.append(f"{file.relative_to(root)}: {link}")
    return found


def test_every_link_and_picture_resolves(html):
    assert broken(html) == []
    pictures = [link for file in html.rglob("*.html") for link in Page(file).links if "_images/" in link]
    assert len(pictures) > 100


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="#x"><a href="b.html#y"><img src="no.png"><a href="#z">')
    (tmp_path / "b.html").write_text('<p id="y">')
    assert broken(tmp_path) == ["a.html: no.png", "a.html: #z"]


@pytest.mark.parametrize(("link", "stops"), [("other.md", False), ("nowhere.md", True), ("other.md#x", True)])
def test_a_link_to_nowhere_stops_the_build(tmp_path, link, stops):
    (tmp_path / "page.md").write_text(f"# Page\n\n[link]({link})\n\n```{{toctree}}\nother\n```\n")
    (tmp_path / "other.md").write_text("# Other\n")
    done = build(tmp_path, tmp_path / "out", "-D", "root_doc=page")
    assert (done.returncode, "xref_missing" in done.stderr) == (int(stops), stops), done.stderr


EVIL = {
    "script": "<script>alert(1)</script>",
    "event": "<table><td><img src=x onerror=alert(1)></td></table>",
    "link": '<a href="javascript:alert(1)">here</a>',
    "sheet": "<style>#T_1 {color: red} body {display: none} @import url(https://example.org)</style>",
    "drawing": "<svg onload=alert(1)></svg>",
    "frame": '<iframe srcdoc="&lt;script&gt;alert(1)&lt;/script&gt;"></iframe>',
    "style": '<div style="position: fixed; color: red">over all</div>',
    "mixed": "<table><style><script>alert(1)</script></style></table>",
    "cut": "<table><td><script",
}


@pytest.mark.parametrize("kind", EVIL)
def test_no_output_is_more_than_a_table(kind):
    """Whatever a film, a file, a class or a column is called."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    shown = conf["_harmless_data"]({"text/html": [EVIL[kind]], "image/svg+xml": "<svg>", "application/javascript": "1"})
    assert list(shown) == ["text/html"]
    parsed = Tags()
    parsed.feed(shown["text/html"])
    assert {tag for tag, _ in parsed.found} <= {"a", "table", "tbody", "tr", "td", "div"}
    attributes = [item for _, attrs in parsed.found for item in attrs]
    assert attributes == ([("style", "color: red;")] if kind == "style" else [])


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def markup(page: str) -> list[tuple[str, dict]]:
    """The tags of a page with what a reader sees of their attributes."""
    parsed = Tags()
    parsed.feed(page)
    seen = []
    for tag, attrs in parsed.found:
        kept = {name: (value or "").rstrip(";") for name, value in attrs if name not in ("scoped", "type")}
        seen.append((tag, kept))
    return seen


@pytest.mark.parametrize("styled", [False, True])
def test_tables_stay_as_they_are(styled):
    """Those of pandas, with their style sheets."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    table = pd.DataFrame({"a<b": [1.5, 2]}, ["x & y", "z"]).rename_axis("k")
    shown = table.style.set_properties(**{"text-align": "left"}) if styled else table
    page = styled_html(shown) if styled else shown._repr_html_()
    kept = conf["_harmless_data"]({"text/html": page})["text/html"]
    assert sorted(markup(kept), key=str) == sorted(markup(page), key=str)  # a style sheet goes to the front
    assert "text-align: left" in kept or not styled
    assert "a&lt;b" in kept
    assert "x &amp; y" in kept


def test_the_site_has_no_script_of_a_notebook(tmp_path):
    """Nor a picture that would run one, as a title in a table; the words are there to be read."""
    page = "<table><tr><td><script>alert(1)</script></td><td><img src=x onerror=alert(1)></td></tr></table>"
    data = {"text/html": page, "text/plain": "a table", "application/javascript": "alert(1)"}
    output = {"output_type": "display_data", "metadata": {}, "data": data}
    cells = [cell("markdown", "# Evil"), cell("code", "1", outputs=[output])]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "evil.ipynb").write_text(json.dumps(content))
    (tmp_path / "page.md").write_text("# Page\n\n```{toctree}\nnbs/evil\n```\n")
    done = build(tmp_path, tmp_path / "out", "-D", "root_doc=page")
    assert done.returncode == 0, done.stderr
    built = (tmp_path / "out" / "html" / "nbs" / "evil.html").read_text("utf-8")
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>&lt;img src=x onerror=alert(1)&gt;</td>" in built
    assert "<script>alert" not in built
    assert "<img src=x" not in built


def test_every_public_module_has_a_page(html):
    """With each of its names that is made there, and nothing twice; the sample builders are no interface."""
    modules = [m.name for m in pkgutil.walk_packages(course_utils.__path__, "course_utils.")]
    public = {m for m in modules if not re.search(r"\._|\.samples|\.everything", m)}
    pages = {file.stem: Page(file) for file in (html / "docs" / "api").glob("*.html")}
    assert set(pages) == public
    listed = [link for link in Page(html / "docs" / "api.html").links if "#" not in link]
    assert {f"api/{name}.html" for name in public} <= set(listed)
    shown = [anchor for page in pages.values() for anchor in page.anchors if anchor.startswith("course_utils.")]
    assert len(set(shown)) == len(shown)
    assert {"course_utils.learner.Learner.fit", "course_utils.core.V"} <= set(shown)
    assert "docs/api.html" in Page(html / "index.html").links


def test_what_a_docstring_draws_stays_as_drawn():
    """Markdown in docstrings: code, and blocks four blanks in."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    lines = ["`V(t)`s do_it *not*:", "", "    a  b", "    1  2", "", "The `end`."]
    conf["as_markdown"](None, "function", "f", None, None, lines)
    assert lines[0] == r"\ ``V(t)``\ s do\_it \*not\*\:"
    assert "\n".join(lines[4:8]) == "   <pre><code>a  b\n   1  2\n   </code></pre>\n   <p>The <code>end</code>.</p>"


def test_pages_follow_each_other_in_the_order_of_the_readme(html):
    index = (html / "index.html").read_text("utf-8")
    sidebar = re.findall(r'class="toctree-l1"><a class="reference internal" href="(nbs/[^"]+)\.html"', index)
    readme = (ROOT / "README.md").read_text("utf-8")
    lessons = re.findall(r"^\| \[[^]]+\]\((nbs/[^)]+)\.ipynb\)", readme, re.MULTILINE)
    assert sorted(sidebar) == sorted(f"nbs/{name}" for name in NAMES)
    assert [page for page in sidebar if "solutions" not in page] == lessons
    for page, after in pairwise(lessons[:4]):
        next_page = re.search(r'class="next-page" href="([^"]+)"', (html / f"{page}.html").read_text("utf-8"))[1]
        assert urljoin(f"{page}.html", next_page) == f"{after}.html"


def test_sections_lead_into_the_videos(html):
    page = Page(html / LESSON)
    assert len([link for link in page.links if re.match(r"https://youtu\.be/[\w-]+\?t=\d+$", link)]) > 20


@pytest.fixture(scope="module")
def address(html) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=html)
    handler.log_message = lambda *args: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
def test_no_page_has_an_error_or_is_wider_than_a_phone(address, html, browser):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.set_default_timeout(BROWSER)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda r: wrong.append(f"{r.url}: {r.failure}") if "ABORTED" not in r.failure else None)
    for name in ["index", "results/README", *APIS, *(f"nbs/{name}" for name in NAMES)]:
        page.goto(f"{address}/{name}.html")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            wrong.append(f"{name}: {width} pixels wide")
    assert wrong == []


@pytest.mark.browser
def test_dark_where_the_reader_wants_it_dark(address, browser):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.set_default_timeout(BROWSER)
        page.goto(f"{address}/{LESSON}")
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(map(int, re.findall(r"\d+", shade)[:3]))
    assert shades["dark"] < 150 < 600 < shades["light"]


@pytest.mark.browser
def test_search_finds_lessons(address, browser):
    page = browser.new_page()
    page.set_default_timeout(BROWSER)
    page.goto(f"{address}/search.html?q=embeddings")
    page.locator("#search-results li a", has_text="MovieLens").first.wait_for()
