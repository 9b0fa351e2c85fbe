"""Langevin optimizers for Keras 3, and the experiments of arXiv 2212.14718."""

from langevin.optimizers import LSGD, LAdadelta, LAdam, Langevin, LRMSprop
from langevin.runs import Run, grid, train
from langevin.schedules import LogSchedule
from langevin.store import Store
from langevin.sweeps import sweep

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
