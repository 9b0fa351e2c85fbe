"""The rule E1 to E4 on made-up finals; expected values are worked out by hand in the comments."""

import math

import numpy as np
import pandas as pd
import pytest

from langevin.experiments.results import analysis, epsilon
from langevin.experiments.results.analysis import DOES_NOT, HOLDS, NOT_DECIDED

ARMS = {  # epsilon, sigma, cap, remedy
    epsilon.BASELINE: (np.nan, 0.0, np.nan, None),
    epsilon.NOISE: (np.nan, 1e-3, np.nan, None),
    epsilon.SMALL: (1e-8, 0.0, np.nan, None),
    epsilon.TINY: (1e-12, 0.0, np.nan, None),
    epsilon.ATAN2: (np.nan, 0.0, np.nan, "adam-atan2"),
    "epsilon 1e-8, noise, P to 1e6": (1e-8, 1e-3, 1e6, None),
    "epsilon 1e-8, noise, P to 1e4": (1e-8, 1e-3, 1e4, None),
}


def runs_of(arm, accuracies, depth=40, optimizer="adam", initializer="glorot_uniform"):
    """Finals of one arm, a run an accuracy; None is a run that does not train."""
    value, sigma, cap, remedy = ARMS[arm]
    rows = []
    for seed, accuracy in enumerate(accuracies, 20):
        trains = accuracy is not None
        rows.append(
            {"key": f"{arm}-{depth}-{optimizer}-{initializer}-{seed}", "seed": seed, "depth": depth,
             "optimizer": optimizer, "initializer": initializer, "epsilon": value, "sigma": sigma,
             "langevin_layers": "all", "noise_cap": cap, "noise_start": 0.0, "noise_stop": 1.0,
             "noise_bias_correction": True, "remedy": remedy, "backend": "tensorflow",
             "device": "cpu", "data_hash": "a1", "dataset_label": "MNIST", "group_size": 1,
             "loss": 0.2 if trains else 2.3, "accuracy": accuracy if trains else 0.1,
             "val_loss": 0.2, "val_accuracy": accuracy if trains else 0.1, "diverged": False,
             "started": trains, "learned": trains}
        )  # fmt: skip
    return pd.DataFrame(rows)


def trains(count, accuracy=0.92, seeds=20):
    """The first `count` of the seeds train to this accuracy."""
    return [accuracy] * count + [None] * (seeds - count)


def finals_of(baseline=5, small=20, noise=17, **setting):
    """One setting, in which so many of 20 seeds train."""
    counts = {epsilon.BASELINE: baseline, epsilon.SMALL: small, epsilon.NOISE: noise}
    return pd.concat([runs_of(a, trains(n), **setting) for a, n in counts.items()])


def test_each_run_has_the_arm_that_its_settings_name():
    finals = pd.concat([runs_of(arm, [0.9]) for arm in ARMS], ignore_index=True)
    assert list(epsilon.with_arms(finals).arm) == list(ARMS)


@pytest.mark.parametrize(
    "changed",
    [{"remedy": "kick"}, {"langevin_layers": "biases"}, {"noise_cap": 100.0}, {"epsilon": 1e-9}],
)
def test_runs_that_the_rule_does_not_name_have_no_arm(changed):
    other = runs_of(epsilon.NOISE, [0.9]).assign(**changed)
    assert epsilon.with_arms(other).empty


def test_e1_holds_where_more_train_than_without_noise_and_not_fewer_than_with_it():
    [row] = epsilon.e1(finals_of(5, 20, 17)).itertuples()
    assert (row.n, row.baseline, row.small, row.noise) == (20, 5, 20, 17)
    # 15 pairs in which small alone trains, none the other way: 2 / 2^15
    assert row.p == pytest.approx(2 / 2**15) and row.p_holm == row.p
    # Wilson's limits at 20 of 20, z^2 = 3.8415: 1 / (1 + z^2 / 20) = .8389; of 17 of 20 the upper
    # (.85 + .0960 + sqrt(3.8415 (.85 .15 / 20 + 3.8415 / 1600))) / 1.1921 = .9476; no correlation:
    # .15 - sqrt(.1611^2 + .0976^2) = -.038
    assert row.low == pytest.approx(-0.038, abs=5e-4)
    assert row.verdict == HOLDS


def test_e1_is_not_decided_where_20_seeds_cannot_exclude_a_tenth_fewer():
    [row] = epsilon.e1(finals_of(5, 20, 20)).itertuples()
    assert row.low == pytest.approx(-0.1611, abs=1e-4)  # 20 of 20 against 20 of 20, as above
    assert row.verdict == NOT_DECIDED


@pytest.mark.parametrize(
    "counts, verdict",
    [
        ((0, 0, 13), DOES_NOT),  # fewer than with noise: 0 to 13 of 20
        ((20, 5, 20), DOES_NOT),  # fewer than without
        ((20, 20, 20), NOT_DECIDED),  # nothing to gain
        ((16, 20, 16), NOT_DECIDED),  # 4 more: p = 2 / 2^4 = .125
    ],
)
def test_e1_verdicts(counts, verdict):
    assert list(epsilon.e1(finals_of(*counts)).verdict) == [verdict]


def test_e1_is_corrected_over_all_settings():
    # 6 more: p = 2 / 2^6 = .03125; of two settings the smaller p doubles: .0625
    one, other = finals_of(14, 20, 14), finals_of(20, 20, 20, depth=60)
    assert list(epsilon.e1(one).verdict) == [HOLDS]
    both = epsilon.e1(pd.concat([one, other]))
    assert list(both.depth) == [40, 60]
    assert list(both.p_holm) == pytest.approx([0.0625, 1])
    assert list(both.verdict) == [NOT_DECIDED, NOT_DECIDED]
    third = finals_of(14, 20, 14, initializer="he_uniform")
    assert list(epsilon.e1(pd.concat([one, other, third])).p_holm)[:2] == pytest.approx(
        [0.09375] * 2
    )


@pytest.mark.parametrize(
    "difference, better, verdict",
    [
        (0.01, True, HOLDS),
        (-0.002, False, HOLDS),
        (-0.004, False, DOES_NOT),
        (0.0, False, HOLDS),
    ],
)
def test_e2_is_the_interval_of_the_paired_accuracy_against_0_3_points(difference, better, verdict):
    noise = np.linspace(0.90, 0.93, 8)
    finals = pd.concat([runs_of(epsilon.NOISE, noise), runs_of(epsilon.SMALL, noise + difference)])
    [row] = epsilon.e2(finals).itertuples()
    # all differences are equal, and so are the median and both bounds
    assert [row.low, row.gain, row.high] == pytest.approx([difference] * 3)
    assert (row.better, row.verdict) == (better, verdict)


def test_e2_uses_only_pairs_in_which_both_train_and_needs_six():
    noise, small = [0.9] * 6 + [None] * 2, [None] + [0.95] * 7
    [row] = epsilon.e2(
        pd.concat([runs_of(epsilon.NOISE, noise), runs_of(epsilon.SMALL, small)])
    ).itertuples()
    assert row.n_both == 5 and row.verdict == NOT_DECIDED and "needs 6" in row.reason


def test_e2_of_six_pairs_has_the_range_as_its_interval_nearly():
    # n = 6: [min, max] covers 1 - 2 / 2^6 = .96875, and [2nd, 5th] 1 - 2 (1 + 6) / 2^6 = .78125;
    # I = (.96875 - .95) / .1875 = .1; step = (6 - 1) .1 / (1 + 4 * .1) = .35714
    gains = np.array([-0.006, -0.001, 0.0, 0.0, 0.001, 0.002])
    finals = pd.concat([runs_of(epsilon.NOISE, [0.9] * 6), runs_of(epsilon.SMALL, 0.9 + gains)])
    [row] = epsilon.e2(finals).itertuples()
    assert row.low == pytest.approx(-0.006 + 0.35714 * 0.005, abs=1e-7)
    assert row.high == pytest.approx(0.002 - 0.35714 * 0.001, abs=1e-7)
    assert row.verdict == NOT_DECIDED  # from -.42 to +.16 points: crosses -.3


def test_e3_is_the_greatest_depth_at_which_half_of_the_seeds_train():
    depths = {20: 20, 40: 10, 60: 9, 80: 0}
    finals = pd.concat([runs_of(epsilon.SMALL, trains(n), depth=d) for d, n in depths.items()])
    never = runs_of(epsilon.BASELINE, trains(0))
    rows = epsilon.e3(pd.concat([finals, never])).set_index("arm")
    assert (rows.depth[epsilon.SMALL], rows.tried[epsilon.SMALL]) == (40, 80)
    assert math.isnan(rows.depth[epsilon.BASELINE]) and rows.tried[epsilon.BASELINE] == 40


@pytest.mark.parametrize(
    "small, noisy, verdict",
    [
        ([0.9] * 20, [0.91] * 20, HOLDS),  # 1 point, without width
        ([0.9] * 20, [0.9] * 20, DOES_NOT),
        ([0.9] * 20, [0.85] * 20, DOES_NOT),
        (trains(5), trains(20), HOLDS),  # 15 more train
        (trains(20), trains(5), NOT_DECIDED),  # 5 pairs: too few for an accuracy
    ],
)
def test_e4_noise_on_a_small_epsilon_gains_seeds_or_more_than_0_3_points(small, noisy, verdict):
    cap = "epsilon 1e-8, noise, P to 1e6"
    finals = pd.concat([runs_of(epsilon.SMALL, small), runs_of(cap, noisy)])
    [row] = epsilon.e4(finals).itertuples()
    assert (row.cap, row.verdict) == (1e6, verdict)


def test_no_runs_give_empty_tables():
    one = runs_of(epsilon.SMALL, [0.9] * 6)
    assert epsilon.e1(one).empty and epsilon.e2(one).empty and epsilon.e4(one).empty
    assert epsilon.verdicts(one).empty
    assert list(epsilon.verdicts(finals_of()).rule) == ["E1", "E2"]


def test_the_rule_uses_the_analysis_margins():
    assert epsilon.MARGIN == analysis.SMALLEST_GAIN == 0.003
