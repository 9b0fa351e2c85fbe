"""One training at a time in a process, under Keras settings that are always the same."""

import contextlib
import os
import threading

import keras

_lock = threading.RLock()
_started_in = None  # the process whose backend has started


@contextlib.contextmanager
def isolated(floatx="float32"):
    """Hold the process's only training slot, with Keras's float type, dtype policy and image data
    format fixed; the caller's settings come back at the end.

    Backends and Keras keep global state, so trainings in two threads would mix their numbers.

    Raises:
        ValueError: this process was forked from one whose backend had started: it would hang.
    """
    global _started_in
    if _started_in not in (None, os.getpid()):
        raise ValueError(
            "An executor's processes must be spawned. Received: a process forked after the "
            "backend had started, where training hangs. Pass "
            'mp_context=multiprocessing.get_context("spawn") to ProcessPoolExecutor.'
        )
    _started_in = os.getpid()
    with _lock:
        kept = keras.config.floatx(), keras.config.dtype_policy()
        layout, epsilon = keras.config.image_data_format(), keras.config.epsilon()
        _set(floatx, floatx, "channels_last", 1e-7)
        try:
            yield
        finally:
            _set(*kept, layout, epsilon)


def _set(floatx, policy, layout, epsilon):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)
    keras.config.set_epsilon(epsilon)
