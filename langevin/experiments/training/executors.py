"""Executors: the processes in which runs are trained, and whose turn it is on a GPU."""

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from concurrent import futures
from pathlib import Path

import keras
from tqdm import auto, std

from langevin.experiments.training.runs import device
from langevin.experiments.training.store import alone


def chosen(given):
    """The executor to use, given or by the environment, as a context; in words; its processes."""
    address = os.environ.get("LANGEVIN_CLUSTER")
    if given is not None:
        _refuse_fork(given)
        return contextlib.nullcontext(given), "as the executor says", 1
    if address:
        return cluster(address), f"the cluster at {address}", 1
    count = worker_count()
    return processes(count), f"{count} process{'es' * (count > 1)}", count


def _refuse_fork(executor):
    """ValueError for an executor that forks this process, whose backend has threads."""
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "An executor's processes must be spawned. Received: a "
            f"{type(executor).__name__} that forks, where training hangs. Pass "
            'mp_context=multiprocessing.get_context("spawn").'
        )


def progress(total, unit):
    """A progress bar: a widget in a notebook, text in a terminal, and in a file a line at times."""
    # Papermill passes text on to the terminal, and no widgets.
    text = "LANGEVIN_TERMINAL" in os.environ or "ipykernel" not in sys.modules
    often = 0.1 if sys.stderr.isatty() or not text else 20.0
    return (std.tqdm if text else auto.tqdm)(total=total, unit=unit, mininterval=often)


def worker_count():
    """How many processes of this machine shall work, by the environment."""
    count = os.environ.get("LANGEVIN_WORKERS", "1")
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"LANGEVIN_WORKERS must be a whole number >= 1. Received: {count!r}")
    return int(count)


def processes(count):
    """An executor of so many processes as a context; None where this process is to work alone."""
    return workers(count) if count > 1 else contextlib.nullcontext()


def results(pool, work, given):
    """What `work` returns of each tuple of arguments, by an executor that has `submit`, or without
    one by this process.

    Yields: a list of the results that have come since the last one, an empty one at times.
    """
    if pool is None:
        yield from ([work(*arguments)] for arguments in given)
        return
    waiting = {pool.submit(work, *arguments) for arguments in given}
    try:
        while waiting:
            done = {future for future in waiting if future.done()}
            waiting -= done
            yield [future.result() for future in done]
            time.sleep(0 if done else 0.2)  # asked, not waited for: not all have Python's futures
    except futures.BrokenExecutor as error:
        raise ChildProcessError(
            "A process that trained was killed, perhaps since memory ran out. What is finished is "
            "kept: the same command goes on, with fewer workers if it must. If no worker started, "
            'the script that starts them needs the guard `if __name__ == "__main__":`.'
        ) from error
    finally:
        for future in waiting:
            future.cancel()


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


@contextlib.contextmanager
def cluster(address):
    """An executor on a Dask cluster, such as "tcp://host:8786"; a worker that is lost is made up
    for by the others.  Each worker trains one unit of runs at a time: start it with one thread,
    `dask worker --nthreads 1`, on a machine with several GPUs one for each."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("A cluster needs Dask: pip install 'langevin[cluster]'.") from error
    with Client(address) as client, client.get_executor(pure=False) as pool:
        yield pool


def _one_thread():
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    else:  # read when JAX meets its first device
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"


def _end_with_parent():
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def one_gpu_at_a_time():
    """Wait until no other process of this user trains on this machine's GPU, or on those of its
    GPUs that CUDA_VISIBLE_DEVICES names; on a CPU, do not wait."""
    if device() == "cpu":
        yield
        return
    which = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    with alone(Path(tempfile.gettempdir()) / f"langevin-{os.getuid()}-gpu-{which}.lock"):
        yield
