"""What `bench.bench` times: passes of our loop, of its parts, and of `model.fit`.

An epoch.  Our loop: the order of the images, all full batches, then losses and accuracies of the
first 10,000 training images and of the test set, 2,000 at once, and the kernels' widths: what
`training.loop` does.  `model.fit`: as many images, the last, partial batch left out, as float32
tensors in memory, scaled beforehand and shuffled; validation on the same evaluation images in one
pass, 2,000 at once; timed by a callback from the epoch's begin to its end, so that neither
compilation nor handing over the images counts.

A step.  The mean of twenty steps, of three with convolutions, without evaluation, and where
it takes about a second one alone, so that variants take turns more often; of `model.fit`, whose
first step waits for the input pipeline to be built and whose last ends with the epoch, those
between.

Seconds are a seed's where several are trained together.  What runs on another backend than this
process is built and called in a process of its own (`process_on`).
"""

import contextlib
import dataclasses
import functools
import gc
import multiprocessing
import os
import time
import weakref
from concurrent import futures

import keras
import numpy as np

from langevin.experiments.bench import limits
from langevin.experiments.bench.variants import (
    COMPILATION,
    FIRST,
    FIT,
    KERAS,
    SECOND,
    THEIRS,
    tensors,
)
from langevin.experiments.networks import models
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers

# Subjects: called once they make one pass and return its seconds, an epoch's or a step's, a seed.
# Their `facts` go into the table: what they need, in operations and bytes, and of an epoch the
# seconds of each pass's evaluation.

# Subjects that differ only in data share a compiled program, as runs do.
_PROGRAMS = weakref.WeakValueDictionary()


class OurLoop:
    """A pass of our compiled epoch, with its evaluation or without."""

    def __init__(self, variant, setting):
        first, self.together = setting.run(variant), variant.together
        data, self.steps = setting.data(variant), setting.steps_of(variant)
        self.images, self.evaluates = len(data.x_train), variant.what == "epoch"
        self.group = [dataclasses.replace(first, seed=seed) for seed in range(self.together)]
        self.passes, shape = 0, (self.together, self.steps)
        self.rates = np.full(shape, first.learning_rate, "float32")
        self.sigmas = np.full(shape, first.sigma, "float32")
        key = first.program(), data, self.together
        self.program = _PROGRAMS.get(key) or training.backend().Program(*key)
        _PROGRAMS[key] = self.program
        self.program.start(self.group)
        self.facts = {"evaluation": []} if self.evaluates else {}
        if variant.what == "step":
            self.facts = limits.needs(self.program.model, setting.batch_size)

    def __call__(self):
        self.passes += 1
        begun = time.perf_counter()
        order = training.order(0, self.passes, self.images)
        self.program.epoch(np.stack([order] * self.together), self.rates, self.sigmas)
        limits.wait(self.program)
        steps = (time.perf_counter() - begun) / self.together
        if not self.evaluates:
            return steps / self.steps
        self.program.measure()
        seconds = (time.perf_counter() - begun) / self.together
        self.facts["evaluation"].append(seconds - steps)
        return seconds


class OurStep(OurLoop):
    """Steps alone; the first pass also finds the memory that they take."""

    def __call__(self):
        if "memory" in self.facts:
            return super().__call__()
        self.facts["memory"], seconds = limits.memory(self.program, super().__call__)
        return seconds


class OurPart(OurLoop):
    """The draw of the noise alone, as our loop makes it or by the backend's own generator, or the
    optimizer's update alone; that on TensorFlow only, since XLA fuses it with the gradients."""

    def __init__(self, variant, setting):
        super().__init__(variant, setting)
        jax = variant.backend == "jax"
        self.compiled = (
            self._draw_on_jax(variant.what) if jax else self._on_tensorflow(variant.what)
        )

    def _draw_on_jax(self, what):
        import jax

        def theirs(step, sigma, seeds, masks):
            keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), step))(seeds)
            normal = jax.vmap(lambda key: jax.random.normal(key, masks.shape[1:]))(keys)
            return sigma[:, None] * masks * normal

        seeds, masks = self.program.fixed
        one = theirs if what == THEIRS["jax"] else self.program.draw
        draw = jax.jit(
            lambda first, sigma, masks: jax.lax.scan(
                lambda total, step: (total + one(step, sigma, seeds, masks), None),
                masks, first + jax.numpy.arange(self.steps),
            )[0]
        )  # fmt: skip
        return lambda: draw(self.passes * self.steps, self.sigmas[:, 0], masks)

    def _on_tensorflow(self, what):
        import tensorflow as tf

        optimizer, weights = self.program.optimizer, self.program.weights
        optimizer.learning_rate.assign(self.rates[0, 0])
        optimizer.sigma.assign(self.sigmas[0, 0])

        def update(gradients):
            for _ in tf.range(self.steps):
                optimizer.apply(gradients, weights)
            return weights[0][0]

        def ours():
            return optimizer._draw()[0]

        def theirs():
            key = [tf.cast(v.value, "int32") for v in (optimizer._seed, optimizer.iterations)]
            count = sum(w.shape[0] for w in weights)
            return optimizer.sigma * tf.random.stateless_normal([count], key)

        def draw(gradients):
            total = 0.0
            for _ in tf.range(self.steps):
                optimizer.iterations.assign_add(1)
                total += one()[0]
            return total

        one = theirs if what == THEIRS["tensorflow"] else ours
        # Arguments, not constants: what follows from a constant is computed once, at compilation.
        gradients = [tf.fill(tf.shape(w), 1e-3) for w in weights]
        compiled = tf.function(update if what == "update" else draw)
        return lambda: compiled(gradients)

    def __call__(self):
        self.passes += 1
        begun = time.perf_counter()
        np.asarray(self.compiled())
        return (time.perf_counter() - begun) / self.steps / self.together


class FurtherRun:
    """The first or second epoch of one run of `training.loop.fit`, a seed more each pass."""

    facts = {}

    def __init__(self, variant, setting):
        # Usually noise ends at half of the epochs: both are to have it.
        self.run = dataclasses.replace(setting.run(variant), schedule="constant")
        self.dataset = setting.dataset
        self.epoch, self.passes = 1 + (variant.what == SECOND), 0

    def __call__(self):
        self.passes += 1
        run = dataclasses.replace(self.run, epochs=2, seed=self.passes)
        history = _history(run, self.dataset)
        self.facts = {"compiling": history[0]["compile_seconds"]}
        return history[self.epoch]["seconds"]


@functools.lru_cache(maxsize=1)
def _history(run, dataset):
    return training.fit([run], dataset)[0]


class Compilation:
    """A program made anew, network and optimizer included; building the network once more, which
    no compiler does, is timed apart."""

    def __init__(self, variant, setting):
        self.program = setting.run(variant).program(), setting.data(variant), variant.together
        self.facts = {"building": []}

    def __call__(self):
        begun = time.perf_counter()
        with _without_cache():
            training.backend().Program(*self.program)
        made = time.perf_counter()
        models.fresh(*self.program[:2])
        self.facts["building"].append(time.perf_counter() - made)
        return made - begun


@contextlib.contextmanager
def _without_cache():
    """JAX keeps what it compiled."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    def keep(kept):
        jax.config.update("jax_enable_compilation_cache", kept)
        compilation_cache.reset_cache()  # it looks at the option once

    keep(False)
    try:
        yield
    finally:
        keep(True)


class Fit:
    """Compiled `model.fit`: an epoch with validation, or a step.

    Each pass is a call of `fit` for one epoch.  In longer calls an epoch sometimes begins with up
    to a second of waiting for the input pipeline of the epoch before: that does not count here.
    """

    def __init__(self, variant, setting):
        run, data = setting.run(variant), setting.data(variant)
        self.model = models.build(run, data.x_train.shape[1:], data.classes)
        if variant.noise == KERAS:
            plain = optimizers.BY_NAME[run.optimizer].__name__[1:]
            optimizer = getattr(keras.optimizers, plain)(learning_rate=run.learning_rate)
        else:
            optimizer = optimizers.from_run(run, run.langevin_layers)
        self.model.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"], steps_per_execution=variant.executions,
        )  # fmt: skip
        images = setting.steps_of(variant) * setting.batch_size
        x, y = tensors(data.x_train[:images], data.y_train[:images])
        self.given = {"x": x, "y": y, "batch_size": setting.batch_size, "verbose": 0}
        self.facts, self.clock = {}, _StepClock()
        if variant.what == "epoch":
            self.given |= setting.evaluated
            self.clock = _EpochClock()
            self.facts = {"evaluation": self.clock.evaluation}

    def __call__(self):
        self.model.fit(**self.given, callbacks=[self.clock])
        return self.clock.seconds()


class _EpochClock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.evaluation = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.evaluating = time.perf_counter()

    def on_test_end(self, logs=None):
        self.evaluation.append(time.perf_counter() - self.evaluating)

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


class Elsewhere:
    """A subject in the process of another backend, built there and passed through a first time,
    which compiles it, while others are built here."""

    def __init__(self, variant, pool):
        self.variant, self.pool, self.facts = variant, pool, {}
        self.begun = pool.submit(_begin, variant)

    def __call__(self):
        running, self.begun = self.begun or self.pool.submit(_pass, self.variant), None
        seconds, self.facts = running.result()
        return seconds


@contextlib.contextmanager
def process_on(backend, setting):
    """An executor of one process whose Keras has another backend, for `Elsewhere`."""
    fresh = dataclasses.replace(setting)  # without the tensors that it may hold here
    pool = futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_settle, initargs=(fresh,)
    )
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = backend
    try:
        pool.submit(_forget)  # the process starts here, and inherits the environment
    finally:
        os.environ.pop("KERAS_BACKEND")
        os.environ |= {} if before is None else {"KERAS_BACKEND": before}
    with pool:
        yield pool


# What that process holds: its setting, and the subjects of the group that is timed.
_HERE = {}


def _settle(setting):
    _HERE.update(setting=setting, subjects={})


def _forget():
    _HERE["subjects"].clear()


def _begin(variant):
    _HERE["subjects"][variant] = subject_of(variant, _HERE["setting"])
    return _pass(variant)


def _pass(variant):
    subject = _HERE["subjects"][variant]
    return subject(), subject.facts


def subject_of(variant, setting, pool=None):
    """What times the variant: here, or through the pool if its backend is another."""
    if isinstance(variant, limits.Limit):
        return limits.Machine(variant)
    if variant.backend != keras.backend.backend():
        return Elsewhere(variant, pool)
    if variant.loop == FIT:
        return Fit(variant, setting)
    kinds = {"epoch": OurLoop, "step": OurStep, COMPILATION: Compilation}
    kinds |= dict.fromkeys((FIRST, SECOND), FurtherRun)
    return kinds.get(variant.what, OurPart)(variant, setting)


def subjects_of(variants, setting, pool=None, step=lambda: None):
    """A subject for each variant; those of the group before are let go."""
    forgotten = pool and pool.submit(_forget)
    # Those elsewhere first: they are built there while the others are built here.
    here = keras.backend.backend()
    subjects = {}
    for variant in sorted(variants, key=lambda v: v.backend == here):
        subjects[variant] = subject_of(variant, setting, pool)
        step()
    if forgotten:
        forgotten.result()
    return {variant: subjects[variant] for variant in variants}


def take_turns(subjects, rounds, step=lambda: None):
    """Seconds of every round for each subject, after one pass that does not count.

    Every other round goes back, and the next begins one further: else each would always follow the
    same other, and have from it, round by round, a warm cache or a clock that it slowed.
    """
    for subject in subjects.values():
        subject()
        step()
    seconds = {variant: [] for variant in subjects}
    gc.collect()
    turns = list(subjects)
    for number in range(rounds):
        back = number % 2
        for variant in turns[:: -1 if back else 1]:
            seconds[variant].append(subjects[variant]())
            step()
        turns = turns[back:] + turns[:back]
    return seconds
