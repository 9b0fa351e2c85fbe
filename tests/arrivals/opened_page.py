"""The page opened from disk in a headless Chromium: on a phone and a desk, by day and by night."""

import base64
import subprocess
import sys

import nbformat
import pytest

WIDTHS = {"phone": 360, "desk": 1280}

# What a reader sees of the colours: the luminance, 0 to 1, of the text and of what is behind it.
LUMINANCE = """() => [["main", "color"], ["body", "backgroundColor"]].map(([place, name]) => {
  const style = getComputedStyle(document.querySelector(place));
  const [r, g, b] = style[name].match(/\\d+/g).map(Number);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
})"""


@pytest.fixture
def site(checkout, environment):
    """The page of the copy, one of its notebooks executed as far as the page can tell."""
    book = nbformat.read(checkout / "notebooks" / "start-here.ipynb", 4)
    picture = (checkout / "figures" / "paper" / "start-here.png").read_bytes()
    last = [cell for cell in book.cells if cell.cell_type == "code"][-1]
    data = {"image/png": base64.b64encode(picture).decode()}
    last.outputs = [nbformat.v4.new_output("display_data", data=data)]
    (checkout / "build" / "paper").mkdir(parents=True)
    nbformat.write(book, checkout / "build" / "paper" / "start-here.ipynb")
    command = [sys.executable, "-m", "langevin", "page"]
    subprocess.run(command, cwd=checkout, env=environment, check=True)
    return checkout / "build" / "page"


def pages_of(site):
    """Every page but pdoc's index, which leads on to another."""
    return sorted(set(site.rglob("*.html")) - {site / "api" / "index.html"})


def test_every_page_is_readable_leads_on_and_loads_nothing_from_afar(site, chromium):
    page = chromium.new_page()
    asked, troubles = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    pages = pages_of(site)
    assert len(pages) >= 20
    for path in pages:
        page.goto(path.as_uri())
        for width in WIDTHS.values():
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            text, back = page.evaluate(LUMINANCE)
            assert (back > 0.9 > 0.3 > text) if scheme == "light" else (text > 0.7 > 0.2 > back)
        pictures = page.locator("img")
        shown = pictures.evaluate_all(
            "images => Promise.all(images.map(image => {image.loading = 'eager';"
            " return image.decode().then(() => image.naturalWidth > 100)}))"
        )
        assert all(shown), path.name
        assert all(pictures.evaluate_all("images => images.map(image => image.alt.length > 5)"))
        links = page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
        local = [link.partition("#")[0] for link in links if link.startswith("file:")]
        for link in sorted(set(local)):
            assert (site / link.partition(f"{site.name}/")[2]).exists(), f"{path.name}: {link}"
    page.goto((site / "api" / "langevin" / "optimizers.html").as_uri())
    assert "LAdadelta" in page.inner_text("main")
    page.goto((site / "index.html").as_uri())
    page.get_by_alt_text("Figure 1 of: Start here", exact=False).click()
    assert page.url.endswith("notebooks/start-here.html")
    page.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"} and not troubles
