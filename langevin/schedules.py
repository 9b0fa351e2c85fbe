"""Decays of the learning rate and of sigma.

An optimizer takes any Keras schedule, for `learning_rate` and for `sigma`; `LogSchedule` is the
one of the paper that Keras lacks.
"""

import math

import keras
from keras import ops

from langevin.checks import check_number


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
