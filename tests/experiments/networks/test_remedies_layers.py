"""Kernels, starts, penalties and what surrounds a layer, as their papers define them."""

import math

import keras
import numpy as np
import pytest
from helpers import BACKEND, BAND, assert_mean, assert_variance
from keras import ops

from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies import diversity, joins, kernels
from langevin.experiments.training.runs import Run

GENERATOR = np.random.default_rng(0)


def images(*shape):
    return GENERATOR.standard_normal(shape).astype("float32")


def gradient(function, variables):
    """The gradient of a scalar with respect to variables, on both backends."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        return [np.asarray(g) for g in tape.gradient(value, [v.value for v in variables])]
    import jax

    def of(values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return function()

    return [np.asarray(g) for g in jax.grad(of)([v.value for v in variables])]


def joined(join, share, activation="relu"):
    """A model of one layer with what a remedy puts around it."""
    inputs = keras.Input((64,))
    linear = keras.layers.Dense(64)
    outputs = join(inputs, linear, keras.layers.Activation(activation), share)
    return keras.Model(inputs, outputs), linear


# weight normalization


@pytest.mark.parametrize(
    "layer, shape",
    [
        (kernels.NormalizedDense(7), (5, 11)),
        (kernels.NormalizedConv2D(7, 3), (5, 6, 6, 2)),
    ],
    ids=["dense", "conv"],
)
def test_weight_normalization_separates_length_from_direction(layer, shape):
    x = images(*shape)
    layer.build(shape)
    layer.gain.assign(np.linspace(0.5, 2, 7))
    w, v = np.asarray(layer.kernel), np.asarray(layer._kernel)
    axes = tuple(range(w.ndim - 1))
    np.testing.assert_allclose(np.sqrt(np.sum(w**2, axes)), np.linspace(0.5, 2, 7), rtol=1e-5)

    def loss():
        return ops.sum(ops.square(layer(x) - 1))

    by_direction, by_length = gradient(loss, [layer._kernel, layer.gain])
    # No way along v: a step can only turn it, and its length never falls.
    along = np.sum(by_direction * v, axes) / np.sqrt(np.sum(by_direction**2, axes))
    np.testing.assert_allclose(along, 0, atol=1e-4)
    before = np.asarray(layer(x))
    layer._kernel.assign(v * np.linspace(1, 9, 7, dtype="float32"))
    np.testing.assert_allclose(np.asarray(layer(x)), before, rtol=1e-4, atol=1e-5)
    # dL/dg = dL/dw . v / |v|, here from the change that a longer w makes.
    change = []
    for h in (1e-2, -1e-2):
        layer.gain.assign(np.linspace(0.5, 2, 7) + h)
        change.append(float(loss()))
    np.testing.assert_allclose((change[0] - change[1]) / 2e-2, by_length.sum(), rtol=1e-3)


def test_weight_normalization_starts_every_unit_at_mean_0_and_variance_1():
    run = Run(model="conv-dense", depth=4, remedy="weight-normalization", dataset="digits")
    model = models.build(run, (16, 16, 1), 10)
    x = np.abs(images(200, 16, 16, 1)).clip(0, 1)
    kernels.standardize(model, x, seed=0)
    layers = [one for one in model.layers if isinstance(one, kernels.WeightNormalized)]
    assert len(layers) == 6
    for layer in layers:
        before = np.asarray(keras.Model(model.input, layer.input)(x))
        activation, layer.activation = layer.activation, keras.activations.linear
        t = np.asarray(layer(before), "float64").reshape(-1, layer.gain.shape[0])
        layer.activation = activation
        alive = t.std(axis=0) > 0.1  # a unit of equal values on all images stays one
        assert alive.mean() > 0.5
        np.testing.assert_allclose(t[:, alive].mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(t[:, alive].std(axis=0), 1, atol=1e-2)


# DropConnect


def test_dropconnect_at_test_time_is_the_mean_over_gaussians_of_the_masks_moments():
    layer = kernels.DropConnect(6, rate=0.3, activation="relu", bias_initializer="he_normal")
    x = images(4, 200)
    found = np.asarray(layer(x), "float64")
    w, b = np.asarray(layer.kernel), np.asarray(layer.bias)
    mean, sd = 0.7 * x @ w + b, np.sqrt(0.21 * x**2 @ w**2)
    sample = np.maximum(mean + sd * GENERATOR.standard_normal((100_000, 4, 6)), 0)
    error = sample.std(axis=0) / np.sqrt(len(sample))
    assert np.all(abs(found - sample.mean(axis=0)) < BAND * error + 1e-6)


def test_dropconnect_in_training_has_the_masks_mean_and_variance():
    """Of units with equal weights each has a mask of its own."""
    layer = kernels.DropConnect(20_000, rate=0.3, activation="relu")
    x, w = np.ones((1, 50), "float32"), np.abs(images(50, 1))  # positive sums: relu(u) = u
    layer.build(x.shape)
    layer.kernel.assign(np.tile(w, layer.units))
    sample = np.asarray(layer(x, training=True), "float64")[0]
    mean, variance = 0.7 * w.sum(), 0.21 * np.sum(w**2)
    assert_mean(sample, mean, variance)
    assert_variance(sample, variance)  # a sum of fifty: nearly a Gaussian's


def test_dropconnect_is_relus_own():
    with pytest.raises(ValueError, match="'relu'"):
        kernels.DropConnect(3, activation="tanh")


# dropout, batch normalization, residual twins


def test_dropout_has_its_units_output_as_mean():
    model, linear = joined(joins.dropout, 1.0)
    x = np.repeat(images(1, 64), 20_000, axis=0)
    y, plain = np.asarray(model(x, training=True), "float64"), np.asarray(model(x[:1]))[0]
    rate = joins.DROPOUT
    error = plain * np.sqrt(rate / (1 - rate) / len(x))
    assert np.all(abs(y.mean(axis=0) - plain) <= BAND * error + 1e-6)
    assert 0 < np.mean(y[:, plain > 0] == 0) < 2 * rate


def test_batch_normalization_standardizes_before_the_activation():
    model, _ = joined(joins.batch_normalization, 1.0)
    before = keras.Model(model.input, model.layers[-1].input)
    t = np.asarray(before(3 + 2 * images(500, 64), training=True))
    np.testing.assert_allclose(t.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(t.std(axis=0), 1, atol=1e-2)


def test_residual_adds_the_input_before_the_activation():
    model, linear = joined(joins.residual, 1.0)
    linear.kernel.assign(np.zeros((64, 64)))
    x = images(20, 64)
    np.testing.assert_allclose(np.asarray(model(x)), np.maximum(x, 0), atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_stochastic_depth_keeps_whole_layers_with_their_probability(share):
    """In training f(x + branch) or f(x), at test time f(x + p branch), p = 1 - share / 2."""
    model, _ = joined(joins.stochastic_depth, share, "linear")
    p = 1 - share / 2
    kinds = {type(one): one for one in model.layers}
    normalization = kinds[keras.layers.BatchNormalization]
    normalization.trainable = False  # its means stay, so that the branch is the same for all
    x = np.repeat(images(1, 64), 10_000, axis=0)
    branch = np.asarray(keras.Model(model.input, normalization.output)(x[:1]))[0]
    np.testing.assert_allclose(np.asarray(model(x[:1]))[0] - x[0], p * branch, atol=1e-5)
    added = np.asarray(model(x, training=True)) - x
    kept = np.abs(added).max(axis=1) > 1e-4
    np.testing.assert_allclose(added[kept], np.tile(branch, (kept.sum(), 1)), atol=1e-5)
    assert abs(kept.mean() - p) < BAND * np.sqrt(p * (1 - p) / len(x))


def test_stochastic_depth_decays_in_a_straight_line_to_one_half():
    model = models.build(Run(depth=11, remedy="stochastic-depth"), (28, 28, 1), 10)
    kept = [one.scale for one in model.layers if isinstance(one, keras.layers.Rescaling)]
    np.testing.assert_allclose(kept, 1 - 0.5 * np.arange(2, 12) / 11)


# neurons that differ


def test_decorrelated_units_have_no_correlation_and_hes_scale():
    kernel = np.asarray(diversity.Decorrelated(seed=1)((200, 64)), "float64")
    np.testing.assert_allclose(np.corrcoef(kernel.T), np.eye(64), atol=1e-4)
    np.testing.assert_allclose(np.var(kernel, axis=0), 2 / 200, rtol=1e-4)
    drawn = np.asarray(keras.initializers.HeNormal(1)((200, 64)), "float64")
    np.testing.assert_allclose(kernel.mean(axis=0), drawn.mean(axis=0), atol=1e-6)


def test_decorrelated_kernel_is_the_nearest_to_the_random_one():
    """Among kernels with covariance c I the nearest, so nearer than any turned one."""
    draw = np.asarray(keras.initializers.HeNormal(1)((200, 8)), "float64")
    kernel = np.asarray(diversity.Decorrelated(1)((200, 8)), "float64")
    distance = np.linalg.norm(kernel - draw)
    for seed in range(5):
        turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))[0]
        small = np.linalg.qr(np.eye(8) + 0.05 * turn)[0]
        for rotation in (turn, small):
            assert distance < np.linalg.norm(kernel @ rotation - draw)


@pytest.mark.parametrize("shape", [(64, 64), (4, 4, 1, 32)])
def test_decorrelated_square_and_flat_kernels_are_as_near_as_they_can_be(shape):
    kernel = np.asarray(diversity.Decorrelated(seed=2)(shape), "float64").reshape(-1, shape[-1])
    kernel -= kernel.mean(axis=0)
    covariance = kernel.T @ kernel / 2  # a projection on all directions but the mean's
    np.testing.assert_allclose(covariance @ covariance, covariance, atol=1e-4)
    assert round(np.trace(covariance)) == len(kernel) - 1


def test_orthogonal_start_keeps_lengths_but_for_hes_gain():
    kernel = np.asarray(remedies.of("orthogonal").initializer()((64, 64)), "float64")
    np.testing.assert_allclose(kernel.T @ kernel, 2 * np.eye(64), atol=1e-5)


def test_diversity_penalty_is_the_squared_correlations_of_a_mean_unit():
    kernel = images(40, 12)
    squares = np.corrcoef(kernel.T.astype("float64")) ** 2
    expected = 0.3 * (squares.sum(axis=1) - 1).mean()
    penalty = diversity.Diversity(0.3)
    np.testing.assert_allclose(float(penalty(kernel)), expected, rtol=1e-4)
    uncorrelated = diversity.Decorrelated(1)((40, 12))
    assert abs(float(penalty(uncorrelated))) < 1e-5
    np.testing.assert_allclose(float(penalty(np.tile(kernel[:, :1], 12))), 0.3 * 11, rtol=1e-4)


def test_diversity_penalty_is_on_every_hidden_kernel_of_the_model():
    model = models.build(Run(depth=3, remedy="neuron-diversity"), (8, 8, 1), 10)
    assert len(model.losses) == 3
    assert math.isclose(float(model.losses[1]), float(diversity.Diversity()(
        model.get_layer("hidden_2").kernel)), rel_tol=1e-6)  # fmt: skip


def last_signal(name, start="glorot_uniform", depth=40):
    """The mean square of the last hidden layer's outputs on random images, in training."""
    run = Run(depth=depth, remedy=name, initializer=start)
    x = GENERATOR.random((256, 12, 12, 1)).astype("float32")
    model = models.build(run, (12, 12, 1), 10)
    if setup := remedies.of(name).start:
        setup(model, x, 0)
    model = models.Model(model.input, model.get_layer("output").input)
    return float(ops.mean(ops.square(model(x, training=True))))


@pytest.mark.parametrize("name", ["decorrelated", "orthogonal", "normalized-activation"])
def test_a_start_of_its_own_carries_the_signal_through_40_layers(name):
    assert 1e-3 < last_signal(name) / last_signal(None, "he_uniform") < 1e3


def test_a_network_in_target_space_starts_as_the_random_weights_do():
    """Where these let the signal fade, too: the ridge is small beside every signal."""
    for start, depth in (("glorot_uniform", 20), ("he_uniform", 40)):
        plain, targets = (last_signal(name, start, depth) for name in (None, "target-space"))
        assert 0.03 < targets / plain < 30


@pytest.mark.parametrize("name", ["dropout", "alpha-dropout", "stochastic-depth", "dropconnect"])
def test_what_draws_at_random_has_the_kernels_of_the_network_that_does_not(name):
    without = {"alpha-dropout": "selu", "stochastic-depth": "residual"}.get(name)
    one, other = (
        models.build(Run(depth=3, remedy=remedy), (8, 8, 1), 10) for remedy in (name, without)
    )
    for mine, its in zip(one.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(mine, its)
