"""The mixin that makes any Keras optimizer a Langevin optimizer."""

import inspect
import itertools
import math
import numbers
import warnings

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from langevin import noise, placement
from langevin.checks import check_number, is_function, received

# What Keras takes unseen: numbers >= 0 and their bounds, numbers and, with their least
# values, whole numbers that may be left out, and flags.
NUMBERS = {"learning_rate": None, "beta_1": 1, "beta_2": 1, "rho": 1, "momentum": 1,
           "ema_momentum": 1}  # fmt: skip
NUMBERS_OR_NONE = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor")
COUNTS_OR_NONE = {"gradient_accumulation_steps": 2, "ema_overwrite_frequency": 1}
FLAGS = ("nesterov", "amsgrad", "centered", "use_ema")


def _check(arguments):
    for name, value in arguments.items():
        schedule = name == "learning_rate" and is_function(value)
        if (name in NUMBERS and not schedule) or (name in NUMBERS_OR_NONE and value is not None):
            positive = name == "loss_scale_factor"  # it divides
            check_number(name, value, positive, below=NUMBERS.get(name))
        if name in COUNTS_OR_NONE and value is not None:
            least = COUNTS_OR_NONE[name]
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if not whole or value < least:
                raise ValueError(
                    f"`{name}` must be a whole number >= {least} or None. {received(value, True)}"
                )
        if name in FLAGS and not isinstance(value, bool):
            raise ValueError(f"`{name}` must be True or False. {received(value)}")


def _check_called(name, value):
    """ValueError unless a value at the present step, of a callable perhaps, is one number >= 0.

    A callable that counts its calls must not be called to see what it gives. Inside compiled code a
    tensor holds no number yet: there what is none, or below 0, makes the noise NaN.
    """
    if hasattr(value, "shape"):
        if tuple(value.shape) or "bool" in str(value.dtype):
            raise ValueError(f"`{name}` must give one number when it is called. {received(value)}")
        value = _value(value)
        if value is None:
            return
    check_number(name, value, hint=", or give one when it is called")


class _Zero(keras.Variable):
    """The sigma of an optimizer that was made without noise: 0, and NaN where code is compiled."""

    def assign(self, value):
        number = _value(value)
        if number is None:  # compiled code cannot raise
            value = ops.where(ops.convert_to_tensor(value) == 0, 0.0, math.nan)
        elif number != 0:
            raise ValueError(
                "`sigma` must stay 0: the optimizer was made with sigma=0 and draws no noise. "
                f"Received: {number!r}. Make a new optimizer with sigma={number!r}."
            )
        return super().assign(value)


def _value(tensor):
    """A scalar's value, None where it is symbolic."""
    try:
        return float(ops.convert_to_numpy(tensor))
    except (NotImplementedError, TypeError):  # TensorFlow's and JAX's
        return None


class Langevin:
    """Mixin that makes any Keras optimizer a Langevin optimizer.

    Put it before the optimizer and say what P is, the P of the step that was just made:

    >>> class LNadam(langevin.Langevin, keras.optimizers.Nadam):
    ...     def preconditioner(self, variable):
    ...         velocity = self.state(self._velocities, variable)
    ...         unbias = 1 - self.beta_2 ** ops.cast(self.iterations + 1, velocity.dtype)
    ...         return 1 / (ops.sqrt(velocity / unbias) + self.epsilon)

    Args:
        sigma: the noise's scale: float >= 0, 1e-3 by default, Keras schedule, or callable without
            arguments. With sigma=0 nothing is drawn and the optimizer is the plain one, for good:
            a later sigma above 0 is refused. Compiled code, as in `fit`, calls a callable once,
            when it is traced: to change sigma later, pass a number and set `optimizer.sigma`.
        langevin_layers: which layers get noise, all others move as without noise: `None` for
            all; a fraction in (0, 1], of the layers nearest the input; a sequence of layer
            numbers (0 nearest the input, negative from the output) or of layer names; or a
            predicate on the variable's path. See `langevin.placement`.
        noise_cap: upper bound of P inside the noise; None for none.
        seed: integer in [0, 2**31) that all noise follows from, together with the step; None
            takes one from NumPy's `random`, which `keras.utils.set_random_seed` seeds. Optimizers
            made from one config share it: give copies and folds seeds of their own.

    A variable's noise depends on its place among all variables, not on which others are noisy.
    Sparse gradients: the drift treats them as Keras does, the noise reaches every row. Under
    gradient accumulation noise comes with the real updates only. Variables below float32 have
    their noise made in float32.

    Raises:
        ValueError: an argument out of its range, of a schedule at step 0; when it is built, names
            that the model lacks; at a step, before it moves a weight, a callable that does not give
            a number >= 0. Compiled code cannot raise: there such a number makes the weights NaN.
    """

    def __init__(
        self, *args, sigma=1e-3, langevin_layers=None, noise_cap=None, seed=None, **kwargs
    ):
        names = inspect.signature(super().__init__).parameters
        _check(dict(zip(names, args)) | kwargs)
        super().__init__(*args, **kwargs)
        if noise_cap is not None:
            check_number("noise_cap", noise_cap, positive=True)
        placement.check(langevin_layers)
        self.langevin_layers = langevin_layers
        self.noise_cap = noise_cap
        self._step = self._scaled_normals = None
        self._seed = self.add_variable((), "zeros", "int", name="seed")
        # Keras draws the starts of later models from Python's `random`: NumPy's is left to us.
        self.seed = int(np.random.randint(2**31, dtype="int64")) if seed is None else seed
        self._set_sigma(sigma)
        for name in ("learning_rate", "sigma"):
            if isinstance(getattr(self, f"_{name}"), LearningRateSchedule):
                _check_called(name, getattr(self, name))

    def _set_sigma(self, sigma):
        if is_function(sigma):  # Keras schedules are callables too
            self._sigma, self._draws = sigma, True
            return
        check_number("sigma", sigma, hint=", a Keras schedule or a callable")
        # A variable, like the seed, so that a compiled program serves every value of it.
        self._draws = sigma > 0
        with keras.name_scope(self.name):
            kind = keras.Variable if self._draws else _Zero
            variable = kind(0.0, dtype="float32", trainable=False, name="sigma")
        self._track_variable(variable)  # before it is an attribute, else Keras tracks it twice
        self._sigma = variable
        self._sigma.assign(float(sigma))
        self._given = float(sigma)

    @property
    def sigma(self):
        """sigma at the present step."""
        if isinstance(self._sigma, LearningRateSchedule):
            return self._sigma(self._iterations)
        return self._sigma() if callable(self._sigma) else self._sigma

    @sigma.setter
    def sigma(self, value):
        check_number("sigma", value)
        if not isinstance(self._sigma, keras.Variable) or (value > 0 and not self._draws):
            raise ValueError(
                "`sigma` can be set only on an optimizer that was made with a positive number, not "
                "with sigma=0, a schedule or a callable. Make a new optimizer with "
                f"sigma={value!r}."
            )
        self._sigma.assign(float(value))
        self._given = float(value)

    @property
    def seed(self):
        """The integer that all noise follows from, together with the step."""
        return int(ops.convert_to_numpy(self._seed))

    @seed.setter
    def seed(self, value):
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or not 0 <= value < 2**31:
            expected = "an integer in [0, 2**31) or None"
            raise ValueError(f"`seed` must be {expected}. Received: {value!r}")
        self._seed.assign(int(value))

    def build(self, variables):
        if self.built:
            return
        variables = list(variables)
        self._paths = [getattr(v, "path", None) or v.name for v in variables]
        self._shapes = shapes = [tuple(v.shape) for v in variables]
        # A frozen model has no variables, which is no error for Keras.
        chosen = placement.choose(self._paths, self.langevin_layers, shapes) if variables else ()
        # Nothing is drawn for a variable without elements.
        chosen = [place for place in chosen if math.prod(variables[place].shape)]
        super().build(variables)
        ends = list(itertools.accumulate(math.prod(v.shape) for v in variables))
        self._offsets = tuple([0, *ends[:-1]])
        self._noisy = frozenset(chosen if self._draws else ())
        self._span = (self._offsets[min(chosen)], ends[max(chosen)]) if chosen else (0, 0)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Keras calls this once a real update, also under gradient accumulation, before EMA and
        # constraints: the one place where a single draw can serve all variables.  What all
        # variables share is read once here, so that the compiled step holds it once.
        _check_called("learning_rate", learning_rate)
        learning_rate = ops.convert_to_tensor(learning_rate)
        self._step = ops.convert_to_tensor(self.iterations) + 1
        if self._noisy:
            self._scaled_normals = self._draw()
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        self._step = self._scaled_normals = None

    def _draw(self):
        """sigma xi of this step, flat, for each variable from the first to the last noisy one."""
        start, stop = self._span
        seed, step = (ops.convert_to_tensor(v) for v in (self._seed, self._iterations))
        sigma = self.sigma
        _check_called("sigma", sigma)
        self._warn_if_frozen(sigma, step)
        sigma = ops.cast(sigma, noise.dtype())
        draws = noise.scaled_normal(sigma, seed, step, start, stop)
        cuts = [offset - start for offset in self._offsets if start < offset < stop]
        return tuple(ops.split(draws, cuts)) if cuts else (draws,)

    def _warn_if_frozen(self, sigma, step):
        fixed = isinstance(self._sigma, (keras.Variable, LearningRateSchedule))
        if not fixed and _value(step) is None and _value(sigma) is not None:
            warnings.warn(
                f"`sigma` is a callable, which compiled code calls once: it stays {_value(sigma)}. "
                "Pass a number and set `optimizer.sigma` between steps, or pass a Keras schedule.",
                stacklevel=2,
            )

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)
        if self.is_noisy(variable):
            increment = self.noise(variable, self.preconditioner(variable), learning_rate)
            self.assign_add(variable, increment)

    def preconditioner(self, variable):
        """P of the step just made, in the variable's shape or a scalar, from `self.state`."""
        raise TypeError(f"{type(self).__name__} does not say what its `preconditioner` is.")

    def is_noisy(self, variable):
        """Whether the variable gets noise."""
        return self._get_variable_index(variable) in self._noisy

    def noise(self, variable, preconditioner, learning_rate):
        """sigma sqrt(lr P) xi for this step, in the variable's shape, in float32 at least."""
        dtype = working_dtype(variable)
        place = self._get_variable_index(variable) - min(self._noisy)
        scaled_normal = ops.cast(ops.reshape(self._scaled_normals[place], variable.shape), dtype)
        if self.noise_cap is not None:
            preconditioner = ops.minimum(preconditioner, self.noise_cap)
        return ops.sqrt(ops.cast(learning_rate, dtype) * preconditioner) * scaled_normal

    def state(self, slots, variable):
        """The variable's slot, read in float32 at least."""
        slot = slots[self._get_variable_index(variable)]
        return ops.cast(ops.convert_to_tensor(slot), working_dtype(variable))

    def load_own_variables(self, store):
        """Keras's, but weights of a phase with noise turn none on, those of one without none off.

        sigma then stays, with a warning; else it is the file's.
        """
        names, variables = list(store.keys()), self.variables
        if isinstance(self._sigma, keras.Variable) and len(names) == len(variables):
            place = str([v is self._sigma for v in variables].index(True))
            saved = float(np.asarray(store[place]))
            if (saved > 0) != self._draws:
                own = _value(self._sigma) or self._given
                warnings.warn(
                    f"The loaded weights were saved with sigma={saved}, the optimizer keeps its "
                    f"sigma={own}. Set `optimizer.sigma = 0` for no noise; for noise make the "
                    "optimizer with a positive sigma.",
                    stacklevel=2,
                )
                store = {name: store[name] for name in names} | {place: np.float32(own)}
        super().load_own_variables(store)

    def get_config(self):
        config = super().get_config()
        sigma = self._sigma
        if isinstance(sigma, keras.Variable):
            sigma = float(ops.convert_to_numpy(sigma))
        elif callable(sigma):
            sigma = keras.saving.serialize_keras_object(sigma)
        layers = self.langevin_layers
        if self.built and self._paths:
            layers = placement.portable(self._paths, layers, self._shapes)
        if isinstance(layers, (tuple, range)):
            layers = list(layers)
        own = {"langevin_layers": layers, "noise_cap": self.noise_cap, "seed": self.seed}
        return {**config, "sigma": sigma, **own}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for argument in ("sigma", "langevin_layers"):
            value = config.get(argument)
            if isinstance(value, dict) and "class_name" in value:
                config[argument] = keras.saving.deserialize_keras_object(
                    value, custom_objects=custom_objects
                )
        return super().from_config(config, custom_objects)


def working_dtype(variable):
    """The dtype noise is made in: the variable's, float32 at least."""
    double = keras.backend.standardize_dtype(variable.dtype) == "float64"
    return "float64" if double else "float32"


def dense(gradient):
    """The gradient as a tensor; rows of TensorFlow's `IndexedSlices` are added up."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient)


def _of_inner_optimizer(name):
    def get(self):
        return getattr(self.inner_optimizer, name)

    return property(get, lambda self, value: setattr(self.inner_optimizer, name, value))


# Keras wraps an optimizer under mixed_float16: what is set on the wrapper must reach ours.
for _name in ("sigma", "seed"):
    setattr(keras.optimizers.LossScaleOptimizer, _name, _of_inner_optimizer(_name))
