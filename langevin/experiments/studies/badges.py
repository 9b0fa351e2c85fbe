"""The repository's address, kept in pyproject.toml, and all that repeats it: badges, Colab's cell.

Every notebook gets, below its title, a badge that opens it on Colab and a cell that does nothing
elsewhere; its metadata ask Colab for a GPU.
"""

import re
import tomllib

import nbformat

from langevin.experiments.studies import readme
from langevin.experiments.training.store import root

ADDRESS = re.compile(r'^(Repository = )"https://github\.com/([^"]*)"$', re.M)
BRANCH = "main"
BINDER, COLAB = "https://mybinder.org", "https://colab.research.google.com"
PAPER_BADGE = "https://img.shields.io/badge/arXiv-2212.14718-b31b1b"
UNSTAMPED = "your-name"  # the owner in pyproject.toml before `make badges REPO=owner/name`
COLAB_METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": [], "toc_visible": True},
}
COLAB_CELL = """\
# On Colab alone: fetch the repository, and install it beside Colab's own TensorFlow and Keras.
import os
import subprocess
import sys

if "COLAB_RELEASE_TAG" in os.environ:
    folder = os.path.abspath("langevin-companion")
    if not os.path.exists(f"{{folder}}/pyproject.toml"):
        address = "https://github.com/{repository}"
        subprocess.run(["git", "clone", "--quiet", "--depth=1", address, folder], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--editable"]
    subprocess.run([*pip, folder], check=True)
    if folder not in sys.path:
        sys.path.insert(0, folder)"""


def repository():
    """The repository as owner/name."""
    urls = tomllib.loads((root() / "pyproject.toml").read_text())["project"]["urls"]
    return urls["Repository"].removeprefix("https://github.com/")


def stamp(named=None):
    """Write the repository's address into README.md and every notebook.

    Args:
        named: the repository from now on, as owner/name; None leaves it as it is.

    Raises:
        ValueError: not of the form owner/name.
    """
    if named is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", named):
            raise ValueError(f"REPO must be owner/name, as on GitHub. Received: {named!r}")
        path = root() / "pyproject.toml"
        path.write_text(ADDRESS.sub(rf'\1"https://github.com/{named}"', path.read_text()))
    readme.fill({"badges": readme_badges, "clone": clone})
    for path in sorted((root() / "notebooks").glob("*.ipynb")):
        nbformat.write(stamped(nbformat.read(path, 4), path.stem), path)


def stamped(notebook, name):
    """The notebook with its badge, Colab's cell and Colab's metadata, in place of older ones."""
    badge = nbformat.v4.new_markdown_cell(colab_badge(name), id="colab-badge")
    code = COLAB_CELL.format(repository=repository())
    cell = nbformat.v4.new_code_cell(code, id="colab-cell", metadata={"cellView": "form"})
    for own in (badge, cell):
        own.metadata["tags"] = ["colab"]
    cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.cells = [one for one in notebook.cells if one.id not in (badge.id, cell.id)]
    notebook.cells[1:1] = [badge, cell]
    notebook.metadata |= COLAB_METADATA
    return notebook


def readme_badges():
    """Badges: the first notebook on Binder and on Colab, the site, the paper; the paper's alone
    until an address is stamped, since the others would be dead."""
    owner, name = repository().split("/")
    paper = _badge("Paper", PAPER_BADGE, "https://arxiv.org/abs/2212.14718")
    if owner == UNSTAMPED:
        return paper
    lab = f"{owner}/{name}/{BRANCH}?urlpath=lab/tree/notebooks/start-here.ipynb"
    shields = "https://img.shields.io/badge"
    badges = [
        _badge("Open in JupyterLab on Binder", f"{BINDER}/badge_logo.svg", f"{BINDER}/v2/gh/{lab}"),
        colab_badge("start-here"),
        _badge("Site", f"{shields}/read-the_site-0072B2", f"https://{owner}.github.io/{name}/"),
        paper,
    ]
    return "\n".join(badges)


def clone():
    """How to get the repository, as Markdown."""
    name = repository().split("/")[1]
    return f"```bash\ngit clone https://github.com/{repository()} && cd {name}\n```"


def colab_badge(name):
    """The badge that opens a notebook of this repository on Colab."""
    notebook = f"github/{repository()}/blob/{BRANCH}/notebooks/{name}.ipynb"
    return _badge("Open in Colab", f"{COLAB}/assets/colab-badge.svg", f"{COLAB}/{notebook}")


def _badge(text, picture, link):
    return f"[![{text}]({picture})]({link})"
