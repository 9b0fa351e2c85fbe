"""Other activations of Keras, as the survey arXiv 2209.02681 compares them, in place of ReLU.

Sources: with each member.  Mark: code, Keras's own, with Keras's constants.  The images are pixels
/ 255, where SELU's theory asks for mean 0 and variance 1.  All train on TensorFlow and on JAX.
"""

from keras import layers

from langevin.experiments.networks.remedies.record import Remedy

ALPHA_DROPOUT = 0.05


def _known(name, source, formula):
    return Remedy(source, "code", formula, activation=lambda depth: name)


def _alpha_dropout(x, linear, activation, share):
    return layers.AlphaDropout(ALPHA_DROPOUT)(activation(linear(x)))


def _selu(further="", **slots):
    """SELU: l and a make mean 0 and variance 1 a fixed point that attracts."""
    formula = "l x for x > 0, l a (e^x - 1) below; l = 1.0507, a = 1.6733; kernels N(0, 1 / inputs)"
    return Remedy(
        "Klambauer et al., arXiv 1706.02515", "code", formula + further,
        activation=lambda depth: "selu", initializer=lambda: "lecun_normal", **slots,
    )  # fmt: skip


MEMBERS = {
    "elu": _known("elu", "Clevert et al., arXiv 1511.07289", "x for x > 0, e^x - 1 below"),
    "selu": _selu(),
    "alpha-dropout": _selu(
        "; with probability .05 a unit takes SELU's least value, all scaled to mean 0, variance 1",
        join=_alpha_dropout,
    ),
    "leaky-relu": _known("leaky_relu", "Maas et al., ICML 2013", "max(x, .2 x), Keras's slope"),
    "swish": _known("swish", "Ramachandran et al., arXiv 1710.05941", "x sigmoid(x)"),
    "gelu": _known("gelu", "Hendrycks and Gimpel, arXiv 1606.08415", "x Phi(x)"),
    "mish": _known("mish", "Misra, arXiv 1908.08681", "x tanh(log(1 + e^x))"),
    "softplus": _known("softplus", "Dugas et al., NIPS 2000", "log(1 + e^x)"),
    "tanh": _known("tanh", "Dubey et al., survey, arXiv 2109.14545", "tanh(x)"),
}
