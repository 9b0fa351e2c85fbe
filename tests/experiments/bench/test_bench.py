"""The bench: its table's arithmetic with scripted seconds, its cases, and what its subjects run."""

import dataclasses
import math
import re

import keras
import numpy as np
import pandas as pd
import pytest

from langevin import noise
from langevin.experiments.bench import bench, limits, timed, variants
from langevin.experiments.bench.bench import Comparison, Group
from langevin.experiments.bench.variants import (
    ALL,
    FIRST,
    FIT,
    KERAS,
    NONE,
    OURS,
    SECOND,
    SOME,
    Setting,
    Variant,
)
from langevin.experiments.data import datasets
from langevin.experiments.networks import models
from langevin.experiments.studies import commands
from langevin.experiments.training import optimizers, runs


def variant(what, loop, optimizer, kind, **others):
    return Variant(what, loop, optimizer, kind, **{"model": "dense-2", **others})


PLAIN, NOISY = variant("step", OURS, "adam", NONE), variant("step", OURS, "adam", ALL)
GOAL = Comparison(NOISY, PLAIN, goal=1.3)


@pytest.fixture(scope="module")
def setting():
    return Setting(datasets.load("digits"), batch_size=128, steps=4, few=3)


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


def row_of(comparison, own, base, facts=None):
    seconds = {comparison.variant: own, comparison.baseline: base}
    return bench.row_of(comparison, seconds, facts or {})


def test_variants_take_turns_and_the_first_pass_does_not_count():
    log, steps = [], []
    subjects = {name: Scripted(name, [1.0, 2.0], log) for name in "abc"}
    seconds = timed.take_turns(subjects, 2, lambda: steps.append(1))
    assert "".join(log) == "abcabccba"
    assert seconds == {name: [1.0, 2.0] for name in "abc"}
    assert len(steps) == 9


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_none_always_follows_the_same_other(names):
    log, rounds = [], 5
    timed.take_turns({n: Scripted(n, [1.0] * rounds, log) for n in names}, rounds)
    counted = "".join(log)[len(names) :]
    turns = [counted[i : i + len(names)] for i in range(0, len(counted), len(names))]
    assert len(turns) == rounds and all(set(turn) == set(names) for turn in turns)
    for name in names:
        assert len({counted[i - 1] for i in range(1, len(counted)) if counted[i] == name}) > 1
        for other in set(names) - {name}:
            assert {turn.index(name) < turn.index(other) for turn in turns} == {True, False}


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds():
    # The ratio of the medians would be 2.
    row = row_of(GOAL, [1.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (2.0, 1.0, 3.0)
    row = row_of(GOAL, [3.0, 6.0, 1.0], [1.0, 2.0, 5.0])
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (3.0, 0.2, 3.0)
    assert (row["seconds_median"], row["baseline_seconds_median"]) == (3.0, 2.0)


def test_the_clocks_of_fit(monkeypatch):
    now = iter([0.0, 100.0, 101.0, 103.0, 200.0, 260.0, 999.0])
    monkeypatch.setattr(timed.time, "perf_counter", lambda: next(now))
    epoch, step = timed._EpochClock(), timed._StepClock()
    epoch.on_epoch_begin(0)
    step.on_epoch_begin(0)
    for batch in range(3):
        step.on_train_batch_begin(batch)
    epoch.on_test_begin()
    epoch.on_test_end()
    epoch.on_epoch_end(0)
    assert epoch.seconds() == 999.0 and epoch.evaluation == [60.0]
    assert step.seconds() == 2.0  # without the first step, nor the last


def test_drift_that_hits_all_alike_leaves_the_ratio():
    drift = np.linspace(1, 7, 5)
    row = row_of(GOAL, 1.2 * drift, drift)
    assert math.isclose(row["ratio_low"], 1.2) and math.isclose(row["ratio_high"], 1.2)


def test_rates_and_memory_are_the_needs_over_the_median_and_over_the_baseline():
    facts = {NOISY: {"operations": 8.0, "bytes": 4.0, "memory": 3.0}, PLAIN: {"memory": 2.0}}
    row = row_of(GOAL, [1.0, 2.0, 9.0], [1.0, 1.0, 1.0], facts)
    assert (row["operations_a_second"], row["bytes_a_second"]) == (4.0, 2.0)
    assert (row["memory"], row["memory_ratio"]) == (3.0, 1.5)
    assert row_of(GOAL, [1.0], [1.0])["operations_a_second"] != row["operations_a_second"]


def test_what_was_not_measured_is_no_number():
    row = bench.row_of(GOAL, {}, {})
    assert math.isnan(row["seconds_median"]) and math.isnan(row["ratio"])


def test_a_variant_alone_has_no_ratio():
    row = bench.row_of(Comparison(PLAIN), {PLAIN: [2.0]}, {})
    assert row["seconds_median"] == 2.0 and math.isnan(row["ratio"]) and row["baseline"] == ""


@pytest.mark.parametrize(
    "goal, seconds, met", [(1.3, 1.3, "yes"), (1.3, 1.31, "no"), (None, 9.0, "")]
)
def test_a_goal_is_the_greatest_ratio_that_meets_it(goal, seconds, met):
    comparison = dataclasses.replace(GOAL, goal=goal)
    assert row_of(comparison, [seconds], [1.0])["met"] == met


def test_a_missed_goal_says_where_the_time_goes():
    fit = dataclasses.replace(NOISY, loop=FIT)
    seconds = {
        PLAIN: [4e-3],
        NOISY: [6e-3],
        fit: [8e-3],
        dataclasses.replace(NOISY, what="draw"): [1.5e-3],
        dataclasses.replace(NOISY, what="epoch"): [0.9],
        dataclasses.replace(fit, what="epoch"): [1.2],
    }
    said = re.findall(r"\d+\.\d+", bench.where_time_goes(GOAL, seconds, {}, steps=100))
    assert said == ["4.00", "2.00", "1.50"]
    epoch = Comparison(*(dataclasses.replace(v, what="epoch") for v in (NOISY, fit)))
    facts = {epoch.variant: {"evaluation": [9.0, 0.3, 0.2]}}
    facts |= {epoch.baseline: {"evaluation": [9.0, 0.4, 0.3]}}
    said = re.findall(r"\d+(?:\.\d+)?", bench.where_time_goes(epoch, seconds, facts, steps=100))
    assert said == ["100", "6.00", "1.50", "4.50", "300", "100", "8.00", "400"]
    seconds[dataclasses.replace(PLAIN, what="update")] = [0.5e-3]
    told = bench.where_time_goes(epoch, seconds, facts, steps=100)
    assert "6.00 ms (update 0.50, draw 1.50, forward and backward 4.00) and" in told
    plain, facts = (
        dataclasses.replace(PLAIN, what="epoch"),
        facts | {dataclasses.replace(PLAIN, what="epoch"): {"evaluation": [0.2]}},
    )
    seconds[plain] = [0.8]
    told = bench.where_time_goes(Comparison(plain, epoch.baseline), seconds, facts, steps=100)
    assert "6.00 ms (update 0.50, forward and backward 5.50) and" in told
    assert bench.where_time_goes(GOAL, {NOISY: [1.0], PLAIN: [1.0]}, {}, steps=100) == ""


def test_the_text_marks_goals():
    comparisons = [GOAL, dataclasses.replace(GOAL, goal=2.5), dataclasses.replace(GOAL, goal=None)]
    table = pd.DataFrame(row_of(c, [2.0], [1.0]) for c in comparisons)
    table = table.assign(where_the_time_goes="", group="step")
    missed, met, free = bench.as_text(table).splitlines()[2:]
    assert missed.endswith("goal 1.3: MISSED") and met.endswith("goal 2.5: met")
    assert "goal" not in free
    assert "LAdam, all layers noisy, our loop" in free


# The cases.


@pytest.fixture(scope="module")
def planned():
    return {(c.variant, c.baseline): c.goal for g in bench.all_groups() for c in g.comparisons}


def test_our_loop_is_held_to_fit_on_both_backends(planned):
    for model in ("dense-3", "dense-20", "dense-40"):
        for backend in ("tensorflow", "jax"):
            ours = Variant("epoch", OURS, "adam", NONE, model=model, backend=backend)
            fit = dataclasses.replace(ours, loop=FIT, noise=KERAS)
            assert {(ours, fit), (ours, dataclasses.replace(fit, executions=32))} <= set(planned)
            more = {pair[1].executions for pair in planned if pair[0] == ours} - {1, 32}
            assert more == ({8, 117} if (model, backend) == ("dense-20", "tensorflow") else set())
    for model in ("conv-dense-20", "resnet"):
        ours = Variant("step", OURS, "adam", NONE, model=model)
        assert (ours, dataclasses.replace(ours, loop=FIT, noise=KERAS)) in planned


def test_every_optimizer_is_held_to_its_plain_counterpart(planned):
    for name in optimizers.BY_NAME:
        plain, fit = Variant("step", OURS, name, NONE), Variant("step", FIT, name, KERAS)
        noisy = dataclasses.replace(plain, noise=ALL)
        assert planned[noisy, plain] == (1.3 if name == "adam" else None)
        assert (dataclasses.replace(fit, noise=ALL), fit) in planned
    plain, noisy = (Variant("step", OURS, "adam", kind, backend="jax") for kind in (NONE, ALL))
    assert planned[noisy, plain] == 1.1


def test_the_epochs_that_the_issue_names_have_goals(planned):
    fit = Variant("epoch", FIT, "adam", KERAS)
    ours = Variant("epoch", OURS, "adam", ALL)
    assert planned[ours, fit] == pytest.approx(0.8 / 1.3, abs=0.01)
    on_jax = dataclasses.replace(ours, backend="jax", together=8)
    assert planned[on_jax, fit] == pytest.approx(0.55 / 1.3, abs=0.01)
    first, second = (dataclasses.replace(ours, what=what) for what in (FIRST, SECOND))
    assert (first, second) in planned
    for noisy in (ours, dataclasses.replace(on_jax, together=1)):
        assert (noisy, dataclasses.replace(noisy, noise=NONE)) in planned


def test_every_goal_can_be_explained(planned):
    seconds = {v: [1.0] for group in bench.all_groups() for v in group.variants()}
    facts = {"compiling": 0.0, "evaluation": [0.1], "building": [0.1]}
    facts = dict.fromkeys(seconds, facts)
    told = [Comparison(*pair, goal) for pair, goal in planned.items() if goal]
    assert len(told) >= 11
    said = [bench.where_time_goes(c, seconds, facts, steps=117) for c in told]
    assert all(said)
    for comparison, text in zip(told, said):
        assert ("forward" in text) == (comparison.variant.what == "epoch")
        assert ("draw" in text) >= (comparison.variant.noise == ALL and "step" in text)


def test_a_deep_stack_is_to_compile_as_fast_as_a_shallow_one_on_jax(planned):
    for backend, goal in (("tensorflow", None), ("jax", 1.3)):
        shallow = Variant("compilation", OURS, "adam", ALL, model="dense-3", backend=backend)
        assert planned[dataclasses.replace(shallow, model="dense-40"), shallow] == goal
    deep = dataclasses.replace(shallow, model="dense-40")
    seconds, facts = {shallow: [2.0], deep: [3.0]}, {shallow: {"building": [0.1, 0.1]}}
    facts[deep] = {"building": [0.7, 0.8, 0.9]}
    told = bench.where_time_goes(Comparison(deep, shallow, 1.3), seconds, facts, steps=1)
    assert re.findall(r"\d+", told) == ["3000", "2000", "800", "100"]


def test_our_draw_is_held_to_the_backends_own(planned):
    for backend, theirs in variants.THEIRS.items():
        ours = Variant("draw", OURS, "adam", ALL, backend=backend)
        assert (dataclasses.replace(ours, what=theirs), ours) in planned


def test_group_names_and_variants_come_once():
    groups = [group.name for group in bench.all_groups()]
    assert len(groups) == len(set(groups))
    assert Group("", [Comparison(PLAIN), GOAL, GOAL], 1).variants() == [PLAIN, NOISY]


def test_convolutions_on_jax_are_not_measured_on_a_cpu(monkeypatch):
    on_jax = variant("step", OURS, "adam", NONE, model="conv-dense-2", backend="jax")
    assert not bench.measurable(on_jax)
    assert bench.measurable(dataclasses.replace(on_jax, model="dense-2"))
    assert bench.measurable(dataclasses.replace(on_jax, backend="tensorflow"))
    monkeypatch.setattr(bench.runs, "device", lambda: "NVIDIA H100")
    assert bench.measurable(on_jax)


# What a step needs, and what the machine can do.


def test_the_needs_of_a_small_network_by_hand():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(4)])
    needs = limits.needs(model, batch=5)
    # Nobody asks for the images' gradient: forward and the kernel's own make two passes.
    assert needs["operations"] == 2 * 5 * (2 * (3 * 2) + 3 * (2 * 4))
    assert needs["bytes"] == 2 * 4 * (limits.COPIES * (3 * 2 + 2 + 2 * 4 + 4) + 5 * (2 + 4))


@pytest.mark.parametrize("name", ["dense", "highway", "conv-dense", "resnet", "densenet"])
def test_the_first_layers_images_need_no_gradient(name):
    model = models.build(runs.Run(model=name), (28, 28, 1), 10)
    [first] = [layer for layer in model.layers if layer.weights][:1]
    kernel = math.prod(first.kernel.shape) * math.prod(first.output.shape[1:-1])
    every = sum(models.multiplications(model))
    assert limits.needs(model, batch=7)["operations"] == 2 * 7 * (3 * every - kernel)


@pytest.mark.parametrize("what", [limits.PRODUCT, limits.SMALL, limits.CONVOLUTION, limits.COPY])
def test_a_limit_makes_what_it_counts(what, monkeypatch):
    monkeypatch.setattr(limits, "LARGE", 64)
    monkeypatch.setattr(limits, "BYTES", 2**12)
    machine = limits.Machine(limits.Limit(what))
    assert machine() > 0
    expected = {
        limits.PRODUCT: {"operations": 2 * 64**3},
        limits.SMALL: {"operations": 2 * 512 * 64 * 64},
        limits.CONVOLUTION: {"operations": 2 * 512 * 28**2 * 3**2 * 8 * 8},
        limits.COPY: {"bytes": 2 * 2**12},
    }
    assert machine.facts == expected[what]


def test_memory_grows_by_what_a_pass_holds(setting):
    program = timed.OurLoop(PLAIN, setting).program
    changing = sum(value.nbytes for value in program.state())

    def hold(numbers):
        return float(keras.ops.sum(keras.ops.ones(numbers)))

    empty, _ = limits.memory(program, lambda: hold(1))
    full, told = limits.memory(program, lambda: hold(2**24))
    if math.isnan(full):
        pytest.skip("TensorFlow's allocator keeps no count on this machine")
    assert told == 2**24
    assert changing <= empty < full
    assert abs((full - empty) / (4 * 2**24) - 1) < 0.01


def test_memory_without_an_allocator_that_counts_is_no_number(setting, monkeypatch):
    def unavailable(device):
        raise ValueError(f"Allocator stats not available for device {device!r}")

    experimental = pytest.importorskip("tensorflow").config.experimental
    monkeypatch.setattr(experimental, "reset_memory_stats", unavailable)
    found, told = limits.memory(timed.OurLoop(PLAIN, setting).program, lambda: "a pass")
    assert math.isnan(found) and told == "a pass"


# What the subjects run.


def test_noise_differs_between_the_steps_of_our_timed_epoch(setting):
    def moved(steps):
        few = dataclasses.replace(setting, steps=steps)
        noisy, plain = (
            timed.OurLoop(variant("step", OURS, "sgd", kind), few) for kind in (ALL, NONE)
        )
        np.testing.assert_array_equal(weights(noisy), weights(plain))
        assert noisy() > 0 and plain() > 0
        return weights(noisy) - weights(plain)

    first = moved(1)
    assert_fresh(first, moved(2) - first)


def test_noise_differs_between_the_steps_of_the_timed_fit(setting):
    # One batch an epoch: the order of the images, which is not ours to set, is of no matter.
    whole = dataclasses.replace(setting, batch_size=len(setting.dataset.x_train))
    noisy, plain = (timed.Fit(variant("epoch", FIT, "sgd", kind), whole) for kind in (ALL, NONE))
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
    subject = timed.OurPart(variant("draw", OURS, "adam", ALL), setting)
    [begun] = {int(subject.program.optimizer.iterations)}
    total = float(subject.compiled())
    steps = range(begun + 1, begun + 1 + setting.steps)
    expected = [float(noise.normal(0, step, 0, 1)[0]) for step in steps]
    assert len(set(expected)) == setting.steps
    assert math.isclose(total, 1e-3 * sum(expected), rel_tol=1e-4)


def test_the_backends_own_draw_is_of_as_many_numbers_every_step_anew(setting):
    tf = pytest.importorskip("tensorflow")
    what = variants.THEIRS["tensorflow"]
    subject = timed.OurPart(variant(what, OURS, "adam", ALL), setting)
    first = int(subject.program.optimizer.iterations) + 1
    count = [sum(w.shape[0] for w in subject.program.weights)]
    steps = range(first, first + setting.steps)
    expected = [float(tf.random.stateless_normal(count, [0, step])[0]) for step in steps]
    assert len(set(expected)) == setting.steps
    assert math.isclose(float(subject.compiled()), 1e-3 * sum(expected), rel_tol=1e-4)


def test_the_update_alone_makes_its_steps(setting):
    subject = timed.OurPart(variant("update", OURS, "adam", NONE), setting)
    before = weights(subject)
    assert subject() > 0
    # Adam's step under a constant gradient is the learning rate.
    np.testing.assert_allclose(weights(subject) - before, -1e-3 * setting.steps, rtol=0.02)


def test_both_loops_make_the_same_steps_and_evaluate_the_same_images(setting):
    ours = timed.OurLoop(variant("epoch", OURS, "adam", NONE), setting)
    fit = timed.Fit(variant("epoch", FIT, "adam", KERAS), setting)
    lasted = {subject: subject() for subject in (ours, fit)}
    for subject, seconds in lasted.items():
        [evaluation] = subject.facts["evaluation"]
        assert 0 < evaluation < seconds
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
    fit = timed.Fit(variant("step", FIT, name, KERAS), setting)
    assert type(fit.model.optimizer).__module__.startswith("keras")
    assert isinstance(optimizers.BY_NAME[name](), type(fit.model.optimizer))


def test_both_epochs_of_a_further_run_are_one_runs_which_shares_the_program(setting, monkeypatch):
    made = []
    monkeypatch.setattr(
        timed.training, "fit",
        lambda group, data: made.append(group)
        or [[{"seconds": s, "compile_seconds": 0.5 + s} for s in (0.0, 1.0, 2.0)]],
    )  # fmt: skip
    first, second = (
        timed.FurtherRun(variant(what, OURS, "adam", ALL), setting) for what in (FIRST, SECOND)
    )
    assert (second(), first(), second(), first()) == (2.0, 1.0, 2.0, 1.0)
    assert first.facts == {"compiling": 0.5}
    programs = {run.program() for [run] in made}
    assert len(programs) == 1 and len(made) == len({run for [run] in made}) == 2
    assert {(run.epochs, run.schedule) for [run] in made} == {(2, "constant")}  # noise in both


def test_steps_of_convolutions_are_few_and_long_ones_take_turns_one_by_one(setting):
    steps = {
        (model, loop): setting.steps_of(variant("step", loop, "adam", NONE, model=model))
        for model in ("dense-2", "conv-dense-2", "resnet") for loop in (OURS, FIT)
    }  # fmt: skip
    assert list(steps.values()) == [4, 4, 3, 3, 1, 3]
    assert len(setting.data(variant("step", OURS, "adam", NONE)).x_train) == 4 * 128
    assert setting.data(variant("epoch", OURS, "adam", NONE)) is setting.dataset
    assert setting.run(variant("step", OURS, "adam", SOME, model="conv-dense-7")).depth == 7


def test_without_mnist_digits_are_brought_to_its_size(monkeypatch):
    load = datasets.load

    def offline(name):
        if name == "mnist":
            raise datasets.DataUnavailable("offline")
        return load(name)

    monkeypatch.setattr(datasets, "load", offline)
    data = variants.mnist_or_its_size()
    assert data.x_train.shape == (60_000, 28, 28, 1) and data.x_test.shape == (10_000, 28, 28, 1)
    assert data.x_train.dtype == np.uint8 and len(data.y_train) == 60_000
    np.testing.assert_array_equal(data.x_train[1437:1500], data.x_train[:63])
    assert "digits" in data.label and "MNIST's size" in data.label


# The real thing, small.


def test_a_small_bench_on_both_backends_prints_and_saves_its_table(setting, tmp_path, capsys):
    fit = variant("epoch", FIT, "adam", KERAS)
    pair = variant("step", OURS, "adam", ALL, backend="jax", together=2)
    convolutions = dataclasses.replace(pair, model="conv-dense-2")
    draw = dataclasses.replace(pair, what="draw")
    theirs = dataclasses.replace(pair, what=variants.THEIRS["jax"])
    groups = [
        Group("step", [Comparison(dataclasses.replace(PLAIN, noise=SOME), PLAIN, goal=1e-9)], 1),
        Group("epoch", [Comparison(dataclasses.replace(PLAIN, what="epoch"), fit, goal=1e9)], 2),
        Group("jax", [Comparison(v, pair) for v in (pair, draw, theirs, convolutions)], 1),
    ]
    table = bench.bench(groups, setting, tmp_path / "new")
    said = capsys.readouterr().out
    saved = pd.read_csv(tmp_path / "new" / "bench.csv", keep_default_na=False)
    assert list(saved) == list(table)
    assert list(table.group) == ["step", "epoch", *["jax"] * 4]
    assert list(table.met) == ["no", "yes", "", "", "", ""]
    assert (table.ratio[:5] > 0).all() and (table.seconds_median[:5] > 0).all()
    assert math.isnan(table.ratio[5]) and "not measured" in table.where_the_time_goes[5]
    assert table.minutes[0] > 0 and table.minutes.is_monotonic_increasing
    assert table.groupby("group").minutes.nunique().eq(1).all() and table.minutes.nunique() == 3
    step, on_jax = table.memory[0], table.memory[2]
    assert step > 0 and on_jax > 2 * 3 * 4 * 5000  # two seeds of three vectors of over 5,000
    assert table.operations_a_second[2] > 0
    assert "cores" in saved.machine[0] and f"keras {keras.__version__}" in saved.versions[0]
    assert "scikit-learn's digits" in said and "MISSED" in said and "bench.csv" in said


def test_the_command_line_starts_it(monkeypatch):
    called = []
    monkeypatch.setattr(bench, "bench", lambda: called.append(1))
    assert commands.main(["bench"]) is None
    assert called == [1]
