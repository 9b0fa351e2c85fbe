"""The settings of a dataclass: each with a default, its types, and its range."""

import dataclasses

from langevin.checks import is_number, is_positive, received


def setting(default, kinds, expected, holds=lambda value: True):
    """A field of a dataclass with its default, its types, and its range in words and as a test."""
    return dataclasses.field(default=default, metadata={"check": (kinds, expected, holds)})


def one_of(default, names):
    return setting(default, str, f"one of {', '.join(names)}", lambda value: value in names)


def number(default, expected, holds):
    return setting(default, (int, float), f"a number {expected}", holds)


def positive_or_none():
    def holds(value):
        return value is None or is_positive(value)

    return setting(None, (int, float, type(None)), "a number > 0 or null", holds)


def count(default, optional=False):
    kinds = (int, type(None)) if optional else int
    text = "a whole number >= 1" + (" or null" if optional else "")
    return setting(default, kinds, text, lambda value: value is None or value >= 1)


def check_settings(given):
    """ValueError for the first of a dataclass's fields that is not what its `setting` expects."""
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        kinds, expected, holds = field.metadata["check"]
        fits = isinstance(value, kinds)
        if fits and kinds is not bool and isinstance(value, (int, float)):
            fits = is_number(value)
        if not fits or not holds(value):
            came = received(value, number="number" in expected)
            raise ValueError(f"`{field.name}` must be {expected}. {came}")
