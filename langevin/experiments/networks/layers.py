"""Layers that Keras lacks, or that are slow in it."""

import math

import keras
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable("langevin")
class Highway(layers.Layer):
    """y = T relu(W x + b) + (1 - T) x with the gate T = sigmoid(V x + c).

    W is `kernel`, b `bias`, V `transform_kernel`, c `transform_bias`: for Layer Langevin one layer.
    c starts at -3, so that the layer first carries x on: T is near .05.  b starts as the author's
    does, which Keras's default for a weight without an initializer draws: Glorot uniform.

    Args:
        kernel_initializer: name of a Keras initializer, for W and V.

    Source: Srivastava, Greff and Schmidhuber, "Training very deep networks", NeurIPS 2015.
    """

    def __init__(self, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        width = input_shape[-1]
        self.kernel = self._square("kernel", width)
        self.bias = self.add_weight((width,), "glorot_uniform", name="bias")
        self.transform_kernel = self._square("transform_kernel", width)
        carry = initializers.Constant(-3.0)
        self.transform_bias = self.add_weight((width,), carry, name="transform_bias")

    def _square(self, name, width):
        # An initializer of its own: the same one draws the same numbers again.
        initializer = initializers.get(self.kernel_initializer)
        return self.add_weight((width, width), initializer, name=name)

    def call(self, inputs):
        new = ops.relu(ops.matmul(inputs, self.kernel) + self.bias)
        gate = ops.sigmoid(ops.matmul(inputs, self.transform_kernel) + self.transform_bias)
        return gate * new + (1 - gate) * inputs

    def get_config(self):
        return {**super().get_config(), "kernel_initializer": self.kernel_initializer}


@keras.saving.register_keras_serializable("langevin")
class BatchNormalization(layers.BatchNormalization):
    """Keras's, of images; in training on TensorFlow by other operations, equal up to rounding.

    As many channels as a power of two are TensorFlow's one operation: a step of a ResNet on a CPU
    takes 0.6 of the time.  For other numbers that one is slow, by 3 to 5, as is all else that
    repeats a few numbers along a row; rows of 16 pixels repeat it less often.  In double precision
    there is no such operation.
    """

    def call(self, inputs, training=None, mask=None):
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        if not (training and self.trainable):
            return self._normalized(inputs, self.moving_mean.value, self.moving_variance.value)
        channels = inputs.shape[-1]
        if channels & (channels - 1) == 0 and inputs.dtype != "float64":
            outputs, mean, variance = self._at_once(inputs)
        else:
            wide = _wide(inputs)
            mean = _by_channel(wide, channels)
            variance = _by_channel(ops.square(wide - _along(mean, wide)), channels)
            outputs = self._normalized(inputs, mean, variance)
        for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + new * (1 - self.momentum))
        return outputs

    def _at_once(self, inputs):
        import tensorflow as tf

        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon
        )
        count = ops.cast(ops.size(inputs) / inputs.shape[-1], "float32")
        return outputs, mean, variance * (count - 1) / count  # as Keras has it, over count

    def _normalized(self, inputs, mean, variance):
        wide = _wide(inputs)
        scale = self.gamma.value * ops.rsqrt(variance + self.epsilon)
        outputs = (wide - _along(mean, wide)) * _along(scale, wide)
        return ops.reshape(outputs + _along(self.beta.value, wide), ops.shape(inputs))


def _wide(images):
    """Images as rows of 16 pixels, or as many as divide an image."""
    _, height, width, channels = images.shape
    return ops.reshape(images, (-1, math.gcd(16, height * width) * channels))


def _along(values, wide):
    """A number a channel, repeated along rows of pixels."""
    return ops.tile(values, wide.shape[1] // values.shape[0])


def _by_channel(wide, channels):
    """The mean of each channel over rows of pixels."""
    return ops.mean(ops.reshape(ops.mean(wide, axis=0), (-1, channels)), axis=0)
