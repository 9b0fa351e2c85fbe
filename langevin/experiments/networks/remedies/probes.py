"""Measures of why a deep network trains or does not: of its signals, its kernels, its curvature.

All run on TensorFlow and on JAX.
"""

import keras
import numpy as np
from keras import ops

from langevin.experiments.networks.remedies import spectrum
from langevin.experiments.networks.remedies.diversity import correlations

IMAGES = 512  # what a run is probed on: its first training images
LANCZOS_STEPS = 15
BY_LAYER = ("output_variance", "gradient_variance", "neuron_correlation", "log_weight_volume")
NAMES = (*BY_LAYER, "sharpness")


class Probe:
    """What a network's present weights show on some images.

    Args:
        model: with logits as output.
        x, y: images / 255 and labels.

    Calling it returns a dict: output_variance and gradient_variance (of its kernel) for every layer
    that has a kernel, neuron_correlation and log_weight_volume for every kernel, and sharpness, the
    greatest eigenvalue of the Hessian matrix of the mean cross-entropy, by Lanczos; NaN where
    weights are not finite.
    """

    def __init__(self, model, x, y):
        self.model, self.x, self.y = model, x, y
        self.loss = spectrum.loss_of(model, x, y)

    def __call__(self):
        finite = spectrum.is_finite(self.model)
        kernels = [v for v in self.model.trainable_variables if v.path.endswith("/kernel")]
        found = {
            "neuron_correlation": [neuron_correlation(kernel) for kernel in kernels],
            "log_weight_volume": [log_weight_volume(k) if finite else np.nan for k in kernels],
            "sharpness": self._sharpness() if finite else np.nan,
        }
        variances = [numbers for _, *numbers in signal_variances(self.model, self.x, self.loss)]
        found |= dict(zip(("output_variance", "gradient_variance"), map(list, zip(*variances))))
        return {name: _rounded(value) for name, value in found.items()}

    def _sharpness(self):
        return spectrum.hessian_ritz_values(self.model, self.loss, LANCZOS_STEPS)[-1]


def _rounded(value):
    return [_rounded(one) for one in value] if isinstance(value, list) else float(f"{value:.4g}")


def neuron_correlation(kernel):
    """Mean absolute correlation of the weights of two units."""
    matrix = np.abs(ops.convert_to_numpy(correlations(kernel)))
    units = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (units * (units - 1)))


def log_weight_volume(kernel):
    """log of det(S) / product of S_jj, S the second moments of the units' weights over inputs.

    0 for units at right angles, minus infinity where one is a combination of others.  Not the
    covariances: those of as many units as inputs have determinant 0 whatever the weights.

    Source: Jin et al., "Weight expansion", arXiv 2201.09209, where S are the covariances of weights
    as random variables; from one network's weights this stands in for them.
    """
    columns = np.asarray(ops.convert_to_numpy(kernel), "float64").reshape(-1, kernel.shape[-1])
    lengths = np.linalg.norm(columns, axis=0)
    return float(np.linalg.slogdet((columns / lengths).T @ (columns / lengths))[1])


def signal_variances(model, x, loss):
    """Variances of what each layer with a kernel puts out and of the loss's gradient to its kernel.

    Args:
        model: with logits as output.
        x: images / 255.
        loss: a function of the trainable weights, such as `spectrum.loss_of`.

    Returns: a list of (layer's name, variance of its output, variance of the gradient).
    """
    chosen = [one for one in model.layers if any(w.path.endswith("/kernel") for w in one.weights)]
    outputs = keras.Model(model.inputs[0], [one.output for one in chosen])(x)
    gradients = spectrum.gradient(loss, spectrum.values_of(model))
    owners = [v.path.split("/")[-2:] for v in model.trainable_variables]
    of = {layer: found for (layer, name), found in zip(owners, gradients) if name == "kernel"}
    return [
        (one.name, *(float(ops.var(part)) for part in (output, of[one.name])))
        for one, output in zip(chosen, outputs)
    ]
