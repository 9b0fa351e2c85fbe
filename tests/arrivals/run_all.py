"""Run All Cells of every notebook as it is stored, in the memory that Binder gives."""

import contextlib
import threading
from pathlib import Path

import nbclient
import nbformat
import psutil  # comes with ipykernel
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LIMIT = 1.5e9  # of Binder's 2 GB, the server's share left out


class Watch(threading.Thread):
    """The greatest resident memory, in bytes, that a kernel and all below it take together.

    The kernel is the child that this process does not have yet: a browser of other tests it may.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.others = set(psutil.Process().children())
        self.peak, self.ended = 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            taken = 0
            for kernel in set(psutil.Process().children()) - self.others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for process in (kernel, *kernel.children(recursive=True)):
                        taken += process.memory_info().rss
            self.peak = max(self.peak, taken)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_in_the_memory_of_binder(name, checkout, environment, monkeypatch):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    book = nbformat.read(checkout / "notebooks" / f"{name}.ipynb", 4)
    resources = {"metadata": {"path": checkout / "notebooks"}}
    watch = Watch()
    watch.start()
    nbclient.NotebookClient(book, resources=resources, timeout=None).execute()
    watch.ended.set()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    pictures = sum("image/png" in output.get("data", ()) for output in outputs)
    print(f"{name}: {watch.peak / 1e9:.2f} GB, {pictures} pictures")
    assert pictures > 0 and 0.2e9 < watch.peak < LIMIT
