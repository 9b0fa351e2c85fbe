"""What follows a layer or leads around it: dropout, batch normalization, residual twins.

All train on TensorFlow and on JAX.
"""

from keras import layers

from langevin.experiments.networks.remedies.record import Remedy

DROPOUT = 0.05  # in every layer: at the usual .2 to .5 a network of 20 layers stays at chance
LAST_KEPT = 0.5
# Of the running averages: an epoch of MNIST is 117 steps, of which .99 would keep a third.
MOMENTUM = 0.9


def dropout(x, linear, activation, share):
    """Each unit's output is 0 with probability .05 and divided by .95 else.

    Source: Srivastava et al., JMLR 2014.  Mark: code.
    """
    return layers.Dropout(DROPOUT)(activation(linear(x)))


def batch_normalization(x, linear, activation, share):
    """f(gamma (W x - mean) / sd + beta), mean and sd of the batch, running ones at test time.

    Source: Ioffe and Szegedy, arXiv 1502.03167.  Mark: code.
    """
    return activation(_normalized(x, linear))


def residual(x, linear, activation, share):
    """f(x + BN(W x)); without x where it has another shape.

    The twin that stochastic depth is to be held against; the paper's blocks skip two layers.

    Source: He et al., arXiv 1512.03385.  Mark: code.
    """
    return _around(x, _normalized(x, linear), activation)


def stochastic_depth(x, linear, activation, share):
    """f(x + b BN(W x)), b = 1 with probability p else 0, for each image; f(x + p BN(W x)) after.

    p falls in a straight line with depth, to .5 in the last layer.  The paper draws one b for all
    images of a batch; for each image is what public code does.

    Source: Huang et al., arXiv 1603.09382.  Mark: code.
    """
    kept = 1 - share * (1 - LAST_KEPT)
    y = _normalized(x, linear)
    if y.shape == x.shape:
        whole = (None, *[1] * (len(y.shape) - 1))
        # Keras divides what it keeps by p; times p this is the paper's form.
        y = layers.Rescaling(kept)(layers.Dropout(1 - kept, noise_shape=whole)(y))
    return _around(x, y, activation)


def _normalized(x, linear):
    # No bias: it is taken out again, and has no gradient that would lead noise back.
    linear.use_bias = False
    return layers.BatchNormalization(momentum=MOMENTUM)(linear(x))


def _around(x, y, activation):
    return activation(layers.Add()([y, x]) if y.shape == x.shape else y)


MEMBERS = {
    "dropout": Remedy(
        "Srivastava et al., JMLR 2014",
        "code",
        "m f(W x + b) / .95, m 0 with probability .05",
        join=dropout,
    ),
    "batch-normalization": Remedy(
        "Ioffe and Szegedy, arXiv 1502.03167",
        "code",
        "f(gamma (W x - mean) / sd + beta)",
        join=batch_normalization,
    ),
    "residual": Remedy(
        "He et al., arXiv 1512.03385",
        "code",
        "f(x + BN(W x)): stochastic depth's twin",
        join=residual,
    ),
    "stochastic-depth": Remedy(
        "Huang et al., arXiv 1603.09382",
        "code",
        "f(x + m BN(W x)), m 1 with a probability that falls to .5",
        join=stochastic_depth,
    ),
}
