"""Mixins before an optimizer: recurrences, and what is left when their coefficients are 0."""

import numpy as np
import pytest
from helpers import BAND, assert_normal, gradients_of, path_of, paths_of, variables_of

from langevin import LSGD, LAdam
from langevin.experiments.networks.remedies.updates import EntropySGD, GradientNoise, Lookahead

N, LR = 2000, 0.05


def mixed(mixin, base=LSGD, **coefficients):
    """A class of optimizers: a mixin with these coefficients, before a base."""
    return type(f"{mixin.__name__}{base.__name__}", (mixin, base), coefficients)


def test_registered_coefficients_are_the_papers():
    assert (Lookahead.period, Lookahead.share) == (5, 0.5)
    assert (EntropySGD.period, EntropySGD.share, EntropySGD.alpha) == (20, 1.0, 0.75)
    assert (EntropySGD.gamma, EntropySGD.epsilon_noise) == (1e-2, 1e-4)
    assert (GradientNoise.eta, GradientNoise.power) == (0.01, 0.55)


def test_lookahead_follows_its_recurrence():
    gradients = gradients_of(N, 12)
    made = mixed(Lookahead, period=5, share=0.3)
    path = path_of(made(LR, sigma=0), gradients, start=np.ones(N))
    slow = fast = np.ones(N)
    for step, gradient in enumerate(gradients, start=1):
        fast = fast - LR * gradient.astype("float64")
        if step % 5 == 0:
            slow = fast = slow + 0.3 * (fast - slow)
        np.testing.assert_allclose(path[step], fast, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_lookahead_with_share_1_is_its_optimizer(mode):
    gradients = gradients_of(N, 11)
    path = path_of(mixed(Lookahead, LAdam, share=1.0)(LR, sigma=0.01, seed=3), gradients, mode=mode)
    plain = path_of(LAdam(LR, sigma=0.01, seed=3), gradients, mode=mode)
    np.testing.assert_allclose(path, plain, atol=1e-6)
    half = path_of(mixed(Lookahead, LAdam)(LR, sigma=0.01, seed=3), gradients, mode=mode)
    assert np.abs(half - plain).max() > 0.01


def test_slow_weights_start_where_the_weights_are_when_training_starts():
    """Not where they were when the optimizer was built."""
    variables = variables_of(np.zeros(3))
    optimizer = mixed(Lookahead, period=1)(LR, sigma=0)
    optimizer.build(variables)
    variables[0].assign(np.full(3, 7.0))
    path = paths_of(optimizer, variables, [[np.full(3, 2.0)]])
    np.testing.assert_allclose(path[1][0], 7 - 0.5 * LR * 2, rtol=1e-6)


def test_entropy_sgd_without_pull_noise_and_averaging_is_lookahead():
    gradients = gradients_of(N, 12)
    nothing = {"gamma": 0.0, "epsilon_noise": 0.0, "alpha": 0.0, "period": 5, "share": 0.5}
    path = path_of(mixed(EntropySGD, **nothing)(LR, sigma=0), gradients, start=np.ones(N))
    expected = path_of(mixed(Lookahead)(LR, sigma=0), gradients, start=np.ones(N))
    np.testing.assert_allclose(path, expected, atol=1e-6)


def test_entropy_sgd_without_pull_and_averaging_is_langevin_within_a_period():
    """Its own noise has the law of Langevin noise of sigma = epsilon."""
    nothing = {"gamma": 0.0, "alpha": 0.0, "share": 1.0, "epsilon_noise": 0.3}
    gradients = gradients_of(20_000, 3)
    path = path_of(mixed(EntropySGD, **nothing)(LR, sigma=0, seed=1), gradients)
    for step, gradient in zip(np.diff(path, axis=0), gradients):
        assert_normal(step + LR * gradient, variance=0.3**2 * LR)


def test_entropy_sgd_follows_its_recurrence():
    gradients = gradients_of(N, 9)
    coefficients = {"gamma": 0.7, "alpha": 0.6, "period": 4, "share": 0.8, "epsilon_noise": 0.0}
    made = mixed(EntropySGD, **coefficients)(LR, sigma=0)
    path = path_of(made, gradients, start=np.ones(N))
    x = inner = mean = np.ones(N)
    for step, gradient in enumerate(gradients, start=1):
        inner = inner - LR * (gradient.astype("float64") + 0.7 * (inner - x))
        mean = 0.6 * mean + 0.4 * inner
        if step % 4 == 0:
            x = inner = mean = x + 0.8 * (mean - x)
        np.testing.assert_allclose(path[step], inner, rtol=1e-5, atol=1e-5)


def test_gradient_noise_before_sgd_is_langevin_noise_under_its_schedule():
    """The same normal numbers in both: equal paths but for the sign of the noise."""
    gradients = [np.zeros(N, "float32")] * 6
    noisy = path_of(mixed(GradientNoise, eta=0.3)(LR, sigma=0, seed=5), gradients)
    steps = iter(range(6))

    def sigma():
        return np.float32(np.sqrt(LR * 0.3 / (1 + next(steps)) ** 0.55))

    langevin = path_of(LSGD(LR, sigma=sigma, seed=2**31 - 1 - 5), gradients)
    np.testing.assert_allclose(noisy, -langevin, atol=1e-6)
    assert np.std(noisy[1]) > 0.02


def test_gradient_noise_is_independent_of_the_langevin_noise_beside_it():
    gradients = [np.zeros(20_000, "float32")]
    only = path_of(mixed(GradientNoise)(LR, sigma=0, seed=5), gradients)[1]
    both = path_of(mixed(GradientNoise)(LR, sigma=0.1, seed=5), gradients)[1]
    correlation = np.corrcoef(only, both - only)[0, 1]
    assert abs(correlation) < BAND / np.sqrt(20_000)
    assert_normal(both - only, variance=0.1**2 * LR)
