"""Interventions: one change each to the paper's plain training, to find out what noise changes.

Each isolates a part of what Langevin noise does to a deep network: it widens the kernels, it turns
them, it delays the first large steps, it moves biases too.  All train on TensorFlow and on JAX.
"""

import numpy as np
from keras import ops

from langevin.experiments.networks.remedies.record import Remedy

SOURCE = "an intervention of this companion"


def is_kernel(variable):
    """Whether a trainable variable is a kernel, not a bias."""
    return len(variable.shape) > 1


def scaled(factor):
    """A start that multiplies every kernel by `factor`."""

    def start(model, images, seed):
        for variable in filter(is_kernel, model.trainable_variables):
            variable.assign(variable.numpy() * np.float32(factor))

    return start


def kick(sd):
    """A start that adds N(0, sd^2) to every kernel once."""

    def start(model, images, seed):
        # Not the seed's own stream, which orders the images.
        random = np.random.default_rng([seed, 2**31])
        for variable in filter(is_kernel, model.trainable_variables):
            normal = random.standard_normal(variable.shape, "float32")
            variable.assign(variable.numpy() + np.float32(sd) * normal)

    return start


def hold_norms(before, after, variables, count):
    """Scale each kernel after a step to the Frobenius norm it had before the step; biases, whose
    variable is numbered -1, move freely."""

    def norms(weights):
        squares = ops.where(kernels, ops.square(weights), 0.0)
        return ops.sqrt(ops.segment_sum(squares, places, count))

    kernels, places = variables >= 0, ops.maximum(variables, 0)
    factor = norms(before) / ops.maximum(norms(after), 1e-30)
    return ops.where(kernels, after * ops.take(factor, places), after)


def _member(formula, **slots):
    return Remedy(SOURCE, "code", formula, **slots)


MEMBERS = {
    "warm-up-1-percent": _member(
        "the learning rate rises linearly over the first 1 % of all steps",
        warm_up=lambda steps, of_epoch: max(1, round(steps / 100)),
    ),
    "warm-up-1-epoch": _member(
        "the learning rate rises linearly over the first epoch",
        warm_up=lambda steps, of_epoch: of_epoch,
    ),
    "kernels-1.15": _member("every kernel starts 1.15 times as wide", start=scaled(1.15)),
    "kernels-1.33": _member("every kernel starts 1.33 times as wide", start=scaled(1.33)),
    "kernels-1.41": _member("every kernel starts 1.41 times as wide", start=scaled(1.41)),
    "kick": _member("N(0, .15^2) is added to every kernel once, at the start", start=kick(0.15)),
    "held-norms": _member(
        "after every step each kernel is scaled to the norm it had before", after_step=hold_norms
    ),
    "no-biases": _member("no layer has a bias", bias=False),
}
