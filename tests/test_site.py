"""The static site: every link and picture resolves, and Chromium shows it without an error, wide, narrow and dark."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from sphinx.errors import SphinxWarning

from tools import run, site

NAMES = list(run.find(run.NOTEBOOKS, solutions=True))
LESSON = "nbs/lesson1-dogscats.html"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    return site.build(tmp_path_factory.mktemp("site") / "out")


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


def test_a_link_to_nowhere_stops_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(site.run, "find", lambda *args, **kwargs: {})
    monkeypatch.setattr(site, "PAGES", ["docs/differences.md"])
    with pytest.raises(SphinxWarning, match="target not found"):
        site.build(tmp_path)


def test_pages_follow_each_other_in_the_order_of_the_readme(html):
    index = (html / "index.html").read_text("utf-8")
    sidebar = re.findall(r'class="toctree-l1"><a class="reference internal" href="(nbs/[^"]+)\.html"', index)
    readme = (site.ROOT / "README.md").read_text("utf-8")
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
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda r: wrong.append(f"{r.url}: {r.failure}") if "ABORTED" not in r.failure else None)
    for name in ["index", "results/README", *(f"nbs/{name}" for name in NAMES)]:
        page.goto(f"{address}/{name}.html")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            wrong.append(f"{name}: {width} pixels wide")
    assert wrong == []


@pytest.mark.browser
def test_dark_where_the_reader_wants_it_dark(address, browser):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"{address}/{LESSON}")
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(map(int, re.findall(r"\d+", shade)[:3]))
    assert shades["dark"] < 150 < 600 < shades["light"]


@pytest.mark.browser
def test_search_finds_lessons(address, browser):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q=embeddings")
    page.locator("#search-results li a", has_text="MovieLens").first.wait_for(timeout=20_000)
