"""tools.run and tools.floors on tiny notebooks: real kernels, no lesson."""

import errno
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import papermill.engines
import psutil
import pytest
from waiting import until

from tools import floors
from tools.run import __main__ as command
from tools.run import execute, find, pool
from tools.run.verdict import EXPECTED as EXPECTED_FILE
from tools.run.verdict import Exact, Floor, Original, load_expected, problems

ROOT = Path(__file__).resolve().parents[1]
HIGHER = Floor(better="higher", baseline=0.5, margin=0.2, resolution=0.01)
LOWER = Floor(better="lower", baseline=0.7, margin=0.1, resolution=0.01)

EXPECTED = """\
[tiny]
key = "accuracy"

# a remark that stays
[tiny.stages."accuracy"]
better = "higher"
baseline = 0.5
margin = 0.2
resolution = 0.01
floor = 0.85
"""


@pytest.fixture
def course(tmp_path, notebook):
    """A folder with one notebook that records accuracy 0.9, and what it must reach: 0.85."""
    notebook(tmp_path / "nbs" / "tiny.ipynb")
    (tmp_path / "expected.toml").write_text(EXPECTED)
    return tmp_path


def line(course: Path, *more: str) -> list[str]:
    """The command line for `course`."""
    folders = {"--notebooks": "nbs", "--expected": "expected.toml", "--out": "out"}
    folders["--original"] = "original.toml"
    return [word for k, v in folders.items() for word in (k, str(course / v))] + list(more)


def test_a_run_prints_its_table_and_keeps_notebook_and_record(course, capfd):
    assert command.main(line(course, "--seed", "7")) == 0
    printed = capfd.readouterr().out
    row = next(row for row in printed.splitlines() if "accuracy" in row)
    assert row.split()[0] == "tiny"
    assert row.split()[5:] == ["accuracy", "0.9", "0.85", "-", "ok"]
    assert "tiny: started" in printed
    (record,) = (course / "out" / "results").glob("tiny.sample.*.json")
    assert '"seed": 7' in record.read_text()
    assert (course / "out" / "tiny.ipynb").exists()
    assert [path.name for path in (course / "out").glob(".*")] == [".lock"]


def test_threads_memory_and_place_reach_the_kernel(course, notebook):
    body = """\
import os, torch
from dataclasses import replace
from functools import partial
from pathlib import Path
from course_utils.results import begin, record
begin("tiny", SIZE, SEED)
hog = bytearray(os.urandom(1)) * (700 * 2**20)
record("threads", torch.get_num_threads())
record("here", float(Path("tiny.ipynb").exists()))"""
    path = notebook(course / "nbs" / "tiny.ipynb", [body]).resolve()
    task = execute.Task("tiny", path, course / "out", {"SIZE": "sample"}, threads=1)
    (outcome,) = pool.run_all([task], jobs=1)
    assert outcome.error == ""
    assert outcome.recorded == {"threads": 1.0, "here": 1.0}
    assert 0.7 < outcome.memory_gb < 2


def test_a_failing_cell_is_shown_in_full(course, notebook, capfd):
    notebook(course / "nbs" / "raises.ipynb", ["mark = 'the cell'\n1 / 0"])
    notebook(course / "nbs" / "dies.ipynb", ["mark = 'another'\nimport os; os._exit(1)"])
    assert command.main(line(course)) == 1
    printed = capfd.readouterr().out
    for word in ("mark = 'the cell'", "1 / 0", "ZeroDivisionError", "division by zero"):
        assert word in printed
    for word in ("mark = 'another'", "os._exit(1)", "DeadKernelError"):
        assert word in printed
    assert "raises: a cell failed" in printed
    assert "dies: a cell failed" in printed
    assert "accuracy 0.9" in printed  # the other notebook went on


def test_a_notebook_is_not_saved_at_every_cell(tmp_path, monkeypatch, notebook):
    """Papermill would save twice for each; a notebook of 20 cells is saved as often as one of two: once."""
    saves, save = [], execute._save
    monkeypatch.setattr(papermill.engines, "write_ipynb", lambda *_: saves.append("papermill"))
    monkeypatch.setattr(execute, "_save", lambda made, file: (saves.append(file.stem), save(made, file)))
    for n in (2, 20):
        file = notebook(tmp_path / f"{n}.ipynb", ["6 * 7"] * n)
        task = execute.Task(str(n), file, tmp_path / "out", {"SIZE": "sample"}, 1)
        assert execute._failure(task) == execute.Failure("", "")
        last = json.loads((tmp_path / "out" / f"{n}.ipynb").read_text("utf-8"))["cells"][-1]
        assert "".join(last["outputs"][0]["data"]["text/plain"]) == "42"
    assert saves == ["2", "20"]


def test_a_cell_over_its_time_fails(course, notebook, monkeypatch):
    path = notebook(course / "nbs" / "tiny.ipynb", ["import time; time.sleep(60)"]).resolve()
    monkeypatch.setitem(execute.CELL_TIMEOUT, "sample", 2)
    for name, value in execute.kernel_environment(course / "out", 1).items():
        monkeypatch.setenv(name, value)  # what `execute` sets here goes again with the test
    task = execute.Task("tiny", path, course / "out", {"SIZE": "sample"}, 1)
    outcome = execute.execute(task)  # in this process, so that the patch holds
    assert "timed out" in outcome.error
    assert "time.sleep(60)" in outcome.error


@pytest.fixture
def executed(monkeypatch) -> None:
    """The runner takes this for what came of the notebook, and executes nothing."""
    outcome = execute.Outcome("tiny", seconds=9, memory_gb=None, error="", recorded={"accuracy": 0.9})
    monkeypatch.setattr(command, "run_all", lambda tasks, jobs: [outcome])


def test_a_missing_stage_fails(course, executed, capfd):
    (course / "original.toml").write_text('[tiny."TTA accuracy"]\nvideo = 0.9\nwhy = "not recorded"\n')
    assert command.main(line(course)) == 1
    assert "tiny: stage 'TTA accuracy' is not recorded" in capfd.readouterr().out


def test_a_spoiled_result_fails_its_floor(course, capfd):
    """What test_a_run_prints_its_table_… sees pass, with a worse accuracy."""
    assert command.main(line(course, "-p", "ACCURACY", "0.84")) == 1
    assert "'accuracy' is 0.84, worse than 0.85" in capfd.readouterr().out


def test_what_a_notebook_took_is_shown(course, executed, capfd):
    """Memory is that of its record, where there is one."""
    assert command.main(line(course)) == 0
    row = next(row for row in capfd.readouterr().out.splitlines() if "accuracy" in row)
    assert row.split() == ["tiny", "9", "s", "-", "accuracy", "0.9", "0.85", "-", "ok"]


def test_solutions_run_only_when_asked_for(course, notebook):
    for name in ("solutions/tiny", "2017/old", "other/no", ".ipynb_checkpoints/tiny"):
        notebook(course / "nbs" / f"{name}.ipynb")
    assert list(find(course / "nbs")) == ["tiny", "2017/old"]
    assert list(find(course / "nbs", solutions=True)) == ["tiny", "2017/old", "solutions/tiny"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "tniy"], "run: no notebook tniy; there are: tiny\n"),
        (
            ["-p", "EPOCHS", "3"],
            "run: tiny has no parameter EPOCHS; it has: ACCURACY, SEED, SIZE\n",
        ),
        (["-p", "SIZE", "full"], "run: give SIZE with --size, not with -p\n"),
    ],
)
def test_a_wrong_line_is_refused_before_anything_runs(course, capsys, more, message):
    assert command.main(line(course, *more)) == 2
    assert capsys.readouterr().err == message
    assert not (course / "out").exists()


def test_an_empty_folder_is_named(tmp_path, capsys):
    assert command.main(["--notebooks", str(tmp_path)]) == 2
    assert f"there are no notebooks in {tmp_path}" in capsys.readouterr().err


def test_a_broken_file_is_named(course, capsys):
    (course / "nbs" / "tiny.ipynb").write_text("{")
    assert command.main(line(course)) == 2
    assert "run: tiny is no notebook" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ['{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}', "half a note"]
)
def test_what_somebody_else_has_made_is_not_written_over(course, capsys, content):
    users = course / "out" / "tiny.ipynb"
    users.parent.mkdir()
    users.write_text(content)
    assert command.main(line(course)) == 2
    assert f"run: {users} is not the copy of an earlier run: move it away" in capsys.readouterr().err
    assert users.read_text() == content


def test_lessons_are_not_written_over(course, capsys):
    before = (course / "nbs" / "tiny.ipynb").read_bytes()
    assert command.main(line(course, "--out", str(course / "nbs"))) == 2
    assert "is not the copy of an earlier run" in capsys.readouterr().err
    assert (course / "nbs" / "tiny.ipynb").read_bytes() == before


def test_only_leftovers_of_our_own_are_cleared_away(tmp_path):
    """What a killed run has left where it writes; nothing that merely looks alike, nothing elsewhere."""
    ours = [".a.ipynb.0123abcd.part", "2017/.a.ipynb.0123abcd.part", "results/.a.sample.cpu.json.0123abcd.part"]
    ours += ["solutions/2017/.a b.ipynb.0123abcd.part", "results/2017/.a.full.cuda.json.0123abcd.part"]
    users = [".draft.ipynb", ".draft.part", "2017/.draft.ipynb", "results/.draft.part", "a.ipynb.0123abcd.part"]
    users += ["deep/.a.ipynb.0123abcd.part", "2017/deep/.a.ipynb.0123abcd.part", ".a.ipynb.0123abc.part"]
    users += [".a.ipynb.0123abcg.part", ".a.pt.0123abcd.part", ".a.ipynb.12345.part", ".tiny.4711.ipynb"]
    for name in ours + users:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    (tmp_path / ".b.ipynb.0123abcd.part").mkdir()
    (tmp_path / ".c.ipynb.0123abcd.part").symlink_to("a.ipynb.0123abcd.part")
    with pool.alone(tmp_path):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock"} == {*users, ".c.ipynb.0123abcd.part"}
    assert (tmp_path / ".b.ipynb.0123abcd.part").is_dir()


def test_any_name_of_a_notebook(course, notebook, capfd):
    """The records of others, which such a name stands for in a pattern, stay, and are not taken for its own."""
    names = ["a[1]", "a{1}", "b{", "c *?"]
    for name in names:
        body = f"from course_utils.results import begin, record\nbegin({name!r}, SIZE, SEED)\nrecord('accuracy', 0.5)"
        notebook(course / "nbs" / f"{name}.ipynb", [body])
    results = course / "out" / "results"
    results.mkdir(parents=True)
    others = [results / f"{other}.sample.cpu.json" for other in ("a1", "c xyz", "a[1].sample.b")]
    for other in others:
        other.write_text("of another")
    assert command.main(line(course, "--only", *names)) == 0, capfd.readouterr().out
    for name in names:
        assert (course / "out" / f"{name}.ipynb").exists()
        (run,) = execute.records(course / "out", name, "sample")
        assert run.values == {"accuracy": 0.5}
    assert [other.read_text() for other in others] == ["of another"] * 3


def test_weights_of_a_run_lie_apart_from_those_of_a_learner(tmp_path, monkeypatch):
    """Beside the data lie those that were saved in JupyterLab; the next run into the same folder finds its own."""
    assert execute.kernel_environment(tmp_path, 1)["COURSE_WORK"] == str(tmp_path / "work")
    monkeypatch.setenv("COURSE_WORK", "chosen")
    assert execute.kernel_environment(tmp_path, 1)["COURSE_WORK"] == "chosen"


# --- what goes wrong: a process is killed, a disk is full ---

WAITS = """\
import os, time
from pathlib import Path
Path("{name}.tmp").write_text(f"{{os.getppid()}} {{os.getpid()}}")
Path("{name}.tmp").rename("{name}.pids")
while not Path("go").exists():
    time.sleep(0.1)"""


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("which", ["worker", "kernel"])
def test_a_killed_process_costs_its_own_notebook_only(course, notebook, which):
    """As when the memory runs out: another notebook is running then, and a third one waits for its turn."""
    for name in ("big", "small"):
        notebook(course / "nbs" / f"{name}.ipynb", [WAITS.format(name=name), "mark = 'never shown'"])
    start = [sys.executable, "-m", "tools.run", *line(course, "--jobs", "2")]
    run = subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    files = [course / "nbs" / f"{name}.pids" for name in ("big", "small")]
    until(lambda: all(file.exists() for file in files))
    pids = dict(zip(("worker", "kernel"), map(int, files[0].read_text().split()), strict=True))
    os.kill(pids[which], signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids.values()))
    (course / "nbs" / "go").touch()
    out, err = run.communicate()
    assert run.returncode == 1, err
    rows = {row.split()[0]: row.split()[-1] for row in out.splitlines() if row.endswith((" ok", " FAILED"))}
    assert rows == {"big": "FAILED", "small": "ok", "tiny": "ok"}
    said = [row for row in out.splitlines() if row.startswith("big: ")][-1]
    assert (
        said
        == {
            "worker": "big: its process was killed, most likely because the memory ran out",
            "kernel": "big: a cell failed, its kernel died (ended by the cell, or killed because the memory ran out): "
            "it is printed below",
        }[which]
    )
    assert ("time.sleep(0.1)" in out) == (which == "kernel")  # the cell that ran, not one after it
    assert "never shown" not in out
    assert "Traceback" not in err


class Full(io.FileIO):
    """A file on a disk that takes `room` bytes more; a silent one does not tell."""

    room = 0
    silent = False

    def write(self, content: bytes) -> int:
        super().write(content[: self.room])
        if not self.silent:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(content)


@pytest.mark.parametrize("silent", [True, False])
def test_a_full_disk_never_leaves_a_cut_notebook(tmp_path, monkeypatch, notebook, silent):
    """At twenty points of writing; the copy of an earlier run stays, and nothing half-written."""
    made = nbformat.read(notebook(tmp_path / "nbs" / "tiny.ipynb"), 4)
    file = tmp_path / "out" / "tiny.ipynb"
    execute._save(made, file)
    before = file.read_bytes()
    assert nbformat.reads(before.decode(), 4) == made
    made.cells[0].source = "# Another"
    monkeypatch.setattr(execute, "open", Full, raising=False)
    monkeypatch.setattr(Full, "silent", silent)
    size = len(nbformat.writes(made).encode())
    for point in range(20):
        monkeypatch.setattr(Full, "room", point * (size - 1) // 19)
        with pytest.raises(OSError, match=r"No space left|not what is there"):
            execute._save(made, file)
        assert file.read_bytes() == before
        assert [path.name for path in file.parent.iterdir()] == ["tiny.ipynb"]


@pytest.mark.parametrize("body", ["6 * 7", "1 / 0", "raise OSError(28, 'No space left on device')"])
def test_a_run_says_that_the_disk_is_full(course, notebook, monkeypatch, body):
    path = notebook(course / "nbs" / "tiny.ipynb", [body]).resolve()
    for name, value in execute.kernel_environment(course / "out", 1).items():
        monkeypatch.setenv(name, value)  # what `execute` sets here goes again with the test
    task = execute.Task("tiny", path, course / "out", {"SIZE": "sample"}, 1)
    if "28" in body:
        assert execute.execute(task).reason == "a cell failed, the disk is full: it is printed below"
        return
    earlier = execute.execute(task)
    assert earlier.reason == ("a cell failed: it is printed below" if "0" in body else "")
    before = task.executed.read_bytes()
    monkeypatch.setattr(execute, "open", Full, raising=False)
    monkeypatch.setattr(Full, "room", 1000)
    outcome = execute.execute(task)
    assert outcome.reason == f"the disk is full: {task.executed} is as it was before the run"
    assert ("ZeroDivisionError" in outcome.error) == ("0" in body)
    assert task.executed.read_bytes() == before


KILLS = 4


def test_runs_killed_at_any_moment(course):
    """kill -9: nothing half-written under a name of its own, nothing of the user's changed, the next run ends well."""
    assert command.main(line(course)) == 0
    out = course / "out"
    users = {"mine.ipynb": "{}", ".draft.ipynb": "a note", "results/mine.json": "{}", "2017/.x.part": "half"}
    for name, content in users.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(content)
    moments = random.Random(0)
    start = [sys.executable, "-m", "tools.run", *line(course)]
    quiet = {"cwd": ROOT, "start_new_session": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(KILLS):
        run = subprocess.Popen(start, **quiet)
        time.sleep(moments.uniform(0, 6))  # anywhere between start and end, on whatever machine
        started = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
        run.kill()
        run.wait()
        until(lambda started=started: not any(alive(process.pid) for process in started))
        cells = json.loads((out / "tiny.ipynb").read_text("utf-8"))["cells"]
        assert [c["execution_count"] for c in cells if c["cell_type"] == "code"] == [1, 2, 3]
        for record in (out / "results").glob("tiny.*"):
            assert json.loads(record.read_text("utf-8"))["lesson"] == "tiny"
    assert command.main(line(course)) == 0
    assert {name: (out / name).read_text() for name in users} == users
    left = {path.relative_to(out).as_posix() for path in out.rglob(".*")}
    assert left == {".lock", ".draft.ipynb", "2017/.x.part"}


def test_two_at_a_time_share_the_cores(course, notebook, monkeypatch):
    notebook(course / "nbs" / "second.ipynb")
    monkeypatch.setattr(command, "cpu_count", lambda: 8)
    tasks = command.tasks_for(command.parser().parse_args(line(course)))
    assert [task.threads for task in tasks] == [4, 4]
    tasks = command.tasks_for(command.parser().parse_args(line(course, "--only", "tiny")))
    assert [task.threads for task in tasks] == [8]


@pytest.mark.parametrize("whole_group", [True, False], ids=["ctrl-c", "kill -INT"])
def test_an_interrupt_ends_the_kernels(course, notebook, whole_group):
    body = "import time, os; open('pid', 'w').write(str(os.getpid())); time.sleep(300)"
    notebook(course / "nbs" / "tiny.ipynb", [body])
    command = [sys.executable, "-m", "tools.run", *line(course)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    options = {"cwd": ROOT, "start_new_session": True, "preexec_fn": heed, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **options)
    file = course / "nbs" / "pid"
    until(lambda: file.exists() and file.read_text())
    pid = int(file.read_text())
    os.killpg(process.pid, signal.SIGINT) if whole_group else process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "run: interrupted" in err
    assert "Traceback" not in err
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("stage", "value", "good"),
    [
        (HIGHER, 0.7, True),
        (HIGHER, 0.69, False),
        (replace(HIGHER, floor=0.9), 0.89, False),
        (LOWER, 0.6, True),
        (LOWER, 0.61, False),
        (replace(LOWER, floor=0.2), 0.2, True),
        (Exact(exact=0.164252, tolerance=1e-6), 0.164252033486018, True),
        (Exact(exact=0.164252, tolerance=1e-6), 0.164254, False),
        (HIGHER, float("nan"), False),
        (LOWER, float("nan"), False),
        (Exact(exact=0, tolerance=1), float("nan"), False),
    ],
)
def test_limits(stage, value, good):
    assert stage.reached(value) is good


def test_what_only_the_sample_must_show(tmp_path):
    file = tmp_path / "expected.toml"
    file.write_text(EXPECTED + "sample_only = true\n")
    sample, small, full = (load_expected(file, size)["tiny"] for size in ("sample", "small", "full"))
    assert problems({"accuracy": 0.1}, sample, {}) == ["'accuracy' is 0.1, worse than 0.85"]
    for real in (small, full):
        assert problems({"accuracy": 0.1}, real, {}) == []
        assert problems({}, real, {}) == ["stage 'accuracy' is not recorded"]


def test_a_stage_of_the_original_needs_a_record_and_no_floor():
    original = {"loss": Original(0.1, "")}
    assert problems({"loss": 9.0}, None, original) == []
    assert problems({}, None, original) == ["stage 'loss' is not recorded"]


def of_sizes(file: Path) -> list[Floor]:
    """The one stage of a file as it counts on the sample, the small set and the full data."""
    return [load_expected(file, size)["tiny"].stages["accuracy"] for size in ("sample", "small", "full")]


def test_a_floor_is_one_of_the_sample(tmp_path):
    file = tmp_path / "expected.toml"
    file.write_text(EXPECTED)
    sample, small, full = of_sizes(file)
    assert sample.limit == 0.85
    assert small == full == replace(sample, floor=None, seeds=(), mean=None, sd=None)
    assert full.limit == pytest.approx(sample.baseline + sample.margin)


def test_a_small_set_may_have_a_floor_of_its_own(tmp_path):
    file = tmp_path / "expected.toml"
    file.write_text(EXPECTED + "small = { margin = 0.1, floor = 0.7 }\nsample_only = true\n")
    sample, small, full = of_sizes(file)
    assert (sample.limit, small.limit) == (0.85, 0.7)
    assert small == replace(sample, margin=0.1, floor=0.7, seeds=(), mean=None, sd=None)
    assert [stage.reached(0.1) for stage in (sample, small, full)] == [False, False, True]


def test_a_misspelt_key_of_another_size_is_named(tmp_path):
    file = tmp_path / "expected.toml"
    file.write_text(EXPECTED + "small = { flor = 0.7 }\n")
    with pytest.raises(ValueError, match=r"tiny, accuracy: .*unexpected keyword argument 'flor'"):
        load_expected(file, "small")


@pytest.mark.parametrize("size", ["small", "full"])
def test_what_real_data_must_reach_is_well_formed(size):
    for lesson in load_expected(size=size).values():
        assert lesson.key in lesson.stages


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("floor", "flor", "unexpected keyword argument 'flor'"),
        ("margin = 0.2\n", "", "keyword-only argument: 'margin'"),
    ],
)
def test_a_misspelt_key_is_named(tmp_path, old, new, said):
    file = tmp_path / "expected.toml"
    file.write_text(EXPECTED.replace(old, new))
    with pytest.raises(ValueError, match=f"^tiny, accuracy: .*{said}"):
        load_expected(file)


def test_floor_is_four_deviations_below_the_mean():
    values = {1: 0.94, 2: 0.98, 3: 0.96}
    spread = statistics.stdev(values.values())
    numbers = floors.measured(HIGHER, values)
    assert numbers.floor == pytest.approx(0.96 - 4 * spread, abs=1e-4)
    assert numbers.seeds == [1, 2, 3]


def test_floor_never_counts_less_than_one_picture():
    assert floors.floor(HIGHER, 0.98, 0.0) == pytest.approx(0.94)
    assert floors.floor(LOWER, 0.1, 0.001) == pytest.approx(0.14)


@pytest.mark.parametrize(("stage", "mean"), [(HIGHER, 0.72), (LOWER, 0.58)])
def test_a_floor_near_the_baseline_is_refused(stage, mean):
    with pytest.raises(ValueError, match="is looser than the baseline"):
        floors.floor(stage, mean, 0.0)


NUMBERS = {"accuracy": floors.Measured(seeds=[1, 2], mean=0.9, sd=0.02, floor=0.8)}


def test_rewrite_keeps_what_is_written_by_hand():
    """Comments, blank lines, order; what is measured for the first time stands at the end of its table."""
    text = EXPECTED.replace("floor = 0.85\n", "") + '\n[tiny.stages."loss"]  # another\nbetter = "lower"\n'
    again = floors.rewrite(text, "tiny", NUMBERS)
    assert again.replace("seeds = [1, 2]\nmean = 0.9\nsd = 0.02\nfloor = 0.8\n", "") == text
    assert again.index("resolution") < again.index("seeds") < again.index('"loss"')
    assert floors.rewrite(again, "tiny", NUMBERS) == again
    newer = {"accuracy": replace(NUMBERS["accuracy"], floor=0.7)}
    assert floors.rewrite(again, "tiny", newer) == again.replace("floor = 0.8", "floor = 0.7")


def test_numbers_of_the_small_set_stand_beside_those_of_the_sample():
    again = floors.rewrite(EXPECTED, "tiny", NUMBERS, "small")
    line = "small = {seeds = [1, 2], mean = 0.9, sd = 0.02, floor = 0.8}\n"
    assert again.replace(line, "") == EXPECTED
    newer = {"accuracy": replace(NUMBERS["accuracy"], floor=0.7)}
    assert floors.rewrite(again, "tiny", newer, "small") == again.replace("floor = 0.8}", "floor = 0.7}")
    by_hand = floors.rewrite(EXPECTED + "small = {margin = 0.1}\n", "tiny", NUMBERS, "small")
    small = tomllib.loads(by_hand)["tiny"]["stages"]["accuracy"]["small"]
    assert small == {"margin": 0.1} | vars(NUMBERS["accuracy"])


def test_rewrite_leaves_all_else_in_the_table_of_the_lessons():
    text = EXPECTED_FILE.read_text("utf-8")
    assert floors.rewrite(text, "2017/mnist", {}) == text
    changed = floors.rewrite(text, "2017/mnist", {"ensemble, averaged": NUMBERS["accuracy"]})
    pairs = zip(text.splitlines(), changed.splitlines(), strict=True)
    assert [new for old, new in pairs if old != new] == ["seeds = [1, 2]", "mean = 0.9", "sd = 0.02", "floor = 0.8"]


def floors_line(course: Path) -> list[str]:
    folders = ["--notebooks", str(course / "nbs"), "--expected", str(course / "expected.toml")]
    return ["tiny", "--seeds", "1", "3", *folders]


def test_floors_command_measures_and_writes(course, monkeypatch, capfd, notebook):
    body = """\
from course_utils.results import begin, record
begin("tiny", SIZE, SEED)
record("accuracy", 0.9 + SEED / 100)
record("weak", 0.7)"""
    notebook(course / "nbs" / "tiny.ipynb", [body])
    monkeypatch.setattr(floors, "OUT", course / "floors")
    weak = EXPECTED.split("stays\n")[1].replace('"accuracy"', '"weak"').replace("0.85", "0.5")
    with (course / "expected.toml").open("a") as file:
        file.write("\n" + weak)
    assert floors.main(floors_line(course)) == 1
    printed = capfd.readouterr()
    assert "tiny, weak: floor 0.66 is looser than the baseline" in printed.err
    assert "tiny, accuracy: mean 0.92" in printed.out
    stages = load_expected(course / "expected.toml")["tiny"].stages
    assert (stages["accuracy"].seeds, stages["accuracy"].mean) == ([1, 3], pytest.approx(0.92))
    assert (stages["accuracy"].margin, stages["weak"].floor) == (0.2, 0.5)
    assert (course / "floors" / "3" / "tiny.ipynb").exists()
    assert floors.main([*floors_line(course), "--size", "small"]) == 1  # the weak one again
    accuracy, small, _ = of_sizes(course / "expected.toml")
    assert (small.seeds, small.floor) == ([1, 3], accuracy.floor)


def test_floors_command_tells_of_a_failed_run_and_writes_nothing(course, monkeypatch, capfd, notebook):
    body = 'from course_utils.results import begin, record\nbegin("tiny", SIZE, SEED)\nrecord("accuracy", 0.9)\n1 / 0'
    notebook(course / "nbs" / "tiny.ipynb", [body])
    monkeypatch.setattr(floors, "OUT", course / "floors")
    assert floors.main(floors_line(course)) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert (course / "expected.toml").read_text() == EXPECTED


@pytest.mark.parametrize(("lesson", "said"), [("lesson1-dogscats", "two seeds or more"), ("nowhere", "no stages of")])
def test_floors_command_refuses(lesson, said, capsys):
    assert floors.main([lesson, "--seeds", "1"]) == 1
    assert said in capsys.readouterr().err
