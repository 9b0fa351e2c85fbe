"""Lanczos against numpy, the spectrum's steps on a quadratic, volumes, variances."""

import keras
import numpy as np
import pytest
from keras import ops

from langevin import LSGD
from langevin.experiments.networks.remedies import diversity, probes, spectrum

GENERATOR = np.random.default_rng(0)


def symmetric(size):
    matrix = GENERATOR.standard_normal((size, size))
    return matrix + matrix.T


def small_model():
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(4, "tanh", name="hidden")
    model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(2, name="output")])
    return model, GENERATOR.standard_normal((30, 3)).astype("float32"), np.arange(30) % 2


def test_lanczos_to_the_end_has_numpys_eigenvalues():
    matrix = symmetric(40)
    found = spectrum.lanczos(lambda v: matrix @ v, 40, 40)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix), rtol=1e-8, atol=1e-8)


def test_lanczos_finds_the_outermost_eigenvalues_first():
    matrix = symmetric(300) + np.diag([200.0] + [0.0] * 298 + [-300.0])
    exact, found = np.linalg.eigvalsh(matrix), spectrum.lanczos(lambda v: matrix @ v, 300, 25)
    assert len(found) == 25
    np.testing.assert_allclose(found[[0, -1]], exact[[0, -1]], rtol=1e-6)


def test_lanczos_stops_where_nothing_is_left():
    """A start in the span of two eigenvectors, as of a matrix with two eigenvalues."""
    matrix = np.diag([1.0] * 5 + [4.0] * 5)
    np.testing.assert_allclose(spectrum.lanczos(lambda v: matrix @ v, 10, 10), [1, 4])


def test_hessian_of_a_model_is_that_of_differences_of_its_gradient():
    model, x, y = small_model()
    loss, values = spectrum.loss_of(model, x, y), spectrum.values_of(model)
    shapes = [v.shape for v in values]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])

    def gradient(flat):
        parts = [np.reshape(p, s) for p, s in zip(np.split(flat, cuts[:-1]), shapes)]
        found = spectrum.gradient(loss, [ops.convert_to_tensor(p, "float32") for p in parts])
        return np.concatenate([np.ravel(g) for g in found])

    flat = np.concatenate([np.ravel(v) for v in values])
    h = 1e-2
    differences = [gradient(flat + h * e) - gradient(flat - h * e) for e in np.eye(len(flat))]
    exact = np.linalg.eigvalsh(np.array(differences) / (2 * h))
    found = spectrum.hessian_ritz_values(model, loss, steps=len(flat))
    np.testing.assert_allclose(found[[0, -1]], exact[[0, -1]], rtol=0.01, atol=1e-3)


def test_heavy_ball_falls_at_the_rate_of_the_spectrums_condition():
    curvatures = np.geomspace(0.5, 50, 30)
    learning_rate, momentum = spectrum.heavy_ball(0.5, 50)
    x, before = np.ones(30), np.ones(30)
    sizes = []
    for _ in range(400):
        x, before = x - learning_rate * curvatures * x + momentum * (x - before), x
        sizes.append(np.linalg.norm(x))
    rate = (sizes[-1] / sizes[99]) ** (1 / 300)
    assert rate == pytest.approx((np.sqrt(100) - 1) / (np.sqrt(100) + 1), abs=0.01)


@pytest.mark.parametrize("curvatures, least", [
    (np.geomspace(0.5, 50, 9), 0.5),
    ([-3.0, 1e-4, *np.geomspace(1, 50, 7)], 50 * spectrum.FLATTEST),
    ([-3.0] * 9, None),
])  # fmt: skip
def test_pace_is_between_the_greatest_and_the_least_positive_curvature(curvatures, least):
    """Of a quadratic with these; without a positive one it is plain descent's."""
    turned = np.linalg.qr(GENERATOR.standard_normal((9, 9)))[0]
    matrix = ops.convert_to_tensor((turned * curvatures) @ turned.T, "float32")

    def loss(values):
        flat = ops.concatenate([ops.ravel(value) for value in values])
        return 0.5 * ops.sum(flat * ops.matmul(matrix, flat))

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])  # 9 weights
    optimizer = heavy_ball()
    optimizer.build(model.trainable_variables)
    found = spectrum.pace(optimizer, model, loss), float(optimizer.momentum_now.numpy())
    expected = spectrum.heavy_ball(least, max(curvatures)) if least else (1, 0)
    assert found == pytest.approx(expected, rel=1e-3)


def heavy_ball():
    return type("Paced", (spectrum.HeavyBall, LSGD), {})(learning_rate=0.1, sigma=0.0)


def test_heavy_ball_moves_by_its_velocity():
    """v <- momentum v + g, w <- w - lr v."""
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer = heavy_ball()
    optimizer.build([weight])
    optimizer.momentum_now.assign(0.5)
    w, v = np.ones(3), np.zeros(3)
    for gradient in GENERATOR.standard_normal((5, 3)):
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [weight])
        v = 0.5 * v + gradient
        w = w - 0.1 * v
    np.testing.assert_allclose(weight.numpy(), w, rtol=1e-5)


def volume(kernel):
    return np.exp(probes.log_weight_volume(kernel))


def test_weight_volume_is_1_without_correlation_and_0_for_a_repeated_unit():
    kernel = np.asarray(diversity.Decorrelated(1)((60, 20)))
    kernel = kernel - kernel.mean(axis=0)
    assert volume(kernel) == pytest.approx(1, abs=1e-5)
    assert probes.neuron_correlation(kernel) == pytest.approx(0, abs=1e-5)
    assert volume(np.hstack([kernel, kernel[:, :1]])) == pytest.approx(0, abs=1e-5)


def test_weight_volume_of_as_many_units_as_inputs_is_the_square_of_their_determinant():
    """Of units of length 1 spanning a parallelepiped."""
    kernel = GENERATOR.standard_normal((5, 5))
    sides = np.linalg.norm(kernel, axis=0)
    exact = (np.linalg.det(kernel) / sides.prod()) ** 2
    assert volume(kernel) == pytest.approx(exact, rel=1e-6)


def test_weight_volume_and_correlation_of_two_units_follow_from_their_correlation():
    kernel = GENERATOR.standard_normal((60, 2))
    kernel -= kernel.mean(axis=0)
    r = np.corrcoef(kernel.T)[0, 1]
    assert volume(kernel * [5, 0.1]) == pytest.approx(1 - r**2, rel=1e-6)
    assert probes.neuron_correlation(kernel.astype("float32")) == pytest.approx(abs(r), rel=1e-4)


def test_signal_variances_are_of_each_layers_output_and_kernels_gradient():
    model, x, y = small_model()
    loss = spectrum.loss_of(model, x, y)
    (first, forward, _), (last, _, backward) = probes.signal_variances(model, x, loss)
    assert (first, last) == ("hidden", "output")
    hidden = np.asarray(model.get_layer("hidden")(x), "float64")
    assert forward == pytest.approx(hidden.var(), rel=1e-4)
    logits = np.asarray(model(x), "float64")
    errors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(2)[y]
    assert backward == pytest.approx((hidden.T @ errors / len(x)).var(), rel=1e-3)


def test_a_probe_follows_the_weights_and_finds_the_hessians_greatest_eigenvalue():
    model, x, y = small_model()
    probe = probes.Probe(model, x, y)
    before = probe()
    greatest = spectrum.hessian_ritz_values(model, probe.loss, steps=1000)[-1]
    assert before["sharpness"] == pytest.approx(greatest, rel=1e-3)
    assert [len(before[name]) for name in probes.BY_LAYER] == [2, 2, 2, 2]
    hidden = model.get_layer("hidden").kernel
    hidden.assign(hidden * 2)
    after = probe()
    for name in ("output_variance", "gradient_variance", "sharpness"):
        assert after[name] != before[name]
    for name in ("neuron_correlation", "log_weight_volume"):  # of directions alone
        assert after[name] == before[name]
    hidden.assign(hidden * np.nan)
    assert np.isnan(probe()["sharpness"])
