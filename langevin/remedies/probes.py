"""Measures of why a deep network trains or does not: of its weights, its signals, its curvature.

All run on TensorFlow and on JAX.
"""

import keras
import numpy as np
from keras import ops

from langevin.remedies import spectrum
from langevin.remedies.diversity import correlations


def neuron_correlation(kernel):
    """Mean absolute correlation of the weights of two units."""
    matrix = np.abs(ops.convert_to_numpy(correlations(kernel)))
    units = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (units * (units - 1)))


def weight_volume(kernel):
    """det(S) / product of S_jj for S the covariance of the units' weights over their inputs.

    1 for units without correlation, 0 where one is a combination of others.

    Source: Jin et al., "Weight expansion", arXiv 2201.09209.
    """
    columns = np.asarray(ops.convert_to_numpy(kernel), "float64").reshape(-1, kernel.shape[-1])
    return float(np.linalg.det(np.corrcoef(columns.T)))


def signal_variances(model, x, y):
    """Variances of what each layer with a kernel puts out and of the loss's gradient to its kernel.

    Args:
        model: with logits as output.
        x, y: images / 255 and labels.

    Returns: a list of (layer's name, variance of its output, variance of the gradient).
    """
    chosen = [one for one in model.layers if any(w.path.endswith("/kernel") for w in one.weights)]
    outputs = keras.Model(model.inputs[0], [one.output for one in chosen])(x)
    gradients = spectrum.gradient(spectrum.loss_of(model, x, y), spectrum.values_of(model))
    owners = [v.path.split("/")[-2:] for v in model.trainable_variables]
    of = {layer: found for (layer, name), found in zip(owners, gradients) if name == "kernel"}
    return [
        (one.name, *(float(ops.var(part)) for part in (output, of[one.name])))
        for one, output in zip(chosen, outputs)
    ]
