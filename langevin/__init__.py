"""Langevin optimizers for Keras 3, and the experiments of arXiv 2212.14718."""

from langevin.base import Langevin
from langevin.optimizers import LSGD, LAdadelta, LAdam, LRMSprop
from langevin.schedules import LogSchedule

__all__ = ["LAdadelta", "LAdam", "LRMSprop", "LSGD", "Langevin", "LogSchedule"]
__version__ = "0.1.0"
