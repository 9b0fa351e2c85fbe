"""Binder and Colab as far as they can be had here: their steps, in fresh environments."""

import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
import yaml

from langevin.experiments.studies import badges

# What Colab had at the time of writing.
COLAB = ["tensorflow-cpu==2.20.0", "keras==3.13.0", "pandas==2.2.3", "numpy==2.0.2"]
# And what it has besides, of all that start-here imports.
COLAB_BESIDES = ["ipykernel", "ipywidgets", "matplotlib", "nbclient", "nbformat", "pyyaml"]
COLAB_BESIDES += ["scikit-learn", "scipy", "seaborn", "tqdm"]
WHERE = "import langevin; print(langevin.__file__)"
# As in the Makefile: uv in a fifth of pip's time, where it is there.
INSTALL = ["python", "-m", "pip", "install", "-q"]
if Path(sys.executable).with_name("uv").exists():
    INSTALL = ["uv", "pip", "install", "-q"]


@pytest.fixture
def fresh(tmp_path, environment):
    """A fresh environment, without the packages of this one: a function that runs its Python."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    clean = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    clean["PATH"] = f"{folder / 'bin'}:{clean['PATH']}"
    clean["VIRTUAL_ENV"] = str(folder)
    clean["JUPYTER_DATA_DIR"] = str(folder / "share" / "jupyter")

    def run(*command, cwd, **variables):
        done = subprocess.run(
            command, cwd=cwd, env=clean | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


EXECUTE = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, resources={"metadata": {"path": "."}}).execute()
print("".join(str(cell.get("outputs")) for cell in book.cells))
"""


def test_binder_installs_and_runs_start_here(fresh, checkout, tmp_path):
    notebooks = checkout / "notebooks"
    wanted = yaml.safe_load((checkout / "binder" / "environment.yml").read_text())
    packages = next(part["pip"] for part in wanted["dependencies"] if isinstance(part, dict))
    fresh(*INSTALL, *packages, cwd=tmp_path)
    fresh("bash", "binder/postBuild", cwd=checkout)
    assert Path(fresh("python", "-c", WHERE, cwd=tmp_path).strip()).is_relative_to(checkout)
    assert "image/png" in fresh("python", "-c", EXECUTE, "start-here.ipynb", cwd=notebooks)
    # The badge opens it in JupyterLab.
    fresh("jupyter", "lab", "--version", cwd=tmp_path)


def test_colab_runs_start_here_and_keeps_its_own_tensorflow_and_keras(fresh, checkout, tmp_path):
    fresh(*INSTALL, *COLAB, *COLAB_BESIDES, cwd=tmp_path)
    before = fresh("python", "-m", "pip", "freeze", "--exclude", "langevin", cwd=tmp_path)
    # git takes the copy for the address on GitHub.
    address = f"url.{checkout.as_uri()}.insteadOf"
    stand_in = {
        "COLAB_RELEASE_TAG": "release-colab", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": address,
        "GIT_CONFIG_VALUE_0": f"https://github.com/{badges.repository()}",
    }  # fmt: skip
    path = tmp_path / "start-here.ipynb"  # a badge opens one file
    book = nbformat.read(checkout / "notebooks" / path.name, 4)
    setup = next(cell for cell in book.cells if cell.id == "colab-cell")
    again = nbformat.v4.new_code_cell(setup.source)
    where = nbformat.v4.new_code_cell("import langevin\nprint(langevin.__file__)")
    book.cells = [setup, again, *book.cells, where]  # it may run twice, and here does thrice
    nbformat.write(book, path)
    seen = fresh("python", "-c", EXECUTE, path, cwd=tmp_path, **stand_in)
    assert "image/png" in seen
    assert str(tmp_path / "langevin-companion" / "langevin" / "__init__.py") in seen
    after = fresh("python", "-m", "pip", "freeze", "--exclude", "langevin", cwd=tmp_path)
    assert after == before and "keras==3.13.0" in after
