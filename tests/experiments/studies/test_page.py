"""The page's own part: what of a notebook is shown, how formulas and links are written.

That pages are readable and load nothing from afar a browser sees in tests/arrivals.
"""

import re

import nbformat
import pandas as pd
import pytest
import yaml

from langevin.experiments.results import report
from langevin.experiments.studies import badges, page
from langevin.experiments.training.store import root


@pytest.fixture
def executed():
    """A notebook with all that a run leaves behind."""
    new = nbformat.v4
    picture = new.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    knobs = new.new_output("display_data", data={page.WIDGET: {}, "text/plain": "VBox(children"})
    noise = new.new_output("stream", name="stderr", text="oneDNN custom operations are on")
    cells = [
        new.new_markdown_cell("# Is it so?\n\n$x^2 \\le 1$, see `a_b`"),
        new.new_code_cell("colab_only = 1", metadata={"tags": ["colab"]}),
        new.new_code_cell("stored = 1", metadata={"tags": ["parameters"]}),
        new.new_code_cell("given = 2", metadata={"tags": ["injected-parameters"]}),
        new.new_markdown_cell("## The answer"),
        new.new_code_cell("draw()", outputs=[noise, knobs, picture]),
    ]
    return new.new_notebook(cells=cells)


def html_of(notebook):
    book = page.Notebook.__new__(page.Notebook)
    book.content, book.title = notebook, "Is it so?"
    return book.html()


def test_a_notebook_is_shown_without_what_is_no_reader_s_business(executed):
    html = html_of(executed)
    shown = re.sub(r"<[^>]*>", "", html)
    assert "given = 2" in shown and "draw()" in shown
    for hidden in ("colab_only", "stored", "VBox", "oneDNN"):
        assert hidden not in html
    assert 'alt="Figure: The answer (Is it so?)"' in html


def test_without_injected_parameters_the_stored_ones_are_shown(executed):
    executed.cells = [cell for cell in executed.cells if "given" not in cell.source]
    assert "stored" in html_of(executed)


def test_what_is_shown_is_escaped(executed):
    bad, new = "<script>alert(1)</script>", nbformat.v4
    table = report.show_table(pd.DataFrame({"data": [bad]}))
    executed.cells[-1].outputs = [
        new.new_output("stream", name="stdout", text=bad),
        new.new_output("display_data", data={"text/markdown": f"- **{bad}**"}),
        new.new_output("display_data", data={"text/html": table.to_html(), "text/plain": bad}),
    ]
    html = html_of(executed)
    assert "<script>" not in html and html.count("&lt;script&gt;") == 3 and "<strong>" in html


def test_a_title_is_escaped(tmp_path):
    page._write(tmp_path, "one.html", "layout.html.j2", "a <b> title", "<p>body</p>")
    html = (tmp_path / "one.html").read_text()
    assert "a &lt;b&gt; title" in html and "<p>body</p>" in html


def test_formulas_are_mathml_and_code_is_not_taken_for_one(executed):
    html = html_of(executed)
    assert "<msup>" in html and "$x^2" not in html
    block = page.markdown("$$\\sigma \\sqrt{\\gamma}$$\n\n`$1`\n")
    assert "<msqrt>" in block and "<code>$1</code>" in block and 'display="block"' in block


@pytest.mark.parametrize(
    "folder, url, expected",
    [
        ("", "docs/use.md", "docs/use.html"),
        ("docs", "../README.md", "../index.html"),
        ("docs", "use.md#data", "use.html#data"),
        ("", "notebooks/start-here.ipynb", "notebooks/start-here.html"),
        ("", "figures/paper/depth-mnist.png", "figures/paper/depth-mnist.png"),
        ("", "https://arxiv.org/abs/2212.14718", "https://arxiv.org/abs/2212.14718"),
        ("", "#citing", "#citing"),
    ],
)
def test_a_link_leads_to_the_page_of_a_file(folder, url, expected):
    assert f'href="{expected}"' in page.markdown(f"[text]({url})", folder)


def test_a_link_to_what_is_no_page_leads_to_the_repository():
    html = page.markdown("[text](../langevin/experiments/results/analysis.py)", "docs")
    address = f"https://github.com/{badges.repository()}/blob/main"
    assert f"{address}/langevin/experiments/results/analysis.py" in html


def test_headings_can_be_linked_to():
    assert 'id="data-without-a-network"' in page.markdown("## Data without a network")


def test_the_workflow_publishes_what_make_page_makes():
    flow = yaml.safe_load((root() / ".github" / "workflows" / "page.yml").read_text())
    [job] = flow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make figures PROFILE=paper", "make page"]
    targets = re.findall(r"^([\w-]+)(?=.*:)", (root() / "Makefile").read_text(), re.M)
    assert {"figures", "page"} <= set(targets)
    used = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
    upload = used.index("actions/upload-pages-artifact")
    assert used.index("actions/deploy-pages") > upload
    # That `make page` writes there tests/arrivals sees.
    assert job["steps"][upload]["with"]["path"] == "build/page"
    assert flow["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
