"""Gradients reach every layer of the deep networks."""

import numpy as np
import pytest
import tensorflow as tf

from langevin import models
from langevin.runs import Run

RUNS = {
    "conv-dense-3": Run(model="conv-dense"),
    "highway-80": Run(model="highway", depth=80),
    "resnet-38": Run(model="resnet"),
    "vgg-8": Run(model="vgg", blocks=[1, 1, 1]),
    "densenet-22": Run(model="densenet"),
    "densenet121": Run(model="densenet121"),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_variable_has_a_finite_gradient_that_is_not_zero(name):
    run, random = RUNS[name], np.random.default_rng(0)
    side = models.LEAST_SIDE.get(run.model, 8)
    model = models.build(run, (side, side, 1), 10)
    images = tf.constant(random.uniform(size=(8, side, side, 1)), tf.float32)
    labels = tf.constant(random.integers(0, 10, 8))
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(losses)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        values = gradient.numpy()
        assert np.isfinite(values).all(), variable.path
        assert np.abs(values).max() > 1e-8, variable.path
