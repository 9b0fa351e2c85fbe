"""What the repository says in several places says the same in each."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKED_LINE = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)( ; [^:@]+)?")  # no room for an address
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def ranges(lines):
    """Package name to accepted versions."""
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one.specifier for one in requirements}


def project(*extras):
    return ranges(PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]])


def conda(path):
    """The accepted Pythons and the ranges of the pip section of a conda environment."""
    own = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    python = next(line for line in own if str(line).startswith("python"))
    pip = next(entry["pip"] for entry in own if isinstance(entry, dict))
    return python.removeprefix("python"), ranges(line for line in pip if not line.startswith("-"))


def locked(path):
    """Package name to the versions that a lock holds: more than one where Pythons differ."""
    versions = {}
    for line in (ROOT / path).read_text().splitlines():
        match = LOCKED_LINE.fullmatch(line)
        assert match, f"{path}: expected 'name==version', received {line!r}"
        versions.setdefault(match[1], set()).add(Version(match[2]))
    return versions


# names and versions


def test_conda_environment_has_the_ranges_of_pyproject():
    python, packages = conda("environment.yml")
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])
    makefile = (ROOT / "Makefile").read_text()
    extras = re.search(r"^EXTRAS := (.*)", makefile, re.M)[1].split()
    assert packages == project("tensorflow", "jax", "test", *extras)


def test_binder_environment_has_the_ranges_of_pyproject_with_the_small_tensorflow():
    python, packages = conda("binder/environment.yml")
    expected = project("tensorflow", "notebooks", "remedies")
    expected["tensorflow-cpu"] = expected.pop("tensorflow")
    assert python.removeprefix("=") in SpecifierSet(PROJECT["requires-python"])
    assert packages == expected


def test_lock_holds_every_dependency_inside_its_range():
    versions = locked("requirements.lock")
    for name, accepted in project(*EXTRAS).items():
        assert name in versions, f"{name} is missing: make lock"
        assert all(version in accepted for version in versions[name]), name


def test_lowest_lock_holds_the_lower_bounds():
    versions = locked("requirements-lowest.lock")
    for name, accepted in project("tensorflow", "jax", "test").items():
        lower = next(Version(one.version) for one in accepted if one.operator == ">=")
        assert min(versions[name]) == lower, name


def test_citation_names_the_paper_and_this_software():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert (citation["type"], citation["version"]) == ("software", PROJECT["version"])
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["authors"] and "Langevin" in citation["title"]
    assert paper["authors"] == [{"given-names": "Pierre", "family-names": "Bras"}]
    assert paper["title"].startswith("Langevin algorithms for very deep Neural Networks")
    assert "arXiv:2212.14718" in [one["value"] for one in paper["identifiers"]]


# notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_traces_of_a_run(path):
    notebook = json.loads(path.read_text())
    assert "papermill" not in notebook["metadata"]
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), "make format"
        assert cell.get("execution_count") is None, "make format"
        assert not {"papermill", "execution"} & set(cell["metadata"]), "make format"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_one_parameters_cell(path):
    cells = json.loads(path.read_text())["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert [cell["cell_type"] for cell in tagged] == ["code"]


# commands


def make_targets(markdown):
    """Targets named in code, in a line or in a block; prose may 'make' what it likes."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip(" $") for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", markdown)
    commands = [re.split(r"[#;&|]", line)[0].split() for line in lines]
    words = [word for command in commands if command[:1] == ["make"] for word in command[1:]]
    return {word for word in words if re.fullmatch(r"[a-z][a-z0-9-]*", word)}


def test_make_targets_are_found_in_code_only():
    text = "We make sure.\n`make lab`, `cmake no`.\n```bash\n$ make a-b PROFILE=quick  # c\n```\n"
    assert make_targets(text) == {"lab", "a-b"}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_lab_leaves_jupyters_address_and_token_as_they_are():
    command = ["make", "--dry-run", "lab"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    [lab] = [line for line in said if "jupyterlab" in line]
    assert not {"ip", "token", "password", "allow"} & set(re.findall(r"[a-z]+", lab))


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_knows_every_target_of_the_readme():
    targets = make_targets((ROOT / "README.md").read_text())
    assert {"figures", "test"} <= targets
    targets |= {path.stem for path in NOTEBOOKS}
    for target in sorted(targets):
        command = ["make", "--dry-run", target]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
