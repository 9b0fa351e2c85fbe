"""The networks are the author's: sizes by plain arithmetic, and each network computed once more.

What is compared with was read in the author's repository, its head of June 2023 (docs/networks.md).
"""

import keras
import numpy as np
import pytest
from keras import ops

from langevin.experiments.networks import models
from langevin.experiments.training.runs import Run

MNIST, CIFAR_10 = (28, 28, 1), (32, 32, 3)
NORMALIZED = ["resnet", "vgg", "densenet"]


def build(name, shape, **settings):
    return models.build(Run(model=name, **settings), shape, 10)


# shapes of all trainable weights in their order, written by hand


def layer(*kernel):
    """Kernel and bias."""
    return [kernel, kernel[-1:]]


def scale_and_shift(channels):
    return [(channels,), (channels,)]


def normalized(*kernel):
    return [*layer(*kernel), *scale_and_shift(kernel[-1])]


def stages(filters, blocks, shortcuts):
    """Of stages with f, 2f and 4f filters: their sides are 32, 16, 8, of which pooling makes 4."""
    f = filters
    found = normalized(3, 3, 3, f)
    found += 2 * blocks * normalized(3, 3, f, f)
    for before, after in ((f, 2 * f), (2 * f, 4 * f)):
        found += normalized(3, 3, before, after) + normalized(3, 3, after, after)
        found += layer(1, 1, before, after) if shortcuts else []
        found += 2 * (blocks - 1) * normalized(3, 3, after, after)
    return found + layer(4 * 4 * 4 * f, 10)


def dense_blocks():
    """Channels 16, 21, .. 46, transition, 46, .. 76, transition, 76, .. 106."""
    found = layer(3, 3, 3, 16)
    for channels in (16, 21, 26, 31, 36, 41):
        found += scale_and_shift(channels) + layer(3, 3, channels, 5)
    found += scale_and_shift(46) + layer(1, 1, 46, 46)
    for channels in (46, 51, 56, 61, 66, 71):
        found += scale_and_shift(channels) + layer(3, 3, channels, 5)
    found += scale_and_shift(76) + layer(1, 1, 76, 76)
    for channels in (76, 81, 86, 91, 96, 101):
        found += scale_and_shift(channels) + layer(3, 3, channels, 5)
    return found + scale_and_shift(106) + layer(106, 10)


HIDDEN = layer(64, 64)
# A network's weights, and how many numbers they hold.
PUBLISHED = {
    "dense": (
        ("dense", MNIST, {"depth": 20}),
        layer(784, 64) + 19 * HIDDEN + layer(64, 10),
        785 * 64 + 19 * 65 * 64 + 65 * 10,
    ),
    # 28 - 3 = 25, pooled 12; 12 - 3 = 9, pooled 4.
    "conv-dense of MNIST": (
        ("conv-dense", MNIST, {"depth": 20}),
        layer(4, 4, 1, 32) + layer(4, 4, 32, 32) + layer(512, 64) + 19 * HIDDEN + layer(64, 10),
        17 * 32 + 513 * 32 + 513 * 64 + 19 * 65 * 64 + 65 * 10,
    ),
    # 32 - 3 = 29, pooled 14; 14 - 3 = 11, pooled 5.
    "conv-dense of CIFAR-10": (
        ("conv-dense", CIFAR_10, {"depth": 20}),
        layer(4, 4, 3, 32) + layer(4, 4, 32, 32) + layer(800, 64) + 19 * HIDDEN + layer(64, 10),
        49 * 32 + 513 * 32 + 801 * 64 + 19 * 65 * 64 + 65 * 10,
    ),
    "highway": (
        ("highway", MNIST, {"depth": 10}),
        layer(784, 64) + 10 * 2 * HIDDEN + layer(64, 10),
        785 * 64 + 10 * 2 * 65 * 64 + 65 * 10,
    ),
    "resnet": (
        ("resnet", CIFAR_10, {}),
        stages(8, 6, shortcuts=True),
        240 + 12 * 600 + (1200 + 144 + 11 * 2352) + (4704 + 544 + 11 * 9312) + 513 * 10,
    ),
    "vgg": (
        ("vgg", CIFAR_10, {}),
        stages(16, 5, shortcuts=False),
        480 + 10 * 2352 + (4704 + 9 * 9312) + (18_624 + 9 * 37_056) + 1025 * 10,
    ),
    # 2 c + 9 c 5 + 5 a convolution of c channels, 2 c + c^2 + c a transition.
    "densenet": (
        ("densenet", CIFAR_10, {}),
        dense_blocks(),
        448 + 47 * (171 + 351 + 531) + 18 * 5 + (3 + 46) * 46 + (3 + 76) * 76 + 212 + 107 * 10,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_trainable_weights_have_the_authors_shapes_in_order(name):
    (model, shape, settings), shapes, total = PUBLISHED[name]
    variables = build(model, shape, **settings).trainable_variables
    assert [tuple(v.shape) for v in variables] == shapes
    assert sum(np.prod(v.shape) for v in variables) == total


def test_sizes_in_numbers():
    totals = {name: total for name, (_, _, total) in PUBLISHED.items()}
    assert totals == {
        "dense": 129_930, "conv-dense of MNIST": 129_482, "conv-dense of CIFAR-10": 148_938,
        "highway": 134_090, "resnet": 147_466, "vgg": 474_890, "densenet": 59_569,
    }  # fmt: skip


# each network computed once more, in the author's order of parts


class Weights:
    """A model's variables, taken in order of use; averages of batch normalization beside them."""

    def __init__(self, model):
        self.trained = iter(model.trainable_variables)
        self.averages = iter(model.non_trainable_variables)

    def take(self, count):
        return [next(self.trained) for _ in range(count)]

    def dense(self, x):
        kernel, bias = self.take(2)
        return ops.matmul(x, kernel) + bias

    def conv(self, x, strides=1, padding="same"):
        kernel, bias = self.take(2)
        return ops.conv(x, kernel, strides, padding) + bias

    def normalize(self, x):
        """Keras's default epsilon, 1e-3."""
        gamma, beta = self.take(2)
        mean, variance = next(self.averages), next(self.averages)
        return gamma * (x - mean) / ops.sqrt(variance + 1e-3) + beta


def pooled(x):
    return ops.average_pool(x, 2, 2)


def flat(x):
    return ops.reshape(x, (len(x), -1))


def dense(w, x, depth):
    x = flat(x)
    for _ in range(depth):
        x = ops.relu(w.dense(x))
    return w.dense(x)


def conv_dense(w, x, depth):
    for _ in range(2):
        x = ops.max_pool(ops.relu(w.conv(x, padding="valid")), 2, 2)
    return dense(w, x, depth)


def highway(w, x, depth):
    x = ops.relu(w.dense(flat(x)))
    for _ in range(depth):
        new, gate = ops.relu(w.dense(x)), ops.sigmoid(w.dense(x))
        x = gate * new + (1 - gate) * x
    return w.dense(x)


def resnet(w, x, blocks, shortcuts=True):
    x = ops.relu(w.normalize(w.conv(x)))
    for stage, count in enumerate(blocks):
        for block in range(count):
            strides = 2 if stage and not block else 1
            y = ops.relu(w.normalize(w.conv(x, strides)))
            y = w.normalize(w.conv(y))
            if shortcuts:
                y = y + (w.conv(x, 2, "valid") if strides == 2 else x)
            x = ops.relu(y)
    return w.dense(flat(pooled(x)))


def densenet(w, x, blocks):
    x = w.conv(x)
    for number, count in enumerate(blocks):
        if number:
            x = pooled(ops.relu(w.conv(ops.relu(w.normalize(x)))))
        for _ in range(count):
            x = ops.concatenate([x, w.conv(ops.relu(w.normalize(x)))], axis=-1)
    return w.dense(ops.mean(ops.relu(w.normalize(x)), axis=(1, 2)))


BLOCKS = {"blocks": (1, 2, 2), "filters": 4}
AGAIN = {
    "dense": ({"depth": 3}, lambda w, x: dense(w, x, 3)),
    "conv-dense": ({"depth": 2}, lambda w, x: conv_dense(w, x, 2)),
    "highway": ({"depth": 3}, lambda w, x: highway(w, x, 3)),
    "resnet": (BLOCKS, lambda w, x: resnet(w, x, BLOCKS["blocks"])),
    "vgg": (BLOCKS, lambda w, x: resnet(w, x, BLOCKS["blocks"], shortcuts=False)),
    "densenet": (BLOCKS, lambda w, x: densenet(w, x, BLOCKS["blocks"])),
}


@pytest.mark.parametrize("name", AGAIN)
def test_the_parts_of_every_network_stand_in_the_authors_order(name):
    settings, again = AGAIN[name]
    model, random = build(name, CIFAR_10, **settings), np.random.default_rng(0)
    for variable in model.variables:  # biases, scales and averages too, so that all of them count
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.3, 1.0, variable.shape))
    x = random.uniform(size=(3, *CIFAR_10)).astype("float32")
    weights = Weights(model)
    np.testing.assert_allclose(model(x), again(weights, x), rtol=1e-3, atol=1e-4)
    assert next(weights.trained, None) is None and next(weights.averages, None) is None


def test_batch_normalization_has_keras_defaults():
    model = build("resnet", CIFAR_10, **BLOCKS)
    parts = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert len(parts) == 1 + 2 * 5
    assert {(one.momentum, one.epsilon) for one in parts} == {(0.99, 1e-3)}


# biases


def test_a_highway_layers_own_bias_is_glorot_uniform_and_its_gates_is_minus_3():
    """Of a vector of 64 Keras takes both fans as 64: the limit is sqrt(6 / 128) = .2165."""
    model = build("highway", MNIST, depth=20, initializer="he_uniform")
    own = np.array([model.get_layer(f"highway_{i}").bias for i in range(1, 21)])
    gates = [model.get_layer(f"highway_{i}").transform_bias for i in range(1, 21)]
    # Of 1280 numbers the largest is below .99 of the limit with probability 3e-6; their standard
    # deviation is the limit / sqrt(3), with a standard error of less than 2 % of it.
    assert 0.99 * (6 / 128) ** 0.5 < np.abs(own).max() <= (6 / 128) ** 0.5
    assert abs(own.std() / (2 / 128) ** 0.5 - 1) < 0.1
    assert len(np.unique(own.round(6), axis=0)) == 20  # none alike
    assert all((np.asarray(gate) == -3).all() for gate in gates)


@pytest.mark.parametrize("name", [n for n in models.BUILDERS if n != "highway"])
def test_all_other_biases_start_at_0(name):
    settings = BLOCKS if name in NORMALIZED else {}
    variables = build(name, CIFAR_10, **settings).trainable_variables
    biases = [v for v in variables if v.path.endswith("bias")]
    assert biases and all((np.asarray(v) == 0).all() for v in biases)


@pytest.mark.parametrize("name", NORMALIZED)
def test_without_conv_bias_the_convolutions_have_none_and_all_else_stays(name):
    one, other = (build(name, CIFAR_10, **BLOCKS, conv_bias=b).trainable_variables
                  for b in (True, False))  # fmt: skip
    kept = [v for v in one if not v.path.endswith("bias") or v.path.startswith("output")]
    assert [tuple(v.shape) for v in kept] == [tuple(v.shape) for v in other]
    left_out = [tuple(v.shape) for v in one if not any(v is k for k in kept)]
    kernels = [v for v in one if len(v.shape) == 4]
    assert left_out == [tuple(v.shape[-1:]) for v in kernels]
    for a, b in zip(kept, other, strict=True):
        np.testing.assert_array_equal(a, b)  # the same numbers are drawn


@pytest.mark.parametrize("name", [n for n in models.BUILDERS if n not in NORMALIZED])
def test_conv_bias_is_refused_where_no_batch_normalization_of_ours_follows(name):
    with pytest.raises(ValueError, match=f"`conv_bias` must be true but.*Received: False.*{name}"):
        Run(model=name, conv_bias=False)
    assert Run(model=name, conv_bias=True) == Run(model=name)


@pytest.mark.parametrize("value", [None, 1, "false"])
def test_conv_bias_is_true_or_false(value):
    with pytest.raises(ValueError, match="`conv_bias` must be true or false.*Received: "):
        Run(model="resnet", conv_bias=value)


def test_runs_with_and_without_conv_bias_are_other_programs_and_other_records():
    one, other = Run(model="resnet"), Run(model="resnet", conv_bias=False)
    assert one.program() != other.program() and "conv_bias" in other.settings()
