"""Probed runs: nothing of the training changes, and what is told follows from the numbers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from langevin import runs, training
from langevin.remedies import landscape, probes

RUN = runs.Run(dataset="digits", batch_size=64, depth=3, epochs=2, sigma=1e-3, probe=True)


def test_a_probed_run_is_the_same_run_with_more_columns():
    probed, plain = (
        runs.train(dataclasses.replace(RUN, probe=probe)).drop(columns=["probe", "key"])
        for probe in (True, False)
    )
    assert set(probed) - set(plain) == set(probes.NAMES)
    same = [name for name in plain if "seconds" not in name]
    pd.testing.assert_frame_equal(probed[same], plain[same])
    assert (probed.gradient_variance.map(len) == 4).all() and (probed.sharpness > 0).all()


def test_each_run_of_a_program_is_probed_at_its_own_weights():
    """TensorFlow trains them one after the other in one program, JAX together."""
    group = [dataclasses.replace(RUN, seed=seed, epochs=1) for seed in (0, 1)]
    dataset = runs.dataset_of(RUN)
    alone = [training.fit([run], dataset)[0] for run in group]
    assert alone[0][-1]["output_variance"] != alone[1][-1]["output_variance"]
    if training.group_size(RUN, dataset) > 1:
        for one, other in zip(alone, training.fit(group, dataset), strict=True):
            for name in probes.NAMES:
                assert one[-1][name] == other[-1][name]


def test_probes_of_the_start_are_those_of_the_fresh_model():
    dataset = runs.dataset_of(RUN)
    model = runs.models.fresh(RUN, dataset)
    x = dataset.x_train[: probes.IMAGES].astype("float32") / 255
    expected = probes.Probe(model, x, dataset.y_train[: probes.IMAGES])()
    first = training.fit([dataclasses.replace(RUN, epochs=1)], dataset)[0][0]
    for name in probes.NAMES:
        np.testing.assert_allclose(first[name], expected[name], rtol=2e-3)


def test_a_run_that_diverges_is_probed_and_ends():
    wild = dataclasses.replace(RUN, learning_rate=1e30, optimizer="sgd", epochs=3)
    rows = training.fit([wild], runs.dataset_of(RUN))[0]
    assert rows[-1]["diverged"] and len(rows) < 4
    assert len(rows[-1]["output_variance"]) == 4


def test_the_gradients_ratio_is_told_for_each_arm_and_epoch():
    rows = [
        {"depth": 3, "initializer": "glorot_uniform", "optimizer": "adam", "sigma": sigma,
         "langevin_layers": "all", "noise_cap": None, "noise_start": 0.0, "noise_stop": 1.0,
         "epoch": epoch, "gradient_variance": (9.0, 4.0 ** (epoch - 2), 1e-9, 7.0)}
        for sigma in (0.0, 1e-3) for epoch in (0, 1)
    ]  # fmt: skip
    text = landscape.told(pd.DataFrame(rows), [0, 1])
    assert text.count("0.25 before training, 0.5 after epoch 1") == 2
    assert "depth 3, Glorot" in text and "Langevin Adam" in text


def test_what_is_left_in_the_end_has_a_row_a_setting_and_arm():
    rows = [
        {"depth": depth, "initializer": "glorot_uniform", "optimizer": "adam", "sigma": sigma,
         "langevin_layers": "all", "noise_cap": None, "noise_start": 0.0, "noise_stop": 1.0,
         "epoch": epoch, "sharpness": epoch * depth + 100 * (sigma > 0),
         "log_weight_volume": [9.0, -1.0, -3.0, 9.0], "neuron_correlation": [9.0, 0.1, 0.3, 9.0]}
        for depth in (3, 20) for sigma in (0.0, 1e-3) for epoch in (0, 1)
    ]  # fmt: skip
    head, _, *lines = landscape.told_along(pd.DataFrame(rows)).splitlines()
    assert head == "| after epoch 1 | sharpness | log weight volume | correlation |"
    assert [line.split(" | ")[1:] for line in lines] == [
        [sharpness, "-2", "0.2 |"] for sharpness in ("3", "103", "20", "120")
    ]


@pytest.mark.parametrize("name", ["volume", "correlation"])
def test_a_number_of_the_kernels_leaves_out_the_first_and_the_last(name):
    column = {"volume": "log_weight_volume", "correlation": "neuron_correlation"}[name]
    frame = pd.DataFrame({column: [(100.0, 1.0, 3.0, 100.0)]})
    assert landscape._of_a_run(frame, name).tolist() == [2.0]
