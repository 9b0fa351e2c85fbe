"""Sentences are computed, and the command line does as it says."""

import re

import numpy as np
import pandas as pd
import pytest

from langevin.experiments.results import analysis, details, report
from langevin.experiments.studies import commands
from langevin.experiments.training.store import Store


def finals_of(settings):
    """Runs of Adam as `analysis.final` has them: these settings, and the same for all the rest."""
    same = {"depth": 40, "initializer": "glorot_uniform", "learning_rate": 1e-3, "sigma": 1e-3,
            "optimizer": "adam", "model": "dense", "langevin_layers": "all",
            "seed": 0, "noise_cap": None, "noise_start": 0.0, "noise_stop": 1.0,
            "noise_bias_correction": True, "started": True, "learned": False, "diverged": False,
            "val_accuracy": 0.95, "loss": 0.1}  # fmt: skip
    same |= dict.fromkeys(["accuracy", "val_loss"], 0.1) | dict.fromkeys(analysis.PROVENANCE, "x")
    return pd.DataFrame([{**same, "key": str(key), **one} for key, one in enumerate(settings)])


def test_in_short_every_verdict_has_its_cell_and_what_was_not_run_is_named():
    rows = pd.DataFrame(
        [("C1", "one", "holds", 8), ("C1", "two", "not decided", 8),
         ("C2", "one", "does not hold", 8), ("C2", "one", "", 8), ("C3", "two, deep", "holds", 8),
         ("C1", "three", "not decided", 0), ("C2", "three", "not decided", 0),
         ("C1", "four", "not decided", 0)],
        columns=["claim", "setting", "verdict", "pairs"],
    ).assign(seeds="8 of 20", reason="")  # fmt: skip
    rows.loc[rows.setting == "one", "seeds"] = "20 of 20"
    rows.loc[rows.setting == "four", ["seeds", "reason"]] = "none", "no run is there of: all"
    lines = report.in_short(rows).splitlines()
    assert lines[0].count("C") == 3 and "C4" not in lines[0]
    assert lines[2:] == [
        "| one | **holds** (20 seeds) | **does not hold** (20 seeds) |  |",
        "| two | so far: not decided (8 of 20 seeds) |  |  |",
        "| two, deep |  |  | so far: holds (8 of 20 seeds) |",
        "",
        "Too few runs: three (C1, C2).",
        "",
        "Not decided, since nothing is recorded yet:",
        "",
        "- four (C1), no run is there of: all",
    ]
    assert report.by_claim(rows).splitlines() == [
        "- C1: shallow, no difference: **holds** in one; **so far: not decided** in two.",
        "- C2: the deeper, the more gain: **does not hold** in one.",
        "- C3: noise on the deepest layers is enough: **so far: holds** in two, deep.",
    ]


def test_by_claim_settings_stand_behind_their_network_and_many_are_counted():
    starts = "Glorot initialization (the paper's)", "He initialization"
    pairs = [("C1", network, start) for network in "abcd" for start in starts]
    pairs += [("C2", "a", start) for start in starts]
    told = [(claim, f"{network}: {start}, Adam") for claim, network, start in pairs]
    rows = pd.DataFrame(told, columns=["claim", "setting"])
    rows = rows.assign(verdict="holds", pairs=8, seeds="8 of 8")
    first, second = report.by_claim(rows).splitlines()
    assert first.endswith("**holds** in 8 settings.")
    assert second.endswith("**holds** in a (Glorot, Adam; He, Adam).")


def test_why_counts_what_each_noise_starts_in_the_deepest_networks_of_the_papers_start():
    other = [{"sigma": 0.0, "started": False}, {"noise_cap": 100.0, "started": False},
             {"noise_stop": 0.01}, {"noise_start": 0.01}, {}, {"noise_cap": 1000.0},
             {"depth": 20}, {"learning_rate": 3e-4}, {"learning_rate": 3e-4, "sigma": 0.0},
             {"initializer": "he_uniform"},
             {"initializer": "he_uniform", "sigma": 0.0}]  # fmt: skip
    lone = {"seed": 6, "started": False}  # which other noises lack: it is not counted
    runs = finals_of([*({**one, "seed": seed} for one in other for seed in range(6)), lone])
    sentence, table = report.why(runs)
    assert sentence.startswith("Noise repairs a silent start")
    assert (
        "all along 6 of 6; without noise 0 of 6, at learning rate 0.0003 6 of 6, from He's start "
        "6 of 6 (p against no noise: 0.031 early, 0.031 after them, 0.031 all along, 0.031 from "
        "He's start)."
    ) in sentence
    few = report.why(runs[runs.seed < 5])[0]
    assert "do not single out" in few and "0.062 early" in few and "accuracy" not in few
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    trained = "6 of 6, median accuracy 95.0 %", "yes, p = 0.031"
    assert rows[0] == ["Adam at depth 40, Glorot's start unless said, 6 seeds: noise",
                       "runs that end trained", "more than with none?"]  # fmt: skip
    assert {words: tuple(rest) for words, *rest in rows[2:]} == {
        "none": ("0 of 6", ""), "all along": trained, "in the first 1 % of steps alone": trained,
        "only after them": trained, "all along, its P at most 100": ("0 of 6", "not shown, p = 1"),
        "all along, its P at most 1000": trained, "none, from He's start": trained,
        "none, learning rate 0.0003": trained,
    }  # fmt: skip
    more = finals_of([{**one, "seed": seed} for one in other for seed in range(8)])
    for early, word in ((0.97, "costs"), (0.93, "adds"), (0.95, "is not decided on")):
        more["val_accuracy"] = np.where(more.noise_stop < 1, early, 0.95)
        told, points = report.why(more)[0], 100 * early - 95
        assert f"Once training has started noise {word}" in told
        assert f"{points:+.1f} points ({points:+.1f} to {points:+.1f}, 8 pairs)" in told
    runs["started"] |= runs.sigma == 0
    assert "do not single out" in report.why(runs)[0]
    assert "do not say why" in report.why(runs[runs.noise_stop == 1])[0]


@pytest.mark.parametrize(
    "fails, gain, said",
    [
        ("glorot_uniform", 0.0, "Partly: .* Glorot's, it helps at 40 layers .10 of 10 runs end "
         "trained, without it 0.; from He's it helps at no depth\\."),
        ("", 0.0, "No: .* Glorot's, it helps at no depth; from He's it helps at no depth\\."),
        ("", -0.02, "No: .* helps at no depth and costs 2.0 points .2.0 to 2.0. at 40 layers"),
        ("", 0.02, "Yes: .* Glorot's, it helps at 40 layers .by 2.0 points of accuracy."),
        ("he_uniform", 0.0, "Not as published: .*; from He's it helps at 40 layers .10 of 10"),
    ],
)  # fmt: skip
def test_the_answer_says_where_noise_helps_and_where_it_costs(fails, gain, said):
    answer = report.answer(adam(fails, gain)).replace("**", "")
    assert re.search(said, answer) and "beyond 0.3 points" in answer


def test_further_networks_are_told_after_the_answer_and_what_was_not_run_is_not():
    few = adam("").assign(model="highway", started=lambda runs: runs.sigma == 0)
    said = report.answer(adam("glorot_uniform"), few[few.initializer == "glorot_uniform"])
    first, second = said.split("\n\n")
    assert first.startswith("**Partly") and "trained runs" not in first
    assert second.startswith(
        "In highway networks on x, at 3 to 40 layers, with Adam from the paper's "
        "initialization, Glorot's, it helps at no depth and costs 10 of 10 trained runs at 3 "
        "layers, 10 of 10 trained runs at 40 layers. (Only"
    )
    assert "He's" not in second


def test_where_noise_helps_is_told_of_six_seeds_and_not_of_five():
    runs = adam("glorot_uniform").assign(model="dense")
    assert "it helps at 40 layers (6 of 6" in report.where_it_helps(runs[runs.seed < 6])
    assert report.where_it_helps(runs[runs.seed < 5]).endswith("takes 6 seeds; here are 5.")


def test_the_deepest_networks_are_told_and_those_that_do_not_all_end_trained():
    head, _, *lines = report.headline(adam("glorot_uniform")).splitlines()
    assert head.startswith("| x: runs that end trained |")  # the data
    assert [line.split(" | ")[0] for line in lines] == [
        "| Glorot initialization (the paper's), Adam, depth 40",
        "| He initialization, Adam, depth 40",
    ]
    runs = adam("glorot_uniform")
    runs.loc[(runs.depth == 3) & (runs.seed == 0), "started"] = False
    assert len(report.headline(runs).splitlines()[2:]) == 4


@pytest.mark.parametrize(
    "fails, gain, seeds, said",
    [
        ("glorot_uniform", 0.0, 10, "noise gains: 0 → 10 of 10 end trained"),
        ("", 0.02, 10, "noise gains: 10 → 10 of 10 end trained, +2.00 (+2.00 to +2.00) points of "
         "10 pairs"),
        ("", -0.02, 10, "noise costs: "),
        ("", 0.002, 10, "noise makes no difference that is shown: "),
        ("glorot_uniform", 0.0, 5, "of noise fewer than 6 pairs."),
    ],
)  # fmt: skip
def test_what_a_noise_does_over_none_is_told_if_it_is_sure(fails, gain, seeds, said):
    runs = adam(fails, gain).query(f"depth == 40 and seed < {seeds}")
    glorot, he = report.against_plain(runs, ["initializer"], {"noise": "sigma > 0"}).splitlines()
    assert glorot.startswith(f"- **Glorot initialization (the paper's)**, over no noise: {said}")
    assert he.startswith("- **He initialization**")


def test_how_wide_kernels_are_is_told_of_the_last_epoch_and_hidden_layers():
    arms = [(0.0, 0.12), (1e-3, 0.3)]
    rows = [
        {"initializer": "glorot_uniform", "sigma": sigma, "langevin_layers": "all", "epoch": epoch,
         "kernel_sd": [9.0, width * epoch, width * epoch, 9.0]}
        for sigma, width in arms for epoch in (0, 1)
    ]  # fmt: skip
    said = report.widths_text(pd.DataFrame(rows))
    assert said.startswith("Median sd of the hidden kernels after epoch 1; Glorot's is 0.125, He's")
    assert said.endswith("0.120 without noise (1 runs), 0.300 with noise (1 runs).")


def adam(fails, gain=0.0):
    """Runs of Adam; plain ones of this start fail, and noise gains so much, both at depth 40."""
    rows = [
        {"depth": depth, "initializer": start, "sigma": sigma,
         "started": sigma > 0 or depth == 3 or start != fails,
         "val_accuracy": 0.95 + gain * (sigma > 0) * (depth == 40), "seed": seed}
        for depth in (3, 40) for start in ("glorot_uniform", "he_uniform") for sigma in (0.0, 1e-3)
        for seed in range(10)
    ]  # fmt: skip
    return finals_of(rows)


def test_the_answer_is_that_of_every_optimizer_whose_rate_was_published():
    helped, never = adam("glorot_uniform"), adam("")
    for other, said in ((helped, "Partly: noise"), (never, "It depends on the optimizer.")):
        both = pd.concat([helped, other.assign(optimizer="rmsprop")])
        assert report.answer(both).startswith(f"**{said}")
    for other, said in ((helped, "helps too"), (never, "helps at no depth")):
        answer = report.answer(pd.concat([helped, other.assign(optimizer="sgd")]))
        assert answer.startswith("**Partly: noise")
        assert f"With SGD, whose rates the paper does not give, it {said}." in answer


def of_updates(**arms):
    """Runs of 8 seeds of each update without and with noise, as (how many end trained, accuracy);
    the control at a larger learning rate has none with noise."""
    rows = [
        {"update": update, "variant": update, "sigma": sigma, "seed": seed,
         "learning_rate": 1e-2 if update == "larger" else 1e-3,
         "started": seed < started, "val_accuracy": accuracy + 1e-3 * seed}
        for update, both in arms.items() for sigma, (started, accuracy) in zip((0.0, 1e-3), both)
        for seed in range(8)
    ]  # fmt: skip
    return finals_of(rows)


def details_of(**arms):
    """The cells of the detail's row, and the sentence."""
    said = details.told(of_updates(**arms), {"whole": None, "less": "the detail"}, "larger")
    *table, _, sentence = said.splitlines()
    return [cell.strip() for cell in table[-1].split("|")[2:-1]], sentence


def test_what_a_detail_makes_of_the_gain_is_told_of_the_arm_that_makes_it():
    noisy = details_of(whole=[(0, 0.9), (8, 0.9)], less=[(0, 0.9), (0, 0.9)])
    assert noisy[0] == ["**+8 of 8 runs** (p = 0.0078)"] * 2 + ["+0 of 8 runs (p = 1)"]
    assert "makes **+8 of 8 runs**, of which make: the detail **+8 of 8 runs** (with" in noisy[1]
    plain = details_of(whole=[(0, 0.9), (8, 0.9)], less=[(8, 0.9), (8, 0.9)])
    assert plain[0][0] == noisy[0][0] and plain[0][2] == "**-8 of 8 runs** (p = 0.0078)"
    assert plain[0][1] == "+0.00 points (+0.00 to +0.00, 8 pairs, p = 1)"
    assert "the detail **+8 of 8 runs** (without **-8 of 8 runs**)." in plain[1]
    costs = details_of(whole=[(8, 0.90), (8, 0.92)], less=[(8, 0.90), (8, 0.95)])
    exactly = "**-3.00 points** (-3.00 to -3.00, 8 pairs, p = 0.0078)"
    assert costs[0] == [exactly, exactly, "+0.00 points (+0.00 to +0.00, 8 pairs, p = 1)"]
    small = details_of(whole=[(8, 0.90), (8, 0.902)], less=[(8, 0.90), (8, 0.9)])
    assert "of which make: the detail +0.20 points." in small[1]


@pytest.mark.parametrize(
    "control, said",
    [((8, 0.95), "better at depth 40, **+3.00 points** (+3.00 to +3.00, 8 pairs, p = 0.0078)"),
     ((8, 0.92), "no difference that is shown at depth 40, +0.00 points"),
     ((0, 0.92), "worse at depth 40, **-8 of 8 runs** (p = 0.0078)")],
)  # fmt: skip
def test_a_larger_step_without_noise_stands_beside_the_published_update_with_it(control, said):
    arms = {"whole": [(8, 0.8), (8, 0.92)], "less": [(8, 0.8), (8, 0.8)], "larger": [control]}
    sentence = details_of(**arms)[1]
    assert f"; *larger* without noise, against *whole* with it: {said}" in sentence


def test_an_arm_that_two_updates_share_is_told_as_the_same_runs():
    runs = of_updates(whole=[(8, 0.8), (8, 0.9)], less=[(8, 0.8), (8, 0.8)])
    runs.loc[(runs["update"] == "less") & (runs.sigma == 0), "key"] = runs.key[:8].to_numpy()
    assert "| the same runs |" in details.told(runs, {"whole": None, "less": "the detail"})
    alone = details.told(runs[runs["update"] == "less"], {"whole": None, "less": "the detail"})
    assert alone.endswith("of which make: no detail is taken out.")


def test_the_command_line_lists_trains_and_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands.profiles, "store", lambda *_: Store(tmp_path))
    small = {"dataset": "digits", "batch_size": 64, "epochs": 1, "depth": 1, "seed": [0, 1]}

    given = {"depth-mnist": {"runs": [small]}}
    monkeypatch.setattr(commands.profiles, "parameters", lambda _: given)
    only = ["--profile", "smoke", "--only", "depth-mnist"]
    assert not commands.main(["list", *only])
    assert "depth-mnist: 0 of 2 runs stored" in capsys.readouterr().out
    assert not commands.main(["train", *only, "--where", "depth == 1 and seed < 1"])
    assert not commands.main(["list", *only])
    assert "depth-mnist: 1 of 2 runs stored" in capsys.readouterr().out
    assert not commands.main(["show", *only])
    assert "val_accuracy" in capsys.readouterr().out
    assert "ValueError" in commands.main(["list", "--only", "no-such"])
    assert "must hold for some run" in commands.main(["train", *only, "--where", "seed == 2"])
    # No run has a rule, which a Helmholtz machine's learning has.
    assert "must hold for some run" in commands.main(["train", *only, "--where", "side == 14"])
    for wrong in ("sed < 1", "seed <", "seed", "seed < 'a'", "seed = 0", "seed < [1, 2, 3]"):
        assert repr(wrong) in commands.main(["train", *only, "--where", wrong])
