"""What all remedies share: the registry, how a run names one, and that each is another method."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
from helpers import BACKEND

from langevin import placement
from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies.record import MARKS
from langevin.experiments.training import loop as training
from langevin.experiments.training import runs
from langevin.experiments.training.runs import Run

MNIST = (28, 28, 1)
SEEDS = range(4)
HERE = sorted(name for name, one in remedies.BY_NAME.items() if BACKEND in one.backends)
each = pytest.mark.parametrize("name", HERE)


@pytest.fixture(scope="module")
def after_ten_steps():
    """For each method an array (seeds, numbers) of what ten steps made of the same starts."""
    methods = [(None, "adam"), (None, "sgd")]
    methods += [(name, "sgd" if name == "heavy-ball" else "adam") for name in HERE]
    return {one: np.array([_losses(*one, seed) for seed in SEEDS]) for one in methods}


def _losses(name, optimizer, seed):
    """Of training and test images, in logarithms."""
    run = Run(depth=3, dataset="digits", train_size=320, batch_size=32, epochs=1, seed=seed,
              optimizer=optimizer, learning_rate=1e-2, remedy=name)  # fmt: skip
    last = runs.records([run])[0]["history"]
    numbers = [last["loss"][-1], last["val_loss"][-1]]
    assert np.all(np.isfinite(numbers)) and last["loss"][-1] != last["loss"][0]
    return np.log(numbers)


def test_every_remedy_differs_from_every_other_and_from_none(after_ten_steps):
    """The distance of runs of one seed, whose batches, starts and draws are the same: 0 for one
    method of two names, else by more than three standard errors (of its logarithm over seeds) above
    the rounding of a loss, 1e-4.  What differs by its random start alone is told from a mere other
    draw by the tests of its own mathematics, and so is what comes later than ten steps.  A warm-up
    over 1 % of ten steps changes none of them."""
    alike = []
    for one, other in itertools.combinations(after_ten_steps, 2):
        distance = np.linalg.norm(after_ten_steps[one] - after_ten_steps[other], axis=1)
        logs = np.log(distance + 1e-12)
        if logs.mean() - 3 * logs.std(ddof=1) / math.sqrt(len(SEEDS)) < math.log(1e-4):
            alike.append((one, other))
    assert alike == [((None, "adam"), ("warm-up-1-percent", "adam"))]


@each
def test_remedy_says_where_it_comes_from_and_how_sure_its_formula_is(name):
    remedy = remedies.of(name)
    assert remedy.source and remedy.mark in MARKS
    assert remedy.backends and set(remedy.backends) <= set(remedies.record.BACKENDS)


@each
def test_remedy_has_the_plain_networks_layers_and_about_its_weights(name):
    """Of 20 layers on MNIST: the noise's place is the plain one's, a gain not a larger network's.

    A unit of target space has 90 targets, of PyNADA two kernels.
    """
    variables = models.build(Run(depth=20, remedy=name), MNIST, 10).trainable_variables
    groups = placement.layers([v.path for v in variables])
    assert [group for group, _ in groups] == [*(f"hidden_{i}" for i in range(1, 21)), "output"]
    count = sum(math.prod(v.shape) for v in variables)
    close = {"target-space": 0.12}.get(name, 0.05)
    assert abs(count / 129_930 - 1) < close  # the plain network's


@each
def test_convolutional_network_takes_a_remedy(name):
    run = Run(model="conv-dense", depth=2, dataset="digits", remedy=name)
    model = models.fresh(run, runs.dataset_of(run))
    x = np.random.default_rng(0).random((32, 16, 16, 1)).astype("float32")
    for training_now in (False, True):
        assert np.all(np.isfinite(model(x, training=training_now)))


def test_run_without_a_remedy_has_the_key_it_had():
    settings = Run(dataset="digits").settings()
    assert settings.pop("remedy") is None
    defaults = {field.name: field.default for field in dataclasses.fields(Run)}
    assert defaults["remedy"] is None  # left out of the key, like every setting at its default
    assert runs.key_of(Run(dataset="digits", remedy="elu")) != runs.key_of(Run(dataset="digits"))


def test_remedy_with_its_own_initializer_has_one_spelling():
    own = Run(remedy="selu", initializer="he_normal")
    assert own == Run(remedy="selu")
    assert Run(remedy="elu", initializer="he_normal") != Run(remedy="elu")


def test_unknown_remedy_is_refused_with_the_names():
    with pytest.raises(ValueError, match="`remedy` must be null or one of .*elu.*'none'"):
        Run(remedy="none")


def test_remedy_needs_a_model_that_reads_it():
    with pytest.raises(ValueError, match="dense, conv-dense.*highway"):
        Run(model="highway", remedy="elu")


def test_remedy_is_refused_on_a_backend_where_it_does_not_train(monkeypatch):
    run = Run(dataset="digits", remedy="gradient-noise")
    data = runs.dataset_of(run)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="trains on tensorflow.*jax"):
        training.fit([run], data)


def test_penalty_counts_in_the_loss_that_is_trained_not_in_the_one_measured():
    plain, penalized = (Run(depth=3, dataset="digits", epochs=1, remedy=name)
                        for name in (None, "neuron-diversity"))  # fmt: skip
    data = runs.dataset_of(plain)
    one, other = (training.fit([run], data)[0] for run in (plain, penalized))
    assert one[0]["loss"] == other[0]["loss"] and one[1]["loss"] != other[1]["loss"]
