"""Preconditioned gradients against full blocks in float64: Gauss and Newton's, and the Fisher's."""

import keras
import numpy as np
import pytest
from keras import ops

from langevin.experiments.networks.remedies import curvature, systems
from langevin.experiments.training import loop as training
from langevin.experiments.training import runs
from langevin.experiments.training.runs import Run

BATCH, INPUTS, OUTPUTS = 400, 6, 3
GENERATOR = np.random.default_rng(0)
A = GENERATOR.standard_normal((BATCH, INPUTS)) @ GENERATOR.standard_normal((INPUTS, INPUTS))
G = GENERATOR.standard_normal((INPUTS, OUTPUTS))
DAMPING = 1e-3


def solved(block, gradient):
    """block^-1 g for the weights of all units one after another."""
    flat = np.linalg.solve(block, gradient.T.ravel())
    return flat.reshape(gradient.shape[::-1]).T


def damped(matrix, share):
    return matrix + share * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def found(rule, gradient, inputs, errors, damping=DAMPING):
    given = (ops.convert_to_tensor(x) for x in (gradient, inputs, errors))
    return np.asarray(rule(*given, damping))


def gauss_newton(inputs, outputs):
    """Of a linear layer under the loss |s - y|^2 / 2: I for every pair of outputs, E a a^T."""
    jacobians = np.einsum("bi,jk->bjki", inputs, np.eye(outputs)).reshape(len(inputs), outputs, -1)
    return np.einsum("bjp,bjq->pq", jacobians, jacobians) / len(inputs)


def fisher(inputs, errors):
    """The empirical Fisher matrix of a linear layer's weights, unit after unit."""
    gradients = np.einsum("bj,bi->bji", errors, inputs).reshape(len(inputs), -1)
    return gradients.T @ gradients / len(inputs)


def test_foofs_block_is_gauss_and_newtons():
    block = damped(gauss_newton(A, OUTPUTS), DAMPING)
    errors = GENERATOR.standard_normal((BATCH, OUTPUTS))
    np.testing.assert_allclose(found(curvature.foof, G, A, errors), solved(block, G), rtol=1e-5)


def test_kfacs_block_is_gauss_and_newtons_where_errors_have_unit_covariance():
    """Those of squared loss for labels s - N(0, 1): the model that squared loss stands for.  From
    labels that lie otherwise the empirical Fisher matrix is not Gauss and Newton's."""
    normal = GENERATOR.standard_normal((BATCH, OUTPUTS))
    errors = np.linalg.qr(normal)[0] * np.sqrt(BATCH)  # to the last digit, for a finite batch
    one = found(curvature.kfac, G, A, errors, damping=0.0)
    np.testing.assert_allclose(one, solved(gauss_newton(A, OUTPUTS), G), rtol=1e-5)


def test_kfacs_block_is_the_product_of_two_damped_factors():
    errors = GENERATOR.standard_normal((BATCH, OUTPUTS)) * [3, 1, 0.2]
    factors = [damped(x.T @ x / BATCH, DAMPING**0.5) for x in (errors, A)]
    one = found(curvature.kfac, G, A, errors)
    np.testing.assert_allclose(one, solved(np.kron(*factors), G), rtol=1e-5)


def test_mini_block_is_the_full_fisher_block_of_one_unit():
    errors = GENERATOR.standard_normal((BATCH, 1)) * np.abs(A[:, :1])
    block = damped(fisher(A, errors), DAMPING)
    one = found(curvature.mbf, G[:, :1], A, errors)
    np.testing.assert_allclose(one, solved(block, G[:, :1]), rtol=1e-5)


def test_mini_block_is_the_mean_of_all_units_fisher_blocks():
    errors = GENERATOR.standard_normal((BATCH, OUTPUTS)) * np.abs(A[:, :1])
    blocks = [fisher(A, errors[:, [unit]]) for unit in range(OUTPUTS)]
    block = np.kron(np.eye(OUTPUTS), damped(np.mean(blocks, axis=0), DAMPING))
    np.testing.assert_allclose(found(curvature.mbf, G, A, errors), solved(block, G), rtol=1e-5)


@pytest.mark.parametrize(
    "kind", [curvature.KFACDense, curvature.FOOFDense, curvature.MBFDense], ids=str
)
def test_layer_has_a_dense_layers_output_and_its_rules_gradient(kind):
    """Under squared loss, in double precision."""
    layers = [
        made(OUTPUTS, activation="relu", dtype="float64") for made in (kind, keras.layers.Dense)
    ]
    for layer in layers:
        layer.build(A.shape)
        layer.kernel.assign(G)
        layer.bias.assign([0.1, 0.2, 0.3])
    ours, plain = (np.asarray(layer(A)) for layer in layers)
    np.testing.assert_allclose(ours, plain, rtol=1e-12)
    # One step of sgd of length 1 takes the gradient off the weights.
    after = []
    for layer in layers:
        model = keras.Sequential([keras.Input((INPUTS,), dtype="float64"), layer])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(A, np.ones((BATCH, OUTPUTS)))
        after.append(np.vstack([layer.kernel, np.asarray(layer.bias)[None]]))
    before = np.vstack([G, [[0.1, 0.2, 0.3]]])
    ours, plain = before - after[0], before - after[1]
    one = np.hstack([A, np.ones((BATCH, 1))])
    s = one @ before
    errors = 2 / OUTPUTS * (np.maximum(s, 0) - 1) * (s > 0)
    np.testing.assert_allclose(plain, one.T @ errors / BATCH, rtol=1e-5)
    expected = found(kind.rule, one.T @ errors / BATCH, one, errors, curvature.DAMPING)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_layer_without_signal_stays_where_it_is():
    zero = np.zeros((BATCH, INPUTS), "float32")
    for rule in (curvature.foof, curvature.kfac, curvature.mbf):
        step = found(rule, 0 * G.astype("float32"), zero, zero[:, :OUTPUTS])
        np.testing.assert_array_equal(step, 0)


def test_a_system_without_numbers_has_no_solution_and_raises_nothing():
    matrix, right = np.eye(3, dtype="float32") * 2, np.ones((3, 2), "float32")
    solution = systems.solve(ops.convert_to_tensor(matrix), ops.convert_to_tensor(right))
    np.testing.assert_allclose(solution, 0.5)
    matrix[1, 1] = np.inf
    solution = systems.solve(ops.convert_to_tensor(matrix), ops.convert_to_tensor(right))
    assert np.isnan(solution).all()


@pytest.mark.parametrize("rule", ["k-fac", "target-space"])
def test_a_run_that_diverges_ends_as_one(rule):
    run = Run(
        dataset="digits", batch_size=64, depth=3, epochs=9, optimizer="sgd", learning_rate=1e30,
        remedy=rule,
    )  # fmt: skip
    rows = training.fit([run], runs.dataset_of(run))[0]
    assert rows[-1]["diverged"] and len(rows) < 10
