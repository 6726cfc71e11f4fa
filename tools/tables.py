"""`make results`: writes results/README.md and the tables of README.md from the records in results/."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from tools import expected

__all__ = ["lesson_table", "overhead_line", "page", "preparation_line", "speed_table", "summary", "updated"]

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

SPEED = """\
`make bench` measures it anew: each contender in processes of its own, in turn, medians of the rounds. "Bare PyTorch" is
the plain loop over the same batches, for pictures torchvision's own loading."""
SHORT = """\
Where it falls short: a first epoch of CIFAR-10 on a GPU decodes 30,000 files on the host, once; the later ones find
them in its memory."""


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
    """Every comparison with fastai: times of a later epoch, ratios of the first and of a later one, as Markdown."""
    bench = json.loads((ROOT / "results" / "bench-images.json").read_text("utf-8"))
    ours, peer, bare = (bench["loaders"][name] for name in ("course_utils", "fastai", "torchvision"))
    rates = [f"{row['later']:,.0f} a second" for row in (ours, bare, peer)]
    goals = [f"{bench['targets'][epoch]:g}x" for epoch in ("first", "later")]
    ratios = [f"{ours['ratio'][epoch]:.1f}x" for epoch in ("first", "later")]
    rows = [["pictures, decoded and augmented", _on(bench), *rates, *ratios, " and ".join(goals)]]
    for task, model in MODELS.items():
        rows += [_epoch_row(model, file) for file in sorted((ROOT / "results").glob(f"bench-{task}.*.json"))]
    head = ["", "on", "this course", "bare PyTorch", "fastai 2.8", "ratio, first epoch", "ratio, later epochs", "goal"]
    return _markdown(head, rows)


def _epoch_row(model: str, file: Path) -> list[str]:
    bench = json.loads(file.read_text("utf-8"))
    ours, peer, bare = (bench["epoch"].get(name) for name in ("course_utils", "fastai", "plain"))
    times = [(row and f"{row['later']:.2f} s") or "" for row in (ours, bare, peer)]
    ratios = [f"{peer[epoch] / ours[epoch]:.1f}x" for epoch in ("first", "later")]
    return [f"an epoch of {model}", _on(bench), *times, *ratios, f"{bench['target']:g}x"]


def overhead_line() -> str:
    """What `Learner.fit` costs beside the bare loop, in a sentence."""
    bench = json.loads((ROOT / "results" / "bench-images.json").read_text("utf-8"))
    times = bench["fit"]["fit"] / bench["fit"]["plain"]
    goal = 1 + bench["targets"]["fit_overhead_percent"] / 100
    return (
        f"`Learner.fit` takes {times:.2f} of the time of the bare loop over the same batches (goal: at most {goal:g})."
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


def _on(run: dict[str, Any]) -> str:
    return _device(run).replace("cores", "CPU cores")


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
    return "\n\n".join([INTRODUCTION, *lessons, "## Speed", SPEED, *_speed(), SHORT]) + "\n"


def _speed() -> list[str]:
    return [speed_table(), overhead_line(), preparation_line()]


def updated(readme: str) -> str:
    """README.md with the tables between its markers made anew."""
    tables = {"results": summary(), "bench": "\n\n".join(_speed())}
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
