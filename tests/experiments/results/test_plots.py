"""The figures say what the frame says."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from langevin.experiments.results import analysis, plots, report, style
from langevin.experiments.studies import profiles
from langevin.experiments.training.runs import Run, grid, key_of
from langevin.experiments.training.store import Store

DEPTHS, SEEDS = (3, 40), range(7)


@pytest.fixture(scope="module")
def frame():
    """Made-up runs: with Glorot plain never starts at depth 40, with noise in all but one seed."""
    rng, rows = np.random.default_rng(0), []
    axes = itertools.product(DEPTHS, ("adam", "rmsprop"), plots.INITIALIZERS, (0.0, 1e-3), SEEDS)
    for depth, optimizer, initializer, sigma, seed in axes:
        run = Run(depth=depth, optimizer=optimizer, initializer=initializer, sigma=sigma,
                  seed=seed, epochs=2)  # fmt: skip
        dead = depth == 40 and initializer == "glorot_uniform" and (sigma == 0 or seed == 0)
        for epoch in range(3):
            loss = 2.3 if dead or epoch == 0 else 0.2 + 0.01 * rng.random()
            accuracy = 0.11 if dead or epoch == 0 else 0.95 + 0.01 * rng.random()
            rows.append({
                **run.settings(), "langevin_layers": run.layers_text(), "key": str(hash(run)),
                "epoch": epoch, "loss": loss, "val_loss": loss, "accuracy": accuracy,
                "val_accuracy": accuracy, "diverged": False, "seconds": 1.0, "compile_seconds": 0.0,
                "kernel_sd": (0.125,) * (depth + 1), "backend": "tensorflow", "device": "cpu",
                "dataset_label": "made-up images", "data_hash": "0", "classes": 10, "group_size": 1,
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def finals(frame):
    return analysis.final(frame)


def texts(figure):
    return [t.get_text() for t in figure.findobj(plt.Text) if t.get_text()]


@pytest.mark.parametrize("draw", [plots.accuracy_by_depth, plots.gain_by_depth, plots.curves])
def test_a_figure_names_its_data_its_panels_and_its_axes(draw, frame, finals):
    figure = draw(frame if draw is plots.curves else finals, "The message")
    said = texts(figure)
    assert "The message" in said
    assert any("made-up images, 7 seeds, 2 epochs; tensorflow on cpu" in text for text in said)
    axes = figure.axes
    assert all(a.get_xlabel() for a in axes[-2:]) and axes[0].get_ylabel()
    assert len(axes) == (8 if draw is plots.curves else 4)
    plt.close(figure)


def test_curves_cut_what_an_initializer_is_and_not_what_the_data_are(frame):
    data = frame.assign(network="ResNet, CIFAR-10 (JPEG copy)")
    figure = plots.curves(data, "", row="network")
    assert {a.get_ylabel() for a in figure.axes[::2]} == {
        f"{name}\nResNet\nCIFAR-10 (JPEG copy)\ntest accuracy (%)" for name in ("Adam", "RMSprop")
    }
    figure = plots.curves(frame, "")
    assert not any("(the paper's)" in axes.get_ylabel() for axes in figure.axes)
    plt.close("all")


def test_every_run_is_a_point_or_counted_as_never_started(finals):
    figure = plots.accuracy_by_depth(finals, "")
    points = [(line.get_marker() == "x", len(line.get_xdata())) for a in figure.axes
              for line in a.lines if line.get_linestyle() == "None"]  # fmt: skip
    assert sum(count for _, count in points) == len(finals)
    assert sum(count for cross, count in points if cross) == (~finals.started).sum()
    counts = [text for text in texts(figure) if text.endswith("/7")]
    assert sorted(counts) == ["1/7", "1/7", "7/7", "7/7"]
    plt.close(figure)


def test_gains_are_drawn_only_where_both_started(finals):
    figure = plots.gain_by_depth(finals, "")
    adam_glorot = figure.axes[0]
    assert [len(line.get_xdata()) for line in adam_glorot.lines[:2]] == [7, 0]
    assert "0 → 6\nof 7" in texts(figure)
    plt.close(figure)


def test_runs_without_a_pair_are_no_error(finals):
    alone = finals.query("sigma == 0 and depth == 3")
    assert "no pair of runs is there" in texts(plots.gain_by_depth(alone, ""))
    claims = [analysis.claim_1, analysis.claim_2]
    rows = report.by_setting(alone, ["initializer", "optimizer"], claims, [])
    assert set(rows.verdict) <= {"", analysis.NOT_DECIDED}
    assert "no pair is there" in report.claims_text(rows, alone)
    plt.close("all")


def test_an_optimizer_has_one_colour_and_no_two_share_one():
    assert set(plots.COLORS) == set(plots.NAMES)
    assert len({*plots.COLORS.values(), plots.GREY}) == len(plots.COLORS) + 1


def test_kernel_widths_draws_a_line_an_epoch(frame):
    deep = frame[(frame.depth == 40) & (frame.optimizer == "adam")]
    figure = plots.kernel_widths(deep, "", [0, 2])
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels[:2] == ["epoch 0", "epoch 2"]
    assert all(len(line.get_xdata()) == 41 for line in figure.axes[0].lines[:2])
    plt.close(figure)


def test_sentences_are_computed_and_say_nothing_on_the_claims_on_digits(finals):
    adam = finals.query("optimizer == 'adam' and initializer == 'glorot_uniform'")
    rows = analysis.verdicts(analysis.claim_1(adam, "Adam, Glorot")).assign(seeds="3 of 8")
    said = report.claims_text(rows, finals)
    assert said.startswith("On made-up images:\n\n- **")
    assert "C1, Adam, Glorot: so far: " in said and "(pairs: 7; seeds: 3 of 8)" in said
    digits = finals.assign(dataset="digits")
    assert "nothing on the paper's claims" in report.claims_text(rows, digits)
    said = report.counts_text(adam, "sigma", [0.0, 1e-3], ["depth", "initializer"])
    assert "**depth 40, Glorot initialization (the paper's)**" in said
    assert "0.0 0 of 7; 0.001 6 of 7" in said


def test_saved_are_the_picture_its_vector_form_and_its_data(finals, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "root", lambda: tmp_path)
    plots.save(plots.accuracy_by_depth(finals, ""), "quick", "depth-mnist", finals)
    made = {path.name for path in (tmp_path / "figures" / "quick").iterdir()}
    assert made == {"depth-mnist.png", "depth-mnist.pdf", "depth-mnist.csv"}
    again = pd.read_csv(tmp_path / "figures" / "quick" / "depth-mnist.csv")
    np.testing.assert_allclose(again.val_accuracy, finals.val_accuracy, rtol=1e-8)


def test_a_figure_of_recorded_runs_says_how_many_are_missing(finals, tmp_path, monkeypatch):
    planned = grid([{"depth": 3, "seeds": 4}])
    monkeypatch.setattr(style, "root", lambda: tmp_path)
    monkeypatch.setattr(profiles, "notebooks", lambda _: ["depth", "depth-mnist"])
    monkeypatch.setattr(profiles, "parameters", lambda _: {"depth": {}, "depth-mnist": {}})
    plans = {("depth-mnist", "learnings"): planned[:1], ("depth-mnist", "runs"): planned[1:]}
    monkeypatch.setattr(profiles, "planned", lambda _, of, kind="runs": plans.get((of, kind), []))
    monkeypatch.setattr(profiles, "store", lambda *_: Store(tmp_path))
    figure = plots.gain_by_depth(finals, "")
    for stored, profile, name, end in (
        (0, "paper", "depth-mnist-gain", "on cpu; so far 0 of 4 runs"),
        (0, "quick", "depth-mnist-gain", "on cpu"),
        (0, "paper", "depth", "on cpu"),
        (3, "paper", "depth-mnist", "on cpu; so far 3 of 4 runs"),
        (4, "paper", "depth-mnist", "on cpu"),
    ):
        for run in planned[:stored]:
            Store(tmp_path).save({"key": key_of(run), "history": {}})
        plots.save(figure, profile, name, finals)
        assert figure.legends[0].get_title().get_text().endswith(end)


def test_a_setting_without_runs_has_no_panel(finals):
    some = finals[(finals.optimizer == "adam") | (finals.initializer == "glorot_uniform")]
    for draw in (plots.accuracy_by_depth, plots.gain_by_depth):
        shown = [axes.get_title() for axes in draw(some, "title").axes if axes.get_visible()]
        assert len(shown) == 3 and not any("RMSprop, He" in title for title in shown)


def test_a_heat_map_has_a_cell_a_setting_and_says_how_many_started(finals):
    adam = finals.query("optimizer == 'adam'")
    grid = adam.assign(sigma=adam.sigma.where(adam.seed < 4, 9.0))
    figure = plots.heat(grid, "")
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels[:2]] == [
        "depth 3\nGlorot initialization", "depth 40\nGlorot initialization",
    ]  # fmt: skip
    said = [text.get_text() for text in panels[1].texts]
    # plain never starts; with noise seed 0 does not; the third column has three seeds of both arms
    assert sorted(said)[0].endswith("3 of 4") and "–\n0 of 4" in said and len(said) == 3
    plt.close(figure)


def test_panels_of_a_heat_map_share_their_places(finals):
    adam = finals.query("optimizer == 'adam' and initializer == 'glorot_uniform'")
    more = adam[adam.depth == 40].assign(learning_rate=3e-3)
    shallow, deep = plots.heat(pd.concat([adam, more]), "").axes[:2]
    rows = {text.get_text() == "not run": text.get_position()[1] for text in shallow.texts}
    assert rows == {True: 0.5, False: 1.5} and shallow.get_yticklabels()[1].get_text() == "0.001"
    assert {text.get_position()[1] for text in deep.texts} == {0.5, 1.5}


def test_the_verdict_map_counts_every_verdict_once():
    table = pd.DataFrame({"claim": ["C1", "C2", "C2", "C1"], "setting": ["a", "a", "b", "b"],
                          "verdict": ["holds", "does not hold", "not decided", "not decided"],
                          "pairs": [7, 7, 7, 0],
                          "data": ["MNIST", "MNIST", "MNIST", "none yet"]})  # fmt: skip
    figure = plots.verdict_map(table, "title")
    assert {f"{v} (1)" for v in [*table.verdict, "too few runs"]} <= set(texts(figure))
    assert "hollow: not all runs yet" not in texts(figure)
    early = plots.verdict_map(table.assign(verdict="so far: " + table.verdict), "title")
    assert {*texts(figure), "hollow: not all runs yet"} == set(texts(early))
    assert all(
        mark.get_markerfacecolor() == "white"
        for mark in early.axes[0].lines
        if len(mark.get_xdata())
    )
    assert figure.legends[0].get_title().get_text() == "data: MNIST"
    digits = plots.verdict_map(table.assign(pairs=0, data="scikit-learn's digits"), "title")
    assert digits.legends[0].get_title().get_text() == "data: scikit-learn's digits"
    plt.close("all")


def test_runs_of_two_devices_are_never_in_one_figure(finals):
    mixed = finals.assign(device=["cpu", "some GPU"] * (len(finals) // 2))
    with pytest.raises(ValueError, match="must have one device. Received: cpu, some GPU"):
        plots.accuracy_by_depth(mixed, "title")
    plt.close("all")
