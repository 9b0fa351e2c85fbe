"""Save, load and go on equals never having stopped: to the bit, in this process and another."""

import keras
import numpy as np
import pytest
from helpers import BY_NAME, OPTIMIZERS, THREE, assert_equal, run_python

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


def train(model, epochs=1, eager=True):
    model.run_eagerly = eager  # nothing to compile
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def state_of(model):
    return [np.asarray(variable) for variable in model.optimizer.variables]


@all_optimizers
def test_loaded_model_goes_on_as_if_it_had_never_stopped(case, tmp_path):
    model = model_of(case(0.05, sigma=0.1, seed=5, langevin_layers=0.5))
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is case.optimizer
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_equal(state_of(loaded), state_of(model))
    assert_equal(train(loaded), train(model))


@pytest.mark.parametrize("case", THREE[::2], ids=str)
def test_compiled_model_goes_on_as_if_nobody_had_saved_it(case, tmp_path):
    model, never_stopped = (model_of(case(0.05, sigma=0.1, seed=5)) for _ in range(2))
    train(model, eager=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded, eager=False), train(never_stopped, epochs=2, eager=False))


LOAD_AND_TRAIN = """
import sys, keras, numpy, helpers, test_saving
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    numpy.savez(path + ".npz", *test_saving.train(model))
"""


def test_another_process_goes_on_as_if_it_were_this_one(tmp_path):
    """The noisy layers and the seed come from the file alone: fraction, names, predicate, ..."""
    models = {}
    for case in OPTIMIZERS:
        name, layers = list(PLACEMENTS.items())[len(models) % len(PLACEMENTS)]
        model = model_of(case(0.05, sigma=0.1, langevin_layers=layers))
        train(model)
        models[tmp_path / f"{case}-{name}.keras"] = model
        model.save(tmp_path / f"{case}-{name}.keras")
    run_python(LOAD_AND_TRAIN, *models)
    for path, model in models.items():
        with np.load(f"{path}.npz") as loaded:
            assert_equal(loaded.values(), train(model))


@pytest.mark.parametrize("layers", PLACEMENTS.values(), ids=PLACEMENTS)
def test_every_form_of_langevin_layers_survives_a_file(layers, tmp_path):
    model = model_of(BY_NAME["LAdam-paper"](0.05, sigma=0.1, langevin_layers=layers))
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert_equal(train(again), train(model))


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
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded), train(model))


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_a_predicate_is_saved_before_training_too(tmp_path):
    model = model_of(BY_NAME["LAdam-paper"](0.05, sigma=0.1, langevin_layers=is_bias))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(train(loaded), train(model))
