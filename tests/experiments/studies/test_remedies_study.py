"""The comparison: which rate is chosen, and that what is reported is not what chose it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import yaml

from langevin.experiments import Store, grid
from langevin.experiments.data import datasets
from langevin.experiments.networks import remedies
from langevin.experiments.networks.remedies import interventions
from langevin.experiments.results import plots
from langevin.experiments.studies import rates
from langevin.experiments.studies import remedies as study
from langevin.experiments.training import runs
from langevin.experiments.training.store import root

NOISE = [{"sigma": 0.0}, {"sigma": 1e-3, "langevin_layers": 0.3}]
BLOCK = {
    "dataset": "digits", "validation": True, "depth": 3, "seed": [100, 101],
    "remedy": [None, "elu"], "learning_rate": [1e-3, 3e-3],
}  # fmt: skip


def finals_of(tried, accuracy):
    rows = [
        {"key": runs.key_of(run), "val_accuracy": accuracy(run), "val_loss": run.learning_rate,
         "diverged": accuracy(run) != accuracy(run)}
        for run in tried
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def tried():
    return grid([BLOCK])


def rates_of(reported, remedy):
    return {run.learning_rate for run in reported if run.remedy == remedy}


def test_each_remedy_gets_the_rate_of_its_best_mean_accuracy(tried):
    best = {None: 1e-3, "elu": 3e-3}

    def accuracy(run):  # one seed speaks for the other rate, the mean does not
        right = run.learning_rate == best[run.remedy]
        return {100: 0.9 if right else 0.5, 101: 0.6 if right else 0.7}[run.seed]

    reported = rates.confirmed(tried, finals_of(tried, accuracy), NOISE, 2)
    assert rates_of(reported, None) == {1e-3} and rates_of(reported, "elu") == {3e-3}
    assert len(reported) == 2 * 2 * 2


def test_equals_are_told_apart_by_the_loss_and_a_diverged_rate_is_out(tried):
    equal = rates.confirmed(tried, finals_of(tried, lambda run: 0.5), NOISE, 1)
    assert rates_of(equal, "elu") == {1e-3}  # the loss there is the rate

    def one_diverges(run):
        return float("nan") if (run.learning_rate, run.seed) == (1e-3, 101) else 0.5

    reported = rates.confirmed(tried, finals_of(tried, one_diverges), NOISE, 1)
    assert rates_of(reported, None) == {3e-3}


def test_reported_runs_see_the_test_set_with_seeds_and_noise_of_their_own(tried):
    reported = rates.confirmed(tried, finals_of(tried, lambda run: 0.5), NOISE, 3)
    assert {run.seed for run in reported} == {0, 1, 2}
    assert not any(run.validation for run in reported)
    assert {(run.sigma, run.langevin_layers) for run in reported} == {(0.0, None), (1e-3, 0.3)}


def test_a_noise_that_names_an_optimizer_is_for_that_one_alone(tried):
    by_sgd = [dataclasses.replace(run, optimizer="sgd") for run in tried]
    noise = [{"sigma": 0.0}, {"optimizer": "adam", "sigma": 1e-3}, {"optimizer": "sgd", "sigma": 1}]
    both = [*tried, *by_sgd]
    reported = rates.confirmed(both, finals_of(both, lambda run: 0.5), noise, 1)
    found = {(run.optimizer, run.sigma) for run in reported}
    assert found == {("adam", 0.0), ("adam", 1e-3), ("sgd", 0.0), ("sgd", 1.0)}


def test_what_is_not_recorded_chooses_nothing(tried):
    finals = finals_of([run for run in tried if run.remedy], lambda run: 0.5)
    finals.loc[len(finals)] = finals_of(tried[:1], lambda run: 0.9).iloc[0]  # one of its four
    assert {run.remedy for run in rates.confirmed(tried, finals, NOISE, 1)} == {"elu"}


def test_the_paper_profile_tries_every_remedy_and_none():
    blocks = yaml.safe_load((root() / "notebooks" / "paper.yaml").read_text())["remedies"]["runs"]
    for model in remedies.MODELS:
        tried = {run.remedy for run in grid(blocks) if run.model == model}
        elsewhere = {*interventions.MEMBERS, "adam-atan2"}  # in mechanism and in epsilon
        assert tried == {None, *remedies.BY_NAME} - elsewhere


def outcome(remedy, seed, sigma, accuracy, **other):
    """A row of finals, as of a run on MNIST."""
    run = runs.Run(depth=20, remedy=remedy, seed=seed, sigma=sigma)
    return {
        **run.settings(), "langevin_layers": "all", "val_accuracy": accuracy, "loss": 0.1,
        "val_loss": 0.1, "accuracy": 0.9, "started": True, "learned": True, "diverged": False,
        "key": f"{remedy}{seed}{sigma}", "backend": "tensorflow", "device": "cpu",
        "data_hash": "a", "dataset_label": "MNIST", "classes": 10, "group_size": 1, **other,
    }  # fmt: skip


def test_figure_and_table_have_a_row_a_remedy():
    rows = [
        outcome(remedy, seed, sigma, 0.9 + 0.03 * bool(remedy) - 0.01 * (sigma > 0) + seed / 1e3,
                started=remedy is not None or sigma > 0 or seed > 1, dataset="digits")
        for remedy in (None, "elu") for sigma in (0.0, 1e-3) for seed in range(8)
    ]  # fmt: skip
    finals = study.named(pd.DataFrame(rows))
    frame = pd.DataFrame({"key": finals.key, "seconds": 2.0})
    table = study.table(frame, finals).set_index("remedy")
    assert table.loc[study.PLAIN, "alone"] == "90.45 %, 6 of 8"
    assert table.loc[study.PLAIN, "with Langevin noise"] == "89.35 %"
    assert table.loc["elu", "with Layer Langevin noise"] == "–"
    assert table.loc["elu", "gain over ReLU"] == "+3.00 (+3.00 to +3.00), 6 of 8 pairs"
    assert table.loc[study.PLAIN, "gain over ReLU"] == "–"
    assert table.loc["elu", "noise adds"] == "-1.00 (-1.00 to -1.00)"
    assert table.weights.nunique() == 1 and set(table.seconds) == {2.0}
    said = study.answer(finals)
    assert "1 of 1 end trained in every run alone, 1 of these further than plain ReLU" in said
    assert "changes these by -1.00 points" in said and "up 0, down 1" in said
    assert "1 help and 0 hurt" in said and "helps 0 and hurts 1" in said
    assert "Most accurate alone: elu 93.35 %; plain ReLU: 90.45 %, 6 of 8." in said
    axes = study.figure(finals, "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [study.PLAIN, "elu"]
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("6 → 8 of 8") == 2  # ReLU by noise, and by the remedy
    assert len(shown) == 3
    drawn = {line.get_color(): line.get_xdata() for line in axes.lines if len(line.get_xdata())}
    np.testing.assert_allclose(drawn[plots.GREY], [3] * 6)


def test_a_remedy_that_ran_at_one_depth_alone_is_drawn_there():
    rows = [
        outcome(remedy, seed, 0.0, 0.9 + 0.03 * bool(remedy), depth=depth, dataset="digits",
                key=f"{remedy}{seed}{depth}")
        for remedy, depth in ((None, 20), (None, 40), ("elu", 40)) for seed in range(2)
    ]  # fmt: skip
    one, other = study.figure(study.named(pd.DataFrame(rows)), "title").axes
    grey = [
        [line for line in axes.lines if line.get_color() == plots.GREY and len(line.get_xdata())]
        for axes in (one, other)
    ]
    assert not grey[0] and len(grey[1]) == 1


def test_the_table_of_known_data_is_made_without_it(monkeypatch):
    def unavailable(name):
        raise datasets.DataUnavailable(name)

    monkeypatch.setattr(datasets, "load", unavailable)
    runs._data_of.cache_clear()
    finals = study.named(pd.DataFrame([outcome(None, seed, 0.0, 0.9) for seed in range(2)]))
    table = study.table(pd.DataFrame({"key": finals.key, "seconds": 2.0}), finals)
    assert table.weights.tolist() == [129_930]


def test_answer_tells_remedies_that_train_alone_from_those_that_need_the_noise():
    started = {
        None: (0, 0), "elu": (3, 3), "selu": (3, 3), "tanh": (3, 2), "swish": (1, 3), "gelu": (2, 1)
    }  # fmt: skip
    rows = [
        outcome(remedy, seed, sigma, 0.9 + gain * (sigma > 0), started=seed < shares[sigma > 0],
                dataset="digits")
        for (remedy, shares), gain in zip(started.items(), (0, 0.01, -0.01, -0.02, 0, 0))
        for sigma in (0.0, 1e-3) for seed in range(3)
    ]  # fmt: skip
    rows += [
        outcome("elu", seed, 1e-3, 0.92, langevin_layers="deepest 30 %", key=f"layer{seed}",
                dataset="digits")
        for seed in range(3)
    ]  # fmt: skip
    (said,) = study.answer(study.named(pd.DataFrame(rows))).splitlines()
    assert "3 of 5 end trained in every run alone" in said
    assert "by -1.00 points of accuracy (the median; half of them -1.50 to +0.00)" in said
    assert "up 1, down 2; fewer runs end trained with 1." in said
    assert "Layer Langevin noise changes these by +2.00 points of accuracy" in said
    assert "2 others more runs end trained with 1 by Langevin noise, fewer with 1;" in said
    assert "No verdict on one alone: that needs 6 pairs of runs." in said


def test_answer_counts_a_remedy_with_a_start_of_its_own_once_over_all_starts():
    starts, remedy = ("glorot_uniform", "he_uniform"), {None: 0, "elu": 0.01}
    rows = [
        outcome(name, seed, sigma, 0.9 + gain * (sigma > 0), initializer=start,
                key=f"{name}{start}{seed}{sigma}")
        for name, gain in remedy.items() for start in starts
        for sigma in (0.0, 1e-3) for seed in range(3)
    ]  # fmt: skip
    rows += [outcome("selu", seed, sigma, 0.9) for sigma in (0.0, 1e-3) for seed in range(3)]
    all_of, *lines = study.answer(study.named(pd.DataFrame(rows))).splitlines()
    assert "3 of 3 end" in all_of and "up 2, down 0" in all_of
    assert len(lines) == 2 and all("2 of 2 end" in line for line in lines)


def test_a_remedy_is_held_against_relu_with_adam_and_its_own_start_against_both_of_relus():
    starts = ("glorot_uniform", "he_uniform")
    rows = [
        outcome(None, seed, 0.0, accuracy + seed / 1e3, initializer=start, key=f"{start}{seed}")
        for start, accuracy in zip(starts, (0.90, 0.95)) for seed in range(6)
    ]  # fmt: skip
    rows += [outcome("selu", seed, 0.0, 0.93 + seed / 1e3) for seed in range(6)]
    rows += [
        outcome(None, seed, 0.0, 0.97 + seed / 1e3, optimizer="sgd", key=f"sgd{seed}")
        for seed in range(6)
    ]
    finals = study.named(pd.DataFrame(rows).assign(dataset="digits"))
    table = study.table(pd.DataFrame({"key": finals.key.unique(), "seconds": 2.0}), finals)
    table = table.set_index(["remedy", "initializer"])["gain over ReLU"]
    assert table["selu" + study.OWN, starts[0]].startswith("+3.00 (")
    assert table["selu" + study.OWN, starts[1]].startswith("-2.00 (")
    assert table[study.PLAIN + ", SGD", starts[0]].startswith("+7.00 (")
    told = study.overview(finals, grid([BLOCK]))
    gains = "(+3.00 (+3.00 to +3.00) over Glorot; -2.00 ("
    assert told.count(f"own start: 93.25 % {gains}") == 1


def test_overview_has_every_remedy_with_its_formula_and_what_noise_does_to_it():
    rows = [
        outcome(remedy, seed, sigma, 0.90 + gain * (sigma > 0) + seed / 1e3)
        for remedy, gain, seeds in ((None, 0.02, 6), ("elu", -0.02, 6), ("swish", 0.02, 5))
        for seed in range(seeds) for sigma in (0.0, 1e-3)
    ]  # fmt: skip
    found = study.overview(study.named(pd.DataFrame(rows)), grid([BLOCK]))
    told, lines = found.split("\n\n")[0], found.split("\n\n")[1].splitlines()
    assert "tried without noise with 2 seeds: Adam, 0.001, 0.003 (3 of 3 have the least" in told
    assert told.endswith("Sigma is 0.001 with Adam.")
    assert len(lines) == 3 + len(remedies.BY_NAME)
    by_name = {line.split(" | ")[0].strip("| "): line for line in lines[2:]}
    assert set(by_name) == {study.PLAIN, *remedies.BY_NAME}
    assert "Adam, Glorot: 90.25 %; Langevin 92.25 %; Layer –" in by_name[study.PLAIN]
    assert by_name[study.PLAIN].endswith("| not recorded | helps |")
    assert "90.25 % (+0.00 (+0.00 to +0.00)); Langevin 88.25 %" in by_name["elu"]
    assert "| TensorFlow, JAX |" in by_name["elu"] and "| TensorFlow |" in by_name["heavy-ball"]
    assert by_name["elu"].endswith("| not recorded | hurts |")
    assert "not decided, 5 pairs" in by_name["swish"] and "x sigmoid(x)" in by_name["swish"]
    assert by_name["gelu"].endswith("| not recorded | not recorded | not recorded |")
    cells = [line.replace("\\|", "").count("|") for line in lines]
    assert set(cells) == {9}  # a bar in a formula does not end its cell


def test_recorded_is_empty_where_nothing_is(tried, tmp_path):
    found = study.recorded({"noise": NOISE, "seeds": 3}, tried, Store(tmp_path))
    told = study.overview(found, tried)
    assert found.empty and "No run is recorded yet" in study.answer(found)
    assert told.count("\n| ") == len(remedies.BY_NAME) + 3 and "depth 20" not in told
