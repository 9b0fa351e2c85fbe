"""The networks: their sizes by hand, their weights by seed, their layers from the input on."""

import math
import random
import threading

import keras
import numpy as np
import pytest

from langevin import placement
from langevin.experiments.networks import models
from langevin.experiments.networks.layers import Highway
from langevin.experiments.training import runs
from langevin.experiments.training.runs import Run

MNIST, CIFAR_10, CIFAR_100 = ((28, 28, 1), 10), ((32, 32, 3), 10), ((32, 32, 3), 100)
DIGITS = (8, 8, 1), 10  # for convolutions enlarged: 16x16, for DenseNet-121 as CIFAR 32x32
SMALL = {"blocks": [1, 1, 1], "filters": 2}


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def small(name, **settings):
    """A small model of each kind, for digits."""
    sizes = SMALL if name in models.SIZES else {}
    run = Run(model=name, dataset="digits", **{**sizes, **settings})
    shape = runs.dataset_of(run).x_train.shape[1:]
    return models.build(run, shape, 10)


# sizes


def dense(shape, classes, depth):
    return (math.prod(shape) + 1) * 64 + (depth - 1) * (64 + 1) * 64 + (64 + 1) * classes


def conv_dense(shape, classes, depth):
    # A 4x4 kernel takes 3 pixels from a side, pooling half of it, rounded down.
    side = {16: 1, 28: 4, 32: 5}[shape[0]]
    convolutions = (4 * 4 * shape[2] + 1) * 32 + (4 * 4 * 32 + 1) * 32
    return convolutions + dense((side, side, 32), classes, depth)


def highway(shape, classes, depth):
    return dense(shape, classes, 1) + depth * 2 * (64 + 1) * 64


def vgg(shape, classes, blocks, filters):
    """Kernels of 3x3, biases, scale and shift of batch normalization, the output after pooling."""
    f, pooled = filters, {16: 2, 28: 4, 32: 4}[shape[0]]
    first = 9 * shape[2] * f + 3 * f
    stage_1 = 2 * blocks[0] * (9 * f * f + 3 * f)
    stage_2 = 9 * f * 2 * f + (2 * blocks[1] - 1) * 9 * (2 * f) ** 2 + 2 * blocks[1] * 3 * (2 * f)
    stage_3 = (
        9 * 2 * f * 4 * f + (2 * blocks[2] - 1) * 9 * (4 * f) ** 2 + 2 * blocks[2] * 3 * (4 * f)
    )
    return first + stage_1 + stage_2 + stage_3 + (pooled * pooled * 4 * f + 1) * classes


def projections(filters):
    return (filters + 1) * 2 * filters + (2 * filters + 1) * 4 * filters


def resnet(shape, classes, blocks, filters):
    return vgg(shape, classes, blocks, filters) + projections(filters)


def densenet(shape, classes, blocks, filters):
    """Scale and shift before every kernel but the first; 5 channels more with each convolution."""
    total, channels = (9 * shape[2] + 1) * filters, filters
    for number, convolutions in enumerate(blocks):
        if number:
            total += 2 * channels + (channels + 1) * channels  # transition
        for _ in range(convolutions):
            total += 2 * channels + (9 * channels + 1) * 5
            channels += 5
    return total + 2 * channels + (channels + 1) * classes


def densenet121(shape, classes):
    """A bottleneck of 4 * 32 channels before every 3x3 kernel; transitions halve the channels."""
    total, channels = 7 * 7 * shape[2] * 64 + 2 * 64, 64
    for number, convolutions in enumerate((6, 12, 24, 16)):
        if number:
            total += 2 * channels + channels * channels // 2
            channels //= 2
        for _ in range(convolutions):
            total += 2 * channels + channels * 128 + 2 * 128 + 9 * 128 * 32
            channels += 32
    return total + 2 * channels + (channels + 1) * classes


@pytest.mark.parametrize("depth", [1, 3, 20])
@pytest.mark.parametrize("shape, classes", [MNIST, CIFAR_100, DIGITS])
def test_dense_has_the_weights_counted_by_hand(depth, shape, classes):
    model = models.build(Run(depth=depth), shape, classes)
    assert model.count_params() == dense(shape, classes, depth)
    assert model.output_shape == (None, classes)


def test_dense_20_has_the_papers_size():
    assert dense(*MNIST, 20) == 785 * 64 + 19 * 65 * 64 + 65 * 10 == 129_930


@pytest.mark.parametrize("shape, classes", [MNIST, CIFAR_10, CIFAR_100, ((16, 16, 1), 10)])
@pytest.mark.parametrize("name", ["conv-dense", "highway", "resnet", "vgg", "densenet"])
def test_other_networks_have_the_weights_counted_by_hand(name, shape, classes):
    blocks = {"blocks": [1, 2, 3], "filters": 4} if name in models.SIZES else {"depth": 5}
    model = models.build(Run(model=name, **blocks), shape, classes)
    by_hand = globals()[name.replace("-", "_")](shape, classes, *blocks.values())
    assert trainable(model) == by_hand
    assert model.output_shape == (None, classes)


@pytest.mark.parametrize("shape, classes", [((32, 32, 1), 10), CIFAR_100])
def test_densenet121_has_the_weights_counted_by_hand(shape, classes):
    model = models.build(Run(model="densenet121"), shape, classes)
    assert trainable(model) == densenet121(shape, classes)
    assert model.output_shape == (None, classes)


def test_densenet121_has_the_published_size():
    # For ImageNet 8,062,504 numbers, of which 83,648 are moving averages.
    assert densenet121((224, 224, 3), 1000) == 8_062_504 - 83_648


@pytest.mark.parametrize(
    "name, total", [("resnet", 147_466), ("vgg", 474_890), ("densenet", 59_569)]
)
def test_the_papers_residual_networks(name, total):
    blocks, filters = models.SIZES[name]
    model = models.build(Run(model=name), *CIFAR_10)
    assert trainable(model) == globals()[name](*CIFAR_10, blocks, filters) == total


def test_vgg_is_resnet_without_the_projections():
    sizes = {"blocks": (6, 6, 6), "filters": 8}
    one, other = (models.build(Run(model=name, **sizes), *CIFAR_10) for name in ("resnet", "vgg"))
    assert trainable(one) - trainable(other) == projections(8) == 9 * 16 + 17 * 32


@pytest.mark.parametrize("depth", [80, 100])
def test_highway_of_any_depth(depth):
    model = models.build(Run(model="highway", depth=depth), *DIGITS)
    assert model.count_params() == highway(*DIGITS, depth)


def test_digits_are_enlarged_for_convolutions_and_stay_the_same_data():
    sides = {"dense": 8, "highway": 8, "conv-dense": 16, "resnet": 16, "densenet": 16}
    for name, side in {**sides, "densenet121": 32}.items():
        data = runs.dataset_of(Run(model=name, dataset="digits"))
        assert data.x_train.shape[1:] == data.x_test.shape[1:] == (side, side, 1)
        assert data is runs.dataset_of(Run(model=name, dataset="digits", seed=1))
    run = Run(model="conv-dense", dataset="digits", depth=1, epochs=1, batch_size=1000)
    assert runs.records([run])[0]["data_hash"] == runs.data_facts("digits")[0]


def test_multiplications_count_every_kernel_at_every_place():
    one = small("highway", depth=3)
    assert models.multiplications(one) == [64 * 64, *[2 * 64 * 64] * 3, 64 * 10]
    # Sides 16, 8, 4; the output sees 2x2 places of 8 channels.
    stages = [256 * (9 * 2 + 2 * 9 * 2 * 2), 64 * (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4)]
    stages.append(16 * (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8))
    assert sum(models.multiplications(small("resnet"))) == sum(stages) + 2 * 2 * 8 * 10


# weights


@pytest.mark.parametrize("name", models.BUILDERS)
def test_equal_seeds_draw_equal_weights_and_leave_pythons_random_alone(name):
    random.seed(5)
    expected = random.Random(5).random()
    one, again, other = (small(name, seed=seed).get_weights() for seed in (1, 1, 2))
    assert random.random() == expected
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_weights_do_not_depend_on_other_threads_that_draw_random_numbers():
    expected, stop = small("dense").get_weights(), threading.Event()

    def draw():
        while not stop.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        drawn = [small("dense").get_weights() for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    for weights in drawn:
        assert all(np.array_equal(a, b) for a, b in zip(expected, weights, strict=True))


@pytest.mark.parametrize("name", models.BUILDERS)
@pytest.mark.parametrize("initializer", ["he_uniform", "glorot_uniform"])
def test_the_initializer_is_the_runs_in_every_kernel(name, initializer):
    # A uniform law on (-l, l) has l = sqrt(6 / in) for He, sqrt(6 / (in + out)) for Glorot.
    variables = small(name, initializer=initializer).trainable_variables
    kernels = [np.array(v) for v in variables if v.path.endswith("kernel")]
    for kernel in kernels:
        *places, fan_in, fan_out = kernel.shape
        fans = fan_in + fan_out if initializer == "glorot_uniform" else fan_in
        limit, largest = (6 / (math.prod(places) * fans)) ** 0.5, np.abs(kernel).max()
        # Of 500 numbers or more the largest is within 2 % of the limit but once in 25,000.
        assert largest <= limit * (1 + 1e-6) and (kernel.size < 500 or largest > 0.98 * limit)
    assert len({kernel.ravel()[:8].tobytes() for kernel in kernels}) == len(kernels)  # none alike


def test_a_highway_layer_is_its_formula_and_survives_saving(tmp_path):
    layer = Highway(name="highway")
    model = keras.Sequential([keras.Input((3,)), layer])
    w, b, v, c = (np.array(x) for x in layer.get_weights())
    # Glorot uniform: of a vector of 3 both fans are 3.
    assert (b != 0).all() and np.abs(b).max() <= 1
    assert (c == -3).all() and not np.array_equal(w, v)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    gate = 1 / (1 + np.exp(-(x @ v + c)))
    expected = gate * np.maximum(x @ w + b, 0) + (1 - gate) * x
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


# layers, from the input on


def block(stage, *layers):
    return [f"stage_{stage}_block_1_{layer}" for layer in layers]


# All layers of a model, and how many are noisy at 15, 30 and 90 %: round(.15 n) and so on.
LAYERS = {
    "dense": (["hidden_1", "hidden_2", "hidden_3", "output"], (1, 1, 4)),
    "conv-dense": (["conv_1", "conv_2", "hidden_1", "hidden_2", "hidden_3", "output"], (1, 2, 5)),
    "highway": (["hidden_1", "highway_1", "highway_2", "highway_3", "output"], (1, 2, 4)),
    "resnet": (
        ["conv", *block(1, "conv_1", "conv_2"), *block(2, "conv_1", "conv_2", "shortcut"),
         *block(3, "conv_1", "conv_2", "shortcut"), "output"],
        (2, 3, 9),
    ),
    "vgg": (
        ["conv", *block(1, "conv_1", "conv_2"), *block(2, "conv_1", "conv_2"),
         *block(3, "conv_1", "conv_2"), "output"],
        (1, 2, 7),
    ),
    "densenet": (
        ["conv", "block_1_conv_1", "transition_1", "block_2_conv_1", "transition_2",
         "block_3_conv_1", "output"],
        (1, 2, 6),
    ),
}  # fmt: skip


def noisy(model, share):
    """Names of the noisy layers; what they hold is the first variables of the model."""
    paths = [v.path for v in model.trainable_variables]
    chosen = placement.choose(paths, share)
    assert chosen == tuple(range(len(chosen)))
    return [name for name, members in placement.layers(paths) if set(members) <= set(chosen)]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_noisy_at_15_30_and_90_percent(name):
    model, (names, counts) = small(name), LAYERS[name]
    assert [noisy(model, share) for share in (0.15, 0.3, 0.9)] == [names[:n] for n in counts]
    assert noisy(model, 1.0) == names


def test_layers_of_densenet121_noisy_at_15_30_and_90_percent():
    # Layers: 1 + 12, 1 + 24, 1 + 48, 1 + 32, output; of 121 are noisy 18, 36 and 109.
    model = small("densenet121")
    chosen = [noisy(model, share) for share in (0.15, 0.3, 0.9)]
    assert [(len(names), names[0], names[-1]) for names in chosen] == [
        (18, "conv1_conv", "conv3_block2_2_conv"),
        (36, "conv1_conv", "conv3_block11_2_conv"),
        (109, "conv1_conv", "conv5_block11_1_conv"),
    ]
    assert len(noisy(model, 1.0)) == 121


@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_batch_normalization_belongs_to_the_convolution_that_it_normalizes(name):
    model = small(name)
    paths = [v.path for v in model.trainable_variables]
    for layer, members in placement.layers(paths)[:-1]:
        owners = {paths[i].rpartition("/")[0] for i in members} - {layer}
        assert len(owners) == (not layer.endswith("shortcut"))
        for owner in owners:
            assert model.get_layer(owner).input is model.get_layer(layer).output
