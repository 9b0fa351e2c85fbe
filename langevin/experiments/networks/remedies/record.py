"""What a remedy is: a record of what it changes in the paper's plain network and its training."""

import dataclasses
from collections.abc import Callable

from keras import layers

# How sure a formula is: read in public code, in another's work, or put together from words.
MARKS = ("code", "second", "reconstructed")
BACKENDS = ("tensorflow", "jax")


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A remedy for depth.  A slot left at its default leaves that part as it is.

    Args:
        source: the paper that proposes it, or by which it is known.
        mark: "code", "second" or "reconstructed": where its formula was read.
        formula: what it changes, in a line; f is the activation, relu, W the kernel.
        activation: from the number of layers with one to what a Keras layer takes as activation.
        initializer: makes an initializer for every kernel; None for the run's.
        dense: the class of hidden layers.
        output: the class of the last layer.
        conv: the class of convolutions.
        regularizer: makes a penalty on the kernels of hidden layers and convolutions.
        join: from (x, linear, activation, share) to the output of a hidden layer or convolution:
            its input, the layer without activation, the activation, and its place in (0, 1].
        inputs: makes a layer for the network's input.
        width: units of a hidden layer; fewer where a unit has more weights than one of 64 has.
        bias: whether hidden layers and the output have biases.
        start: called with (model, images / 255, the run's seed) before training.
        optimizer: a mixin before the optimizer's class.
        warm_up: from (the number of all steps, of an epoch's steps) to the steps over which the
            learning rate rises linearly to its value.
        after_step: called with (weights before a step, weights after it, the number of each
            weight's kernel or -1 in a bias, the number of variables), flat tensors; returns the
            weights to go on with.
        pace: called before every epoch with (optimizer, model, the loss of the first images as a
            function of its weights); returns what the run's learning rate is multiplied with.
        backends: where it trains.
    """

    source: str
    mark: str
    formula: str
    activation: Callable = lambda depth: "relu"
    initializer: Callable | None = None
    dense: type = layers.Dense
    output: type = layers.Dense
    conv: type = layers.Conv2D
    regularizer: Callable | None = None
    join: Callable | None = None
    inputs: Callable | None = None
    width: int = 64
    bias: bool = True
    start: Callable | None = None
    optimizer: type | None = None
    warm_up: Callable | None = None
    after_step: Callable | None = None
    pace: Callable | None = None
    backends: tuple = BACKENDS

    def layer(self, x, kind, sizes, name, place, initializer):
        """The layer `name` on x: `kind` is "dense" or "conv", `sizes` its arguments, `place` its
        number and that of all, `initializer` the run's."""
        number, depth = place
        made = {"kernel_initializer": self.kernel_initializer(initializer), "name": name}
        if not self.bias:
            made["use_bias"] = False
        if self.regularizer:
            made["kernel_regularizer"] = self.regularizer()
        activation = self.activation(depth)
        if not self.join and not isinstance(activation, layers.Layer):
            return getattr(self, kind)(*sizes, activation=activation, **made)(x)
        linear = getattr(self, kind)(*sizes, **made)
        if self.join:
            return self.join(x, linear, layers.Activation(activation), number / depth)
        return activation(linear(x))  # its own weights come after the layer's

    def kernel_initializer(self, initializer):
        return self.initializer() if self.initializer else initializer
