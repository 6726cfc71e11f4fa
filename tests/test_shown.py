"""What JupyterLab is sent of a table: what is in it is text."""

import html
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from course_utils import results
from course_utils import shown as shown_tables
from course_utils.shown import styled_html
from course_utils.transforms import tfms_from_stats
from course_utils.vision import ImageClassifierData
from tools import ROOT

EVIL = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>"]
TITLES = pd.Series(EVIL, name="film")
TABLES = {
    "cells": TITLES.to_frame(),
    "index": pd.DataFrame({"n": [1, 2]}, EVIL),
    "columns": pd.DataFrame([[1, 2]], columns=EVIL),
    "names": pd.DataFrame({"n": [1]}).rename_axis(EVIL[0]).rename_axis(EVIL[1], axis=1),
    "levels": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([EVIL[:1], EVIL], names=EVIL)),
    "groups": TITLES.to_frame().set_index(["film", TITLES.rename(EVIL[0])], drop=False),
}
STYLES = {
    "plain": lambda table: table,
    "styled": lambda table: table.style,
    "format": lambda table: table.style.format(precision=2, na_rep=""),
    "function": lambda table: table.style.format(lambda v: f"{v}"),
    "text": lambda table: table.style.format("{} of 3"),
    "copied": lambda table: pd.concat([table, table], ignore_index=True).style.hide(axis="index"),
    "caption": lambda table: table.style.set_caption(EVIL[0]),
}


def tags(page: str) -> set[str]:
    return set(re.findall(r"<(\w+)", page))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("table", TABLES)
def test_no_word_in_a_table_becomes_a_tag(table, style):
    shown = STYLES[style](TABLES[table])
    page = shown._repr_html_() if style == "plain" else styled_html(shown)
    assert tags(page) <= {"div", "style", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    if not (style == "copied" and table in ("index", "names", "groups")):  # which shows no index
        assert any(html.escape(evil) in page or html.escape(evil, quote=False) in page for evil in EVIL)


def test_classes_and_files_of_any_name(tmp_path):
    """As the folders of a data set are called."""
    for split in ("train", "valid"):
        for name in ("<img src=x onerror=alert(1)>", "<b>"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(tmp_path / split / name / "<script>alert(1)<.png")
    data = ImageClassifierData.from_paths(tmp_path, tfms=tfms_from_stats(([0.5] * 3, [0.5] * 3), 8))
    table = pd.DataFrame({"file": data.trn_ds.fnames}, data.classes)
    with pd.option_context("display.max_colwidth", None):
        plain = table._repr_html_()
    for page in (plain, styled_html(table.style), styled_html(table.T.style.format("{}"))):
        assert tags(page) <= {"div", "style", "table", "thead", "tbody", "tr", "th", "td"}
        assert "&lt;img src=x onerror=alert(1)&gt;/&lt;script&gt;alert(1)&lt;.png" in page


HARMLESS = pd.DataFrame({"film": ["Heat & Dust", "Alien"], "mean": [3.51, None]}, [7, 9]).rename_axis("id")


@pytest.mark.parametrize("style", ["styled", "format", "function", "text"])
def test_a_table_without_markup_is_shown_as_pandas_does(style):
    shown = STYLES[style](HARMLESS.replace("&", "and", regex=True))
    assert styled_html(shown) == shown.to_html()


def test_styles_and_what_is_hidden_stay():
    shown = HARMLESS.style.hide(axis="index").set_properties(**{"text-align": "left"}).highlight_max(subset="mean")
    assert styled_html(shown) == shown.to_html().replace("Heat & Dust", "Heat &amp; Dust")


def test_a_pandas_of_another_template_shows_the_table_plain_and_escaped(monkeypatch):
    monkeypatch.setattr(shown_tables, "_escaping_template", lambda: None)
    table = TABLES["groups"]
    assert styled_html(table.style.highlight_max(axis=None)) == table.to_html()
    assert tags(table.to_html()) == {"table", "thead", "tbody", "tr", "th", "td"}


def test_the_table_of_results_keeps_its_own_markup(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path))
    monkeypatch.setattr(results, "_run", {})
    results.begin("lesson1-dogscats")
    results.record(EVIL[0], 0.5)
    page = results.results_table().to_html()
    assert f'<div style="text-align: left">{html.escape(EVIL[0])}</div>' in page
    assert tags(page) == {"style", "table", "thead", "tbody", "tr", "th", "td", "div"}


def test_a_notebook_that_has_imported_anything_of_ours_escapes():
    """A file and a class may be called so as well; what is sent is what any IPython sends."""
    code = """
import json
from course_utils import choose
import pandas as pd
table = pd.DataFrame({"<img src=x onerror=alert(1)>": ["<script>alert(1)</script>"]})
send = get_ipython().display_formatter.formatters["text/html"]
send.enabled = True  # as in a kernel
print(json.dumps([send(shown) for shown in (table, table.style, table.style.format(precision=1))]))
"""
    command = [sys.executable, "-m", "IPython", "--quick", "--no-banner", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    pages = json.loads(done.stdout.splitlines()[-1])
    assert len(pages) == 3, done.stderr
    for page in pages:
        assert tags(page) <= {"div", "style", "table", "thead", "tbody", "tr", "th", "td"}
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
