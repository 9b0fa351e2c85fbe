"""How readers arrive: by JupyterLab, Binder, Colab, the page, and by adding to the repository.

Each is done for real, on a copy of the repository.  Slow: `make test-arrivals`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
