"""Remedies on JAX: all that say so train, one of each kind in a group as it does alone."""

import dataclasses

import jax
import numpy as np
import pytest

from langevin.experiments.helmholtz.learning import Learning, train
from langevin.experiments.networks import remedies
from langevin.experiments.training import loop as training
from langevin.experiments.training import runs
from langevin.experiments.training.runs import Run

TOGETHER = ["k-fac", "target-space", "stochastic-depth", "lookahead"]
OTHERS = [n for n, one in remedies.BY_NAME.items() if "jax" in one.backends and n not in TOGETHER]


# A gradient of its own, by linear systems; weights by linear systems, started by data; what batches
# leave behind, and draws; an optimizer with slots of its own.
@pytest.mark.parametrize("name", TOGETHER)
def test_remedy_trains_in_a_group_as_alone(name):
    """Layers that solve linear systems once waited for one another for ever."""
    run = Run(dataset="digits", depth=2, epochs=2, batch_size=64, remedy=name, learning_rate=3e-3)
    other, data = dataclasses.replace(run, seed=1, sigma=1e-3), runs.dataset_of(run)
    assert training.group_size(run, data) > 1
    together = training.fit([run, other], data)
    losses = np.array([[row["loss"] for row in history] for history in together])
    assert np.all(losses[:, -1] < losses[:, 0]) and losses[0, -1] != losses[1, -1]
    alone = training.fit([run], data)[0]
    assert [row["loss"] for row in alone] == losses[0].tolist()


@pytest.fixture
def compiled_fast():
    """With few optimizations: half the time, and nothing here is timed or compared to the bit."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("name", OTHERS)
def test_remedy_trains(name, compiled_fast):
    run = Run(dataset="digits", depth=2, epochs=2, batch_size=64, remedy=name, learning_rate=3e-3)
    losses = [row["loss"] for row in training.fit([run], runs.dataset_of(run))[0]]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("rule", ["wake-sleep", "reweighted", "natural"])
def test_helmholtz_machine_learns(rule, compiled_fast):
    rows = train(Learning(rule=rule, dataset="digits", units=10, epochs=2, learning_rate=0.01))
    assert rows[-1]["log_likelihood"] > rows[0]["log_likelihood"] + 1
