"""`make figures`: every notebook from top to bottom, and what happens when one fails."""

import functools
import io
import os
import sys

import nbformat
import pandas as pd
import papermill
import pytest
from helpers import ANYTHING
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.experiments.studies import commands, pipeline, profiles, verify
from langevin.experiments.training import runs
from langevin.experiments.training.store import Store, root

# What is drawn from no runs; and the tables, whose runs are those of tables-runs.csv.
WITHOUT_RUNS = {"start-here", "cost", "cost-loops", "cost-together", "tables", "table-1", "table-2"}


def assert_every_csv_names_the_runs_behind_its_figure():
    store = profiles.store("smoke", "depth-mnist")
    for path in (root() / "figures" / "smoke").glob("*.csv"):
        table = pd.read_csv(path)
        named = set(table.filter(regex="^key").stack())
        assert all(map(store.find, named)) and bool(named) == (path.stem not in WITHOUT_RUNS)


@pytest.fixture
def one_process(monkeypatch):
    """The other core has tests of its own."""
    monkeypatch.setenv("LANGEVIN_WORKERS", "1")


def test_every_notebook_runs_in_the_smoke_profile(capfd, one_process):
    assert pipeline.figures("smoke")
    said = capfd.readouterr().out
    for notebook in profiles.notebooks("smoke"):
        assert (root() / "build" / "smoke" / f"{notebook}.ipynb").exists()
        assert f"  {notebook}: csv, pdf, png\n" in said
    assert "in figures/smoke:" in said
    assert "FAILED" not in said
    assert_every_csv_names_the_runs_behind_its_figure()


def test_smoke_runs_trained_again_are_equal_to_the_bit(capfd, one_process):
    assert verify.verify("smoke")
    assert "DIFFERS" not in capfd.readouterr().out


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


DIE = """
import os, pathlib, signal, time
print("so far")
print("so good", flush=True)
while not pathlib.Path({!r}).exists():  # a kernel that dies at once is not heard
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kernel_that_dies_is_named_with_its_last_words_and_the_next_make_goes_on(
    project, tmp_path, monkeypatch
):
    class Listener(io.StringIO):
        def write(self, text):
            if "so good" in text:
                (tmp_path / "heard").touch()
            return super().write(text)

    folder = project(DIE.format(str(tmp_path / "heard"))) / "build" / "smoke"
    monkeypatch.setattr("sys.stdout", Listener())
    assert commands.main(["figures", "--profile", "smoke"]) == 1
    said = sys.stdout.getvalue()
    assert "one failed: its kernel died" in said and "FAILED: one" in said
    assert said.split("kernel died")[1].count("so good") == 1
    assert [path.name for path in folder.iterdir()] == ["one.failed.ipynb"]
    project("assert number == 2")
    assert pipeline.figures("smoke")


SMOKE = profiles.parameters("smoke")
PARAMETERS = [(notebook, parameter) for notebook, given in SMOKE.items() for parameter in given]
inspected = functools.cache(papermill.inspect_notebook)


@pytest.mark.parametrize("notebook, parameter", PARAMETERS, ids=str)
@settings(max_examples=200)
@given(value=ANYTHING | st.lists(st.dictionaries(st.sampled_from(["dataset", "sigma"]), ANYTHING)))
def test_any_value_of_any_notebooks_parameter_is_taken_or_a_named_error(notebook, parameter, value):
    given_with = {**SMOKE[notebook], parameter: value}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "parameters", lambda _: {notebook: given_with})
        patch.setattr(papermill, "inspect_notebook", inspected)
        try:
            pipeline.checked_parameters("smoke", notebook, True)
        except (ValueError, OSError) as error:  # a path may come up
            assert "Received" in str(error) or "has no" in str(error) or "needs" in str(error)


def test_a_parameter_that_the_notebook_lacks_stops_before_anything_runs(project):
    folder = project("")
    (folder / "notebooks" / "smoke.yaml").write_text("one: {nummer: 2}\n")
    with pytest.raises(ValueError, match="smoke.yaml: one.ipynb has no 'nummer'.*mean 'number'"):
        pipeline.figures("smoke")
    (folder / "notebooks" / "smoke.yaml").write_text("one: {number: 2.5}\n")
    with pytest.raises(ValueError, match="one: `number` must be a whole number > 0.*: 2.5"):
        pipeline.figures("smoke")
    assert not (folder / "build").exists()


def test_a_noise_that_is_none_is_named_before_work_starts(project):
    folder = project("pass")
    book = nbformat.read(folder / "notebooks" / "one.ipynb", 4)
    book.cells[0].source = "number = 1\nruns = [{}]\nnoise = [{}]\nseeds = 1"
    nbformat.write(book, folder / "notebooks" / "one.ipynb")
    profile = folder / "notebooks" / "smoke.yaml"
    for noise, message in {"sgima: 1.0": "no 'sgima'.*'sigma'", "sigma: -1.0": "`sigma`"}.items():
        profile.write_text(f"one: {{runs: [{{dataset: digits}}], noise: [{{{noise}}}], seeds: 1}}")
        with pytest.raises(ValueError, match=message):
            pipeline.figures("smoke")
    assert not (folder / "build").exists()


def test_a_notebook_without_its_data_fails_and_the_others_go_on(project, monkeypatch, capfd):
    folder = project("pass")
    (folder / "notebooks" / "two.ipynb").write_bytes((folder / "notebooks/one.ipynb").read_bytes())
    (folder / "notebooks" / "smoke.yaml").write_text("one: {number: 2}\ntwo: {number: 3}\n")
    parameters = pipeline.checked_parameters

    def without(profile, name, train):
        if name == "one":
            raise pipeline.datasets.DataUnavailable("CIFAR-100 is not here")
        return parameters(profile, name, train)

    monkeypatch.setattr(pipeline, "checked_parameters", without)
    assert not pipeline.figures("smoke")
    said = capfd.readouterr().out
    assert "one: left out, for its data. CIFAR-100 is not here" in said and "FAILED: one\n" in said
    assert (folder / "build" / "smoke" / "two.ipynb").exists()


def test_compilation_is_summed_over_what_was_trained_just_now(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(pipeline.profiles, "store", lambda *_: store)
    block = {"dataset": "digits", "depth": 1, "seed": [0, 1, 2]}
    for run, seconds in zip(runs.grid([block]), (100.0, 5.0, 2.0)):
        history = {"seconds": [seconds, 1.0], "compile_seconds": [seconds - 1, 0.0]}
        store.save({"key": runs.key_of(run), "run": run.settings(), "history": history})
    old = store.find(runs.key_of(runs.grid([block])[0]))
    os.utime(old, (1.0, 1.0))
    plan = {"one": {"runs": [block]}, "two": {"runs": [block]}, "three": {}}
    said = pipeline._compilation("smoke", plan, begun=2.0)
    assert said.startswith("2 runs were trained, 9 s") and "took 5 s more, 36 %" in said
    assert "No run" in pipeline._compilation("smoke", {"three": {}}, begun=2.0)


def test_without_training_what_has_no_runs_is_left_out_and_named(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path)
    monkeypatch.setattr(pipeline.profiles, "store", lambda *_: store)
    one, two = ({"runs": [{"dataset": "digits", "depth": depth}]} for depth in (1, 2))
    [run] = runs.grid(one["runs"])
    store.save({"key": runs.key_of(run), "run": run.settings(), "history": {}})
    assert list(pipeline._recorded("paper", {"one": one, "two": two, "three": {}})) == [
        "one", "three",
    ]  # fmt: skip
    assert "two: none of 1 runs is recorded, about 0.0 hours" in capsys.readouterr().out


def test_the_profile_follows_the_device(monkeypatch):
    monkeypatch.setattr(runs, "device", lambda: "cpu")
    assert pipeline.choose_profile()[0] == "quick"
    monkeypatch.setattr(runs, "device", lambda: "NVIDIA H100")
    profile, why = pipeline.choose_profile()
    assert profile == "paper" and "NVIDIA H100" in why
    assert pipeline.choose_profile("smoke")[0] == "smoke"
