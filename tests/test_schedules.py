"""`LogSchedule` against its formula."""

import math

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langevin import LogSchedule


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
