"""The tables say what the stored runs say, and what is not there."""

import pandas as pd
import pytest
import test_plots

from langevin.experiments.results import analysis, report
from langevin.experiments.studies import tables
from langevin.experiments.training import runs

finals = test_plots.finals
frame = test_plots.frame


@pytest.fixture
def stored(finals, monkeypatch):
    """A project in which depth-mnist has its runs, and no other study any."""
    monkeypatch.setattr(
        tables, "finals_of",
        lambda _, notebook: finals.copy() if notebook == "depth-mnist" else pd.DataFrame(),
    )  # fmt: skip
    return finals


def test_every_claim_has_its_row_in_every_setting(stored):
    rows = tables.verdicts(tables.claims("paper"))
    assert set(rows.claim) == {"C1", "C2", "C3", "C4"}
    dense = rows[(rows.figure == "depth-mnist") & (rows.seeds != "none")]
    assert len(dense) == 2 * 4  # two claims, two initializers, two optimizers
    adam = stored.query("optimizer == 'adam' and initializer == 'glorot_uniform'")
    settings = [here for _, here in stored.groupby(["initializer", "optimizer"])]
    settings.sort(key=lambda here: here.key.iloc[0] not in set(adam.key))  # this one first
    both = (analysis.claim_1, analysis.claim_2)
    told = analysis.verdicts(pd.concat([claim(here, "") for claim in both for here in settings]))
    told = told[told.primary].groupby("claim").head(1)  # after Holm over all four settings
    mine = dense[dense.setting.str.endswith(": Glorot initialization (the paper's), Adam")]
    assert mine.setting.str.startswith("dense, made-up images: ").all()  # not MNIST
    assert set(dense.seeds) == {"0 of 20"}  # two of five depths are there
    assert list(mine.verdict) == list("so far: " + told.verdict)
    rest = rows.drop(dense.index)
    assert set(rest.figure) == set(tables.WHERE) and set(rest.seeds) == {"none"}
    assert set(rest.verdict) == {analysis.NOT_DECIDED}
    here, others = rest.figure == "depth-mnist", "no run is there of: "
    assert list(rest.claim[here]) == ["C1", "C2"]
    assert set(rest.setting[here]) == {"dense, the rest"}
    assert rest.measured[here].str.startswith(f"{others}optimizer sgd, adadelta").all()
    assert rest.measured[~here].str.fullmatch(rf"{others}all \(\d+ runs\)").all()


def test_claim_4_has_a_row_a_placement_with_the_seeds_of_its_network(stored, monkeypatch):
    own = stored.query("depth == 3 and initializer == 'glorot_uniform'")
    networks = {
        "depth-mnist": stored,
        "resnet": own.assign(model="resnet", dataset="cifar10", depth=38),
    }
    monkeypatch.setattr(tables, "finals_of", lambda _, one: networks.get(one, pd.DataFrame()))
    claims = tables.claims("paper")
    rows = tables.verdicts(claims).query("figure == 'resnet' and seeds != 'none'")
    assert len(rows) == 2 * len(tables.ARMS)  # two optimizers
    assert set(rows.seeds) == {"7 of 8"}  # of the fixture, and of the profile
    assert report.in_short(claims).count("| so far: ") >= 2


def test_digits_decide_nothing(stored, monkeypatch):
    monkeypatch.setattr(tables, "finals_of", lambda *_: stored.assign(dataset="digits"))
    assert set(tables.verdicts(tables.claims("smoke")).verdict) == {analysis.NOT_DECIDED}


def test_table_1_has_a_row_a_setting_with_both_arms_medians(stored):
    table = tables.outcomes("paper")
    assert len(table) == 2 * 2 * 2  # depths, optimizers, initializers
    deep = table.query("depth == 40 and initializer == 'glorot_uniform' and optimizer == 'adam'")
    [row] = deep.itertuples()
    assert (row.started_0, row.started_1, row.n, row.n_both) == (0, 6, 7, 0)
    here = "depth == 3 and initializer == 'he_uniform' and optimizer == 'adam'"
    [shallow] = table.query(here).loss_0
    assert shallow == pytest.approx(stored.query(f"{here} and sigma == 0").loss.median())


def test_saved_are_csv_markdown_and_latex(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "root", lambda: tmp_path)
    table = tables.save(tables.verdicts(tables.claims("paper")), "paper", "table-2")
    folder = tmp_path / "figures" / "paper"
    assert len(pd.read_csv(folder / "table-2.csv")) == len(table)
    assert len((folder / "table-2.md").read_text().splitlines()) == len(table) + 2
    latex = (folder / "table-2.tex").read_text()
    assert latex.count(r"\\") >= len(table) and "95 %" not in latex  # % begins a comment


def test_a_claims_share_of_recorded_runs_is_read_from_the_store(monkeypatch, tmp_path):
    blocks = [{"dataset": "digits", "batch_size": 64, "depth": 1, "epochs": 1, "seeds": 2}]
    planned = runs.grid(blocks)
    monkeypatch.setattr(tables.profiles, "parameters", lambda _: {"one": {"runs": blocks}})
    store = tables.profiles.Store(tmp_path)
    monkeypatch.setattr(tables.profiles, "store", lambda *_: store)
    assert tables.finals_of("smoke", "one").empty
    [record] = runs.records(planned[1:])
    store.save(record)
    assert list(tables.finals_of("smoke", "one").seed) == [1]
