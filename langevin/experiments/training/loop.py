"""Training a group of runs: compiled epochs over data that stays on the device.

`fit` trains runs that share a `Program`, the compiled part: runs that differ only in data, which is
seed, initializer, learning rate, sigma and schedule, on JAX the noise's place too.  On JAX they are
trained together, on TensorFlow one after another.  Batches are full; the order of the images, and
how they are augmented, is a function of (seed, epoch) alone, the same for every optimizer and
backend.
"""

import contextlib
import functools
import importlib
import json
import math
import time
from pathlib import Path

import keras
import numpy as np

from langevin import placement
from langevin.experiments.data import augmentation
from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies import probes
from langevin.experiments.training import schedules
from langevin.experiments.training.isolation import isolated
from langevin.experiments.training.store import digest, root, set_aside, whole

CHECKPOINT_SECONDS = 60.0
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
# What is measured of each layer: a tuple an epoch.
BY_LAYER = ("kernel_sd", *probes.BY_LAYER)
# Images a forward pass while measuring: bounds the memory of convolutional models.
MEASURED_AT_ONCE = 2_000
# Keras's default of Adam, which no run changes.
BETA_1 = 0.9


@isolated()
def fit(runs, dataset, checkpoint=None, progress=None):
    """Train a group of runs from their first epoch, or from their checkpoint, to their last.

    Args:
        runs: a list of `Run`s that share a program and the number of epochs, as many as
            `group_size` at most.
        dataset: their `langevin.experiments.data.datasets.Dataset`.
        checkpoint: a path; while the runs last their whole state is kept there every minute, and a
            group that finds one goes on from it bit for bit.  Who has stored the runs removes it.
        progress: called after every epoch.

    Returns: for each run a list of one dict an epoch, epoch 0 before training: loss and accuracy
        (on the first training images, `measured_images`), val_loss, val_accuracy, kernel_sd (a
        number a layer), what `Run.probe` asks for, seconds and compile_seconds (the group's, shared
        out among its runs), diverged.  A run stops where it diverges: where a loss is not finite.
        A large loss alone stops nothing: networks come back from it.
    """
    first, images = runs[0], len(dataset.x_train)
    check(first, dataset)
    # A group has its full size; what is missing is filled with its first run again.
    group = [*runs, *[first] * (group_size(first, dataset) - len(runs))]
    steps = images // first.batch_size
    plans = [_schedule(run, run.epochs * steps, steps) for run in group]
    rates, sigmas = (np.stack(each) for each in zip(*plans))
    begun = time.perf_counter()
    misses = _program.cache_info().misses
    program = _program(first.program(), dataset, len(group))
    compiled = _program.cache_info().misses > misses
    compile_seconds = time.perf_counter() - begun if compiled else 0.0

    histories = _restore(program, group, checkpoint)
    if not histories:
        program.start(group)
        histories = [[] for _ in runs]
        _note(histories, 0, program, first, 0.0, compile_seconds)
    saved = time.monotonic()
    for epoch in range(len(max(histories, key=len)), first.epochs + 1):
        if all(history[-1]["diverged"] for history in histories):
            break
        begun = time.perf_counter()
        orders = np.stack([order(run.seed, epoch, images) for run in group])
        now = slice((epoch - 1) * steps, epoch * steps)
        paced = rates[:, now] * _pace(program, first)
        program.epoch(orders, paced, sigmas[:, now], moves=_moves(group, epoch, images))
        _note(histories, epoch, program, first, begun)
        if progress:
            progress()
        if checkpoint and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(program, histories, Path(checkpoint))
            saved = time.monotonic()
    return histories


def after(run, dataset, steps):
    """What a run measures after some steps of its first epoch, computed in double precision.

    In single precision machines do not agree on it: 20 steps of a network of 20 layers and more
    turn the rounding of another CPU's matrix product, 1e-7, into a loss that differs by up to 1.
    """
    images = len(dataset.x_train)
    many = images // run.batch_size
    rates, sigmas = (values[None, :many] for values in _schedule(run, run.epochs * many, many))
    orders, moves = order(run.seed, 1, images)[None], _moves([run], 1, images)
    with double_precision():
        program = _program_in_double_precision(run.program(), dataset)
        program.start([run])
        rates = rates * _pace(program, run)
        program.epoch(orders, rates, sigmas, moves=moves, steps=steps)
        return program.measure()[0]


@contextlib.contextmanager
def double_precision():
    """Have Keras compute in float64."""
    with isolated("float64"), backend().float64():
        yield


@isolated()
def check(run, dataset):
    """ValueError where a run's settings do not fit its data, its network or the backend."""
    remedies.check_backend(run.remedy)
    images = len(dataset.x_train)
    if run.batch_size > images:
        raise ValueError(
            f"`batch_size` must not exceed the {images} training images of {dataset.label}. "
            f"Received: batch_size={run.batch_size}"
        )
    if isinstance(run.langevin_layers, tuple):
        model = models.build(run, dataset.x_train.shape[1:], dataset.classes)
        placement.choose([v.path for v in model.trainable_variables], run.langevin_layers)


def _schedule(run, steps, of_epoch):
    window = run.noise_start, run.noise_stop
    rates, sigmas = schedules.values(run.schedule, run.learning_rate, run.sigma, steps, window)
    if warm_up := remedies.of(run.remedy).warm_up:
        rising = warm_up(steps, of_epoch)
        rates[:rising] *= np.arange(1, rising + 1, dtype="float32") / rising
    if not run.noise_bias_correction:
        # sqrt(P) in the noise holds 1 / sqrt(1 - beta_1^t): so sigma can take it out again.
        sigmas *= np.sqrt(1 - BETA_1 ** np.arange(1, steps + 1), dtype="float32")
    return rates, sigmas


def order(seed, epoch, images):
    return np.random.default_rng([seed, epoch]).permutation(images).astype("int32")


def _moves(group, epoch, images):
    """How each run's images are augmented, in their order, or None where they are not."""
    if not group[0].augment:
        return None
    return np.stack([augmentation.draw(run.seed, epoch, images) for run in group])


def measured_images(images):
    """How many training images, the first ones, are measured: a fifth, from 2,000 to 10,000."""
    return min(images, max(2_000, min(10_000, images // 5)))


def group_size(run, dataset):
    """How many runs like this are trained as one program: on JAX as many as memory and the device
    make use of, a power of two; 1 on TensorFlow."""
    with isolated():
        return _group_size(run.program(), dataset)


@functools.lru_cache
def _group_size(run, dataset):
    return reduced().get(named(run)) or backend().group_size(run, dataset)


def _sizes_path():
    return root() / ".runs" / "group-sizes.json"


def named(program):
    """A program's name in the file of group sizes."""
    return digest(json.dumps(program.settings(), sort_keys=True))


@functools.cache
def reduced():
    """Group sizes of programs for which memory did not suffice, on this machine, at the size that
    was foreseen: a dict from their names."""
    path = _sizes_path()
    if not path.exists():
        return {}
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))
        if all(type(size) is int and size > 0 for size in sizes.values()):
            return sizes
        raise ValueError("a size is no whole number > 0")
    except (ValueError, AttributeError) as error:
        set_aside(path, f"is no file of group sizes ({error})", "groups have their full size")
        return {}


def reduce(sizes):
    """Train these programs, by their names, in groups of these sizes from now on, here and in later
    processes; what was compiled is let go."""
    if sizes := reduced() | sizes:
        with whole(_sizes_path()) as part:
            part.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    reduced.cache_clear()
    _group_size.cache_clear()
    _program.cache_clear()


def out_of_memory(error):
    """Whether a backend, or Python, says by this error that memory ran out."""
    names = "RESOURCE_EXHAUSTED", "ResourceExhaustedError", "MemoryError"
    return any(name in f"{type(error).__name__}: {error}" for name in names)


def backend():
    """The module of the compiled part for Keras's present backend."""
    name = f"langevin.experiments.training.program_{keras.backend.backend()}"
    return importlib.import_module(name)


# Two: neighbours in a sweep often alternate between a plain and a Langevin program.
@functools.lru_cache(maxsize=2)
def _program(run, dataset, size):
    return backend().Program(run, dataset, size)


@functools.lru_cache(maxsize=1)
def _program_in_double_precision(run, dataset):
    return backend().Program(run, dataset, 1)


@functools.lru_cache(maxsize=1)
def _probe(program):
    """What `Run.probe` asks for, of the first training images."""
    data = program.dataset
    x = data.x_train[: probes.IMAGES].astype("float32") / 255
    return probes.Probe(program.model, x, data.y_train[: probes.IMAGES])


def _pace(program, run):
    """What learning rates are multiplied with until the next epoch, a row a run."""
    pace = remedies.of(run.remedy).pace
    if pace is None:
        return 1.0
    probe = _probe(program)
    return np.array([[pace(program.optimizer, probe.model, probe.loss)] for _ in program.visit()],
                    "float32")  # fmt: skip


def _note(histories, epoch, program, run, begun, compile_seconds=0.0):
    """Add an epoch's row to the history of every run that has not diverged; before the first epoch
    none has."""
    measured = program.measure()
    if run.probe:
        for numbers, _ in zip(measured, program.visit()):
            numbers |= _probe(program)()
    seconds = time.perf_counter() - begun if begun else 0.0
    for history, numbers in zip(histories, measured):
        if history and history[-1]["diverged"]:
            continue
        finite = math.isfinite(numbers["loss"]) and math.isfinite(numbers["val_loss"])
        diverged = epoch > 0 and not finite
        shares = {"compile_seconds": compile_seconds / len(histories)}
        shares |= {"diverged": diverged, "seconds": seconds / len(histories)}
        history.append({"epoch": epoch, **numbers, **shares})


def _save(program, histories, path):
    """Keep the state whole: written aside and renamed into place."""
    arrays = {f"state_{i}": value for i, value in enumerate(program.state())}
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, name=path.name, histories=json.dumps(histories), **arrays)


def _restore(program, group, checkpoint):
    """Take up a checkpoint; its histories, or none where there is none that is sound."""
    if not checkpoint or not Path(checkpoint).exists():
        return []
    program.start(group)  # the runs' seeds and the noise's place, which a checkpoint lacks
    try:
        with np.load(checkpoint, allow_pickle=False) as kept:
            if kept["name"] != Path(checkpoint).name:
                raise ValueError(f"it was written as {kept['name']}")
            state = [kept[f"state_{i}"] for i in range(len(kept.files) - 2)]
            histories = json.loads(str(kept["histories"]))
        program.restore(state)
    except Exception as error:  # zipfile, zlib, numpy and the backends have each their own
        set_aside(Path(checkpoint), f"is no checkpoint ({error})", "training begins again")
        return []
    return histories
