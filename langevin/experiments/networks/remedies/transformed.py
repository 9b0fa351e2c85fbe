"""Activations transformed for a network's depth: DKS and TAT.

Source: Martens et al., arXiv 2110.01765 (DKS), and Zhang et al., arXiv 2203.08120 (TAT); the
constants come from their library `dks`, an extra.  Mark: code.  Q is the map that a layer makes of
an input's mean square, C of two inputs' correlation, C_f the composition of all layers'; all have
Q(1) = 1, and

    dks             Q'(1) = 1,   C(0) = 0,    C_f'(1) = 1.5     softplus
    tat             Q'(1) = 1,   C'(1) = 1,   C_f''(1) = .3     tanh
    tat-leaky-relu  C_f(0) = .9                                 leaky ReLU of slope a below 0

Where a shallow network of ReLU does not reach C_f(0) = .9, .9 times what it reaches is asked for.

Kernels are scaled orthogonal, of convolutions in their middle and 0 elsewhere, and every place of
the input has mean square 1.  Max-pooling is not in the theory.  All train on TensorFlow and JAX.
"""

import functools
import math

import keras
import numpy as np
from keras import initializers, layers, ops

from langevin.experiments.networks.remedies.record import Remedy


@functools.cache
def transformed(name, method, depth):
    """Keras's activation `name` for a chain of `depth` layers by `method`, "DKS" or "TAT"."""
    try:
        from dks.base.activation_transform import get_transformed_activations
    except ImportError as error:
        raise ImportError("DKS and TAT need: pip install 'langevin[remedies]'") from error

    def through(x, layer):
        for _ in range(depth):
            x = layer(x)
        return x

    getter, random = functools.partial(getattr, keras.activations), np.random.get_state()
    reached = through(0.0, _relus_map)
    target = 0.9 if reached > 0.9 else 0.9 * reached
    made = get_transformed_activations(
        [name], method, tat_params={"c_val_0_target": target}, subnet_max_func=through,
        activation_getter=getter,
    )  # fmt: skip
    np.random.set_state(random)  # the library seeds it for the whole process
    return made[name]


def _relus_map(c):
    """What a layer of ReLU makes of two inputs' correlation (Cho and Saul, NIPS 2009)."""
    c = min(c, 1.0)
    return (math.sqrt(1 - c**2) + c * (math.pi - math.acos(c))) / math.pi


@keras.saving.register_keras_serializable("langevin")
class ScaledDelta(initializers.Initializer):
    """max(1, sqrt(outputs / inputs)) times an orthogonal matrix, in the middle of a convolution.

    Args:
        seed: as in `keras.initializers.Orthogonal`.
    """

    def __init__(self, seed=None):
        self.draw = initializers.Orthogonal(seed=seed)

    def __call__(self, shape, dtype=None):
        *places, inputs, outputs = shape
        matrix = max(1.0, math.sqrt(outputs / inputs)) * self.draw((inputs, outputs), dtype)
        if not places:
            return matrix
        sides = [((side - 1) // 2, side // 2) for side in places]
        return ops.pad(ops.reshape(matrix, (*[1] * len(places), inputs, outputs)),
                       [*sides, (0, 0), (0, 0)])  # fmt: skip

    def get_config(self):
        return {"seed": self.draw.get_config()["seed"]}


@keras.saving.register_keras_serializable("langevin")
class PlaceNormalization(layers.Layer):
    """(x, 1) sqrt(channels + 1) / |(x, 1)| at every place of the input: mean square 1."""

    def call(self, inputs):
        x = ops.concatenate([inputs, ops.ones_like(inputs[..., :1])], axis=-1)
        return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)


def _member(name, method, source, formula):
    return Remedy(
        source, "code", f"{formula}; orthogonal kernels, inputs of mean square 1",
        activation=functools.partial(transformed, name, method), initializer=ScaledDelta,
        inputs=PlaceNormalization,
    )  # fmt: skip


_TAT = "Zhang et al., arXiv 2203.08120"
MEMBERS = {
    "dks": _member(
        "softplus",
        "DKS",
        "Martens et al., arXiv 2110.01765",
        "softplus, transformed for C(0) = 0, C_f'(1) = 1.5",
    ),
    "tat": _member("tanh", "TAT", _TAT, "tanh, transformed for C'(1) = 1, C_f''(1) = .3"),
    "tat-leaky-relu": _member(
        "leaky_relu", "TAT", _TAT, "leaky ReLU of the slope with C_f(0) = .9"
    ),
}
