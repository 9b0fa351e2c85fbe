"""Activations as their papers define them: fixed points, conditions, starts."""

import math

import keras
import numpy as np
import pytest
from helpers import BAND
from keras import ops

from langevin.experiments.networks import remedies
from langevin.experiments.networks.remedies import shapes

X = np.linspace(-6, 6, 1001)
# Gauss and Hermite's rule: means under N(0, 1) to 1e-3 for a function with a kink at 0.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def apply(activation, x):
    return np.asarray(activation(ops.convert_to_tensor(np.float32(x))), "float64")


def activation_of(name, depth=20):
    return keras.activations.get(remedies.of(name).activation(depth))


def moments(activation, mean, variance):
    y = apply(activation, mean + np.sqrt(variance) * NODES)
    first = WEIGHTS @ y
    return first, WEIGHTS @ (y - first) ** 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "leaky-relu": lambda x: np.maximum(x, 0.2 * x),
    "swish": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
    "selu": lambda x: 1.05070099 * np.where(x > 0, x, 1.67326324 * np.expm1(x)),
    "nish": lambda x: np.where(x > 0, x, np.sin(x) * sigmoid(x)),
    "ada": lambda x: np.where(x > 0, x * np.exp(1 - x), 0),
    "leaky-ada": lambda x: np.where(x > 0, x * np.exp(1 - x), 0.01 * x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_is_its_papers_formula(name):
    np.testing.assert_allclose(apply(activation_of(name), X), FORMULAS[name](X), atol=1e-6)


def test_selu_keeps_mean_0_and_variance_1_and_draws_others_there():
    selu = activation_of("selu")
    np.testing.assert_allclose(moments(selu, 0, 1), (0, 1), atol=5e-3)
    mean, variance = 0.1, 1.4
    for _ in range(60):  # through layers whose weights sum to 0 and their squares to 1
        mean, variance = moments(selu, 0, variance + mean**2)
    np.testing.assert_allclose((mean, variance), (0, 1), atol=2e-2)


def test_selu_starts_with_the_variance_of_lecun():
    draw = keras.initializers.get(remedies.of("selu").initializer())
    kernel = np.asarray(draw((400, 300)))
    variance, error = 1 / 400, np.sqrt(2 / kernel.size)
    assert abs(kernel.var() / variance - 1) < BAND * error


def test_alpha_dropout_keeps_mean_and_variance_of_selus_units():
    x = np.random.default_rng(0).standard_normal((1000, 500)).astype("float32")
    join, same = remedies.of("alpha-dropout").join, keras.layers.Identity()
    inputs = keras.Input((500,))
    outputs = join(inputs, same, keras.layers.Activation("selu"), 1.0)
    y = np.asarray(keras.Model(inputs, outputs)(x, training=True), "float64")
    plain = np.asarray(keras.activations.selu(x))
    assert np.mean(y != plain) > 0.9  # all are scaled
    error = np.sqrt(np.var((y - y.mean()) ** 2) / y.size)
    assert abs(y.mean()) < BAND / np.sqrt(y.size)
    assert abs(y.var() - 1) < BAND * error


@pytest.mark.parametrize("name", ["ada", "leaky-ada"])
def test_ada_peaks_at_1_and_fades_where_relu_grows(name):
    y = apply(activation_of(name), X)
    assert abs(X[y.argmax()] - 1) < 0.02 and abs(y.max() - 1) < 1e-3
    assert np.all(np.diff(y[X > 1.01]) < 0)


@pytest.mark.parametrize(
    "activation, learns", [(shapes.ada, True), (shapes.leaky_ada, True), ("relu", False)]
)
def test_one_dendritic_neuron_learns_xor_and_one_relu_neuron_does_not(activation, learns):
    """Sixty-four neurons of one loss are sixty-four alone, each from a start of its own."""
    x = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.float32([[0], [1], [1], [0]])
    neurons = keras.layers.Dense(64, activation, kernel_initializer=keras.initializers.HeNormal(0))
    model = keras.Sequential([keras.Input((2,)), neurons])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(np.tile(x, (1000, 1)), np.tile(y, (1000, 64)), batch_size=4, verbose=0)
    right = (np.asarray(model(x)) > 0.5) == (y > 0.5)
    assert np.any(right.all(axis=0)) == learns


def test_pynada_is_the_sum_of_two_dendrites_with_weights_of_their_own():
    layer = shapes.PyNADA(30, kernel_initializer=keras.initializers.HeNormal(seed=3))
    x = np.random.default_rng(1).standard_normal((5, 20)).astype("float32")
    y = np.asarray(layer(x))
    apical, basal = np.asarray(layer.apical_kernel), np.asarray(layer.kernel)
    expected = apply(shapes.ada, x @ apical) + np.maximum(x @ basal, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert abs(np.corrcoef(apical.ravel(), basal.ravel())[0, 1]) < BAND / np.sqrt(basal.size)


def test_normalized_activation_has_hes_gain_and_mean_0_on_gaussian_inputs():
    layer = remedies.of("normalized-activation").activation(20)
    y = np.asarray(layer(np.float32(NODES)), "float64")
    centred = np.sqrt(2) * (np.maximum(NODES, 0) - 1 / np.sqrt(2 * np.pi))
    np.testing.assert_allclose(y, centred, atol=1e-6)


def test_normalized_activation_balances_the_way_forward_and_back():
    """1 / lambda^2 is the harmonic mean of r and r', of the batches it has seen."""
    layer = shapes.NormalizedActivation()
    x = np.random.default_rng(2).normal(0.7, 1.3, (200, 100)).astype("float32")
    for _ in range(300):
        layer(x, training=True)
    y = np.maximum(x, 0)
    forward, backward = np.mean(y**2) / x.var(), np.mean(x > 0)
    gain = np.sqrt(np.mean([1 / forward, 1 / backward]))
    found = np.asarray(layer(x))
    np.testing.assert_allclose(found, gain * (y - y.mean()), rtol=1e-4, atol=1e-4)


def test_adaptive_slope_is_relu_at_first_and_n_times_as_steep_in_its_slope():
    layer = shapes.AdaptiveSlope(scale=10.0)
    np.testing.assert_allclose(apply(layer, X), np.maximum(X, 0), rtol=1e-6)
    layer.slope.assign(0.3)
    np.testing.assert_allclose(apply(layer, X), 3 * np.maximum(X, 0), rtol=1e-6)


def test_rowdy_is_relu_at_first_and_adds_sines_of_rising_frequency():
    layer = shapes.Rowdy(terms=2)
    np.testing.assert_array_equal(apply(layer, X), np.maximum(np.float32(X), 0))
    layer.amplitudes.assign([0.5, 0.2, -0.1])
    layer.frequencies.assign([1.1, 0.9, 1.2])
    expected = 0.5 * np.maximum(1.1 * X, 0) + 0.2 * np.sin(0.9 * X) - 0.1 * np.sin(2.4 * X)
    np.testing.assert_allclose(apply(layer, X), expected, atol=1e-5)
