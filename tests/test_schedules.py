"""`LogSchedule` and the schedules of a run against their formulas."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langevin import LogSchedule, schedules


@given(
    sigma=st.floats(1e-6, 1.0), decay_steps=st.integers(1, 10**6), step=st.integers(0, 10**7)
)  # fmt: skip
def test_log_schedule_is_its_formula(sigma, decay_steps, step):
    expected = sigma / math.sqrt(math.log(math.e + step / decay_steps))
    assert float(LogSchedule(sigma, decay_steps)(step)) == pytest.approx(expected, rel=1e-5)


def test_log_schedule_starts_at_its_initial_value_and_decreases():
    values = [float(LogSchedule(0.3, 10)(step)) for step in range(0, 200, 10)]
    assert values[0] == pytest.approx(0.3, rel=1e-6)
    assert all(one > other for one, other in zip(values, values[1:], strict=False))


def test_log_schedule_is_serialized_under_the_name_of_the_package():
    schedule = LogSchedule(0.3, 10)
    assert keras.saving.get_registered_name(LogSchedule) == "langevin>LogSchedule"
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is LogSchedule and again.get_config() == schedule.get_config()
    assert float(again(7)) == float(schedule(7))


@pytest.mark.parametrize("argument", ["initial_value", "decay_steps"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_log_schedule_rejects_what_is_no_positive_number(argument, value):
    arguments = {"initial_value": 0.1, "decay_steps": 10, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}` must be a finite number > 0. Received: "):
        LogSchedule(**arguments)


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
