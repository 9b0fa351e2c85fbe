"""Target space: weights that are ridge regression's, a start that is the random weights'."""

import numpy as np
import pytest

from langevin.experiments.networks import models
from langevin.experiments.networks.remedies import targets
from langevin.experiments.training.runs import Run

GENERATOR = np.random.default_rng(0)


def pictures(count, side=5):
    return GENERATOR.random((count, side, side, 1)).astype("float32")


def started(side=5):
    model = models.build(Run(depth=3, remedy="target-space"), (side, side, 1), 10)
    images = pictures(targets.ROWS, side)
    targets.project(model, images, seed=0)
    return model, images


def hidden(model):
    return [layer for layer in model.layers if isinstance(layer, targets.TargetDense)]


def ridge(rows):
    return targets.RIDGE * np.mean(np.sum(rows[:, :-1] ** 2, axis=1))


@pytest.mark.parametrize("side", [5, 12])  # fewer inputs than images, and more
def test_weights_are_those_of_ridge_regression_from_the_fixed_batch_to_the_targets(side):
    model, images = started(side)
    layer = hidden(model)[0]
    layer.kernel.assign(GENERATOR.standard_normal((targets.ROWS, 64)))
    rows = np.hstack([images.reshape(targets.ROWS, -1), np.ones((targets.ROWS, 1))])
    w = np.asarray(layer.weights_of(rows.astype("float32")), "float64")
    # Where |A W - T|^2 + ridge |W|^2 is least its gradient is 0.
    t = np.asarray(layer.kernel)
    gradient = rows.T @ (rows @ w - t) + ridge(rows) * w
    np.testing.assert_allclose(gradient, 0, atol=2e-4 * np.abs(rows.T @ t).max())


def test_first_layers_start_is_the_projection_of_random_weights():
    model, images = started()
    layer = hidden(model)[0]
    random = np.asarray(layer.kernel_initializer((25, 64)), "float64")
    a = np.hstack([images.reshape(targets.ROWS, 25), np.ones((targets.ROWS, 1))])
    shrink = np.linalg.solve(a.T @ a + ridge(a) * np.eye(26), a.T @ a)
    w = np.asarray(layer.weights_of(a.astype("float32")), "float64")
    np.testing.assert_allclose(w, shrink @ np.vstack([random, np.zeros((1, 64))]), atol=1e-3)


def test_output_has_the_batchs_rows_alone_and_they_do_not_see_one_another():
    model, _ = started()
    x = pictures(7)
    together = np.asarray(model(x))
    assert together.shape == (7, 10)
    np.testing.assert_allclose(np.asarray(model(x[3:4]))[0], together[3], rtol=1e-3, atol=1e-5)


def test_targets_of_later_layers_are_where_the_fixed_batch_goes():
    """Up to the ridge's shrinking: so the network starts as a random one does."""
    model, images = started()
    for layer in hidden(model)[:-1]:
        outputs = models.Model(model.input, layer.output)(images[:2])
        t = np.asarray(layer.kernel)
        correlation = np.corrcoef(np.ravel(outputs[: targets.ROWS]), t.ravel())[0, 1]
        assert correlation > 0.98
    assert np.asarray(outputs).shape[0] == targets.ROWS + 2
