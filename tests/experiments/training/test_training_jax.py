"""A group on JAX: the runs in it are those they would be elsewhere, and memory is foreseen."""

import dataclasses
import json
from pathlib import Path

import helpers
import keras
import numpy as np
import pytest

from langevin.experiments.networks import models
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, program_jax, runs
from langevin.experiments.training.program_jax import Program
from langevin.experiments.training.stack import Stack

RUN = runs.Run(dataset="digits", batch_size=64, depth=4, epochs=2, sigma=1e-3)
# Runs of one program that differ in all that is data.
GROUP = [
    RUN,
    dataclasses.replace(RUN, sigma=0.0, seed=1),
    dataclasses.replace(RUN, langevin_layers=0.3, seed=2, learning_rate=3e-3),
    dataclasses.replace(RUN, initializer="he_uniform", schedule="inverse", sigma=5e-3),
    dataclasses.replace(RUN, langevin_layers="shallowest 30 %", noise_stop=0.5),
]


def dataset():
    return runs.dataset_of(RUN)


def fit(group, **named):
    """Each run's rows without the seconds that they took."""
    histories = training.fit(group, dataset(), **named)
    without = [[{k: v for k, v in r.items() if "seconds" not in k} for r in h] for h in histories]
    return dict(zip(group, without, strict=True))


def weights_after(group, steps, size):
    """The runs' flat weights after some steps of the first epoch, in a program of some size."""
    program = Program(group[0].program(), dataset(), size)
    padded = [*group, *[group[0]] * (size - len(group))]
    program.start(padded)
    many = len(dataset().x_train) // RUN.batch_size
    orders = np.stack([training.order(run.seed, 1, len(dataset().x_train)) for run in padded])
    plans = [training._schedule(run, run.epochs * many, many) for run in padded]
    rates, sigmas = (np.stack(each)[:, :many] for each in zip(*plans))
    program.epoch(orders, rates, sigmas, training._moves(padded, 1, len(dataset().x_train)), steps)
    return np.asarray(program.changing[0])[: len(group)]


def test_the_groups_runs_share_a_program():
    assert len({run.program() for run in GROUP}) == 1
    assert training.group_size(RUN, dataset()) == program_jax.MOST_TOGETHER["cpu"] == 8


def test_a_run_is_equal_to_the_bit_whatever_its_companions_their_order_and_padding():
    together = fit(GROUP)
    assert fit(GROUP[::-1]) == together
    for run in GROUP:
        assert fit([run]) == {run: together[run]}
    filled = [dataclasses.replace(RUN, seed=s, sigma=0.0) for s in (5, 6, 7)]
    assert fit([*filled, *GROUP])[RUN] == together[RUN]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_across_sizes_one_step_is_the_same_to_rounding(optimizer):
    group = [dataclasses.replace(run, optimizer=optimizer) for run in GROUP]
    alone = np.concatenate([weights_after([run], 1, 1) for run in group])
    together = weights_after(group, 1, 8)
    if optimizer == "sgd":
        assert np.abs(alone - together).max() < 1e-5
    assert_equal_to_rounding(alone, together)


@pytest.mark.parametrize("optimizer", sorted({*optimizers.BY_NAME} - {"sgd"}))
def test_across_sizes_one_step_in_double_precision_is_the_same(optimizer):
    """Where no gradient that is a rounding error is magnified to a step, no weight is apart."""
    group = [dataclasses.replace(run, optimizer=optimizer) for run in GROUP]
    with training.double_precision():
        alone = np.concatenate([weights_after([run], 1, 1) for run in group])
        together = weights_after(group, 1, 8)
    assert alone.dtype == together.dtype == "float64"
    assert np.abs(alone - together).max() < 1e-5


def assert_equal_to_rounding(one, other):
    apart = np.abs(np.array(one) - other)
    # Where a gradient is itself a rounding error, P magnifies it: in a few weights in a thousand.
    assert np.quantile(apart, 0.99) < 1e-5 and apart.max() < 1e-3


@pytest.mark.parametrize("name", optimizers.BY_NAME)
def test_the_loop_makes_the_steps_of_model_fit(name):
    group = [dataclasses.replace(run, optimizer=name) for run in GROUP[:3]]
    for run, ours in zip(group, weights_after(group, 2, 4)):
        optimizer = optimizers.from_run(run, run.langevin_layers)
        theirs = helpers.keras_weights_after(run, dataset(), 2, optimizer)
        apart = np.abs(ours - theirs)
        # As on TensorFlow: where a gradient is itself a rounding error, P magnifies it.
        assert np.quantile(apart, 0.95) < 1e-6 and apart.max() < 3e-3


def test_augmented_images_are_what_is_trained_on():
    """Each run by its own moves: as in Keras's own steps on images moved beforehand."""
    group = [dataclasses.replace(run, augment=True) for run in GROUP[:2]]
    for run, ours in zip(group, weights_after(group, 2, 2)):
        optimizer = optimizers.from_run(run, run.langevin_layers)
        apart = np.abs(ours - helpers.keras_weights_after(run, dataset(), 2, optimizer))
        assert np.quantile(apart, 0.95) < 1e-6 and apart.max() < 3e-3


def test_a_run_that_diverges_leaves_its_companions_alone():
    sgd = dataclasses.replace(RUN, optimizer="sgd", epochs=3)
    wild = dataclasses.replace(sgd, learning_rate=1e4, seed=3)
    alone, together = fit([sgd]), fit([sgd, wild])
    assert together[sgd] == alone[sgd] and len(together[sgd]) == 4
    assert together[wild][-1]["diverged"] and len(together[wild]) < 4


def test_a_group_goes_on_from_its_checkpoint_to_the_bit(tmp_path, monkeypatch):
    whole = fit(GROUP)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "group.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(GROUP, checkpoint=path, progress=helpers.interrupt_at(2))
    fit([dataclasses.replace(RUN, seed=9)])  # the program is used by another group meanwhile
    epochs = []
    assert fit(GROUP, checkpoint=path, progress=lambda *given: epochs.append(given)) == whole
    assert len(epochs) == 1  # the last one alone was missing


def test_measured_numbers_are_those_of_the_model():
    data = dataset()
    program = Program(RUN.program(), data, 2)
    program.start([RUN, GROUP[1]])
    for run, measured in zip((RUN, GROUP[1]), program.measure()):
        model = models.build(run, data.x_train.shape[1:], data.classes)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        for prefix, x, y in [("", data.x_train, data.y_train), ("val_", data.x_test, data.y_test)]:
            expected = model.evaluate(x / np.float32(255), y, verbose=0)
            got = [measured[f"{prefix}loss"], measured[f"{prefix}accuracy"]]
            np.testing.assert_allclose(got, expected, rtol=1e-5)


SHARDED = """
import json, jax, test_training_jax as t
assert len(jax.devices()) == 4
program = t.Program(t.RUN.program(), t.dataset(), 8)
program.start([*t.GROUP, *[t.RUN] * 3])
assert len(program.changing[0].devices()) == 4
print(json.dumps(t.weights_after(t.GROUP, 1, 8).tolist()))
"""


def test_a_group_is_sharded_over_the_devices():
    # Other tests have as many devices as there are cores, most often 2.
    flags = "--xla_force_host_platform_device_count=4"
    here = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    said = helpers.run_python(here + SHARDED, XLA_FLAGS=flags)
    assert_equal_to_rounding(json.loads(said), weights_after(GROUP, 1, 8))


def test_the_estimate_of_memory_is_what_the_compiled_program_takes():
    for depth in (3, 20):
        run = dataclasses.replace(RUN, depth=depth, batch_size=512).program()
        taken = [memory_of(Program(run, dataset(), size)) for size in (2, 8)]
        a_run_more = (taken[1] - taken[0]) / 6
        assert 0.5 < program_jax.memory(run, dataset()) / a_run_more < 2


def test_a_large_network_is_trained_in_smaller_groups():
    dense = dataclasses.replace(RUN, depth=3, batch_size=512).program()
    resnet = dataclasses.replace(RUN, model="resnet", depth=3, batch_size=512).program()
    sizes = [program_jax.group_size(run, runs.dataset_of(run)) for run in (dense, resnet)]
    assert sizes[0] == 8 > sizes[1] >= 1


def memory_of(program):
    """Bytes of a compiled epoch: arguments and temporary arrays, by XLA's own account of each of
    its devices."""
    found = program.compiled_epoch.memory_analysis()
    devices = len(program.changing[0].devices())
    return devices * (found.argument_size_in_bytes + found.temp_size_in_bytes)


@pytest.mark.parametrize("model, depth", [("dense", 5), ("conv-dense", 3), ("highway", 4)])
def test_equal_layers_are_one_scan_that_computes_what_they_do(model, depth):
    run = dataclasses.replace(RUN, model=model, depth=depth)
    data = runs.dataset_of(run)
    network = models.fresh(run, data)
    stack = Stack.of(network)
    # Digits have as many pixels as a layer has units: the first layer is like the others.
    assert stack.depth == (depth - 1 if model == "conv-dense" else depth)
    weights = np.concatenate([v.numpy().ravel() for v in network.trainable_variables])
    x = data.x_test[:50] / np.float32(255)
    np.testing.assert_allclose(stack(stack.parts(weights), x), network(x), rtol=1e-4, atol=1e-5)


def test_what_is_no_chain_of_layers_without_state_is_no_stack():
    x = keras.Input((4,))
    y = keras.layers.Dense(4)(x)
    z = keras.layers.Dense(4)(y)
    outputs = {
        "beside": keras.layers.Dense(4)(y) + z,
        "around": z + y,
        "dropped": keras.layers.Dense(4)(keras.layers.Dropout(0.5)(z)),
        "differing": keras.layers.Dense(4)(keras.layers.Dense(4, "relu")(y)),
        "equal": keras.layers.Dense(4)(z),
    }
    stacks = {name: Stack.of(keras.Model(x, output)) for name, output in outputs.items()}
    assert stacks.pop("equal").depth == 2 and list(stacks.values()) == [None] * 4
    resnet = dataclasses.replace(RUN, model="resnet", depth=runs.Run.depth, blocks=(1, 1, 1))
    assert Stack.of(models.fresh(resnet, runs.dataset_of(resnet))) is None


def test_a_deep_stack_is_as_long_a_program_as_a_shallow_one():
    """What is compiled, in lines: the time that it takes follows."""
    lines = []
    for depth in (4, 40):
        program = Program(dataclasses.replace(RUN, depth=depth).program(), dataset(), 1)
        lines.append(program.compiled_epoch.as_text().count("\n"))
    assert lines[1] < 1.2 * lines[0]


def test_first_steps_in_double_precision_are_those_of_keras():
    helpers.check_first_steps_in_double_precision(depth=20)
