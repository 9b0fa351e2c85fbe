"""The figure and the tables of `epsilon`: what makes a deep network train, and how well."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from langevin.experiments.results import analysis, epsilon, markdown
from langevin.experiments.results.style import GREY, INITIALIZERS, NAMES, brief, finish

# Of each line: its arm, its start, its colour and its marker.
LINES = {
    "published Adam, no noise": (epsilon.BASELINE, "glorot_uniform", GREY, "o"),
    "epsilon 1e-8, no noise": (epsilon.SMALL, "glorot_uniform", "#E69F00", "s"),
    "epsilon 1e-12, no noise": (epsilon.TINY, "glorot_uniform", "#D55E00", "^"),
    "published noise": (epsilon.NOISE, "glorot_uniform", "#0072B2", "D"),
    "He's start, no noise": (epsilon.BASELINE, "he_uniform", "#009E73", "v"),
    "He's start, published noise": (epsilon.NOISE, "he_uniform", "#56B4E9", "P"),
}
WIDTH, DODGE = 7.0, 0.28  # inches, a page's; of the distance of two depths
BAND = 10  # a 95 % interval needs this many seeds
PRELIMINARY = 3  # with fewer seeds the title says so


def by_depth(finals, title):
    """The share of runs that trains, and the accuracy of those, against depth: a line an arm.

    Bars are 95 % intervals, of the share Wilson's and of the median by order statistics, from 10
    runs on; every run that trains is a faint point. An arm without a run at a depth has a gap.

    Args:
        finals: of `analysis.final`; the figure shows the runs of Adam that its arms name.
    """
    runs = epsilon.with_arms(finals)
    runs = runs[runs.optimizer == "adam"]
    depths = sorted(runs.depth.unique())
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 6.6), sharex=True)
    shifts = np.linspace(-DODGE, DODGE, len(LINES))
    for shift, (name, (arm, start, color, marker)) in zip(shifts, LINES.items(), strict=True):
        here = runs[(runs.arm == arm) & (runs.initializer == start)]
        by = [here[here.depth == depth] for depth in depths]
        _line(top, shift, [_share(part) for part in by], color, marker, name)
        _line(bottom, shift, [_accuracy(part) for part in by], color, marker)
        for place, part in enumerate(by):
            points = 100 * part[part.started].sort_values("seed").val_accuracy
            spread = np.linspace(-0.02, 0.02, len(points)) + place + shift
            bottom.plot(spread, points, ".", color=color, ms=5, alpha=0.45, mew=0, zorder=1)
    top.set(ylim=(-4, 104), ylabel="runs that train (%)")
    bottom.set(
        ylabel="test accuracy of these (%)\nevery run; median where half train",
        xlabel="depth (hidden layers)",
        xticks=range(len(depths)),
        xticklabels=[f"{depth:g}" for depth in depths],
        xlim=(-0.5, len(depths) - 0.5),
    )
    for place in range(1, len(depths)):
        for axes in (top, bottom):
            axes.axvline(place - 0.5, color="0.92", lw=0.8, zorder=0)
    seeds = runs.groupby([*epsilon.SETTING, "arm"]).seed.nunique().min()
    few = "Preliminary: " if seeds < PRELIMINARY else ""
    finish(figure, few + title, runs.assign(remedy="none"), [top])
    _in_two_columns(figure)
    return figure


def _in_two_columns(figure):
    """The legend of `finish` in a page's width."""
    wide = figure.legends[0]
    title = wide.get_title().get_text()
    handles, labels = wide.legend_handles, [text.get_text() for text in wide.get_texts()]
    wide.remove()
    legend = figure.legend(
        handles, labels, loc="outside lower left", ncols=2, title=title, alignment="left"
    )
    legend.get_title().set(color=GREY, fontsize=9)


def _share(runs):
    """The share of the runs that trains, in percent, with Wilson's interval."""
    n, k = len(runs), int(runs.started.sum())
    if n < BAND:
        return (100 * k / n if n else np.nan), np.nan, np.nan
    low, high = analysis.wilson(k, n)
    return 100 * k / n, 100 * low, 100 * high


def _accuracy(runs):
    """The median accuracy of the runs that train, in percent, with its interval; where fewer than
    half train, it would speak for the lucky ones, and is NaN."""
    values = 100 * runs[runs.started].val_accuracy
    if 2 * len(values) < len(runs):
        return np.nan, np.nan, np.nan
    if len(values) < BAND:
        return values.median(), np.nan, np.nan
    return values.median(), *analysis.median_interval(values)


def _line(axes, shift, points, color, marker, label=None):
    middle, low, high = np.array(points, float).T
    places = np.arange(len(points)) + shift
    axes.vlines(places, low, high, color=color, lw=2, alpha=0.45)
    axes.plot(places, middle, color=color, marker=marker, ms=6, mec="white", mew=0.6, label=label)


def arms_table(finals, depth):
    """Every arm at a depth as Markdown: how many train, how well, and the difference to noise."""
    runs = epsilon.with_arms(finals)
    runs = runs[runs.depth == depth]
    head = ["optimizer and start", "arm", "trains", "median accuracy",
            "minus published noise, where both train"]  # fmt: skip
    rows = []
    for (optimizer, start), here in runs.groupby(["optimizer", "initializer"]):
        name = f"{NAMES[optimizer]}, {brief(INITIALIZERS[start])}"
        for arm in [arm for arm in epsilon.ARMS if arm in set(here.arm)]:
            mine = here[here.arm == arm]
            trained = mine[mine.started].val_accuracy
            median = f"{100 * trained.median():.1f} %" if len(trained) else "–"
            difference = "–" if arm == epsilon.NOISE else _difference(here, arm)
            rows.append([name, arm, f"{len(trained)} of {len(mine)}", median, difference])
    return markdown.table(head, rows)


def interventions_table(finals):
    """What each intervention does to published Adam, alone and with noise on top, as Markdown."""
    depth = 40 if 40 in set(finals.depth) else finals.depth.max()
    runs = finals[(finals.optimizer == "adam") & (finals.depth == depth)]
    runs = runs[runs.epsilon.isna() & (runs.initializer == "glorot_uniform")]
    runs = runs[runs.noise_cap.isna()]
    everywhere = runs.langevin_layers == "all"
    rows = []
    for name in [None, *runs.remedy.dropna().unique()]:
        mine = runs[runs.remedy.isna() if name is None else runs.remedy == name]
        noisy = mine[(mine.sigma > 0) & everywhere[mine.index]]
        rows.append([name or "none", *_outcome(mine[mine.sigma == 0]), *_outcome(noisy)])
    for part in ("kernels", "biases"):
        if len(here := runs[(runs.sigma > 0) & (runs.langevin_layers == part)]):
            rows.append([f"noise on {part} alone", "–", "–", *_outcome(here)])
    head = ["intervention", "trains without noise", "median accuracy", "trains with noise",
            "median accuracy"]  # fmt: skip
    return markdown.table(head, rows)


def _outcome(runs):
    """How many runs train, and their median accuracy, as two cells."""
    if runs.empty:
        return "–", "–"
    trained = runs[runs.started].val_accuracy
    median = f"{100 * trained.median():.1f} %" if len(trained) else "–"
    return f"{len(trained)} of {len(runs)}", median


def _difference(runs, arm):
    row = epsilon.compare(runs, epsilon.NOISE, arm)
    if row is None or row.n_both == 0:
        return "–"
    if row.n_both < analysis.LEAST_PAIRS:
        return f"{row.n_both} pairs, too few"
    low, middle, high = (100 * value for value in (row.gain_low, row.gain, row.gain_high))
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f}) points, {row.n_both} pairs"


def verdicts_table(finals):
    """E1, E2 and E4, setting by setting, as Markdown."""
    rows = [
        [row.rule, _setting(row), f"**{row.verdict}**", row.reason]
        for row in epsilon.verdicts(finals).itertuples()
    ]
    return markdown.table(["rule", "setting", "verdict", "numbers"], rows)


def _setting(row):
    cap = "" if pd.isna(row.cap) else f", P to {row.cap:.0e}".replace("e+0", "e")
    start = brief(INITIALIZERS[row.initializer])
    return f"{NAMES[row.optimizer]}, {start}, depth {row.depth:g}{cap}"


def depths_table(finals):
    """E3 as Markdown: the greatest depth at which each arm trains at least half of its seeds."""
    rows = [
        [f"{NAMES[row.optimizer]}, {brief(INITIALIZERS[row.initializer])}", row.arm,
         "none" if pd.isna(row.depth) else f"{row.depth:g}", f"{row.tried:g}"]
        for row in epsilon.e3(finals).sort_values(["optimizer", "initializer", "arm"]).itertuples()
    ]  # fmt: skip
    return markdown.table(["optimizer and start", "arm", "trains half at", "deepest tried"], rows)


def missing_text(planned, finals):
    """How many of the planned runs are not recorded, in a sentence; "" if none is missing."""
    if len(finals) >= len(planned):
        return ""
    return f"{len(finals)} of {len(planned)} planned runs are here; the sweep above names the rest."
