"""Activations that Keras lacks: Nish, the apical dendrites, normalized, adaptive, Rowdy.

All train on TensorFlow and on JAX.
"""

import math

import keras
from keras import layers, ops

from langevin.experiments.networks.remedies.record import Remedy


def nish(x):
    """x for x > 0, sin(x) sigmoid(x) for x < 0.  Source: arXiv 2210.09083.  Mark: reconstructed."""
    return ops.where(x > 0, x, ops.sin(x) * ops.sigmoid(x))


def ada(x, slope=0.0):
    """slope min(0, x) + max(0, x) exp(1 - x): greatest, 1, at x = 1, and falling beyond.

    Source: Georgescu et al., arXiv 2003.03229.  Mark: code.
    """
    positive = ops.relu(x)
    return slope * ops.minimum(x, 0) + positive * ops.exp(1 - positive)


def leaky_ada(x):
    """`ada` with slope .01 below 0.  Source and mark: its own."""
    return ada(x, slope=0.01)


@keras.saving.register_keras_serializable("langevin")
class PyNADA(layers.Dense):
    """ADA(x U + c) + relu(x W + b), a pyramidal neuron: U, `apical_kernel`, beside Keras's W.

    Twice the weights of a dense layer of its width; its `activation` is not used.  Of a
    convolutional network the dense layers are such ones, the convolutions stay.

    Source: Georgescu et al., arXiv 2003.03229.  Mark: code.
    """

    def build(self, input_shape):
        super().build(input_shape)
        # An initializer of its own: the same one draws the same numbers again.
        config = {**self.kernel_initializer.get_config(), "seed": None}
        fresh = type(self.kernel_initializer).from_config(config)
        shape = (input_shape[-1], self.units)
        self.apical_kernel = self.add_weight(shape, fresh, name="apical_kernel")
        self.apical_bias = self.add_weight((self.units,), "zeros", name="apical_bias")

    def call(self, inputs, training=None):
        apical = ops.matmul(inputs, self.apical_kernel) + self.apical_bias
        return ada(apical) + ops.relu(ops.matmul(inputs, self.kernel) + self.bias)


@keras.saving.register_keras_serializable("langevin")
class NormalizedActivation(layers.Layer):
    """(lambda + .3 tanh(alpha)) (f(x) - mu) with lambda = sqrt((r + r') / (2 r r')), f = relu.

    r = E f^2 / Var x and r' = E f'^2 are what the activation does to the variance of a signal on
    its way forward and of a gradient on its way back; mu = E f.  The three are running means over
    batches, `moments`, which start at their values for N(0, 1): there lambda = sqrt(2), as He's.
    alpha, `strength`, is learned from 0.

    Source: ANAct, arXiv 2208.13315.  Mark: second, read in another's work.
    """

    def __init__(self, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape):
        self.moments = self.add_weight((3,), _gaussian_moments, trainable=False, name="moments")
        self.strength = self.add_weight((), "zeros", name="strength")

    def call(self, inputs, training=None):
        y = ops.relu(inputs)
        if training:
            self._follow(inputs, y)
        mean, forward, backward = ops.unstack(ops.convert_to_tensor(self.moments), 3)
        gain = ops.sqrt((forward + backward) / (2 * forward * backward))
        return (gain + 0.3 * ops.tanh(self.strength)) * (y - mean)

    def _follow(self, x, y):
        ratio = ops.mean(ops.square(y)) / (ops.var(x) + keras.config.epsilon())
        slope = ops.mean(ops.cast(x > 0, y.dtype))
        # A layer whose units are all off would make the gain infinite.
        now = ops.stack([ops.mean(y), ops.maximum(ratio, 1e-3), ops.maximum(slope, 1e-3)])
        now = ops.stop_gradient(now)
        old = ops.convert_to_tensor(self.moments)
        self.moments.assign(self.momentum * old + (1 - self.momentum) * now)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


def _gaussian_moments(shape, dtype=None):
    return ops.convert_to_tensor([1 / math.sqrt(2 * math.pi), 0.5, 0.5], dtype)


@keras.saving.register_keras_serializable("langevin")
class AdaptiveSlope(layers.Layer):
    """relu(n a x), a learned for each layer from 1 / n: n = 10 makes its steps n times longer.

    Source: Jagtap and Karniadakis, arXiv 2209.02681.  Mark: second, read in another's work.
    """

    def __init__(self, scale=10.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape):
        start = keras.initializers.Constant(1 / self.scale)
        self.slope = self.add_weight((), start, name="slope")

    def call(self, inputs):
        return ops.relu(self.scale * self.slope * inputs)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("langevin")
class Rowdy(layers.Layer):
    """a_0 relu(w_0 x) + sum over k = 1 .. terms of a_k sin(k w_k x).

    a, `amplitudes`, learned from (1, 0, ..), w, `frequencies`, from 1: ReLU at the start.

    Source: Jagtap and Karniadakis, arXiv 2209.02681.  Mark: second, read in another's work.
    """

    def __init__(self, terms=2, **kwargs):
        super().__init__(**kwargs)
        self.terms = terms

    def build(self, input_shape):
        shape = (self.terms + 1,)
        self.amplitudes = self.add_weight(shape, _first_alone, name="amplitudes")
        self.frequencies = self.add_weight(shape, "ones", name="frequencies")

    def call(self, inputs):
        a, w = self.amplitudes, self.frequencies
        waves = [a[k] * ops.sin(k * w[k] * inputs) for k in range(1, self.terms + 1)]
        return sum(waves, a[0] * ops.relu(w[0] * inputs))

    def get_config(self):
        return {**super().get_config(), "terms": self.terms}


def _first_alone(shape, dtype=None):
    return ops.one_hot(0, shape[0], dtype=dtype)


_DENDRITES = "Georgescu et al., arXiv 2003.03229"
_JAGTAP = "Jagtap and Karniadakis, arXiv 2209.02681"
MEMBERS = {
    "nish": Remedy(
        "Nish, arXiv 2210.09083",
        "reconstructed",
        "x for x > 0, sin(x) sigmoid(x) below",
        activation=lambda depth: nish,
    ),
    "ada": Remedy(_DENDRITES, "code", "relu(x) e^(1 - relu(x))", activation=lambda depth: ada),
    "leaky-ada": Remedy(
        _DENDRITES,
        "code",
        "relu(x) e^(1 - relu(x)) + .01 min(0, x)",
        activation=lambda depth: leaky_ada,
    ),
    # 42 units: at depth 20 and 40 the network has the plain one's weights, to 4 %.
    "pynada": Remedy(
        _DENDRITES, "code", "ada(U x + c) + f(W x + b), 42 units", dense=PyNADA, width=42
    ),
    "normalized-activation": Remedy(
        "ANAct, arXiv 2208.13315",
        "second",
        "(l + .3 tanh(alpha)) (f(x) - E f), l = sqrt((r + r') / (2 r r')); "
        "r = E f^2 / Var x, r' = E f'^2; kernels Glorot's",
        activation=lambda depth: NormalizedActivation(),
        initializer=lambda: "glorot_uniform",  # the gain is He's already
    ),
    "adaptive-slope": Remedy(
        _JAGTAP, "second", "f(10 a x), a learned from .1", activation=lambda depth: AdaptiveSlope()
    ),
    "rowdy": Remedy(
        _JAGTAP,
        "second",
        "a_0 f(w_0 x) + a_1 sin(w_1 x) + a_2 sin(2 w_2 x), a and w learned",
        activation=lambda depth: Rowdy(),
    ),
}
