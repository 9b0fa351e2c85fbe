"""The bench: its table's arithmetic with scripted seconds, its cases, and what its subjects run."""

import dataclasses
import math
import re

import keras
import numpy as np
import pandas as pd
import pytest

from langevin import __main__, bench, datasets, noise, optimizers, timed
from langevin.bench import Comparison
from langevin.timed import ALL, FIT, KERAS, NONE, OURS, SOME, Variant

PLAIN, NOISY = Variant("step", OURS, "adam", NONE), Variant("step", OURS, "adam", ALL)
GOAL = Comparison("step", NOISY, PLAIN, goal=1.3)


@pytest.fixture(scope="module")
def setting():
    digits = datasets.load("digits")
    return timed.Setting(digits, depth=2, batch_size=128, steps=4, executions=(1, 2))


class Scripted:
    """A subject whose passes last what a script says; a pass before it lasts an hour."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, iter([3600.0, *seconds]), log

    def __call__(self):
        self.log.append(self.name)
        return next(self.seconds)


def weights(subject):
    held = subject.program.weights if isinstance(subject, timed.OurLoop) else None
    held = subject.model.trainable_variables if held is None else held
    return np.concatenate([np.ravel(v) for v in held])


# The table's arithmetic.


def test_variants_take_turns_and_the_first_pass_does_not_count():
    log, steps = [], []
    subjects = {name: Scripted(name, [1.0, 2.0], log) for name in "abc"}
    seconds = timed.take_turns(subjects, 2, lambda: steps.append(1))
    assert "".join(log) == "abc" * 3
    assert seconds == {name: [1.0, 2.0] for name in "abc"}
    assert len(steps) == 9


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds():
    # The ratio of the medians would be 2.
    row = bench.row_of(GOAL, {NOISY: [1.0, 4.0, 9.0], PLAIN: [1.0, 2.0, 3.0]})
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (2.0, 1.0, 3.0)
    row = bench.row_of(GOAL, {NOISY: [3.0, 6.0, 1.0], PLAIN: [1.0, 2.0, 5.0]})
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (3.0, 0.2, 3.0)
    assert (row["seconds_median"], row["baseline_seconds_median"]) == (3.0, 2.0)


def test_the_clocks_of_fit(monkeypatch):
    now = iter([0.0, 100.0, 101.0, 103.0, 999.0])
    monkeypatch.setattr(timed.time, "perf_counter", lambda: next(now))
    epoch, step = timed._EpochClock(), timed._StepClock()
    epoch.on_epoch_begin(0)
    step.on_epoch_begin(0)
    for batch in range(3):
        step.on_train_batch_begin(batch)
    epoch.on_epoch_end(0)
    assert epoch.seconds() == 999.0
    assert step.seconds() == 2.0  # without the first step, nor the last


def test_drift_that_hits_all_alike_leaves_the_ratio():
    drift = np.linspace(1, 7, 5)
    row = bench.row_of(GOAL, {NOISY: 1.2 * drift, PLAIN: drift})
    assert math.isclose(row["ratio_low"], 1.2) and math.isclose(row["ratio_high"], 1.2)


def test_a_row_names_what_the_trial_chose():
    best = Variant("epoch", FIT, "adam", KERAS, "best")
    comparison = Comparison("epoch", PLAIN, best)
    row = bench.row_of(comparison, {PLAIN: [1.0], best: [1.0]}, {best: " = 32"})
    assert row["baseline"] == "Keras's Adam, model.fit, best steps_per_execution = 32"


@pytest.mark.parametrize(
    "goal, seconds, met", [(1.3, 1.3, "yes"), (1.3, 1.31, "no"), (None, 9.0, "")]
)
def test_a_goal_is_the_greatest_ratio_that_meets_it(goal, seconds, met):
    comparison = dataclasses.replace(GOAL, goal=goal)
    assert bench.row_of(comparison, {NOISY: [seconds], PLAIN: [1.0]})["met"] == met


def test_a_missed_goal_says_where_the_time_goes():
    fit = dataclasses.replace(NOISY, loop=FIT)
    seconds = {
        PLAIN: [4e-3],
        NOISY: [6e-3],
        fit: [8e-3],
        dataclasses.replace(PLAIN, what="update"): [1e-3],
        dataclasses.replace(NOISY, what="draw"): [1.5e-3],
        dataclasses.replace(NOISY, what="epoch"): [0.9],
        dataclasses.replace(fit, what="epoch"): [1.2],
    }
    said = re.findall(r"\d+\.\d+", bench.where_time_goes(GOAL, seconds, steps=100))
    assert said == ["4.00", "3.00", "1.00", "2.00", "1.50", "0.50"]
    epoch = Comparison("epoch", *(dataclasses.replace(v, what="epoch") for v in (NOISY, fit)))
    said = re.findall(r"\d+(?:\.\d+)?", bench.where_time_goes(epoch, seconds, steps=100))
    assert said == ["100", "6.00", "3.00", "300", "100", "8.00", "400", "0.25"]
    assert bench.where_time_goes(GOAL, {NOISY: [1.0], PLAIN: [1.0]}, steps=100) == ""


def test_the_text_marks_goals():
    comparisons = [GOAL, dataclasses.replace(GOAL, goal=2.5), dataclasses.replace(GOAL, goal=None)]
    table = pd.DataFrame(bench.row_of(c, {NOISY: [2.0], PLAIN: [1.0]}) for c in comparisons)
    missed, met, free = bench.as_text(table.assign(where_the_time_goes="")).splitlines()[2:]
    assert missed.endswith("goal 1.3: MISSED") and met.endswith("goal 2.5: met")
    assert "goal" not in free
    assert "LAdam, all layers noisy, our loop" in free


def test_the_text_of_a_group_that_names_the_loop_does_not_repeat_it():
    row = bench.row_of(dataclasses.replace(GOAL, group=f"step, {OURS}"), {NOISY: [2], PLAIN: [1]})
    header, line = bench.as_text(pd.DataFrame([row]).assign(where_the_time_goes="")).split("\n")[1:]
    assert OURS in header and OURS not in line
    assert "LAdam, all layers noisy  " in line and "to LAdam, no noise; goal" in line


# The cases.


def test_every_comparison_that_the_goals_and_the_table_need_is_there():
    found = {(c.variant, c.baseline): c.goal for c in bench.all_comparisons()}

    for own, other in [(NONE, KERAS), (ALL, ALL)]:
        ours, fit = Variant("epoch", OURS, "adam", own), Variant("epoch", FIT, "adam", other)
        assert found[ours, fit] == 0.4
        assert found[ours, dataclasses.replace(fit, executions="best")] is None

    for name in optimizers.BY_NAME:
        for loop in (OURS, FIT):
            step = {kind: Variant("step", loop, name, kind) for kind in timed.NOISE}
            goals = {SOME: 1.15, ALL: 1.3} if (loop, name) == (OURS, "adam") else {}
            for kind in (SOME, ALL):
                assert found[step[kind], step[NONE]] == goals.get(kind)
            if loop == FIT:
                assert all((step[kind], step[KERAS]) in found for kind in (NONE, SOME, ALL))


def test_every_goal_can_be_explained():
    comparisons = bench.all_comparisons()
    seconds = {variant: [1.0] for variant in bench.variants_of(comparisons)}
    missed = [c for c in comparisons if c.goal is not None]
    assert len(missed) == 4
    assert all(bench.where_time_goes(c, seconds, steps=117) for c in missed)


def test_variants_of_a_comparison_are_timed_in_the_same_rounds():
    for _, members in bench._groups(bench.all_comparisons()):
        assert len({c.group for c in members}) == 1
    groups = [group for group, _ in bench._groups(bench.all_comparisons())]
    assert len(groups) == len(set(groups))
    assert bench.variants_of([GOAL, GOAL]) == [PLAIN, NOISY]


# What the subjects run.


def test_noise_differs_between_the_steps_of_our_timed_epoch(setting):
    def moved(steps):
        few = dataclasses.replace(setting, steps=steps)
        noisy, plain = (
            timed.OurLoop(Variant("step", OURS, "sgd", kind), few) for kind in (ALL, NONE)
        )
        np.testing.assert_array_equal(weights(noisy), weights(plain))
        assert noisy() > 0 and plain() > 0
        return weights(noisy) - weights(plain)

    first = moved(1)
    assert_fresh(first, moved(2) - first)


def test_noise_differs_between_the_steps_of_the_timed_fit(setting):
    # One batch an epoch: the order of the images, which is not ours to set, is of no matter.
    whole = dataclasses.replace(setting, batch_size=len(setting.dataset.x_train))
    noisy, plain = (
        timed.Fit(Variant("epoch", FIT, "sgd", kind), whole) for kind in (ALL, NONE)
    )
    moved = []
    for _ in range(2):
        assert noisy() > 0 and plain() > 0
        moved.append(weights(noisy) - weights(plain))
    assert_fresh(moved[0], moved[1] - moved[0])


def assert_fresh(first, second):
    """Two steps' noise, sigma sqrt(lr) xi each, and no correlation: 5 standard errors."""
    band = 5 / math.sqrt(first.size)
    for step in (first, second):
        assert abs(np.std(step) / (1e-3 * math.sqrt(1e-3)) - 1) < band
    assert abs(np.corrcoef(first, second)[0, 1]) < band


def test_the_draw_alone_draws_every_step_anew(setting):
    subject = timed.OurPart(Variant("draw", OURS, "adam", ALL), setting)
    [begun] = {int(subject.program.optimizer.iterations)}
    total = float(subject.compiled(subject.gradients))
    steps = range(begun + 1, begun + 1 + setting.steps)
    expected = [float(noise.normal(0, step, 0, 1)[0]) for step in steps]
    assert len(set(expected)) == setting.steps
    assert math.isclose(total, 1e-3 * sum(expected), rel_tol=1e-4)


def test_the_update_alone_makes_its_steps(setting):
    subject = timed.OurPart(Variant("update", OURS, "adam", NONE), setting)
    before = weights(subject)
    assert subject() > 0
    # Adam's step under a constant gradient is the learning rate.
    np.testing.assert_allclose(weights(subject) - before, -1e-3 * setting.steps, rtol=0.02)


def test_both_loops_make_the_same_steps_and_evaluate_the_same_images(setting):
    ours = timed.OurLoop(Variant("epoch", OURS, "adam", NONE), setting)
    fit = timed.Fit(Variant("epoch", FIT, "adam", KERAS), setting)
    ours(), fit()
    assert int(ours.program.optimizer.iterations) == int(fit.model.optimizer.iterations) == 11

    for variable, value in zip(fit.model.trainable_variables, ours.program._values()):
        variable.assign(value)
    [measured] = ours.program.measure()
    data = fit.given["validation_data"]
    evaluated = fit.model.evaluate(*data, batch_size=2000, verbose=0, return_dict=True)
    sizes = len(setting.dataset.x_train), len(setting.dataset.x_test)
    for name in ("loss", "accuracy"):
        both = np.average([measured[name], measured[f"val_{name}"]], weights=sizes)
        assert math.isclose(evaluated[name], both, rel_tol=1e-5)


@pytest.mark.parametrize("name", optimizers.BY_NAME)
def test_the_plain_counterparts_are_keras_own(setting, name):
    fit = timed.Fit(Variant("step", FIT, name, KERAS), setting)
    assert type(fit.model.optimizer).__module__.startswith("keras")
    assert isinstance(optimizers.BY_NAME[name](), type(fit.model.optimizer))


def test_the_best_executions_are_chosen_by_the_trial(setting, monkeypatch):
    seconds = {1: [4.0, 5.0], 2: [3.0, 3.0]}
    monkeypatch.setattr(
        timed, "Fit", lambda variant, _: Scripted("", seconds[variant.executions], [])
    )
    assert dataclasses.replace(setting).best_executions == 2


def test_without_mnist_digits_are_brought_to_its_size(monkeypatch):
    load = datasets.load

    def offline(name):
        if name == "mnist":
            raise datasets.DataUnavailable("offline")
        return load(name)

    monkeypatch.setattr(datasets, "load", offline)
    data = timed.mnist_or_its_size()
    assert data.x_train.shape == (60_000, 28, 28, 1) and data.x_test.shape == (10_000, 28, 28, 1)
    assert data.x_train.dtype == np.uint8 and len(data.y_train) == 60_000
    np.testing.assert_array_equal(data.x_train[1437:1500], data.x_train[:63])
    assert "digits" in data.label and "MNIST's size" in data.label


# The real thing, small.


def test_a_small_bench_prints_and_saves_its_table(setting, tmp_path, capsys):
    fit = Variant("epoch", FIT, "adam", KERAS)
    comparisons = [
        Comparison("step", dataclasses.replace(PLAIN, noise=SOME), PLAIN, goal=1e-9),
        Comparison("epoch", dataclasses.replace(PLAIN, what="epoch"), fit, goal=1e9),
    ]
    table = bench.bench(1, comparisons, setting, tmp_path / "new")
    said = capsys.readouterr().out
    saved = pd.read_csv(tmp_path / "new" / "bench.csv", keep_default_na=False)
    assert list(saved) == list(table) and list(saved.group) == ["step", "epoch"]
    assert list(saved.met) == ["no", "yes"]
    assert (saved.ratio > 0).all() and (saved.seconds_median > 0).all()
    assert "cores" in saved.machine[0] and f"keras {keras.__version__}" in saved.versions[0]
    assert "scikit-learn's digits" in said and "MISSED" in said and "bench.csv" in said


def test_what_cannot_be_measured_is_refused(setting, monkeypatch):
    with pytest.raises(ValueError, match="at least 1. Received: 0"):
        bench.bench(0, setting=setting)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND='jax'"):
        bench.bench(setting=setting)


def test_the_command_line_passes_the_rounds_on(monkeypatch):
    called = []
    monkeypatch.setattr(bench, "bench", lambda rounds: called.append(rounds))
    assert __main__.main(["bench", "--rounds", "9"]) is None
    assert __main__.main(["bench"]) is None
    assert called == [9, 5]
