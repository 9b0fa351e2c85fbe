"""Sentences are computed, and the command line does as it says."""

import pandas as pd

from langevin import __main__, report
from langevin.store import Store


def test_in_short_every_verdict_has_its_cell_and_what_was_not_run_is_named():
    rows = pd.DataFrame(
        [("C1", "one", "holds", 8), ("C1", "two", "not decided", 8), ("C2", "one", "does not", 8),
         ("C2", "one", "", 8), ("C3", "two, deep", "holds", 8),
         ("C1", "three", "not decided", 0), ("C2", "three", "not decided", 0)],
        columns=["claim", "setting", "verdict", "pairs"],
    ).assign(seeds="8 of 20")  # fmt: skip
    lines = report.in_short(rows).splitlines()
    assert lines[0].count("C") == 3 and "C4" not in lines[0]
    assert lines[2:] == [
        "| one | **holds** (8 of 20) | **does not hold** (8 of 20) |  |",
        "| two | not decided (8 of 20) |  |  |",
        "| two, deep |  |  | **holds** (8 of 20) |",
        "",
        "Too few runs yet: three (C1, C2).",
    ]


def test_why_counts_what_each_noise_starts_in_the_deepest_networks_of_the_papers_start():
    run = {"depth": 40, "initializer": "glorot_uniform", "learning_rate": 1e-3, "sigma": 1e-3,
           "seed": 9, "noise_cap": None, "noise_start": 0.0, "noise_stop": 1.0, "started": True,
           "learned": False, "diverged": False, "val_accuracy": 0.95}  # fmt: skip
    other = [{"seed": 0, "sigma": 0.0, "started": False}, {"noise_cap": 100.0, "started": False},
             {"noise_stop": 0.01}, {"noise_start": 0.01}, {}, {"noise_cap": 1000.0},
             {"depth": 20}, {"learning_rate": 3e-4}, {"learning_rate": 3e-4, "sigma": 0.0},
             {"initializer": "he_uniform"},
             {"initializer": "he_uniform", "sigma": 0.0}]  # fmt: skip
    runs = pd.DataFrame([{**run, **one} for one in other])
    sentence, table = report.why(runs)
    assert sentence.startswith("Noise repairs a silent start") and "none 0 of 1" in sentence
    assert "its P at most 100 it starts 0 of 1" in sentence
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    trained = "1 of 1, median accuracy 95.0 %"
    assert rows[0] == ["noise, Adam at depth 40 from Glorot's start, seeds 0 to 9",
                       "runs that end trained"]  # fmt: skip
    assert dict(rows[2:]) == {
        "none": "0 of 1", "all along": trained, "in the first 1 % of steps alone": trained,
        "only after them": trained, "all along, its P at most 100": "0 of 1",
        "all along, its P at most 1000": trained, "none, from He's start": trained,
        "none, learning rate 0.0003": trained,
    }  # fmt: skip
    runs["started"] |= runs.sigma == 0
    assert "do not single out" in report.why(runs)[0]
    assert "do not say why" in report.why(runs[runs.noise_stop == 1])[0]


def test_the_answer_counts_both_starts_at_the_greatest_depth():
    rows = [
        {"depth": depth, "optimizer": "adam", "initializer": start, "sigma": sigma,
         "langevin_layers": "all", "started": start == "he_uniform" or sigma > 0,
         "val_accuracy": 0.96 - 0.1 * (sigma > 0)}
        for depth in (3, 40) for start in ("glorot_uniform", "he_uniform") for sigma in (0.0, 1e-3)
    ]  # fmt: skip
    assert report.answer(pd.DataFrame(rows)) == (
        "Adam, 40 layers, MNIST: from the paper's initialization 0 of 1 runs end trained without "
        "noise and 1 of 1 with it (median accuracy of those none and 86.0 %); from He's 1 of 1 "
        "runs end trained without noise and 1 of 1 with it (median accuracy of those 96.0 % and "
        "86.0 %)."
    )


def test_the_command_line_lists_trains_and_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(__main__.profiles, "store", lambda *_: Store(tmp_path))
    small = {"dataset": "digits", "batch_size": 64, "epochs": 1, "depth": 1, "seed": [0, 1]}

    given = {"depth-mnist": {"runs": [small]}}
    monkeypatch.setattr(__main__.profiles, "parameters", lambda _: given)
    only = ["--profile", "smoke", "--only", "depth-mnist"]
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 0 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["train", *only, "--seeds", "1"])
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 1 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["show", *only])
    assert "val_accuracy" in capsys.readouterr().out
    assert "ValueError" in __main__.main(["list", "--only", "no-such"])
