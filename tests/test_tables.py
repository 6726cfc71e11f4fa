import json
import re

import pytest

from tools import run, tables


def test_pages_show_the_records():
    """Whoever records a result anew must run `make results`."""
    readme = (tables.ROOT / "README.md").read_text("utf-8")
    assert tables.updated(readme) == readme
    assert (tables.ROOT / "results" / "README.md").read_text("utf-8") == tables.page()


@pytest.mark.parametrize("lesson", tables.ORIGINAL)
def test_readme_shows_the_key_result_of_each_lesson(lesson):
    readme = (tables.ROOT / "README.md").read_text("utf-8")
    (row,) = [line for line in readme.splitlines() if line.startswith(f"| {lesson} |")]
    _, key, _, shown, *_ = row.strip(" |").split(" | ")
    record = json.loads((tables.ROOT / f"results/{lesson}.sample.cpu.json").read_text("utf-8"))
    value = next(stage["value"] for stage in record["stages"] if stage["name"] == key)
    assert float(shown.replace(",", "")) == pytest.approx(value, abs=0.005)


def test_every_lesson_has_its_table():
    assert set(tables.ORIGINAL) == set(run.find(run.NOTEBOOKS))


@pytest.mark.parametrize("lesson", tables.ORIGINAL)
def test_table_holds_every_recorded_value(lesson):
    record = json.loads((tables.ROOT / f"results/{lesson}.sample.cpu.json").read_text("utf-8"))
    table = tables.lesson_table(lesson)
    column = table.splitlines()[0].strip(" |").split(" | ").index("sample, CPU")
    for stage in record["stages"]:
        row = next(line for line in table.splitlines() if line.startswith(f"| {stage['name']} |"))
        shown = float(row.strip(" |").split(" | ")[column].replace(",", ""))
        assert abs(shown - stage["value"]) <= (0.005 if stage["value"] >= 2 else 5e-5)


def test_updating_replaces_what_was_there():
    readme = "a\n<!-- results: made by `make results` -->\nold\n<!-- end of results -->\nb"
    assert re.search("old", tables.updated(readme)) is None
    assert tables.updated(tables.updated(readme)) == tables.updated(readme)


def test_numbers():
    assert [tables._number(v) for v in (None, 0.5, 2.066, 2002, 3e-6, 0)] == [
        "",
        "0.5000",
        "2.07",
        "2,002",
        "3e-06",
        "0.0000",
    ]
