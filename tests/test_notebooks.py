"""The notebooks: their structure as committed, and a run of each with another seed."""

import ast
import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from joblib import cpu_count

from course_utils.result_lines import KEY
from tools import run
from tools.run import __main__ as command
from tools.run.execute import Outcome
from tools.run.pool import run_all
from tools.run.verdict import Floor, load_expected, load_originals, problems

Notebook = dict[str, Any]
SEED = 7
ALL = run.find(run.NOTEBOOKS, solutions=True)
LESSONS = [name for name in ALL if not name.startswith("solutions/")]
WITHOUT_VIDEO = {
    "In short",
    "Questions",
    "Further reading",
    "Results",
    "What changed since the video",
    "Try it",
    "Recap",
}
LINK = re.compile(r"\[▶ (?:lesson (\d), )?([\d:]+)\]\(https://youtu\.be/([\w-]+)\?t=(\d+)\)")
SHOWS = re.compile(r"plot|show|print|display|describe|table|head|summary|lr_find|fit")


def load(path: Path) -> Notebook:
    notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def code_cells(notebook: Notebook) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def imports(notebook: Notebook) -> set[tuple[str, str]]:
    """(module, name) of each name that the cells import from the package."""
    cells = [re.sub(r"^[%!].*$", "", cell["source"], flags=re.MULTILINE) for cell in code_cells(notebook)]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell))]
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("course_utils")]
    return {(node.module, alias.name) for node in found for alias in node.names}


def headings(notebook: Notebook) -> list[tuple[int, str]]:
    """(level, text) of each heading, code blocks left out."""
    prose = "\n".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)
    return [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#+) (.+)$", prose, re.MULTILINE)]


def tree(source: str) -> ast.Module:
    """The cell as Python; lines for IPython become `pass`."""
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE))


def seconds(clock: str) -> int:
    return sum(int(part) * 60**i for i, part in enumerate(reversed(clock.split(":"))))


@cache
def moments() -> set[tuple[str, int]]:
    """(video, second) of every entry of the timeline."""
    return {(v["youtube"], seconds(e["at"])) for v in timeline()["lessons"] for e in v["entries"]}


@cache
def timeline() -> dict:
    return yaml.safe_load((run.NOTEBOOKS / "video_timeline.yml").read_text("utf-8"))


# Rules: each yields one line for everything that breaks it.


def one_title(notebook: Notebook) -> Iterator[str]:
    titles = [text for level, text in headings(notebook) if level == 1]
    if len(titles) != 1:
        yield f"{len(titles)} headings of level 1"


def parameters_first(notebook: Notebook) -> Iterator[str]:
    first = code_cells(notebook)[0]
    if "parameters" not in first["metadata"].get("tags", []):
        yield "the first code cell is not tagged 'parameters'"
    for name in ("SIZE: str", "SEED: int"):
        if not re.search(rf"^{name} = .+  # .+", first["source"], re.MULTILINE):
            yield f"no line '{name} = ...  # what it is' among the parameters"


def linked_sections(notebook: Notebook) -> Iterator[str]:
    """Every section leads to its second in the video."""
    for level, text in headings(notebook):
        free = text in WITHOUT_VIDEO or text.endswith("(beyond the video)")
        if level in (2, 3) and not free and not LINK.search(text):
            yield f"no link to the video: {text}"


def video_links(notebook: Notebook) -> Iterator[str]:
    """The links of the sections are right, in the order of the video, and say where another video begins."""
    latest: dict[str, int] = {}
    numbers = {v["youtube"]: str(v["number"]) for v in timeline()["lessons"]}
    before = None
    for level, text in headings(notebook):
        link = LINK.search(text)
        if level not in (2, 3) or not link:
            continue
        lesson, label, video, second = link[1], link[2], link[3], int(link[4])
        if lesson != (None if video == before else numbers.get(video)):
            yield f"a lesson is named where another video begins, and only there: {text}"
        before = video
        if seconds(label) != second:
            yield f"label and second differ: {text}"
        if (video, second) not in moments():
            yield f"not in nbs/video_timeline.yml: {text}"
        if second < latest.get(video, 0):
            yield f"earlier in the video than the heading before: {text}"
        latest[video] = max(second, latest.get(video, 0))


def short_cells(notebook: Notebook) -> Iterator[str]:
    for cell in code_cells(notebook):
        if (lines := len(cell["source"].splitlines())) > 15:
            yield f"{lines} lines of code: {cell['source'].splitlines()[0]}"


def plain_code(notebook: Notebook) -> Iterator[str]:
    for cell in code_cells(notebook):
        for found in re.findall(r"^\s*(?:!|%pip|%conda).*|.*\.cuda\(.*", cell["source"], re.MULTILINE):
            yield f"install, shell or device call: {found.strip()}"
        nodes = list(ast.walk(tree(cell["source"])))
        later = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values[1:]}
        for node in nodes:
            text = node.value if isinstance(node, ast.Constant) and id(node) not in later else None
            if isinstance(text, str) and re.match(r"(/\w|~/|[A-Za-z]:\\)", text):
                yield f"absolute path: {text}"


def clean_outputs(notebook: Notebook) -> Iterator[str]:
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                yield f"error output: {output['ename']}"
            if any("widget" in kind for kind in output.get("data", {})):
                yield "a widget among the outputs"
            if path := re.search(r"(?:/site-packages/|/home/|/Users/)\S*", json.dumps(output)):
                yield f"a path of one machine: {path[0][:80]}"
    if "widgets" in notebook["metadata"]:
        yield "widget state is saved"
    if any("execution" in cell["metadata"] for cell in code_cells(notebook)):
        yield "the time of each cell is saved"


def executed_in_order(notebook: Notebook) -> Iterator[str]:
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if None in counts or counts != sorted(set(counts)):
        yield f"not executed from top to bottom: {counts}"


def outputs_saved(notebook: Notebook) -> Iterator[str]:
    for cell in code_cells(notebook):
        if _shows(cell["source"]) and not cell["outputs"]:
            yield f"no output saved: {cell['source'].splitlines()[-1]}"


def _shows(source: str) -> bool:
    """Whether the last line shows something: a value, or a call whose name says so."""
    body = tree(source).body
    if not body or not isinstance(body[-1], ast.Expr) or source.rstrip().endswith(";"):
        return False
    value = body[-1].value
    return bool(SHOWS.search(ast.unparse(value.func))) if isinstance(value, ast.Call) else True


def pictures_introduced(notebook: Notebook) -> Iterator[str]:
    cells = notebook["cells"]
    for before, cell in pairwise(cells):
        kinds = {kind for o in cell.get("outputs", []) for kind in o.get("data", {})}
        drawn = any(kind.startswith("image/") for kind in kinds)
        if drawn and (before["cell_type"] != "markdown" or not before["source"].strip()):
            yield f"a picture without a word before it: {cell['source'].splitlines()[0]}"


EVERYWHERE = [one_title, parameters_first, short_cells, plain_code, clean_outputs]
EVERYWHERE += [executed_in_order, outputs_saved]
IN_LESSONS = [linked_sections, video_links, pictures_introduced]
CASES = [(name, rule) for name in ALL for rule in EVERYWHERE]
CASES += [(name, rule) for name in LESSONS for rule in IN_LESSONS]
CASES = [(n, r) for n, r in CASES if r is not linked_sections or not n.startswith("2017/")]  # other videos


@pytest.mark.parametrize(("name", "rule"), CASES, ids=[f"{n}-{r.__name__}" for n, r in CASES])
def test_structure(name, rule):
    assert list(rule(load(ALL[name]))) == []


@pytest.mark.parametrize("name", ALL)
def test_files_stay_small(name):
    assert ALL[name].stat().st_size < 2**20


def recorded_names(notebook: Notebook) -> set[str]:
    """The first arguments of the calls of record."""
    nodes = (node for cell in code_cells(notebook) for node in ast.walk(tree(cell["source"])))
    calls = (n for n in nodes if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "record")
    return {arg.value for call in calls for arg in call.args[:1] if isinstance(arg, ast.Constant)}


@pytest.mark.parametrize("name", LESSONS)
def test_every_stage_of_the_original_is_recorded(name):
    original = load_originals().get(name, {})
    assert set(original) - recorded_names(load(ALL[name])) == set()


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_measured_floors(name):
    lesson = load_expected()[name]
    assert lesson.key in lesson.stages
    for stage in lesson.stages.values():
        if isinstance(stage, Floor):
            sign = 1 if stage.better == "higher" else -1
            spread = 4 * max(stage.sd, stage.resolution)
            assert len(stage.seeds) >= 5
            assert stage.floor == pytest.approx(stage.mean - sign * spread, abs=1e-4)


def test_entries_without_a_notebook_are_leftovers():
    assert set(load_expected()) | set(load_originals()) <= set(LESSONS)


@pytest.mark.parametrize("name", ALL)
def test_what_it_imports_from_the_package_is_there(name):
    for module, wanted in sorted(imports(load(ALL[name]))):
        exec(f"from {module} import {wanted}", {})


# Execution

HANGS = 6 * 3600  # seconds: the first test waits for all notebooks, whose cells have limits of their own


@pytest.fixture(scope="session")
def out(tmp_path_factory) -> Path:
    """The folder of the executed copies."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def outcomes(out) -> dict[str, Outcome]:
    """Every notebook and solution, executed with a seed that is not the notebook's own."""
    line = ["--seed", str(SEED), "--out", str(out), "--solutions"]
    tasks = command.tasks_for(command.parser().parse_args(line))
    return {outcome.name: outcome for outcome in run_all(tasks, min(2, cpu_count()))}


@pytest.mark.notebook
@pytest.mark.timeout(HANGS)
@pytest.mark.parametrize("name", ALL)
def test_runs_and_reaches_its_floors(name, outcomes):
    outcome = outcomes[name]
    assert not outcome.error, outcome.error
    lesson, original = load_expected().get(name), load_originals().get(name, {})  # a solution has neither
    assert problems(outcome.recorded, lesson, original) == []


CHECKED = [name for name, path in ALL.items() if "NBVAL_CHECK_OUTPUT" in path.read_text("utf-8")]


def marked(path: Path) -> dict[str, str]:
    """Source to what it printed, of the cells marked NBVAL_CHECK_OUTPUT."""
    cells = [c for c in load(path)["cells"] if "NBVAL_CHECK_OUTPUT" in c["source"]]
    outputs = [[o for o in c["outputs"] if KEY not in o.get("metadata", {})] for c in cells]  # not lines of results
    texts = [[o.get("text") or o.get("data", {}).get("text/plain", "") for o in found] for found in outputs]
    return {c["source"]: "".join(map("".join, text)) for c, text in zip(cells, texts, strict=True)}


@pytest.mark.notebook
@pytest.mark.timeout(HANGS)
@pytest.mark.parametrize("name", CHECKED)
def test_committed_outputs_come_out_again(name, outcomes, out):
    """Those of the marked cells, whatever the seed."""
    assert not outcomes[name].error
    assert marked(out / f"{name}.ipynb") == marked(ALL[name]) != {}


# The rules, on a small notebook that keeps them all and on spoiled copies of it

PROSE = """\
# Title

## Choosing a rate [▶ lesson 1, 1:11:41](https://youtu.be/IPBSB1HLNLo?t=4301)

```
# no heading
```

### The finder [▶ 1:13:18](https://youtu.be/IPBSB1HLNLo?t=4398)

## Speed (beyond the video)

## Augmentation [▶ lesson 2, 0:15:50](https://youtu.be/JNxcznsrRb8?t=950)

## Results"""


@pytest.fixture
def model(tmp_path, notebook) -> Notebook:
    """Prose, parameters, prose and one picture."""
    made = load(notebook(tmp_path / "model.ipynb", ["%matplotlib inline\nplot_it('a/b', f'{a}/b')"]))
    title, parameters, picture = made["cells"]
    title["source"] = PROSE
    picture["outputs"] = [{"output_type": "display_data", "data": {"image/png": ""}}]
    parameters["execution_count"], picture["execution_count"] = 1, 2
    made["cells"] = [title, parameters, {"cell_type": "markdown", "source": "See."}, picture]
    return made


@pytest.mark.parametrize("rule", EVERYWHERE + IN_LESSONS, ids=lambda rule: rule.__name__)
def test_rules_accept_the_model(model, rule):
    assert list(rule(model)) == []


def error(name: str) -> dict:
    return {"output_type": "error", "ename": name, "evalue": "", "traceback": []}


LR, FINDER = "4301", "[▶ 1:13:18](https://youtu.be/IPBSB1HLNLo?t=4398)"
SPOILED = [
    (one_title, 0, "source", "# Title", "## Results\n\n# A\n\n# B", "2 headings of level 1"),
    (parameters_first, 1, "metadata", None, {}, "not tagged 'parameters'"),
    (parameters_first, 1, "source", "SEED: int", "SEED", "no line 'SEED: int"),
    (parameters_first, 1, "source", '"sample"  # or "full"', '"sample"', "no line 'SIZE: str"),
    (video_links, 0, "source", LR, "4302", "label and second differ"),
    (video_links, 0, "source", "lesson 2, ", "", "where another video begins, and only there: Augmentation"),
    (video_links, 0, "source", "[▶ 1:13:18", "[▶ lesson 1, 1:13:18", "and only there: The finder"),
    (linked_sections, 0, "source", FINDER, "", "no link to the video: The finder"),
    (video_links, 0, "source", f"1:11:41](https://youtu.be/IPBSB1HLNLo?t={LR}",
     "1:11:42](https://youtu.be/IPBSB1HLNLo?t=4302", "not in nbs/video_timeline.yml"),
    (video_links, 0, "source", FINDER, "[▶ 0:12:39](https://youtu.be/IPBSB1HLNLo?t=759)",
     "earlier in the video than the heading before: The finder"),
    (short_cells, 3, "source", None, "1\n" * 16, "16 lines of code"),
    (plain_code, 3, "source", None, "!ls", "install, shell or device call: !ls"),
    (plain_code, 3, "source", None, "%pip install x", "call: %pip install x"),
    (plain_code, 3, "source", None, "model.cuda()", "call: model.cuda()"),
    (plain_code, 3, "source", None, "open('/data/x')", "absolute path: /data/x"),
    (plain_code, 3, "source", None, "open('~/data')", "absolute path: ~/data"),
    (plain_code, 3, "source", None, "open(f'/data/{x}')", "absolute path: /data/"),
    (clean_outputs, 3, "outputs", None, [error("KeyError")], "error output: KeyError"),
    (clean_outputs, 3, "outputs", None,
     [{"output_type": "stream", "text": "/usr/lib/site-packages/a.py: old"}], "one machine"),
    (clean_outputs, 3, "outputs", None,
     [{"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}}],
     "a widget"),
    (clean_outputs, 3, "metadata", None, {"execution": {"shell.execute_reply": "2026-11-26"}}, "the time of each cell"),
    (executed_in_order, 3, "execution_count", None, 1, "not executed from top to bottom"),
    (executed_in_order, 3, "execution_count", None, None, "not executed from top to bottom"),
    (outputs_saved, 3, "outputs", None, [], "no output saved: plot_it"),
    (pictures_introduced, 2, "source", None, " ", "a picture without a word"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "place", "field", "old", "new", "message"), SPOILED)
def test_rules_refuse_a_spoiled_copy(model, rule, place, field, old, new, message):
    spoiled = copy.deepcopy(model)
    cell = spoiled["cells"][place]
    cell[field] = cell[field].replace(old, new) if old else new
    assert message in "\n".join(rule(spoiled))


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("x = 1", False),
        ("x", True),
        ("df.head()", True),
        ("learn.sched.plot()", True),
        ("learn.sched.plot();", False),
        ("record('a', 1)", False),
        ("learn.unfreeze()", False),
        ("%matplotlib inline", False),
    ],
)
def test_which_cells_show_something(source, shows):
    assert _shows(source) is shows


def test_recorded_names_are_read_from_the_code(model):
    model["cells"][3]["source"] = "record('a', 1)\nif True:\n    record('b', f(record))"
    assert recorded_names(model) == {"a", "b"}
