"""The paper's networks, each as one small builder function.

A builder takes the images' shape, the number of classes and the run, and returns a Keras model
from pixels, divided by 255 outside, to logits.  Its trainable variables stand in the order of the
layers, the input's first: `langevin_layers` counts them so, and knows them by the names given here.
"""

import contextlib
import math
import random
import threading

import keras
from keras import Input, Model, initializers, layers
from keras.src.random import seed_generator

from langevin.experiments.networks import remedies
from langevin.experiments.networks.layers import BatchNormalization, Highway

START_IMAGES = 512  # the first training images, that a remedy's start may look at
GROWTH = 5  # channels that each convolution of a DenseNet adds
_lent = threading.Lock()  # one build at a time


def dense(shape, classes, run):
    """`depth` hidden layers of 64 ReLU units: dense-20 has 129,930 weights on MNIST (Bras 2022)."""
    inputs = Input(shape)
    x = _received(layers.Flatten()(inputs), run)
    return _output(inputs, _hidden(x, run.depth, run), classes, run)


def conv_dense(shape, classes, run):
    """Twice 32 filters of 4x4 with ReLU and max-pooling, then as `dense` (Bras 2022)."""
    inputs = Input(shape)
    x = _received(inputs, run)
    for number in (1, 2):
        x = _layer(x, "conv", (32, 4), f"conv_{number}", (number, run.depth + 2), run)
        x = layers.MaxPooling2D()(x)
    return _output(inputs, _hidden(layers.Flatten()(x), run.depth, run, 2), classes, run)


def highway(shape, classes, run):
    """A hidden layer of 64 ReLU units, then `depth` highway layers (Srivastava et al. 2015)."""
    inputs = Input(shape)
    x = _hidden(layers.Flatten()(inputs), 1, run)
    for number in range(1, run.depth + 1):
        x = Highway(run.initializer, name=f"highway_{number}")(x)
    return _output(inputs, x, classes, run)


def resnet(shape, classes, run, shortcuts=True):
    """A convolution, three stages of `blocks` residual blocks, pooling (He et al. 2015).

    A block is two 3x3 convolutions with batch normalization around which a shortcut leads.  A stage
    after the first doubles the filters and halves the sides in its first block, whose shortcut is a
    1x1 convolution: the residual networks of CIFAR-10, with the projections of "option B".
    """
    inputs = Input(shape)
    x = layers.ReLU()(_normalized(inputs, run.filters, "conv", run))
    for stage, blocks in enumerate(run.blocks, start=1):
        filters = run.filters * 2 ** (stage - 1)
        for block in range(1, blocks + 1):
            name = f"stage_{stage}_block_{block}"
            halve = stage > 1 and block == 1
            y = _normalized(x, filters, f"{name}_conv_1", run, strides=2 if halve else 1)
            y = _normalized(layers.ReLU()(y), filters, f"{name}_conv_2", run)
            if shortcuts:
                projection = halve and _convolution(x, filters, 1, f"{name}_shortcut", run, 2)
                # The block's branch first: so Keras lists its layers before the projection.
                y = layers.Add()([y, projection if halve else x])
            x = layers.ReLU()(y)
    x = layers.Flatten()(layers.AveragePooling2D(2, padding="same")(x))
    return _output(inputs, x, classes, run)


def vgg(shape, classes, run):
    """`resnet` without its shortcuts: 3x3 convolutions one after another (Simonyan et al. 2014)."""
    return resnet(shape, classes, run, shortcuts=False)


def densenet(shape, classes, run):
    """A convolution, three dense blocks, a transition between any two (Huang et al. 2016).

    Each 3x3 convolution of a block sees all that the block made before and adds 5 channels; a
    transition, a 1x1 convolution, ReLU and pooling, keeps their number.  No bottlenecks.
    """
    inputs = Input(shape)
    x = _convolution(inputs, run.filters, 3, "conv", run)
    for block, convolutions in enumerate(run.blocks, start=1):
        if block > 1:
            name = f"transition_{block - 1}"
            x = layers.ReLU()(_convolution(_activated(x), x.shape[-1], 1, name, run))
            x = layers.AveragePooling2D(2)(x)
        for number in range(1, convolutions + 1):
            name = f"block_{block}_conv_{number}"
            new = _convolution(_activated(x), GROWTH, 3, name, run)
            x = layers.Concatenate()([x, new])
    x = layers.GlobalAveragePooling2D()(_activated(x))
    return _output(inputs, x, classes, run)


def densenet121(shape, classes, run):
    """`keras.applications.DenseNet121`, untrained (Huang et al. 2016)."""
    model = keras.applications.DenseNet121(
        weights=None, input_shape=shape, classes=classes, classifier_activation=None
    )
    for variable in model.trainable_variables:
        if variable.path.endswith("/kernel"):
            variable.assign(initializers.get(run.initializer)(variable.shape))
    return model


def _received(x, run):
    layer = remedies.of(run.remedy).inputs
    return layer()(x) if layer else x


def _hidden(x, count, run, before=0):
    """`count` hidden layers, after `before` convolutions."""
    width = remedies.of(run.remedy).width
    for number in range(1, count + 1):
        place = before + number, before + count
        x = _layer(x, "dense", (width,), f"hidden_{number}", place, run)
    return x


def _layer(x, kind, sizes, name, place, run):
    return remedies.of(run.remedy).layer(x, kind, sizes, name, place, run.initializer)


def _output(inputs, x, classes, run):
    remedy = remedies.of(run.remedy)
    made = {"kernel_initializer": remedy.kernel_initializer(run.initializer), "name": "output"}
    if not remedy.bias:
        made["use_bias"] = False
    return Model(inputs, remedy.output(classes, **made)(x))


def _convolution(x, filters, side, name, run, strides=1):
    return layers.Conv2D(
        filters, side, strides, "same", use_bias=run.conv_bias, kernel_initializer=run.initializer,
        name=name,
    )(x)  # fmt: skip


def _normalized(x, filters, name, run, strides=1):
    return BatchNormalization()(_convolution(x, filters, 3, name, run, strides))


def _activated(x):
    return layers.ReLU()(BatchNormalization()(x))


BUILDERS = {
    "dense": dense,
    "conv-dense": conv_dense,
    "highway": highway,
    "resnet": resnet,
    "vgg": vgg,
    "densenet": densenet,
    "densenet121": densenet121,
}
# The author's blocks and first filters, of the models that have them.
SIZES = {"resnet": ((6, 6, 6), 8), "vgg": ((5, 5, 5), 16), "densenet": ((6, 6, 6), 16)}
# How often a model has come to mean another network: its older runs have other keys.
REVISIONS = {"highway": 1, "resnet": 1, "vgg": 1, "densenet": 1}
# Whose convolutions' biases `conv_bias` is about: batch normalization follows them.
NORMALIZED = tuple(SIZES)
# Smaller images are brought to so many pixels a side: below, pooling leaves nothing.
LEAST_SIDE = {"conv-dense": 16, "resnet": 16, "vgg": 16, "densenet": 16, "densenet121": 32}


def depth_of(model, blocks):
    """The depth that follows from the blocks: convolutions, projections aside, and the output."""
    if model == "densenet121":
        return 121
    if blocks is None:
        return None
    return sum(blocks) + len(blocks) + 1 if model == "densenet" else 2 * sum(blocks) + 2


def build(run, shape, classes):
    """The run's model, its weights drawn from the run's seed: equal seeds, equal weights."""
    with _seeded(run.seed):
        return BUILDERS[run.model](shape, classes, run)


def multiplications(model):
    """Multiplications of one image's forward pass, for each layer that has a kernel, the input's
    first: each kernel once for each place it is put."""
    found = []
    for layer in model.layers:
        if kernels := [w for w in layer.weights if w.path.endswith("kernel")]:
            places = math.prod(layer.output.shape[1:-1])
            found.append(places * sum(math.prod(kernel.shape) for kernel in kernels))
    return found


def fresh(run, dataset):
    """The run's model for a data set, as its remedy starts it."""
    model = build(run, dataset.x_train.shape[1:], dataset.classes)
    if start := remedies.of(run.remedy).start:
        start(model, dataset.x_train[:START_IMAGES].astype("float32") / 255, run.seed)
    return model


@contextlib.contextmanager
def _seeded(seed):
    # Keras draws the seeds of initializers from Python's `random`, of which a thread, of Dask say,
    # may draw at the same time: so Keras is lent a generator that nobody else has.
    # keras.utils.set_random_seed would also clear TensorFlow's kernel caches, two seconds a run.
    # What layers draw with later, dropout say, takes its seeds elsewhere: so the kernels are those
    # of the same network without it.
    others = random.Random(~seed)
    with _lent:
        kept = seed_generator.python_random, seed_generator.make_default_seed
        seed_generator.python_random = random.Random(seed)
        seed_generator.make_default_seed = lambda: others.randint(1, 10**9)
        try:
            yield
        finally:
            seed_generator.python_random, seed_generator.make_default_seed = kept
