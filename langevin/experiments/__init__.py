"""The paper's experiments: runs, their training, their results and their figures."""

from langevin.experiments.training.runs import Run, grid, train
from langevin.experiments.training.store import Store
from langevin.experiments.training.sweeps import sweep

__all__ = ["Run", "Store", "grid", "sweep", "train"]
