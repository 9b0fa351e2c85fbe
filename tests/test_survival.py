"""Nothing finished is lost, nothing half-done is taken for whole, whatever comes in between."""

import dataclasses

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent import futures

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin import runs, sweeps, training
from langevin.runs import Run, grid
from langevin.store import Store, alone, root, whole
from langevin.sweeps import sweep

SMALL = {"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 2}
RUN = Run(**SMALL, sigma=1e-3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two small runs, their store and their frame."""
    planned = grid([{**SMALL, "sigma": [0.0, 1e-3]}])
    store = Store(tmp_path_factory.mktemp("store"))
    return planned, store, sweep(planned, store)


def without_times(frame):
    return frame.drop(columns=["seconds", "compile_seconds"])


# a stored run that is not what it was


@settings(max_examples=200)
@given(data=st.data())
def test_a_record_that_was_cut_or_altered_is_set_aside_whole_and_named(trained, tmp_path_factory, data):
    planned, store, _ = trained
    key = runs.key_of(planned[0])
    content = bytearray((store.folder / f"{key}.json").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 3))]
    else:
        place = data.draw(st.integers(0, len(content) - 3))
        content[place] ^= data.draw(st.integers(1, 255))
    damaged = Store(tmp_path_factory.mktemp("damaged"))
    path = damaged.folder / f"{key}.json"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        record = damaged.load(key)
    if record is None:
        assert str(path) in str(said[0].message) and "not trained" in str(said[0].message)
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
        assert damaged.find(key) is None
    else:  # a space became another, say
        assert record == store.load(key)
