"""JupyterLab as a reader has it: open a notebook, Run All Cells, see the figures."""

import json
import re
import subprocess
import sys

import nbformat
import pytest

MINUTES = 60_000  # in Playwright's milliseconds

# How many pixels of each picture differ from its corner's.
INK = """images => Promise.all(images.map(async image => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(
    context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return pixels.filter(pixel => pixel != pixels[0]).length;
}))"""

# On this machine alone, by a token, with start-here open.
ADDRESS = (
    r"http://(?:localhost|127\.0\.0\.1):\d+/lab/tree/notebooks/start-here\.ipynb\?token=\w{48}"
)

# Something was run and nothing is to come: after an error the cells below it stay without a number.
FINISHED = """() => {
  const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
  return prompts.some(prompt => /\\d/.test(prompt.textContent))
    && !prompts.some(prompt => prompt.textContent.includes("*"));
}"""


@pytest.fixture(scope="module")
def lab(checkout, environment, tmp_path_factory):
    """The address that `make lab` opens in the copy, its token included."""
    state = tmp_path_factory.mktemp("lab")
    # JupyterLab takes cells that are out of sight out of the page; all are to be looked at.
    settings = state / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    places = {"RUNTIME_DIR": "runtime", "CONFIG_DIR": "config", "DATA_DIR": "data"}
    places = {f"JUPYTER_{name}": str(state / folder) for name, folder in places.items()}
    places["JUPYTERLAB_SETTINGS_DIR"] = str(state / "settings")
    places["JUPYTERLAB_WORKSPACES_DIR"] = str(state / "workspaces")
    (checkout / ".venv").symlink_to(sys.prefix)
    # The environment is this one, whatever Make finds on its age.
    command = ["make", "-o", ".venv/.ready", "lab", "ARGS=--no-browser --port=0"]
    server = subprocess.Popen(
        command, cwd=checkout, env=environment | places, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = []
    for line in server.stderr:
        said.append(line)
        if address := re.search(ADDRESS, line):
            break
    else:
        pytest.fail("".join(said))
    with (state / "log").open("w") as log:  # a full pipe would stop the server
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=log)
        yield address[0]
        server.terminate()
        server.wait()
        drain.wait()


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(2 * MINUTES)
    yield page
    page.close()


def run_all(page, lab, checkout, path):
    """Open a notebook and run all cells; AssertionError if one fails or a figure shows nothing."""
    page.goto(lab.replace("/notebooks/start-here.ipynb?", f"/{path}?reset&"))
    page.get_by_text("(ipykernel) | Idle").wait_for()  # before, running does nothing at all
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(FINISHED, timeout=10 * MINUTES)
    assert not (errors := errors_of(page, checkout / path)), errors[0]
    figures = page.locator(".jp-OutputArea-output img").evaluate_all(INK)
    assert figures, "no figure"
    assert min(figures) > 1000, f"pixels that are not background: {figures}"
    return figures


def errors_of(page, path):
    """The errors in a notebook, once JupyterLab has saved it."""
    page.keyboard.press("Control+s")
    page.locator(".lm-TabBar-tab.jp-mod-dirty").wait_for(state="detached")
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert any(cell.execution_count for cell in cells), "saved before it was run"
    outputs = [output for cell in cells for output in cell.outputs]
    return [f"{one.ename}: {one.evalue}" for one in outputs if one.output_type == "error"]


@pytest.mark.usefixtures("memory_of_binder")
def test_start_here_runs_and_its_knobs_redraw(lab, page, checkout):
    assert len(run_all(page, lab, checkout, "notebooks/start-here.ipynb")) == 2
    picture = page.locator("img.widget-image")
    knobs = page.locator(".widget-slider", has_text=re.compile("start|sigma|temperature"))
    assert knobs.count() == 3

    def turn(name, value):
        readout = page.locator(".widget-slider", has_text=name).locator(".widget-readout")
        readout.fill(value)
        readout.press("Enter")

    turns = {
        "optimizer": lambda: page.locator(".widget-dropdown select").select_option("LAdam"),
        "sigma": lambda: turn("sigma", "0.3"),
        "temperature": lambda: turn("temperature", "0.5"),
        "start": lambda: turn("start", "1.2"),
    }
    for act in turns.values():
        before = picture.get_attribute("src")
        act()
        page.wait_for_function(
            "old => ![...document.images].some(image => image.src == old)", arg=before
        )
    # T = sigma^2 / 2: one knob has moved the other.
    assert page.locator(".widget-slider", has_text="sigma").inner_text().split()[-1] == "1.00"
    assert not errors_of(page, checkout / "notebooks" / "start-here.ipynb")


@pytest.mark.usefixtures("memory_of_binder")
def test_depth_mnist_runs_with_its_figures(lab, page, checkout):
    assert len(run_all(page, lab, checkout, "notebooks/depth-mnist.ipynb")) >= 3


BLANK = "import matplotlib.pyplot as plt\nplt.figure(facecolor='white')\nplt.show()"


@pytest.mark.parametrize(
    "code, message",
    [
        ("1 / 0", "ZeroDivisionError"),
        ("print('no picture')", "no figure"),
        (f"%matplotlib inline\n{BLANK}", "no figure|pixels that are not background"),
    ],
)
def test_a_broken_notebook_fails(lab, page, checkout, code, message):
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source) for source in (code, "'the end'")]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    (checkout / "broken.ipynb").write_text(json.dumps(book))
    with pytest.raises(AssertionError, match=message):
        run_all(page, lab, checkout, "broken.ipynb")
