"""Training one run: compiled epochs over data that stays on the device.

`fit` trains a run with a `Program`, the compiled part, which serves every run that differs from
another only in data: seed, initializer, learning rate, sigma, schedule.  Batches are full; the
order of the images, and how they are augmented, is a function of (seed, epoch) alone, the same for
every optimizer and backend.
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

from langevin import augmentation, schedules

CHECKPOINT_SECONDS = 60.0


def fit(run, dataset, checkpoint=None, progress=None):
    """Train a run from its first epoch, or from its checkpoint, to its last.

    Args:
        run: a `langevin.Run`.
        dataset: its `langevin.datasets.Dataset`.
        checkpoint: a path; while the run lasts its whole state is kept there every minute, and a
            run that finds one goes on from it bit for bit.
        progress: called after every epoch.

    Returns: a list of one dict an epoch, epoch 0 before training: loss and accuracy (on the first
        10,000 training images), val_loss, val_accuracy, kernel_sd (a number a layer), seconds,
        compile_seconds, diverged.  A run stops where it diverges: a loss that is not finite or
        above 10 ln(classes).
    """
    images = len(dataset.x_train)
    if run.batch_size > images:
        raise ValueError(
            f"`batch_size` must not exceed the {images} training images of {dataset.label}. "
            f"Received: batch_size={run.batch_size}"
        )
    steps = images // run.batch_size
    window = run.noise_start, run.noise_stop
    rates, sigmas = schedules.values(
        run.schedule, run.learning_rate, run.sigma, run.epochs * steps, window
    )
    begun = time.perf_counter()
    misses = _program.cache_info().misses
    program = _program(run.program(), dataset)
    compiled = _program.cache_info().misses > misses
    compile_seconds = time.perf_counter() - begun if compiled else 0.0

    rows = _restore(program, checkpoint)
    if not rows:
        program.start(run)
        rows = [_row(0, program, dataset, 0.0, compile_seconds)]
    saved = time.monotonic()
    for epoch in range(rows[-1]["epoch"] + 1, run.epochs + 1):
        if rows[-1]["diverged"]:
            break
        begun = time.perf_counter()
        order = np.random.default_rng([run.seed, epoch]).permutation(images).astype("int32")
        moves = augmentation.draw(run.seed, epoch, images) if run.augment else None
        now = slice((epoch - 1) * steps, epoch * steps)
        program.epoch(order, rates[now], sigmas[now], moves=moves)
        rows.append(_row(epoch, program, dataset, begun))
        if progress:
            progress()
        if checkpoint and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(program, rows, Path(checkpoint))
            saved = time.monotonic()
    if checkpoint:
        Path(checkpoint).unlink(missing_ok=True)
    return rows


# Two: neighbours in a sweep often alternate between a plain and a Langevin program.
@functools.lru_cache(maxsize=2)
def _program(run, dataset):
    module = importlib.import_module(f"langevin.program_{keras.backend.backend()}")
    return module.Program(run, dataset)


def _row(epoch, program, dataset, begun, compile_seconds=0.0):
    row = {"epoch": epoch, **program.measure(), "compile_seconds": compile_seconds}
    limit = 10 * math.log(dataset.classes)
    # Not `>`: NaN must count as diverged.
    row["diverged"] = not (row["loss"] <= limit and row["val_loss"] <= limit)
    row["seconds"] = time.perf_counter() - begun if begun else 0.0
    return row


def _save(program, rows, path):
    """Keep the state whole: written aside and renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    arrays = {f"state_{i}": value for i, value in enumerate(program.state())}
    with part.open("wb") as file:
        np.savez(file, rows=json.dumps(rows), **arrays)
    part.replace(path)


def _restore(program, checkpoint):
    """Take up a checkpoint; its rows, or none where there is none."""
    if not checkpoint or not Path(checkpoint).exists():
        return []
    with np.load(checkpoint, allow_pickle=False) as kept:
        program.restore([kept[f"state_{i}"] for i in range(len(kept.files) - 1)])
        return json.loads(str(kept["rows"]))
