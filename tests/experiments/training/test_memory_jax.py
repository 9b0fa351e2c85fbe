"""Memory that runs out in a group: its comparison begins again with a smaller one, said once."""

import contextlib
import dataclasses
import pickle
from concurrent import futures

import pytest

from langevin.experiments.training import loop as training
from langevin.experiments.training import runs
from langevin.experiments.training.runs import grid
from langevin.experiments.training.sweeps import sweep

BLOCK = {"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 1}


@pytest.fixture
def small_memory(monkeypatch, tmp_path):
    """Memory for two runs together; what is learned of it is kept in the test's folder."""
    monkeypatch.setattr(training, "root", lambda: tmp_path)
    fit = training.fit

    def limited(group, dataset, **named):
        if training.group_size(group[0], dataset) > 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return fit(group, dataset, **named)

    monkeypatch.setattr(training, "fit", limited)
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget():
    """As in a new process."""
    training.reduced.cache_clear()
    training._group_size.cache_clear()


class Process(futures.ThreadPoolExecutor):
    """Another process as far as a job can tell: it, its result and its error come pickled."""

    def submit(self, work, *given):
        return super().submit(self.work, pickle.dumps((work, given)))

    def work(self, job):
        work, given = pickle.loads(job)
        try:
            return pickle.loads(pickle.dumps(work(*given)))
        except Exception as error:
            raise pickle.loads(pickle.dumps(error)) from None


@pytest.mark.parametrize("kind", [contextlib.nullcontext, Process])
def test_a_comparison_begins_again_with_a_smaller_group_said_once(
    kind, tmp_path, small_memory, capsys
):
    planned = grid([{**BLOCK, "sigma": [0.0, 1e-3], "seeds": 2}])
    large = [runs.key_of(run) for run in planned]
    with kind(1) as pool:
        frame = sweep(planned, tmp_path, pool if kind is Process else None)
    said = capsys.readouterr().out
    assert [said.count(f"begins again in groups of {size}.") for size in (4, 2, 1)] == [1, 1, 0]
    assert set(frame.group_size) == {2} and frame.key.nunique() == 4
    assert not set(frame.key) & set(large)
    # Another program is not concerned.
    other = dataclasses.replace(planned[0], depth=3)
    assert runs.group_size(other.program()) == 8
    # A later process knows, so it finds what is stored and runs out of memory no more.
    _forget()
    assert len(sweep(planned, tmp_path)) == len(frame)
    assert "none to train" in capsys.readouterr().out
