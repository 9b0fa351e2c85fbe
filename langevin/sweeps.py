"""Sweeps: many runs, each trained once, here or in other processes, and kept as it is finished."""

import contextlib
import dataclasses
import fcntl
import functools
import itertools
import multiprocessing
import os
from concurrent import futures

import keras
from tqdm import auto, std

from langevin import models
from langevin.datasets import SIZES
from langevin.runs import data_facts, dataset_of, device, frame, group_size, key_of, records
from langevin.store import Store, root
from langevin.training import MEASURED_IMAGES

# Runs that one process trains with one compiled program before others may help, at least a group.
UNIT = 6
# For the estimate of time alone: operations a second of a CPU's core, and a program's compilation.
# Batch normalization waits for memory, the more so the fewer channels a convolution makes.
CPU_SPEED, COMPILE_SECONDS = 40e9, 5.0
SLOWER = {"resnet": 1.6, "vgg": 1.6, "densenet": 4.0}


def sweep(runs, store=None, executor=None, train=True):
    """Train many runs, each once: stored ones are read, missing ones trained and stored.

    Args:
        runs: `Run`s, in any order; those that share a program are trained one after another.
        store: a `Store` or a folder; `.runs` of this project by default.
        executor: a `concurrent.futures` executor whose processes train, such as `workers(2)`;
            all they share is the store's folder.  By default this process trains, or as many
            workers as the environment variable `LANGEVIN_WORKERS` says.
        train: if False, nothing is trained and missing runs are left out, and named.

    Returns: the frame of `train` for all the runs, in the order given.

    Says first what it will do and where.  Finished runs are kept at once; an interrupted one goes
    on from its last checkpoint when the sweep is called again.
    """
    runs = list(runs)
    store = store if isinstance(store, Store) else Store(store or root() / ".runs")
    keys = [key_of(run) for run in runs]
    missing = {key: run for key, run in zip(keys, runs) if store.find(key) is None}
    count = int(os.environ.get("LANGEVIN_WORKERS", 1)) if executor is None else 1
    print(_announcement(runs, missing.values(), count, train), flush=True)
    if missing and not train:
        print(_summary(missing.values()), flush=True)
        keys = [key for key in keys if key not in missing]
    elif missing:
        own = workers(count) if count > 1 else contextlib.nullcontext(executor)
        # Papermill passes text on to the terminal, and no widgets.
        tqdm = std.tqdm if "LANGEVIN_TERMINAL" in os.environ else auto.tqdm
        with tqdm(total=len(missing), unit="run") as bar, one_gpu_at_a_time(), own as pool:
            _train_missing(missing, store, pool, bar)
    if not keys:
        raise ValueError("None of these runs is stored, and train=False: there is nothing to show.")
    return frame([store.load(key) for key in keys])


def _summary(runs):
    """The missing runs, a line a setting, with the seeds that are missing."""
    seeds = {}
    for run in runs:
        seeds.setdefault(dataclasses.replace(run, seed=0), []).append(run.seed)
    lines, hours = [], estimate(runs, 1) / 3600
    for run, missing in seeds.items():
        text = f"  {run.model}-{run.depth} {run.optimizer}, {run.initializer}"
        text += f", lr {run.learning_rate:g}"
        text += ", Keras's update" if run.variant == "keras" else ""
        text += f", epsilon {run.epsilon:g}" if run.epsilon else ""
        if run.sigma:
            text += f", sigma {run.sigma:g} on {run.layers_text()} layers"
            text += f", P <= {run.noise_cap:g}" if run.noise_cap else ""
            if (run.noise_start, run.noise_stop) != (0, 1):
                text += f", in steps {100 * run.noise_start:g} to {100 * run.noise_stop:g} %"
            text += "" if run.noise_bias_correction else ", without bias correction"
        lines.append(f"{text}: {len(missing)} seeds of {run.epochs} epochs")
    text = f"Not recorded, and left out, about {hours:.1f} hours of one core:\n"
    return text + "\n".join(lines)


def _announcement(runs, missing, count, train):
    labels = sorted({data_facts(run.dataset)[1] for run in runs})
    sizes = sorted({group_size(run.program()) for run in runs})
    rest = f"{len(missing) or 'none'} {'to train' if train else 'missing'}"
    text = (
        f"{len(runs)} runs on {', '.join(labels)}: {len(runs) - len(missing)} stored, {rest}. "
        f"Backend {keras.backend.backend()}, device {device()}, "
        f"group size {', '.join(map(str, sizes))}, {count} process{'es' * (count > 1)}."
    )
    if missing and train and device() == "cpu":
        text += f" Estimate: {estimate(missing, count) / 60:.1f} minutes."
    return text


def estimate(runs, count):
    """Seconds that the runs take in so many processes, by their arithmetic, within a factor of 2.

    A training step costs three forward passes; every epoch measures two sets of images.
    """
    seconds = 0.0
    for unit in _units(runs):
        network = dataclasses.replace(unit[0].program(), optimizer="adam", sigma=0.0)
        operations = sum(run.epochs for run in unit) * _operations(network)
        speed = CPU_SPEED / SLOWER.get(network.model, 1.0)
        seconds += COMPILE_SECONDS + operations / speed
    return seconds / count


@functools.lru_cache
def _operations(run):
    """Multiplications and additions of an epoch, with its measuring."""
    if run.dataset in SIZES:  # known without the data
        images, tested, (*sides, channels), classes = SIZES[run.dataset]
        images = min(images, run.train_size or images)
        shape = (*(max(side, models.LEAST_SIDE.get(run.model, 1)) for side in sides), channels)
    else:
        data = dataset_of(run)
        images, tested, shape = len(data.x_train), len(data.x_test), data.x_train.shape[1:]
        classes = data.classes
    model = models.build(run, shape, classes)
    passes = 3 * images + min(images, MEASURED_IMAGES) + tested
    return passes * 2 * models.multiplications(model)


def _train_missing(missing, store, pool, bar):
    units = _units(missing.values())
    if pool is None:
        for group in itertools.chain.from_iterable(map(_groups, units)):
            _train_group(group, store)
            bar.update(len(group))
        return
    waiting = {pool.submit(_train_unit, unit, store) for unit in units}
    try:
        while waiting:
            done, waiting = futures.wait(waiting, 1.0, futures.FIRST_COMPLETED)
            for future in done:
                future.result()
            bar.update(sum((store.folder / f"{key}.json").exists() for key in missing) - bar.n)
    finally:
        for future in waiting:
            future.cancel()


def _train_unit(unit, store):
    """What an executor's process does: train runs that share a program, keep each at once."""
    for group in _groups(unit):
        if rest := [run for run in group if store.find(key_of(run)) is None]:
            _train_group(rest, store)


def _train_group(group, store):
    for record in records(group, store):
        store.save(record)


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
    return sorted(units, key=lambda unit: (unit[0].seed, -sum(r.depth * r.epochs for r in unit)))


@contextlib.contextmanager
def workers(count):
    """An executor of `count` processes of one thread each: on a CPU, where the small products of
    deep narrow networks gain little from more threads, they train most runs an hour.  A run's
    numbers are the same to the bit; with batch normalization, to the bit among such processes, and
    to rounding with others, since its sums depend on the number of threads."""
    context = multiprocessing.get_context("spawn")
    pool = futures.ProcessPoolExecutor(count, mp_context=context, initializer=_one_thread)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    else:  # read when JAX meets its first device
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"


@contextlib.contextmanager
def one_gpu_at_a_time():
    """Wait until no other process of this project trains on the GPU; on a CPU, do not wait."""
    if device() == "cpu":
        yield
        return
    lock = root() / ".runs" / "gpu.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
