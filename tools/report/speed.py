"""The table of speed, and the sentences beside it, from the records of `tools.bench`."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.report.markdown import number, table
from tools.report.records import RESULTS, Contender, Fit, Made, Speed, Tables, read

__all__ = [
    "Comparison",
    "comparisons",
    "overhead_line",
    "preparation_line",
    "shortfalls",
    "speed_table",
]

NAMES = {
    "pictures": "pictures, decoded and augmented",
    "cifar10": "an epoch of Resnet2",
    "rossmann": "an epoch of MixedInputModel",
    "movielens": "an epoch of EmbeddingDotBias",
    "awd-lstm": "an epoch of AWD-LSTM",
    "stateful-lstm": "an epoch of CharSeqStatefulLSTM",
}
EPOCHS = {"first": "the first epoch", "later": "later epochs"}
REASONS = {
    ("an epoch of Resnet2", "cuda", "first"): (
        "It decodes 30,000 files on the host, once; the later ones find them in the GPU's memory."
    )
}
"""Why a ratio is below its goal, where that is known: by name, kind of device, and epoch."""


@dataclass(frozen=True)
class Comparison:
    """A row of the table of speed."""

    name: str
    kind: str  # of device: cpu or cuda
    on: str  # the device, for people
    times: list[str]  # a later epoch by this course, bare PyTorch and fastai
    ratios: dict[str, float]  # to fastai, by epoch: first and later
    goals: dict[str, float]  # the least ratio of the epochs that have one

    def goal(self, epoch: str) -> float:
        """Its own, or that of the later epochs."""
        return self.goals.get(epoch, self.goals["later"])

    def is_short(self, epoch: str) -> bool:
        """Whether the ratio is below the goal."""
        return self.ratios[epoch] < self.goal(epoch)


def comparisons() -> list[Comparison]:
    """Every comparison with fastai that is recorded: of loading pictures, then of training."""
    found = []
    for task, name in NAMES.items():
        for file in sorted(RESULTS.glob(f"bench-{task}.*.json")):
            found.append(_comparison(name, read(Speed, file)))
    return found


def _comparison(name: str, bench: Speed) -> Comparison:
    ours, peer = bench.epoch["course_utils"], bench.epoch["fastai"]
    contenders = [ours, bench.epoch.get("plain"), peer]
    goals = {"later": bench.target}
    if bench.target_first is not None:
        goals = {"first": bench.target_first, "later": bench.target}
    return Comparison(
        name=name,
        kind=bench.device.type,
        on=_on(bench),
        times=[_time(contender, bench.pictures) for contender in contenders],
        ratios={"first": peer.first / ours.first, "later": peer.later / ours.later},
        goals=goals,
    )


def _time(contender: Contender | None, pictures: int | None) -> str:
    """Of a later epoch: pictures a second, or seconds."""
    if contender is None:
        return ""
    if pictures is not None:
        return f"{_short(pictures / contender.later)} a second"
    return f"{_short(contender.later)} s"


def _short(value: float) -> str:
    return number(value, digits=3)


def _on(made: Made) -> str:
    return made.place.replace(" core", " CPU core")


def speed_table(rows: Sequence[Comparison]) -> str:
    """Times of a later epoch, ratios of the first and of a later one, and their goals."""
    head = ["", "on", "this course", "bare PyTorch", "fastai 2.8"]
    head += ["ratio, first epoch", "ratio, later epochs", "goal"]
    cells = []
    for row in rows:
        ratios = [f"{_short(ratio)}x" for ratio in row.ratios.values()]
        goals = ", ".join(f"{epoch} {goal:g}x" for epoch, goal in row.goals.items())
        cells.append([row.name, row.on, *row.times, *ratios, goals])
    return table(head, cells)


def shortfalls(rows: Sequence[Comparison]) -> str:
    """The ratios below their goal, then the first epochs below the goal of the later ones."""
    missed: list[str] = []
    others: list[str] = []
    for row in rows:
        for epoch in row.ratios:
            if row.is_short(epoch):
                lines = missed if epoch in row.goals else others
                lines.append(_shortfall(row, epoch))
    parts = ["Goals that are missed:", "\n".join(missed)] if missed else ["No goal is missed."]
    if others:
        parts.append("First epochs without a goal of their own, below that of the later ones:")
        parts.append("\n".join(others))
    return "\n\n".join(parts)


def _shortfall(row: Comparison, epoch: str) -> str:
    ratio, goal = _short(row.ratios[epoch]), row.goal(epoch)
    line = f"- {row.name}, {row.on}: {ratio}x in {EPOCHS[epoch]}, goal {goal:g}x."
    reason = REASONS.get((row.name, row.kind, epoch))
    return f"{line} {reason}" if reason else line


def overhead_line() -> str:
    """What `Learner.fit` costs beside the bare loop, in a sentence."""
    bench = read(Fit, RESULTS / "bench-fit.cpu.json")
    times = bench.epoch["course_utils"].later / bench.epoch["plain"].later
    return (
        f"On {_on(bench)}, `Learner.fit` takes {_short(times)} of the time of the bare loop "
        f"over the same batches of pictures (goal: at most {bench.at_most:g})."
    )


def preparation_line() -> str:
    """What it takes to go from the CSV files of lesson 3 to arrays, in a sentence."""
    bench = read(Tables, RESULTS / "bench-tables.json")
    gain = bench.elapsed.loop / bench.elapsed.whole_columns
    limits = bench.limits
    return (
        f"From the CSV files of lesson 3 to arrays, {bench.rows:,} rows, {bench.place}: "
        f"{bench.seconds:.0f} s, {bench.memory_gb:.1f} GB at most "
        f"(goal: {limits.seconds:g} s, {limits.memory_gb:g} GB). "
        f"`get_elapsed` is {gain:.0f} times as fast as a loop over the rows "
        f"(goal: {limits.times_a_loop:g})."
    )
