"""Other remedies for depth, to be compared with Langevin noise and joined to it.

`BY_NAME` holds every remedy as a `record.Remedy`, of which models and training read the slots.
A member is found in the module of its concept, with formula, source and mark.
"""

import keras

from langevin.experiments.networks.remedies import (
    activations,
    curvature,
    diversity,
    interventions,
    joins,
    kernels,
    shapes,
    spectrum,
    targets,
    transformed,
    updates,
)
from langevin.experiments.networks.remedies.record import Remedy

MODELS = ("dense", "conv-dense")  # whose builders read the slots
PLAIN = Remedy("Nair and Hinton, ICML 2010", "code", "f(W x + b), f = relu")
_CONCEPTS = (activations, shapes, transformed, diversity, joins, kernels, targets, updates,
             curvature, spectrum, interventions)  # fmt: skip
BY_NAME = {name: one for concept in _CONCEPTS for name, one in concept.MEMBERS.items()}


def of(name):
    """The remedy of a run: the plain network for None."""
    return BY_NAME[name] if name else PLAIN


def check_backend(name):
    """ValueError where the remedy does not train on Keras's present backend."""
    backend, backends = keras.backend.backend(), of(name).backends
    if backend not in backends:
        raise ValueError(
            f"`remedy` {name!r} trains on {' and '.join(backends)}: set KERAS_BACKEND. Received: "
            f"the backend {backend}"
        )
