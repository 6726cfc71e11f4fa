"""The environment's files agree, set-up does what it says, and the doctor sees what is wrong."""

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools import doctor, run

ROOT = Path(__file__).resolve().parents[1]
PINS = "course_utils/data/requirements-data.txt"
FETCH = "course_utils/data/packages.py"
PACKAGES = ("one", "two")  # of a set-up with a stand-in for Python
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
EXTRAS = PROJECT["optional-dependencies"].values()
DECLARED = [Requirement(r) for group in [PROJECT["dependencies"], *EXTRAS] for r in group]
NAMES = {canonicalize_name(requirement.name) for requirement in DECLARED}
NOT_IMPORTED = {
    "check-jsonschema": "a command of tests/test_environment.py",
    "cryptography": "distributed's, for the certificate of a sweep",
    "furo": "the theme of the site, named in docs/conf.py",
    "ipykernel": "the kernel of the notebooks",
    "jupyterlab": "make lab",
    "mypy": "a command of make test",
    "myst-nb": "an extension of Sphinx, named in docs/conf.py",
    "nbval": "a plugin of pytest, for the committed outputs",
    "pytest-timeout": "a plugin of pytest, for `timeout`",
    "pytest-xdist": "a plugin of pytest, for two workers",
    "ruff": "a command of make test",
    "setuptools": "builds the editable install",
    "types-psutil": "types for mypy",
    "types-requests": "types for mypy",
    "types-tqdm": "types for mypy",
}


def sources() -> list[str]:
    """The code of the package, the tools, the tests, the site and the notebooks."""
    folders = ("course_utils", "tools", "tests", "docs")
    texts = [p.read_text("utf-8") for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    for path in run.find(run.NOTEBOOKS, solutions=True).values():
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        texts += [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", text) for text in code]
    return texts


def imported() -> set[str]:
    """Distributions that the repository's own code imports."""
    modules = set()
    for node in (node for text in sources() for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module.split(".")[0])
    ours = {"course_utils", "tools", "tests", "asking", "serving", "support", "text_support", "waiting"}
    ours |= set(sys.stdlib_module_names)
    ours.add("fastai")  # the benchmark alone imports it, from a folder of its own
    ours.add("pip")  # of any environment: it fetches the data packages
    owners = packages_distributions()
    return {canonicalize_name(owners.get(m, [m])[0]) for m in modules - ours}


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_lock_pins_every_dependency_inside_its_range(requirement):
    versions = doctor.pins(LOCK)[canonicalize_name(requirement.name)] - {""}
    assert all(requirement.specifier.contains(version) for version in versions)


def test_every_pin_has_hashes_and_no_place():
    pins = re.split(r"(?m)^(?=[a-z0-9])", LOCK)[1:]
    assert len(pins) > 100
    assert [p.split()[0] for p in pins if "--hash=sha256:" not in p] == []
    assert not re.search(r"://|--\w*index|--find-links| @ ", LOCK)


def test_data_packages_are_pinned_with_hashes():
    lines = (ROOT / PINS).read_text("utf-8").splitlines()
    assert [ln for ln in lines if not re.fullmatch(r"[\w.-]+==\S+ --hash=sha256:\w{64}", ln)] == []


def test_conda_environment_leads_to_the_lock():
    *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert pip == {"pip": ["-r requirements.lock"]}
    assert "pip" in packages
    python = next(p for p in packages if p.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")


def test_what_is_imported_is_declared():
    assert imported() - NAMES == set()


def test_what_is_declared_is_used():
    assert NAMES - imported() - set(NOT_IMPORTED) == set()


# Set-up, with a stand-in for Python that notes what it is asked to do

STAND_IN = """\
#!/bin/sh
case "$*" in
-c*) exec {python} "$@" ;;
*venv*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*--check*) exec {python} "$@" ;;
*packages.py*) {python} -c 'import json, pathlib
for name, data in json.loads(pathlib.Path("packages.json").read_text()).items():
    pathlib.Path("data/packages").mkdir(exist_ok=True)
    pathlib.Path("data/packages", name).write_bytes(data.encode())' ;;
esac
echo "$*" >>calls
if [ -f fail ]; then exit 1; fi
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the files of set-up and the stand-in."""
    for name in ("pyproject.toml", "requirements.lock", FETCH, "tools/setup.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    pins = [f"{name}==1.0 --hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in PACKAGES]
    (tmp_path / PINS).write_text("\n".join(pins) + "\n")
    (tmp_path / "packages.json").write_text(json.dumps({f"{name}-1.0.zip": name for name in PACKAGES}))
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=shlex.quote(sys.executable)))
    python.chmod(0o755)
    return tmp_path


def setup(folder: Path, python: str = "./python") -> subprocess.CompletedProcess:
    """Run tools/setup.sh there."""
    environment = os.environ | {"PYTHON": python}
    command = ["sh", str(folder / "tools" / "setup.sh")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def calls(folder: Path) -> list[str]:
    """What was asked of Python since the last look: the third word or so of each call."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [re.sub(r"^-[mP] (pip )?(?:\S*/)?(\S+).*", r"\2", line) for line in lines]


def test_setup_makes_everything_once(checkout):
    first = setup(checkout)
    assert first.returncode == 0, first.stderr
    assert "5 GB" in first.stdout
    assert calls(checkout) == ["venv", "install", "install", "packages.py"]
    for name in ("pyproject.toml", "requirements.lock"):
        (checkout / name).touch()
    again = setup(checkout)
    assert (again.stdout, calls(checkout)) == ("", [])


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("pyproject.toml", ["install"]),
        ("requirements.lock", ["venv", "install", "install"]),
        (PINS, []),  # no package of it has changed
    ],
)
def test_setup_follows_the_content_of_its_files(checkout, name, steps):
    setup(checkout)
    calls(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    setup(checkout)
    assert calls(checkout) == steps


def test_setup_starts_again_clean_after_an_interruption(checkout):
    (checkout / "fail").touch()
    assert setup(checkout).returncode == 1
    (checkout / "fail").unlink()
    calls(checkout)
    (checkout / ".venv" / "left over").touch()
    assert setup(checkout).returncode == 0
    assert calls(checkout) == ["venv", "install", "install", "packages.py"]
    assert not (checkout / ".venv" / "left over").exists()


@pytest.mark.parametrize("damage", ["another", "none", "renamed"])
def test_setup_mends_data_packages(checkout, damage):
    """Whatever it made before: somebody may have replaced a file by hand."""
    setup(checkout)
    calls(checkout)
    file = checkout / "data" / "packages" / "one-1.0.zip"
    kept = checkout / "data" / "packages" / "mine.txt"
    kept.touch()
    if damage == "another":
        file.write_bytes(b"another")
    else:
        file.rename(checkout / "data" / "packages" / "two-2.0.zip") if damage == "renamed" else file.unlink()
    assert setup(checkout).returncode == 0
    assert calls(checkout) == ["packages.py"]
    assert file.read_bytes() == b"one"
    assert kept.exists()


@pytest.fixture
def without_flock(tmp_path) -> str:
    """The commands of set-up, and no other: macOS has no flock."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name in ("sh", "cat", "cp", "dirname", "mkdir", "mv", "rm"):
        (folder / name).symlink_to(shutil.which(name))
    assert shutil.which("flock", path=str(folder)) is None
    return str(folder)


def test_two_setups_at_once_do_the_work_once(checkout, without_flock):
    environment = os.environ | {"PYTHON": "./python", "PATH": without_flock}
    both = [subprocess.Popen(["sh", "tools/setup.sh"], cwd=checkout, env=environment) for _ in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    assert calls(checkout) == ["venv", "install", "install", "packages.py"]


def test_a_setup_waits_for_another_and_says_so(checkout, without_flock):
    fcntl = pytest.importorskip("fcntl")
    (checkout / ".runs").mkdir()
    environment = os.environ | {"PYTHON": "./python", "PATH": without_flock}
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with (checkout / ".runs" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(["sh", "tools/setup.sh"], cwd=checkout, env=environment, **pipes)
        assert second.stdout.readline() == "setup: waiting for another set-up\n"
        assert calls(checkout) == []
    second.communicate()
    assert calls(checkout) == ["venv", "install", "install", "packages.py"]


def test_make_works_in_a_folder_with_spaces(checkout, tmp_path_factory):
    """Set-up with a Python in one as well; then whatever else needs no packages."""
    place = tmp_path_factory.mktemp("a b") / "c d"
    shutil.copytree(checkout, place)
    shutil.copy(ROOT / "Makefile", place)
    shutil.copy(ROOT / "tools" / "clean.py", place / "tools")
    python = place / "python"
    done = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert calls(place) == ["venv", "install", "install", "packages.py"]
    for target in ("doctor", "run", "data NAME=dogscats"):
        subprocess.run(["make", *target.split(), f"PYTHON={python}"], cwd=place, capture_output=True, check=True)
    asked = [line.split()[0] for line in calls(place)]
    assert asked == ["tools.doctor", "tools.run", "tools.data"]
    shutil.rmtree(place / ".venv")
    subprocess.run(["make", "doctor", f"PYTHON={python}"], cwd=place, capture_output=True, check=True)
    assert calls(place) == ["tools.doctor"]


@pytest.mark.parametrize("target", ["run ONLY", "sweep ONLY", "floors NAME"])
def test_make_takes_names_as_they_are(checkout, target):
    """Even one that is a pattern, to which another file answers."""
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / "a1").touch()
    goal, variable = target.split()
    command = ["make", goal, f"{variable}=a[1] 2017/mnist", "PYTHON=./python"]
    subprocess.run(command, cwd=checkout, capture_output=True, check=True)
    assert " a[1] 2017/mnist" in (checkout / "calls").read_text().splitlines()[-1]


@pytest.mark.parametrize("python", ["./old", "no-such-python"])
def test_setup_refuses_an_old_python_in_one_line(checkout, python):
    (checkout / "old").write_text("#!/bin/sh\nexit 1\n")
    (checkout / "old").chmod(0o755)
    done = setup(checkout, python)
    assert done.returncode == 1
    expected = f"setup: {python} is missing or older than 3.11.4: make setup PYTHON=python3.12, say\n"
    assert done.stderr == expected
    assert not (checkout / ".venv").exists()


# The same command everywhere


def workflow() -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))


def test_workflow_is_one():
    """By the schema that the code host publishes, of which check-jsonschema brings a copy."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    files = [str(path) for path in sorted((ROOT / ".github" / "workflows").iterdir())]
    done = subprocess.run([*check, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_workflow_does_what_ci_does_and_that_is_make_test():
    job = workflow()["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"
    assert workflow()["permissions"] == {"contents": "read"}


def test_workflow_has_the_oldest_python_and_that_of_conda():
    pythons = workflow()["jobs"]["test"]["strategy"]["matrix"]["python"]
    *packages, _ = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    conda = next(p.removeprefix("python=") for p in packages if p.startswith("python="))
    oldest = re.match(r">=(\d+\.\d+)", PROJECT["requires-python"])[1]
    assert {oldest, conda} <= set(pythons)
    assert f"--python-version {oldest} " in (ROOT / "Makefile").read_text()


def test_make_test_checks_style_types_and_behaviour():
    told = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = [part.removeprefix(".venv/bin/python -m ") for part in told.splitlines()[-1].split(" && ")]
    assert steps[:3] == ["ruff check .", "ruff format --check .", "mypy"]
    assert steps[3].startswith("pytest ")


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"(?m)^\.PHONY: (.+)$", (ROOT / "Makefile").read_text())[1].split()
    assert re.findall(r"(?m)^make (\w+) +\S", listed) == targets


# The doctor


def test_doctor_is_content_here():
    good = [doctor.python, doctor.make, doctor.packages, doctor.device, doctor.course_utils]
    assert [str(check()) for check in good if not check().good] == []
    assert doctor.kernel().good


def test_doctor_reads_markers_in_the_lock():
    lock = "a==1.0 \\\n    --hash=x\nb==2.0 ; python_version < '3.12' \\\nb==3.0 ; x \\\n"
    assert doctor.pins(lock) == {"a": {"1.0"}, "b": {"2.0", "3.0", ""}}


def test_doctor_names_what_differs_from_the_lock(tmp_path, monkeypatch):
    (tmp_path / "requirements.lock").write_text("pytest==0.1 \\\nno-such-package==1.0 \\\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    line = str(doctor.packages())
    assert line.startswith("[FAIL] not as in requirements.lock: pytest, no-such-package (2 in all)")
    assert line.endswith("make setup")


@pytest.mark.parametrize(("content", "good"), [(b"abc", True), (b"damaged", False), (None, False)])
def test_doctor_checks_the_hash_of_data_packages(tmp_path, monkeypatch, content, good):
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / PINS).parent.mkdir(parents=True)
    (tmp_path / PINS).write_text(f"a-b==1.0 --hash=sha256:{abc}\n")
    (tmp_path / "data" / "packages").mkdir(parents=True)
    if content:
        (tmp_path / "data" / "packages" / "a_b-1.0.whl").write_bytes(content)
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    check = doctor.data_packages()
    assert check.good is good
    assert good or "missing or damaged in data/packages: a-b" in check.what


def test_doctor_goes_on_after_a_broken_part_and_fails(monkeypatch, capsys):
    def broken():
        raise ImportError("no module named torch")

    monkeypatch.setattr(doctor, "CHECKS", [broken, doctor.python])
    assert doctor.main() == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "[FAIL] broken: no module named torch: make setup"
    assert printed[1].startswith("[OK]   Python 3.")


@pytest.mark.parametrize(("check", "need"), [(doctor.disk, "DISK_GB"), (doctor.memory, "MEMORY_GB")])
def test_doctor_wants_room(check, need, monkeypatch):
    assert check().good
    monkeypatch.setattr(doctor, need, 10**9)
    assert not check().good
