"""What a training step needs, and what the machine can do at most: operations, bytes, memory.

The machine's limits are a product of large matrices and a copy of a large array; beside them
stand what a hidden layer of 64 units makes of a batch of 512, and a convolution of a ResNet's first
stage.
"""

import dataclasses
import functools
import math
import time

import keras
import numpy as np

from langevin.experiments.networks import models

PRODUCT, SMALL, COPY = "large product", "product of 512x64 by 64x64", "large copy"
CONVOLUTION = "3x3 convolution of 512x28x28x8 to 8 channels"
LARGE, BATCH, UNITS, SIDE, CHANNELS, BYTES = 2048, 512, 64, 28, 8, 2**27
# Numbers of a step for each weight: itself, two slots, gradient, noise, and their new values.
COPIES = 8


def needs(model, batch):
    """Operations and bytes of a training step, as plain formulas count them.

    Every kernel costs a multiplication and an addition forward, for its own gradient, and for the
    gradient of what it multiplies; not for that of the images, so the first layer takes two passes
    and the others three.  Every number that a step of Adam holds, weights with what belongs to them
    and all layers' outputs, is written and read once.
    """
    first, *others = models.multiplications(model)
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    held = 4 * (COPIES * model.count_params() + batch * outputs)
    return {"operations": 2 * batch * (2 * first + 3 * sum(others)), "bytes": 2 * held}


@dataclasses.dataclass(frozen=True)
class Limit:
    """A thing to time beside the variants: `PRODUCT`, `SMALL`, `CONVOLUTION` or `COPY`."""

    what: str
    backend: str = "tensorflow"

    def __str__(self):
        return self.what


class Machine:
    """A subject that comes to a limit: called it makes one pass and returns its seconds."""

    def __init__(self, limit):
        self.repeats = {SMALL: 100, CONVOLUTION: 5}.get(limit.what, 1)
        if limit.what == COPY:
            self.facts = {"bytes": 2 * BYTES}
            source, target = np.ones(BYTES // 4, "float32"), np.zeros(BYTES // 4, "float32")
            self.pass_ = lambda: np.copyto(target, source)
        else:
            left, right = {
                PRODUCT: ((LARGE, LARGE), (LARGE, LARGE)),
                SMALL: ((BATCH, UNITS), (UNITS, UNITS)),
                CONVOLUTION: ((BATCH, SIDE, SIDE, CHANNELS), (3, 3, CHANNELS, CHANNELS)),
            }[limit.what]
            self.facts = {"operations": 2 * math.prod(left[:-1]) * math.prod(right)}
            self.pass_ = self._products(left, right)

    def _products(self, left, right):
        import tensorflow as tf

        multiply = tf.matmul
        if len(left) > 2:
            multiply = functools.partial(tf.nn.conv2d, strides=1, padding="SAME")
        # Each goes on from the one before: they neither vanish nor grow.
        left, right = tf.ones(left), tf.fill(right, 1 / math.prod(right[:-1]))

        @tf.function
        def products(left, right):
            for _ in tf.range(self.repeats):
                left = multiply(left, right)
            return tf.reshape(left, [-1])[0]

        return lambda: float(products(left, right))

    def __call__(self):
        begun = time.perf_counter()
        self.pass_()
        return (time.perf_counter() - begun) / self.repeats


def wait(program):
    """Until the last epoch has ended: on JAX, and on a GPU, its call returns before."""
    if keras.backend.backend() == "jax":
        import jax

        jax.block_until_ready(program.changing)
    else:
        int(program.optimizer.iterations)


def memory(program, make_pass):
    """Bytes that training takes beside its data, and what the pass returns.

    All that training changes, and on JAX the temporaries that XLA plans, on TensorFlow the growth
    of the allocator's peak in a pass; NaN where the allocator keeps no count, as without oneDNN.
    """
    changing = sum(value.nbytes for value in program.state())
    if keras.backend.backend() == "jax":
        planned = program.compiled_epoch.memory_analysis().temp_size_in_bytes  # of one device
        return changing + len(program.changing[0].devices()) * planned, make_pass()
    import tensorflow as tf

    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    try:
        tf.config.experimental.reset_memory_stats(device)
        before = tf.config.experimental.get_memory_info(device)["current"]
    except ValueError:
        return math.nan, make_pass()
    done = make_pass()
    return changing + tf.config.experimental.get_memory_info(device)["peak"] - before, done
