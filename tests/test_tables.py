"""The pages made from the records: results/README.md and the tables of README.md."""

import json
import re
from decimal import Context, Decimal

import pytest

from tools import ROOT, run
from tools.report import __main__ as report
from tools.report import lessons, markdown, records, speed
from tools.report.speed import Comparison
from tools.run.verdict import load_originals

LESSONS = list(load_originals())


def cells(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_pages_show_the_records():
    """Whoever records a result anew must run `make results`."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert report.updated(readme) == readme
    assert (ROOT / "results" / "README.md").read_text("utf-8") == report.page()


@pytest.mark.parametrize("lesson", LESSONS)
def test_readme_shows_the_key_result_of_each_lesson(lesson):
    readme = (ROOT / "README.md").read_text("utf-8")
    (row,) = [line for line in readme.splitlines() if line.startswith(f"| {lesson} ")]
    _, key, _, shown, *_ = cells(row)
    record = json.loads((ROOT / f"results/{lesson}.sample.cpu.json").read_text("utf-8"))
    value = next(stage["value"] for stage in record["stages"] if stage["name"] == key)
    assert float(shown.replace(",", "")) == pytest.approx(value, rel=5.1e-4)


def test_every_lesson_has_its_table():
    assert set(LESSONS) == set(run.find(run.NOTEBOOKS))


@pytest.mark.parametrize("lesson", LESSONS)
def test_table_holds_every_recorded_value(lesson):
    record = json.loads((ROOT / f"results/{lesson}.sample.cpu.json").read_text("utf-8"))
    head, _, *rows = map(cells, lessons.lesson_table(lesson).splitlines())
    column = head.index("sample, CPU")
    by_name = {row[0]: row[column] for row in rows}
    for stage in record["stages"]:
        shown = float(by_name[stage["name"]].replace(",", ""))
        assert shown == pytest.approx(stage["value"], rel=5.1e-4, abs=0)


def test_updating_replaces_what_was_there():
    readme = "a\n<!-- results: made by `make results` -->\nold\n<!-- end of results -->\nb"
    assert re.search("old", report.updated(readme)) is None
    assert report.updated(report.updated(readme)) == report.updated(readme)


def test_rows_stand_in_the_order_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[[^]]+\]\(nbs/([^)]+)\.ipynb\)", readme, re.MULTILINE)
    summarised = [cells(line)[0] for line in lessons.summary().splitlines()[2:]]
    assert summarised == re.findall("^## (.+)", report.page(), re.MULTILINE)[:-1] == listed


def test_tables_are_markdown():
    shown = markdown.table(["lesson", ""], [["a", "1.20"], ["longer than b", ""]])
    assert [cells(line) for line in shown.splitlines()] == [
        ["lesson", ""],
        ["-" * 15, "-" * 6],
        ["a", "1.20"],
        ["longer than b", ""],
    ]


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
    assert markdown.number(value) == shown


@pytest.mark.parametrize("digits", [3, 4])
def test_numbers_are_rounded_as_decimal_rounds_them(digits):
    for exponent in range(-18, digits - 1):
        value = 8.127364519 * 10.0**exponent
        rounded = Context(prec=digits).create_decimal(repr(value))
        assert Decimal(markdown.number(value, digits)).as_tuple() == rounded.as_tuple()


def test_a_stage_of_whole_numbers_has_integers():
    assert markdown.numbers([None, 0.0]) == ["", "0"]
    assert markdown.numbers([16.0, 16.000000000000004]) == ["16", "16"]
    assert markdown.numbers([1.0, 5.0, 61505.0]) == ["1", "5", "61,505"]
    assert markdown.numbers([0.9536, 1.0]) == ["0.9536", "1.000"]
    assert markdown.numbers([0.0, 1.49e-8]) == ["0", "1.490e-08"]


# --- records ---


def made(kind: str = "cpu", name: str = "x86_64", threads: int = 2) -> dict:
    device = {"type": kind, "name": name}
    return {"device": device, "versions": {}, "commit": None, "data": None, "threads": threads, "started": ""}


@pytest.mark.parametrize(("threads", "place"), [(1, "1 core"), (2, "2 cores")])
def test_one_core_is_singular(tmp_path, threads, place):
    (tmp_path / "r.json").write_text(json.dumps(made(threads=threads)))
    assert records.read(records.Made, tmp_path / "r.json").place == place


def test_a_gpu_has_a_name(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(made("cuda", "NVIDIA H200", 1)))
    assert records.read(records.Made, tmp_path / "r.json").place == "NVIDIA H200"


def within(part: object, whole: object) -> bool:
    """Whether all that `part` says stands in `whole`."""
    if isinstance(part, dict):
        return all(within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return all(within(one, other) for one, other in zip(part, whole, strict=True))
    return part == whole


@pytest.mark.parametrize("file", sorted((ROOT / "results").rglob("*.json")), ids=lambda file: file.stem)
def test_every_record_is_read_whole(file, tmp_path):
    """Written again, it says at least what it said."""
    fixed = {"bench-tables": records.Tables, "bench-fit.cpu": records.Fit}
    kind = fixed.get(file.stem, records.Speed if file.stem.startswith("bench-") else records.Run)
    records.write(records.read(kind, file), tmp_path / "again.json")
    assert within(*(json.loads(path.read_text("utf-8")) for path in (file, tmp_path / "again.json")))


# --- speed ---


def compared(ratios: tuple[float, float], **goals: float) -> Comparison:
    times, by_epoch = ["1 s", "", "2 s"], dict(zip(("first", "later"), ratios, strict=True))
    return Comparison("an epoch", "cpu", "2 CPU cores", times, by_epoch, goals)


def test_ratios_below_their_goal_are_listed(monkeypatch):
    monkeypatch.setattr(
        speed, "REASONS", {("an epoch", "cpu", "later"): "It is slow.", ("other", "cpu", "later"): "No."}
    )
    rows = [compared((2.4, 3.69), first=2.5, later=4.0), compared((9, 4), first=2.5, later=4.0)]
    assert speed.shortfalls(rows) == (
        "Goals that are missed:\n\n"
        "- an epoch, 2 CPU cores: 2.40x in the first epoch, goal 2.5x.\n"
        "- an epoch, 2 CPU cores: 3.69x in later epochs, goal 4x. It is slow."
    )


def test_a_goal_of_later_epochs_is_not_one_of_the_first():
    assert speed.shortfalls([compared((0.58, 5.9), later=3)]) == (
        "No goal is missed.\n\n"
        "First epochs without a goal of their own, below that of the later ones:\n\n"
        "- an epoch, 2 CPU cores: 0.580x in the first epoch, goal 3x."
    )
    assert speed.shortfalls([compared((3, 3), later=3)]) == "No goal is missed."


def test_page_lists_the_recorded_shortfalls():
    """Found in the records themselves."""
    short = set()
    for task, name in speed.NAMES.items():
        for file in (ROOT / "results").glob(f"bench-{task}.*.json"):
            bench = json.loads(file.read_text("utf-8"))
            ours, peer = bench["epoch"]["course_utils"], bench["epoch"]["fastai"]
            goals = {"first": bench.get("target_first") or bench["target"], "later": bench["target"]}
            on = speed._on(records.read(records.Speed, file))
            short |= {(name, on, epoch) for epoch, goal in goals.items() if peer[epoch] < goal * ours[epoch]}
    listed = re.findall(r"^- (.+), ([^,]+): .+x in (?:the )?(first|later) .+, goal .+x\.", report.page(), re.MULTILINE)
    assert len(listed) == len(short)
    assert set(listed) == short


def test_pictures_have_a_rate_and_the_others_seconds():
    contender = records.Contender(first=2.0, later=0.5, rounds=[])
    assert speed._time(contender, 512) == "1,024 a second"
    assert speed._time(contender, None) == "0.500 s"
    assert speed._time(None, 512) == ""


def test_reasons_belong_to_rows():
    assert {key[:2] for key in speed.REASONS} <= {(row.name, row.kind) for row in speed.comparisons()}
