"""Layers whose kernel is not the weights themselves: weight normalization and DropConnect.

Both train on TensorFlow and on JAX.
"""

import math

import keras
from keras import layers, ops

from langevin.experiments.networks.remedies.record import Remedy

DROPPED = 0.05  # in every layer: at .3 a network of 20 layers stays at chance


class WeightNormalized:
    """Mixin over a Keras layer's `kernel`: w = g v / |v| for each unit, length g, direction v.

    v is the layer's own variable, g is `gain`; `standardize` sets g and b from a batch.  The output
    layer stays as it is, where the paper normalizes it too.

    Source: Salimans and Kingma, arXiv 1602.07868.  Mark: code.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight((self._kernel.shape[-1],), "ones", name="gain")

    @property
    def kernel(self):
        v = ops.convert_to_tensor(super().kernel)
        inputs = tuple(range(len(v.shape) - 1))
        return self.gain * v / ops.sqrt(ops.sum(ops.square(v), inputs, keepdims=True))


@keras.saving.register_keras_serializable("langevin")
class NormalizedDense(WeightNormalized, layers.Dense):
    """Weight-normalized `keras.layers.Dense`."""


@keras.saving.register_keras_serializable("langevin")
class NormalizedConv2D(WeightNormalized, layers.Conv2D):
    """Weight-normalized `keras.layers.Conv2D`."""


def standardize(model, images, seed):
    """Layer after layer, g = 1 / sd(t) and b = -mean(t) / sd(t) for t = v x / |v| on these images:
    every unit then has mean 0 and variance 1 there before its activation."""
    x = ops.convert_to_tensor(images)
    for layer in model.layers[1:]:
        if isinstance(layer, WeightNormalized):
            _standardize(layer, x)
        x = layer(x)


def _standardize(layer, x):
    activation, layer.activation = layer.activation, keras.activations.linear
    layer.gain.assign(ops.ones(layer.gain.shape))
    layer.bias.assign(ops.zeros(layer.bias.shape))
    t = layer(x)
    mean, variance = ops.moments(t, tuple(range(len(t.shape) - 1)))
    scale = ops.rsqrt(variance + keras.config.epsilon())
    layer.gain.assign(scale)
    layer.bias.assign(-mean * scale)
    layer.activation = activation


@keras.saving.register_keras_serializable("langevin")
class DropConnect(layers.Dense):
    """relu((m W) x + b), each m 1 with probability p else 0; at test time E relu(u) for a Gaussian
    u of the same mean, p W x + b, and variance, p (1 - p) W^2 x^2.

    E relu(u) = mean Phi(mean / sd) + sd phi(mean / sd); the paper samples it.  One mask a batch,
    where the paper draws one an image, and none of the biases, which the paper masks too.
    Convolutions stay as they are.

    Source: Wan et al., ICML 2013.  Mark: code.
    """

    def __init__(self, units, rate=DROPPED, **kwargs):
        super().__init__(units, **kwargs)
        if self.activation is not keras.activations.relu:
            raise ValueError(f"`activation` must be 'relu'. Received: {kwargs.get('activation')!r}")
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs, training=None):
        kept, kernel = 1 - self.rate, ops.convert_to_tensor(self.kernel)
        if training:
            drawn = keras.random.uniform(kernel.shape, seed=self.seed_generator)
            mask = ops.cast(drawn < kept, kernel.dtype)
            return ops.relu(ops.matmul(inputs, mask * kernel) + self.bias)
        mean = kept * ops.matmul(inputs, kernel) + self.bias
        variance = kept * self.rate * ops.matmul(ops.square(inputs), ops.square(kernel))
        sd = ops.sqrt(variance + 1e-30)
        z = mean / sd
        density = ops.exp(-ops.square(z) / 2) / math.sqrt(2 * math.pi)
        return mean * (1 + ops.erf(z / math.sqrt(2))) / 2 + sd * density

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


MEMBERS = {
    "weight-normalization": Remedy(
        "Salimans and Kingma, arXiv 1602.07868",
        "code",
        "W = g v / |v|, start by data",
        dense=NormalizedDense,
        conv=NormalizedConv2D,
        start=standardize,
    ),
    "dropconnect": Remedy(
        "Wan et al., ICML 2013",
        "code",
        "f((m W) x + b), m 0 with probability .05",
        dense=DropConnect,
    ),
}
