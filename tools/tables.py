"""`make results`: writes results/README.md and the tables of README.md from the records in results/."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from tools import expected

__all__ = ["epoch_table", "lesson_table", "page", "preparation_line", "speed_table", "summary", "updated"]

ROOT = Path(__file__).resolve().parents[1]
ORIGINAL = tomllib.loads((ROOT / "nbs" / "original.toml").read_text("utf-8"))  # has every lesson
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

Under each table: the seconds from the start of the notebook to its last stage, the most memory that it took, and where
it ran; an asterisk behind a commit means that not everything was committed. Where the full data are an edition with
fewer pictures than in the video, the notebook records how many there were."""


def runs_of(lesson: str) -> dict[str, dict[str, Any]]:
    """The recorded runs of a lesson by title."""
    files = {title: ROOT / "results" / f"{lesson}.{run}.json" for run, title in RUNS.items()}
    return {title: json.loads(file.read_text("utf-8")) for title, file in files.items() if file.exists()}


def lesson_table(lesson: str) -> str:
    """Stage by stage: the video's number, then each recorded run of the lesson, as Markdown."""
    runs = runs_of(lesson)
    columns = [{name: stage["video"] for name, stage in ORIGINAL[lesson].items()}]
    columns += map(_values, runs.values())
    names = dict.fromkeys(name for column in columns[::-1] for name in column)
    rows = [[name, *(_number(column.get(name)) for column in columns)] for name in names]
    facts = {"seconds": _seconds, "peak memory, GB": _memory, "device": _device, "torch": _torch, "commit": _commit}
    rows += [[f"*{name}*", "", *map(fact, runs.values())] for name, fact in facts.items()]
    return _markdown([lesson, "video", *runs], rows)


def summary() -> str:
    """One row a lesson: its key result in the video and in each kind of recorded run, as Markdown."""
    rows = []
    for lesson in ORIGINAL:
        key, runs = EXPECTED[lesson]["key"], runs_of(lesson)
        video = ORIGINAL[lesson].get(key, {}).get("video")
        values = [_number(_values(runs[title]).get(key)) if title in runs else "" for title in RUNS.values()]
        rows.append([lesson, key, _number(video), *values, _seconds(runs["sample, CPU"])])
    return _markdown(["lesson", "stage", "video", *RUNS.values(), "seconds, sample"], rows)


def speed_table() -> str:
    """Pictures a second of each contender, and the ratio to fastai, as Markdown."""
    bench = json.loads((ROOT / "results" / "bench-images.json").read_text("utf-8"))
    rows = [
        [name, *(f"{row[epoch]:.0f} ({row['ratio'][epoch]:.1f}x)" for epoch in ("first", "later"))]
        for name, row in bench["loaders"].items()
    ]
    return _markdown(["pictures a second (ratio to fastai)", "first epoch", "later epochs"], rows)


def epoch_table() -> str:
    """Seconds of an epoch of each lesson's model by each contender, and the ratio to fastai, as Markdown."""
    rows = []
    for task, model in MODELS.items():
        for file in sorted((ROOT / "results").glob(f"bench-{task}.*.json")):
            bench = json.loads(file.read_text("utf-8"))
            on, peer = _device(bench).replace("cores", "CPU cores"), bench["epoch"]["fastai"]
            for name, row in bench["epoch"].items():
                times = [f"{row[e]:.2f} s ({peer[e] / row[e]:.1f}x)" for e in ("first", "later")]
                rows.append([f"{model}, {on}", name, *times])
    return _markdown(["an epoch of", "by (ratio to fastai)", "first", "later"], rows)


def preparation_line() -> str:
    """What it takes to go from the CSV files of lesson 3 to arrays, in a sentence."""
    bench = json.loads((ROOT / "results" / "bench-tables.json").read_text("utf-8"))
    gain = bench["elapsed"]["loop"] / bench["elapsed"]["whole_columns"]
    return (
        f"From the CSV files of lesson 3 to arrays, {bench['rows']:,} rows, {_device(bench)}: "
        f"{bench['seconds']:.0f} s, {bench['memory_gb']:.1f} GB at most. "
        f"`get_elapsed` is {gain:.0f} times as fast as a loop over the rows."
    )


def _values(run: dict[str, Any]) -> dict[str, float]:
    return {stage["name"]: stage["value"] for stage in run["stages"]}


def _number(value: float | None) -> str:
    if value is None or abs(value) < 2:
        return "" if value is None else f"{value:.2g}" if 0 < abs(value) < 5e-5 else f"{value:.4f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.2f}"


def _seconds(run: dict[str, Any]) -> str:
    return f"{run['stages'][-1]['seconds']:.0f}"


def _memory(run: dict[str, Any]) -> str:
    return f"{run['memory_gb']:.1f}" if "memory_gb" in run else ""


def _device(run: dict[str, Any]) -> str:
    return run["device"]["name"] if run["device"]["type"] == "cuda" else f"{run['threads']} cores"


def _torch(run: dict[str, Any]) -> str:
    return run["versions"]["torch"]


def _commit(run: dict[str, Any]) -> str:
    """The first seven digits; * after them: with changes that were not committed."""
    return (run["commit"] or "")[:7] + "*" * (run["commit"] or "").endswith("+changes")


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def page() -> str:
    """results/README.md: every stage of every lesson, then speed."""
    lessons = [f"## {lesson}\n\n{lesson_table(lesson)}" for lesson in ORIGINAL]
    speed = ["## Speed", "`make bench` measures it anew.", speed_table(), epoch_table(), preparation_line()]
    return "\n\n".join([INTRODUCTION, *lessons, *speed]) + "\n"


def updated(readme: str) -> str:
    """README.md with the tables between its markers made anew."""
    tables = {"results": summary(), "bench": "\n\n".join([speed_table(), preparation_line()])}
    for name, table in tables.items():
        start, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
        readme = re.sub(
            f"{start}.*?{end}", lambda _, t=table, s=start, e=end: f"{s}\n{t}\n{e}", readme, flags=re.DOTALL
        )
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(updated(file.read_text("utf-8")), "utf-8")
    (ROOT / "results" / "README.md").write_text(page(), "utf-8")
