"""A sweep on a Dask cluster of two worker processes, one of which is killed."""

import os
import signal
import threading
import time

import pytest
import soak

from langevin.experiments.helmholtz.learning import Learning, learn
from langevin.experiments.training import sweeps
from langevin.experiments.training.runs import grid, key_of
from langevin.experiments.training.store import Store
from langevin.experiments.training.sweeps import sweep

distributed = pytest.importorskip("distributed")
PLANNED = grid([{
    "dataset": "digits", "batch_size": 64, "depth": [2, 3], "epochs": 10, "sigma": 1e-3, "seeds": 2,
}])  # fmt: skip


def test_a_worker_that_is_killed_while_it_trains_is_made_up_for(tmp_path, monkeypatch):
    store = Store(tmp_path / "cluster")

    def begun():
        log = store.folder / "begun.log"
        return log.read_text().split() if log.exists() else []

    def under_way():
        return {path.name for path in (store.folder / "locks").glob("*")} & set(begun())

    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            pids = list(client.run(os.getpid).values())
            client.register_worker_callbacks(soak.tell)  # notes what is begun
        assert len(set(pids)) == 2 and os.getpid() not in pids

        def kill():
            while len(under_way()) < 2:  # both train
                time.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(time.time())

        killed = []
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        monkeypatch.setenv("LANGEVIN_CLUSTER", cluster.scheduler_address)
        found = sweep(PLANNED, store)
        thread.join(10)
    monkeypatch.delenv("LANGEVIN_CLUSTER")
    times = ["seconds", "compile_seconds"]
    alone = sweep(PLANNED, tmp_path / "alone")
    assert found.drop(columns=times).equals(alone.drop(columns=times))
    files = {path: path.stat().st_mtime for path in store.folder.glob("*.json")}
    assert killed and len(files) == len(PLANNED) and max(files.values()) > killed[0]
    assert not list((store.folder / "locks").iterdir())
    assert set(begun()) == set(map(key_of, PLANNED))
    assert len(begun()) == len(PLANNED) + 1  # again what the killed one trained, and nothing else


class Late:
    """An executor of another make: its jobs have `done` and `result`, and are no Python futures."""

    def submit(self, work, *given):
        self.given, self.asked = (work, given), 0
        return self

    def done(self):
        self.asked += 1
        return self.asked > 1

    def result(self):
        work, given = self.given
        return work(*given)


def test_any_executor_with_submit_will_do(tmp_path):
    assert len(sweep(PLANNED[:1], tmp_path, executor=Late())) == PLANNED[0].epochs + 1
    machine = Learning(dataset="digits", depth=1, units=8, epochs=2, train_size=200, batch_size=50)
    assert len(learn([machine], Store(tmp_path), executor=Late())) == machine.epochs + 1


def test_a_process_with_other_code_data_or_backend_is_refused(tmp_path):
    job = {"another key": PLANNED[0]}
    with pytest.raises(ValueError, match="backend, the data and the code of this one"):
        sweeps._train_for_other(job, Store(tmp_path), False, {})
