import json
import re
from decimal import Context, Decimal

import pytest

from tools import run, tables
from tools.tables import Comparison


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
    assert float(shown.replace(",", "")) == pytest.approx(value, rel=5.1e-4)


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
        assert shown == pytest.approx(stage["value"], rel=5.1e-4, abs=0)


def test_updating_replaces_what_was_there():
    readme = "a\n<!-- results: made by `make results` -->\nold\n<!-- end of results -->\nb"
    assert re.search("old", tables.updated(readme)) is None
    assert tables.updated(tables.updated(readme)) == tables.updated(readme)


def test_rows_stand_in_the_order_of_the_readme():
    readme = (tables.ROOT / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[[^]]+\]\(nbs/([^)]+)\.ipynb\)", readme, re.MULTILINE)
    summarised = [line.split(" | ")[0].removeprefix("| ") for line in tables.summary().splitlines()[2:]]
    assert summarised == re.findall("^## (.+)", tables.page(), re.MULTILINE)[:-1] == listed


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.935, "0.9350"),
        (0.000233, "0.0002330"),
        (2.0156, "2.016"),
        (138.98, "139.0"),
        (-0.9607, "-0.9607"),
        (4321.5, "4,322"),
        (13382709, "13,382,709"),
        (273, "273"),
        (0.0, "0"),
        (3.6e-15, "3.600e-15"),
    ],
)
def test_numbers(value, shown):
    assert tables._number(value) == shown


@pytest.mark.parametrize("digits", [3, 4])
def test_numbers_are_rounded_as_decimal_rounds_them(digits):
    for exponent in range(-18, digits - 1):
        value = 8.127364519 * 10.0**exponent
        rounded = Context(prec=digits).create_decimal(repr(value))
        assert Decimal(tables._number(value, digits)).as_tuple() == rounded.as_tuple()


def test_a_stage_of_whole_numbers_has_integers():
    assert tables._numbers([None, 0.0]) == ["", "0"]
    assert tables._numbers([16.0, 16.000000000000004]) == ["16", "16"]
    assert tables._numbers([1.0, 5.0, 61505.0]) == ["1", "5", "61,505"]
    assert tables._numbers([0.9536, 1.0]) == ["0.9536", "1.000"]
    assert tables._numbers([0.0, 1.49e-8]) == ["0", "1.490e-08"]


def test_one_core_is_singular():
    cpu = {"device": {"type": "cpu", "name": "x86_64"}}
    assert [tables._on(cpu | {"threads": n}) for n in (1, 2)] == ["1 CPU core", "2 CPU cores"]
    assert tables._device({"device": {"type": "cuda", "name": "NVIDIA H200"}, "threads": 1}) == "NVIDIA H200"


# --- speed ---


def compared(ratios: tuple[float, float], **goals: float) -> Comparison:
    times, by_epoch = ["1 s", "", "2 s"], dict(zip(("first", "later"), ratios, strict=True))
    return Comparison("an epoch", "cpu", "2 CPU cores", times, by_epoch, goals)


def test_ratios_below_their_goal_are_listed(monkeypatch):
    monkeypatch.setattr(
        tables, "REASONS", {("an epoch", "cpu", "later"): "It is slow.", ("other", "cpu", "later"): "No."}
    )
    rows = [compared((2.4, 3.69), first=2.5, later=4.0), compared((9, 4), first=2.5, later=4.0)]
    assert tables.shortfalls(rows) == (
        "Goals that are missed:\n\n"
        "- an epoch, 2 CPU cores: 2.40x in the first epoch, goal 2.5x.\n"
        "- an epoch, 2 CPU cores: 3.69x in later epochs, goal 4x. It is slow."
    )


def test_a_goal_of_later_epochs_is_not_one_of_the_first():
    assert tables.shortfalls([compared((0.58, 5.9), later=3)]) == (
        "No goal is missed.\n\n"
        "First epochs without a goal of their own, below that of the later ones:\n\n"
        "- an epoch, 2 CPU cores: 0.580x in the first epoch, goal 3x."
    )
    assert tables.shortfalls([compared((3, 3), later=3)]) == "No goal is missed."


def test_page_lists_the_recorded_shortfalls():
    """Found in the records themselves."""
    short = set()
    for task, model in tables.MODELS.items():
        for file in (tables.ROOT / "results").glob(f"bench-{task}.*.json"):
            bench = json.loads(file.read_text("utf-8"))
            ours, peer = bench["epoch"]["course_utils"], bench["epoch"]["fastai"]
            slow = [epoch for epoch in ("first", "later") if peer[epoch] < bench["target"] * ours[epoch]]
            short |= {(f"an epoch of {model}", tables._on(bench), epoch) for epoch in slow}
    bench = json.loads((tables.ROOT / "results" / "bench-images.json").read_text("utf-8"))
    ours, peer = bench["loaders"]["course_utils"], bench["loaders"]["fastai"]
    slow = [epoch for epoch in ("first", "later") if ours[epoch] < bench["targets"][epoch] * peer[epoch]]
    short |= {("pictures, decoded and augmented", tables._on(bench), epoch) for epoch in slow}
    listed = re.findall(r"^- (.+), ([^,]+): .+x in (?:the )?(first|later) .+, goal .+x\.", tables.page(), re.MULTILINE)
    assert len(listed) == len(short)
    assert set(listed) == short


def test_reasons_belong_to_rows():
    assert {key[:2] for key in tables.REASONS} <= {(row.name, row.kind) for row in tables.comparisons()}
