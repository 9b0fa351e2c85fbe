"""How readers arrive: by JupyterLab, Binder, Colab, the page, and by adding to the repository.

Each is done for real, on a copy of the repository.  Slow: `make test-arrivals`.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil  # comes with ipykernel
import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.5e9  # bytes, of Binder's 2 GB: the server's share left out


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of all that git would commit, a git repository of its own."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "copy"]):
        subprocess.run([*git, *command], cwd=copy, check=True)
    return copy


@pytest.fixture(scope="module")
def environment(checkout):
    """Variables under which every process imports the copy's module."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PYTHONPATH": str(checkout), "PATH": path}


@pytest.fixture
def memory_of_binder():
    """The kernel that the test starts, and all below it, stay within Binder's memory."""
    others, peak, ended = _kernels(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not ended.wait(0.1):
            taken = 0
            for kernel in _kernels() - others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for process in (kernel, *kernel.children(recursive=True)):
                        taken += process.memory_info().rss
            peak = max(peak, taken)

    watching = threading.Thread(target=watch)
    watching.start()
    yield
    ended.set()
    watching.join()
    print(f"{peak / 1e9:.2f} GB")
    assert 0.2e9 < peak < LIMIT


def _kernels():
    """The Jupyter kernels below this process."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("ipykernel" in word for word in process.cmdline()):
                found.add(process)
    return found


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium: Debian's, or what else is on the path."""
    from playwright import sync_api

    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    assert any(found), "no Chromium: apt-get install chromium"
    with sync_api.sync_playwright() as playwright:
        path = next(filter(None, found))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
