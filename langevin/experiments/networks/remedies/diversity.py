"""Neurons that differ from one another: at the start, or during training.

Source: Kovalenko et al., arXiv 2109.09612, put together from its words: reconstructed.  Orthogonal
kernels (Saxe et al., arXiv 1312.6120; code) are the control.  All train on TensorFlow and on JAX.
"""

import math

import keras
from keras import initializers, ops

from langevin.experiments.networks.remedies.record import Remedy

STRENGTH = 0.1


@keras.saving.register_keras_serializable("langevin")
class Decorrelated(initializers.Initializer):
    """The kernel nearest to a random one whose units' weights have no correlation, of He's scale.

    A unit's weights (a column; of a convolution over height, width and channels) keep their random
    mean, and vary by 2 / inputs around it.  Without the means the sum of a unit's weights would be
    0, and so what ReLU's positive outputs have in common lost in each layer.  As many units as
    inputs, or more, cannot all be uncorrelated: their covariance is then a multiple of a
    projection, as near as it can be.

    Args:
        seed: of the random kernel, as in `keras.initializers.HeNormal`.
    """

    def __init__(self, seed=None):
        self.draw = initializers.HeNormal(seed)

    def __call__(self, shape, dtype=None):
        units, inputs = shape[-1], math.prod(shape[:-1])
        kernel = ops.reshape(self.draw(shape, dtype), (inputs, units))
        means = ops.mean(kernel, axis=0)
        left, lengths, right = ops.svd(kernel - means, full_matrices=False)
        # What is left of a direction that centring took away is rounding.
        kept = ops.cast(lengths > 1e-4 * lengths[0], kernel.dtype)
        return ops.reshape(math.sqrt(2) * ops.matmul(left * kept, right) + means, shape)

    def get_config(self):
        return self.draw.get_config()


@keras.saving.register_keras_serializable("langevin")
class Diversity(keras.regularizers.Regularizer):
    """strength times the sum, for a mean unit, of its weights' squared correlations with others.

    For random weights that sum is units / inputs.
    """

    def __init__(self, strength=STRENGTH):
        self.strength = strength

    def __call__(self, kernel):
        return self.strength * (ops.sum(ops.square(correlations(kernel))) / kernel.shape[-1] - 1)

    def get_config(self):
        return {"strength": self.strength}


def correlations(kernel):
    """Correlations of the weights of any two units: a matrix (units, units)."""
    columns = ops.reshape(kernel, (-1, kernel.shape[-1]))
    columns = columns - ops.mean(columns, axis=0)
    columns = columns / ops.sqrt(ops.sum(ops.square(columns), axis=0) + 1e-12)
    return ops.matmul(ops.transpose(columns), columns)


_KOVALENKO = "Kovalenko et al., arXiv 2109.09612"
MEMBERS = {
    "decorrelated": Remedy(
        _KOVALENKO, "reconstructed", "kernels of uncorrelated units, nearest to He's",
        initializer=Decorrelated,
    ),
    "orthogonal": Remedy(
        "Saxe et al., arXiv 1312.6120", "code", "orthogonal kernels times sqrt(2)",
        initializer=lambda: initializers.Orthogonal(math.sqrt(2)),
    ),
    "neuron-diversity": Remedy(
        _KOVALENKO, "reconstructed",
        "loss + .1 times the sum of squared correlations of units' weights, a unit",
        regularizer=Diversity,
    ),
}  # fmt: skip
