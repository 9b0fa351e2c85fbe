"""Which layers get noise: a pure function of variable paths."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langevin import LSGD, placement
from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies import transformed
from langevin.experiments.training.runs import Run

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
def test_what_names_paths_is_saved_as_a_record_which_chooses_the_same_in_a_renamed_model(choice):
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
    "a record without a list": ({"paths": 3, "noisy": [0]}, "must be None .*Received: {'paths': 3"),
    "a record of no numbers": ({"paths": ["a"], "noisy": [[0]]}, "must be None .*Received: {'pat"),
    "a record beyond its paths": ({"paths": ["a"], "noisy": [1]}, "must be None .*Received: {'pa"),
    "another mapping": ({"names": []}, "must be None .*Received: {'names'"),
    "number out of range": ([11], "layer number 11; the model has 11 layers, 0 to 10: .*dense_11"),
    "number below range": ([-12], "layer number -12; the model has 11 layers"),
    "unknown name": (["dense"], "'dense' names no layer. Layers: .*'dense_1', .*'dense_11'"),
    "substring": (["ense_1"], "'ense_1' names no layer"),
    "item of another type": ([1.5], "must be None .*Received an item: 1.5"),
    "boolean item": ([True], "Received an item: True"),
    "empty list": ([], r"must be None .* non-empty sequence .*Received: \[\]"),
    "empty predicate": (lambda path: False, "chose no variable"),
    "another model": ({"paths": ["a/kernel"], "noisy": [0]}, r"another model: .*\['a/kernel'\]"),
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


# Layers, whatever their weights are called


class Linear(keras.layers.Layer):
    """The layer of Keras's guide: its weights have no names."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 4), initializer="random_normal")
        self.b = self.add_weight(shape=(4,), initializer="zeros")

    def call(self, x):
        return x @ self.w + self.b


def sequential(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def layers_of(model):
    """The names of a model's layers, and of each how many variables it has."""
    variables = model.trainable_variables
    paths, shapes = [v.path for v in variables], [tuple(v.shape) for v in variables]
    groups = placement.layers(paths, shapes)
    return [(name.removeprefix(f"{model.name}/"), len(members)) for name, members in groups]


def test_a_layer_has_all_weights_of_its_owner_whatever_they_are_called():
    model = sequential(*(Linear(name=name) for name in "abc"))
    assert layers_of(model) == [("a", 2), ("b", 2), ("c", 2)]


def test_adapters_and_a_bias_beside_a_frozen_kernel_are_layers():
    model = sequential(*(keras.layers.Dense(4, name=name) for name in "abc"))
    model.get_layer("a").enable_lora(2)
    model.get_layer("b")._kernel.trainable = False
    assert layers_of(model) == [("a", 3), ("b", 1), ("c", 2)]


NORMALIZATIONS = [
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    getattr(keras.layers, "RMSNormalization", keras.layers.LayerNormalization),
]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_normalization_belongs_to_the_layer_before(normalization):
    given = {"groups": 2} if normalization is keras.layers.GroupNormalization else {}
    model = sequential(Linear(name="a"), normalization(**given), Linear(name="b"))
    assert [name for name, _ in layers_of(model)] == ["a", "b"]


def test_a_matrix_called_gamma_is_a_layer():
    paths = ["a/kernel", "b/gamma", "b/beta"]
    assert len(placement.layers(paths, [(2, 2), (2, 2), (2,)])) == 2
    assert len(placement.layers(paths, [(2, 2), (2,), (2,)])) == 1


def test_equal_paths_of_inner_models_are_layers_and_their_name_is_refused():
    paths = ["hidden/kernel", "hidden/bias"] * 2 + ["top/kernel"]
    assert placement.layers(paths) == [("hidden", [0, 1]), ("hidden", [2, 3]), ("top", [4])]
    assert placement.choose(paths, [1]) == (2, 3)
    with pytest.raises(ValueError, match="'hidden' names several layers of equal paths"):
        placement.choose(paths, ["hidden"])


def test_an_outer_name_means_all_layers_that_lie_under_it():
    model = keras.Sequential([
        keras.Input((3, 2)),
        keras.layers.LSTM(3, return_sequences=True, name="memory"),
        keras.layers.TimeDistributed(keras.layers.Dense(2), name="each"),
        keras.layers.Flatten(),
        keras.layers.Dense(1, name="out"),
    ])  # fmt: skip
    paths = [v.path for v in model.trainable_variables]
    assert placement.choose(paths, ["memory"]) == (0, 1, 2)
    assert placement.choose(paths, ["each", "out"]) == (3, 4, 5, 6)
    parts = ("query", "key", "attention_output")
    paths = [f"net/attention/{part}/{w}" for part in parts for w in ("kernel", "bias")]
    paths += ["net/out/kernel"]
    for name in ("attention", "net/attention"):
        assert placement.choose(paths, [name]) == tuple(range(6))
    assert placement.choose(paths, ["key"]) == (2, 3)
    with pytest.raises(ValueError, match="'x' names several layers, give the whole path"):
        placement.choose(["a/x/y/kernel", "b/x/kernel"], ["x"])


def joined_by_kernels(paths):
    """Layers as they were told before, by weights called kernel: those of the recorded runs."""
    owners = [path.rpartition("/")[0] or path for path in paths]
    layers = {o for o, path in zip(owners, paths, strict=True) if path.endswith("kernel")}
    groups, current = {}, None
    for position, owner in enumerate(owners):
        current = owner if owner in layers or current is None else current
        groups.setdefault(current, []).append(position)
    return list(groups.items())


@pytest.mark.parametrize(
    "name, remedy",
    [*((name, None) for name in models.BUILDERS), *(("conv-dense", r) for r in remedies.BY_NAME)],
)
def test_layers_of_the_experiments_are_those_of_the_recorded_runs(name, remedy):
    if remedy in transformed.MEMBERS:
        pytest.importorskip("dks")  # not among the lowest versions
    size = {"blocks": (1, 1, 1)} if name in models.SIZES else {"depth": 2}
    size = {} if name == "densenet121" else size
    model = models.build(Run(model=name, dataset="digits", remedy=remedy, **size), (32, 32, 1), 10)
    paths = [v.path for v in model.trainable_variables]
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    expected = joined_by_kernels(paths)
    assert placement.layers(paths) == placement.layers(paths, shapes) == expected


# A choice that was saved


def test_a_saved_predicate_means_the_same_variables_after_unfreezing():
    full = ["net/a/kernel", "net/a/bias", "net/head/kernel", "net/head/bias"]
    saved = placement.portable(full[2:], lambda path: path.endswith("kernel"))
    assert placement.choose(full[2:], saved) == (0,)
    assert placement.choose(full, saved) == (2,)
    for other in (full[:2], ["x/net/head/kernel"], [*full, "net/head/kernel"]):
        with pytest.raises(ValueError, match="was saved for another model: .*Pass"):
            placement.choose(other, saved)


def test_a_saved_predicate_knows_weights_without_names():
    saved = placement.portable(["a/variable", "a/variable_1"], lambda path: path.endswith("1"))
    assert placement.choose(["a/variable_6", "a/variable_7"], saved) == (1,)


def test_a_config_after_unfreezing_puts_noise_where_it_was_meant():
    model = sequential(*(keras.layers.Dense(4, name=name) for name in "abc"))
    model.get_layer("a").trainable = False
    optimizer = LSGD(langevin_layers=lambda path: "/b/" in path)
    optimizer.build(model.trainable_variables)
    model.get_layer("a").trainable = True
    again = LSGD.from_config(optimizer.get_config())
    again.build(model.trainable_variables)
    noisy = [v.path.split("/")[-2] for v in model.trainable_variables if again.is_noisy(v)]
    assert noisy == ["b", "b"]


def test_a_weight_without_elements_is_left_in_peace():
    for shapes in ([(2, 0), (3,)], [(3,), (2, 0)], [(2,), (0, 2), (3,)], [(0, 1)]):
        variables = [keras.Variable(np.zeros(shape), name=f"w{len(shape)}") for shape in shapes]
        LSGD(0.1, sigma=0.1).apply([np.ones(shape, "float32") for shape in shapes], variables)
        assert all(np.all(np.array(variable) != 0) for variable in variables)
