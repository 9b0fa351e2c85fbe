"""Decays of the learning rate and of sigma.

An optimizer takes any Keras schedule, for `learning_rate` and for `sigma`; `LogSchedule` is the
one of the paper that Keras lacks.  A `Run` names its schedule instead, and `values` spells the
name out as one number a step, so that runs with other schedules share one compiled program.
"""

import math

import keras
import numpy as np
from keras import ops

from langevin.checks import check_number

NAMES = ("drop", "inverse", "constant")


@keras.saving.register_keras_serializable("langevin")
class LogSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """sigma(n) = sigma_0 / sqrt(log(e + n / N)), the decay of simulated annealing.

    Args:
        initial_value: sigma_0, the value at step 0; a positive float.
        decay_steps: N, the steps after which n / N is 1; a positive number.

    Raises:
        ValueError: an argument that is not a finite number > 0.

    Source: the `inverse` setting of Bras, arXiv 2212.14718.

    >>> sigma = langevin.LogSchedule(1e-3, decay_steps=2340)
    >>> langevin.LAdam(learning_rate=1e-3, sigma=sigma)
    """

    def __init__(self, initial_value, decay_steps, name="LogSchedule"):
        super().__init__()
        for argument, value in [("initial_value", initial_value), ("decay_steps", decay_steps)]:
            check_number(argument, value, positive=True)
        self.initial_value = initial_value
        self.decay_steps = decay_steps
        self.name = name

    def __call__(self, step):
        progress = ops.cast(step, "float32") / self.decay_steps
        return self.initial_value / ops.sqrt(ops.log(math.e + progress))

    def get_config(self):
        return {
            "initial_value": self.initial_value,
            "decay_steps": self.decay_steps,
            "name": self.name,
        }


def values(name, learning_rate, sigma, steps, window=(0.0, 1.0)):
    """Learning rate and sigma at every step of a run: two float32 arrays of shape (steps,).

    | name       | learning rate                 | sigma                             |
    | ---------- | ----------------------------- | --------------------------------- |
    | `drop`     | divided by 10 at half the run | 0 from half the run on            |
    | `inverse`  | lr / (1 + n / N)              | sigma / sqrt(log(e + n / N))      |
    | `constant` | lr                            | sigma                             |

    with N = steps / 2.  Outside `window` = (start, stop), fractions of all steps, sigma is 0.
    """
    n = np.arange(steps)
    half = steps / 2
    if name == "drop":
        rates = np.where(n < half, learning_rate, learning_rate / 10)
        sigmas = np.where(n < half, sigma, 0.0)
    elif name == "inverse":
        rates = learning_rate / (1 + n / half)
        sigmas = sigma / np.sqrt(np.log(math.e + n / half))
    elif name == "constant":
        rates, sigmas = np.full(steps, learning_rate), np.full(steps, sigma)
    else:
        raise ValueError(f"`schedule` must be one of {', '.join(NAMES)}. Received: {name!r}")
    start, stop = window
    inside = (n >= round(start * steps)) & (n < round(stop * steps))
    return rates.astype("float32"), np.where(inside, sigmas, 0.0).astype("float32")
