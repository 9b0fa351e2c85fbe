"""Training in target space: what is learned is where a fixed batch should go, not the weights.

Source: Fairbank et al., arXiv 2006.01578.  Mark: code.  The output layer has weights, where the
paper's has targets too.  Each of its gradients is one of a batch and the fixed images before it.
Trains on TensorFlow and on JAX.
"""

import keras
import numpy as np
from keras import layers, ops

from langevin.experiments.networks.remedies.record import Remedy
from langevin.experiments.networks.remedies.systems import solve

ROWS = 90  # with so many targets a unit the network has the plain one's weights, to 11 %
RIDGE = 1e-3


@keras.saving.register_keras_serializable("langevin")
class FixedBatch(layers.Layer):
    """Puts `ROWS` fixed images, which `project` chooses, before those of every batch."""

    def build(self, input_shape):
        shape = (ROWS, *input_shape[1:])
        self.images = self.add_weight(shape, "zeros", trainable=False, name="images")

    def call(self, inputs):
        return ops.concatenate([ops.convert_to_tensor(self.images), inputs], axis=0)

    def compute_output_shape(self, input_shape):
        return (None, *input_shape[1:])


@keras.saving.register_keras_serializable("langevin")
class TargetDense(layers.Dense):
    """f(x W) with W = (A^T A + c)^-1 A^T T, A and x with a 1 for the bias.

    A is what arrives of the fixed batch, the first `ROWS` rows of the input; T its targets, the
    trainable weights, which stand in the kernel's place: (ROWS, units).  As each layer's A follows
    from the W before it, the layers' weights are found one after another.  c is `RIDGE` times the
    mean square of A's rows without the 1; the paper's is a number, which would silence the small
    signals of a deep network.
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, **{**kwargs, "use_bias": False})

    def build(self, input_shape):
        # To Keras a kernel for `ROWS` inputs; the random weights are drawn by `project`.
        super().build((None, ROWS))
        self.input_spec = layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})

    def weights_of(self, rows):
        """W, the bias as its last row, from the fixed batch's rows (ROWS, inputs + 1)."""
        across, targets = ops.transpose(rows), 1 * self.kernel
        ridge = RIDGE * ops.sum(ops.square(rows[:, :-1])) / ROWS + 1e-30
        if rows.shape[1] <= ROWS:
            system = ops.matmul(across, rows) + ridge * ops.eye(rows.shape[1])
            return solve(system, ops.matmul(across, targets))
        # The same with the smaller system.
        system = ops.matmul(rows, across) + ridge * ops.eye(ROWS)
        return ops.matmul(across, solve(system, targets))

    def call(self, inputs, training=None):
        x = ops.concatenate([inputs, ops.ones_like(inputs[:, :1])], axis=1)
        return self.activation(ops.matmul(x, self.weights_of(x[:ROWS])))


def drop_fixed(x, linear, activation, share):
    """The fixed batch has gone far enough at the last hidden layer."""
    y = activation(linear(x))
    return y[ROWS:, :] if share == 1 and isinstance(linear, TargetDense) else y


def project(model, images, seed):
    """Fixes the first images, and starts every T where random weights send them: T = A W."""
    fixed = next(layer for layer in model.layers if isinstance(layer, FixedBatch))
    fixed.images.assign(np.resize(images, (ROWS, *images.shape[1:])).reshape(fixed.images.shape))
    x = images[:0]
    for layer in model.layers[1:]:
        if isinstance(layer, TargetDense):
            random = layer.kernel_initializer((x.shape[-1], layer.units))
            layer.kernel.assign(ops.matmul(x, random))
        x = layer(x)


MEMBERS = {
    "target-space": Remedy(
        "Fairbank et al., arXiv 2006.01578", "code",
        "W = (A^T A + c)^-1 A^T T, T learned, A what arrives of 90 images",
        dense=TargetDense, inputs=FixedBatch, join=drop_fixed, start=project,
    ),
}  # fmt: skip
