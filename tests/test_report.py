"""The README's findings come from the recorded runs, and from nothing else."""

import re
import shutil

import pandas as pd

from langevin import __main__, datasets, report, runs, sweeps
from langevin.store import Store, root


def test_the_readme_is_made_from_the_recorded_runs_and_made_again_the_same(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    shutil.copy(root() / "README.md", readme)
    before = readme.read_text()
    monkeypatch.setattr(report, "root", lambda: tmp_path)
    monkeypatch.setattr(report, "findings", lambda: "what was found")
    monkeypatch.setattr(report, "table", lambda: "| a | table |")
    report.write_readme()
    once = readme.read_text()
    report.write_readme()
    assert readme.read_text() == once
    marks = [line for line in before.splitlines() if line.startswith("<!-- ")]
    assert [line for line in once.splitlines() if line.startswith("<!-- ")] == marks
    assert len(marks) == 4 and "what was found" in once and "| a | table |" in once


def test_the_table_has_a_row_a_notebook_with_its_command():
    rows = report.table().splitlines()[2:]
    for row, notebook in zip(rows, report.profiles.notebooks("paper"), strict=True):
        assert f"`make {notebook}`" in row
    assert "C1, C2" in next(row for row in rows if "`depth-mnist`" in row)


def test_in_short_every_verdict_is_told_once_under_its_claim():
    rows = pd.DataFrame(
        [("C1", "one", "holds"), ("C1", "two", "not decided"), ("C2", "one", "does not"),
         ("C2", "two", "does not"), ("C2", "two", "")],
        columns=["claim", "setting", "verdict"],
    )  # fmt: skip
    first, second = report.in_short(rows).splitlines()
    assert first.startswith("- **C1") and first.endswith("**Holds**: one. **Not decided**: two.")
    assert second.startswith("- **C2") and second.endswith(" **Does not**: one; two.")


def test_without_the_data_the_time_is_not_guessed(monkeypatch):
    def unavailable(run):
        raise datasets.DataUnavailable(run.dataset)

    planned = runs.grid([{"depth": 2, "seeds": 3}])
    monkeypatch.setattr(sweeps, "dataset_of", unavailable)
    assert report._about(planned, 2, 60, "minutes") == "3 runs"
    monkeypatch.setattr(sweeps, "dataset_of", lambda run: datasets.load("digits"))
    assert re.fullmatch(r"about \d+\.\d minutes", report._about(planned, 2, 60, "minutes"))


def test_the_command_line_lists_trains_and_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(__main__.profiles, "store", lambda *_: Store(tmp_path))
    small = {"dataset": "digits", "batch_size": 64, "epochs": 1, "depth": 1, "seed": [0, 1]}
    monkeypatch.setattr(__main__.profiles, "planned", lambda *_: runs.grid([small]))
    only = ["--profile", "smoke", "--only", "depth-mnist"]
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 0 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["train", *only, "--seeds", "1"])
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 1 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["show", *only])
    assert "val_accuracy" in capsys.readouterr().out
    assert "ValueError" in __main__.main(["list", "--only", "no-such"])
