"""The table of epochs, in text and in a notebook."""

import html
import math
from types import SimpleNamespace

import pytest

from course_utils import progress
from course_utils.progress import EpochTable


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now.time))
    return now


def epoch(table, clock, values, n=3, seconds=2.0):
    for _ in table.track(range(n)):
        clock.time += seconds / n
    table.write(values)


def test_text_has_the_names_once_and_a_row_an_epoch(capsys, clock):
    table = EpochTable(["trn_loss", "val_loss"], 3)
    for k in range(3):
        epoch(table, clock, [0.5 + k, 0.25 + k])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["trn_loss", "val_loss", "seconds"],
        ["0", "0.50000", "0.25000", "2.0"],
        ["1", "1.50000", "1.25000", "2.0"],
        ["2", "2.50000", "2.25000", "2.0"],
    ]


def test_large_numbers_and_none_at_all(capsys, clock):
    for value, shown in ((9999.5, "9999.50000"), (-9999.5, "-9999.50000"), (1e4, "1.0e+04"), (-1e4, "-1.0e+04")):
        epoch(EpochTable(["trn_loss"], 1), clock, [value])
        assert capsys.readouterr().out.split()[-2] == shown
    epoch(EpochTable(["trn_loss"], 1), clock, [123456.0])
    assert capsys.readouterr().out.split()[-2:] == ["1.2e+05", "2.0"]
    epoch(EpochTable(["trn_loss"], 1), clock, [math.nan])
    assert "NaN" in capsys.readouterr().out


def test_seconds_have_one_decimal_and_rows_stand_under_their_names(capsys, clock):
    """Each row is printed when its epoch ends, before anybody knows the next."""
    table = EpochTable(["trn_loss", "val_loss"], 3)
    for loss, seconds in ((0.5, 2.34), (150.25, 61.06), (-12.0, 0.0)):
        epoch(table, clock, [loss, -loss], seconds=seconds)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["seconds", "2.3", "61.1", "0.0"]
    assert len({len(line) for line in lines}) == 1


def test_two_metrics_of_one_name_have_a_column_each(capsys, clock):
    epoch(EpochTable(["trn_loss", "top", "top"], 1), clock, [1.0, 2.0, 3.0])
    assert capsys.readouterr().out.split()[-4:] == ["1.00000", "2.00000", "3.00000", "2.0"]


@pytest.fixture
def shown(monkeypatch):
    """What a notebook shows: the table's HTML after each change of it."""
    pages = []
    handle = SimpleNamespace(update=lambda table: pages.append(table._repr_html_()))
    monkeypatch.setattr(progress, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(progress, "display", lambda table, display_id: handle if display_id else None)
    return pages


def test_a_notebook_shows_a_bar_once_a_second_and_the_row_at_the_end(shown, clock, capsys):
    table = EpochTable(["trn_loss"], 2)
    epoch(table, clock, [0.5], n=10, seconds=4.0)  # drawn at the first batch, then every third
    bars = [page for page in shown if "<progress" in page]
    assert [page.split("</progress> ")[1] for page in bars] == ["0/10", "3/10", "6/10", "9/10"]
    assert "epoch 1 of 2 <progress value=3 max=10>" in bars[1]
    assert shown[-1].endswith("</table>")
    assert "<td>0.50000</td>" in shown[-1].replace("\n", "")
    assert capsys.readouterr().out == ""
    table.draw()
    assert shown[-1].endswith("</table>")


def test_a_loader_without_a_length_shows_how_far_it_is(shown, clock):
    table = EpochTable(["trn_loss"], 1)

    class Endless:
        def __len__(self):
            raise TypeError("no length")  # as PyTorch's loader of an IterableDataset

        def __iter__(self):
            return iter(range(2))

    for loader in (Endless(), (i for i in range(2))):
        for _ in table.track(loader):
            clock.time += 2
        assert shown[-1].endswith("epoch 1 of 1 1")


def test_names_of_metrics_are_shown_as_text(shown, clock):
    evil = "<script>alert(1)</script>"
    epoch(EpochTable([evil, "<img src=x onerror=alert(1)>"], 1), clock, [1.0, 2.0])
    assert "<script" not in shown[-1]
    assert "<img" not in shown[-1]
    assert f"<th>{html.escape(evil)}</th>" in shown[-1]
