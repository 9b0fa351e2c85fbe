"""The paper's networks, each as one small builder function.

A builder takes the images' shape, the number of classes and the run's settings, and returns a
Keras model from uint8 pixels, divided by 255 outside, to logits.  Its trainable variables stand in
the order of the layers, the input's first: `langevin_layers` counts them so.
"""

import contextlib
import math
import random

from keras import Input, Model, layers


def dense(shape, classes, depth, initializer):
    """`depth` hidden layers of 64 ReLU units: dense-20 has 129,930 weights on MNIST (Bras 2022)."""
    inputs = Input(shape)
    x = layers.Flatten()(inputs)
    for _ in range(depth):
        x = layers.Dense(64, activation="relu", kernel_initializer=initializer)(x)
    return Model(inputs, _logits(x, classes, initializer))


def _logits(x, classes, initializer):
    return layers.Dense(classes, kernel_initializer=initializer)(x)


BUILDERS = {"dense": dense}


def build(run, shape, classes):
    """The run's model, its weights drawn from the run's seed: equal seeds, equal weights."""
    with _python_random(run.seed):
        return BUILDERS[run.model](shape, classes, run.depth, run.initializer)


def multiplications(model):
    """Multiplications of one image's forward pass: each kernel once for each place it is put."""
    total = 0
    for layer in model.layers:
        if kernels := [w for w in layer.weights if w.path.endswith("/kernel")]:
            places = math.prod(layer.output.shape[1:-1])
            total += places * sum(math.prod(kernel.shape) for kernel in kernels)
    return total


@contextlib.contextmanager
def _python_random(seed):
    # Keras draws the seeds of initializers from Python's random; keras.utils.set_random_seed would
    # also clear TensorFlow's kernel caches, two seconds a run.
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
