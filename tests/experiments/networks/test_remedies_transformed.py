"""DKS and TAT: the conditions that their papers put on one layer and on all, by quadrature."""

import numpy as np
import pytest
from keras import ops

from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies.transformed import PlaceNormalization, ScaledDelta
from langevin.experiments.training.runs import Run

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
H = 1e-4
depths = pytest.mark.parametrize("depth", [20, 40])


class Maps:
    """An activation's Q and C maps at q = 1, from their definitions."""

    def __init__(self, name, depth):
        self.activation, self.depth = remedies.of(name).activation(depth), depth

    def phi(self, x):
        return np.asarray(self.activation(ops.convert_to_tensor(x, "float64")))

    def q(self, q=1.0):
        return WEIGHTS @ self.phi(np.sqrt(q) * NODES) ** 2

    def q_slope(self):
        return (self.q(1 + H) - self.q(1 - H)) / (2 * H)

    def c(self, c):
        x, y = np.meshgrid(NODES, NODES, indexing="ij")
        other = self.phi(c * x + np.sqrt(1 - c**2) * y)
        return WEIGHTS @ (self.phi(x) * other) @ WEIGHTS / self.q()

    def slope(self):
        """C'(1) = E phi'^2 / Q(1)."""
        derivative = (self.phi(NODES + H) - self.phi(NODES - H)) / (2 * H)
        return WEIGHTS @ derivative**2 / self.q()

    def curvature(self):
        """C''(1) = E phi''^2 / Q(1)."""
        second = (self.phi(NODES + H) - 2 * self.phi(NODES) + self.phi(NODES - H)) / H**2
        return WEIGHTS @ second**2 / self.q()

    def through(self, c):
        for _ in range(self.depth):
            c = self.c(c)
        return c


@depths
def test_dks_fixes_q_and_the_slope_of_the_whole_networks_correlation(depth):
    maps = Maps("dks", depth)
    assert maps.q() == pytest.approx(1, abs=1e-5)
    assert maps.q_slope() == pytest.approx(1, abs=1e-4)
    assert maps.c(0.0) == pytest.approx(0, abs=1e-5)
    assert maps.slope() ** depth == pytest.approx(1.5, rel=1e-3)


@depths
def test_smooth_tat_fixes_q_and_the_curvature_of_the_whole_networks_correlation(depth):
    maps = Maps("tat", depth)
    assert maps.q() == pytest.approx(1, abs=1e-5)
    assert maps.q_slope() == pytest.approx(1, abs=1e-4)
    assert maps.slope() == pytest.approx(1, abs=1e-4)
    assert depth * maps.curvature() == pytest.approx(0.3, rel=1e-2)


@depths
def test_tat_of_leaky_relu_keeps_orthogonal_inputs_at_correlation_nine_tenths(depth):
    maps = Maps("tat-leaky-relu", depth)
    assert maps.q() == pytest.approx(1, abs=1e-5)  # exact: both halves are squares
    # A kink makes each step's quadrature err by 1e-3.
    assert maps.through(0.0) == pytest.approx(0.9, abs=0.02)


def test_tat_of_leaky_relu_in_a_shallow_network_asks_for_nine_tenths_of_relus_correlation():
    maps, plain = Maps("tat-leaky-relu", 3), Maps("tat-leaky-relu", 3)
    plain.activation = ops.relu
    assert maps.through(0.0) == pytest.approx(0.9 * plain.through(0.0), abs=0.01)


def test_plain_relu_lets_all_correlations_go_to_one():
    """What the transformations are against: the check can fail."""
    maps = Maps("leaky-relu", 40)
    maps.activation = ops.relu
    assert maps.through(0.0) > 0.97


@pytest.mark.parametrize("shape", [(64, 64), (30, 64), (64, 10)])
def test_scaled_orthogonal_kernels_keep_mean_squares_of_what_they_can(shape):
    kernel = np.asarray(ScaledDelta(1)(shape), "float64")
    inputs, outputs = shape
    small = kernel @ kernel.T if inputs <= outputs else kernel.T @ kernel
    expected = max(1, outputs / inputs) * np.eye(min(shape))
    np.testing.assert_allclose(small, expected, atol=1e-5)


@pytest.mark.parametrize("side", [3, 4])
def test_convolutions_start_as_an_orthogonal_matrix_at_one_place(side):
    kernel = np.asarray(ScaledDelta(1)((side, side, 8, 16)))
    places = np.argwhere(np.abs(kernel).sum(axis=(2, 3)))
    assert len(places) == 1
    middle = kernel[tuple(places[0])]
    np.testing.assert_allclose(middle @ middle.T, 2 * np.eye(8), atol=1e-5)
    assert places[0].tolist() == [(side - 1) // 2] * 2


def test_every_place_of_the_input_has_mean_square_one():
    x = np.random.default_rng(0).random((3, 5, 5, 2)).astype("float32")
    x[0, 0, 0] = 0
    y = np.asarray(PlaceNormalization()(x))
    np.testing.assert_allclose(np.mean(y**2, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(y[..., 0] * x[..., 1], y[..., 1] * x[..., 0], atol=1e-6)


@pytest.mark.parametrize("name", ["dks", "tat", "tat-leaky-relu"])
def test_a_deep_network_keeps_its_signal(name):
    """Of forty layers of 64 units; with plain ReLU and Glorot's kernels 2^-40 of it is left."""
    model = models.build(Run(depth=40, remedy=name), (12, 12, 1), 10)
    x = np.random.default_rng(1).random((50, 12, 12, 1)).astype("float32")
    last = models.Model(model.input, model.get_layer("hidden_40").output)
    assert 0.1 < np.mean(np.asarray(last(x)) ** 2) < 10
