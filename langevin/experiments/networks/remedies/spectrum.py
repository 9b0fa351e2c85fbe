"""The spectrum of a loss's Hessian matrix by Lanczos, and the steps that follow from it.

Source: Granziol et al., arXiv 2006.09092.  Mark: second, read in another's work.  Runs on
TensorFlow and on JAX; the steps train on TensorFlow.
"""

import math

import keras
import numpy as np
from keras import ops

from langevin.experiments.networks.remedies.record import Remedy

STEPS = 20  # of Lanczos
FLATTEST = 1e-3  # of the greatest eigenvalue: flatter directions set no step

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def gradient(function, values):
        """The gradient of function(values), a scalar, with respect to a list of tensors."""
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return tape.gradient(result, values, unconnected_gradients="zero")

    @tf.function(reduce_retracing=True)
    def hessian_product(function, values, direction):
        """The Hessian matrix of `function` at `values` times `direction`, lists of tensors."""
        with tf.GradientTape() as tape:
            tape.watch(values)
            first = gradient(function, values)
            along = tf.add_n([tf.reduce_sum(g * d) for g, d in zip(first, direction)])
        return tape.gradient(along, values, unconnected_gradients="zero")

else:
    import jax

    def gradient(function, values):
        """The gradient of function(values), a scalar, with respect to a list of tensors."""
        return jax.grad(function)(values)

    def hessian_product(function, values, direction):
        """The Hessian matrix of `function` at `values` times `direction`, lists of tensors."""
        return jax.jvp(jax.grad(function), (values,), (direction,))[1]


def lanczos(product, size, steps, seed=0):
    """Ritz values, rising, of a symmetric matrix of which only products are to be had.

    q_1 random; b_j q_(j+1) = M q_j - a_j q_j - b_(j-1) q_(j-1), a_j = q_j M q_j, each q orthogonal
    to all before.  The eigenvalues of the matrix with a on, b beside its diagonal come near M's,
    the outermost first; after `size` steps they are M's.

    Args:
        product: from a vector (size,) to M times it.
        steps: at most `size`.
    """
    q = np.random.default_rng(seed).standard_normal(size)
    basis, diagonal, beside = [q / np.linalg.norm(q)], [], []
    while True:
        moved = np.asarray(product(basis[-1]), "float64")
        diagonal.append(basis[-1] @ moved)
        for _ in range(2):  # once leaves rounding along the vectors before
            moved = moved - np.transpose(basis) @ (basis @ moved)
        length = np.linalg.norm(moved)
        if len(diagonal) == min(steps, size) or length < 1e-10 * max(map(abs, diagonal)):
            return np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, -1), UPLO="L")
        beside.append(length)
        basis.append(moved / length)


def hessian_ritz_values(model, loss, steps=STEPS, seed=0):
    """Lanczos on the Hessian matrix of a model's `loss_of` some images."""
    values = values_of(model)
    shapes = [value.shape for value in values]
    cuts = np.cumsum([math.prod(shape) for shape in shapes])

    def product(flat):
        parts = np.split(flat.astype(keras.config.floatx()), cuts[:-1])
        direction = [ops.reshape(part, shape) for part, shape in zip(parts, shapes)]
        moved = hessian_product(loss, values, direction)
        return np.concatenate([np.ravel(ops.convert_to_numpy(part)) for part in moved])

    return lanczos(product, cuts[-1], steps, seed)


def heavy_ball(least, greatest):
    """(learning rate, momentum) of SGD with which a quadratic of this spectrum falls fastest.

    lr = (2 / (sqrt(least) + sqrt(greatest)))^2, momentum = the rate squared, where the rate a step
    is (sqrt(greatest) - sqrt(least)) / (sqrt(greatest) + sqrt(least)).
    """
    low, high = math.sqrt(least), math.sqrt(greatest)
    return (2 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2


class HeavyBall:
    """Mixin before SGD: v <- momentum v + g in place of g, the momentum as the spectrum says."""

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._balls = [self.add_variable_from_reference(v, name="ball") for v in variables]
        self.momentum_now = self.add_variable((), "zeros", "float32", name="momentum_now")

    def apply(self, grads, trainable_variables=None):
        self.build(trainable_variables or self._trainable_variables)
        for ball, gradient in zip(self._balls, grads):
            ball.assign(ops.cast(self.momentum_now, ball.dtype) * ball + gradient)
        super().apply([ops.convert_to_tensor(ball) for ball in self._balls], trainable_variables)


def pace(optimizer, model, loss):
    """Set a `HeavyBall`'s momentum by the present spectrum; returns its learning rate.

    Both are `heavy_ball`'s between the greatest Ritz value and the least positive one, of which
    those below `FLATTEST` of the greatest count as so much; a loss without a positive one, or
    whose weights are not finite, gives 1 and 0, as without momentum.
    """
    learning_rate, momentum = 1.0, 0.0
    if is_finite(model):
        found = hessian_ritz_values(model, loss)
        if (greatest := found[-1]) > 0:
            least = max(found[found > 0][0], FLATTEST * greatest)
            learning_rate, momentum = heavy_ball(least, greatest)
    optimizer.momentum_now.assign(momentum)
    return learning_rate


def values_of(model):
    return [1 * ops.convert_to_tensor(v) for v in model.trainable_variables]


def is_finite(model):
    """Whether all trainable weights are."""
    return all(np.isfinite(value).all() for value in values_of(model))


def loss_of(model, x, y):
    """The cross-entropy of a model's logits, on images / 255 and labels, as a function of its
    trainable weights."""

    def loss(values):
        state = [ops.convert_to_tensor(v) for v in model.non_trainable_variables]
        logits, _ = model.stateless_call(values, state, x)
        losses = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
        return ops.mean(losses)

    return loss


MEMBERS = {
    "heavy-ball": Remedy(
        "Granziol et al., arXiv 2006.09092",
        "second",
        "v <- r^2 v + g, W <- W - lr v; lr = lr_0 (2 / (sqrt(k) + sqrt(K)))^2, r = (sqrt(K) - "
        "sqrt(k)) / (sqrt(K) + sqrt(k)); each epoch K is the greatest of the Hessian's Ritz values "
        "after 20 steps of Lanczos, k the least positive one, K / 1000 at least",
        optimizer=HeavyBall,
        pace=pace,
        backends=("tensorflow",),
    ),
}
