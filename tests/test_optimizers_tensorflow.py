"""What only TensorFlow has: replicas, sparse gradients, float64, graphs with control flow."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import (
    KERAS,
    OPTIMIZERS,
    THREE,
    assert_equal,
    assert_one_step_law,
    fit_path,
    gradients_of,
    numpy_of,
    path_of,
    variables_of,
)

from langevin import LAdam

N, LR, SIGMA = 20_000, 0.01, 0.05
all_optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)


@all_optimizers
def test_graph_equals_eager_to_the_bit_but_for_tensorflows_rewriting_of_arithmetic(case):
    """The rewriter turns 1 / sqrt(x) into rsqrt(x) and the like: plain Keras RMSprop and Adadelta
    differ with it too. Without it every bit is equal."""
    gradients = gradients_of(1000, 4)
    eager = path_of(case(LR, sigma=SIGMA), gradients)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        graph = path_of(case(LR, sigma=SIGMA), gradients, mode="graph")
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    np.testing.assert_array_equal(graph, eager)


IN_A_GRAPH = [*[(case, "graph") for case in OPTIMIZERS], *[(case, "xla") for case in THREE]]


@pytest.mark.parametrize("case, mode", IN_A_GRAPH, ids=str)
def test_gradient_accumulation_in_a_graph_has_noise_on_real_updates_only(case, mode):
    gradients = gradients_of(N, 4)
    optimizer = case(LR, sigma=SIGMA, gradient_accumulation_steps=2)
    path = path_of(optimizer, gradients, mode=mode)
    np.testing.assert_array_equal(path[1::2], path[0:-1:2])
    means = [np.mean(np.float64(gradients[i : i + 2]), axis=0) for i in (0, 2)]
    assert_one_step_law(case, path[::2], means, LR, SIGMA)


@all_optimizers
def test_one_step_law_in_float64(case):
    gradients = gradients_of(N, 2)
    path = path_of(case(LR, sigma=SIGMA), gradients, start=np.full(N, 1e3), dtype="float64")
    assert path.dtype == np.float64
    assert_one_step_law(case, path, gradients, LR, SIGMA)


def sparse(gradient, rows):
    indices = np.flatnonzero(np.any(gradient, axis=1))
    values = gradient[indices]
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices), tf.constant([rows, 100]))


@all_optimizers
def test_sparse_gradients_drift_like_dense_ones_and_every_row_gets_noise(case):
    rows = N // 100
    gradients = [np.reshape(g, (rows, 100)).copy() for g in gradients_of(N, 2)]
    for gradient in gradients:
        gradient[::3] = 0
    [variable] = variables_of(np.zeros((rows, 100)))
    optimizer = case(LR, sigma=SIGMA)
    path = numpy_of([variable])
    for gradient in gradients:
        optimizer.apply([sparse(gradient, rows)], [variable])
        path += numpy_of([variable])
    flat = [np.ravel(each) for each in path]
    assert_one_step_law(case, flat, [np.ravel(g) for g in gradients], LR, SIGMA)


@pytest.mark.parametrize("case", [case for case in OPTIMIZERS if case.variant == "paper"], ids=str)
def test_paper_variant_adds_up_sparse_gradients_of_one_row(case):
    slices = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([1, 1, 0]), [3, 1])
    dense = np.array([[4.0], [3.0], [0.0]], "float32")
    ends = []
    for gradient in (slices, tf.constant(dense)):
        [variable] = variables_of(np.zeros((3, 1)))
        case(LR, sigma=SIGMA).apply([gradient], [variable])
        ends += numpy_of([variable])
    np.testing.assert_array_equal(*ends)


def test_embedding_is_trained_with_noise_on_unseen_rows():
    model = keras.Sequential([keras.layers.Embedding(50, 4), keras.layers.Flatten()])
    model.compile(LAdam(LR, sigma=SIGMA), loss="mse")
    inputs, targets = np.zeros((4, 1), "int32"), np.ones((4, 4), "float32")
    model.build((None, 1))
    before = model.get_weights()[0]
    model.fit(inputs, targets, verbose=0)
    assert np.all(model.get_weights()[0] != before)


# Replicas


def replicas_of(variable):
    return [np.array(value) for value in variable.value.values]


@pytest.fixture(scope="module")
def strategy():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    return tf.distribute.MirroredStrategy(devices)


@all_optimizers
def test_replicas_stay_equal_and_obey_the_one_step_law(case, strategy):
    gradients = gradients_of(N, 2)
    with strategy.scope():
        [variable] = variables_of(np.zeros(N))
        optimizer = case(LR, sigma=SIGMA)
        optimizer.build([variable])

    @tf.function
    def update(gradient):
        # Keras adds the replicas' gradients up.
        strategy.run(lambda: optimizer.apply([gradient / 2], [variable]))

    path = [np.zeros(N, "float32")]
    for gradient in gradients:
        update(tf.constant(gradient))
        one, other = replicas_of(variable)
        np.testing.assert_array_equal(one, other)
        path.append(one)
    assert_one_step_law(case, path, gradients, LR, SIGMA)
    # The noise is the one that a single device draws.
    np.testing.assert_allclose(
        path, path_of(case(LR, sigma=SIGMA), gradients), rtol=1e-5, atol=1e-7
    )
    for slot in optimizer.variables:
        values = replicas_of(slot)
        np.testing.assert_array_equal(values[0], values[1])


@pytest.mark.parametrize("case", THREE[::2], ids=str)
def test_replicas_stay_equal_in_fit(case, strategy):
    gradients = gradients_of(1000, 2)
    with strategy.scope():
        optimizer = case(LR, sigma=SIGMA)
        path = fit_path(optimizer, gradients)
    for variable in [*optimizer._trainable_variables, *optimizer.variables]:
        values = replicas_of(variable)
        np.testing.assert_array_equal(values[0], values[1])
    single = path_of(case(LR, sigma=SIGMA), gradients)
    np.testing.assert_allclose(path, single, rtol=1e-4, atol=2e-5)


def test_replicas_keep_their_noise_under_loss_scaling(strategy):
    with strategy.scope():
        [variable] = variables_of(np.zeros(100))
        inner = LAdam(LR, sigma=SIGMA)
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
        optimizer.build([variable])

    @tf.function
    def update(gradient):
        strategy.run(lambda: optimizer.apply([gradient], [variable]))

    for gradient in gradients_of(100, 2):
        update(tf.constant(gradient))
        one, other = replicas_of(variable)
        np.testing.assert_array_equal(one, other)
    assert np.all(one != 0)


# Graphs


def test_an_optimizer_built_at_its_first_call_in_a_graph_is_the_same_optimizer():
    gradients = gradients_of(100, 3)
    [variable] = variables_of(np.zeros(100))
    optimizer = LAdam(LR, sigma=SIGMA, seed=9)
    update = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    for gradient in gradients:
        update(tf.constant(gradient))
    expected = path_of(LAdam(LR, sigma=SIGMA, seed=9), gradients, mode="graph")[-1]
    np.testing.assert_array_equal(numpy_of([variable])[0], expected)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_one_trace_serves_every_sigma_seed_and_step(mode):
    gradient = tf.ones(100)
    [variable] = variables_of(np.zeros(100))
    optimizer = LAdam(LR, sigma=SIGMA)
    optimizer.build([variable])
    update = tf.function(lambda g: optimizer.apply([g], [variable]), jit_compile=mode == "xla")
    ends = set()
    for sigma, seed in [(0.1, 1), (0.1, 2), (0.0, 3), (0.2, 4)]:
        optimizer.sigma, optimizer.seed = sigma, seed
        update(gradient)
        ends.add(float(np.std(numpy_of([variable])[0])))
    assert update.experimental_get_tracing_count() == 1 and len(ends) >= 3


@pytest.mark.parametrize("case", KERAS, ids=str)
def test_keras_variant_without_noise_is_the_keras_optimizer_under_xla(case):
    gradients = gradients_of(100, 3)
    ours = path_of(case(LR, sigma=0.0), gradients, mode="xla")
    assert_equal(ours, path_of(case.plain(LR), gradients, mode="xla"))
