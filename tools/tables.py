"""`make results`: writes the tables of README.md from the records in results/."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["epoch_table", "lesson_table", "preparation_line", "speed_table", "updated"]

ROOT = Path(__file__).resolve().parents[1]
ORIGINAL = tomllib.loads((ROOT / "nbs" / "original.toml").read_text("utf-8"))  # has every lesson
MODELS = {
    "cifar10": "Resnet2",
    "rossmann": "MixedInputModel",
    "movielens": "EmbeddingDotBias",
    "awd-lstm": "AWD-LSTM",
    "stateful-lstm": "CharSeqStatefulLSTM",
}
RUNS = {"sample.cpu": "sample, CPU", "full.cpu": "full data, CPU", "full.cuda": "full data, GPU"}


def lesson_table(lesson: str) -> str:
    """Stage by stage: the video's number, then each recorded run of the lesson, as Markdown."""
    files = {title: ROOT / "results" / f"{lesson}.{run}.json" for run, title in RUNS.items()}
    runs = {title: json.loads(file.read_text("utf-8")) for title, file in files.items() if file.exists()}
    columns = [{name: stage["video"] for name, stage in ORIGINAL[lesson].items()}]
    columns += [{stage["name"]: stage["value"] for stage in run["stages"]} for run in runs.values()]
    names = dict.fromkeys(name for column in columns[::-1] for name in column)
    rows = [[name, *(_number(column.get(name)) for column in columns)] for name in names]
    rows.append(["seconds for the notebook", "", *(f"{run['stages'][-1]['seconds']:.0f}" for run in runs.values())])
    rows.append(["device", "", *map(_device, runs.values())])
    return _markdown([lesson, "video", *runs], rows)


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


def _number(value: float | None) -> str:
    if value is None or value < 2:
        return "" if value is None else f"{value:.4f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.2f}"


def _device(run: dict[str, Any]) -> str:
    return run["device"]["name"] if run["device"]["type"] == "cuda" else f"{run['threads']} cores"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def updated(readme: str) -> str:
    """README.md with the tables between its markers made anew."""
    tables = {
        "results": "\n\n".join(map(lesson_table, ORIGINAL)),
        "bench": "\n\n".join([speed_table(), epoch_table(), preparation_line()]),
    }
    for name, table in tables.items():
        start, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
        readme = re.sub(
            f"{start}.*?{end}", lambda _, t=table, s=start, e=end: f"{s}\n{t}\n{e}", readme, flags=re.DOTALL
        )
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(updated(file.read_text("utf-8")), "utf-8")
