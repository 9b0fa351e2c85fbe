"""Layers whose gradient comes preconditioned by their block of the empirical Fisher matrix.

For a dense layer s = W^T a, a with a 1 for the bias, and d = dL/ds an image, means over the batch:

    foof    (E a a^T + c)^-1 g                                          FOOF, arXiv 2201.12250
    kfac    (E a a^T + pi sqrt(c))^-1 g (E d d^T + sqrt(c) / pi)^-1     K-FAC, arXiv 1503.05671
    mbf     (E |d|^2 a a^T / outputs + c)^-1 g                          MBF, arXiv 2202.04124

g is the kernel's gradient with the bias's as last row, c the damping, relative to the mean of the
diagonal, pi the root of the two factors' mean diagonals' ratio.  MBF has a block for each unit's
weights, E d_j^2 a a^T; here one for a layer, their mean (reconstructed).

d comes from the labels: the empirical Fisher matrix.  Of the present batch alone, without the
papers' averages over batches and without K-FAC's rescaling.  The gradient that arrives at the
optimizer is the preconditioned one, so that any optimizer, its schedule and noise can follow: for
the papers' updates sgd.  So of noise on top the scale P follows from the preconditioned gradients,
and not the rule's own inverse: where these are large, as kfac's and mbf's, it is small at the same
sigma.  Convolutions keep their gradient.  All train on TensorFlow and on JAX.

Mark: second, read in others' work; MBF's block, reconstructed.
"""

import keras
from keras import layers, ops

from langevin.experiments.networks.remedies.record import Remedy
from langevin.experiments.networks.remedies.systems import solve

DAMPING = 0.1


def foof(gradient, inputs, errors, damping=DAMPING):
    """(A + c)^-1 g with A = E a a^T, c = damping tr(A) / n."""
    return _solve(_second_moment(inputs), gradient, damping)


def kfac(gradient, inputs, errors, damping=DAMPING):
    """(A + pi sqrt(c))^-1 g (G + sqrt(c) / pi)^-1 with G = E d d^T.

    For sqrt(c) in units of sqrt(tr A tr G / (n m)), pi = sqrt(tr A / n / (tr G / m)): each factor
    is damped by the root of the damping times the mean of its own diagonal.
    """
    root = damping**0.5
    left = _solve(_second_moment(inputs), gradient, root)
    return ops.transpose(_solve(_second_moment(errors), ops.transpose(left), root))


def mbf(gradient, inputs, errors, damping=DAMPING):
    """(F + c)^-1 g with F = E |d|^2 a a^T / outputs, c = damping tr(F) / n."""
    weights = ops.mean(ops.square(errors), axis=-1, keepdims=True)
    return _solve(_second_moment(inputs, weights), gradient, damping)


def _second_moment(rows, weights=1.0):
    return ops.matmul(ops.transpose(weights * rows), rows) / _count(rows)


def _count(rows):
    return ops.cast(ops.shape(rows)[0], rows.dtype)


def _solve(matrix, right, damping):
    size = matrix.shape[0]
    # At a layer without any signal the matrix is 0: its gradient is too, and stays.
    mean = ops.maximum(ops.trace(matrix) / size, 1e-12)
    return solve(matrix + damping * mean * ops.eye(size, dtype=matrix.dtype), right)


class _Preconditioned(layers.Dense):
    """A dense layer whose kernel's and bias's gradient is `rule`'s."""

    rule = None

    def call(self, inputs, training=None):
        @ops.custom_gradient
        def linear(a, kernel, bias):
            def gradients(*received, upstream=None):
                upstream = received[0] if upstream is None else upstream
                one = ops.concatenate([a, ops.ones_like(a[:, :1])], axis=1)
                gradient = ops.matmul(ops.transpose(one), upstream)
                # The loss is a mean over the batch: an image's own error is so many times larger.
                errors = upstream * _count(upstream)
                better = type(self).rule(gradient, one, errors)
                return ops.matmul(upstream, ops.transpose(kernel)), better[:-1], better[-1]

            return ops.matmul(a, kernel) + bias, gradients

        # Products, not the variables: TensorFlow would ask for their gradients by name.
        return self.activation(linear(inputs, 1 * self.kernel, 1 * self.bias))


@keras.saving.register_keras_serializable("langevin")
class KFACDense(_Preconditioned):
    """A dense layer with `kfac`'s gradient."""

    rule = staticmethod(kfac)


@keras.saving.register_keras_serializable("langevin")
class FOOFDense(_Preconditioned):
    """A dense layer with `foof`'s gradient."""

    rule = staticmethod(foof)


@keras.saving.register_keras_serializable("langevin")
class MBFDense(_Preconditioned):
    """A dense layer with `mbf`'s gradient."""

    rule = staticmethod(mbf)


MEMBERS = {
    "k-fac": Remedy(
        "Martens and Grosse, arXiv 1503.05671",
        "second",
        "(E a a^T + pi sqrt(c))^-1 g (E d d^T + sqrt(c) / pi)^-1",
        dense=KFACDense,
        output=KFACDense,
    ),
    "foof": Remedy(
        "Benzing, arXiv 2201.12250",
        "second",
        "(E a a^T + c)^-1 g",
        dense=FOOFDense,
        output=FOOFDense,
    ),
    "mini-block-fisher": Remedy(
        "Bahamou et al., arXiv 2202.04124",
        "reconstructed",
        "(E |d|^2 a a^T / outputs + c)^-1 g",
        dense=MBFDense,
        output=MBFDense,
    ),
}
