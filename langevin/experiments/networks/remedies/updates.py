"""Mixins before an optimizer: what is done around its update.

Every learning rate, window and noise of the optimizer stays; each of its steps takes one gradient.
A network is measured where the optimizer stands, between two of these periods too.  All train on
TensorFlow, `Lookahead` on JAX too.
"""

import itertools
import math

from keras import ops

from langevin import LAdam, noise
from langevin.experiments.networks.remedies.record import Remedy


class Lookahead:
    """Every `period` steps slow <- slow + share (fast - slow), fast <- slow.

    fast are the weights, which the optimizer moves; slow starts where they do.

    Source: Zhang et al., arXiv 1907.08610.  Mark: code.
    """

    period = 5
    share = 0.5

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._slow = self._slots(variables, "slow")

    def _slots(self, variables, name):
        return [self.add_variable_from_reference(v, name=name) for v in variables]

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        self.build(variables)  # on TensorFlow `apply` can come first
        first = ops.convert_to_tensor(self.iterations) == 0
        for slow, variable in zip(self._slow, variables):
            # Here, not in `build`: a compiled program is built with other weights.
            slow.assign(ops.where(first, _value(variable), _value(slow)))
        grads = self._inner_gradients(list(grads), variables)
        super().apply(grads, trainable_variables)
        self._moved(variables)
        last = ops.convert_to_tensor(self.iterations) % self.period == 0
        for place, (slow, variable) in enumerate(zip(self._slow, variables)):
            self._look_ahead(place, slow, variable, last)

    def _inner_gradients(self, gradients, variables):
        return gradients

    def _moved(self, variables):
        # What comes after the optimizer's own step: here nothing.
        pass

    def _look_ahead(self, place, slow, variable, last):
        moved = _value(slow) + self.share * (self._far(place, variable) - _value(slow))
        slow.assign(ops.where(last, moved, _value(slow)))
        variable.assign(ops.where(last, moved, _value(variable)))

    def _far(self, place, variable):
        """Where slow moves to: here the weights."""
        return _value(variable)


class _Noise:
    """Standard normal numbers for every weight, beside those of the Langevin noise."""

    def _normals(self, variables):
        # Langevin noise has the seed itself.
        seed = 2**31 - 1 - ops.convert_to_tensor(self._seed)
        sizes = [math.prod(v.shape) for v in variables]
        flat = noise.normal(seed, ops.convert_to_tensor(self._iterations), 0, sum(sizes))
        cuts = list(itertools.accumulate(sizes))[:-1]
        parts = ops.split(flat, cuts) if cuts else [flat]
        return [ops.reshape(part, v.shape) for part, v in zip(parts, variables)]


class EntropySGD(_Noise, Lookahead):
    """Descent on the local entropy: Langevin steps x' pulled back to x, then x toward their mean.

        x' <- optimizer's step with g + gamma (x' - x), then + epsilon sqrt(lr) xi
        mean <- alpha mean + (1 - alpha) x'
        every `period` steps    x <- x + share (mean - x),    x' <- x,    mean <- x

    To SGD this noise is Langevin noise of sigma = epsilon.  With gamma = epsilon = alpha = 0 this
    is Lookahead.  Each inner gradient counts.

    Source: Chaudhari et al., arXiv 1611.01838.  Mark: code.  Left out: scoping, which lets gamma
    grow along training, and an inner learning rate apart from the outer one; so at small rates the
    pull is weak, and what is left is mostly the mean.
    """

    period = 20
    share = 1.0
    gamma = 1e-2
    alpha = 0.75
    epsilon_noise = 1e-4

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._mean = self._slots(variables, "mean")

    def _inner_gradients(self, gradients, variables):
        first = ops.convert_to_tensor(self.iterations) % self.period == 0
        for mean, variable in zip(self._mean, variables):
            mean.assign(ops.where(first, _value(variable), _value(mean)))
        return [
            gradient + self.gamma * (_value(variable) - _value(slow))
            for gradient, variable, slow in zip(gradients, variables, self._slow)
        ]

    def _moved(self, variables):
        if self.epsilon_noise:
            sd = self.epsilon_noise * ops.sqrt(ops.convert_to_tensor(self.learning_rate))
            for variable, xi in zip(variables, self._normals(variables)):
                variable.assign_add(sd * xi)

    def _far(self, place, variable):
        mean = self._mean[place]
        mean.assign(self.alpha * _value(mean) + (1 - self.alpha) * _value(variable))
        return _value(mean)


class GradientNoise(_Noise):
    """g <- g + sqrt(eta / (1 + t)^.55) xi at step t = 0, 1, ..

    Before SGD this is Langevin noise of sigma_t = sqrt(lr eta / (1 + t)^.55).

    Source: Neelakantan et al., arXiv 1511.06807.  Mark: second, read in another's work.
    """

    eta = 0.01
    power = 0.55

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        step = ops.cast(ops.convert_to_tensor(self._iterations), "float32")
        sd = ops.sqrt(self.eta / (1 + step) ** self.power)
        noisy = [g + sd * xi for g, xi in zip(grads, self._normals(variables))]
        super().apply(noisy, trainable_variables)


class Atan2:
    """theta <- theta - lr a atan2(m', b sqrt(v')), m' and v' Adam's corrected averages.

    Adam without an epsilon: the step does not change when all gradients are scaled.  a = 1.27 and
    b = 1 make it Adam's where m' is small beside sqrt(v').  Plain: it has no noise of its own.

    Source: Everett et al., arXiv 2407.05872.  Mark: second.
    """

    scale = 1.27

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not isinstance(self, LAdam) or self.variant != "paper":
            raise ValueError(
                "remedy 'adam-atan2' needs optimizer 'adam' in variant 'paper': choose them. "
                f"Received: {type(self).__name__} in variant {self.variant!r}"
            )

    def _published(self, gradient, variable):
        momentum = self._average(self._momentums, variable, gradient, self.beta_1)
        velocity = self._average(self._velocities, variable, ops.square(gradient), self.beta_2)
        momentum = momentum / (1 - self._power(self.beta_1, velocity.dtype))
        velocity = velocity / (1 - self._power(self.beta_2, velocity.dtype))
        return self.scale, ops.arctan2(momentum, ops.sqrt(velocity))


def _value(variable):
    return ops.convert_to_tensor(variable)


# On JAX a group's runs, each with a seed of its own, are one program that draws for them all.
_DRAWS = {"backends": ("tensorflow",)}
MEMBERS = {
    "lookahead": Remedy(
        "Zhang et al., arXiv 1907.08610",
        "code",
        "every 5 steps slow <- slow + .5 (fast - slow), fast <- slow",
        optimizer=Lookahead,
    ),
    "entropy-sgd": Remedy(
        "Chaudhari et al., arXiv 1611.01838",
        "code",
        "20 Langevin steps pulled back to x, then x <- their running mean",
        optimizer=EntropySGD,
        **_DRAWS,
    ),
    "adam-atan2": Remedy(
        "Everett et al., arXiv 2407.05872",
        "second",
        "Adam without epsilon: the step is lr 1.27 atan2(m', sqrt(v'))",
        optimizer=Atan2,
    ),
    "gradient-noise": Remedy(
        "Neelakantan et al., arXiv 1511.06807",
        "second",
        "g + sqrt(.01 / (1 + t)^.55) xi",
        optimizer=GradientNoise,
        **_DRAWS,
    ),
}
