"""The schedules of a run against their formulas."""

import keras
import numpy as np
import pytest

from langevin import LogSchedule
from langevin.experiments.training import schedules

LR, SIGMA, STEPS = 0.1, 0.02, 10


def test_drop_divides_the_learning_rate_by_ten_and_ends_the_noise_at_half_the_run():
    rates, sigmas = schedules.values("drop", LR, SIGMA, STEPS)
    np.testing.assert_allclose(rates, [LR] * 5 + [LR / 10] * 5, rtol=1e-6)
    np.testing.assert_allclose(sigmas, [SIGMA] * 5 + [0.0] * 5, rtol=1e-6)


def test_inverse_is_keras_inverse_time_decay_and_log_schedule():
    rates, sigmas = schedules.values("inverse", LR, SIGMA, STEPS)
    inverse = keras.optimizers.schedules.InverseTimeDecay(LR, STEPS / 2, decay_rate=1.0)
    logarithm = LogSchedule(SIGMA, STEPS / 2)
    np.testing.assert_allclose(rates, [float(inverse(n)) for n in range(STEPS)], rtol=1e-6)
    np.testing.assert_allclose(sigmas, [float(logarithm(n)) for n in range(STEPS)], rtol=1e-6)


def test_constant_stays():
    rates, sigmas = schedules.values("constant", LR, SIGMA, STEPS)
    np.testing.assert_array_equal(rates, np.full(STEPS, LR, "float32"))
    np.testing.assert_array_equal(sigmas, np.full(STEPS, SIGMA, "float32"))


def test_outside_the_window_there_is_no_noise_and_the_learning_rate_stays():
    rates, sigmas = schedules.values("constant", LR, SIGMA, STEPS, window=(0.2, 0.5))
    np.testing.assert_array_equal(sigmas > 0, [2 <= n < 5 for n in range(STEPS)])
    np.testing.assert_array_equal(rates, np.full(STEPS, LR, "float32"))


@pytest.mark.parametrize("name", schedules.NAMES)
def test_values_are_one_float32_a_step(name):
    for values in schedules.values(name, LR, SIGMA, 7):
        assert values.shape == (7,) and values.dtype == np.float32 and np.all(np.isfinite(values))


def test_unknown_name_is_an_error_that_lists_the_names():
    with pytest.raises(ValueError, match="`schedule` must be one of drop, .*Received: 'cosine'"):
        schedules.values("cosine", LR, SIGMA, STEPS)
