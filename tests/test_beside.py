"""What stands beside a recorded number: in the line, in the table, and nowhere without a record."""

import json
import math
import os
import subprocess
import sys

import pytest

from course_utils import beside, result_lines, results
from course_utils.beside import Seeds, Words, real_runs, seeds_of, words_of
from course_utils.result_lines import KEY, MUTED, Line, ResultsTable, number, renewed, spread
from course_utils.results import begin, record, results_table
from tools import run
from tools.run.verdict import load_expected, load_originals

EXPECTED = """
[animals]
key = "accuracy"
[animals.stages.accuracy]
seeds = [1, 2, 3, 4, 5]
mean = 0.953
sd = 0.00447
[animals.stages.accuracy.small]
seeds = [1, 2, 3]
mean = 0.9712
sd = 0.012
[animals.stages.exactly]
exact = 2
[animals.stages."rounding error"]
seeds = [1, 2, 3, 4, 5]
mean = 0.0
sd = 0.0
"""
ORIGINAL = '[animals.accuracy]\nvideo = 0.9917\nwhy = "other photos"\n'
WORDS = '[a]\nlessons = ["animals"]\nsample = "drawn"\nreal = "photos"\ncounted = "pictures"\n'
NUMBERS = {0.9449999: "0.945", 0.99: "0.99", 1303.78: "1,304", 999.96: "1,000", 34426698.0: "34,426,698"}
NUMBERS |= {0.0: "0", -0.25: "-0.25", 5.364e-7: "5.4e-07", 0.00012346: "0.0001235", 12.3456: "12.35", 1.0: "1"}


def put_record(
    size: str,
    device: str = "cpu",
    started: str = "2026-01-01",
    lesson: str = "animals",
    seed: int = 42,
    **stages: float,
):
    folder = beside.RESULTS if seed == 42 else beside.RESULTS / "seeds" / str(seed)
    file = folder / f"{lesson}.{size}.{device}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    told = [{"name": name, "value": value, "seconds": 1} for name, value in stages.items()]
    run = {"lesson": lesson, "size": size, "seed": seed, "device": {"type": device}, "started": started}
    file.write_text(json.dumps({**run, "stages": told}))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A lesson "animals" with its records, expectations, words and original."""
    for name, text in {"EXPECTED": EXPECTED, "ORIGINAL": ORIGINAL, "WORDS": WORDS}.items():
        file = tmp_path / name
        file.write_text(text)
        monkeypatch.setattr(beside, name, file)
    monkeypatch.setattr(beside, "RESULTS", tmp_path / "results")
    return tmp_path


@pytest.fixture
def shown(tmp_path, monkeypatch) -> list[tuple]:
    """(data, metadata) of what is displayed, as under IPython; records go to a folder of the test."""
    found: list[tuple] = []
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "records"))
    monkeypatch.setattr(results, "_run", {})
    monkeypatch.setattr(result_lines, "get_ipython", object)
    monkeypatch.setattr(result_lines, "display", lambda data, metadata, raw: found.append((data, metadata)))
    return found


@pytest.mark.parametrize(("value", "text"), NUMBERS.items())
def test_numbers_by_hand(value, text):
    assert number(value) == text


@pytest.mark.parametrize("value", [0.12345678, 9.87654321, 123.456789, 0.00123456, 99999.0, 0.5])
def test_a_number_is_read_back_to_four_digits(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.953, 0.00447, "0.953 ± 0.004"),
        (0.30726, 0.0602, "0.31 ± 0.06"),
        (71.3, 12.2, "71 ± 12"),
        (0.5, 0, "0.5 each"),
    ],
)
def test_a_spread_has_the_digits_that_it_is_sure_of(mean, sd, text):
    assert spread(Seeds(5, mean, sd)) == text


def test_a_line_with_all_that_there_can_be(checkout):
    put_record("full", accuracy=0.99, pictures=2002)
    put_record("small", accuracy=0.98)
    told = "accuracy: 0.945 here (drawn; five seeds 0.953 ± 0.004)"
    told += " · 0.97 ± 0.01 with photos (small set) (three seeds) · 0.99 with 2,002 photos"
    assert repr(Line("animals", "sample", "accuracy", 0.945)) == f"{told} · 0.9917 in the video"


def test_a_run_on_real_data_has_the_other_size_beside_it(checkout):
    put_record("full", accuracy=0.99, pictures=2002)
    put_record("small", accuracy=0.98, pictures=600)
    small = "accuracy: 0.97 here (photos; three seeds 0.97 ± 0.01) · 0.99 with 2,002 photos · 0.9917 in the video"
    assert repr(Line("animals", "small", "accuracy", 0.97)) == small
    assert repr(Line("animals", "full", "accuracy", 0.97)).split(" · ")[0] == "accuracy: 0.97 here (photos)"
    assert "0.97 ± 0.01 with 600 photos (three seeds)" in repr(Line("animals", "full", "accuracy", 0.97))


def test_records_of_other_seeds_make_a_mean_and_a_spread(checkout):
    for seed, accuracy in {42: 0.990, 1: 0.992, 2: 0.994}.items():
        times = {"seconds of training": 60.0 + seed, "gain at equal seconds": accuracy - 0.5}
        put_record("full", "cuda", seed=seed, accuracy=accuracy, pictures=2002, **times)
    put_record("full", "cpu", seed=3, accuracy=0.5, pictures=2002)  # another kind of device
    (run,) = real_runs("animals", "sample")
    spread_of_both = pytest.approx(0.002)
    assert run.seeds == {
        "accuracy": Seeds(3, pytest.approx(0.992), spread_of_both),
        "gain at equal seconds": Seeds(3, pytest.approx(0.492), spread_of_both),
    }
    assert " · 0.992 ± 0.002 with 2,002 photos (three seeds) · " in repr(Line("animals", "sample", "accuracy", 0.9))
    assert "(photos; three seeds 0.992 ± 0.002)" in repr(Line("animals", "full", "accuracy", 0.99))
    table = ResultsTable("animals", "sample", {"accuracy": 0.945, "pictures": 600.0}).data.set_index("stage")
    assert table["with 2,002 photos, ± over three seeds"].to_dict() == {
        "accuracy": "0.992 ± 0.002",
        "pictures": "2,002",
    }


def test_arithmetic_has_no_data_beside_it(checkout):
    put_record("full", exactly=2.0, pictures=2002)
    assert repr(Line("animals", "sample", "exactly", 2.0)) == "exactly: 2 here"


def test_places_stay_empty(checkout):
    assert repr(Line("animals", "sample", "rounding error", 1.6e-6)) == "rounding error: 1.6e-06 here"
    assert repr(Line("animals", "sample", "seconds", 1.5)) == "seconds: 1.5 here"
    assert repr(Line("animals", "sample", "exactly", 2.0)) == "exactly: 2 here"
    assert repr(Line("other", "sample", "accuracy", 0.5)) == "accuracy: 0.5 here"
    put_record("full", accuracy=0.99, pictures=2002)
    assert repr(Line("animals", "sample", "pictures", 400.0)) == "pictures: 400 here (drawn) · 2,002 photos"


def test_the_newest_of_several_devices_and_only_of_this_lesson(checkout):
    put_record("full", "cpu", "2026-02-01", accuracy=0.98)
    put_record("full", "cuda", "2026-01-01", accuracy=0.99)
    put_record("full", "cuda", "2026-03-01", "animals.full", accuracy=0.1)
    put_record("full", "cuda", "2026-03-01", "animals-2", accuracy=0.1)
    (real,) = real_runs("animals", "sample")
    assert (real.value("accuracy"), real.value("nothing"), real.on) == (0.98, None, "photos")


def test_a_new_record_is_read_within_the_same_process(checkout):
    put_record("full", accuracy=0.9)
    assert "0.9 with" in repr(Line("animals", "sample", "accuracy", 0.5))
    put_record("full", accuracy=0.8)
    file = beside.RESULTS / "animals.full.cpu.json"
    os.utime(file, ns=(1, 1))  # another time, however coarse the clock
    assert "0.8 with" in repr(Line("animals", "sample", "accuracy", 0.5))


def test_the_line_is_displayed_as_text_and_as_html_that_is_escaped(checkout, shown):
    begin("animals")
    assert record("<b> & c", 0.5) is None
    ((data, metadata),) = shown
    assert data["text/plain"] == "<b> & c: 0.5 here"
    assert data["text/html"] == f'<div>&lt;b&gt; &amp; c: <b>0.5</b> <span style="{MUTED}">here</span></div>'
    assert metadata == {KEY: {"lesson": "animals", "size": "sample", "stage": "<b> & c", "value": 0.5}}
    assert json.loads(json.dumps(metadata)) == metadata


def contrast(colour: str, ground: str) -> float:
    """Of the Web Content Accessibility Guidelines: 1 to 21."""

    def luminance(text: str) -> float:
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(colour), luminance(ground)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#111111", "#131416"])
def test_the_quiet_colour_is_read_on_light_and_on_dark(ground):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast(MUTED.removeprefix("color: "), ground) > 4


def test_nothing_is_said_in_a_plain_process(checkout, capsys, shown, monkeypatch):
    monkeypatch.setattr(result_lines, "get_ipython", lambda: None)
    begin("animals")
    record("accuracy", 0.5)
    assert shown == []
    assert capsys.readouterr().out == ""


def test_a_terminal_shows_a_line_each_and_no_none(tmp_path):
    code = "from course_utils.results import begin, record\nbegin('tiny')\n"
    code += "for n in 'ab':\n    record(n, 1)\nrecord('c', 2)"
    command = [sys.executable, "-m", "IPython", "--quick", "--no-banner", "-c", code]
    environment = os.environ | {"COURSE_RESULTS": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=beside.ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n") == ["a: 1 here", "b: 1 here", "c: 2 here", ""], done.stderr


def test_the_table_has_the_same_columns(checkout, shown):
    put_record("full", accuracy=0.99, pictures=2002)
    begin("animals")
    record("accuracy", 0.945)
    record("<b>", 3)
    table = results_table()
    heads = ["stage", "this run", "five seeds", "with 2,002 photos", "the video", "why they can differ"]
    assert list(table.data) == heads
    assert list(table.data.iloc[0]) == ["accuracy", 0.945, "0.953 ± 0.004", 0.99, 0.9917, "other photos"]
    assert [str(value) for value in table.data.iloc[1]] == ["<b>", "3.0", "", "nan", "nan", ""]
    assert "0.953 ± 0.004" in repr(table)
    assert "nan" not in repr(table) + table.to_html()
    assert "&lt;b&gt;" in table.to_html()
    assert table.to_html() == table.to_html()  # no random names: saved outputs change only with numbers


def test_what_is_shown_follows_from_the_metadata(checkout, shown):
    begin("animals")
    record("accuracy", 0.945)
    record("a", 1)
    data, metadata = results_table()._repr_mimebundle_()
    for made, facts in (*shown, (data, metadata)):
        assert renewed(json.loads(json.dumps(facts[KEY], sort_keys=True))) == made  # as nbformat
    put_record("full", accuracy=0.99)
    assert "0.99 with photos" in renewed(shown[0][1][KEY])["text/plain"]
    assert "with photos" in renewed(metadata[KEY])["text/html"]


def test_away_from_a_checkout_places_stay_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(beside, "EXPECTED", tmp_path / "tests" / "expected.toml")
    line = repr(Line("lesson1-dogscats", "sample", "fine-tuned accuracy", 0.945))
    assert line == "fine-tuned accuracy: 0.945 here (drawn) · 0.9917 in the video"
    heads = ["stage", "this run", "the video", "why they can differ"]
    assert list(ResultsTable("lesson1-dogscats", "sample", {"fine-tuned accuracy": 1.0}).data) == heads


# The numbers of this course

LESSONS = list(run.find(run.NOTEBOOKS))


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_data_of_every_lesson_have_a_name(lesson):
    assert words_of(lesson) != Words()
    assert words_of(f"solutions/{lesson}") == words_of(lesson)


def test_seeds_are_those_that_the_runner_reads():
    for lesson, told in load_expected().items():
        for name, stage in told.stages.items():
            found = seeds_of(lesson, name, "sample")
            if getattr(stage, "mean", None) is None or stage.mean == stage.sd == 0:
                assert found is None
            else:
                assert found == Seeds(len(stage.seeds), stage.mean, stage.sd)


def test_every_line_can_be_made():
    """Of each stage of the originals and of the floors: one line, nothing in it that is no number."""
    originals, expected = load_originals(), load_expected()
    for lesson in LESSONS:
        for stage in {**originals.get(lesson, {}), **expected[lesson].stages}:
            line = repr(Line(lesson, "sample", stage, math.pi))
            assert line.startswith(f"{stage}: 3.142 here")
            assert not any(word in line for word in ("nan", "None", "\n"))
