"""One run: the same start and batches for all, one program for many runs, nothing lost."""

import dataclasses
import math
import re

import helpers
import keras
import numpy as np
import pytest

from langevin.experiments.data import augmentation
from langevin.experiments.networks import models
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, runs
from langevin.experiments.training.program_tensorflow import Program

RUN = runs.Run(dataset="digits", batch_size=64, depth=4, epochs=3, sigma=1e-3)
RESNET = dataclasses.replace(
    RUN, model="resnet", depth=8, blocks=(1, 1, 1), filters=2, augment=True, batch_size=256
)


def dataset(run=RUN):
    return runs.dataset_of(run)


def fit(run, **named):
    """A run's rows without the seconds that they took."""
    [rows] = training.fit([run], dataset(run), **named)
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def started(run, data=None):
    data = data or dataset(run)
    program = Program(run.program(), data)
    program.start([run])
    return program


def train(program, run, steps):
    """Some steps of the run's first epoch."""
    images = len(program.dataset.x_train)
    order = training.order(run.seed, 1, images)[np.newaxis]
    whole = images // run.batch_size
    plans = training._schedule(run, run.epochs * whole, whole)
    rates, sigmas = (plan[np.newaxis, :whole] for plan in plans)
    program.epoch(order, rates, sigmas, training._moves([run], 1, images), steps)


def weights_after(run, steps, data=None):
    """Flat weights after some steps of the run's first epoch, a vector a variable."""
    program = started(run, data)
    train(program, run, steps)
    return [value.numpy().ravel() for value in program._values()]


@pytest.mark.parametrize("name", optimizers.BY_NAME)
@pytest.mark.parametrize("layers", [None, 0.3, "shallowest 30 %"])
def test_the_loop_makes_the_steps_of_model_fit(name, layers):
    run = dataclasses.replace(RUN, optimizer=name, langevin_layers=layers)
    chosen = [-2, -1] if layers == "shallowest 30 %" else layers  # round(.3 * 5 layers) = 2
    ours = np.concatenate(weights_after(run, 3))
    theirs = helpers.keras_weights_after(run, dataset(), 3, optimizers.from_run(run, chosen))
    apart = np.abs(ours - theirs)
    # Where a gradient is itself a rounding error, P magnifies it: in a few weights in a hundred.
    # Noise in the wrong place would move all of them, by sigma sqrt(lr P), 0.03.
    assert np.quantile(apart, 0.95) < 1e-6 and apart.max() < 3e-3


# A power of two of channels, and others, are normalized by other operations.
CONVOLUTIONS = [
    {"model": "resnet", "blocks": (1, 1, 1), "filters": 2, "augment": True},
    {"model": "densenet", "blocks": (1, 1, 1), "filters": 4, "augment": True},
    {"model": "conv-dense"},
]


@pytest.mark.parametrize("settings", [*CONVOLUTIONS, {"model": "highway"}], ids=str)
def test_the_loop_makes_the_steps_of_model_fit_on_every_kind_of_network(settings):
    run = runs.Run(dataset="digits", batch_size=64, sigma=1e-3, langevin_layers=0.5, **settings)
    ours = weights_after(run, 2)
    optimizer = optimizers.from_run(run, run.langevin_layers)
    theirs = helpers.keras_weights_after(run, dataset(run), 2, optimizer)
    model = models.build(run, dataset(run).x_train.shape[1:], 10)
    paths = [v.path for v in model.trainable_variables]
    # The gradient of a bias before batch normalization is nothing but rounding errors, which Adam
    # turns into steps that differ, and P near 1e6 into noise that does.
    normalized = run.model in models.NORMALIZED
    idle = [normalized and re.search(r"(^|_)conv(_\d+)?/bias$", p) is not None for p in paths]
    idle = np.repeat(idle, [len(value) for value in ours])
    apart = np.abs(np.concatenate(ours) - theirs)
    # As above; a convolution sums over places too, so that its gradients round more.
    assert np.quantile(apart, 0.95) < 1e-5 and apart[~idle].max() < 3e-3


class Uncorrected(optimizers.LAdam):
    """L-Adam with its drift as published, its noise without Adam's 1 / (1 - beta_1^t)."""

    def noise(self, variable, preconditioner, learning_rate):
        corrected = 1 - self._power(self.beta_1, preconditioner.dtype)
        return super().noise(variable, corrected * preconditioner, learning_rate)


def test_the_bias_correction_can_be_taken_out_of_the_noise_alone():
    run = dataclasses.replace(RUN, noise_bias_correction=False)
    optimizer = Uncorrected(run.learning_rate, run.sigma, seed=run.seed)
    theirs = helpers.keras_weights_after(run, dataset(), 3, optimizer)
    apart, published = (
        np.abs(np.concatenate(weights_after(each, 3)) - theirs) for each in (run, RUN)
    )
    # As above. At the first step the published noise is sqrt(10) times as large.
    assert np.quantile(apart, 0.95) < 1e-6 and np.quantile(published, 0.05) > 1e-6


def test_augmented_images_are_what_is_trained_on_and_not_what_is_measured():
    run, data = dataclasses.replace(RUN, augment=True), dataset()
    order = training.order(run.seed, 1, len(data.x_train))
    moves = augmentation.draw(run.seed, 1, len(order))
    moved = np.empty_like(data.x_train)
    moved[order] = augmentation.apply(data.x_train[order], moves)
    beforehand = dataclasses.replace(data, x_train=moved)
    one, other = started(run), started(RUN, beforehand)
    assert one.measure() == started(RUN).measure() != other.measure()
    train(one, run, 5), train(other, RUN, 5)
    for ours, theirs in zip(one._values(), other._values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batch_normalization_learns_its_averages_and_is_measured_with_them():
    program, data = started(RESNET), dataset(RESNET)
    averages = program.model.non_trainable_variables
    fresh = [v.numpy() for v in averages]
    assert all((v == float("variance" in a.path)).all() for a, v in zip(averages, fresh))
    train(program, RESNET, 3)
    assert all((a.numpy() != v).all() for a, v in zip(averages, fresh))
    # The same weights in a model of their own, evaluated by Keras.
    model = models.build(RESNET, data.x_train.shape[1:], data.classes)
    for variable, value in zip(model.trainable_variables, program._values(), strict=True):
        variable.assign(value)
    for variable, value in zip(model.non_trainable_variables, averages, strict=True):
        variable.assign(value)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = model.evaluate(data.x_test / np.float32(255), data.y_test, verbose=0)
    np.testing.assert_allclose(program.measure()[0]["val_loss"], expected, rtol=1e-5)
    program.start([RESNET])
    assert all((a.numpy() == v).all() for a, v in zip(averages, fresh))


def test_layers_without_noise_take_the_plain_optimizers_first_step_to_the_bit():
    plain = weights_after(dataclasses.replace(RUN, sigma=0.0), 1)
    noisy = weights_after(dataclasses.replace(RUN, langevin_layers=0.3), 1)
    same = [np.array_equal(one, other) for one, other in zip(plain, noisy, strict=True)]
    assert same == [False] * 4 + [True] * 6  # 2 of 5 layers, kernel and bias each


def test_all_optimizers_start_from_the_seeds_weights():
    starts = [fit(dataclasses.replace(RUN, optimizer=o, sigma=s, epochs=1))[0]
              for o in optimizers.BY_NAME for s in (0.0, 1e-3)]  # fmt: skip
    assert all(start == starts[0] for start in starts)
    assert fit(dataclasses.replace(RUN, seed=1, epochs=1))[0] != starts[0]


def test_one_trace_serves_runs_that_differ_in_data():
    program = training._program(RUN.program(), dataset(), 1)
    alone = fit(RUN)
    other = dataclasses.replace(
        RUN, seed=3, sigma=0.1, learning_rate=0.01, schedule="inverse", initializer="he_uniform"
    )
    assert fit(other) != alone
    assert fit(RUN) == alone  # and no run leaves a trace in the next
    assert training._program(RUN.program(), dataset(), 1) is program
    assert program._epoch.experimental_get_tracing_count() == 1
    assert program._measure.experimental_get_tracing_count() == 1


LONG = dataclasses.replace(RESNET, epochs=40, train_size=256)


@pytest.mark.parametrize("run", [RUN, LONG], ids=lambda run: run.model)
def test_a_run_goes_on_from_its_checkpoint_to_the_bit(run, tmp_path, monkeypatch):
    whole = fit(run)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "deep" / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(run, checkpoint=path, progress=helpers.interrupt_at(run.epochs))
    fit(dataclasses.replace(run, seed=9))  # the program is used by another run meanwhile
    epochs = []
    assert fit(run, checkpoint=path, progress=lambda *given: epochs.append(given)) == whole
    assert len(epochs) == 1  # the last one alone was missing


def test_a_diverging_run_stops_marked():
    run = dataclasses.replace(RUN, optimizer="sgd", learning_rate=1e4, sigma=0.0, epochs=5)
    rows = fit(run)
    assert [row["diverged"] for row in rows] == [False] * (len(rows) - 1) + [True]
    assert len(rows) < 6
    finite = [math.isfinite(row["loss"]) and math.isfinite(row["val_loss"]) for row in rows]
    assert finite == [True] * (len(rows) - 1) + [False]


@pytest.mark.parametrize("name", ["loss", "val_loss"])
@pytest.mark.parametrize("loss, ends", [(1e30, False), (math.inf, True), (math.nan, True)])
def test_a_run_diverges_only_where_a_loss_is_not_finite(name, loss, ends):
    class Measured:
        def measure(self):
            return [{"loss": 1.0, "val_loss": 1.0, name: loss}]

    histories = [[{"epoch": 0, "diverged": False}]]
    training._note(histories, 1, Measured(), RUN, 0.0)
    assert histories[0][-1]["diverged"] is ends


def test_noise_outside_its_window_is_no_noise():
    plain = fit(dataclasses.replace(RUN, sigma=0.0))
    early = fit(dataclasses.replace(RUN, noise_stop=1 / 3, schedule="constant"))
    late = fit(dataclasses.replace(RUN, noise_start=1 / 3, schedule="constant"))
    assert early[1] != plain[1]
    assert late[1] == plain[1] and late[2] != plain[2]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size.*1437 training images.*batch_size=2000"):
        fit(dataclasses.replace(RUN, batch_size=2000))


def test_measured_numbers_are_those_of_the_model():
    data = dataset()
    program = Program(RUN.program(), data)
    program.start([RUN])
    model = models.build(RUN, data.x_train.shape[1:], data.classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    [measured] = program.measure()
    for prefix, x, y in [("", data.x_train, data.y_train), ("val_", data.x_test, data.y_test)]:
        expected = model.evaluate(x / np.float32(255), y, verbose=0)
        got = [measured[f"{prefix}loss"], measured[f"{prefix}accuracy"]]
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    widths = [float(np.std(layer.kernel)) for layer in model.layers if layer.weights]
    np.testing.assert_allclose(measured["kernel_sd"], widths, rtol=1e-3)


@pytest.mark.parametrize("settings", [{"depth": 20}, *CONVOLUTIONS], ids=str)
def test_first_steps_in_double_precision_are_those_of_keras(settings):
    helpers.check_first_steps_in_double_precision(**settings)


def test_a_loss_however_large_ends_no_run_while_the_averages_that_it_is_measured_by_lag():
    named = {"remedy": "residual", "initializer": "he_uniform"}
    rows = fit(runs.Run(dataset="digits", batch_size=512, depth=20, epochs=20, **named))
    before, first, *_, last = [row["loss"] for row in rows]
    assert before > first > 10 * math.log(10) > last
    assert not any(row["diverged"] for row in rows)


def test_with_batch_normalization_a_loss_that_is_not_finite_still_ends_a_run():
    named = {"remedy": "residual", "initializer": "he_uniform", "learning_rate": 1e38}
    rows = fit(runs.Run(dataset="digits", batch_size=512, depth=20, epochs=5, **named))
    assert rows[-1]["diverged"] and len(rows) < 6
