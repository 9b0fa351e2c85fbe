"""The profiles: every one is made of runs, and every notebook is in every one."""

import json

import pandas as pd
import pytest

from langevin.experiments.data import datasets
from langevin.experiments.helmholtz import learning
from langevin.experiments.studies import profiles, tuning
from langevin.experiments.training import runs
from langevin.experiments.training.store import root

NEW_SEEDS = {"epsilon", "mechanism"}
NOTEBOOKS = {path.stem for path in (root() / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("profile", profiles.NAMES)
def test_a_profile_has_every_notebook_and_valid_runs(profile):
    assert set(profiles.notebooks(profile)) == NOTEBOOKS
    for notebook in NOTEBOOKS:
        given = profiles.parameters(profile)[notebook]
        assert bool(profiles.planned(profile, notebook)) == ("runs" in given)


def test_reported_runs_use_the_first_seeds_or_the_new_ones_of_the_rule_and_none_of_tuning():
    """The rule E1 to E4 was fixed for the seeds 20 to 39, before any run used them."""
    new = set(range(20, 40))
    for notebook in NOTEBOOKS:
        settings = {}
        for run in profiles.planned("paper", notebook):
            if run.validation:  # it only chooses what is reported
                assert run.seed >= 100
                continue
            key = tuple(str(v) for k, v in run.settings().items() if k != "seed")
            settings.setdefault(key, []).append(run.seed)
        for seeds in map(sorted, settings.values()):
            first = [seed for seed in seeds if seed not in new or notebook not in NEW_SEEDS]
            assert first == list(range(len(first)))
            assert len(first) == len(seeds) or new <= set(seeds)


def test_smoke_needs_no_data_host():
    for notebook in NOTEBOOKS:
        assert {run.dataset for run in profiles.planned("smoke", notebook)} <= {"digits"}


def test_paper_and_quick_have_the_settings_that_the_design_asks_for():
    paper = profiles.planned("paper", "depth-mnist")
    settings = {(r.depth, r.optimizer, r.initializer, r.sigma > 0) for r in paper}
    for depth in (3, 10, 20, 30, 40):
        for optimizer in ("adam", "rmsprop"):
            for initializer in ("glorot_uniform", "he_uniform"):
                for noisy in (False, True):
                    assert (depth, optimizer, initializer, noisy) in settings
    adam = [r for r in paper if r.optimizer == "adam"]
    assert max(r.seed for r in adam) == 19 and {r.epochs for r in adam} == {20}
    quick = profiles.planned("quick", "depth-mnist")
    assert {r.depth for r in quick} == {3, 20, 40} and max(r.seed for r in quick) == 2
    assert min(r.epochs for r in quick) >= 4 and {r.dataset for r in quick} == {"mnist"}


def test_what_was_tuned_is_what_the_paper_profile_uses():
    paper = profiles.planned("paper", "depth-mnist")
    for optimizer, chosen in tuning.recorded().items():
        mine = [run for run in paper if run.optimizer == optimizer]
        assert {run.learning_rate for run in mine} == {chosen["learning_rate"]}
        assert {run.sigma for run in mine} == {0.0, chosen["sigma"]}


def test_the_sigma_that_won_is_the_least_tried_as_findings_and_depth_mnist_say():
    tried = pd.read_csv(root() / "figures" / "paper" / "tune.csv").query("setting == 'sigma'")
    least = tried.groupby("optimizer").value.min()
    won = {optimizer: chosen["sigma"] for optimizer, chosen in tuning.recorded().items()}
    assert won == least.to_dict() and set(won) == {"sgd", "adadelta"}
    for where in ("docs/findings.md", "notebooks/depth-mnist.ipynb"):
        text = (root() / where).read_text()
        assert "the least" in text and "two say little about noise" in text


def test_recorded_runs_are_found_by_their_settings():
    folder = root() / "figures" / "paper" / "runs"
    for path in sorted(folder.glob("*/*.json"))[::20]:
        record = json.loads(path.read_text())
        if "run" in record:
            assert runs.key_of(runs.Run(**record["run"])) == path.stem
        else:
            assert learning.key_of(learning.Learning(**record["learning"])) == path.stem


def test_only_paper_runs_are_recorded():
    assert profiles.store("quick", "depth-mnist").folder == root() / ".runs"
    recorded = profiles.store("paper", "depth-mnist").folder
    assert recorded == root() / "figures" / "paper" / "runs" / "depth-mnist"


def test_fresh_trains_again_what_is_asked_for_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "root", lambda: tmp_path)
    monkeypatch.delenv("LANGEVIN_FRESH", raising=False)
    stored = [tmp_path / ".runs" / name for name in ("one.json", "two.json", "checkpoints/one.npz")]
    for path in stored:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    profiles.start_afresh("quick", ["one"])
    assert [path.exists() for path in stored] == [False, True, False]


def test_a_fresh_start_at_paper_scale_that_was_cut_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "root", lambda: tmp_path)
    monkeypatch.setenv("LANGEVIN_FRESH", "")  # to be what it was, afterwards
    store = tmp_path / ".runs" / "fresh"
    store.mkdir(parents=True)
    (store / "one.json").touch()
    profiles.start_afresh("paper", ["one", "two"])
    assert (store / "one.json").exists() and profiles.store("paper", "any").folder == store
    (store / "two.json").touch()
    profiles.start_afresh("paper", ["one", "two"])  # it had come to its end
    assert not list(store.iterdir())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="huge.*|.*'huge'"):
        profiles.parameters("huge")
    with pytest.raises(ValueError, match="no-such"):
        profiles.notebooks("smoke", ["no-such"])


@pytest.fixture
def no_data_host(monkeypatch):
    def load(name):
        if name != "digits":
            raise datasets.DataUnavailable(f"{name} is not to be had")

    monkeypatch.setattr(datasets, "load", load)
    profiles.missing.cache_clear()
    yield
    profiles.missing.cache_clear()


def test_without_data_quick_falls_back_to_digits_loudly(no_data_host, capsys):
    blocks = profiles.available("quick", [{"dataset": "mnist", "depth": 3}, {"dataset": "digits"}])
    assert [block["dataset"] for block in blocks] == ["digits", "digits"]
    said = capsys.readouterr().out
    assert "mnist is not to be had" in said and "***" in said and "digits" in said
    again = profiles.available("quick", [{"dataset": "mnist", "epochs": 3, "batch_size": 32}])
    assert again == [{"dataset": "digits", "epochs": 15, "batch_size": 32, "train_size": None}]
    assert not capsys.readouterr().out  # once is enough


def test_without_data_paper_never_falls_back_and_still_knows_its_recorded_runs(no_data_host):
    runs._data_of.cache_clear(), runs._data_facts.cache_clear()
    blocks = [{"dataset": "mnist", "seed": 0}]
    assert profiles.available("paper", blocks) == blocks
    assert runs.data_facts("mnist") == ("ceda791d3e53beaf", "MNIST")
    with pytest.raises(datasets.DataUnavailable, match="mnist"):
        runs.train(runs.Run(dataset="mnist"))
    runs._data_facts.cache_clear()
