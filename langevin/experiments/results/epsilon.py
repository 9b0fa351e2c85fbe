"""The question of epsilon: does a small epsilon do what the published noise does?

The rule E1 to E4 was fixed on 2026-11-29, before the runs of seeds 20 to 39. A setting is a depth,
an optimizer and a start. Pure functions: finals of `analysis.final` in, frames out. Accuracies are
fractions, and a NaN in `epsilon` is the published value, 1e-6.
"""

import numpy as np
import pandas as pd

from langevin.experiments.results import analysis
from langevin.experiments.results.analysis import ALPHA, DOES_NOT, HOLDS, NOT_DECIDED

SETTING = ["depth", "optimizer", "initializer"]
CONTRAST = (*analysis.NOISE, "epsilon", "remedy", "arm")  # partners may differ in these
NOT_FEWER = 0.1  # the share of seeds that E1 may lose against the noise
MARGIN = analysis.SMALLEST_GAIN  # 0.3 points: the accuracy that E2 may lose, and E4 must gain

BASELINE, NOISE, SMALL = "published, no noise", "published noise", "epsilon 1e-8"
SMALL_CAPS = {"epsilon 1e-8, noise, P to 1e6": 1e6, "epsilon 1e-8, noise, P to 1e4": 1e4}
TINY, ATAN2 = "epsilon 1e-12", "Adam-atan2"
ARMS = [BASELINE, NOISE, "epsilon 1e-7", SMALL, "epsilon 1e-10", TINY, ATAN2, *SMALL_CAPS]


def arm_of(run):
    """The arm of one run, a row of finals; None for a run that the rule does not name."""
    remedy, epsilon = getattr(run, "remedy", None), run.epsilon
    noisy, cap = run.sigma > 0, run.noise_cap
    if noisy and run.langevin_layers != "all":
        return None
    if pd.notna(remedy):
        return ATAN2 if remedy == "adam-atan2" and not noisy else None
    if pd.isna(epsilon):
        return (NOISE if pd.isna(cap) else None) if noisy else BASELINE
    if noisy:
        capped = [name for name, most in SMALL_CAPS.items() if pd.notna(cap) and cap == most]
        return capped[0] if capped and np.isclose(epsilon, 1e-8, rtol=1e-6, atol=0) else None
    plain = {1e-7: "epsilon 1e-7", 1e-8: SMALL, 1e-10: "epsilon 1e-10", 1e-12: TINY}
    named = (name for value, name in plain.items() if np.isclose(epsilon, value, 1e-6, 0))
    return next(named, None)


def with_arms(finals):
    """The finals of the runs that the rule names, with their `arm`."""
    arms = pd.Series([arm_of(run) for run in finals.itertuples()], finals.index, dtype=object)
    return finals.assign(arm=arms)[arms.notna()]


def compare(finals, baseline, treatment):
    """The row of `analysis.compare` of two arms in one setting; None where one has no runs."""
    if not {baseline, treatment} <= set(finals.arm):
        return None
    sides = finals.arm == baseline, finals.arm == treatment
    pairs = analysis.pair(finals, *sides, CONTRAST)
    return next(analysis.compare(pairs).itertuples()) if len(pairs) else None


def e1(finals):
    """E1, a small epsilon trains as many seeds as the noise does, where published Adam fails.

    Holds if more seeds train than without noise (exact McNemar, `p_holm` < .05, Holm over all
    settings) and the lower Newcombe bound of small minus noise lies above -0.1. Does not hold if
    significantly fewer train than without noise, or the upper bound of small minus noise lies
    below -0.1. Otherwise not decided: no difference that is shown is no proof of none.

    Returns: a row a setting that has the arms, of both comparisons.
    """
    rows = []
    for setting, here in _settings(finals):
        more, as_noise = compare(here, BASELINE, SMALL), compare(here, NOISE, SMALL)
        if more is None or as_noise is None:
            continue
        rows.append(
            setting
            | {
                "n": more.n,
                "baseline": more.started_0,
                "small": more.started_1,
                "noise": as_noise.started_0,
                "p": more.started_p,
                "more": more.started_gain,
                "low": as_noise.started_low,
                "high": as_noise.started_high,
            }
        )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table["p_holm"] = analysis.holm(table.p)
    table["verdict"], table["reason"] = zip(*map(_verdict_1, table.itertuples()), strict=True)
    return table


def _verdict_1(row):
    counts = (
        f"{row.small} of {row.n} train, without noise {row.baseline}, with noise {row.noise}; "
        f"p = {row.p:.2g}, {row.p_holm:.2g} after Holm; share against noise {row.low:+.2f} to "
        f"{row.high:+.2f}"
    )
    sure = row.p_holm < ALPHA
    if sure and row.more > 0 and row.low > -NOT_FEWER:
        return HOLDS, counts
    if (sure and row.more < 0) or row.high < -NOT_FEWER:
        return DOES_NOT, counts
    why = "more train than without noise" if sure else "no more are shown to train than without"
    return NOT_DECIDED, f"{counts}: {why}"


def e2(finals):
    """E2, given that both train, a small epsilon is as accurate as the noise.

    "Not worse" holds if the order-statistic interval of the paired accuracy, small minus noise,
    lies above -0.3 points, and `better` if it lies above 0. Does not hold if it lies below -0.3.
    """
    rows = []
    for setting, here in _settings(finals):
        row = compare(here, NOISE, SMALL)
        if row is None:
            continue
        low, high = row.gain_low, row.gain_high
        reason = _accuracy(row)
        if row.n_both < analysis.LEAST_PAIRS:
            verdict = NOT_DECIDED
        elif low > -MARGIN:
            verdict, reason = HOLDS, reason + (": better" if low > 0 else ": not worse")
        else:
            verdict = DOES_NOT if high < -MARGIN else NOT_DECIDED
        better = bool(verdict == HOLDS and low > 0)
        rows.append(setting | _numbers(row) | {"better": better, "verdict": verdict,
                                               "reason": reason})  # fmt: skip
    return pd.DataFrame(rows)


def e3(finals):
    """E3, the greatest depth at which each arm trains at least half of its seeds: a row an arm,
    optimizer and start; `depth` is NaN where it does at none, `tried` the greatest that was run."""
    rows = []
    for keys, here in with_arms(finals).groupby(["optimizer", "initializer", "arm"], sort=False):
        shares = here.groupby("depth").started.mean()
        enough = shares.index[shares >= 0.5]
        rows.append(
            dict(zip(["optimizer", "initializer", "arm"], keys, strict=True))
            | {"depth": max(enough, default=np.nan), "tried": shares.index.max()}
        )
    return pd.DataFrame(rows)


def e4(finals):
    """E4, noise on top of a small epsilon still gains something.

    Holds if significantly more seeds train (McNemar, Holm over the settings and caps) or the
    interval of the paired accuracy lies above 0.3 points. Does not hold if it lies below 0.3
    points and no more are shown to train.
    """
    rows = []
    for setting, here in _settings(finals):
        for arm, cap in SMALL_CAPS.items():
            if (row := compare(here, SMALL, arm)) is None:
                continue
            rows.append(setting | {"cap": cap} | _numbers(row) | {"reason": _accuracy(row)})
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table["p_holm"] = analysis.holm(table.p)
    table["verdict"] = [_verdict_4(row) for row in table.itertuples()]
    return table


def _verdict_4(row):
    more = row.p_holm < ALPHA and row.treatment > row.baseline
    enough = row.n_both >= analysis.LEAST_PAIRS
    if more or (enough and row.low > MARGIN):
        return HOLDS
    return DOES_NOT if enough and row.high < MARGIN else NOT_DECIDED


def _settings(finals):
    for keys, here in with_arms(finals).groupby(SETTING):
        yield dict(zip(SETTING, keys, strict=True)), here


def _numbers(row):
    return {
        "n": row.n, "baseline": row.started_0, "treatment": row.started_1, "p": row.started_p,
        "n_both": row.n_both, "gain": row.gain, "low": row.gain_low, "high": row.gain_high,
    }  # fmt: skip


def _accuracy(row):
    counts = f"{row.started_1} of {row.n} train, against {row.started_0}, p = {row.started_p:.2g}"
    if row.n_both < analysis.LEAST_PAIRS:
        return f"{counts}; both train in {row.n_both} pairs, an interval needs 6"
    low, gain, high = (f"{100 * value:+.2f}" for value in (row.gain_low, row.gain, row.gain_high))
    return f"{counts}; accuracy {gain} ({low} to {high}) points, {row.n_both} pairs"


def verdicts(finals):
    """E1, E2 and E4 in one table: a row a rule and setting, its verdict and its numbers."""
    parts = [
        table.assign(rule=rule)
        for rule, table in (("E1", e1(finals)), ("E2", e2(finals)), ("E4", e4(finals)))
        if len(table)
    ]
    columns = ["rule", *SETTING, "cap", "verdict", "reason"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)
