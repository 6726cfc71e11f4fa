"""`make results`: writes results/README.md and the tables of README.md from the records in results/."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools import expected

__all__ = [
    "Comparison",
    "comparisons",
    "lesson_table",
    "lessons",
    "overhead_line",
    "page",
    "preparation_line",
    "shortfalls",
    "speed_table",
    "summary",
    "updated",
]

ROOT = Path(__file__).resolve().parents[1]
ORIGINAL = expected.load(expected.ORIGINAL)  # has every lesson
EXPECTED = expected.load(expected.EXPECTED)
MODELS = {
    "cifar10": "Resnet2",
    "rossmann": "MixedInputModel",
    "movielens": "EmbeddingDotBias",
    "awd-lstm": "AWD-LSTM",
    "stateful-lstm": "CharSeqStatefulLSTM",
}
RUNS = {"sample.cpu": "sample, CPU", "full.cpu": "full data, CPU", "full.cuda": "full data, GPU"}

INTRODUCTION = """\
# Results

Written by `make results` from the records beside this page, each made by the run that it tells of. A test fails when
this page or a number in README.md differs from them. Stand-ins (drawn animals, coloured digits, simulated sales,
another text) show that the code works; their numbers say nothing about the real data. What each is made of:
[data/README.md](../data/README.md).

Under "original" stands what the video's notebook shows; in `2017/`, what the notebooks of that edition show. Measured
values have four digits, counts all of theirs.

Under each table: the seconds from the start of the notebook to its last stage, the most memory that it took, and where
it ran; an asterisk behind a commit means that not everything was committed. Where the full data are an edition with
fewer pictures than in the video, the notebook records how many there were."""

SPEED = """\
`make bench` measures it anew: each contender in processes of its own, in turn, medians of the rounds. "Bare PyTorch" is
the plain loop over the same batches, for pictures torchvision's own loading."""
COLUMNS = "Rates and seconds are those of a later epoch; a ratio says how many times as fast as fastai this course is."
REASONS = {
    (
        "an epoch of Resnet2",
        "cuda",
        "first",
    ): "It decodes 30,000 files on the host, once; the later ones find them in the GPU's memory."
}
"""Why a ratio is below its goal, where that is known: by name, kind of device, and epoch."""


class Comparison(NamedTuple):
    """A row of the table of speed."""

    name: str
    kind: str  # of device: cpu or cuda
    on: str  # the device, for people
    times: list[str]  # a later epoch by this course, bare PyTorch and fastai
    ratios: dict[str, float]  # to fastai, by epoch: first and later
    goals: dict[str, float]  # the least ratio of the epochs that have one


def lessons() -> list[str]:
    """Every lesson, in the order of the lists in README.md."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return sorted(ORIGINAL, key=lambda lesson: readme.index(f"(nbs/{lesson}.ipynb)"))


def runs_of(lesson: str) -> dict[str, dict[str, Any]]:
    """The recorded runs of a lesson by title."""
    files = {title: ROOT / "results" / f"{lesson}.{run}.json" for run, title in RUNS.items()}
    return {
        title: json.loads(file.read_text("utf-8")) for title, file in files.items() if file.exists()
    }


def lesson_table(lesson: str) -> str:
    """Stage by stage: the original's number, then each recorded run of the lesson, as Markdown."""
    runs = runs_of(lesson)
    columns = [{name: stage["video"] for name, stage in ORIGINAL[lesson].items()}]
    columns += map(_values, runs.values())
    names = dict.fromkeys(name for column in columns[::-1] for name in column)
    rows = [[name, *_numbers([column.get(name) for column in columns])] for name in names]
    facts = {
        "seconds": _seconds,
        "peak memory, GB": _memory,
        "device": _device,
        "torch": _torch,
        "commit": _commit,
    }
    rows += [[f"*{name}*", "", *map(fact, runs.values())] for name, fact in facts.items()]
    return _markdown([lesson, "original", *runs], rows)


def summary() -> str:
    """One row a lesson: its key result in the original and in each kind of recorded run, as Markdown."""
    rows = []
    for lesson in lessons():
        key, runs = EXPECTED[lesson]["key"], runs_of(lesson)
        video = ORIGINAL[lesson].get(key, {}).get("video")
        values = [
            _values(runs[title]).get(key) if title in runs else None for title in RUNS.values()
        ]
        rows.append([lesson, key, *_numbers([video, *values]), _seconds(runs["sample, CPU"])])
    return _markdown(["lesson", "stage", "original", *RUNS.values(), "seconds, sample"], rows)


def comparisons() -> list[Comparison]:
    """Every comparison with fastai that is recorded: of loading pictures, then of training."""
    files = {
        model: sorted((ROOT / "results").glob(f"bench-{task}.*.json"))
        for task, model in MODELS.items()
    }
    return [_pictures(), *(_epoch(model, file) for model, found in files.items() for file in found)]


def _pictures() -> Comparison:
    bench = json.loads((ROOT / "results" / "bench-images.json").read_text("utf-8"))
    ours, peer, bare = (
        bench["loaders"][name] for name in ("course_utils", "fastai", "torchvision")
    )
    rates = [f"{_number(row['later'], digits=3)} a second" for row in (ours, bare, peer)]
    ratios = {epoch: ours[epoch] / peer[epoch] for epoch in ("first", "later")}
    goals = {epoch: bench["targets"][epoch] for epoch in ratios}
    return Comparison(
        "pictures, decoded and augmented", bench["device"]["type"], _on(bench), rates, ratios, goals
    )


def _epoch(model: str, file: Path) -> Comparison:
    bench = json.loads(file.read_text("utf-8"))
    ours, peer, bare = (bench["epoch"].get(name) for name in ("course_utils", "fastai", "plain"))
    times = [f"{_number(row['later'], digits=3)} s" if row else "" for row in (ours, bare, peer)]
    ratios = {epoch: peer[epoch] / ours[epoch] for epoch in ("first", "later")}
    goals = {"later": bench["target"]}
    return Comparison(
        f"an epoch of {model}", bench["device"]["type"], _on(bench), times, ratios, goals
    )


def speed_table(rows: Sequence[Comparison]) -> str:
    """Times of a later epoch, ratios of the first and of a later one, and their goals, as Markdown."""
    head = [
        "",
        "on",
        "this course",
        "bare PyTorch",
        "fastai 2.8",
        "ratio, first epoch",
        "ratio, later epochs",
        "goal",
    ]
    return _markdown(
        head, [[row.name, row.on, *row.times, *_ratios(row), _goals(row)] for row in rows]
    )


def _ratios(row: Comparison) -> list[str]:
    return [f"{_number(ratio, digits=3)}x" for ratio in row.ratios.values()]


def _goals(row: Comparison) -> str:
    return ", ".join(f"{epoch} {goal:g}x" for epoch, goal in row.goals.items())


def shortfalls(rows: Sequence[Comparison]) -> str:
    """The ratios below their goal, then the first epochs below the goal of the later ones, as Markdown."""
    short = [
        (row, epoch)
        for row in rows
        for epoch, ratio in row.ratios.items()
        if ratio < _goal(row, epoch)
    ]
    missed = [_shortfall(row, epoch) for row, epoch in short if epoch in row.goals]
    others = [_shortfall(row, epoch) for row, epoch in short if epoch not in row.goals]
    parts = ["Goals that are missed:", "\n".join(missed)] if missed else ["No goal is missed."]
    if others:
        parts += [
            "First epochs without a goal of their own, below that of the later ones:",
            "\n".join(others),
        ]
    return "\n\n".join(parts)


def _goal(row: Comparison, epoch: str) -> float:
    return row.goals.get(epoch, row.goals["later"])


def _shortfall(row: Comparison, epoch: str) -> str:
    when = {"first": "the first epoch", "later": "later epochs"}[epoch]
    ratio = _number(row.ratios[epoch], digits=3)
    line = f"- {row.name}, {row.on}: {ratio}x in {when}, goal {_goal(row, epoch):g}x."
    return " ".join([line, *filter(None, [REASONS.get((row.name, row.kind, epoch))])])


def overhead_line() -> str:
    """What `Learner.fit` costs beside the bare loop, in a sentence."""
    bench = json.loads((ROOT / "results" / "bench-images.json").read_text("utf-8"))
    times = bench["fit"]["fit"] / bench["fit"]["plain"]
    goal = 1 + bench["targets"]["fit_overhead_percent"] / 100
    return (
        f"On {_on(bench)}, `Learner.fit` takes {_number(times, digits=3)} of the time of the bare loop over the same "
        f"batches of pictures (goal: at most {goal:g})."
    )


def preparation_line() -> str:
    """What it takes to go from the CSV files of lesson 3 to arrays, in a sentence."""
    bench = json.loads((ROOT / "results" / "bench-tables.json").read_text("utf-8"))
    gain = bench["elapsed"]["loop"] / bench["elapsed"]["whole_columns"]
    return (
        f"From the CSV files of lesson 3 to arrays, {bench['rows']:,} rows, {_device(bench)}: "
        f"{bench['seconds']:.0f} s, {bench['memory_gb']:.1f} GB at most (goal: {bench['limits']['seconds']} s, "
        f"{bench['limits']['memory_gb']} GB). `get_elapsed` is {gain:.0f} times as fast as a loop over the rows "
        f"(goal: {bench['limits']['times_a_loop']})."
    )


def _values(run: dict[str, Any]) -> dict[str, float]:
    return {stage["name"]: stage["value"] for stage in run["stages"]}


def _numbers(values: Sequence[float | None]) -> list[str]:
    """The cells of a stage: whole numbers if all of them are, but for rounding."""
    whole = all(value is None or math.isclose(value, round(value)) for value in values)
    return [_number(round(value) if whole and value is not None else value) for value in values]


def _number(value: float | None, digits: int = 4) -> str:
    """Integers, and 0, in full; other numbers with so many digits."""
    if value is None:
        return ""
    if isinstance(value, int) or value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def _seconds(run: dict[str, Any]) -> str:
    return f"{run['stages'][-1]['seconds']:,.0f}"


def _memory(run: dict[str, Any]) -> str:
    return f"{run['memory_gb']:.1f}" if "memory_gb" in run else ""


def _device(run: dict[str, Any]) -> str:
    cores = f"{run['threads']} core{'s' * (run['threads'] != 1)}"
    return run["device"]["name"] if run["device"]["type"] == "cuda" else cores


def _on(run: dict[str, Any]) -> str:
    return _device(run).replace(" core", " CPU core")


def _torch(run: dict[str, Any]) -> str:
    return run["versions"]["torch"]


def _commit(run: dict[str, Any]) -> str:
    """The first seven digits; * after them: with changes that were not committed."""
    return (run["commit"] or "")[:7] + "*" * (run["commit"] or "").endswith("+changes")


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def page() -> str:
    """results/README.md: every stage of every lesson, then speed."""
    sections = [f"## {lesson}\n\n{lesson_table(lesson)}" for lesson in lessons()]
    rows = comparisons()
    return (
        "\n\n".join([INTRODUCTION, *sections, "## Speed", SPEED, *_speed(rows), shortfalls(rows)])
        + "\n"
    )


def _speed(rows: Sequence[Comparison]) -> list[str]:
    return [COLUMNS, speed_table(rows), overhead_line(), preparation_line()]


def updated(readme: str) -> str:
    """README.md with the tables between its markers made anew."""
    tables = {"results": summary(), "bench": "\n\n".join(_speed(comparisons()))}
    for name, table in tables.items():
        start, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
        readme = re.sub(
            f"{start}.*?{end}",
            lambda _, t=table, s=start, e=end: f"{s}\n{t}\n{e}",
            readme,
            flags=re.DOTALL,
        )
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(updated(file.read_text("utf-8")), "utf-8")
    (ROOT / "results" / "README.md").write_text(page(), "utf-8")
