"""Other activations of Keras, as the survey arXiv 2209.02681 compares them, in place of ReLU.

All train on TensorFlow and on JAX.
"""

from keras import layers

from langevin.remedies.record import Remedy

ALPHA_DROPOUT = 0.05


def _known(name, source):
    return Remedy(source, "code", activation=lambda depth: name)


def _alpha_dropout(x, linear, activation, share):
    return layers.AlphaDropout(ALPHA_DROPOUT)(activation(linear(x)))


def _selu(**slots):
    """SELU, l (x if x > 0 else a (e^x - 1)), with kernels N(0, 1 / inputs): l = 1.0507 and
    a = 1.6733 make mean 0 and variance 1 a fixed point that attracts."""
    return Remedy(
        "Klambauer et al., arXiv 1706.02515", "code", activation=lambda depth: "selu",
        initializer=lambda: "lecun_normal", **slots,
    )  # fmt: skip


MEMBERS = {
    "elu": _known("elu", "Clevert et al., arXiv 1511.07289"),
    "selu": _selu(),
    # Dropped units take SELU's least value, and all are scaled so that mean 0, variance 1 stay.
    "alpha-dropout": _selu(join=_alpha_dropout),
    "leaky-relu": _known("leaky_relu", "Maas et al., ICML 2013; slope .2, Keras's"),
    "swish": _known("swish", "Ramachandran et al., arXiv 1710.05941"),
    "gelu": _known("gelu", "Hendrycks and Gimpel, arXiv 1606.08415"),
    "mish": _known("mish", "Misra, arXiv 1908.08681"),
    "softplus": _known("softplus", "Dugas et al., NIPS 2000"),
    "tanh": _known("tanh", "LeCun et al., Efficient BackProp, 1998"),
}
