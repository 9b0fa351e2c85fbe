"""Save, load and go on equals never having stopped: to the bit, in this process and another."""

import itertools
import pathlib
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from helpers import BACKEND, BY_NAME, OPTIMIZERS, THREE, assert_equal, run_python

from langevin import LogSchedule

all_optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
GENERATOR = np.random.default_rng(1)
X = GENERATOR.normal(size=(16, 6)).astype("float32")
Y = GENERATOR.normal(size=(16, 1)).astype("float32")


@keras.saving.register_keras_serializable("tests")
def is_bias(path):
    return path.endswith("bias")


PLACEMENTS = {"everywhere": None, "fraction": 0.5, "names": ["second"], "predicate": is_bias}
PLACEMENTS |= {"whole paths": ["net/third"], "numbers": (0, -1)}


def model_of(optimizer):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dense(5, activation="tanh", name="first"),
        keras.layers.Dense(4, activation="tanh", name="second"),
        keras.layers.Dense(1, name="third"),
    ], name="net")  # fmt: skip
    model.compile(optimizer, loss="mse")
    return model


def train(model, epochs=1, eager=BACKEND == "tensorflow"):
    model.run_eagerly = eager  # the faster way to take a few steps, on each backend
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def state_of(model):
    return [np.asarray(variable) for variable in model.optimizer.variables]


def test_models_are_loaded_in_keras_safe_mode(tmp_path):
    """A Lambda layer is code: with langevin imported too, Keras does not run it unasked."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        keras.models.load_model(tmp_path / "code.keras")


LOAD_AND_TRAIN = """
import sys, keras, numpy, helpers, test_saving
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    numpy.savez(path + ".npz", *test_saving.train(model))
"""


@dataclass
class Saved:
    """A trained model's file, what it held, and its weights after going on here and elsewhere."""

    path: pathlib.Path
    config: dict
    state: list
    here: list
    elsewhere: list | None = None


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A `Saved` for each optimizer; between them they have all forms of `langevin_layers`."""
    folder, result = tmp_path_factory.mktemp("models"), {}
    for case, layers in zip(OPTIMIZERS, itertools.cycle(PLACEMENTS), strict=False):
        optimizer = case(0.05, sigma=0.1, seed=5, langevin_layers=PLACEMENTS[layers])
        model = model_of(optimizer)
        train(model)
        path = folder / f"{case}-{layers}.keras"
        model.save(path)
        result[case] = Saved(path, optimizer.get_config(), state_of(model), train(model))
    run_python(LOAD_AND_TRAIN, *[each.path for each in result.values()])
    for each in result.values():
        with np.load(f"{each.path}.npz") as weights:
            each.elsewhere = list(weights.values())
    return result


@all_optimizers
def test_loaded_model_goes_on_as_if_it_had_never_stopped(case, saved):
    loaded = keras.models.load_model(saved[case].path)
    assert type(loaded.optimizer) is case.optimizer
    assert loaded.optimizer.get_config() == saved[case].config
    assert_equal(state_of(loaded), saved[case].state)
    assert_equal(train(loaded), saved[case].here)


@all_optimizers
def test_another_process_goes_on_as_if_it_were_this_one(case, saved):
    assert_equal(saved[case].elsewhere, saved[case].here)


@pytest.mark.parametrize("case", THREE[:1], ids=str)
def test_compiled_model_goes_on_as_if_nobody_had_saved_it(case, tmp_path):
    model, never_stopped = (model_of(case(0.05, sigma=0.1, seed=5)) for _ in range(2))
    train(model, eager=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded, eager=False), train(never_stopped, epochs=2, eager=False))


@pytest.mark.parametrize("layers", ["predicate", "whole paths"])
def test_a_loaded_model_can_be_saved_again(layers, saved, tmp_path):
    [one] = [each for each in saved.values() if each.path.stem.endswith(f"-{layers}")]
    keras.models.load_model(one.path).save(tmp_path / "again.keras")
    assert_equal(train(keras.models.load_model(tmp_path / "again.keras")), one.here)


@pytest.mark.filterwarnings("ignore:Skipping variable loading")  # Keras: nothing to load yet
@pytest.mark.parametrize("built", [False, True], ids=["before training", "after training"])
def test_schedules_and_a_changed_sigma_survive_a_file(built, tmp_path):
    scheduled = model_of(BY_NAME["LAdam-paper"](0.05, sigma=LogSchedule(0.1, 2)))
    changed = model_of(BY_NAME["LAdam-paper"](0.05, sigma=0.1))
    changed.optimizer.sigma = 0.3
    for model in (scheduled, changed):
        if built:
            train(model)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert float(np.asarray(loaded.optimizer.sigma)) == float(np.asarray(model.optimizer.sigma))
        assert_equal(train(loaded), train(model))


def test_weights_and_state_survive_under_ema_and_accumulation(tmp_path):
    case = BY_NAME["LAdam-paper"]
    model = model_of(case(0.05, sigma=0.1, gradient_accumulation_steps=3, use_ema=True))
    # Eager: on JAX, Keras cannot call a compiled fit twice under use_ema.
    train(model, eager=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded, eager=True), train(model, eager=True))


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_a_predicate_is_saved_before_training_too(tmp_path):
    model = model_of(BY_NAME["LAdam-paper"](0.05, sigma=0.1, langevin_layers=is_bias))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded), train(model))


# One truth about sigma


@pytest.mark.parametrize("own, other", [(0.0, 0.1), (0.1, 0.0)])
def test_loaded_weights_turn_noise_neither_on_nor_off(own, other, tmp_path):
    one, two = (model_of(BY_NAME["LAdam-paper"](0.05, sigma=s, seed=5)) for s in (own, other))
    for model in (one, two):
        train(model)
    two.save_weights(tmp_path / "model.weights.h5")
    with pytest.warns(UserWarning, match="were saved with sigma=.* the optimizer keeps its sigma"):
        one.load_weights(tmp_path / "model.weights.h5")
    assert float(np.asarray(one.optimizer.sigma)) == pytest.approx(own)
    assert int(one.optimizer.iterations) == 2
    assert len({id(v) for v in one.optimizer.variables}) == len(one.optimizer.variables)


def test_loaded_weights_bring_their_positive_sigma(tmp_path):
    one, two = (model_of(BY_NAME["LAdam-paper"](0.05, sigma=s, seed=5)) for s in (0.1, 0.3))
    for model in (one, two):
        train(model)
    two.save_weights(tmp_path / "model.weights.h5")
    one.load_weights(tmp_path / "model.weights.h5")
    assert float(np.asarray(one.optimizer.sigma)) == pytest.approx(0.3)
