"""Saved outputs of notebooks agree with the records: no number of real data without one."""

import json
import re

import pytest
from support import cell

from course_utils import beside
from course_utils.result_lines import KEY, Line, number, renewed, spread
from tools import run
from tools.report.outputs import lines_of, with_outputs
from tools.report.records import runs

ALL = run.find(run.NOTEBOOKS, solutions=True)
FACTS = {"lesson": "lesson1-dogscats", "size": "sample", "stage": "fine-tuned accuracy", "value": 0.9449999928474426}
TABLE = {"lesson": "lesson1-dogscats", "size": "sample", "stages": [["fine-tuned accuracy", 0.945], ["a", 1.0]]}


@pytest.mark.parametrize("name", ALL)
def test_committed_outputs_agree_with_the_records(name):
    saved = ALL[name].read_text("utf-8")
    assert with_outputs(saved) == saved, "run `make results`"


@pytest.mark.parametrize("name", ALL)
def test_every_committed_number_of_real_data_is_recorded(name):
    """Read from the lines themselves, not made anew."""
    for output in lines_of(json.loads(ALL[name].read_text("utf-8"))):
        facts = output["metadata"][KEY]
        if "stage" in facts:
            recorded = real_values(facts["lesson"], facts["stage"])
            assert set(real_numbers("".join(output["data"]["text/plain"]))) <= recorded


def real_numbers(line: str) -> list[str]:
    """What a line says of real data: "… · 0.992 with 2,002 photos · …"."""
    return re.findall(r" · (\S+(?: ± \S+)?) with ", line)


def real_values(lesson: str, stage: str) -> set[str]:
    """What records of real data say of a stage: each alone, and the seeds of each size together."""
    found = [record for size in beside.REAL_SIZES for record in runs(beside.RESULTS, lesson, size)]
    alone = {number(record.values[stage]) for record in found if stage in record.values}
    seeds = [beside.seeds_of(lesson, stage, size) for size in beside.REAL_SIZES]
    return alone | {spread(several) for several in seeds if several is not None}


def test_a_number_of_real_data_in_a_line_is_found():
    line = repr(Line(**FACTS))
    assert real_numbers(line)
    assert set(real_numbers(line)) <= real_values("lesson1-dogscats", "fine-tuned accuracy")
    assert real_numbers("a: 1 here (drawn) · 0.5 with photos (small set) · 0.25 with 9 photos · 3 in the video") == [
        "0.5",
        "0.25",
    ]
    assert real_numbers("a: 1 here · 0.71 ± 0.01 with 9 photos (three seeds) · 3 in the video") == ["0.71 ± 0.01"]


def saved(*data: dict, kind: str = "display_data") -> str:
    """A notebook with an output for each of these facts, and one of somebody else, as nbformat writes it."""
    code = cell("code", "record(…)")
    code["outputs"] = [{"data": {"text/plain": ["ä"]}, "metadata": {}, "output_type": kind}]
    for facts in data:
        shown = {mime: text.splitlines(keepends=True) for mime, text in sorted(renewed(facts).items())}
        code["outputs"].append({"data": shown, "metadata": {KEY: facts}, "output_type": kind})
    return json.dumps({"cells": [cell("markdown", "# é"), code]}, indent=1, ensure_ascii=False) + "\n"


def test_what_agrees_stays_as_it_is_to_the_byte():
    for notebook in (saved(), saved(FACTS), saved(FACTS, TABLE), '{"cells":   []}'):
        assert with_outputs(notebook) == notebook


def test_a_new_record_renews_lines_and_tables_and_nothing_else(tmp_path, monkeypatch):
    before = saved(FACTS, TABLE)
    stages = [{"name": "fine-tuned accuracy", "value": 0.875, "seconds": 1}]
    told = {"lesson": "lesson1-dogscats", "size": "full", "seed": 42, "started": "2026", "stages": stages}
    told["device"] = {"type": "cpu"}
    (tmp_path / "lesson1-dogscats.full.cpu.json").write_text(json.dumps(told))
    monkeypatch.setattr(beside, "RESULTS", tmp_path)
    after = with_outputs(before)
    assert after != before
    assert after == saved(FACTS, TABLE)  # as a run would have left it now
    line, table = lines_of(json.loads(after))
    assert " · 0.875 with photos · " in "".join(line["data"]["text/plain"])
    assert ">0.875<" in "".join(table["data"]["text/html"])
    assert with_outputs(after) == after
