"""The site opened from disk in a headless Chromium: on a phone and a desk, by day and by night."""

import subprocess
import sys

import pytest

WIDTHS = {"phone": 400, "desk": 1280}

# What a reader sees of the colours: the luminance, 0 to 1, of the text and of what is behind it.
LUMINANCE = """() => ["color", "backgroundColor"].map(name => {
  const [r, g, b] = getComputedStyle(document.body)[name].match(/\\d+/g).map(Number);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
})"""


@pytest.fixture(scope="module")
def site(checkout, environment):
    """The site of the copy, its notebooks as they are stored."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "docs", "build/site"]
    subprocess.run(command, cwd=checkout, env=environment, check=True)
    return checkout / "build" / "site"


def test_every_page_is_readable_leads_on_and_loads_nothing_from_afar(site, chromium):
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    pages = sorted(site.rglob("*.html"))
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
        links = page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
        local = [link.partition("#")[0] for link in links if link.startswith("file:")]
        for link in sorted(set(local)):
            assert (site / link.partition(f"{site.name}/")[2]).exists(), f"{path.name}: {link}"
    page.close()
    assert {url.partition(":")[0] for url in asked} <= {"about", "data", "file"}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_first_screen_answers_and_the_api_is_there(site, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto((site / "index.html").as_uri())
    answer = page.get_by_text("Should you use it?")
    assert answer.bounding_box()["y"] < 900
    page.goto((site / "api.html").as_uri())
    assert "LAdadelta" in page.inner_text("article")
    page.close()


def test_formulas_are_drawn(site, chromium):
    page = chromium.new_page()
    page.goto((site / "use.html").as_uri())
    page.locator(".MathJax_SVG, .MathJax, .MathJax_Display").first.wait_for()
    page.close()
