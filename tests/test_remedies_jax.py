"""Remedies on JAX: one of each kind trains, in a group as it does alone."""

import dataclasses

import numpy as np
import pytest

from langevin import runs, training
from langevin.runs import Run


# A gradient of its own, by linear systems; weights by linear systems, started by data; what batches
# leave behind, and draws; an optimizer with slots of its own.
@pytest.mark.parametrize("name", ["k-fac", "target-space", "stochastic-depth", "lookahead"])
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
