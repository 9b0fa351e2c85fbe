"""The figure and the sentences of `helmholtz`: likelihood against depth."""

import matplotlib.pyplot as plt
import numpy as np

from langevin.experiments.helmholtz import helmholtz
from langevin.experiments.results import analysis, markdown
from langevin.experiments.results.style import COLORS, GREY, seeds_of

TRIED = 100  # the seeds from here on choose rates
ARMS = {
    "wake-sleep": GREY,
    "reweighted": "#56B4E9",
    "natural reweighted": "#E69F00",
    "Langevin reweighted": COLORS["adam"],
}


def at_best(frame):
    """The last row of each learning, of every arm and depth those at the learning rate and sigma
    with the greatest mean log-likelihood of training images not learned: in learnings of seeds from
    `TRIED` on, which are shown nowhere, where such are there.  Rates that are not all tried yet
    choose nothing: their arm is left out at that depth and sigma."""
    finals = frame[frame.epoch == frame.epochs]
    tried, shown = finals[finals.seed >= TRIED], finals[finals.seed < TRIED]
    rates, scores = ["learning_rate", "sigma"], tried if len(tried) else shown
    # One that diverged has no likelihood: its rate is out.
    scores = scores.fillna({"val_log_likelihood": -np.inf})
    seen = scores.groupby(["arm", "depth", "sigma"]).learning_rate.transform("nunique")
    scores = scores[seen == scores.learning_rate.nunique()]
    means = scores.groupby(["arm", "depth", *rates], as_index=False).val_log_likelihood.mean()
    best = means.loc[means.groupby(["arm", "depth"]).val_log_likelihood.idxmax()]
    return shown.merge(best[["arm", "depth", *rates]])


def gains(finals, baseline="reweighted"):
    """Each arm's gain in log-likelihood over the baseline, paired by depth and seed."""
    base = finals[finals.arm == baseline][["depth", "seed", "log_likelihood", "key"]]
    pairs = finals[finals.arm != baseline].merge(base, on=["depth", "seed"], suffixes=("_1", "_0"))
    return pairs.assign(gain=pairs.log_likelihood_1 - pairs.log_likelihood_0)


def figure(finals, title):
    """Log-likelihood against depth, and each arm's paired gain over reweighted wake-sleep: points
    are seeds, lines medians, bars intervals of 95 % (from 6 pairs on)."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    depths = sorted(finals.depth.unique())
    shifts = np.linspace(-0.12, 0.12, len(ARMS))
    for axes, data, value in (
        (left, finals, "log_likelihood"),
        (right, gains(finals), "gain"),
    ):
        for shift, (arm, color) in zip(shifts, ARMS.items()):
            if len(mine := data[data.arm == arm]):
                _arm(axes, mine, value, depths, shift, color, arm)
        axes.set(xticks=range(len(depths)), xticklabels=depths, xlabel="hidden layers")
    left.set_ylabel("lower bound of a test image's\nlog-likelihood (nats)")
    right.set_ylabel("gain over reweighted wake-sleep\n(nats, pairs of one seed)")
    right.axhline(0, color="black", lw=0.8)
    one, seeds = finals.iloc[0], seeds_of(finals, ["arm", "depth"])
    drawn.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    handles, labels = left.get_legend_handles_labels()
    legend = drawn.legend(
        handles, labels, loc="outside lower left", ncols=len(labels), alignment="left",
        title=f"{one.dataset_label}, {one.side} pixels a side at most, binarized, {seeds}, "
        f"{one.epochs} epochs; {one.backend} on {one.device}",
    )  # fmt: skip
    legend.get_title().set(color=GREY, fontsize=9)
    return drawn


def _arm(axes, data, value, depths, shift, color, label):
    """What is recorded of an arm: perhaps not every depth."""
    places, medians = [], []
    for depth, values in data.groupby("depth")[value]:
        places.append(depths.index(depth) + shift)
        medians.append(values.median())
        spread = 0.02 * np.linspace(-1, 1, len(values)) if len(values) > 1 else 0
        axes.plot(places[-1] + spread, values, "o", color=color, ms=4, alpha=0.5)
        if value == "gain" and len(values) >= analysis.LEAST_PAIRS:
            low, high = analysis.median_interval(values)
            axes.vlines(places[-1], low, high, color=color, lw=5, alpha=0.3)
    axes.plot(places, medians, "-", color=color, label=label)


def _interval(values):
    """A median's interval in words; "" of too few."""
    if len(values) < analysis.LEAST_PAIRS:
        return ""
    return ", {:+.2f} to {:+.2f}".format(*analysis.median_interval(values))


def answer(finals):
    """At which depths each arm is shown to be better, or worse, than reweighted wake-sleep."""
    said, pairs = [], gains(finals)
    for arm in ARMS:
        found = {1: [], -1: [], 0: []}
        for depth, here in pairs[pairs.arm == arm].groupby("depth").gain:
            enough = len(here) >= analysis.LEAST_PAIRS
            low, high = analysis.median_interval(here) if enough else (0, 0)
            found[int(low > 0) - int(high < 0)].append(f"{depth}")
        words = {1: "better at {}", -1: "worse at {}", 0: "not told apart at {}"}
        where = [words[sign].format(", ".join(at)) for sign, at in found.items() if at]
        said += [f"{arm} is {', '.join(where)}"] if where else []
    return (
        "Against reweighted wake-sleep, by hidden layers, by 95 % intervals, uncorrected for their "
        f"number: {'; '.join(said)}."
    )


def _score(finals, pairs):
    """An arm's median score at a depth, and its gain with the 95 % interval from 6 pairs on."""
    text = f"{finals.log_likelihood.median():.1f} nats"
    if len(gain := pairs.gain):
        better = f"{(gain > 0).sum()} of {len(gain)} better"
        text += f" ({gain.median():+.2f}{_interval(gain)}, {better})"
    return text


def _scores(finals):
    """What is said of each arm and depth that there is."""
    pairs, by = gains(finals), ["arm", "depth"]
    return {
        (arm, depth): _score(here, pairs[(pairs.arm == arm) & (pairs.depth == depth)])
        for (arm, depth), here in finals.groupby(by)
    }


def told(finals):
    """The answer, and each arm's median score and gain over reweighted wake-sleep at each depth, as
    Markdown."""
    lines, scores = [], _scores(finals)
    for depth in sorted(finals.depth.unique().tolist()):
        said = [f"{arm} {scores[arm, depth]}" for arm in ARMS if (arm, depth) in scores]
        lines.append(f"- **{depth} hidden layer{'s' * (depth > 1)}**: {'; '.join(said)}.")
    return "\n".join([answer(finals), "", *lines])


def overview(finals):
    """Every arm as a Markdown table: formula, source, where the formula was read, and its score."""
    depths, scores = sorted(finals.depth.unique().tolist()), _scores(finals)
    head = ["learning rule", "formula", "source", "read in"]
    head += [f"{depth} hidden layer{'s' * (depth > 1)}" for depth in depths]
    rows = []
    for arm, here in ((arm, finals[finals.arm == arm]) for arm in ARMS):
        if here.empty:
            continue
        source, formula = helmholtz.RULES[here.rule.iloc[0]]
        formula += ", by L-Adam" if here.sigma.any() else ""
        found = [scores.get((arm, depth), "not recorded") for depth in depths]
        rows.append([arm, f"`{formula}`", source, "code", *found])
    return markdown.table(head, rows)
