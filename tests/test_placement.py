"""Which layers get noise: a pure function of variable paths."""

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langevin import placement

DENSE = [f"dense_{i}/{part}" for i in range(1, 12) for part in ("kernel", "bias")]
# A block of a residual network: batch normalization belongs to the convolution before it.
CONVOLUTIONAL = [
    "conv/kernel", "conv/bias", "bn/gamma", "bn/beta", "block/conv/kernel", "block/bn/gamma",
    "block/bn/beta", "head/kernel", "head/bias",
]  # fmt: skip


def names(paths, choice):
    chosen = set(placement.choose(paths, choice))
    return [name for name, members in placement.layers(paths) if chosen & set(members)]


def test_layers_are_grouped_by_their_kernels_in_order():
    assert placement.layers(CONVOLUTIONAL) == [
        ("conv", [0, 1, 2, 3]),
        ("block/conv", [4, 5, 6]),
        ("head", [7, 8]),
    ]


def test_layers_of_a_keras_model_are_its_layers_with_weights():
    model = keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(2, 3, name="first"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(3, name="second"),
        keras.layers.Dense(2, name="third"),
    ])  # fmt: skip
    paths = [variable.path for variable in model.trainable_variables]
    groups = placement.layers(paths)
    assert [name.rpartition("/")[2] for name, _ in groups] == ["first", "second", "third"]
    assert [len(members) for _, members in groups] == [4, 2, 2]
    assert placement.choose(paths, ["second"]) == (4, 5)


def test_a_first_layer_without_kernel_is_a_layer_and_a_path_without_slash_too():
    assert placement.layers(["bn/gamma", "bn/beta", "dense/kernel"]) == [
        ("bn", [0, 1]),
        ("dense", [2]),
    ]
    assert placement.layers(["w0", "w1"]) == [("w0", [0]), ("w1", [1])]
    assert placement.layers(["embedding/embeddings", "lstm/cell/recurrent_kernel"]) == [
        ("embedding", [0]),
        ("lstm/cell", [1]),
    ]


@given(st.lists(st.sampled_from(CONVOLUTIONAL + DENSE), unique=True, min_size=1))
def test_every_variable_belongs_to_exactly_one_layer(paths):
    members = [position for _, group in placement.layers(paths) for position in group]
    assert sorted(members) == list(range(len(paths)))


def test_none_is_all():
    assert placement.choose(DENSE, None) == tuple(range(22))


@pytest.mark.parametrize(
    "fraction, count", [(1.0, 11), (1, 11), (0.3, 3), (0.5, 6), (0.04, 1), (1e-9, 1), (0.99, 11)]
)
def test_fraction_takes_the_layers_nearest_the_input_and_at_least_one(fraction, count):
    assert count == max(1, round(fraction * 11))
    assert names(DENSE, fraction) == [f"dense_{i}" for i in range(1, count + 1)]


@given(st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_min=True))
def test_a_larger_fraction_holds_the_smaller_one(one, other):
    small, large = sorted([one, other])
    assert set(placement.choose(DENSE, small)) <= set(placement.choose(DENSE, large))


@pytest.mark.parametrize(
    "numbers, expected",
    [
        ([0], ["dense_1"]),
        ([-1], ["dense_11"]),
        ((2, 0), ["dense_1", "dense_3"]),
        (range(3), ["dense_1", "dense_2", "dense_3"]),
        ([0, 0, -11], ["dense_1"]),
        ([0, "dense_11"], ["dense_1", "dense_11"]),
    ],
    ids=str,
)
def test_layer_numbers_count_from_the_input_and_negative_ones_from_the_output(numbers, expected):
    assert names(DENSE, numbers) == expected


def test_names_are_exact():
    assert names(DENSE, ["dense_1"]) == ["dense_1"]  # not dense_10 and dense_11
    assert names(CONVOLUTIONAL, ["conv"]) == ["conv"]  # a whole path first
    assert names(CONVOLUTIONAL, ["block/conv", "head"]) == ["block/conv", "head"]
    assert names(["a/x/kernel", "b/y/kernel"], ["y"]) == ["b/y"]


def test_predicate_chooses_variables_by_path():
    chosen = placement.choose(DENSE, lambda path: path.endswith("bias"))
    assert chosen == tuple(range(1, 22, 2))


@pytest.mark.parametrize("choice", [lambda path: "kernel" in path, ["block/conv", "head"]])
def test_what_names_paths_is_saved_as_positions_which_choose_the_same_in_a_renamed_model(choice):
    saved = placement.portable(CONVOLUTIONAL, choice)
    renamed = ["sequential/" + path for path in CONVOLUTIONAL]
    assert placement.choose(renamed, saved) == placement.choose(CONVOLUTIONAL, choice)
    assert placement.portable(renamed, saved) == saved


@pytest.mark.parametrize("choice", [None, 0.3, [0, -1], ["conv", "head"], range(2)], ids=str)
def test_what_names_no_path_is_saved_as_it_is(choice):
    assert placement.portable(CONVOLUTIONAL, choice) is choice


WRONG = {
    "fraction 0": (0.0, r"fraction must lie in \(0, 1\].*Received: 0.0"),
    "fraction above 1": (1.5, r"fraction must lie in \(0, 1\].*Received: 1.5"),
    "negative fraction": (-0.3, "Received: -0.3"),
    "nan": (float("nan"), "Received: nan"),
    "two": (2, "for layer numbers pass a list. Received: 2"),
    "a boolean": (True, "must be None .*Received: True"),
    "text": ("dense_1", "must be None .*Received: 'dense_1'"),
    "an object": (object(), "must be None .*Received: <object"),
    "a type": (dict, "must be None .*Received: <class 'dict'>"),
    "positions that are no list": ({"positions": 3}, "must be None .*Received: {'positions': 3}"),
    "positions that are no numbers": ({"positions": [[1]]}, "must be None .*Received: {'posi"),
    "another mapping": ({"names": []}, "must be None .*Received: {'names'"),
    "number out of range": ([11], "layer number 11; the model has 11 layers, 0 to 10: .*dense_11"),
    "number below range": ([-12], "layer number -12; the model has 11 layers"),
    "unknown name": (["dense"], "'dense' names no layer. Layers: .*'dense_1', .*'dense_11'"),
    "substring": (["ense_1"], "'ense_1' names no layer"),
    "item of another type": ([1.5], "must be None .*Received an item: 1.5"),
    "boolean item": ([True], "Received an item: True"),
    "empty list": ([], r"chose no variable: \[\].*set sigma=0. Layers: .*'dense_1'"),
    "empty predicate": (lambda path: False, "chose no variable"),
    "position out of range": ({"positions": [0, 22]}, r"another model: .*\[0, 22\].*are 22"),
}


@pytest.mark.parametrize("choice, message", WRONG.values(), ids=WRONG)
def test_wrong_choice_names_the_argument_what_was_expected_and_what_came(choice, message):
    with pytest.raises(ValueError, match=f"(?s)`langevin_layers`.*{message}"):
        placement.choose(DENSE, choice)


def test_ambiguous_name_asks_for_the_whole_path():
    paths = ["a/dense/kernel", "b/dense/kernel"]
    with pytest.raises(ValueError, match="'dense' names several layers, give the whole path"):
        placement.choose(paths, ["dense"])
    assert placement.choose(paths, ["b/dense"]) == (1,)
