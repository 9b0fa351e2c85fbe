"""Langevin optimizers: preconditioned gradient descent with Gaussian noise of matching covariance.

    theta <- theta - lr P d + sigma sqrt(lr) sqrt(P) xi,      xi ~ N(0, I)

P is the optimizer's diagonal preconditioner, d its direction, lr `learning_rate` and sigma `sigma`
(number or schedule) at the same step.  Near a minimum of a loss U the law of theta is close to
exp(-2 U / sigma^2): temperature T = sigma^2 / 2.  A sampler written with sqrt(2 T lr) xi has
sigma = sqrt(2 T); one whose learning rate h is halved in the drift, h / 2, has lr = h / 2.

Source: Bras, "Langevin algorithms for very deep neural networks with application to image
classification", arXiv 2212.14718; the preconditioned scheme is Li et al., AAAI 2016.
"""

import keras
from keras import ops

from langevin.base import Langevin, dense, working_dtype
from langevin.checks import check_number

VARIANTS = ("paper", "keras")


class _Published(Langevin):
    """A Langevin optimizer with the paper's own update beside Keras's.

    `variant="keras"` adds noise to the Keras optimizer, `variant="paper"` makes the published
    update of `_published`, whose P and d differ from Keras's in the places that each class names.
    """

    # What Keras's optimizer offers and the published update lacks.
    _keras_only = ()

    # Its epsilon in each variant, where none is given.
    _epsilons = {"paper": 1e-6, "keras": 1e-7}

    def __init__(
        self, learning_rate=1e-3, sigma=1e-3, langevin_layers=None, variant="paper", **kwargs
    ):
        if variant not in VARIANTS:
            raise ValueError(f"`variant` must be one of {VARIANTS}. Received: {variant!r}")
        if self._epsilons:
            if kwargs.get("epsilon") is None:
                kwargs["epsilon"] = self._epsilons[variant]
            check_number("epsilon", kwargs["epsilon"], positive=True)
        super().__init__(
            learning_rate=learning_rate, sigma=sigma, langevin_layers=langevin_layers, **kwargs
        )
        for argument in self._keras_only:
            if variant == "paper" and getattr(self, argument):
                raise ValueError(
                    f"`{argument}` is not part of the published update: pass variant='keras'. "
                    f"Received: {argument}={getattr(self, argument)!r}, variant='paper'"
                )
        self.variant = variant

    def update_step(self, gradient, variable, learning_rate):
        if self.variant == "keras":
            super().update_step(gradient, variable, learning_rate)
        else:
            self._published_step(gradient, variable, learning_rate)

    def _published_step(self, gradient, variable, learning_rate):
        dtype = working_dtype(variable)
        gradient = ops.cast(dense(gradient), dtype)
        preconditioner, direction = self._published(gradient, variable)
        step = -(ops.cast(learning_rate, dtype) * preconditioner) * direction
        if self.is_noisy(variable):
            step = step + self.noise(variable, preconditioner, learning_rate)
        self.assign_add(variable, ops.cast(step, variable.dtype))
        return step

    def _published(self, gradient, variable):
        """Update the slots; return the published P and d."""
        raise TypeError(f"{type(self).__name__} does not say what its published update is.")

    def _average(self, slots, variable, value, decay):
        """slot <- decay slot + (1 - decay) value; returns the new average."""
        average = decay * self.state(slots, variable) + (1 - decay) * value
        slot = slots[self._get_variable_index(variable)]
        self.assign(slot, ops.cast(average, slot.dtype))
        return average

    def get_config(self):
        return {**super().get_config(), "variant": self.variant}


@keras.saving.register_keras_serializable("langevin")
class LSGD(_Published, keras.optimizers.SGD):
    """Stochastic gradient Langevin dynamics: P = 1, d = g.

        theta <- theta - lr g + sigma sqrt(lr) xi

    Stationary variance on U = k x^2 / 2: sigma^2 / (2 k - lr k^2).

    Args:
        variant: "paper" (default) is the formula above; "keras" also allows Keras's `momentum`
            and `nesterov`, with the noise outside the velocity.
        learning_rate, momentum, nesterov: as in `keras.optimizers.SGD`.
        sigma, langevin_layers, noise_cap, seed: as in `langevin.Langevin`.
        kwargs: any other argument of a Keras optimizer.

    Source: Welling and Teh, ICML 2011; Bras, arXiv 2212.14718.

    >>> model.compile(langevin.LSGD(learning_rate=0.1, sigma=1e-3), loss="mse")
    """

    _keras_only = ("momentum", "nesterov")
    _epsilons = None

    def __init__(self, learning_rate=0.01, *args, **kwargs):
        super().__init__(learning_rate, *args, **kwargs)

    def preconditioner(self, variable):
        return ops.ones((), working_dtype(variable))

    def _published(self, gradient, variable):
        return self.preconditioner(variable), gradient


@keras.saving.register_keras_serializable("langevin")
class LAdam(_Published, keras.optimizers.Adam):
    """L-Adam: d = m, the averaged gradient, and P from v, the averaged square of it.

        m <- beta_1 m + (1 - beta_1) g,     v <- beta_2 v + (1 - beta_2) g^2
        theta <- theta - lr P m + sigma sqrt(lr P) xi

        paper   P = 1 / ((1 - beta_1^t) (epsilon + sqrt(v / (1 - beta_2^t))))
        keras   drift of keras.optimizers.Adam, P = sqrt(1 - beta_2^t) / (sqrt(v) + epsilon)

    The paper's P carries Adam's correction of m: at t = 1 its noise has 10 times the variance.

    Args:
        variant: "paper" (default) or "keras".
        epsilon: None takes 1e-6 for "paper", as published, and Keras's 1e-7 for "keras".
        learning_rate, beta_1, beta_2, amsgrad ("keras" only): as in `keras.optimizers.Adam`.
        sigma, langevin_layers, noise_cap, seed: as in `langevin.Langevin`.
        kwargs: any other argument of a Keras optimizer.

    Source: Bras, arXiv 2212.14718, and its published code.

    >>> model.compile(langevin.LAdam(1e-3, sigma=1e-3, langevin_layers=0.3), loss="mse")
    """

    _keras_only = ("amsgrad",)

    def preconditioner(self, variable):
        velocity = self.state(self._velocity_hats if self.amsgrad else self._velocities, variable)
        unbias = 1 - self._power(self.beta_2, velocity.dtype)
        return ops.sqrt(unbias) / (ops.sqrt(velocity) + self.epsilon)

    def _published(self, gradient, variable):
        momentum = self._average(self._momentums, variable, gradient, self.beta_1)
        velocity = self._average(self._velocities, variable, ops.square(gradient), self.beta_2)
        unbias_1 = 1 - self._power(self.beta_1, velocity.dtype)
        unbias_2 = 1 - self._power(self.beta_2, velocity.dtype)
        return 1 / (unbias_1 * (self.epsilon + ops.sqrt(velocity / unbias_2))), momentum

    def _power(self, beta, dtype):
        return ops.power(ops.cast(beta, dtype), ops.cast(self._step, dtype))


@keras.saving.register_keras_serializable("langevin")
class LRMSprop(_Published, keras.optimizers.RMSprop):
    """L-RMSprop: d = g and P from v, the averaged square of the gradient.

        v <- rho v + (1 - rho) g^2
        theta <- theta - lr P g + sigma sqrt(lr P) xi

        paper   P = 1 / (epsilon + sqrt(v))
        keras   drift of keras.optimizers.RMSprop, P = 1 / sqrt(v + epsilon)

    Where gradients vanish the paper's P is 1e6, Keras's 3162. P follows the gradient and no term
    corrects for its divergence: even fully adapted, the variance can be twice the target's.

    Args:
        variant: "paper" (default) or "keras".
        epsilon: None takes 1e-6 for "paper", as published, and Keras's 1e-7 for "keras".
        learning_rate, rho, momentum and centered ("keras" only): as in `keras.optimizers.RMSprop`.
        sigma, langevin_layers, noise_cap, seed: as in `langevin.Langevin`.
        kwargs: any other argument of a Keras optimizer.

    Source: Li et al., AAAI 2016; Bras, arXiv 2212.14718, and its published code.

    >>> model.compile(langevin.LRMSprop(1e-3, sigma=1e-3), loss="mse")
    """

    _keras_only = ("momentum", "centered")

    def preconditioner(self, variable):
        velocity = self.state(self._velocities, variable)
        if self.centered:
            velocity = velocity - ops.square(self.state(self._average_gradients, variable))
        return 1 / ops.sqrt(velocity + self.epsilon)

    def _published(self, gradient, variable):
        velocity = self._average(self._velocities, variable, ops.square(gradient), self.rho)
        return 1 / (self.epsilon + ops.sqrt(velocity)), gradient


@keras.saving.register_keras_serializable("langevin")
class LAdadelta(_Published, keras.optimizers.Adadelta):
    """L-Adadelta: d = g, P from the averaged squares of gradients, v, and of past steps, D.

        v <- rho v + (1 - rho) g^2,     P = sqrt(D + epsilon) / sqrt(v + epsilon)
        theta <- theta + s,     s = -lr P g + sigma sqrt(lr P) xi

        paper   D <- rho D + (1 - rho) s^2
        keras   drift of keras.optimizers.Adadelta, D <- rho D + (1 - rho) (P g)^2

    P uses D before and v after the step. In the paper's update D takes in the noise, which makes
    later steps larger, and the learning rate, which below 1 makes them smaller: what these make of
    the gain by noise is measured in the notebook `ablation`.

    Args:
        variant: "paper" (default) or "keras".
        epsilon: None takes 1e-6 for "paper", as published, and Keras's 1e-7 for "keras".
        learning_rate, rho: as in `keras.optimizers.Adadelta`.
        sigma, langevin_layers, noise_cap, seed: as in `langevin.Langevin`.
        kwargs: any other argument of a Keras optimizer.

    Source: Bras, arXiv 2212.14718, and its published code.

    >>> model.compile(langevin.LAdadelta(0.1, sigma=0.05), loss="mse")
    """

    def update_step(self, gradient, variable, learning_rate):
        # D is read before the step overwrites it, for Keras's P and for the published one.
        self._before = self.state(self._accumulated_delta_vars, variable)
        super().update_step(gradient, variable, learning_rate)
        self._before = None

    def preconditioner(self, variable):
        return self._ratio(self.state(self._accumulated_grads, variable))

    def _published(self, gradient, variable):
        squares = ops.square(gradient)
        velocity = self._average(self._accumulated_grads, variable, squares, self.rho)
        return self._ratio(velocity), gradient

    def _published_step(self, gradient, variable, learning_rate):
        step = super()._published_step(gradient, variable, learning_rate)
        self._average(self._accumulated_delta_vars, variable, ops.square(step), self.rho)
        return step

    def _ratio(self, accumulated_grad):
        return ops.sqrt(self._before + self.epsilon) / ops.sqrt(accumulated_grad + self.epsilon)
