"""Nothing finished is lost, nothing half-done is taken for whole; more of it in `make soak`."""

import contextlib
import dataclasses
import errno
import json
import multiprocessing
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent import futures

import matplotlib.image
import nbformat
import numpy as np
import pytest
import soak
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.experiments.studies import profiles, verify
from langevin.experiments.training import executors, runs, store, sweeps
from langevin.experiments.training import loop as training
from langevin.experiments.training.runs import grid
from langevin.experiments.training.store import Store, alone, root, whole
from langevin.experiments.training.sweeps import sweep

BLOCK = {"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 2, "sigma": [0.0, 1e-3]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four small runs, their store and their frame."""
    planned = grid([{**BLOCK, "seeds": 2}])
    kept = Store(tmp_path_factory.mktemp("store"))
    return planned, kept, sweep(planned, kept)


@pytest.fixture
def copy(trained, tmp_path):
    """A store with the same runs, to be damaged; and the path of the first of them."""
    planned, kept, _ = trained
    for path in kept.folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return Store(tmp_path), tmp_path / f"{runs.key_of(planned[0])}.json"


def without_times(frame):
    return frame.drop(columns=["seconds", "compile_seconds"])


# a stored run that is not what it was


@settings(max_examples=200)
@given(data=st.data())
def test_a_record_that_was_cut_or_altered_is_set_aside_and_named(trained, tmp_path_factory, data):
    planned, kept, _ = trained
    key = runs.key_of(planned[0])
    content = bytearray((kept.folder / f"{key}.json").read_bytes())
    place = data.draw(st.integers(0, len(content) - 4))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    damaged = Store(tmp_path_factory.mktemp("damaged"))
    path = damaged.folder / f"{key}.json"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")  # what other tests left open, say
        warnings.simplefilter("always", UserWarning)
        record = damaged.load(key)
    if record is None:
        assert str(path) in str(said[0].message) and "not trained" in str(said[0].message)
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
        assert damaged.find(key) is None
    else:  # white space became other white space
        assert record == kept.load(key)


def test_what_is_damaged_is_trained_again_and_kept_each_time(trained, copy):
    planned, _, frame = trained
    damaged, path = copy
    other = damaged.folder / f"{runs.key_of(planned[1])}.json"
    for content in (b"", path.read_bytes()[:-20], other.read_bytes()):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=f"{path.name}.*kept as {path.name}.damaged"):
            again = sweep(planned, damaged)
        assert without_times(again).equals(without_times(frame))
    assert len(list(damaged.folder.glob("*.damaged*"))) == 3


def test_a_record_without_a_hash_is_set_aside(trained, copy):
    planned, _, frame = trained
    older, path = copy
    record = json.loads(path.read_text())
    del record["hash"]
    path.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match="does not fit its hash.*not trained"):
        assert without_times(sweep(planned, older)).equals(without_times(frame))


def test_runs_of_an_older_schema_are_set_aside_and_trained_again(trained, copy, monkeypatch):
    planned, _, frame = trained
    older, path = copy
    monkeypatch.setattr(runs, "SCHEMA", runs.SCHEMA + 1)
    with pytest.warns(UserWarning, match=f"{path.name} is from an older schema.*not trained"):
        again = sweep(planned, older)
    assert not set(again.key) & set(frame.key)
    assert without_times(again.drop(columns="key")).equals(without_times(frame.drop(columns="key")))
    assert path.with_name(f"{path.name}.damaged").exists()


def test_many_who_find_the_same_damaged_record_set_it_aside_once(copy):
    """And none takes away the good one that another has written since."""
    damaged, path = copy
    content = path.read_bytes()
    for number in range(20):
        path.write_bytes(content[:-20])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with futures.ThreadPoolExecutor(8) as pool:
                found = list(pool.map(damaged.load, [path.stem] * 16))
        assert found == [None] * 16 and not path.exists()
        assert len(list(damaged.folder.glob("*.damaged*"))) == number + 1
    path.write_bytes(content)
    store.set_aside(path, "was cut", "as another read it", content[:-20])
    assert damaged.load(path.stem)["key"] == path.stem


def test_recorded_runs_are_whole():
    recorded = root() / "figures" / "paper" / "runs"
    paths = sorted(recorded.glob("*/*.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in paths[:: len(paths) // 100 + 1]:
            record = json.loads(path.read_text())
            store._check(record, path.stem)


# what cannot be written


def fails_with(number):
    def fail(*_, **__):
        raise OSError(number, "no")

    return fail


@pytest.mark.parametrize("method", ["write_text", "replace", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path, monkeypatch, number, method):
    monkeypatch.setattr(f"pathlib.Path.{method}", fails_with(number))
    with pytest.raises(OSError, match="finished is kept.*goes on.*abc.json") as caught:
        Store(tmp_path).save({"key": "abc", "history": {"loss": [1.0]}})
    assert caught.value.errno == number
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_a_file_that_grows_too_large_is_named_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OSError, match="large.npz") as caught:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with whole(tmp_path / "large.npz") as part, part.open("wb") as file:
                np.savez(file, np.ones(10**5))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and not list(tmp_path.iterdir())


def test_a_full_disk_ends_a_sweep_which_then_goes_on(trained, tmp_path, monkeypatch):
    planned, _, frame = trained
    monkeypatch.setattr("pathlib.Path.write_text", fails_with(errno.ENOSPC))
    with pytest.raises(OSError, match="finished is kept"):
        sweep(planned, tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.json"))
    assert without_times(sweep(planned, tmp_path)).equals(without_times(frame))


def test_what_was_trained_and_could_not_be_kept_is_not_trained_again(
    trained, tmp_path, monkeypatch
):
    planned, _, frame = trained
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)  # after every epoch
    with monkeypatch.context() as full:
        full.setattr(Store, "save", fails_with(errno.ENOSPC))
        with pytest.raises(OSError):
            sweep(planned[:1], tmp_path)
    epochs, order = [], training.order
    monkeypatch.setattr(training, "order", lambda *given: epochs.append(given) or order(*given))
    again = sweep(planned[:1], tmp_path)
    assert not epochs and not list((tmp_path / "checkpoints").iterdir())
    assert without_times(again).equals(without_times(frame[frame.key == again.key[0]]))


@pytest.mark.parametrize("harm", ["cut", "altered", "exchanged", "pickled"])
def test_a_damaged_checkpoint_is_set_aside_and_training_begins_again(trained, tmp_path, harm):
    planned, _, _ = trained
    run, path = planned[0], tmp_path / "run.npz"
    data = runs.dataset_of(run)
    program = training._program(run.program(), data, 1)
    program.start([run])
    training._save(program, [[{"epoch": 0, "diverged": False}]], path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    altered = {"cut": content[:-100], "altered": content, "exchanged": path.read_bytes()}
    path = path.with_name("other.npz") if harm == "exchanged" else path
    if harm == "pickled":
        np.savez(path, name=path.name, histories=np.array([{}]), state_0=np.array([{}]))
    else:
        path.write_bytes(altered[harm])
    with pytest.warns(UserWarning, match=f"{path.name} is no checkpoint.*begins again"):
        assert training._restore(program, [run], path) == []
    assert path.with_name(f"{path.name}.damaged").exists()


# kills from outside, and two at once


def test_a_sweep_that_was_killed_goes_on_and_ends_as_if_it_never_was(tmp_path):
    calm, campaign = (
        soak.Campaign(tmp_path / "calm", 2),
        soak.Campaign(tmp_path / "killed", 2, workers=2),
    )
    sweep(grid([{**soak.BLOCK, "seeds": 2}]), calm.folder)
    dice = random.Random(1)
    assert campaign.killed("training", "SIGKILL", dice)
    assert campaign.killed("writing", "SIGINT", dice)
    assert campaign.completed(), campaign.said
    assert campaign.results() == calm.results() and len(calm.results()) == 4


def test_a_worker_that_is_killed_ends_the_sweep_which_then_goes_on(trained, tmp_path):
    planned, _, frame = trained

    def kill():
        while not list((tmp_path / "locks").glob("*")):
            time.sleep(0.01)
        multiprocessing.active_children()[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(ChildProcessError, match="What is finished is kept: the same command"):
        with executors.workers(1) as pool:
            sweep(planned, tmp_path, executor=pool)
    assert not list(tmp_path.glob("*.json"))
    assert without_times(sweep(planned, tmp_path)).equals(without_times(frame))
    assert not list((tmp_path / "locks").iterdir())


def test_two_make_figures_at_once_train_no_run_twice_and_break_no_file(tmp_path):
    """And a sweep beside them: of the two notebooks one waits for the other."""
    campaign = soak.Campaign(tmp_path, 3)
    three = [campaign.start(papermill) for papermill in (True, True, False)]
    said = [process.communicate()[0] for process in three]
    assert [process.returncode for process in three] == [0, 0, 0], said
    assert sorted(campaign.begun()) == sorted(campaign.finished()) and len(campaign.begun()) == 6
    assert not list((campaign.folder / "locks").iterdir())
    [executed] = (campaign.project / "build" / "smoke").glob("*")  # no lock, no part, none failed
    nbformat.validate(nbformat.read(executed, 4))
    figures = campaign.project / "figures" / "smoke"
    assert {path.name for path in figures.iterdir()} == {"one.png", "one.pdf", "one.csv"}
    assert matplotlib.image.imread(figures / "one.png").std() > 0


HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(1000)
"""


@contextlib.contextmanager
def holder(path):
    """Another process that holds a lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_what_another_process_trains_is_left_to_it_until_it_is_gone(trained, tmp_path):
    planned, _, frame = trained
    mine = Store(tmp_path)
    (tmp_path / "locks").mkdir()
    with holder(tmp_path / "locks" / runs.key_of(planned[0])) as other:
        assert sweeps._train_unit(planned[:2], mine, wait=False) == planned[:1]
        threading.Timer(0.5, other.kill).start()
        assert sweeps._train_unit(planned[:2], mine, wait=True) == []
    assert without_times(sweep(planned, mine)).equals(without_times(frame))


def test_the_lock_of_a_gpu_is_released_when_its_holder_dies(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(executors, "device", lambda: "some GPU")
    with executors.one_gpu_at_a_time():
        [path] = tmp_path.iterdir()
        with alone(path, wait=False) as free:
            assert not free
    with holder(path) as other:
        with alone(path, wait=False) as free:
            assert not free
        other.kill()
        with executors.one_gpu_at_a_time():
            assert path.exists()
    assert not path.exists()


def test_a_lock_that_its_holder_removed_meanwhile_is_taken_anew(tmp_path):
    """Who waited for the file that is gone must not hold beside who made the next."""
    inside, most = [], []

    def work():
        for _ in range(50):
            with alone(tmp_path / "lock"):
                inside.append(1)
                time.sleep(0.001)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert max(most) == 1 and len(most) == 200


# what diverges


def test_a_run_that_diverges_is_kept_marked_and_the_sweep_goes_on(trained, tmp_path, monkeypatch):
    planned, _, frame = trained
    wild = dataclasses.replace(planned[0], optimizer="sgd", learning_rate=1e30)
    both = sweep([wild, planned[0]], tmp_path)
    kept, calm = (both[both.key == runs.key_of(run)] for run in (wild, planned[0]))
    assert list(kept.diverged) == [False] * (len(kept) - 1) + [True]
    assert not np.isfinite(kept.loss.iloc[-1])
    assert (
        without_times(calm)
        .reset_index(drop=True)
        .equals(without_times(frame[frame.key == calm.key.iloc[0]]).reset_index(drop=True))
    )
    monkeypatch.setattr(training, "fit", None)  # nothing is trained again
    assert sweep([wild, planned[0]], tmp_path).equals(both)


# memory


def test_a_single_run_that_memory_does_not_suffice_for_is_named(trained, tmp_path, monkeypatch):
    planned, _, _ = trained
    monkeypatch.setattr(training, "fit", lambda *_, **__: np.empty((10**9, 10**9)))
    with pytest.raises(MemoryError, match="single run of dense-2, batch 64.*batch_size"):
        sweep(planned, tmp_path)


# what was recorded, trained again


def test_verify_tells_what_agrees_from_what_does_not(trained, monkeypatch, tmp_path, capsys):
    kept = Store(tmp_path / "figures" / "paper" / "runs" / "one")
    shutil.copytree(trained[1].folder, kept.folder)
    machine = {"dataset": "digits", "side": 4, "units": 3, "depth": 1, "epochs": 1}
    plan = {"one": {"runs": [{**BLOCK, "seeds": 2}], "learnings": [machine]}}
    monkeypatch.setattr(verify, "_plan", lambda _: plan)
    monkeypatch.setattr(profiles, "store", lambda *_: kept)
    monkeypatch.setattr(profiles, "root", lambda: tmp_path)
    monkeypatch.setenv("LANGEVIN_WORKERS", "1")
    assert verify.verify("smoke")  # trains the learning, the runs are there
    assert capsys.readouterr().out.count("equal to the bit") == 5
    path = kept.find(runs.key_of(trained[0][0]))
    record = kept.load(path.stem)
    record["history"]["val_accuracy"][-1] += 0.5
    kept.save(record)
    assert not verify.verify("smoke")
    said = capsys.readouterr().out
    assert said.count("DIFFERS") == 1 and "4 of 5 runs agree" in said
    verify.record_first_steps(5)
    assert verify.verify("paper", 5)  # one by its first steps, and inside the widened range
    assert "losses after 20 steps in double precision 0.0e+00 apart" in capsys.readouterr().out
    table = verify.first_steps()
    table.loc[path.stem, "loss"] += 1e-3
    table.to_csv(verify._path())
    assert not verify.verify("paper", 5)
