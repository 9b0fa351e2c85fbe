"""The documentation site: Sphinx with MyST's Markdown, from documents, notebooks and docstrings.

It builds without a network and opens from disk.  Notebooks are shown as `make figures` executed
them last, at paper scale if that was done, and else as they are stored.
"""

import os
import re
import shutil
from pathlib import Path

import jupyter_server_mathjax
import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"  # made here, ignored by git
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

project = "Langevin companion"
author = "the authors of the companion"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["templates"]
html_theme = "furo"
html_title = project
html_show_sourcelink = False
mathjax_path = "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full"
mathjax2_config = {  # MyST has all ignored but its formulas; the fonts are the package's
    "tex2jax": {"processClass": "tex2jax_process|mathjax_process|math|output_area"},
    "HTML-CSS": {
        "availableFonts": [], "imageFont": None, "preferredFont": None, "webFont": "STIX-Web",
    },
}  # fmt: skip
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_remove_code_outputs = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
# A notebook's highlighted Python holds papermill's comments; a link into the code leads nowhere.
suppress_warnings = ["myst.xref_missing", "myst.header", "misc.highlighting_failure"]


def copy_notebooks(app):
    """Put the notebooks, executed if they were, where Sphinx finds them."""
    shutil.rmtree(NOTEBOOKS, ignore_errors=True)
    NOTEBOOKS.mkdir()
    for stored in sorted((ROOT / "notebooks").glob("*.ipynb")):
        executed = [ROOT / "build" / scale / stored.name for scale in ("paper", "quick")]
        book = nbformat.read(next((path for path in executed if path.exists()), stored), 4)
        book.cells = [c for c in book.cells if "colab" not in c.metadata.get("tags", [])]
        nbformat.write(book, NOTEBOOKS / stored.name)


def copy_mathjax(app, error):
    """Put MathJax beside the pages: nothing is loaded from afar."""
    if error is None:
        source = Path(jupyter_server_mathjax.__file__).parent / "static"
        target = Path(app.outdir) / "_static" / "mathjax"
        shutil.copytree(source, target, dirs_exist_ok=True)


def point_to_pages(app, name, source):
    """Lead links that are right in the repository to the site's own pages."""
    source[0] = source[0].replace("](../README.md", "](index.md").replace("](docs/", "](")


def show_code(app, what, name, thing, options, lines):
    """Write Markdown's `code` as reStructuredText's, also before a letter, as in `Run`s."""
    code = re.compile(r"`([^`]+)`(?=(\w?))")
    for place, line in enumerate(lines):
        lines[place] = code.sub(lambda m: f"``{m[1]}``" + "\\ " * bool(m[2]), line)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", show_code)
    app.connect("builder-inited", copy_notebooks)
    app.connect("build-finished", copy_mathjax)
    app.connect("source-read", point_to_pages)
