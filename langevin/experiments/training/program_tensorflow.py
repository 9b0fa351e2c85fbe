"""The compiled part of training on TensorFlow: one traced epoch serves run after run."""

import contextlib
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from langevin import placement
from langevin.experiments.data import augmentation
from langevin.experiments.networks import models, remedies
from langevin.experiments.training import optimizers
from langevin.experiments.training.loop import MEASURED_AT_ONCE, measured_images
from langevin.experiments.training.placement import from_text

# Each program is traced once, as it must be; TensorFlow counts all by the code that they share, and
# would warn of retracing.
tf.get_logger().addFilter(lambda record: "<bound method Program." not in record.getMessage())


# A context in which the backend computes in float64 where asked to: here it always does.
float64 = contextlib.nullcontext


def group_size(run, dataset):
    """1: TensorFlow trains the runs of a program one after another."""
    return 1


# More spans than this are held as one, and the noise is multiplied with a mask.
MOST_SPANS = 3


class _Masked:
    """Mixin: a Langevin optimizer of one flat vector, whose noise reaches a part of it."""

    def _draw(self):
        [normals] = super()._draw()
        return (normals * self.mask,)


class Program:
    """A model, an optimizer, and an epoch over a data set on the device.

    The trainable weights are held as one flat vector for each span of layers that are treated
    alike, noisy or not.  An update is elementwise, so the numbers are the same, and a deep narrow
    network costs some 40 operations a step instead of 40 for each of its variables.

    `start` gives it a run's weights and seed, `epoch` trains, `measure` evaluates; `state` and
    `restore` carry everything that training changes.  The run is the only one of its group.
    """

    def __init__(self, run, dataset, size=1):
        self.dataset, self.batch = dataset, run.batch_size
        self.model = models.fresh(run, self.dataset)
        variables = self.model.trainable_variables
        self.shapes = [tuple(v.shape) for v in variables]
        self.kernels = [i for i, v in enumerate(variables) if v.path.endswith("/kernel")]

        paths = [v.path for v in variables]
        noisy = placement.choose(paths, from_text(paths, run.langevin_layers))
        spans = [list(s) for _, s in itertools.groupby(range(len(paths)), noisy.__contains__)]
        self.after_step = remedies.of(run.remedy).after_step
        masked = len(spans) > (1 if self.after_step else MOST_SPANS)
        if masked or self.after_step:
            spans = [list(range(len(paths)))]
        self.sizes = [[math.prod(self.shapes[i]) for i in span] for span in spans]
        self.weights = [keras.Variable(np.zeros(sum(s), keras.config.floatx())) for s in self.sizes]
        chosen = [number for number, span in enumerate(spans) if set(span) & set(noisy)]
        self.optimizer = optimizers.from_run(run, chosen, _Masked if masked else None)
        if masked:
            mask = [np.full(math.prod(s), i in noisy) for i, s in enumerate(self.shapes)]
            self.optimizer.mask = tf.constant(np.concatenate(mask), keras.config.floatx())
        # The number of each weight's kernel, -1 in a bias.
        numbers = [i if len(s) > 1 else -1 for i, s in enumerate(self.shapes)]
        numbers = np.repeat(numbers, [math.prod(s) for s in self.shapes])
        self.kernel_of = tf.constant(numbers, "int32")
        self.optimizer.build(self.weights)
        self.blank = [v.numpy() for v in self.optimizer.variables]

        self.train = tf.constant(dataset.x_train), tf.constant(dataset.y_train)
        self.sets = {
            "": tuple(part[: measured_images(len(part))] for part in self.train),
            "val_": (tf.constant(dataset.x_test), tf.constant(dataset.y_test)),
        }
        # XLA on a GPU; on a CPU it compiles for long and then runs slower.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        self._epoch = tf.function(self._epoch, jit_compile=on_gpu)
        self._measure = tf.function(self._measure)
        # Compile now, apart from the training that is timed: an epoch of no steps.
        images = len(dataset.x_train)
        nothing = np.zeros((1, images // self.batch), "float32")
        still = np.zeros((1, images, 3), "int8") if run.augment else None
        self.epoch(np.zeros((1, images), "int32"), nothing, nothing, moves=still, steps=0)
        self.measure()

    def _variables(self):
        return self.weights + self.model.non_trainable_variables + self.optimizer.variables

    def start(self, runs):
        """Weights from the run's seed and initializer, a blank optimizer, the run's noise."""
        [run] = runs
        fresh = models.fresh(run, self.dataset)
        flat = iter([v.numpy().ravel() for v in fresh.trainable_variables])
        weights = [np.concatenate([next(flat) for _ in span]) for span in self.sizes]
        others = [v.numpy() for v in fresh.non_trainable_variables]
        self.restore([*weights, *others, *self.blank])
        self.optimizer.seed = run.seed

    def epoch(self, orders, rates, sigmas, moves=None, steps=None):
        """One pass: for the run the order of its images, a learning rate and a sigma a step, and
        in that order how the images are augmented, if they are; `steps` of them, or all."""
        steps = rates.shape[1] if steps is None else steps
        moves = None if moves is None else tf.constant(moves[0])
        self._epoch(*map(tf.constant, (orders[0], rates[0], sigmas[0], steps)), moves)

    def measure(self):
        """A dict for the run: losses, accuracies, kernel standard deviations of its weights."""
        numbers = {name: value.numpy() for name, value in self._measure().items()}
        kernel_sd = [float(f"{sd:.4g}") for sd in numbers.pop("kernel_sd")]
        return [{**{k: float(v) for k, v in numbers.items()}, "kernel_sd": kernel_sd}]

    def visit(self):
        """Have `model` hold the run's present weights."""
        for variable, value in zip(self.model.trainable_variables, self._values(), strict=True):
            variable.assign(value)
        yield

    def state(self):
        """Copies of all that training changes, in an order that `restore` takes."""
        return [v.numpy() for v in self._variables()]

    def restore(self, state):
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _values(self):
        """The weights in the shapes that the model knows."""
        parts = [tf.split(w.value, sizes) for w, sizes in zip(self.weights, self.sizes)]
        flat = itertools.chain.from_iterable(parts)
        return [tf.reshape(part, shape) for part, shape in zip(flat, self.shapes)]

    def _epoch(self, order, rates, sigmas, steps, moves):
        images, labels = self.train
        state = self.model.non_trainable_variables
        for step in tf.range(steps):
            chosen = tf.slice(order, [step * self.batch], [self.batch])
            x, y = tf.gather(images, chosen), tf.gather(labels, chosen)
            if moves is not None:
                now = tf.slice(moves, [step * self.batch, 0], [self.batch, 3])
                x = augmentation.apply(x, now)
            x = pixels(x)
            with tf.GradientTape() as tape:
                logits, new, penalties = self.model.stateless_call(
                    self._values(), state, x, training=True, return_losses=True
                )
                loss = tf.reduce_mean(losses(logits, y)) + sum(penalties)
            gradients = tape.gradient(loss, [w.value for w in self.weights])
            for variable, value in zip(state, new):
                variable.assign(value)
            self.optimizer.learning_rate.assign(rates[step])
            self.optimizer.sigma.assign(sigmas[step])
            before = [tf.identity(w.value) for w in self.weights] if self.after_step else None
            self.optimizer.apply(gradients, self.weights)
            if self.after_step:
                [was], [weights] = before, self.weights
                now = self.after_step(was, weights.value, self.kernel_of, len(self.shapes))
                weights.assign(now)

    def _measure(self):
        values, state = self._values(), self.model.non_trainable_variables
        numbers = {"kernel_sd": tf.stack([tf.math.reduce_std(values[i]) for i in self.kernels])}
        for name, (images, labels) in self.sets.items():
            loss = right = tf.zeros((), keras.config.floatx())
            count = images.shape[0]
            for first in tf.range(0, count, MEASURED_AT_ONCE):
                some = slice(first, first + MEASURED_AT_ONCE)
                y = labels[some]
                logits, _ = self.model.stateless_call(values, state, pixels(images[some]))
                loss += tf.reduce_sum(losses(logits, y))
                hits = tf.argmax(logits, axis=1, output_type=y.dtype) == y
                right += tf.reduce_sum(tf.cast(hits, right.dtype))
            numbers[f"{name}loss"], numbers[f"{name}accuracy"] = loss / count, right / count
        return numbers


def pixels(images):
    return tf.cast(images, keras.config.floatx()) / 255.0


def losses(logits, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
