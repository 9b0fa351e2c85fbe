"""From tidy frames of runs to started counts, paired differences, intervals and verdicts.

Pure: frames in, frames out. Accuracies, gains, margins are fractions (0.003 is 0.3 points).
Two outcomes, never averaged together: did a run *start* (all pairs), and what did it *gain* (only
pairs in which both arms started; everywhere else `gain` is NaN, so it cannot leak).
"""

import json

import numpy as np
import pandas as pd
from scipy.stats import binom, norm, t

from langevin.experiments.networks.remedies import probes

STARTED = 0.8  # a run started if its final training loss is below this times ln(classes)
LEVEL, ALPHA = 0.95, 0.05  # of every interval; of every test
SMALLEST_GAIN = 0.003  # the smallest accuracy gain of interest; +- this is "no difference" in C1
SMALLEST_STARTED = 0.1  # the smallest change of the started share of interest (C2)
NOT_WORSE = 0.01  # what Layer Langevin may lose against noise everywhere (C3)
LEAST_PAIRS = 6  # with fewer, min to max covers the median with less than 95 %: 1 - 2**(1 - n)
EXACT_PAIRS = 20  # up to here all 2**n sign flips are enumerated
RESAMPLES, SEED = 9999, 2212_14718

METRICS = ["loss", "accuracy", "val_loss", "val_accuracy"]
OUTCOMES = [*METRICS, "diverged", "started"]
IN_WORDS = {"started": "share trained", "gain": "gain"}
BY_EPOCH = [*METRICS, "epoch", "seconds", "compile_seconds", "diverged", "kernel_sd", *probes.NAMES]
PROVENANCE = ["backend", "device", "data_hash", "dataset_label"]  # must agree within a pair
EXECUTION = ["key", "group_size"]  # may differ within a pair
DESCRIPTIVE = ["learned"]  # an outcome that decides nothing
NOISE = (
    "sigma",
    "langevin_layers",
    "noise_cap",
    "noise_start",
    "noise_stop",
    "noise_bias_correction",
)

PLAIN = "sigma == 0"
LANGEVIN = "sigma > 0 and langevin_layers == 'all'"
DEEPEST = "sigma > 0 and langevin_layers == 'deepest 30 %'"
DEEPEST_90 = "sigma > 0 and langevin_layers == 'deepest 90 %'"
SHALLOWEST = "sigma > 0 and langevin_layers == 'shallowest 30 %'"
HOLDS, DOES_NOT, NOT_DECIDED = "holds", "does not hold", "not decided"
NOT_APPLICABLE = "not applicable"


def final(frame, last=3):
    """One row a run: what is constant in it, and its means over the last recorded epochs.

    `loss, accuracy, val_loss, val_accuracy` are means over the `last` highest epochs, of a run of
    fewer than 3 times as many over a third of its epochs, the last one at least; epoch 0, before
    training, never counts. A run is listed when it is complete
    (its last epoch is `epochs`) or diverged: marked so, or with a loss that is not finite. The
    metrics of a diverged run are NaN: no last finite value is carried forward. `started` is
    not diverged and loss < 0.8 ln(classes), by that mean; `learned`, a loss below that after any
    epoch: a run that learned and then collapsed has not started. Columns that vary within a run
    are left out.
    """
    _require(frame, ["key", "seed", "epochs", "classes", "epoch", "diverged", *METRICS])
    if frame.duplicated(["key", "epoch"]).any():
        again = frame.key[frame.duplicated(["key", "epoch"])].iloc[0]
        raise ValueError(f"expected one row a key and epoch, received more for key {again!r}")
    frame = frame.sort_values(["key", "epoch"])
    text = [c for c in frame if frame[c].dtype.kind == "O"]
    frame[text] = frame[text].map(lambda v: json.dumps(v) if isinstance(v, list | dict) else v)
    runs = frame.groupby("key")
    constant = [
        c
        for c in frame.columns.difference([*BY_EPOCH, "key"], sort=False)
        if (runs[c].nunique(dropna=False) <= 1).all()
    ]
    finals = frame.drop_duplicates("key").set_index("key")[constant]
    trained = frame[frame.epoch > 0]
    left = trained.groupby("key").cumcount(ascending=False)
    tail = trained[left < np.clip(trained.epochs // 3, 1, last)]
    finals = finals.join(tail.groupby("key")[METRICS].mean())
    finite = np.isfinite(frame[["loss", "val_loss"]]).all(axis=1)
    finals["diverged"] = (frame.diverged.astype(bool) | ~finite).groupby(frame.key).any()
    finals.loc[finals.diverged, METRICS] = np.nan
    finals["started"] = finals.loss < STARTED * np.log(finals.classes.astype(float))
    best = frame[frame.epoch > 0].groupby("key").loss.min().reindex(finals.index)
    finals["learned"] = best < STARTED * np.log(finals.classes.astype(float))
    complete = runs.epoch.max() >= finals.epochs
    return finals[complete | finals.diverged].reset_index()


def condition(finals):
    """Which noise each run had, in words: none, all along, in part of the steps, or capped."""

    def word(run):
        if run.sigma == 0:
            return "no noise"
        if pd.notna(run.noise_cap):
            return f"P ≤ {run.noise_cap:g}"
        if run.noise_stop < 1:
            return f"first {100 * run.noise_stop:g} %"
        return f"after {100 * run.noise_start:g} %" if run.noise_start else "noise"

    return [word(run) for run in finals.itertuples()]


def pair(finals, baseline, treatment, contrast=NOISE):
    """Runs of two selections side by side: baseline (suffix _0) and treatment (suffix _1).

    `baseline` and `treatment` are query strings such as "sigma == 0", or boolean masks. Partners
    agree in seed and in every setting column except those in `contrast`; a run without a partner
    is left out. `gain` = val_accuracy_1 - val_accuracy_0 and `log_loss_ratio` =
    log(loss_1 / loss_0) are given where both started and NaN elsewhere.

    Raises ValueError if a side holds one seed of one setting twice, if the sides share a run, if
    partners differ in backend, device or data, or if the sides never agree in some setting.
    """
    _require(finals, [*EXECUTION[:1], "seed", *PROVENANCE, *OUTCOMES])
    arms = [finals.query(c) if isinstance(c, str) else finals[c] for c in (baseline, treatment)]
    known = [*contrast, *PROVENANCE, *EXECUTION, *OUTCOMES, *DESCRIPTIVE]
    apart = [c for c in finals if c in known]
    settings = list(finals.columns.difference([*apart, "seed"], sort=False))
    if shared := set(arms[0].key) & set(arms[1].key):
        raise ValueError(f"expected two separate selections, received {len(shared)} runs in both")
    for arm, choice in zip(arms, (baseline, treatment), strict=True):
        _once(arm, [*settings, "seed"], f"the selection {choice!r}")
    pairs = arms[0].merge(arms[1], on=[*settings, "seed"], suffixes=("_0", "_1"))
    for column in settings if len(arms[0]) and len(arms[1]) and pairs.empty else []:
        sides = [sorted(set(arm[column]), key=str) for arm in arms]
        if not set(sides[0]) & set(sides[1]):
            raise ValueError(
                f"expected partners with equal {column}, received {sides[0]} against "
                f"{sides[1]}; name it in contrast if it may differ"
            )
    for column in PROVENANCE:
        if (differ := pairs[f"{column}_0"] != pairs[f"{column}_1"]).any():
            one = pairs[differ].iloc[0]
            raise ValueError(
                f"expected pairs of one {column}, received {one[f'{column}_0']!r} "
                f"against {one[f'{column}_1']!r}"
            )
        pairs = pairs.rename(columns={f"{column}_0": column}).drop(columns=f"{column}_1")
    both = pairs.started_0.astype(bool) & pairs.started_1.astype(bool)
    log_loss = np.log(pairs[["loss_0", "loss_1"]].clip(lower=np.finfo("float32").eps))
    pairs["gain"] = (pairs.val_accuracy_1 - pairs.val_accuracy_0).where(both)
    pairs["log_loss_ratio"] = (log_loss.loss_1 - log_loss.loss_0).where(both)
    return pairs


def compare(pairs, by=()):
    """One row a setting in `by` (column names; none: one row for all), treatment minus baseline.

    n, started_0, started_1          pairs, and how many of them started in each arm
    started_gain, _low, _high, _p    difference of the started shares; `newcombe`; `mcnemar`
    n_both, coverage                 pairs in which both started; what an interval really covers
    gain, _low, _high, _p            median; `median_interval`; `sign_flip`: given both started
    log_loss_ratio, _low, _high, _p  the same

    Raises ValueError if a row would hold a seed twice, for then its pairs are not independent.
    """
    by = [by] if isinstance(by, str) else list(by)
    groups = pairs.groupby(by, dropna=False) if by else [((), pairs)]
    rows = [dict(zip(by, values, strict=True)) | _compare(group) for values, group in groups]
    return pd.DataFrame(rows, columns=[*by, *_compare(pairs[:0])])


def directions(row):
    """Of a row of `compare`, whether significantly more end trained, and whether those that do in
    both arms get further, by more than `SMALLEST_GAIN`: 1 if so, -1 the other way, else 0."""
    trained = int(np.sign(row.started_gain)) if row.started_p < ALPHA else 0
    if row.n_both < LEAST_PAIRS:
        return trained, 0
    return trained, int(row.gain_low > SMALLEST_GAIN) - int(row.gain_high < -SMALLEST_GAIN)


def _compare(pairs):
    _once(pairs, ["seed"], "one row of the comparison")
    started = pairs[["started_0", "started_1"]].to_numpy(bool)
    lost, won = (int((started[:, i] & ~started[:, 1 - i]).sum()) for i in (0, 1))
    n, both = len(pairs), int(started.all(axis=1).sum())
    low, high = newcombe(both, won, lost, n - both - won - lost)
    row = {
        "n": n,
        "started_0": both + lost,
        "started_1": both + won,
        "started_gain": (won - lost) / n if n else np.nan,
        "started_low": low,
        "started_high": high,
        "started_p": mcnemar(won, lost),
        "n_both": both,
        "coverage": 1 - 2.0 ** (1 - both) if 0 < both < LEAST_PAIRS else LEVEL,
    }
    for name in ("gain", "log_loss_ratio"):
        values = pairs[name].dropna().to_numpy(float)
        low, high = median_interval(values)
        row |= {
            name: np.median(values) if both else np.nan,
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_p": sign_flip(values),
        }
    return row


def at_best_rate(finals, rates):
    """The runs of each arm at its own best learning rate, for each initializer, optimizer, depth.

    An arm is a choice of noise; one that was not run at all of `rates` is left out. The best rate
    has the lowest median final training loss, so that the test set chooses nothing; a diverged
    run's is infinite, and of equals the lowest rate is taken.
    """
    arm = ["initializer", "optimizer", "depth", *NOISE]
    finals = finals[finals.learning_rate.isin(rates)]
    tried = finals.groupby(arm, dropna=False).learning_rate.transform("nunique")
    finals = finals[tried == len(set(rates))]
    arm = [finals[c] for c in arm]
    loss = finals.loss.fillna(np.inf)
    score = loss.groupby([*arm, finals.learning_rate], dropna=False).transform("median")
    least = score.groupby(arm, dropna=False).transform("min")
    rate = finals.learning_rate.where(score == least)
    return finals[finals.learning_rate == rate.groupby(arm, dropna=False).transform("min")]


def slope(pairs, resamples=RESAMPLES):
    """Slope on depth, per layer, of two outcomes, a row each: `started` (-1, 0 or 1; all pairs)
    and `gain` (pairs in which both started).

    Least squares with an intercept for each seed s: slope = sum_s a_s / sum_s b_s with
    a_s = sum_i (x_si - mean_s x) y_si and b_s = sum_i (x_si - mean_s x)^2, x depth, y outcome;
    where every seed has every depth this is the ordinary slope.
    p, p_negative: one-sided `sign_flip` of a_s, which exchanges the arms of whole seeds. Permuting
    depth labels within a seed instead takes an outcome that only scatters more where networks are
    deep for a slope: simulated, it rejects 13 % at a level of 5 %, where this rejects 5 %
    (symmetric a_s; 10 to 14 % if they are as skewed to the left as an exponential).
    low, high: seeds resampled whole; percentiles widened for S seeds to Phi(-+ sqrt(S/(S-1))
    t_(.975, S-1)) (Hesterberg 2015, "expanded percentile"). All equal a_s give an interval
    without width, which says less than it seems to. NaN where less than 3 seeds have 2 depths.
    Raises ValueError if a seed has a depth twice: slopes of several settings are not pooled.
    """
    _require(pairs, ["depth", "seed", "started_0", "started_1", "gain"])
    _once(pairs, ["seed", "depth"], "a slope")
    started = pairs.started_1.astype(float) - pairs.started_0.astype(float)
    data = pairs.assign(started=started).sort_values(["seed", "depth"])
    return pd.DataFrame(
        [
            {"outcome": name} | _slope(data.dropna(subset=name), name, resamples)
            for name in ("started", "gain")
        ]
    )


def _slope(data, outcome, resamples):
    x, y = data.depth.astype(float), data[outcome].astype(float)
    x, y = (v - v.groupby(data.seed).transform("mean") for v in (x, y))
    sums = pd.DataFrame({"a": x * y, "b": x * x}).groupby(data.seed).sum()
    a, b = sums[sums.b > 0].to_numpy().T
    row = {
        "n": len(data),
        "seeds": len(a),
        "slope": np.nan,
        "low": np.nan,
        "high": np.nan,
        "p": np.nan,
        "p_negative": np.nan,
    }
    if len(a) < 3:
        return row
    chance = np.full(len(a), 1 / len(a))
    weights = np.random.default_rng(SEED).multinomial(len(a), chance, size=resamples)
    wider = np.sqrt(len(a) / (len(a) - 1)) * t.ppf((1 + LEVEL) / 2, len(a) - 1)
    low, high = np.quantile((weights @ a) / (weights @ b), norm.cdf([-wider, wider]))
    return row | {
        "slope": float(a.sum() / b.sum()),
        "low": float(low),
        "high": float(high),
        "p": sign_flip(a, 0, "greater"),
        "p_negative": sign_flip(a, 0, "less"),
    }


def mcnemar(won, lost):
    """Exact two-sided p of McNemar (1947): min(1, 2 P(X <= min(won, lost))),
    X ~ Binomial(won + lost, 1/2), where only one of the two arms started."""
    return float(min(1.0, 2 * binom.cdf(min(won, lost), won + lost, 0.5)))


def wilson(count, n):
    """95 % limits of the share count / n: Wilson (1927)."""
    z2, share = norm.ppf((1 + LEVEL) / 2) ** 2, count / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return middle - half, middle + half


def newcombe(both, won, lost, neither):
    """95 % interval of (won - lost) / n: Newcombe (1998), Stat. Med. 17:2635, method 10.

    With p the shares of the two arms, (l, u) their Wilson limits and phi their correlation,
        low  = d - sqrt((p1 - l1)^2 - 2 phi (p1 - l1) (u0 - p0) + (u0 - p0)^2),
        high = d + sqrt((u1 - p1)^2 - 2 phi (u1 - p1) (p0 - l0) + (p0 - l0)^2);
    the numerator of phi, both neither - won lost, loses n/2 where positive, but not below 0.
    """
    n = both + won + lost + neither
    if n == 0:
        return np.nan, np.nan
    p = np.array([both + lost, both + won]) / n
    lower, upper = wilson(np.array([both + lost, both + won]), n)
    (d0, d1), (e0, e1) = p - lower, upper - p
    numerator = both * neither - won * lost
    numerator = max(numerator - n / 2, 0) if numerator > 0 else numerator
    scale = np.sqrt(float((p * (1 - p)).prod())) * n * n
    phi = numerator / scale if scale else 0.0
    return (
        float(p[1] - p[0] - np.sqrt(max(d1**2 - 2 * phi * d1 * e0 + e0**2, 0))),
        float(p[1] - p[0] + np.sqrt(max(e1**2 - 2 * phi * e1 * d0 + d0**2, 0))),
    )


def median_interval(values):
    """95 % interval of a median from order statistics: Hettmansperger and Sheather (1986).

    [x_(d), x_(n+1-d)] covers with 1 - 2 P(X < d), X ~ Binomial(n, 1/2), whatever the law of x.
    Between the last d that covers 95 % and the next, with I = (cover_d - .95) / (cover_d -
    cover_(d+1)), the ends move inwards by (n - d) I / (d + (n - 2d) I) of one step.
    Chosen instead of the bootstrap by simulation, n = 6 to 20, normal, lognormal, exponential and
    t(2) values: this covered 94 to 95.5 %, the percentile bootstrap 87 to 94 %.
    Below 6 values it is [min, max], which covers 1 - 2**(1 - n) only.
    """
    x = np.sort(np.asarray(values, float))
    n = len(x)
    if n == 0:
        return np.nan, np.nan
    cover = 1 - 2 * binom.cdf(np.arange(n // 2 + 1), n, 0.5)  # of d = 1, 2, ...
    d = int((cover >= LEVEL).sum())
    if d == 0:
        return float(x[0]), float(x[-1])
    part = (cover[d - 1] - LEVEL) / (cover[d - 1] - cover[d])
    step = (n - d) * part / (d + (n - 2 * d) * part)
    return (float(x[d - 1] + step * (x[d] - x[d - 1])), float(x[-d] - step * (x[-d] - x[-d - 1])))


def sign_flip(values, null=0.0, alternative="two-sided"):
    """p of "the differences are symmetric about `null`" by flipping their signs (Fisher 1935).

    The share of the 2**n sign patterns s with |sum s x| >= |sum x| ("greater": sum s x >= sum x;
    "less": <=), x = values - null. Exact up to 20 values; above, 9999 patterns from a fixed seed
    and (b + 1) / (m + 1), b those at least as extreme (Phipson and Smyth 2010). No values: NaN.
    """
    x = np.sort(np.asarray(values, float) - null) * (-1 if alternative == "less" else 1)
    if len(x) == 0:
        return np.nan
    if len(x) <= EXACT_PAIRS:
        sums, added = np.zeros(1), 0
        for value in x:
            sums = np.concatenate([sums + value, sums - value])
    else:
        signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (RESAMPLES, len(x)))
        sums, added = signs @ x, 1
    total, slack = x.sum(), 1e-9 * np.abs(x).sum()  # ties stay ties after rounding
    if alternative == "two-sided":
        sums, total = np.abs(sums), abs(total)
    return float(((sums >= total - slack).sum() + added) / (len(sums) + added))


def holm(p):
    """Holm's (1979) adjusted p: of m sorted p, max over j <= i of min(1, (m - j + 1) p_j).
    A NaN counts in m as a p of 1, since the family was fixed before, and stays NaN."""
    p = np.asarray(p, float)
    order = np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable")
    stepped = np.where(np.isnan(p), 1.0, p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return np.where(np.isnan(p), np.nan, adjusted)


def claim_1(finals, setting, depth=3, baseline=PLAIN, treatment=LANGEVIN, contrast=NOISE):
    """C1, noise does not help shallow networks: no difference at `depth`.

    Holds if the gain's interval lies inside +-0.3 points and McNemar's p of the starts is >= .05;
    does not if it lies wholly outside or p < .05. p_claim: `sign_flip` against both margins.
    """
    arms = [f"({arm}) and depth == {depth}" for arm in (baseline, treatment)]
    row, gains = contrasted(finals, *arms, contrast)
    margin, span = SMALLEST_GAIN, _points(row.gain_low, row.gain_high)
    if row.started_p < ALPHA:
        verdict = DOES_NOT, f"shares trained differ: {row.started_0}, {row.started_1} of {row.n}"
    elif row.n_both < LEAST_PAIRS:
        verdict = NOT_DECIDED, _too_few(row)
    elif -margin < row.gain_low and row.gain_high < margin:
        verdict = HOLDS, f"the gain, {span}, lies inside {_points(-margin, margin)}"
    elif row.gain_low > margin or row.gain_high < -margin:
        verdict = DOES_NOT, f"the gain, {span}, lies outside {_points(-margin, margin)}"
    else:
        verdict = NOT_DECIDED, f"the gain, {span}, crosses a limit of {_points(-margin, margin)}"
    p_claim = max(_directed(gains, -margin, "greater"), _directed(gains, margin, "less"))
    return _claim("C1", setting, _rows(row, f"Langevin - plain, depth {depth}"), verdict, p_claim)


def claim_2(finals, setting, baseline=PLAIN, treatment=LANGEVIN, contrast=NOISE):
    """C2, the deeper the larger the gain: the two slopes on depth, p doubled (Bonferroni).

    Holds if one slope is positive with p < .05 and the other not negative with p < .05; does not
    if one is negative with p < .05 and none positive, or if the upper bounds of both, times the
    range of depths, are under 0.1 of started and 0.3 points. p_claim: the smaller p.
    """
    pairs = pair(finals, baseline, treatment, contrast)
    slopes = slope(pairs).set_index("outcome")
    p = (2 * slopes.p).clip(upper=1)
    up, down = p < ALPHA, 2 * slopes.p_negative < ALPHA
    depths = pairs.depth.max() - pairs.depth.min()
    most = slopes.high * depths
    small = (slopes.seeds >= LEAST_PAIRS) & (most < [SMALLEST_STARTED, SMALLEST_GAIN])
    if up.any() and not down.any():
        verdict = HOLDS, f"positive slope of {_outcomes(up)}"
    elif down.any() and not up.any():
        verdict = DOES_NOT, f"negative slope of {_outcomes(down)}"
    elif small.all():
        verdict = (
            DOES_NOT,
            (
                f"over {depths:g} layers at most {most.started:+.2f} of the share trained and "
                f"{100 * most.gain:+.2f} points"
            ),
        )
    else:
        verdict = NOT_DECIDED, "no slope is significant alone, and not both are bounded"
        if depths == 0:
            verdict = NOT_DECIDED, "one depth has no slope"
    verdict = verdict[0], f"{verdict[1]}: {_by_depth(pairs, slopes, p)}"
    rows = [
        {
            "contrast": f"slope of {IN_WORDS[name]} on depth, Langevin - plain",
            "estimate": row.slope,
            "low": row.low,
            "high": row.high,
            "p": p[name],
            "n": row.n,
        }
        for name, row in slopes.iterrows()
    ]
    return _claim("C2", setting, rows, verdict, p.min(), int(p.fillna(2).argmin()))


def claim_3(
    finals,
    setting,
    everywhere=LANGEVIN,
    deepest=DEEPEST,
    shallowest=SHALLOWEST,
    contrast=("langevin_layers",),
    baseline=PLAIN,
):
    """C3, noise on the deepest layers is enough, at one depth.

    Not applicable unless noise on all layers beats plain: more runs train (p < .05) or the gain's
    interval lies above 0. There it holds if deepest - all has a lower bound above -1 point and
    does not train significantly fewer; does not if its upper bound is below -1 point or
    significantly fewer train. p_claim: one-sided `sign_flip` against the margin of 1 point.
    Against the shallowest layers is reported, and is no part of the claim: the paper does not
    make it.
    """
    noise, _ = contrasted(finals, baseline, everywhere)
    a, gains_a = contrasted(finals, everywhere, deepest, contrast)
    b, _ = contrasted(finals, shallowest, deepest, contrast)
    more = noise.started_p < ALPHA and noise.started_gain > 0
    gains = more or (noise.n_both >= LEAST_PAIRS and noise.gain_low > 0)
    enough = a.n_both >= LEAST_PAIRS
    if noise.n < LEAST_PAIRS:
        verdict = NOT_DECIDED, f"noise against plain: {_too_few(noise)}"
    elif not gains:
        verdict = NOT_APPLICABLE, "noise gains nothing here"
    elif _fewer(a) or (enough and a.gain_high < -NOT_WORSE):
        verdict = DOES_NOT, "the deepest layers alone are worse than all layers"
    elif not enough:
        verdict = NOT_DECIDED, _too_few(a)
    elif a.gain_low > -NOT_WORSE:
        verdict = HOLDS, "not worse than all layers"
    else:
        verdict = NOT_DECIDED, "against all layers, more than 1 point may be lost"
    measured = "; ".join(
        [
            f"noise on all layers {_against(noise, 'plain')}",
            f"deepest 30 % {_against(a, 'all layers')}",
            f"no part of the claim: deepest 30 % {_against(b, 'the shallowest')}",
        ]
    )
    verdict = verdict[0], f"{verdict[1]}: {measured}"
    rows = _rows(a, "deepest 30 % - all layers") + _rows(b, "deepest 30 % - shallowest 30 %")
    return _claim("C3", setting, rows, verdict, _directed(gains_a, -NOT_WORSE, "greater"))


def claim_4(finals, setting, baseline=PLAIN, treatment=LANGEVIN, contrast=NOISE, name="all layers"):
    """C4, deep residual networks gain: holds if the gain's lower bound is above 0 and the gain at
    least 0.3 points; does not if its upper bound is below 0.3 points. The starts stand beside.
    p_claim: `sign_flip`, gain > 0. `name`, the layers with noise, stands in the setting."""
    row, gains = contrasted(finals, baseline, treatment, contrast)
    span = f"the gain is {_points(row.gain_low, row.gain_high)}"
    if row.n_both < LEAST_PAIRS:
        verdict = NOT_DECIDED, _too_few(row)
    elif row.gain_low > 0 and row.gain >= SMALLEST_GAIN:
        verdict = HOLDS, span
    else:
        verdict = DOES_NOT if row.gain_high < SMALLEST_GAIN else NOT_DECIDED, span
    return _claim(
        "C4",
        f"{setting}, {name}",
        _rows(row, f"{name} - plain"),
        verdict,
        _directed(gains, 0, "greater"),
    )


def verdicts(rows):
    """The rows of all settings of the claims, with Holm over the settings of each claim as p_holm.
    A setting in which a claim is not applicable makes no claim, and is not counted. One that held
    but has p_holm >= .05 becomes not decided; p_claim keeps the unadjusted p. Rows that are not
    primary are descriptive."""
    rows = rows.reset_index(drop=True).assign(p_holm=np.nan)
    primary = rows.primary.astype(bool)
    for _, family in rows[primary & (rows.verdict != NOT_APPLICABLE)].groupby("claim"):
        rows.loc[family.index, "p_holm"] = holm(family.p_claim)
    lost = primary & (rows.verdict == HOLDS) & ~(rows.p_holm < ALPHA)
    rows.loc[lost, "reason"] += rows.p_holm[lost].map("; but p = {:.2g} after Holm".format)
    rows.loc[lost, "verdict"] = NOT_DECIDED
    return rows


def contrasted(finals, baseline, treatment, contrast=NOISE):
    """The row of `compare` for all pairs of two selections, and the gains of those that both
    started; arguments as those of `pair`."""
    pairs = pair(finals, baseline, treatment, contrast)
    return next(compare(pairs).itertuples()), pairs.gain.dropna()


def _directed(values, null, alternative):
    return np.fmin(1.0, 2 * sign_flip(values, null, alternative)) if len(values) else np.nan


def _fewer(row):
    return row.started_p < ALPHA and row.started_gain < 0


def _points(low, high):
    return f"{100 * low:+.2f} to {100 * high:+.2f} points"


def _against(row, name):
    """What a comparison measured, in words."""
    text = f"against {name} {row.started_1} to {row.started_0} of {row.n} end trained"
    text += f", p = {row.started_p:.2g}"
    if not row.n_both:
        return text
    text += f", median gain of {row.n_both} pairs {100 * row.gain:+.1f}"
    if row.n_both < LEAST_PAIRS:
        return f"{text} points"
    return f"{text} ({_points(row.gain_low, row.gain_high)}), p = {row.gain_p:.2g}"


def _outcomes(chosen):
    return " and ".join(chosen.index[chosen].map(IN_WORDS))


def _by_depth(pairs, slopes, p):
    """Both slopes times the range of depths, and the depths from which that of the starts comes."""
    depths = pairs.depth.max() - pairs.depth.min()
    said = []
    for (name, row), unit, digits in zip(slopes.iterrows(), ("", " points"), (2, 1)):
        if np.isnan(row.slope):
            continue
        scale = depths * (100 if unit else 1)
        low, estimate, high = (f"{scale * v:+.{digits}f}" for v in (row.low, row.slope, row.high))
        likely = p[name] if row.slope > 0 else min(1, 2 * row.p_negative)
        said.append(f"{IN_WORDS[name]} {estimate} ({low} to {high}){unit}, p = {likely:.2g}")
    more = pairs.groupby("depth").apply(
        lambda here: (
            f"{here.started_1.sum() - here.started_0.sum():+d} of {len(here)} at {here.name}"
        ),
        include_groups=False,
    )
    span = f"from depth {pairs.depth.min():g} to {pairs.depth.max():g}"
    slope = f"{span} {' and '.join(said)}; " if said else ""
    return f"{slope}more end trained: {', '.join(more)}"


def _too_few(row):
    if not row.n:
        return "no pair is there"
    return f"both end trained in {row.n_both} of {row.n} pairs; a 95 % interval needs {LEAST_PAIRS}"


def _rows(row, arms):
    return [
        {
            "contrast": f"accuracy gain where both end trained, {arms}",
            "estimate": row.gain,
            "low": row.gain_low,
            "high": row.gain_high,
            "p": row.gain_p,
            "n": row.n_both,
        },
        {
            "contrast": f"share trained, {arms}",
            "estimate": row.started_gain,
            "low": row.started_low,
            "high": row.started_high,
            "p": row.started_p,
            "n": row.n,
        },
    ]


def _claim(claim, setting, rows, verdict, p_claim, primary=0):
    rows = pd.DataFrame([{"claim": claim, "setting": setting} | row for row in rows])
    rows["pairs"] = rows.n.max()  # that were run, not only those that both started
    chosen = rows["primary"] = rows.index == primary
    rows["p_claim"] = np.where(chosen, p_claim, np.nan)
    rows["verdict"], rows["reason"] = (np.where(chosen, text, "") for text in verdict)
    return rows


def _require(frame, columns):
    if missing := [c for c in columns if c not in frame]:
        raise ValueError(f"expected columns {columns}, received a frame without {missing}")


def _once(frame, columns, place):
    again = frame[frame.duplicated(columns, keep=False)]
    if len(again):
        again = next(group for _, group in again.groupby(columns, dropna=False))
        vary = [c for c in again if c not in OUTCOMES and again[c].nunique(dropna=False) > 1]
        raise ValueError(
            f"expected each of {columns} once in {place}, received {len(again)} rows "
            f"for seed {again.seed.iloc[0]!r}, differing in {vary}"
        )
