"""Sweeps: many runs, each trained once, here or in other processes, and kept as it is finished."""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable

import keras

from langevin.experiments.data.datasets import SIZES, tested_of
from langevin.experiments.networks import models
from langevin.experiments.training import executors
from langevin.experiments.training import loop as training
from langevin.experiments.training.isolation import isolated
from langevin.experiments.training.runs import (
    Run,
    data_facts,
    dataset_of,
    device,
    frame,
    group_size,
    key_of,
    older_keys,
    records,
    shape_of,
    which,
)
from langevin.experiments.training.store import Store, digest, root, set_aside

# Runs that one process trains with one compiled program before others may help, at least a group.
UNIT = 6
# For the estimate of time alone: operations a second of a CPU's core, and a program's compilation.
# Batch normalization waits for memory, the more so the fewer channels a convolution makes.
CPU_SPEED, COMPILE_SECONDS = 50e9, 5.0
SLOWER = {"resnet": 3.0, "vgg": 3.0, "densenet": 5.0}


def sweep(runs, store=None, executor=None, train=True):
    """Train many runs, each once: stored ones are read, missing ones trained and stored.

    Args:
        runs: `Run`s, in any order; those that share a program are trained one after another.
        store: a `Store` or a folder; `.runs` of this project by default.
        executor: whose processes train: anything with the `submit` of `concurrent.futures`, such as
            those of `training.executors`, or submitit's.  All they share with this process is
            the store's folder and the code.  By default the Dask cluster at the environment
            variable `LANGEVIN_CLUSTER`, else as many workers as `LANGEVIN_WORKERS` says, else this
            process alone.
        train: if False, nothing is trained and missing runs are left out, and named.

    Returns: the frame of `train` for all the runs, in the order given.

    Raises:
        ValueError: no runs, what is no `Run`, or, if not `train`, none that is stored.

    Says first what it will do and where.  Finished runs are kept at once; an interrupted one goes
    on from its last checkpoint when the sweep is called again.  Sweeps of one store in several
    processes share the work.  Where memory runs out in a group, its comparison begins again with a
    group of half the size: runs of different sizes are not mixed, they differ by rounding.

    On SLURM, by Dask's way of starting workers, or by submitit's `AutoExecutor` as it is::

        machines = dask_jobqueue.SLURMCluster(cores=1, processes=1, memory="8GB")
        machines.scale(jobs=20)
        sweep(runs, "/shared/runs", executor=distributed.Client(machines).get_executor(pure=False))
    """
    runs = _checked(runs)
    store = store if isinstance(store, Store) else Store(store or root() / ".runs")
    keys = [key_of(run) for run in runs]
    planned = dict(zip(keys, runs))
    found = {key: store.load(key) for key in planned}
    missing = {key: planned[key] for key, record in found.items() if record is None}
    given, where, count = executors.chosen(executor)
    print(_announcement(runs, missing.values(), where, count, train), flush=True)
    if missing and not train:
        print(_summary(missing.values(), runs), flush=True)
    elif missing:
        for run in missing.values():
            training.check(run, dataset_of(run))
            for key in older_keys(run):
                if path := store.find(key):
                    set_aside(path, "is from an older schema", "the run counts as not trained")
        try:
            with executors.progress(len(missing), "run") as bar, given as pool:
                _train_missing(missing, store, pool, bar)
        except GroupTooLarge as error:
            training.reduce(error.half())
            print(error, flush=True)
            return sweep(runs, store, executor)
        found |= {key: store.load(key) for key in missing}
        if lost := [key for key in missing if found[key] is None]:
            raise OSError(
                f"All runs must be in the store after training: {store.folder}. Received: "
                f"{len(lost)} of {len(missing)} are missing. Check that no data file changes "
                "during a sweep and that all workers see this folder; then run the same "
                "command again."
            )
    if not any(found.values()):
        raise ValueError("None of these runs is stored, and train=False: there is nothing to show.")
    return frame([found[key] for key in keys if found[key]])


def _checked(runs):
    """The runs as a list; ValueError where there is none, or something else."""
    listed = list(runs) if isinstance(runs, Iterable) else []
    wrong = [item for item in listed if not isinstance(item, Run)]
    if wrong or not listed:
        raise ValueError(
            "`runs` must be a list of langevin.experiments.Run, one at least; "
            "langevin.experiments.grid makes them of settings. "
            f"Received{f' an item: {wrong[0]!r}' if wrong else f': {runs!r}'}"
        )
    return listed


class GroupTooLarge(MemoryError):
    """Memory ran out while a group of runs of this program was trained."""

    def __init__(self, program, size):
        super().__init__(program, size)
        self.program, self.size = program, size

    def half(self):
        """The program's next size; this error itself where there is none."""
        if self.size == 1:
            raise self
        return {training.named(self.program): self.size // 2}

    def __str__(self):
        name = f"{self.program.model}-{self.program.depth}, batch {self.program.batch_size}"
        if self.size == 1:
            return f"Memory ran out in a single run of {name}: it needs a smaller `batch_size`"
        return (
            f"Memory ran out for {self.size} runs of {name} together: its comparison begins again "
            f"in groups of {self.size // 2}."
        )


def _summary(missing, runs):
    """The missing ones of these runs, and how long they would take."""
    hours = estimate(missing, 1) / 3600
    lines = "".join(f"\n  {line}" for line in which(missing, runs))
    return f"Not recorded, and left out, about {hours:.1f} hours of one core:{lines}"


def _announcement(runs, missing, where, count, train):
    sizes = sorted({group_size(run.program()) for run in runs})
    seconds = estimate(missing, count) if device() == "cpu" and train else None
    return announcement("runs", runs, missing, sizes, where, train, seconds)


def announcement(name, planned, missing, sizes, where, train, seconds):
    """What will be done with planned runs or learnings, in groups of these sizes, and where;
    `seconds` is about how long it takes, None where nothing like it was timed."""
    labels = sorted({data_facts(one.dataset)[1] for one in planned})
    rest = f"{len(missing) or 'none'} {'to train' if train else 'missing'}"
    text = (
        f"{len(planned)} {name} on {', '.join(labels)}: {len(planned) - len(missing)} stored, "
        f"{rest}. Backend {keras.backend.backend()}, device {device()}, "
        f"group size {', '.join(map(str, sizes))}, {where}."
    )
    if missing and train:
        unknown = "none, nothing like it was timed on this device; the bar tells what is left"
        text += f" Estimate: {unknown if seconds is None else f'{seconds / 60:.1f} minutes'}."
    return text


def estimate(runs, count):
    """Seconds that the runs take in so many processes, by their arithmetic, within a factor of 2.

    A training step costs three forward passes; every epoch measures two sets of images.
    """
    return sum(map(_seconds, _units(runs))) / count


def _seconds(unit):
    """About how long one process needs for runs that share a program."""
    network = dataclasses.replace(
        unit[0].program(), optimizer="adam", variant="paper", epsilon=None, sigma=0.0, remedy=None
    )
    operations = sum(run.epochs for run in unit) * _operations(network)
    return COMPILE_SECONDS + operations * SLOWER.get(network.model, 1.0) / CPU_SPEED


@functools.lru_cache
@isolated()
def _operations(run):
    """Multiplications and additions of an epoch, with its measuring."""
    if run.dataset in SIZES:  # known without the data
        images, tested, _, _ = SIZES[run.dataset]
        part = min(images, run.train_size or images)
        images, tested = part, tested_of(images, tested, part)
    else:
        data = dataset_of(run)
        images, tested = len(data.x_train), len(data.x_test)
    model = models.build(run, *shape_of(run))
    passes = 3 * images + training.measured_images(images) + tested
    return passes * 2 * sum(models.multiplications(model))


def _train_missing(missing, store, pool, bar):
    def tick():
        bar.update(sum((store.folder / f"{key}.json").exists() for key in missing) - bar.n)

    # What another process is training comes last: by then it is stored, or its holder is gone.
    for wait in (False, True):
        if wait and missing:
            bar.set_postfix_str("another process trains the rest")
        if pool is None:
            with executors.one_gpu_at_a_time():
                busy = [run for unit in _units(missing.values())
                        for run in _train_unit(unit, store, wait, tick)]  # fmt: skip
        else:
            busy = _train_in(pool, _units(missing.values()), store, wait, tick)
        missing = {key_of(run): run for run in busy}


def _train_in(pool, units, store, wait, tick):
    """Units by the processes of an executor; returns the runs that are trained elsewhere."""
    jobs = [{key_of(run): run for run in unit} for unit in units]
    given = [(job, store, wait, training.reduced()) for job in jobs]
    busy = []
    for done in executors.results(pool, _train_for_other, given):
        busy += itertools.chain.from_iterable(done)
        tick()
    return busy


def _train_for_other(job, store, wait, reduced):
    """What an executor's process does: train runs that share a program, given with their keys."""
    if reduced != training.reduced():
        training.reduce(reduced)
    if list(job) != [key_of(run) for run in job.values()]:
        raise ValueError(
            "The executor's processes must have the backend, the data and the code of this one. "
            f"Received: backend {keras.backend.backend()}, data {os.environ.get('LANGEVIN_DATA')}"
        )
    with executors.one_gpu_at_a_time():
        return _train_unit(list(job.values()), store, wait)


def _train_unit(unit, store, wait, tick=lambda: None):
    """Train what is missing of runs that share a program; each is kept at once.

    Returns: the runs that another process is training; none if we `wait` for it.
    """
    busy = []
    for group in _groups(unit):
        busy += _train_group(group, store, wait)
        tick()
    return busy


def _train_group(group, store, wait):
    keys = {key_of(run): run for run in group}
    with contextlib.ExitStack() as locks:
        # In order, so that no two processes wait for each other.
        held = {key for key in sorted(keys) if locks.enter_context(store.lock(key, wait))}
        # Another may have trained it before it was ours.
        rest = [run for key, run in keys.items() if key in held and store.load(key) is None]
        try:
            if rest:
                checkpoint = store.checkpoint(_group_key(rest))
                for record in records(rest, checkpoint):
                    store.save(record)
                checkpoint.unlink(missing_ok=True)  # only now is what it holds elsewhere
        except Exception as error:
            if not training.out_of_memory(error):
                raise
            program = group[0].program()
            raise GroupTooLarge(program, group_size(program)) from error
    return [run for key, run in keys.items() if key not in held]


def _group_key(group):
    keys = [key_of(run) for run in group]
    return keys[0] if len(keys) == 1 else digest(" ".join(keys))


def _groups(unit):
    """A unit's runs, as many together as their program trains."""
    size = group_size(unit[0].program())
    return [unit[i : i + size] for i in range(0, len(unit), size)]


def _units(runs):
    """Runs grouped by the program they share, some groups in a unit.  The first seeds of all
    settings come first, so that a sweep cut short can be drawn; among them the longest."""
    programs = {}
    for run in sorted(runs, key=lambda run: run.seed):
        programs.setdefault((run.program(), run.epochs), []).append(run)
    units = []
    for (program, _), alike in programs.items():
        size = group_size(program)
        size *= max(1, UNIT // size)
        units += [alike[i : i + size] for i in range(0, len(alike), size)]
    return sorted(units, key=lambda unit: (unit[0].seed, -_seconds(unit)))
