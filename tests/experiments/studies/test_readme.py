"""What the README says of the runs comes from the recorded ones, and from nothing else."""

import shutil

import pytest

from langevin.experiments.bench import costs
from langevin.experiments.data import datasets
from langevin.experiments.studies import profiles, readme, tables
from langevin.experiments.studies.answer import checked_values, require
from langevin.experiments.training import runs, sweeps
from langevin.experiments.training.store import root


def test_the_documents_are_made_from_the_recorded_runs_and_made_again_the_same(
    tmp_path, monkeypatch
):
    shutil.copy(root() / "README.md", tmp_path)
    shutil.copytree(root() / "docs", tmp_path / "docs")
    documents = [tmp_path / "README.md", *sorted((tmp_path / "docs").glob("*.md"))]

    def read():
        return [path.read_text() for path in documents]

    before = read()
    names = ("answer", "verdicts", "findings", "table", "partly", "soak", "citation", "beside")
    names += ("remedies", "claims", "notebooks")
    monkeypatch.setattr(readme, "root", lambda: tmp_path)
    for name in names:
        monkeypatch.setattr(readme, name, lambda name=name: f"what {name} says")
    readme.write()
    once = read()
    readme.write()
    assert read() == once
    for old, new in zip(before, once):
        marks = [line for line in old.splitlines() if line.startswith("<!-- ")]
        assert [line for line in new.splitlines() if line.startswith("<!-- ")] == marks
    assert all("".join(once).count(f"what {name} says") == 1 for name in names)


def test_a_sentence_that_the_runs_do_not_bear_out_is_named():
    with pytest.raises(ValueError, match="must support the sentence: .Noise helps.*answer.md"):
        require(False, "Noise helps.")


def test_the_answer_fails_to_build_when_noise_no_longer_helps():
    finals = tables.finals_of("paper", "epsilon")
    assert checked_values(finals)["plain_40"] == "5"
    noisy = (finals.depth == 40) & (finals.sigma > 0)
    finals.loc[noisy, "started"] = False
    with pytest.raises(ValueError, match="Adam trains more runs with noise at 40 layers"):
        checked_values(finals)


def test_the_table_has_a_row_a_notebook_with_its_command(monkeypatch):
    # Not estimated here: every network of the paper would be built for it.
    monkeypatch.setattr(sweeps, "estimate", lambda planned, cores: 60.0 * len(planned) / cores)
    rows = readme.table().splitlines()[2:]
    for row, notebook in zip(rows, profiles.notebooks("paper"), strict=True):
        assert f"`make {notebook}`" in row
    row = next(row for row in rows if "`depth-mnist`" in row)
    planned = len(profiles.planned("quick", "depth-mnist"))
    assert "C1, C2" in row and f"about {planned / 2:.1f} minutes" in row


def test_what_is_recorded_in_part_is_told_exactly():
    planned = runs.grid(
        [{"depth": [3, 20], "optimizer": ["adam", "sgd"], "sigma": [0.0, 1e-3], "seeds": 4}]
    )
    half = [run for run in planned if run.depth == 20 and run.seed < 2]
    assert runs.which(half, planned) == ["depth 20; seed 0, 1 (8 runs)"]
    assert runs.which(half[:1], half[:1]) == ["all (1 run)"]
    odd = [*half, next(run for run in planned if run.depth == 3)]
    assert runs.which(odd, planned) == [
        "depth 20; seed 0, 1 (8 runs)", "depth 3; optimizer adam; sigma 0.0; seed 0 (1 run)",
    ]  # fmt: skip


def test_a_learning_rate_that_was_chosen_is_not_told_and_one_that_is_tried_is():
    tried = runs.grid([
        {"remedy": [None, "elu"], "learning_rate": [1e-3, 3e-3], "validation": True, "seed": 100}
    ])  # fmt: skip
    reported = runs.grid([
        {"remedy": None, "learning_rate": 1e-3, "seeds": 2},
        {"remedy": "elu", "learning_rate": 3e-3, "seeds": 2},
    ])  # fmt: skip
    planned = [*tried, *reported]
    first = [run for run in reported if run.seed == 0]
    assert runs.which(first, planned) == ["validation False; seed 0 (2 runs)"]
    half = [run for run in tried if run.learning_rate == 1e-3]
    assert runs.which(half, planned) == [
        "validation True; learning_rate 0.001; seed 100 (2 runs)"
    ]  # fmt: skip


def test_the_time_is_estimated_without_the_data(monkeypatch):
    def unavailable(run):
        raise datasets.DataUnavailable(run.dataset)

    planned = runs.grid([{"depth": 20, "seeds": 3}])
    known = sweeps.estimate(planned, 1)
    sweeps._operations.cache_clear()
    monkeypatch.setattr(sweeps, "dataset_of", unavailable)
    assert sweeps.estimate(planned, 1) == known and 10 < known < 1000
    assert sweeps.estimate(planned, 2) == known / 2


def test_the_citation_names_the_paper():
    said = readme.citation()
    assert "{Bras, Pierre}" in said and "{arXiv preprint arXiv:2212.14718}" in said


RECORDED = [readme.answer, readme.claims, readme.notebooks, readme.verdicts,
            readme.findings, readme.partly, readme.beside,
            readme.remedies, costs.readme, readme.soak, readme.citation]  # fmt: skip


@pytest.mark.parametrize("made", RECORDED)
def test_what_the_readme_says_is_what_was_recorded_last(made):
    texts = [path.read_text() for path in (root() / "README.md", *(root() / "docs").glob("*.md"))]
    assert made() in "".join(texts), "make readme"
