"""Langevin optimizers for Keras 3, and the experiments of arXiv 2212.14718."""

import contextlib
import os


@contextlib.contextmanager
def _quiet():
    # TensorFlow 2.21 says its lines on oneDNN at every import, whatever it was asked for.
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


with _quiet() if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "3" else contextlib.nullcontext():
    import keras  # noqa: F401  its backend comes with it

from langevin.optimizers import LSGD, LAdadelta, LAdam, Langevin, LRMSprop  # noqa: E402
from langevin.runs import Run, grid, train  # noqa: E402
from langevin.schedules import LogSchedule  # noqa: E402
from langevin.store import Store  # noqa: E402
from langevin.sweeps import sweep  # noqa: E402

__all__ = [
    "LAdadelta",
    "LAdam",
    "LRMSprop",
    "LSGD",
    "Langevin",
    "LogSchedule",
    "Run",
    "Store",
    "grid",
    "sweep",
    "train",
]
__version__ = "0.1.0"
