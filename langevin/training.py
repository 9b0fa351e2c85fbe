"""Training a group of runs: compiled epochs over data that stays on the device.

`fit` trains runs that share a `Program`, the compiled part: runs that differ only in data, which is
seed, initializer, learning rate, sigma and schedule, on JAX the noise's place too.  On JAX they are
trained together, on TensorFlow one after another.  Batches are full; the order of the images, and
how they are augmented, is a function of (seed, epoch) alone, the same for every optimizer and
backend.
"""

import functools
import importlib
import json
import math
import os
import time
from pathlib import Path

import keras
import numpy as np

from langevin import augmentation, remedies, schedules

CHECKPOINT_SECONDS = 60.0
# The training loss is measured on these first training images, the same for every run.
MEASURED_IMAGES = 10_000
# Images a forward pass while measuring: bounds the memory of convolutional models.
MEASURED_AT_ONCE = 2_000


def fit(runs, dataset, checkpoint=None, progress=None):
    """Train a group of runs from their first epoch, or from their checkpoint, to their last.

    Args:
        runs: a list of `langevin.Run`s that share a program and the number of epochs, as many as
            `group_size` at most.
        dataset: their `langevin.datasets.Dataset`.
        checkpoint: a path; while the runs last their whole state is kept there every minute, and a
            group that finds one goes on from it bit for bit.
        progress: called after every epoch.

    Returns: for each run a list of one dict an epoch, epoch 0 before training: loss and accuracy
        (on the first 10,000 training images), val_loss, val_accuracy, kernel_sd (a number a layer),
        seconds and compile_seconds (the group's, shared out among its runs), diverged.  A run stops
        where it diverges: a loss that is not finite or above 10 ln(classes).
    """
    first, images = runs[0], len(dataset.x_train)
    if first.batch_size > images:
        raise ValueError(
            f"`batch_size` must not exceed the {images} training images of {dataset.label}. "
            f"Received: batch_size={first.batch_size}"
        )
    remedies.check_backend(first.remedy)
    # A group has its full size; what is missing is filled with its first run again.
    group = [*runs, *[first] * (group_size(first, dataset) - len(runs))]
    steps = images // first.batch_size
    plans = [_schedule(run, run.epochs * steps) for run in group]
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
        _note(histories, 0, program, dataset, 0.0, compile_seconds)
    saved = time.monotonic()
    for epoch in range(len(max(histories, key=len)), first.epochs + 1):
        if all(history[-1]["diverged"] for history in histories):
            break
        begun = time.perf_counter()
        orders = np.stack([order(run.seed, epoch, images) for run in group])
        now = slice((epoch - 1) * steps, epoch * steps)
        program.epoch(orders, rates[:, now], sigmas[:, now], moves=_moves(group, epoch, images))
        _note(histories, epoch, program, dataset, begun)
        if progress:
            progress()
        if checkpoint and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(program, histories, Path(checkpoint))
            saved = time.monotonic()
    if checkpoint:
        Path(checkpoint).unlink(missing_ok=True)
    return histories


def _schedule(run, steps):
    window = run.noise_start, run.noise_stop
    return schedules.values(run.schedule, run.learning_rate, run.sigma, steps, window)


def order(seed, epoch, images):
    return np.random.default_rng([seed, epoch]).permutation(images).astype("int32")


def _moves(group, epoch, images):
    """How each run's images are augmented, in their order, or None where they are not."""
    if not group[0].augment:
        return None
    return np.stack([augmentation.draw(run.seed, epoch, images) for run in group])


def group_size(run, dataset):
    """How many runs like this are trained as one program: on JAX as many as memory and the device
    make use of, a power of two; 1 on TensorFlow."""
    return _group_size(run.program(), dataset)


@functools.lru_cache
def _group_size(run, dataset):
    return backend().group_size(run, dataset)


def backend():
    """The module of the compiled part for Keras's present backend."""
    return importlib.import_module(f"langevin.program_{keras.backend.backend()}")


# Two: neighbours in a sweep often alternate between a plain and a Langevin program.
@functools.lru_cache(maxsize=2)
def _program(run, dataset, size):
    return backend().Program(run, dataset, size)


def _note(histories, epoch, program, dataset, begun, compile_seconds=0.0):
    """Add an epoch's row to the history of every run that has not diverged."""
    limit, measured = 10 * math.log(dataset.classes), program.measure()
    seconds = time.perf_counter() - begun if begun else 0.0
    for history, numbers in zip(histories, measured):
        if history and history[-1]["diverged"]:
            continue
        # Not `>`: NaN must count as diverged.
        diverged = not (numbers["loss"] <= limit and numbers["val_loss"] <= limit)
        shares = {"compile_seconds": compile_seconds / len(histories)}
        shares |= {"diverged": diverged, "seconds": seconds / len(histories)}
        history.append({"epoch": epoch, **numbers, **shares})


def _save(program, histories, path):
    """Keep the state whole: written aside and renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    arrays = {f"state_{i}": value for i, value in enumerate(program.state())}
    with part.open("wb") as file:
        np.savez(file, histories=json.dumps(histories), **arrays)
    part.replace(path)


def _restore(program, group, checkpoint):
    """Take up a checkpoint; its histories, or none where there is none."""
    if not checkpoint or not Path(checkpoint).exists():
        return []
    with np.load(checkpoint, allow_pickle=False) as kept:
        program.start(group)  # the runs' seeds and the noise's place, which a checkpoint lacks
        program.restore([kept[f"state_{i}"] for i in range(len(kept.files) - 1)])
        return json.loads(str(kept["histories"]))
