"""The README's findings come from the recorded runs, and from nothing else."""

import re
import shutil

import pandas as pd

from langevin import __main__, badges, datasets, report, runs, sweeps
from langevin.store import Store, root


def test_the_documents_are_made_from_the_recorded_runs_and_made_again_the_same(
    tmp_path, monkeypatch
):
    (tmp_path / "docs").mkdir()
    files = [tmp_path / name for name in ("README.md", "docs/findings.md")]
    for name in ("README.md", "docs/findings.md", "CITATION.cff"):
        shutil.copy(root() / name, tmp_path / name)
    monkeypatch.setattr(report, "root", lambda: tmp_path)
    monkeypatch.setattr(report, "verdicts_in_short", lambda: "the verdicts")
    monkeypatch.setattr(report, "findings", lambda: "what was found")
    monkeypatch.setattr(report, "table", lambda: "| a | table |")

    def marks():
        lines = "\n".join(path.read_text() for path in files).splitlines()
        return [line for line in lines if line.startswith("<!-- ")]

    before = marks()
    report.write_readme()
    once = [path.read_text() for path in files]
    report.write_readme()
    assert [path.read_text() for path in files] == once
    assert marks() == before and len(before) == 10
    assert "the verdicts" in once[0] and "| a | table |" in once[0] and "@article" in once[0]
    assert "what was found" in once[1] and badges.readme_badges() in once[0]


def test_the_citation_is_the_one_of_the_citation_file():
    said = report.citation()
    assert "{Bras, Pierre}" in said and "{arXiv preprint arXiv:2212.14718}" in said
    assert said in (root() / "README.md").read_text(), "make readme"


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
