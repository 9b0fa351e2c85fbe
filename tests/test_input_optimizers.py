"""Whatever is given to an optimizer: it is taken if it is valid, else a clear error.

What is valid is restated here, apart from the code.
"""

import math
import numbers

import numpy as np
import pytest
from helpers import ANYTHING, LEAST, MOST, variables_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

import langevin
from langevin import LSGD, LAdam


def number(value, below=math.inf):
    """Restated: a number >= 0, finite in float32."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and 0 <= value < below and value <= MOST


def positive(value):
    return number(value) and value > LEAST


def optional(value):
    return value is None or number(value)


def whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


TAKEN = {
    "learning_rate": lambda v: isinstance(v, float) and number(v),  # Keras takes no integers
    "sigma": number,
    "noise_cap": lambda v: v is None or positive(v),
    "seed": lambda v: v is None or (isinstance(v, numbers.Integral) and number(v, 2**31)),
    "epsilon": lambda v: v is None or positive(v),
    "variant": lambda v: v in ("paper", "keras"),
    "weight_decay": optional,
    "clipnorm": optional,
    "clipvalue": optional,
    "global_clipnorm": optional,
    "loss_scale_factor": lambda v: v is None or positive(v),
    "gradient_accumulation_steps": lambda v: v is None or (whole(v) and v >= 2),
    "ema_overwrite_frequency": lambda v: v is None or (whole(v) and v >= 1),
    "ema_momentum": lambda v: number(v, 1),
    "beta_1": lambda v: number(v, 1),
    "beta_2": lambda v: number(v, 1),
    "amsgrad": lambda v: v is False,  # True needs variant="keras"
    "use_ema": lambda v: isinstance(v, bool),
}
NEAR = st.sampled_from([0.0, 0.5, 1, 1.0, 2**31, -0.1, "paper", True, False, None, 10**400])


# Of the others, in their variant that is Keras's, what L-Adam has not.
OWN = [
    (LSGD, "momentum"), (LSGD, "nesterov"), (langevin.LRMSprop, "rho"),
    (langevin.LRMSprop, "momentum"), (langevin.LRMSprop, "centered"), (langevin.LAdadelta, "rho"),
    (langevin.LAdadelta, "epsilon"),
]  # fmt: skip


@pytest.mark.parametrize("optimizer, argument", OWN, ids=str)
@settings(max_examples=200)
@given(value=NEAR | ANYTHING)
def test_an_argument_of_the_others_is_taken_if_valid_and_else_named(optimizer, argument, value):
    if optimizer is LSGD and number(value, 1) and not isinstance(value, float):
        return  # Keras takes its momentum as a float alone, and says so
    flag, share = argument in ("nesterov", "centered"), argument in ("rho", "momentum")
    taken = (
        isinstance(value, bool) if flag else number(value, 1) if share else TAKEN[argument](value)
    )
    assert_taken_or_named(optimizer, argument, value, taken, variant="keras")


# Those that every optimizer has.
COMMON = ["learning_rate", "sigma", "noise_cap", "seed", "variant", "weight_decay", "clipnorm",
          "clipvalue", "global_clipnorm", "loss_scale_factor", "gradient_accumulation_steps",
          "ema_overwrite_frequency", "ema_momentum", "use_ema"]  # fmt: skip
CASES = [(LAdam, argument) for argument in TAKEN]
CASES += [(o, a) for o in (LSGD, langevin.LRMSprop, langevin.LAdadelta) for a in COMMON]


@pytest.mark.parametrize("optimizer, argument", CASES, ids=str)
@settings(max_examples=200)
@given(value=NEAR | ANYTHING)
def test_an_argument_is_taken_if_valid_and_else_named_with_what_came(optimizer, argument, value):
    assert_taken_or_named(optimizer, argument, value, TAKEN[argument](value))


below_1 = st.floats(0, 1, exclude_max=True)
at_least_0 = st.floats(0, MOST)
above_0 = st.floats(1e-37, MOST)
OF_TAKEN = {
    "learning_rate": at_least_0, "sigma": at_least_0 | st.integers(0, 10**30), "noise_cap": above_0,
    "seed": st.integers(0, 2**31 - 1), "epsilon": above_0, "variant": st.sampled_from(["paper"]),
    "weight_decay": at_least_0, "clipnorm": at_least_0, "clipvalue": at_least_0,
    "global_clipnorm": at_least_0, "loss_scale_factor": above_0,
    "gradient_accumulation_steps": st.integers(2, 2**40), "beta_1": below_1, "beta_2": below_1,
    "ema_overwrite_frequency": st.integers(1, 2**40), "ema_momentum": below_1,
    "amsgrad": st.just(False), "use_ema": st.booleans(),
}  # fmt: skip


@pytest.mark.parametrize("argument", OF_TAKEN)
@settings(max_examples=200)
@given(data=st.data())
def test_every_valid_argument_is_taken(argument, data):
    value = data.draw(OF_TAKEN[argument])
    assert TAKEN[argument](value)
    assert_taken_or_named(LAdam, argument, value, True)


def assert_taken_or_named(optimizer, argument, value, taken, **others):
    if taken:
        assert isinstance(optimizer(**{argument: value}, **others), optimizer)
    else:
        with pytest.raises(ValueError, match=f"(?s)`{argument}`.*Received") as caught:
            optimizer(**{argument: value}, **others)
        assert repr(value) in str(caught.value) or f"={value}" in str(caught.value)


@example(int)
@example({"positions": 3})
@settings(max_examples=200)
@given(st.lists(st.integers(-4, 3) | st.sampled_from(["a", "d", "w0", None, 0.5])) | ANYTHING)
def test_layers_are_taken_if_there_and_else_refused_by_name(layers):
    def build():
        LSGD(sigma=0.1, langevin_layers=layers).build(variables_of(*[np.zeros(2)] * 3))

    fraction = number(layers) and 0 < layers <= 1
    listed = isinstance(layers, (list, tuple, range)) and len(layers) > 0
    known = listed and all(
        item in ("w0", "w1", "w2") if isinstance(item, str)
        else isinstance(item, numbers.Integral) and not isinstance(item, bool) and -3 <= item < 3
        for item in layers
    )  # fmt: skip
    if layers is None or fraction or known:
        build()
    else:
        with pytest.raises(ValueError, match="(?s)`langevin_layers`.*(Received|Layers|layers)"):
            build()
