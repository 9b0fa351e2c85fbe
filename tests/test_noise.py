"""The stream of normal numbers: a function of (seed, step, position), and normal."""

import runpy

import keras
import numpy as np
import pytest
from helpers import BACKEND, BAND, assert_normal, assert_uncorrelated, assert_variance
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from langevin import noise

N = 1_000_000
HALF = noise.BLOCK // 2


def normal(seed, step, start, stop):
    return np.asarray(noise.normal(seed, step, start, stop))


def compiled(function, xla=True):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla)
    import jax

    return jax.jit(function)


@pytest.fixture(scope="module")
def stream():
    return normal(3, 5, 0, N)


def test_moments_and_law_are_normal(stream):
    assert_normal(stream)
    # se of the mean of x^p: sqrt(Var(x^p) / n), with E x^4 = 3, E x^6 = 15, E x^8 = 105
    x = stream.astype("float64")
    assert abs(np.mean(x**3)) < BAND * np.sqrt(15 / N)
    assert abs(np.mean(x**4) - 3) < BAND * np.sqrt(96 / N)


def test_tails_are_finite_and_as_heavy_as_normal(stream):
    assert np.all(np.isfinite(stream))
    # P(|x| > 4) = 6.334e-5, a Poisson count
    expected = 6.334e-5 * N
    assert abs(np.sum(np.abs(stream) > 4) - expected) < BAND * np.sqrt(expected)
    assert np.max(np.abs(stream)) < 6.8


@pytest.mark.parametrize("word", [0, 1, 2**24 - 1, 2**31, 2**32 - 129, 2**32 - 1])
def test_every_random_word_gives_a_finite_number(word, monkeypatch):
    words = ops.convert_to_tensor(np.full(HALF, word, "uint32"))
    monkeypatch.setattr(noise, "_words", lambda *arguments: (words, words))
    numbers = normal(0, 0, 0, noise.BLOCK)
    assert np.all(np.isfinite(numbers))
    radius = np.sqrt(-2 * np.log((word + 0.5) * 2.0**-32))  # 0 to 6.76
    np.testing.assert_allclose(np.hypot(*numbers.reshape(2, HALF)), radius, rtol=2e-6, atol=4e-4)


def test_cosines_and_sines_of_one_pair_are_independent(stream):
    pairs = stream[: N - N % noise.BLOCK].reshape(-1, 2, HALF).astype("float64")
    cosine, sine = pairs[:, 0], pairs[:, 1]
    assert_uncorrelated(cosine, sine)
    assert_uncorrelated(cosine**2, sine**2)
    assert_uncorrelated(np.abs(cosine), sine)


@pytest.mark.parametrize("lag", [1, 2, HALF, noise.BLOCK])
def test_neighbours_are_independent(stream, lag):
    x = stream.astype("float64")
    assert_uncorrelated(x[:-lag], x[lag:])
    assert_uncorrelated(x[:-lag] ** 2, x[lag:] ** 2)


def test_steps_and_seeds_are_independent():
    keys = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2**31 - 1, 0), (0, 10**6)]
    streams = [normal(seed, step, 0, 200_000) for seed, step in keys]
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert_uncorrelated(one, other)
            assert not np.any(one[:100] == other[:100])


def test_one_number_over_steps_and_over_seeds_is_normal():
    """What a chain sees: the law of one position, not of one draw."""
    function = compiled(lambda seed, step: noise.normal(seed, step, 0, 256))
    count = 40
    integer = "int64" if BACKEND == "tensorflow" else "int32"
    number = [ops.convert_to_tensor(i, dtype=integer) for i in range(count)]
    over_steps = np.stack([np.asarray(function(number[3], i)) for i in number]).astype("float64")
    over_seeds = np.stack([np.asarray(function(i, number[3])) for i in number]).astype("float64")
    for draws in (over_steps, over_seeds):
        assert_normal(draws)
        # A sum over `count` independent draws has variance `count`.
        assert_variance(draws.sum(axis=0), count)


@settings(max_examples=6)  # each is a compilation on JAX
@given(
    start=st.integers(0, 3000), count=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1),
    step=st.integers(0, 2**31 - 2),
)  # fmt: skip
def test_any_part_of_the_stream_can_be_had_alone(start, count, seed, step):
    part = normal(seed, step, start, start + count)
    assert part.dtype == np.float32 and part.shape == (count,)
    np.testing.assert_array_equal(part, normal(seed, step, 0, 6000)[start : start + count])


def test_a_part_far_out_equals_the_same_part_of_a_larger_draw():
    far = 10**8 + 77
    part = normal(1, 2, far, far + 20_000)
    assert_normal(part)
    np.testing.assert_array_equal(part[500:], normal(1, 2, far + 500, far + 20_000))


def test_seed_and_step_may_be_tensors_of_any_integer_type():
    expected = normal(5, 9, 10, 300)
    for dtype in ("int32", "int64", "uint32")[: 3 if BACKEND == "tensorflow" else 1]:
        seed, step = (ops.convert_to_tensor(value, dtype=dtype) for value in (5, 9))
        np.testing.assert_array_equal(normal(seed, step, 10, 300), expected)


def test_compiled_code_agrees_with_eager_code():
    expected = normal(5, 9, 130, 100_000)
    seed, step = ops.convert_to_tensor(5), ops.convert_to_tensor(9)
    function = lambda seed, step: noise.normal(seed, step, 130, 100_000)  # noqa: E731
    if BACKEND == "tensorflow":
        graph = np.asarray(compiled(function, xla=False)(seed, step))
        np.testing.assert_array_equal(graph, expected)
    # XLA's log, cos and sin round differently: relative to the radius, an angle's ulp is 4e-7.
    xla = np.asarray(compiled(function)(seed, step))
    np.testing.assert_allclose(xla, expected, rtol=1e-5, atol=5e-6)


def test_random_words_are_equal_to_the_bit_in_compiled_code():
    function = lambda seed, step: noise._words(seed, step, 640, 4096)  # noqa: E731
    arguments = ops.convert_to_tensor(5), ops.convert_to_tensor(9)
    for one, other in zip(function(*arguments), compiled(function)(*arguments), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_another_backend_is_refused_by_name_with_those_that_are_not(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    message = "TensorFlow and JAX.*Received: KERAS_BACKEND='torch'. Set .*=tensorflow or jax"
    with pytest.raises(ImportError, match=message):
        runpy.run_path(noise.__file__)
