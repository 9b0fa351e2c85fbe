"""Run All Cells of every notebook as it is stored, in the memory that Binder gives."""

import re
import threading
from pathlib import Path

import nbclient
import nbformat
import psutil  # comes with ipykernel
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LIMIT = 1.5 * 2**30  # of Binder's 2 GB, the server's share left out
MORE = re.compile(r"takes ([\d.]+) GB of memory")  # says a notebook at its top


class Watch(threading.Thread):
    """The greatest resident memory, in bytes, that all processes below this one take together."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            taken = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    taken += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
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
    shown = sum(len(cell.get("outputs", ())) for cell in book.cells)
    print(f"{name}: {watch.peak / 2**30:.2f} GiB, {shown} outputs")
    more = MORE.search(book.cells[0].source)
    assert shown > 0 and 0.2 * 2**30 < watch.peak < (1e9 * float(more[1]) if more else LIMIT)
