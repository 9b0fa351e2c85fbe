"""The networks: their sizes by hand, their weights by seed."""

import random

import numpy as np
import pytest

from langevin import models
from langevin.runs import Run


@pytest.mark.parametrize("depth", [1, 3, 20])
@pytest.mark.parametrize("shape, classes", [((28, 28, 1), 10), ((32, 32, 3), 100), ((8, 8, 1), 10)])
def test_dense_has_the_weights_counted_by_hand(depth, shape, classes):
    model = models.build(Run(depth=depth), shape, classes)
    pixels = int(np.prod(shape))
    by_hand = (pixels + 1) * 64 + (depth - 1) * (64 + 1) * 64 + (64 + 1) * classes
    assert model.count_params() == by_hand
    assert model.output_shape == (None, classes)
    if (depth, shape) == (20, (28, 28, 1)):
        assert by_hand == 129_930


def test_equal_seeds_draw_equal_weights_and_leave_pythons_random_alone():
    random.seed(5)
    expected = random.Random(5).random()
    one, again, other = (models.build(Run(seed=s), (8, 8, 1), 10).get_weights() for s in (1, 1, 2))
    assert random.random() == expected
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_the_initializer_is_the_runs():
    # A uniform law on (-l, l) has l = sqrt(6 / 64) for He, sqrt(6 / 128) for Glorot at 64 to 64.
    for name, limit in [("he_uniform", (6 / 64) ** 0.5), ("glorot_uniform", (6 / 128) ** 0.5)]:
        kernel = models.build(Run(initializer=name), (8, 8, 1), 10).get_weights()[2]
        assert 0.99 * limit < np.abs(kernel).max() <= limit
