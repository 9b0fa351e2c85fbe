"""What `langevin.bench` times: passes of our loop, of its parts, and of `model.fit`.

An epoch.  Our loop: the order of the images, all full batches, then losses and accuracies of the
first 10,000 training images and of the test set, 2,000 at once, and the kernels' widths: what
`langevin.training` does.  `model.fit`: as many images, the last, partial batch left out, as float32
tensors in memory, scaled beforehand and shuffled; validation on the same evaluation images in one
pass, 2,000 at once; timed by a callback from the epoch's begin to its end, so that neither
compilation nor handing over the images counts.

A step.  The mean of some tens of steps without evaluation; of `model.fit`, whose first step waits
for the input pipeline to be built and whose last ends with the epoch, those between.
"""

import dataclasses
import functools
import gc
import time

import keras
import numpy as np
from keras import ops

from langevin import datasets, models, optimizers, runs, training

OURS, FIT = "our loop", "model.fit"
# Noise in the order of the table, as settings of a run; Keras's own optimizer has none to set.
NOISE = {
    "Keras's own": {},
    "no noise": {"sigma": 0.0},
    "30 % of the layers noisy": {"sigma": 1e-3, "langevin_layers": 0.3},
    "all layers noisy": {"sigma": 1e-3},
}
KERAS, NONE, SOME, ALL = NOISE
PARTS = ("update", "draw")
IMAGES, TEST_IMAGES, SIDE = 60_000, 10_000, 28  # MNIST's size, to which digits are brought


@dataclasses.dataclass(frozen=True)
class Variant:
    """One thing that is timed.

    Args:
        what: "epoch", with evaluation; "step"; or a part of a step alone: "update", "draw".
        loop: `OURS` or `FIT`.
        optimizer: a run's name for it.
        noise: a key of `NOISE`.
        executions: `steps_per_execution` of `model.fit`, a number or "best", found by a trial.
    """

    what: str
    loop: str
    optimizer: str
    noise: str
    executions: int | str = 1

    def __str__(self):
        name = optimizers.BY_NAME[self.optimizer].__name__
        name = f"Keras's {name[1:]}" if self.noise == KERAS else f"{name}, {self.noise}"
        part = f", {self.what} alone" if self.what in PARTS else ""
        best = ", best steps_per_execution" if self.executions == "best" else ""
        return f"{name}, {self.loop}{part}{best}"


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What all variants share: data, network, batches, how much a step's timing averages over."""

    dataset: datasets.Dataset
    depth: int = 20
    batch_size: int = 512
    steps: int = 40
    executions: tuple = (1, 8, 32, 117)  # an epoch of MNIST has 117 steps

    def run(self, variant):
        return runs.Run(
            model="dense", depth=self.depth, optimizer=variant.optimizer, epochs=1,
            batch_size=self.batch_size, **NOISE[variant.noise],
        )  # fmt: skip

    def steps_of(self, variant):
        an_epoch = len(self.dataset.x_train) // self.batch_size
        return an_epoch if variant.what == "epoch" else min(self.steps, an_epoch)

    @functools.cached_property
    def scaled(self):
        """The training images as `model.fit` gets them, with their labels."""
        return _tensors(self.dataset.x_train, self.dataset.y_train)

    @functools.cached_property
    def evaluated(self):
        """The images that `Program.measure` measures, as one set for `model.fit`."""
        parts = [part[: training.MEASURED_IMAGES] for part in self.scaled]
        test = _tensors(self.dataset.x_test, self.dataset.y_test)
        return {
            "validation_data": tuple(ops.concatenate(pair) for pair in zip(parts, test)),
            "validation_batch_size": training.MEASURED_AT_ONCE,
        }

    @functools.cached_property
    def best_executions(self):
        """The candidate that makes an epoch of `model.fit` with Keras's Adam fastest in a trial."""
        default = Variant("epoch", FIT, "adam", KERAS)
        candidates = {
            count: Fit(dataclasses.replace(default, executions=count), self)
            for count in self.executions
        }
        seconds = take_turns(candidates, rounds=2)
        return min(candidates, key=lambda count: np.median(seconds[count]))


def _tensors(images, labels):
    return ops.convert_to_tensor(images.astype("float32") / 255), ops.convert_to_tensor(labels)


def mnist_or_its_size():
    """MNIST, or where it cannot be had scikit-learn's digits, enlarged and repeated to its size."""
    try:
        return datasets.load("mnist")
    except datasets.DataUnavailable:
        digits = datasets.load("digits")
    arrays = {}
    for part, count in (("train", IMAGES), ("test", TEST_IMAGES)):
        images = datasets.fit(getattr(digits, f"x_{part}"), SIDE)
        labels = getattr(digits, f"y_{part}")
        index = np.arange(count) % len(images)
        arrays |= {f"x_{part}": images[index], f"y_{part}": labels[index]}
    label = "scikit-learn's digits, enlarged and repeated to MNIST's size"
    return dataclasses.replace(digits, **arrays, label=label)


# Subjects: called once they make one pass and return its seconds, an epoch's or a step's.


class OurLoop:
    """A pass of our compiled epoch, with its evaluation or without."""

    note = ""

    def __init__(self, variant, setting):
        run = setting.run(variant)
        self.images, self.evaluates = len(setting.dataset.x_train), variant.what == "epoch"
        self.steps, self.passes = setting.steps_of(variant), 0
        self.rates = np.full((1, self.steps), run.learning_rate, "float32")
        self.sigmas = np.full((1, self.steps), run.sigma, "float32")
        self.program = training.backend().Program(run.program(), setting.dataset)
        self.program.start([run])

    def __call__(self):
        self.passes += 1
        begun = time.perf_counter()
        order = training.order(0, self.passes, self.images)
        self.program.epoch(order[np.newaxis], self.rates, self.sigmas)
        if self.evaluates:
            self.program.measure()
            return time.perf_counter() - begun
        int(self.program.optimizer.iterations)  # on a GPU the call above returns before its end
        return (time.perf_counter() - begun) / self.steps


class OurPart(OurLoop):
    """The optimizer's update alone, or the draw of the noise alone, as our loop makes them."""

    def __init__(self, variant, setting):
        import tensorflow as tf

        super().__init__(variant, setting)
        optimizer, weights = self.program.optimizer, self.program.weights
        optimizer.learning_rate.assign(self.rates[0, 0])
        optimizer.sigma.assign(self.sigmas[0, 0])

        def update(gradients):
            for _ in tf.range(self.steps):
                optimizer.apply(gradients, weights)

        def draw(gradients):
            total = 0.0
            for _ in tf.range(self.steps):
                optimizer.iterations.assign_add(1)
                total += optimizer._draw()[0][0]
            return total

        # Arguments, not constants: what follows from a constant is computed once, at compilation.
        self.gradients = [tf.fill(tf.shape(w), 1e-3) for w in weights]
        self.compiled = tf.function({"update": update, "draw": draw}[variant.what])

    def __call__(self):
        begun = time.perf_counter()
        self.compiled(self.gradients)
        int(self.program.optimizer.iterations)
        return (time.perf_counter() - begun) / self.steps


class Fit:
    """Compiled `model.fit`: an epoch with validation, or a step.

    Each pass is a call of `fit` for one epoch.  In longer calls an epoch sometimes begins with up
    to a second of waiting for the input pipeline of the epoch before: that does not count here.
    """

    def __init__(self, variant, setting):
        run, data, count = setting.run(variant), setting.dataset, variant.executions
        self.note = ""
        if count == "best":
            count = setting.best_executions
            self.note = f" = {count}"
        self.model = models.build(run, data.x_train.shape[1:], data.classes)
        if variant.noise == KERAS:
            plain = optimizers.BY_NAME[run.optimizer].__name__[1:]
            optimizer = getattr(keras.optimizers, plain)(learning_rate=run.learning_rate)
        else:
            optimizer = optimizers.from_run(run, run.langevin_layers)
        self.model.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"], steps_per_execution=count,
        )  # fmt: skip
        self.steps = setting.steps_of(variant)
        x, y = (part[: self.steps * setting.batch_size] for part in setting.scaled)
        self.given = {"x": x, "y": y, "batch_size": setting.batch_size, "verbose": 0}
        self.clock = _StepClock if variant.what == "step" else _EpochClock
        if variant.what == "epoch":
            self.given |= setting.evaluated

    def __call__(self):
        clock = self.clock()
        self.model.fit(**self.given, callbacks=[clock])
        return clock.seconds()


class _EpochClock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.ended = time.perf_counter()

    def seconds(self):
        return self.ended - self.begun


class _StepClock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.times = []

    def on_train_batch_begin(self, batch, logs=None):
        self.times.append(time.perf_counter())

    def seconds(self):
        return (self.times[-1] - self.times[1]) / (len(self.times) - 2)


def subject_of(variant, setting):
    if variant.loop == FIT:
        return Fit(variant, setting)
    return (OurPart if variant.what in PARTS else OurLoop)(variant, setting)


def take_turns(subjects, rounds, step=lambda: None):
    """Seconds of every round for each subject, after one pass that does not count."""
    for subject in subjects.values():
        subject()
        step()
    seconds = {variant: [] for variant in subjects}
    gc.collect()
    for _ in range(rounds):
        for variant, subject in subjects.items():
            seconds[variant].append(subject())
            step()
    return seconds
