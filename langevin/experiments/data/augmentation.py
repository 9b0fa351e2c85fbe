"""Augmentation: each training image is padded by 2 pixels, cropped back and perhaps flipped.

The moves are data, a function of (seed, epoch) alone, drawn by NumPy as the order of the images
is: under one seed every optimizer on every backend sees the same pixels.
"""

import numpy as np
from keras import ops

PAD = 2


def draw(seed, epoch, images):
    """An epoch's moves, one for each image in the order of training.

    Returns: int8, shape (images, 3): rows 0 .. 4 and columns 0 .. 4 at which the crop begins in
        the padded image, and 1 for a flip of left and right, else 0.
    """
    generator = np.random.default_rng([seed, epoch, 1])  # [seed, epoch] orders the images
    return generator.integers(0, [2 * PAD + 1, 2 * PAD + 1, 2], (images, 3), dtype="int8")


def apply(images, moves):
    """Move images: pad by zeros, crop back to their size, flip.

    Args:
        images: shape (n, height, width, channels), any dtype.
        moves: shape (n, 3), as of `draw`.

    Returns: as `images`.
    """
    count, height, width, channels = images.shape
    row, column, flip = ops.split(ops.cast(moves, "int32"), 3, axis=1)  # each (n, 1)
    # By Keras's default their type would change with its floatx.
    one, down, across = (ops.arange(size, dtype="int32") for size in (count, height, width))
    rows = row + down
    columns = column + ops.where(flip > 0, across[::-1], across)
    # One lookup in a long list of pixels: far faster than an operation for each image.
    padded = ops.pad(images, [(0, 0), (PAD, PAD), (PAD, PAD), (0, 0)])
    lines = one[:, None] * (height + 2 * PAD) + rows
    places = lines[:, :, None] * (width + 2 * PAD) + columns[:, None, :]
    return ops.take(ops.reshape(padded, (-1, channels)), places, axis=0)
