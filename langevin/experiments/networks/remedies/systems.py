"""Linear systems in a network: a run that diverges ends as one, and stops no other."""

import math

from keras import ops


def solve(matrix, right):
    """matrix^-1 right, of one matrix or of many; all NaN where a number of the matrices is none.

    There TensorFlow would raise an error on a CPU, in the midst of a training.
    """
    finite = ops.all(ops.isfinite(matrix))
    sound = ops.where(finite, matrix, ops.eye(matrix.shape[-1], dtype=matrix.dtype))
    return ops.where(finite, ops.solve(sound, right), math.nan)
