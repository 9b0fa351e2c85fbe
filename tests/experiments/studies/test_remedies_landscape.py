"""Probed runs: nothing of the training changes, and what is told follows from the numbers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from langevin.experiments.networks.remedies import probes
from langevin.experiments.studies import landscape
from langevin.experiments.training import loop as training
from langevin.experiments.training import runs

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
    wild = dataclasses.replace(RUN, learning_rate=1e38, optimizer="sgd", epochs=3)
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


def probed(seeds, gain):
    """Rows of probed runs; noise doubles the gradient, and adds 100 `gain` to the sharpness and
    `gain` to the log volume, and to it a seed's own share that the pairs are free of."""
    return pd.DataFrame([
        {"depth": depth, "initializer": "glorot_uniform", "optimizer": "adam", "sigma": sigma,
         "langevin_layers": "all", "noise_cap": None, "noise_start": 0.0, "noise_stop": 1.0,
         "epoch": epoch, "seed": seed, "sharpness": epoch * depth + 100 * gain * (sigma > 0),
         "gradient_variance": [4.0 + 12.0 * (sigma > 0)] * 2 + [1e9],
         "log_weight_volume": [9.0, -1.0 + seed, -3.0 + seed + 2 * gain * (sigma > 0), 9.0],
         "neuron_correlation": [9.0, 0.1, 0.3, 9.0]}
        for depth in (3, 20) for sigma in (0.0, 1e-3) for epoch in (0, 1) for seed in range(seeds)
    ])  # fmt: skip


def test_what_noise_changes_is_told_by_pairs_of_one_seed():
    head, _, *lines = landscape.told_along(probed(7, gain=1.0)).splitlines()
    assert head.startswith("| after epoch 1 | a hidden layer's gradient (sd) | sharpness | ")
    shallow, deep = (line.strip("| ").split(" | ") for line in lines)
    assert [line[0].split(",")[0] for line in (shallow, deep)] == ["depth 3", "depth 20"]
    assert shallow[1:] == [
        "2 → 4 (×2, ×2 to ×2)", "3 → 1e+02 (×34, ×34 to ×34)", "1 → 2 (+1, +1 to +1)",
        "0.2 → 0.2 (+0, +0 to +0)",
    ]  # fmt: skip
    said = landscape.answer(probed(7, gain=1.0))
    assert "After epoch 1 of 20 layers" in said and "Glorot initialization: " in said
    assert "sharpness ×6, ×6 to ×6; log weight volume +1, +1 to +1;" in said


def test_few_pairs_have_no_interval_and_a_number_that_is_none_no_pair():
    rows = probed(5, gain=-1.0)
    rows.loc[rows.seed == 0, "neuron_correlation"] = pd.Series(
        [[np.nan] * 4] * len(rows), index=rows.index
    )
    found = landscape.changes(rows).set_index(["depth", "number"])
    assert found.loc[(3, "correlation"), "pairs"] == 4
    assert found.loc[(3, "sharpness"), "pairs"] == 0  # no ratio of what is negative
    assert "log weight volume -1, 5 pairs" in landscape.answer(rows)


def test_an_arm_alone_changes_nothing():
    rows = probed(2, gain=1.0)
    assert landscape.changes(rows[rows.sigma == 0]).empty


@pytest.mark.parametrize("name", ["volume", "correlation"])
def test_a_number_of_the_kernels_leaves_out_the_first_and_the_last(name):
    column = {"volume": "log_weight_volume", "correlation": "neuron_correlation"}[name]
    frame = pd.DataFrame({column: [(100.0, 1.0, 3.0, 100.0)]})
    assert landscape._of_a_run(frame, name).tolist() == [2.0]
