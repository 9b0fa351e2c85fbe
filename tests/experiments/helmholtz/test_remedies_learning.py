"""Learnings of Helmholtz machines: their settings, that they learn, and that each is kept once."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers import ANYTHING, number, or_none, positive, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.experiments import Store, grid
from langevin.experiments.data import datasets
from langevin.experiments.helmholtz import learning, likelihood
from langevin.experiments.helmholtz.learning import Learning

SMALL = Learning(dataset="digits", depth=1, units=8, epochs=2, train_size=200, batch_size=50)
BLOCK = {name: value for name, value in dataclasses.asdict(SMALL).items() if name != "seed"}


VALID = {
    "rule": lambda v: v in ("wake-sleep", "natural"),
    "sigma": lambda v: number(v, 0),
    "depth": whole,
    "units": whole,
    "dataset": lambda v: v == "digits",
    "side": whole,
    "train_size": or_none(whole),
    "samples": whole,
    "learning_rate": positive,
    "batch_size": whole,
    "epochs": whole,
    "seed": lambda v: whole(v, 0, 2**31 - 1),
}
NEAR = st.sampled_from(["natural", "digits", 0, 1, 0.3, -1, None, True, "1e-3", 2**31, 1e400])


@pytest.mark.parametrize("name", VALID)
@settings(max_examples=200)
@given(value=NEAR | ANYTHING)
def test_a_setting_is_taken_if_valid_and_else_named_with_what_came(name, value):
    if VALID[name](value):
        assert getattr(Learning(**{name: value}), name) == value
    else:
        with pytest.raises(ValueError, match=f"(?s)`{name}` must be .*Received: "):
            Learning(**{name: value})


def test_every_setting_has_its_restatement():
    assert set(VALID) == {field.name for field in dataclasses.fields(Learning)}


def test_images_are_averaged_down_and_binarized():
    images, tested, data = learning.images_of("digits", 4)
    assert images.shape == (len(data.x_train), 16) and tested.shape == (len(data.x_test), 16)
    assert set(np.unique(images)) == {0.0, 1.0}
    corner = data.x_train[7, 2:4, 4:6, 0].astype(float).mean()
    assert images[7, 1 * 4 + 2] == (corner > 127.5)
    whole_size = learning.images_of("digits", 14)[0]  # too small to be averaged
    assert whole_size.shape[1] == 64


@pytest.mark.parametrize("rule, sigma", [("wake-sleep", 0), ("natural", 0), ("reweighted", 1e-3)])
def test_learning_raises_the_likelihood_of_images_not_learned(rule, sigma):
    """By far more than the score's own error, some 1 nat."""
    rows = learning.train(
        dataclasses.replace(SMALL, rule=rule, sigma=sigma, learning_rate=0.03, epochs=4)
    )
    for name in ("log_likelihood", "val_log_likelihood"):
        assert rows[0][name] < -30 and rows[-1][name] > rows[0][name] + 5


def test_equal_settings_give_equal_numbers_and_another_seed_others():
    one, again, other = (
        [row["log_likelihood"] for row in learning.train(dataclasses.replace(SMALL, seed=seed))]
        for seed in (0, 0, 1)
    )
    assert one == again and set(one).isdisjoint(other)


def test_each_learning_is_trained_once_and_kept(tmp_path, monkeypatch, capsys):
    planned = grid([{**BLOCK, "rule": ["wake-sleep", "reweighted"], "seeds": 2}], Learning)
    assert len(planned) == 4
    frame = learning.learn(planned, Store(tmp_path))
    assert frame.groupby("key").epoch.max().tolist() == [2] * 4
    assert set(frame.arm) == {"wake-sleep", "reweighted"}
    assert ((frame.compile_seconds > 0) == (frame.epoch == 0)).all()

    monkeypatch.setattr(learning, "train", lambda _: pytest.fail("trained twice"))
    again = learning.learn(planned, Store(tmp_path), train=False)
    pd.testing.assert_frame_equal(frame, again)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("4 learnings on scikit-learn's digits: 0 stored, 4 to train. Backend ")
    assert "group size 1, 1 process. Estimate: none, nothing like it was timed" in first
    assert "4 stored, none missing." in second and "Estimate" not in second
    with pytest.raises(ValueError, match="nothing to show"):
        learning.learn([dataclasses.replace(SMALL, units=9)], Store(tmp_path), train=False)


def test_the_estimate_is_what_like_learnings_took():
    slow = dataclasses.replace(SMALL, depth=2)
    history = {"seconds": [1.0, 2.0], "compile_seconds": [7.0, 0.0]}
    found = {
        dataclasses.replace(SMALL, seed=1): {"history": history},
        dataclasses.replace(SMALL, sigma=1e-3): {"history": history | {"seconds": [1.0, 4.0]}},
        slow: {"history": history | {"seconds": [3.0, 90.0]}},
    }
    missing = [dataclasses.replace(SMALL, seed=seed) for seed in (2, 3)]
    missing.append(dataclasses.replace(slow, learning_rate=0.1))
    assert learning.estimate(missing, found, 1) == 11 + 11 + 100
    assert learning.estimate(missing, found, 2) == 61
    longer = dataclasses.replace(SMALL, epochs=4, train_size=400)  # 4 times the steps
    assert learning.estimate([longer], found, 1) == 7 + 4 * 4
    assert learning.estimate([dataclasses.replace(SMALL, units=9)], found, 1) is None


def test_more_images_in_a_batch_than_there_are_is_refused():
    with pytest.raises(ValueError, match="`batch_size` must not exceed the 200 .*Received: 201"):
        learning.train(dataclasses.replace(SMALL, batch_size=201))


def scores(**arms):
    """A frame of finals: for each arm a score a seed."""
    rows = [
        {"arm": arm, "depth": 3, "seed": seed, "log_likelihood": score, "key": f"{arm}{seed}",
         "epoch": 5, "epochs": 5, "learning_rate": 1e-3, "sigma": 0.0, "val_log_likelihood": score}
        for arm, values in arms.items() for seed, score in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_gains_are_paired_by_seed():
    finals = scores(reweighted=[-90.0, -80.0], **{"wake-sleep": [-95.0, -79.0]})
    assert likelihood.gains(finals).gain.tolist() == [-5.0, 1.0]
    text = likelihood.told(finals)
    assert "wake-sleep -87.0 nats (-2.00, 1 of 2 better); reweighted -85.0 nats." in text
    many = scores(reweighted=[0.0] * 6, **{"wake-sleep": [-3.0, -2.0, -1.0, 1.0, 2.0, 4.0]})
    assert "(+0.00, -2.64 to +3.29, 3 of 6 better)" in likelihood.told(many)


def test_answer_says_at_which_depths_an_arm_is_better_and_where_it_is_not_told_apart():
    up = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    arms = {"reweighted": [0.0] * 6, "natural reweighted": up, "wake-sleep": [-x for x in up]}
    deeper = scores(**arms | {"natural reweighted": up[:3] + [-1.0] * 3}).assign(depth=5)
    said = likelihood.answer(pd.concat([scores(**arms), deeper]))
    assert (
        "wake-sleep is worse at 3, 5; natural reweighted is better at 3, not told apart at 5."
        in said
    )
    few = scores(reweighted=[0.0] * 5, **{"wake-sleep": up[:5]})
    assert "wake-sleep is not told apart at 3." in likelihood.answer(few)


def test_an_arm_recorded_at_some_depths_is_drawn_at_those():
    here = scores(reweighted=[-90.0, -80.0], **{"wake-sleep": [-95.0, -79.0]})
    deeper = scores(reweighted=[-88.0, -78.0]).assign(depth=5)
    about = {"dataset_label": "MNIST", "side": 8, "backend": "jax", "device": "cpu"}
    drawn = likelihood.figure(pd.concat([here, deeper]).assign(**about), "Does it?")
    lines = [line for line in drawn.axes[0].lines if line.get_linestyle() == "-"]
    assert {line.get_label(): len(line.get_xdata()) for line in lines} == {
        "wake-sleep": 1, "reweighted": 2,
    }  # fmt: skip


def test_the_learning_rate_is_chosen_on_images_that_are_neither_learned_nor_tested():
    slow = scores(reweighted=[-90.0, -90.0])
    fast = scores(reweighted=[-80.0, -80.0]).assign(learning_rate=1e-2, val_log_likelihood=-99.0)
    both = pd.concat([slow, fast], ignore_index=True)
    assert likelihood.at_best(both).log_likelihood.tolist() == [-90.0, -90.0]
    tried = both[both.seed == 0].assign(seed=likelihood.TRIED, val_log_likelihood=[-70.0, -60.0])
    both = pd.concat([both, tried], ignore_index=True)
    assert likelihood.at_best(both).log_likelihood.tolist() == [-80.0, -80.0]
    few = both.loc[both.val_log_likelihood != -60.0].assign(arm="natural reweighted")
    unfinished = likelihood.at_best(pd.concat([both, few]))  # not all of its rates are tried yet
    assert set(unfinished.arm) == {"reweighted"}
    both.loc[both.val_log_likelihood == -60.0, "val_log_likelihood"] = np.nan  # it diverged
    assert likelihood.at_best(both).log_likelihood.tolist() == [-90.0, -90.0]


def test_known_data_need_not_be_at_hand_to_find_what_is_recorded(monkeypatch):
    here = learning.key_of(dataclasses.replace(SMALL, dataset="mnist"))
    from langevin.experiments.training import runs

    def none(*_):
        raise datasets.DataUnavailable("no network")

    runs._data_facts.cache_clear()
    monkeypatch.setattr(runs, "data_of", none)
    assert learning.key_of(dataclasses.replace(SMALL, dataset="mnist")) == here
    runs._data_facts.cache_clear()
