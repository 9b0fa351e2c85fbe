"""Run All Cells of every notebook as it is stored, in the memory that Binder gives."""

from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
# lab.py runs two of them.
NOTEBOOKS = {path.stem for path in FOLDER.glob("*.ipynb")} - {"start-here", "depth-mnist"}


@pytest.mark.usefixtures("memory_of_binder")
@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_all_cells_run_with_a_picture(name, checkout, environment, monkeypatch):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    book = nbformat.read(checkout / "notebooks" / f"{name}.ipynb", 4)
    resources = {"metadata": {"path": checkout / "notebooks"}}
    nbclient.NotebookClient(book, resources=resources, timeout=None).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", ()) for output in outputs)
