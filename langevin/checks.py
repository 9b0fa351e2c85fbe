"""How a user's input is refused: what was expected, what came, and how to mend it."""

import difflib
import math
import numbers

import numpy as np


def is_number(value):
    """Whether a value is a real number, finite in float32; True and False are none."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(_in_float32(value))


def is_positive(value):
    """Whether a number is above 0 in float32, in which it will be used."""
    return _in_float32(value) > 0


def _in_float32(value):
    try:
        with np.errstate(over="ignore"):
            return float(np.float32(value))
    except OverflowError:  # an integer beyond every float
        return math.inf


def is_function(value):
    """Whether a value can be called for another; a class is called for an object of its own."""
    return callable(value) and not isinstance(value, type)


def check_number(argument, value, positive=False, below=None, hint=""):
    """ValueError unless `value` is a finite number, >= 0 or, if `positive`, > 0, and < `below`."""
    low = is_number(value) and (is_positive(value) if positive else value >= 0)
    if not low or (below is not None and value >= below):
        bound = ("> 0" if positive else ">= 0") + (f" and < {below}" if below is not None else "")
        raise ValueError(
            f"`{argument}` must be a finite number {bound}{hint}. {received(value, True)}"
        )


def check_known(names, known, owner):
    """ValueError for the first name that the owner has not, with the nearest that it has."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{owner} has no {name!r}.{hint} It has: {', '.join(known)}")


def received(value, number=False):
    """What came; of text in a number's place also how the number is written."""
    text = f"Received: {value!r}"
    if number and isinstance(value, str):
        text += ", which is text. A profile's numbers need a point and a sign: 1.0e-3, 1.0e+3"
    return text
