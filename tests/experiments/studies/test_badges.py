"""The repository's address stands in pyproject.toml alone; all that repeats it says the same."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from langevin.experiments.studies import badges, readme
from langevin.experiments.training.store import root

ADDRESS = re.compile(r"(?:github\.com|v2/gh|colab[^)\s]*/github)/([\w-]+/[\w.-]+)")
NOTEBOOKS = sorted((root() / "notebooks").glob("*.ipynb"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what is stamped."""
    (tmp_path / "notebooks").mkdir()
    for name in ("pyproject.toml", "README.md", "notebooks/start-here.ipynb"):
        shutil.copy(root() / name, tmp_path / name)
    for module in (badges, readme):
        monkeypatch.setattr(module, "root", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", [root() / "README.md", *NOTEBOOKS], ids=lambda path: path.name)
def test_every_address_is_the_one_of_pyproject(path):
    found = set(ADDRESS.findall(path.read_text()))
    assert found == {badges.repository()}, f"make badges: {path.name} names {found}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stamped(path):
    notebook = nbformat.read(path, 4)
    assert badges.stamped(nbformat.read(path, 4), path.stem) == notebook, "make badges"
    assert notebook.cells[0].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].id == "colab-cell" and notebook.metadata.accelerator == "GPU"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_headings_make_a_table_of_contents(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    levels = [len(m) for cell in cells for m in re.findall(r"^(#+) \S", cell.source, re.M)]
    assert levels[0] == 1 and levels.count(1) == 1 and levels.count(2) >= 2
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))


def test_no_dead_badge_is_shown_before_an_address_is_stamped(project):
    badges.stamp(f"{badges.UNSTAMPED}/langevin-companion")
    assert badges.readme_badges().count("[![") == 1 and "arxiv.org" in badges.readme_badges()


def test_a_new_address_is_stamped_everywhere_and_stamping_again_changes_nothing(project):
    old = badges.repository()
    badges.stamp("ann-b/some.name")
    assert badges.repository() == "ann-b/some.name"
    files = [path for path in project.rglob("*") if path.is_file()]
    once = {path: path.read_text() for path in files}
    assert "badge_logo" in once[project / "README.md"]
    assert len(files) == 3 and all("ann-b/some.name" in text for text in once.values())
    assert all(old not in text for text in once.values())
    badges.stamp()
    assert {path: path.read_text() for path in files} == once


@pytest.mark.parametrize("name", ["", "name", "a/b/c", "https://github.com/a/b", 'a/b"', "-a/b"])
def test_what_is_no_address_is_refused_and_nothing_written(project, name):
    before = (project / "pyproject.toml").read_text()
    with pytest.raises(ValueError, match="owner/name"):
        badges.stamp(name)
    assert (project / "pyproject.toml").read_text() == before


def test_outside_colab_its_cell_does_nothing(tmp_path):
    code = badges.COLAB_CELL.format(repository=badges.repository())
    check = f"{code}\nassert 'folder' not in globals() and not os.listdir()"
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env={}, check=True)


def test_notebooks_keep_their_parameters_and_metadata(project):
    before = json.loads((project / "notebooks" / "start-here.ipynb").read_text())
    badges.stamp("a/b")
    after = json.loads((project / "notebooks" / "start-here.ipynb").read_text())
    assert after["metadata"]["kernelspec"] == before["metadata"]["kernelspec"]
    kept = [[c for c in each["cells"] if "colab" not in c["id"]] for each in (before, after)]
    assert kept[0] == kept[1]
