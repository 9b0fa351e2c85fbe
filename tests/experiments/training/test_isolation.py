"""A run's numbers follow from its settings, whatever else the process and its user do."""

import json
import multiprocessing
import os
from concurrent import futures

import keras
import numpy as np
import pytest

from langevin.experiments.data import datasets
from langevin.experiments.training import isolation
from langevin.experiments.training.runs import Run, data_facts, grid, key_of, train
from langevin.experiments.training.store import Store, root
from langevin.experiments.training.sweeps import sweep

RUN = Run(dataset="digits", batch_size=64, depth=2, epochs=1, sigma=1e-3)


def losses(frame):
    return frame[["key", "epoch", "loss", "val_loss"]]


def test_threads_of_one_process_train_the_same_numbers_as_one_thread(tmp_path):
    planned = grid([{"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 2, "seeds": 8}])
    with futures.ThreadPoolExecutor(2) as pool:
        threads = sweep(planned, tmp_path / "threads", executor=pool)
    assert losses(threads).equals(losses(sweep(planned, tmp_path / "alone")))


def test_keras_settings_of_the_user_change_no_number_and_come_back():
    expected = losses(train(RUN))
    kept = keras.config.floatx(), keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_floatx("float16")
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        assert losses(train(RUN)).equals(expected)
        assert keras.config.floatx() == "float16"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_floatx(kept[0])
        keras.config.set_dtype_policy(kept[1])
        keras.config.set_image_data_format(kept[2])


def test_an_executor_that_forks_is_refused(tmp_path, monkeypatch):
    context = multiprocessing.get_context("fork")
    with futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        with pytest.raises(ValueError, match="must be spawned.*ProcessPoolExecutor that forks"):
            sweep([RUN], tmp_path, executor=pool)
    monkeypatch.setattr(isolation, "_started_in", os.getpid() + 1)
    with pytest.raises(ValueError, match="must be spawned.*forked"):
        train(RUN)


def write(path, seed):
    x = np.random.default_rng(seed).integers(0, 256, (60, 6, 6), "uint8")
    np.savez(path, x_train=x, y_train=np.arange(60) % 3, x_test=x, y_test=np.arange(60) % 3)


def test_spellings_of_one_data_file_have_one_key_and_new_bytes_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write("mine.npz", 0)
    runs = [Run(dataset=name) for name in ("mine.npz", "./mine.npz", "~/mine.npz")]
    assert len(set(runs)) == len(set(map(key_of, runs))) == 1
    before = key_of(runs[0])
    write("mine.npz", 1)
    assert key_of(runs[0]) != before


def test_a_relative_data_folder_stays_the_same_in_another_folder(tmp_path, monkeypatch):
    write(tmp_path / "mnist.npz", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANGEVIN_DATA", ".")
    expected = data_facts("mnist")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    assert data_facts("mnist") == expected and datasets.data_folder() == tmp_path


def test_the_store_expands_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/my-runs").folder == tmp_path / "my-runs"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="recorded with TensorFlow")
def test_recorded_runs_are_found_under_their_keys(monkeypatch):
    paths = sorted((root() / "figures" / "paper" / "runs").glob("*/*.json"))
    recorded = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    on = [record for record in recorded if "run" in record and record["device"] == "cpu"]
    facts = {record["run"]["dataset"]: record["data_hash"] for record in on
             if record["run"].get("train_size") is None
             and not record["run"].get("validation")}  # fmt: skip
    monkeypatch.setattr(
        "langevin.experiments.training.runs.data_facts", lambda name: (facts.get(name), name)
    )
    on = [record for record in on if record["run"]["dataset"] in facts]
    assert on and [r["key"] for r in on if key_of(Run(**r["run"])) != r["key"]] == []
