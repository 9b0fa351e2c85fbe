"""What a training step needs, and what the machine can do at most: operations, bytes, memory.

The machine's limits are a product of large matrices and a copy of a large array; beside them
stands a product of the size that a hidden layer of 64 units makes of a batch of 512.
"""

import dataclasses
import math
import time

import keras
import numpy as np

from langevin import models

PRODUCT, SMALL, COPY = "large product", "product of 512x64 by 64x64", "large copy"
LARGE, BATCH, UNITS, BYTES = 2048, 512, 64, 2**27
# Numbers of a step for each weight: itself, two slots, gradient, noise, and their new values.
COPIES = 8


def needs(model, batch):
    """Operations and bytes of a training step, at least.

    A step costs three forward passes of a multiplication and an addition each.  Every number that
    it holds, weights with what belongs to them and all layers' outputs, is written and read once.
    """
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    held = 4 * (COPIES * model.count_params() + batch * outputs)
    return {"operations": 6 * models.multiplications(model) * batch, "bytes": 2 * held}


@dataclasses.dataclass(frozen=True)
class Limit:
    """A thing to time beside the variants: `PRODUCT`, `SMALL` or `COPY`."""

    what: str
    backend: str = "tensorflow"

    def __str__(self):
        return self.what


class Machine:
    """A subject that comes to a limit: called it makes one pass and returns its seconds."""

    def __init__(self, limit):
        self.repeats = 100 if limit.what == SMALL else 1
        if limit.what == COPY:
            self.facts = {"bytes": 2 * BYTES}
            source, target = np.ones(BYTES // 4, "float32"), np.zeros(BYTES // 4, "float32")
            self.pass_ = lambda: np.copyto(target, source)
        else:
            rows, units = {PRODUCT: (LARGE, LARGE), SMALL: (BATCH, UNITS)}[limit.what]
            self.facts = {"operations": 2 * rows * units * units}
            self.pass_ = self._product(rows, units)

    def _product(self, rows, units):
        import tensorflow as tf

        left, right = tf.ones((rows, units)), tf.eye(units)

        @tf.function
        def product(left, right):
            for _ in tf.range(self.repeats):
                left = tf.matmul(left, right)
            return left[0, 0]

        return lambda: float(product(left, right))

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
