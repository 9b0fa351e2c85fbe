"""The page: README, documents and executed notebooks as static HTML that loads nothing from afar.

Formulas become MathML, figures lie beside the pages, links to what is no page lead to the
repository.  The API reference is pdoc's, from the docstrings.
"""

import functools
import importlib
import pkgutil
import posixpath
import re
import shutil

import latex2mathml.converter
import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

import langevin
from langevin.experiments.studies import badges, profiles
from langevin.experiments.training.store import root

PROFILES = ("paper", "quick", "smoke")
BADGES = re.compile(r"<!-- badges: .*?<!-- /badges -->", re.S)
WIDGET = "application/vnd.jupyter.widget-view+json"


def build():
    """Render everything into build/page; index.html there is the start page."""
    site = root() / "build" / "page"
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(root() / "page" / "static", site)
    (site / "code.css").write_text(_code_css())
    notebooks = [Notebook(name) for name in _notebooks()]
    unused = shutil.ignore_patterns("runs", "*.pdf", "*.json")
    shutil.copytree(root() / "figures", site / "figures", ignore=unused)
    for one in notebooks:
        body = one.html()
        _write(site, f"notebooks/{one.name}.html", "notebook.html.j2", one.title, body, book=one)
    readme = BADGES.sub("", (root() / "README.md").read_text())
    _write(site, "index.html", "start.html.j2", "Langevin optimizers for very deep networks",
           markdown(readme), notebooks=notebooks)  # fmt: skip
    for path in _documents():
        text = path.read_text()
        _write(site, f"docs/{path.stem}.html", "layout.html.j2", _title(text),
               markdown(text, "docs"))  # fmt: skip
    _api(site)
    executed = sum(one.profile is not None for one in notebooks)
    print(f"{site / 'index.html'}: {executed} of {len(notebooks)} notebooks executed")


class Notebook:
    """A notebook on the page: its executed copy of the largest scale there is, else its source."""

    def __init__(self, name):
        self.name, self.profile = name, None
        path = profiles.notebook_path(name)
        for profile in reversed(PROFILES):
            if (executed := root() / "build" / profile / path.name).exists():
                path, self.profile = executed, profile
        self.content = nbformat.read(path, 4)
        self.title = _title(self.content.cells[0].source)

    @property
    def figures(self):
        """Its figures at the largest scale there is, the main one first, as paths from the root."""
        longer = tuple(other for other in _notebooks() if other.startswith(f"{self.name}-"))
        for profile in PROFILES:
            found = (root() / "figures" / profile).glob(f"{self.name}*.png")
            if mine := sorted(p.stem for p in found if not p.stem.startswith(longer)):
                return [f"figures/{profile}/{stem}.png" for stem in mine]
        return []

    def html(self):
        exporter = _Exporter(template_name="basic", exclude_anchor_links=True)
        exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
        return exporter.from_notebook_node(_readable(self.content, self.title))[0]


def _readable(notebook, title):
    """The notebook without what only a kernel or Colab needs, its pictures with a text."""
    injected = any("injected-parameters" in _tags(cell) for cell in notebook.cells)
    hidden = {"colab", "parameters"} if injected else {"colab"}
    notebook.cells = [cell for cell in notebook.cells if not hidden & set(_tags(cell))]
    heading = title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.*)", cell.source, re.M) or [heading])[-1]
            continue
        cell.outputs = [
            one for one in cell.outputs
            if one.get("name") != "stderr" and WIDGET not in one.get("data", {})
        ]  # fmt: skip
        for output in cell.outputs:
            if written := output.get("data", {}).get("text/markdown"):
                # What was computed names data sets by their files: it holds no HTML of ours.
                output.data["text/html"] = markdown(written, "notebooks", escape=True)
            output.setdefault("metadata", {})
            output.metadata["image/png"] = {"alt": f"Figure: {heading} ({title})"}
    return notebook


def _tags(cell):
    return cell.metadata.get("tags", [])


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source):
        return markdown(source, "notebooks")


def markdown(text, folder="", escape=False):
    """Markdown of a file in this folder, as HTML; links lead to pages or to the repository.

    HTML in it is passed on, or shown as it is written if `escape`.  A table's cells of much text
    are marked as long.
    """
    html = MarkdownWithMath(renderer=_Renderer(folder, escape)).render(text)
    return re.sub("<td(?=>[^<]{80})", '<td class="long"', html)


class _Renderer(IPythonRenderer):
    def __init__(self, folder, escape):
        super().__init__(escape=escape, exclude_anchor_links=True)
        self.folder = folder

    def inline_math(self, body):
        return latex2mathml.converter.convert(body)

    def block_math(self, body):
        formula = latex2mathml.converter.convert(body, display="block")
        return f'<div class="math">{formula}</div>\n'

    def link(self, text, url, title=None):
        return super().link(text, self._address(url), title)

    def heading(self, text, level, **attributes):
        """With the anchor that GitHub gives it."""
        words = re.sub(r"<[^>]*>|[^\w\s-]", "", text).lower().split()
        return f'<h{level} id="{"-".join(words)}">{text}</h{level}>\n'

    def _address(self, url):
        file, mark, anchor = url.partition("#")
        path = posixpath.normpath(posixpath.join(self.folder, file))
        if re.match(r"[a-z]+:|#", url) or path.startswith(("figures/paper/", "api/")):
            return url
        if path == "README.md":
            return posixpath.relpath("index.html", self.folder or ".") + mark + anchor
        if re.fullmatch(r"(docs/.*\.md|notebooks/.*\.ipynb)", path):
            return posixpath.splitext(file)[0] + ".html" + mark + anchor
        return f"https://github.com/{badges.repository()}/blob/{badges.BRANCH}/{path}"


def _write(site, path, template, title, body, **given):
    """A page from a template; `up` leads from it to the start page."""
    up = "../" * path.count("/")
    documents = [(one.stem, _title(one.read_text())) for one in _documents()]
    made = _templates().get_template(template).render(
        title=title, body=body, up=up, documents=documents, repository=badges.repository(),
        branch=badges.BRANCH, **given,
    )  # fmt: skip
    (site / path).parent.mkdir(exist_ok=True)
    (site / path).write_text(made)


@functools.cache
def _templates():
    loader = FileSystemLoader(root() / "page")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _notebooks():
    """Names of the notebooks: those of the paper profile in its order, then all others."""
    there = [path.stem for path in sorted((root() / "notebooks").glob("*.ipynb"))]
    order = profiles.notebooks("paper")
    return sorted(there, key=lambda name: order.index(name) if name in order else len(order))


def _documents():
    """The files in docs/, in the order in which README.md first names them."""
    readme = (root() / "README.md").read_text()
    return sorted((root() / "docs").glob("*.md"), key=lambda path: readme.find(path.name))


def _title(text):
    return text.splitlines()[0].lstrip("# ")


def _code_css():
    """Colours of code, by day and in dark mode."""
    day, night = (HtmlFormatter(style=name) for name in ("tango", "github-dark"))
    dark = night.get_style_defs(".highlight")
    return f"{day.get_style_defs('.highlight')}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _api(site):
    """pdoc's pages, and one that leads to them."""
    import pdoc

    made = [one.name for one in pkgutil.walk_packages(langevin.__path__, "langevin.")]
    public = [name for name in made if not name.split(".")[-1].startswith(("program_", "_"))]
    pdoc.render.configure(
        docformat="google", show_source=False, template_directory=root() / "page" / "api"
    )
    pdoc.pdoc("langevin", *public, output_directory=site / "api")
    lines = ["# API reference", "From the docstrings."]
    for name in ("langevin", *public):
        told = importlib.import_module(name).__doc__.splitlines()[0]
        lines.append(f"- [{name}](api/{name.replace('.', '/')}.html): {told}")
    text = "\n\n".join(lines)
    _write(site, "api.html", "layout.html.j2", _title(text), markdown(text))
