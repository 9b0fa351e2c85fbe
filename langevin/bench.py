"""`make bench`: what our loop and the noise cost, as ratios measured side by side in one run.

A variant is one thing to time, a comparison names two of them.  Each variant is compiled and
passed through once before anything counts.  Then the variants of a group take turns, A B C A B C,
so that the machine's drift hits all alike; a ratio is the median over the rounds of the ratios
within a round, beside the least and the greatest of them.

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
import importlib
import itertools
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops
from tqdm.auto import tqdm

from langevin import datasets, models, optimizers, runs, store

OURS, FIT = "our loop", "model.fit"
# Noise in the order of the table, as settings of a run; Keras's own optimizer has none to set.
NOISE = {
    "Keras's own": {},
    "no noise": {"sigma": 0.0},
    "30 % of the layers noisy": {"sigma": 1e-3, "langevin_layers": 0.3},
    "all layers noisy": {"sigma": 1e-3},
}
KERAS, NONE, SOME, ALL = NOISE
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


PARTS = ("update", "draw")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table: a variant over its baseline; `goal` is the greatest ratio aimed at."""

    group: str
    variant: Variant
    baseline: Variant
    goal: float | None = None


def epoch_comparisons():
    """Our loop against `model.fit`: Adam, L-Adam, and our L-Adam against Keras's Adam."""
    plain, noisy = Variant("epoch", OURS, "adam", NONE), Variant("epoch", OURS, "adam", ALL)
    of_keras, of_ours = Variant("epoch", FIT, "adam", KERAS), Variant("epoch", FIT, "adam", ALL)
    for variant, baseline in [(plain, of_keras), (noisy, of_ours)]:
        yield Comparison("epoch", variant, baseline, goal=0.4)
        yield Comparison("epoch", variant, dataclasses.replace(baseline, executions="best"))
    yield Comparison("epoch", noisy, of_keras)


def step_comparisons(loop):
    """Each Langevin optimizer against its plain counterpart, in one loop."""
    goals = {("adam", SOME): 1.15, ("adam", ALL): 1.3} if loop == OURS else {}
    for name in optimizers.BY_NAME:
        plain = Variant("step", loop, name, NONE)
        for noise in (SOME, ALL):
            noisy = dataclasses.replace(plain, noise=noise)
            yield Comparison(f"step, {loop}", noisy, plain, goals.get((name, noise)))
        if loop == FIT:
            for noise in (NONE, SOME, ALL):
                own = dataclasses.replace(plain, noise=KERAS)
                yield Comparison(f"step, {loop}", dataclasses.replace(plain, noise=noise), own)


def part_comparisons():
    """Where the time of an L-Adam step goes, as shares of the plain step."""
    step = Variant("step", OURS, "adam", NONE)
    for what, noise in [("update", NONE), ("draw", SOME), ("draw", ALL)]:
        # In the steps' group, so that both are timed in the same rounds.
        yield Comparison(f"step, {OURS}", dataclasses.replace(step, what=what, noise=noise), step)


def all_comparisons():
    return [
        *epoch_comparisons(), *step_comparisons(OURS), *part_comparisons(), *step_comparisons(FIT),
    ]  # fmt: skip


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
        module = _program_module()
        parts = [part[: module.MEASURED_IMAGES] for part in self.scaled]
        test = _tensors(self.dataset.x_test, self.dataset.y_test)
        return {
            "validation_data": tuple(ops.concatenate(pair) for pair in zip(parts, test)),
            "validation_batch_size": module.MEASURED_AT_ONCE,
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


def _program_module():
    return importlib.import_module(f"langevin.program_{keras.backend.backend()}")


# Subjects: called once they make one pass and return its seconds, an epoch's or a step's.


class OurLoop:
    """A pass of our compiled epoch, with its evaluation or without."""

    note = ""

    def __init__(self, variant, setting):
        run = setting.run(variant)
        self.images, self.evaluates = len(setting.dataset.x_train), variant.what == "epoch"
        self.steps, self.passes = setting.steps_of(variant), 0
        self.rates = np.full(self.steps, run.learning_rate, "float32")
        self.sigmas = np.full(self.steps, run.sigma, "float32")
        self.program = _program_module().Program(run.program(), setting.dataset)
        self.program.start(run)

    def __call__(self):
        self.passes += 1
        begun = time.perf_counter()
        order = np.random.default_rng([0, self.passes]).permutation(self.images).astype("int32")
        self.program.epoch(order, self.rates, self.sigmas)
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
        optimizer.learning_rate.assign(self.rates[0])
        optimizer.sigma.assign(self.sigmas[0])

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


# Measurement and table.


def variants_of(comparisons):
    """Each variant once, in the order of first mention, a baseline before what is held to it."""
    return list(dict.fromkeys(v for c in comparisons for v in (c.baseline, c.variant)))


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


def row_of(comparison, seconds, notes=None):
    """A comparison's row: medians, and the ratios within the rounds."""
    notes = notes or {}
    own, base = (np.array(seconds[v]) for v in (comparison.variant, comparison.baseline))
    ratios = own / base
    goal, ratio = comparison.goal, float(np.median(ratios))
    return {
        "group": comparison.group,
        "variant": f"{comparison.variant}{notes.get(comparison.variant, '')}",
        "baseline": f"{comparison.baseline}{notes.get(comparison.baseline, '')}",
        "seconds_median": float(np.median(own)),
        "baseline_seconds_median": float(np.median(base)),
        "ratio": ratio,
        "ratio_low": float(ratios.min()),
        "ratio_high": float(ratios.max()),
        "goal": goal,
        "met": "" if goal is None else "yes" if ratio <= goal else "no",
    }


def where_time_goes(comparison, seconds, steps):
    """For a goal that was missed, the parts of the time, in words; "" where they were not timed."""
    median = {variant: 1e3 * float(np.median(values)) for variant, values in seconds.items()}
    variant, plain = comparison.variant, Variant("step", OURS, comparison.variant.optimizer, NONE)
    try:
        if variant.what == "epoch":
            step = median[dataclasses.replace(variant, what="step")]
            rest = median[variant] - steps * step
            return f"{steps} steps of {step:.2f} ms, evaluation and the rest {rest:.0f} ms"
        update = median[dataclasses.replace(plain, what="update")]
        draw = median[dataclasses.replace(variant, what="draw")]
        added = median[variant] - median[plain]
        return (
            f"plain step {median[plain]:.2f} ms, of it the update {update:.2f}; noise adds "
            f"{added:.2f}: the draw alone {draw:.2f}, its use {added - draw:.2f}"
        )
    except KeyError:
        return ""


def machine():
    """Columns that name the processor with its cores, the versions, and how busy it was."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor() or platform.machine()
    able = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    device = "" if runs.device() == "cpu" else f", {runs.device()}"
    packages = ("keras", keras.backend.backend(), "numpy")
    versions = [f"python {platform.python_version()}"]
    versions += [f"{name} {runs._version(name)}" for name in packages]
    return {
        "machine": f"{processor}, {len(able)} cores{device}",
        "versions": ", ".join(versions),
        "load_before": round(os.getloadavg()[0], 1),
    }


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


def measure(comparisons, setting, rounds):
    """The table: a row a comparison."""
    passes = sum(len(variants_of(members)) for _, members in _groups(comparisons)) * (rounds + 2)
    seconds, notes = {}, {}
    with tqdm(total=passes, unit="pass") as bar:
        for group, members in _groups(comparisons):
            subjects = {}
            for variant in variants_of(members):
                bar.set_description(f"{group}: compiling")
                subjects[variant] = subject_of(variant, setting)
                notes[variant] = subjects[variant].note
                bar.update()
            bar.set_description(f"{group}: timing")
            seconds |= take_turns(subjects, rounds, bar.update)
    rows = [row_of(comparison, seconds, notes) for comparison in comparisons]
    steps = len(setting.dataset.x_train) // setting.batch_size
    for row, comparison in zip(rows, comparisons):
        missed = row["met"] == "no"
        row["where_the_time_goes"] = where_time_goes(comparison, seconds, steps) if missed else ""
    return pd.DataFrame(rows)


def _groups(comparisons):
    return [(k, list(g)) for k, g in itertools.groupby(comparisons, key=lambda c: c.group)]


def bench(rounds=5, comparisons=None, setting=None, folder=None):
    """Measure, print the table, and save it as bench.csv.

    Args:
        rounds: how often each variant is timed, after a pass that does not count.
        comparisons: by default `all_comparisons()`.
        setting: by default dense-20 on MNIST, in batches of 512.
        folder: by default figures/bench of this project.

    Returns: the table.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`bench` measures the loop on TensorFlow. "
            f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
        )
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {rounds}")
    setting = setting or Setting(mnist_or_its_size())
    facts = {"dataset": setting.dataset.label, **machine(), "rounds": rounds}
    print(
        f"dense-{setting.depth} on {setting.dataset.label}, batches of {setting.batch_size}; "
        f"medians of {rounds} rounds.\n{facts['machine']}; {facts['versions']}; "
        f"load before: {facts['load_before']}.", flush=True,
    )  # fmt: skip
    comparisons = all_comparisons() if comparisons is None else list(comparisons)
    table = measure(comparisons, setting, rounds).assign(**facts)
    folder = Path(folder or runs.root() / "figures" / "bench")
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "bench.csv", index=False, float_format="%.5g")
    print(f"{as_text(table)}\n\nSaved: {folder / 'bench.csv'}")
    return table


def as_text(table):
    """The table to read: milliseconds, ratio [least, greatest], goals, and what was missed."""
    lines = []
    for group, rows in table.groupby("group", sort=False):
        said = f", {group.partition(', ')[2]}"  # the loop, where the group's name tells it
        lines.append(f"\n{group}: milliseconds; ratio [least, greatest of the rounds] to what")
        for row in rows.itertuples():
            variant, baseline = (v.replace(said, "") for v in (row.variant, row.baseline))
            met = {"yes": "met", "no": "MISSED"}.get(row.met)
            goal = f"; goal {row.goal:g}: {met}" if met else ""
            lines.append(
                f"  {variant:48}{1e3 * row.seconds_median:9.2f}  {row.ratio:5.2f} "
                f"[{row.ratio_low:.2f}, {row.ratio_high:.2f}] to {baseline}{goal}"
            )
            if row.where_the_time_goes:
                lines.append(f"      {row.where_the_time_goes}")
    return "\n".join(lines)
