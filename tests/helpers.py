"""What the optimizer tests share: the list of optimizers, drivers for both backends, law checks.

Every check compares with an exact law.  Its band is five standard errors: se(mean) = sd / sqrt(n),
se(variance) = variance sqrt(2 / (n - 1)) (Gaussian numbers), se(correlation) = 1 / sqrt(n); a
Kolmogorov-Smirnov p-value must exceed 5.7e-7, the two-sided tail beyond five.
"""

import functools
import itertools
import math
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import keras
import numpy as np
import restatement
import scipy.special
import scipy.stats
from hypothesis import strategies as st
from keras import ops

import langevin
from langevin.experiments.data import augmentation
from langevin.experiments.networks import models
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, runs

BACKEND = keras.backend.backend()
# Values of every kind, for the tests of what is refused.
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(),
    st.text(max_size=8), st.binary(max_size=3),
    st.sampled_from([10**400, Fraction(1, 3), Decimal(1), 1j, np.int64(3), np.float32(0.5), object,
                     range(3), frozenset({1}), np.bool_(True), "nan", "1e-3", "-0.0"]),
)  # fmt: skip
ANYTHING = st.one_of(
    PLAIN, st.lists(PLAIN, max_size=3), st.tuples(PLAIN),
    st.dictionaries(st.text(max_size=3), PLAIN, max_size=2),
)  # fmt: skip
BAND = 5.0
TAIL = 2 * scipy.stats.norm.sf(BAND)


@keras.saving.register_keras_serializable("tests")
class LNadam(langevin.Langevin, keras.optimizers.Nadam):
    """The example of `langevin.Langevin`: one written with the mixin."""

    def preconditioner(self, variable):
        velocity = self.state(self._velocities, variable)
        unbias = 1 - self.beta_2 ** ops.cast(self.iterations + 1, velocity.dtype)
        return 1 / (ops.sqrt(velocity / unbias) + self.epsilon)


@dataclass(frozen=True)
class Case:
    """An optimizer under test, its plain Keras counterpart and its restatement in NumPy."""

    optimizer: type
    plain: type
    variant: str | None
    rule: type

    def __call__(self, learning_rate=0.01, seed=7, **arguments):
        if self.variant is not None:
            arguments["variant"] = self.variant
        return self.optimizer(learning_rate=learning_rate, seed=seed, **arguments)

    def __str__(self):
        return f"{self.optimizer.__name__}-{self.variant or 'mixin'}"


OPTIMIZERS = [
    Case(langevin.LSGD, keras.optimizers.SGD, "paper", restatement.SGD),
    Case(langevin.LSGD, keras.optimizers.SGD, "keras", restatement.SGD),
    Case(langevin.LAdam, keras.optimizers.Adam, "paper", restatement.PaperAdam),
    Case(langevin.LAdam, keras.optimizers.Adam, "keras", restatement.KerasAdam),
    Case(langevin.LRMSprop, keras.optimizers.RMSprop, "paper", restatement.PaperRMSprop),
    Case(langevin.LRMSprop, keras.optimizers.RMSprop, "keras", restatement.KerasRMSprop),
    Case(langevin.LAdadelta, keras.optimizers.Adadelta, "paper", restatement.PaperAdadelta),
    Case(langevin.LAdadelta, keras.optimizers.Adadelta, "keras", restatement.KerasAdadelta),
    Case(LNadam, keras.optimizers.Nadam, None, restatement.Nadam),
]
PAPER = [case for case in OPTIMIZERS if case.variant == "paper"]
KERAS = [case for case in OPTIMIZERS if case.variant != "paper"]
ADAPTIVE = [case for case in OPTIMIZERS if case.rule is not restatement.SGD]
BY_NAME = {str(case): case for case in OPTIMIZERS}
# For what only depends on the way of the update: one published, one Keras's, one mixin's.
THREE = [BY_NAME[name] for name in ("LAdam-paper", "LRMSprop-keras", "LNadam-mixin")]


# Drivers


def variables_of(*values, dtype="float32"):
    return [keras.Variable(value, dtype=dtype, name=f"w{i}") for i, value in enumerate(values)]


def numpy_of(variables):
    return [np.asarray(ops.convert_to_tensor(variable)).copy() for variable in variables]


def steps(optimizer, variables, gradient, n):
    """n compiled updates; gradient(values, step) gives the list of gradients."""
    optimizer.build(variables)
    run = _steps_tensorflow if BACKEND == "tensorflow" else _steps_jax
    run(optimizer, variables, gradient, n)
    return numpy_of(variables)


def _steps_tensorflow(optimizer, variables, gradient, n):
    import tensorflow as tf

    def body(step):
        optimizer.apply(gradient([v.value for v in variables], step), variables)
        return step + 1

    @tf.function(autograph=False)
    def run():
        tf.while_loop(lambda step: step < n, body, [tf.constant(0)], parallel_iterations=1)

    run()


def _steps_jax(optimizer, variables, gradient, n):
    import jax

    @jax.jit
    def run(values, slots):
        def body(state, step):
            return optimizer.stateless_apply(state[1], gradient(state[0], step), state[0]), None

        return jax.lax.scan(body, (values, slots), jax.numpy.arange(n))[0]

    everything = run([v.value for v in variables], [v.value for v in optimizer.variables])
    restore(variables, everything[0])
    restore(optimizer.variables, everything[1])


def stateless_normal(seed, step, shape):
    """Noise for gradients, from the backend's own generator."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.random.stateless_normal(shape, tf.stack([tf.constant(seed), step]))
    import jax

    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), step), shape)


def updater(optimizer, variables, mode="eager"):
    """A function of a list of gradients that makes one update; mode: eager, graph or xla."""
    optimizer.build(variables)
    if mode == "eager":
        return lambda gradients: optimizer.apply(gradients, variables)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = functools.partial(tf.function, autograph=False, jit_compile=mode == "xla")
        return compiled(lambda gradients: optimizer.apply(gradients, variables))
    import jax

    stateless_apply = jax.jit(optimizer.stateless_apply)

    def update(gradients):
        old = [[v.value for v in group] for group in (optimizer.variables, variables)]
        values, slots = stateless_apply(old[0], gradients, old[1])
        restore([*variables, *optimizer.variables], [*values, *slots])

    return update


def restore(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def paths_of(optimizer, variables, gradients, mode="eager"):
    """Where the variables are before and after each update, for a list of gradients each."""
    return path_under(updater(optimizer, variables, mode), variables, gradients)


def path_under(update, variables, gradients):
    path = [numpy_of(variables)]
    for each in gradients:
        pairs = zip(each, variables, strict=True)
        update([ops.convert_to_tensor(gradient, dtype=v.dtype) for gradient, v in pairs])
        path.append(numpy_of(variables))
    return path


def path_of(optimizer, gradients, start=None, dtype="float32", mode="eager"):
    """`paths_of` for one variable: an array (len(gradients) + 1, n)."""
    start = np.zeros(gradients[0].shape) if start is None else start
    path = paths_of(optimizer, variables_of(start, dtype=dtype), [[g] for g in gradients], mode)
    return np.stack([values[0] for values in path])


@functools.cache
def gradients_of(n, count, seed=0, scale=0.3):
    """Gradients of sizes from about scale / 10 to scale * 10, so that P varies between weights."""
    generator = np.random.default_rng(seed)
    sizes = scale * np.exp(generator.normal(size=n))
    return [(sizes * generator.normal(size=n)).astype("float32") for _ in range(count)]


class Weights(keras.layers.Layer):
    """A layer whose output is its weights: with `linear_loss` their gradient is the target."""

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.w = self.add_weight(shape=(n,), initializer="zeros", name="kernel")

    def call(self, inputs):
        return ops.zeros_like(inputs[:, :1]) + self.w


def linear_loss(target, output):
    return ops.sum(target * ops.cast(output, target.dtype), axis=-1)


def fit_path(optimizer, gradients, rows=2, **compile_arguments):
    """`path_of` by way of `compile` and `fit`, a batch of `rows` equal rows an update."""
    n = len(gradients[0])
    model = keras.Sequential([keras.Input((1,)), Weights(n)])
    model.compile(optimizer, loss=linear_loss, **compile_arguments)
    [variable] = model.trainable_variables
    path = numpy_of([variable])
    for gradient in gradients:
        targets = np.tile(gradient, (rows, 1))
        model.fit(np.zeros((rows, 1), "float32"), targets, batch_size=rows, verbose=0)
        path += numpy_of([variable])
    return np.stack(path).astype("float64")


def run_python(script, *arguments, **environment):
    """Runs a script of this folder in a fresh process; returns what it printed."""
    here = pathlib.Path(__file__).parent
    environment["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent)])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def keras_model_after(run, data, steps, optimizer):
    """A run's model after its first steps by Keras's own means: an optimizer on its variables,
    batch after batch."""
    model = models.build(run, data.x_train.shape[1:], data.classes)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    order = training.order(run.seed, 1, len(data.x_train))
    moves = augmentation.draw(run.seed, 1, len(data.x_train))
    for step in range(steps):
        some = slice(step * run.batch_size, (step + 1) * run.batch_size)
        images, labels = data.x_train[order[some]], data.y_train[order[some]]
        if run.augment:
            images = np.asarray(augmentation.apply(images, moves[some]))
        model.train_on_batch(pixels(images), labels)
    return model


def keras_weights_after(*arguments):
    """The same model's flat weights."""
    variables = keras_model_after(*arguments).trainable_variables
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])


def pixels(images):
    return images.astype(keras.config.floatx()) / 255


def interrupt_at(count):
    """A function that interrupts, as Ctrl-C does, when it is called for the `count`th time."""
    calls = itertools.count(1)

    def progress():
        if next(calls) == count:
            raise KeyboardInterrupt

    return progress


# Checks


def check_first_steps_in_double_precision(**settings):
    """Losses after 20 steps with noise are those of Keras's own steps to 1e-9, which sum in another
    order: in single precision and 20 layers that alone changes them in their second digit."""
    exact = 2.0**-10  # in both precisions: a learning rate of float32 would be another
    settings |= {"learning_rate": exact, "sigma": exact}
    run = runs.Run(dataset="digits", batch_size=64, **settings)
    data = runs.dataset_of(run)
    ours = training.after(run, data, 20)
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"
    with training.double_precision():
        model = keras_model_after(run, data, 20, optimizers.from_run(run, None))
        measured = training.measured_images(len(data.x_train))
        images = {
            "loss": (data.x_train[:measured], data.y_train[:measured]),
            "val_loss": (data.x_test, data.y_test),
        }
        for name, (x, y) in images.items():
            logits = model.predict(pixels(x), verbose=0)
            right = logits[np.arange(len(y)), y]
            theirs = np.mean(scipy.special.logsumexp(logits, axis=1) - right)
            assert abs(ours[name] - theirs) < 1e-9, (name, ours[name], theirs)


def assert_mean(sample, mean, variance):
    bias = np.mean(sample) - mean
    assert abs(bias) < BAND * np.sqrt(variance / sample.size), f"mean off by {bias}"


def assert_variance(sample, variance, mean=None):
    """About its own mean, or about a known one."""
    found = np.var(sample) if mean is None else np.mean((sample - mean) ** 2)
    error = np.sqrt(2 / (sample.size - 1))
    assert abs(found / variance - 1) < BAND * error, f"variance {found}, expected {variance}"


def assert_normal(sample, mean=0.0, variance=1.0):
    sample = np.asarray(sample, "float64").ravel()
    assert_variance(sample, variance)
    assert_mean(sample, mean, variance)
    p = scipy.stats.kstest((sample - mean) / np.sqrt(variance), "norm", mode="asymp").pvalue
    assert p > TAIL, f"not a normal law: p = {p}"


def assert_uncorrelated(one, other):
    one, other = np.ravel(one).astype("float64"), np.ravel(other).astype("float64")
    correlation = np.corrcoef(one, other)[0, 1]
    assert abs(correlation) < BAND / np.sqrt(one.size), f"correlation {correlation}"


def standardized(case, path, gradients, rates, sigmas, cap=np.inf, weight_decay=0.0, **hyper):
    """z = (new - old - drift) / (sigma sqrt(lr P)) of every step, from the float64 restatement."""
    rule, zs = case.rule(**hyper), []
    path = np.asarray(path, "float64")
    for old, new, gradient, rate, sigma in zip(
        path, path[1:], gradients, np.broadcast_to(rates, len(gradients)),
        np.broadcast_to(sigmas, len(gradients)), strict=False,
    ):  # fmt: skip
        preconditioner, drift = rule.step(np.asarray(gradient, "float64"), float(rate))
        step = new - (1 - rate * weight_decay) * old
        rule.moved(step)
        zs.append((step - drift) / (sigma * np.sqrt(rate * np.minimum(preconditioner, cap))))
    return zs


def assert_one_step_law(case, path, gradients, rates, sigmas, at=None, **options):
    """Every z is N(0, 1), or those of the steps `at`, and no two steps are correlated."""
    zs = standardized(case, path, gradients, rates, sigmas, **options)
    zs = zs if at is None else [zs[t - 1] for t in at]
    for z in zs:
        assert_normal(z)
    for one, other in zip(zs, zs[1:], strict=False):
        assert_uncorrelated(one, other)
    return zs


def assert_equal(one, other):
    """To the bit."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


# What settings may be, restated apart from the code.
MOST = float(np.finfo("float32").max)
LEAST = 2.0**-150  # what is no more is 0 in float32


def number(value, low=-math.inf, high=math.inf):
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and low <= value <= high and abs(value) <= MOST


def positive(value):
    return number(value) and value > LEAST


def whole(value, low=1, high=math.inf):
    return type(value) is int and low <= value <= high and abs(value) <= MOST


def or_none(check):
    return lambda value: value is None or check(value)
