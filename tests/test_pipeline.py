"""`make figures`: every notebook from top to bottom, and what happens when one fails."""

import nbformat
import pytest

from langevin import pipeline, profiles, runs
from langevin.store import root


def test_every_notebook_runs_in_the_smoke_profile(capfd):
    assert pipeline.figures("smoke")
    said = capfd.readouterr().out
    for notebook in profiles.notebooks("smoke"):
        assert (root() / "build" / "smoke" / f"{notebook}.ipynb").exists()
        for ending in ("png", "pdf", "csv"):
            assert f"figures/smoke/{notebook}.{ending}" in said
    assert "FAILED" not in said


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one notebook, whose one cell is to be set."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "smoke.yaml").write_text("one: {number: 2}\n")
    for module in (pipeline, profiles):
        monkeypatch.setattr(module, "root", lambda: tmp_path)

    def write(code):
        book = nbformat.v4.new_notebook()
        book.cells = [nbformat.v4.new_code_cell("number = 1"), nbformat.v4.new_code_cell(code)]
        book.cells[0].metadata["tags"] = ["parameters"]
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
        nbformat.write(book, tmp_path / "notebooks" / "one.ipynb")
        return tmp_path

    return write


def test_a_failed_notebook_is_kept_with_its_traceback(project, capfd):
    folder = project("raise RuntimeError(f'number {number}')") / "build" / "smoke"
    assert not pipeline.figures("smoke")
    kept = (folder / "one.failed.ipynb").read_text()
    assert '"ename": "RuntimeError"' in kept and '"evalue": "number 2"' in kept
    assert not (folder / "one.ipynb").exists() and not (folder / "one.part.ipynb").exists()
    said = capfd.readouterr().out
    assert "FAILED: one" in said and "one.failed.ipynb" in said
    project("assert number == 2")
    assert pipeline.figures("smoke")
    assert [path.name for path in folder.iterdir()] == ["one.ipynb"]


def test_a_parameter_that_the_notebook_lacks_stops_before_anything_runs(project):
    folder = project("")
    (folder / "notebooks" / "smoke.yaml").write_text("one: {nummer: 2}\n")
    with pytest.raises(ValueError, match="nummer.*It has: .*number"):
        pipeline.figures("smoke")
    assert not (folder / "build").exists()


def test_the_profile_follows_the_device(monkeypatch):
    monkeypatch.setattr(runs, "device", lambda: "cpu")
    assert pipeline.choose_profile()[0] == "quick"
    monkeypatch.setattr(runs, "device", lambda: "NVIDIA H100")
    profile, why = pipeline.choose_profile()
    assert profile == "paper" and "NVIDIA H100" in why
    assert pipeline.choose_profile("smoke")[0] == "smoke"
