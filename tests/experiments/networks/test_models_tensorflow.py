"""Gradients reach every layer of the deep networks; batch normalization is Keras's."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from langevin.experiments.networks import models
from langevin.experiments.networks.layers import BatchNormalization
from langevin.experiments.training.runs import Run

RUNS = {
    "conv-dense-3": Run(model="conv-dense"),
    "conv-dense-20": Run(model="conv-dense", depth=20),
    "conv-dense-30": Run(model="conv-dense", depth=30),
    "highway-80": Run(model="highway", depth=80),
    "resnet-38": Run(model="resnet"),
    "vgg-32": Run(model="vgg"),
    "densenet-22": Run(model="densenet"),
    "densenet121": Run(model="densenet121"),
}


def before_normalization(path):
    """Whether it is the bias of a convolution whose output goes to batch normalization alone, which
    takes the mean off: not so a shortcut's and a transition's."""
    layer, _, kind = path.rpartition("/")
    return kind == "bias" and re.search(r"(^|_)conv(_\d+)?$", layer) is not None


@pytest.mark.parametrize("name", RUNS)
def test_every_variable_but_a_bias_before_normalization_has_a_gradient(name):
    run, random = RUNS[name], np.random.default_rng(0)
    side = models.LEAST_SIDE.get(run.model, 8)
    model = models.build(run, (side, side, 3), 10)
    images = tf.constant(random.uniform(size=(8, side, side, 3)), tf.float32)
    labels = tf.constant(random.integers(0, 10, 8))
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(losses)
    variables = model.trainable_variables
    gradients, rounding, kernel = tape.gradient(loss, variables), [], None
    for variable, gradient in zip(variables, gradients, strict=True):
        values = gradient.numpy()
        assert np.isfinite(values).all(), variable.path
        size = np.abs(values).max()
        if run.model in models.NORMALIZED and before_normalization(variable.path):
            rounding.append(size / kernel)
        else:
            assert size > 1e-8, variable.path
            kernel = size if variable.path.endswith("kernel") else kernel
    if run.model in models.NORMALIZED:
        convolutions = {"resnet": 1 + 36, "vgg": 1 + 30, "densenet": 1 + 18}[run.model]
        assert len(rounding) == convolutions
        # Rounding errors of sums of up to 8 16^2 numbers beside the gradient of the layer's kernel.
        assert max(rounding) < 1e-4  # measured: 3e-6


@pytest.mark.parametrize("shape", [(7, 6, 5, 3), (3, 8, 6, 3), (7, 6, 5, 4)])
def test_batch_normalization_is_keras_up_to_rounding(shape):
    """Outputs, all gradients and the averages, in training and after it."""
    random, found = np.random.default_rng(0), []
    x, weights = random.normal(0.3, 2.0, shape), random.normal(size=shape)
    gamma, beta = random.normal(size=(2, shape[-1]))
    x, weights = tf.constant(x, tf.float32), tf.constant(weights, tf.float32)
    for make in (BatchNormalization, keras.layers.BatchNormalization):
        layer = make(epsilon=0.1, momentum=0.7)
        layer.build(x.shape)
        layer.gamma.assign(gamma), layer.beta.assign(beta)
        with tf.GradientTape() as tape:
            tape.watch(x)
            trained = layer(x, training=True)
            loss = tf.reduce_sum(weights * trained)
        gradients = tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])
        averages = layer.non_trainable_variables
        found.append([trained, layer(x), *gradients, *(v.numpy() for v in averages)])
    for ours, keras_s in zip(*found, strict=True):
        np.testing.assert_allclose(ours, keras_s, rtol=1e-4, atol=1e-5)
