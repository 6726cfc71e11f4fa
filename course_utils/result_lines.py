"""A recorded number as a notebook shows it: a quiet line where it is earned, a table at the end.

What is shown follows from the facts in the metadata of the output, and from the records: so
`make results` renews saved outputs (tools/report/outputs.py).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import display
from markupsafe import Markup

from .beside import (
    Real,
    Seeds,
    is_the_same_on_all_data,
    original_of,
    real_runs,
    seeds_of,
    source_of,
    words_of,
)
from .shown import styled_html

__all__ = ["KEY", "Line", "ResultsTable", "number", "renewed", "show", "spread"]

KEY = "course_utils"  # of the facts in the metadata of an output
MUTED = "color: #777777"  # to be read on white and on black
COUNTS = {3: "three", 5: "five", 10: "ten"}
WHY = "why they can differ"


def number(value: float) -> str:
    """Whole numbers in full, others with four significant digits at most, tiny ones with two."""
    if value.is_integer():
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def spread(seeds: Seeds) -> str:
    """Mean ± standard deviation; the latter has one digit, the mean as many places as it has.

    "57 each" where all seeds gave the same.
    """
    if seeds.sd == 0:
        return f"{number(seeds.mean)} each"
    places = max(0, -math.floor(math.log10(seeds.sd)))
    return f"{seeds.mean:,.{places}f} ± {seeds.sd:,.{places}f}"


@dataclass(frozen=True)
class Line:
    """A stage of this run, and what stands beside it."""

    lesson: str
    size: str
    stage: str
    value: float

    def beside(self) -> str:
        """Seeds in brackets, real data, the original; empty where there is none of them.

        What is the same on all data stands beside the original alone.
        """
        seeds = seeds_of(self.lesson, self.stage, self.size)
        original = self._of_original()
        if is_the_same_on_all_data(self.lesson, self.stage):
            return f"· {original}" if original else ""
        others = [*(self._of_real(run) for run in real_runs(self.lesson, self.size)), original]
        there = [text for text in others if text]
        if seeds is None and not there:
            return ""
        return " · ".join([self._about(seeds), *there]).strip()

    def _about(self, seeds: Seeds | None) -> str:
        about = [words_of(self.lesson).of(self.size)]
        if seeds is not None:
            about.append(f"{_count(seeds)} seeds {spread(seeds)}")
        return f"({'; '.join(filter(None, about))})" if any(about) else ""

    def _of_real(self, run: Real) -> str:
        value = run.value(self.stage)
        if value is None:
            return ""
        if self.stage == words_of(self.lesson).counted:
            return run.on  # which says the number
        seeds = run.seeds.get(self.stage)
        if seeds is None:
            return f"{number(value)} with {run.on}"
        return f"{spread(seeds)} with {run.on} ({_count(seeds)} seeds)"

    def _of_original(self) -> str:
        video = original_of(self.lesson, self.stage).get("video")
        if video is None:
            return ""
        source = source_of(self.lesson)
        where = source if source.startswith("in ") else f"in {source}"
        return f"{number(float(video))} {where}"

    def __repr__(self) -> str:
        return f"{self.stage}: {number(self.value)} here {self.beside()}".rstrip()

    def _repr_html_(self) -> str:
        line = Markup('<div>{}: <b>{}</b> <span style="{}">{}</span></div>')
        muted = f"here {self.beside()}".rstrip()
        return str(line.format(self.stage, number(self.value), MUTED, muted))


@dataclass(frozen=True)
class ResultsTable:
    """The stages of this run, name to value, in the columns of their lines."""

    lesson: str
    size: str
    stages: dict[str, float]

    @property
    def data(self) -> pd.DataFrame:
        """A row a stage; a column only for what the lesson has."""
        originals = {stage: original_of(self.lesson, stage) for stage in self.stages}
        columns: dict[str, Any] = {"this run": pd.Series(self.stages, dtype=float)}
        columns |= self._of_seeds()
        columns |= self._of_real_data()
        videos = {stage: keys.get("video") for stage, keys in originals.items()}
        columns[source_of(self.lesson)] = pd.Series(videos, dtype=float)
        whys = {stage: keys.get("why", "") for stage, keys in originals.items()}
        columns[WHY] = pd.Series(whys, dtype=object)
        table = pd.DataFrame(columns, index=pd.Index(self.stages, name="stage", dtype=object))
        return table.reset_index()

    def _of_seeds(self) -> dict[str, pd.Series]:
        found = {stage: seeds_of(self.lesson, stage, self.size) for stage in self.stages}
        there = [seeds for seeds in found.values() if seeds is not None]
        if not there:
            return {}
        texts = {stage: "" if seeds is None else spread(seeds) for stage, seeds in found.items()}
        counts = {_count(seeds) for seeds in there}
        return {f"{_one_of(counts)} seeds": pd.Series(texts, dtype=object)}

    def _of_real_data(self) -> dict[str, pd.Series]:
        columns = {}
        for run in real_runs(self.lesson, self.size):
            values = {stage: run.value(stage) for stage in self.stages}
            if all(value is None for value in values.values()):
                continue
            if not run.seeds:
                columns[f"with {run.on}"] = pd.Series(values, dtype=float)
                continue
            counts = {_count(seeds) for seeds in run.seeds.values()}
            texts = {stage: _mean_or_value(run, stage) for stage in self.stages}
            columns[f"with {run.on}, ± over {_one_of(counts)} seeds"] = pd.Series(
                texts, dtype=object
            )
        return columns

    def to_html(self) -> str:
        """The table; its words are text, whatever stands in them."""
        data = self.data
        numbers = list(data.select_dtypes("number"))
        left = Markup('<div style="text-align: left">{}</div>').format  # escapes what it is given
        styled = data.style.hide(axis="index").set_uuid("results")  # the same each time
        styled = styled.format(number, subset=numbers, na_rep="")  # JupyterLab drops style sheets
        styled = styled.format(left, subset=["stage", WHY])
        return styled_html(styled) or ""

    def __repr__(self) -> str:
        data = self.data.drop(columns=WHY)  # whole sentences: the page has room for them
        formats = dict.fromkeys(data.select_dtypes("number"), number)
        return data.to_string(index=False, formatters=formats, na_rep="")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, str], dict[str, Any]]:
        stages = [list(stage) for stage in self.stages.items()]  # files of notebooks sort names
        return _bundle(self), {KEY: asdict(self) | {"stages": stages}}


def show(line: Line) -> None:
    """Display a line where IPython runs; elsewhere, in a plain process, nothing."""
    if get_ipython() is not None:
        display(_bundle(line), metadata={KEY: asdict(line)}, raw=True)


def renewed(facts: dict[str, Any]) -> dict[str, str]:
    """MIME type to what is shown now, from the facts in the metadata of an output."""
    if "stage" in facts:
        return _bundle(Line(**facts))
    return _bundle(ResultsTable(facts["lesson"], facts["size"], dict(facts["stages"])))


def _count(seeds: Seeds) -> str:
    """How many there are, in a word where it is a usual number."""
    return COUNTS.get(seeds.n, str(seeds.n))


def _one_of(counts: set[str]) -> str:
    return next(iter(counts)) if len(counts) == 1 else "several"


def _mean_or_value(run: Real, stage: str) -> str:
    """What several seeds gave; the one number where they agree, or there is one seed."""
    if stage in run.seeds:
        return spread(run.seeds[stage])
    value = run.value(stage)
    return "" if value is None else number(float(value))


def _bundle(shown: Line | ResultsTable) -> dict[str, str]:
    return {"text/plain": repr(shown), "text/html": shown._repr_html_()}
