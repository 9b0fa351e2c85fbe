"""Augmentation: a pure function of seed and epoch, and the moves that it says."""

import numpy as np
import pytest

from langevin.experiments.data import augmentation


def by_hand(image, row, column, flip):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    height, width = image.shape[:2]
    cropped = padded[row : row + height, column : column + width]
    return cropped[:, ::-1] if flip else cropped


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (5, 7, 2)])
def test_images_are_padded_cropped_and_flipped(shape):
    images = np.random.default_rng(0).integers(0, 256, (200, *shape), dtype="uint8")
    moves = augmentation.draw(3, 1, 200)
    moved = np.asarray(augmentation.apply(images, moves))
    assert moved.dtype == images.dtype
    for image, move, result in zip(images, moves, moved, strict=True):
        np.testing.assert_array_equal(result, by_hand(image, *move))


def test_the_middle_is_where_the_image_was():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype="uint8")
    still = np.array([[2, 2, 0]] * 3, "int8")
    np.testing.assert_array_equal(augmentation.apply(images, still), images)


def test_moves_follow_from_seed_and_epoch():
    one = augmentation.draw(3, 1, 100)
    np.testing.assert_array_equal(augmentation.draw(3, 1, 100), one)
    for other in (augmentation.draw(3, 2, 100), augmentation.draw(4, 1, 100)):
        assert (other != one).any(axis=1).mean() > 0.9  # 1 in 50 moves is the same by chance


def test_all_moves_are_equally_likely():
    moves = augmentation.draw(0, 1, 50_000)
    places = np.ravel_multi_index(moves.T, (5, 5, 2))
    counts = np.bincount(places, minlength=50)
    assert len(counts) == 50
    assert np.abs(counts - 1000).max() < 5 * 1000**0.5
