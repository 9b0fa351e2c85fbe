"""Gaussian noise without hidden state: a number is a function of (seed, step, position).

Each pair of numbers comes from two 32-bit words of a counter-based generator by Box and Muller's
transform, xi = sqrt(-2 log u) (cos 2 pi w, sin 2 pi w), in float32, or in float64 where that is
Keras's floatx: Philox 4x32-10 on TensorFlow, Threefry 2x32-20 on JAX (Salmon et al., SC 2011).
The words are the backend's own and equal to the bit in eager code, graphs and XLA; the transform
agrees to rounding.  `make bench` holds TensorFlow's `stateless_normal` and JAX's `normal` to it.

Any part of it can be had alone: `normal(seed, step, a, b)` is `normal(seed, step, 0, b)[a:]`.
"""

import math

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def _words(seed, step, start, count):
        # Philox gives four words a count; start is a multiple of four by BLOCK.
        key = tf.cast(tf.reshape(seed, [1]), tf.uint64)
        step = tf.cast(step, tf.uint64)

        def stream(number):
            counter = tf.stack([tf.constant(start // 4, tf.uint64), 2 * step + number])
            return tf.raw_ops.StatelessRandomUniformFullIntV2(
                shape=[count], key=key, counter=counter, alg=1, dtype=tf.uint32
            )

        return stream(tf.constant(0, tf.uint64)), stream(tf.constant(1, tf.uint64))

    def _direction(word):
        angle = tf.cast(word, dtype()) * (2 * math.pi * 2.0**-32)
        return tf.cos(angle), tf.sin(angle)

elif keras.backend.backend() == "jax":
    import jax
    import jax.numpy as jnp
    from jax.extend.random import threefry_2x32

    def _words(seed, step, start, count):
        key = jnp.stack([jnp.asarray(seed, jnp.uint32), jnp.asarray(step, jnp.uint32)])
        index = jnp.arange(start, start + count, dtype=jnp.uint32)
        # Both words of one block of the cipher are used: (0, index) -> (radius, angle).
        words = threefry_2x32(key, jnp.concatenate([jnp.zeros_like(index), index]))
        return words[:count], words[count:]

    def _direction(word):
        # XLA computes cosines one by one on a CPU.  Three bits choose the eighth of the circle, 29
        # the angle in it, [0, pi / 4), where Taylor's series are exact to float32: x^9, x^8.
        x = (word & (2**29 - 1)).astype(dtype()) * (math.pi / 4 * 2.0**-29)
        cos, sin = (
            sum((-1) ** k * x ** (2 * k + odd) / math.factorial(2 * k + odd) for k in range(5))
            for odd in (0, 1)
        )
        swap, left, down = (word >> bit & 1 for bit in (29, 30, 31))
        across, up = jnp.where(swap, sin, cos), jnp.where(swap, cos, sin)
        return jnp.where(left, -across, across), jnp.where(down, -up, up)

else:
    raise ImportError(
        "langevin runs on Keras's TensorFlow and JAX backends. "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow or jax."
    )

# Cosines and sines alternate in runs of 64: copying runs is cheap, interleaving numbers is not.
BLOCK = 128


def dtype():
    """What numbers are computed in."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


def normal(seed, step, start, stop):
    """Standard normal numbers `start` to `stop` - 1 of the stream of (seed, step).

    Args:
        seed: integer scalar in [0, 2**31), a number or a tensor.
        step: integer scalar >= 0, a number or a tensor: the optimizer's `iterations`.
        start, stop: Python integers, 0 <= start < stop.

    Returns: tensor of shape (stop - start,), of `dtype()`.
    """
    first, last = start // BLOCK, -(-stop // BLOCK)
    half = BLOCK // 2
    radius, angle = _words(seed, step, first * half, (last - first) * half)
    # The half keeps log finite; words near 0, the tail, keep their full resolution in float32.
    uniform = ops.cast(radius, dtype()) * 2.0**-32 + 2.0**-33
    radius = ops.reshape(ops.sqrt(-2.0 * ops.log(uniform)), (-1, half))
    across, up = _direction(ops.reshape(angle, (-1, half)))
    pairs = ops.concatenate([radius * across, radius * up], axis=1)
    return ops.reshape(pairs, (-1,))[start - first * BLOCK : stop - first * BLOCK]


def scaled_normal(sigma, seed, step, start, stop):
    """sigma times `normal`, which is not drawn where sigma, a scalar of `dtype()`, is 0.

    NaN where sigma is not >= 0: a wrong one must show.
    """
    return ops.cond(
        sigma != 0,
        lambda: ops.where(sigma >= 0, sigma, math.nan) * normal(seed, step, start, stop),
        lambda: ops.zeros((stop - start,), dtype()),
    )


if keras.backend.backend() == "jax":
    # In eager code JAX would compile the condition again at every step.
    scaled_normal = jax.jit(scaled_normal, static_argnames=("start", "stop"), inline=True)
