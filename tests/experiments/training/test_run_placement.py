"""Which layers get noise, as a run says it in text."""

import pytest

from langevin import placement as library
from langevin.experiments.training import placement

DENSE = [f"dense_{i}/{part}" for i in range(1, 12) for part in ("kernel", "bias")]


def names(paths, choice):
    chosen = set(library.choose(paths, choice))
    return [name for name, members in library.layers(paths) if chosen & set(members)]


@pytest.mark.parametrize("percent, count", [(30, 3), (100, 11), (1, 1)])
def test_shallowest_takes_the_layers_nearest_the_output(percent, count):
    choice = placement.from_text(DENSE, f"shallowest {percent} %")
    assert names(DENSE, choice) == [f"dense_{i}" for i in range(12 - count, 12)]


@pytest.mark.parametrize("choice", [None, 0.3, [1, 2], ["dense_1"]])
def test_other_choices_of_a_run_stay_as_they_are(choice):
    assert placement.from_text(DENSE, choice) is choice


@pytest.mark.parametrize(
    "text", ["deepest 30 %", "shallowest", "shallowest 0 %", "shallowest 3.5", "30"]
)
def test_wrong_text_is_an_error(text):
    expected = "`langevin_layers` as text must be 'kernels', 'biases' or like .*Received: "
    with pytest.raises(ValueError, match=expected + repr(text)):
        placement.from_text(DENSE, text)
