"""The compiled part of training on TensorFlow: one traced epoch serves run after run."""


import numpy as np
import tensorflow as tf

from langevin import models, training

# The training loss is measured on these first training images, the same for every run.
MEASURED_IMAGES = 10_000
# Images a forward pass while measuring: bounds the memory of convolutional models.
MEASURED_AT_ONCE = 2_000


class Program:
    """A model, an optimizer, and an epoch over a data set on the device.

    `start` gives it a run's weights and seed, `epoch` trains, `measure` evaluates; `state` and
    `restore` carry everything that training changes.
    """

    def __init__(self, run, dataset):
        self.dataset = dataset
        self.model = self._fresh_model(run)
        variables = self.model.trainable_variables
        self.optimizer = training.make_optimizer(run, [v.path for v in variables])
        self.optimizer.build(variables)
        self.blank = [np.array(v) for v in self.optimizer.variables]
        self.kernels = [v for v in variables if v.path.endswith("/kernel")]
        self.train = tf.constant(dataset.x_train), tf.constant(dataset.y_train)
        self.sets = {
            "": tuple(part[:MEASURED_IMAGES] for part in self.train),
            "val_": (tf.constant(dataset.x_test), tf.constant(dataset.y_test)),
        }
        self.batch = run.batch_size
        # XLA on a GPU; on a CPU it compiles for long and then runs slower.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        self._epoch = tf.function(self._epoch, jit_compile=on_gpu)
        self._measure = tf.function(self._measure)
        # Compile now, apart from the training that is timed: an epoch of no steps.
        steps = len(dataset.x_train) // self.batch
        nothing = np.zeros(steps, "float32")
        self.epoch(np.zeros(len(dataset.x_train), "int32"), nothing, nothing, 0)
        self.measure()

    def _fresh_model(self, run):
        return models.build(run, self.dataset.x_train.shape[1:], self.dataset.classes)

    def start(self, run):
        """Weights from the run's seed and initializer, a blank optimizer, the run's noise."""
        self.restore([*self._fresh_model(run).get_weights(), *self.blank])
        self.optimizer.seed = run.seed

    def epoch(self, order, rates, sigmas, steps=None):
        """One pass over the images in `order`, with a learning rate and a sigma for each step."""
        steps = len(rates) if steps is None else steps
        self._epoch(*map(tf.constant, (order, rates, sigmas, steps)))

    def measure(self):
        """Losses, accuracies and kernel standard deviations of the present weights."""
        numbers = {name: value.numpy() for name, value in self._measure().items()}
        kernel_sd = [float(f"{sd:.4g}") for sd in numbers.pop("kernel_sd")]
        return {**{k: float(v) for k, v in numbers.items()}, "kernel_sd": kernel_sd}

    def state(self):
        """Copies of all that training changes, in an order that `restore` takes."""
        return [np.array(v) for v in self.model.weights + self.optimizer.variables]

    def restore(self, state):
        for variable, value in zip(self.model.weights + self.optimizer.variables, state):
            variable.assign(value)

    def _epoch(self, order, rates, sigmas, steps):
        images, labels = self.train
        variables = self.model.trainable_variables
        for step in tf.range(steps):
            chosen = tf.slice(order, [step * self.batch], [self.batch])
            x, y = pixels(tf.gather(images, chosen)), tf.gather(labels, chosen)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(losses(self.model(x, training=True), y))
            gradients = tape.gradient(loss, variables)
            self.optimizer.learning_rate.assign(rates[step])
            self.optimizer.sigma.assign(sigmas[step])
            self.optimizer.apply(gradients, variables)

    def _measure(self):
        numbers = {"kernel_sd": tf.stack([tf.math.reduce_std(k) for k in self.kernels])}
        for name, (images, labels) in self.sets.items():
            loss, right, count = 0.0, 0.0, images.shape[0]
            for first in tf.range(0, count, MEASURED_AT_ONCE):
                some = slice(first, first + MEASURED_AT_ONCE)
                logits, y = self.model(pixels(images[some])), labels[some]
                loss += tf.reduce_sum(losses(logits, y))
                hits = tf.argmax(logits, axis=1, output_type=y.dtype) == y
                right += tf.reduce_sum(tf.cast(hits, tf.float32))
            numbers[f"{name}loss"], numbers[f"{name}accuracy"] = loss / count, right / count
        return numbers


def pixels(images):
    return tf.cast(images, tf.float32) / 255.0


def losses(logits, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
