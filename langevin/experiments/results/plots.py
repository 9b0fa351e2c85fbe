"""The figures: seaborn's tools in one style, drawn from frames and never from a training.

Every seed is a point or a thin line; runs that are not trained at the end stand apart, counted, and
in no mean.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from langevin.experiments.results import analysis
from langevin.experiments.results.style import (
    CLAIMS,
    COLORS,
    GREY,
    INITIALIZERS,
    NAMES,
    brief,
    finish,
    panels,
    values,
    word,
)
from langevin.experiments.results.style import MODELS as MODELS  # notebooks have them from here
from langevin.experiments.results.style import save as save

# The strip of counts below an axis of gains: its lower end, the counts' place, its upper end.
STRIP = (-30_000, -4_500, -150)
# A band needs this many seeds; below, the points speak alone.
BAND = 10
BOX = "95 % interval of the median"
NOT_RUN = {"s": "not run", "color": GREY, "fontsize": 7}


def outcomes(
    finals, title, x, order, arms, row="initializer", column="optimizer", label=None, dodge=0.13
):
    """Final test accuracy of every run, by a setting: the outcome of an experiment at a glance.

    Runs that are not trained at the end stand on a strip below the axis, as crosses over their
    count. Medians of the others, where these are half of the runs at least, are joined where two
    arms stand side by side, and bars where an arm is a place; a box is the median's 95 % interval,
    from 10 seeds on.

    Args:
        finals: a row a run, from `analysis.final`.
        x, order: the column on the horizontal axis and its values in order; a column of panels
            shows those that it has.
        arms: a dict from each arm's name to its (query, colour or None for the optimizer's,
            marker); "{}" in a name stands for the optimizer's name.
        row, column: the settings that the panels' rows and columns show.
        label: the horizontal axis, in words.
        dodge: how far two arms stand apart; 0 where each place has one arm only.
    """
    rows, columns = finals[row].nunique(), finals[column].nunique()
    width = max({1: 7.5, 2: 4.6}.get(columns, 3.6), 0.8 * len(order))
    figure, grid = plt.subplots(
        rows, columns, figsize=(width * columns, 0.9 + 2.9 * rows), squeeze=False, sharex="col",
        sharey=True,
    )  # fmt: skip
    shifts = np.linspace(-dodge, dodge, len(arms))
    # The axis begins below the least accurate run that started; the strip is below that.
    least = 100 * finals[finals.started].val_accuracy.min()
    bottom = 20 * np.floor(np.clip(np.nan_to_num(least - 2), 0, 80) / 20)
    strip = 0.3 * (100 - bottom)
    for axes, panel, lowest in panels(grid, finals, row, column):
        above = finals[finals[column] == panel[column].iloc[0]]
        counted = set(panel[x][~panel.started])  # both arms are, where one has such runs
        places = [value for value in order if value in set(above[x])]
        for shift, (arm, (query, color, marker)) in zip(shifts, arms.items()):
            optimizer = panel.optimizer.iloc[0]
            text = arm.format(NAMES[optimizer])
            color = color or COLORS[optimizer]
            runs = panel.query(query)
            _arm(axes, runs, x, places, color, shift, text, marker, join=dodge > 0)
            _not_trained(axes, runs, x, places, counted, color, shift, bottom, strip)
        for place, value in enumerate(places):
            if value not in set(panel[x]):
                axes.text(place, bottom + 2, ha="center", **NOT_RUN)
        axes.axhspan(bottom - strip, bottom, color="0.94", zorder=0)
        text = "not trained at the end, in no median:" + ("" if counted else " none")
        axes.text(-0.45, bottom - 0.06 * strip, text, color=GREY, fontsize=8, va="top")
        axes.set(ylim=(bottom - strip, 101), yticks=np.arange(bottom, 101, 20))
        _category_axis(axes, places, label or x if lowest else None)
    for axes in grid[:, 0]:
        axes.set_ylabel("final test accuracy (%)")
    finish(figure, title, finals, grid[0])
    return figure


def _category_axis(axes, order, label):
    """Places for the values of `order`; named on the panel that is the lowest of its column."""
    names = [name if "\n" in name else name.replace(" ", "\n", 1) for name in map(str, order)]
    axes.set(xticks=range(len(order)), xticklabels=names, xlim=(-0.5, len(order) - 0.5))
    if label:
        axes.set_xlabel(label)
        axes.tick_params(labelbottom=True)


def _arm(axes, arm, x, order, color, shift, label, marker, join):
    if arm.empty:
        return
    look = {"marker": marker, "ms": 4.5, "mec": color, "mfc": color if marker != "o" else "white"}
    medians = []
    for place, value in enumerate(order):
        runs = arm[arm[x] == value].sort_values("seed")
        started = 100 * runs[runs.started].val_accuracy
        x_places = place + shift + _spread(len(started), 0.07)
        axes.plot(x_places, started, ls="", zorder=3, **look)
        # Of fewer than half a median would speak for the lucky ones.
        medians.append(started.median() if 2 * len(started) >= len(runs) else np.nan)
        if len(started) >= BAND:
            sides = place + shift + np.array([-0.09, 0.09])
            bounds = analysis.median_interval(started)
            _interval(axes, sides, *bounds, color, alpha=0.3, zorder=4)
    places = np.arange(len(order)) + shift
    if not join:
        axes.hlines(medians, places - 0.2, places + 0.2, color=color, alpha=0.7)
    # The markers are drawn above; here they only reach the legend.
    line = {"ls": "-" if join else "", "alpha": 0.7, "label": label}
    axes.plot(places, medians, color=color, markevery=[], **line, **look)


def _interval(axes, x, low, high, color, **look):
    """A box or a band in its arm's colour; in the legend, which names it once, in grey."""
    axes.fill_between(x, low, high, color=color, lw=0, **look)
    axes.fill_between([], [], color=GREY, lw=0, alpha=0.3, label=BOX)


def _spread(count, width):
    """How far so many points stand from their place, beside each other; one stands on it."""
    return width * np.linspace(-1, 1, count) if count > 1 else np.zeros(count)


def _not_trained(axes, arm, x, order, counted, color, shift, bottom, strip):
    """The runs that are not trained at the end, at their places on the strip, and their number."""
    for place, value in enumerate(order):
        runs = arm[arm[x] == value]
        if len(runs) and value in counted:
            dead = (~runs.started).sum()
            x_places = place + 1.3 * shift + _spread(dead, 0.09)
            height = np.full(dead, bottom - 0.5 * strip)
            axes.plot(x_places, height, "x", color=color, ms=4.5)
            axes.text(
                place + 1.7 * shift, bottom - 0.8 * strip, f"{dead}/{len(runs)}", color=color,
                ha="center", va="center", fontsize=8.5, fontweight="bold",
            )  # fmt: skip


# The arms of a network that trains plain, with noise on all layers, and on the deepest alone.
LAYERS = {
    "plain {}": (analysis.PLAIN, GREY, "o"),
    "Langevin {}": (analysis.LANGEVIN, None, "D"),
    "deepest 30 %": (analysis.DEEPEST, "#E69F00", "s"),
    "deepest 90 %": (analysis.DEEPEST_90, "#56B4E9", "^"),
}
PLAIN_AND_LANGEVIN = {
    "plain": (analysis.PLAIN, GREY, "o"),
    "Langevin {}": (analysis.LANGEVIN, None, "D"),
}


def accuracy_by_depth(finals, title):
    """`outcomes` against depth, plain beside Langevin."""
    depths = sorted(finals.depth.unique())
    return outcomes(
        finals, title, "depth", depths, PLAIN_AND_LANGEVIN, label="depth (hidden layers)"
    )


def gain_by_depth(finals, title):
    """Paired gain in test accuracy against depth, given that both started: points are seeds,
    bars medians with their 95 % intervals (from 6 pairs on)."""
    pairs = analysis.pair(finals, analysis.PLAIN, analysis.LANGEVIN)
    if pairs.empty:
        figure, axes = plt.subplots(figsize=(4.6, 1.5))
        axes.text(0.5, 0.5, "no pair of runs is there", color=GREY, ha="center")
        axes.axis("off")
        finish(figure, title, finals)
        return figure
    rows, columns = pairs.initializer.nunique(), pairs.optimizer.nunique()
    depths = sorted(pairs.depth.unique())
    figure, grid = plt.subplots(
        rows, columns, figsize=((4.6 if columns < 3 else 3.9) * columns, 3.3 * rows), squeeze=False,
        sharex="col", sharey=True,
    )  # fmt: skip
    for axes, panel, lowest in panels(grid, pairs, "initializer", "optimizer"):
        for place, depth in enumerate(depths):
            if len(here := panel[panel.depth == depth]):
                _gain_at(axes, place, here, COLORS[panel.optimizer.iloc[0]])
        axes.axhline(0, color="black", lw=0.8)
        in_points(axes, "y")
        axes.axhspan(STRIP[0], STRIP[2], color="0.94", zorder=0)
        axes.text(-0.45, 1.2 * STRIP[2], "end trained:", color=GREY, fontsize=8, va="top")
        axes.set_title(brief(axes.get_title("left")))
        _category_axis(axes, depths, "depth (hidden layers)" if lowest else None)
    for axes in grid[:, 0]:
        axes.set_ylabel("Langevin - plain, points\n(linear to 1, then log)")
    finish(figure, title, finals, grid[0, :1])
    return figure


def in_points(axes, along):
    """Gains along "x" or "y": linear to 1 point, then logarithmic, a strip before the least."""
    ticks = [-100, -10, -1, 0, 1, 10, 100]
    getattr(axes, f"set_{along}scale")("symlog", linthresh=1, linscale=0.7)
    getattr(axes, f"set_{along}ticks")(ticks, map(str, ticks))
    getattr(axes, f"set_{along}lim")(STRIP[0], 110)
    axes.minorticks_off()  # the strip is no scale


def _gain_at(axes, place, pairs, color):
    row = next(analysis.compare(pairs).itertuples())
    gains = 100 * pairs.gain.dropna()
    axes.plot(place + _spread(len(gains), 0.16), gains, "o", color=color, ms=4, alpha=0.5)
    if len(gains):
        axes.hlines(100 * row.gain, place - 0.22, place + 0.22, color=color, lw=2.4)
    if row.n_both >= analysis.LEAST_PAIRS:
        sides = place - 0.22, place + 0.22
        _interval(axes, sides, 100 * row.gain_low, 100 * row.gain_high, color, alpha=0.2)
    text = f"{row.started_0} → {row.started_1}\nof {row.n}"
    axes.text(place, STRIP[1], text, ha="center", va="center", fontsize=8,
              color=GREY if row.started_0 == row.started_1 else "black")  # fmt: skip


def curves(frame, title, arms=PLAIN_AND_LANGEVIN, row="initializer", column="depth"):
    """Learning curves of every seed, an arm a colour: a row a value of `row` and optimizer, a
    column a value of `column`; a 95 % band of the median from 10 seeds on."""
    kinds = [
        (value, optimizer, here)
        for value in values(frame, row)
        for optimizer in values(frame, "optimizer")
        if len(here := frame[(frame[row] == value) & (frame.optimizer == optimizer)])
    ]
    columns = values(frame, column)
    width = 2.8 if len(columns) > 1 else 6.5
    figure, grid = plt.subplots(
        len(kinds), len(columns), figsize=(width * len(columns), 0.9 + 2 * len(kinds)),
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    for (value, optimizer, here), line in zip(kinds, grid):
        name = word(row, value).replace(", ", "\n")
        name = brief(name) if row == "initializer" else name
        line[0].set_ylabel(f"{NAMES[optimizer]}\n{name}\ntest accuracy (%)", fontsize=9)
        for place, axes in zip(columns, line):
            panel = here[here[column] == place]
            for arm, (query, color, _) in arms.items():
                color = color or COLORS[optimizer]
                wide = panel.query(query).pivot_table(
                    index="epoch", columns="seed", values="val_accuracy"
                )
                bundle(axes, 100 * wide, color, arm.format(NAMES[optimizer]))
    for place, top, bottom in zip(columns, grid[0], grid[-1]):
        top.set_title(word(column, place))
        bottom.set_xlabel("epoch")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(figure, title, frame, grid[:, -1])
    return figure


def bundle(axes, wide, color, label):
    """Every seed, a column, as a thin line, their median as a thick one as long as half of them are
    there, its 95 % band from 10 seeds on."""
    if wide.empty:
        return
    axes.plot(wide.index, wide, color=color, lw=0.7, alpha=0.45)
    most = 2 * wide.count(axis=1) >= wide.shape[1]
    axes.plot(wide.index, wide.median(axis=1).where(most), color=color, label=label)
    if wide.shape[1] >= BAND:
        bounds = np.array([analysis.median_interval(v.dropna()) for _, v in wide.iterrows()])
        bounds[~most] = np.nan
        _interval(axes, wide.index, *bounds.T, color, alpha=0.25)


def kernel_widths(frame, title, epochs):
    """Standard deviation of each layer's kernel along training, the median over seeds: a row an
    initializer, a column an arm, a line an epoch, dark to light."""
    arms = {arm: look for arm, look in PLAIN_AND_LANGEVIN.items() if len(frame.query(look[0]))}
    rows = [name for name in INITIALIZERS if name in set(frame.initializer)]
    figure, grid = plt.subplots(
        len(rows), len(arms), figsize=(4.6 * len(arms), 2.9 * len(rows)), squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip
    shades = sns.color_palette("viridis", len(epochs))
    for row, initializer in enumerate(rows):
        for column, (arm, (query, _, _)) in enumerate(arms.items()):
            axes = grid[row, column]
            runs = frame[frame.initializer == initializer].query(query)
            for epoch, shade in zip(epochs, shades):
                widths = np.array(runs[runs.epoch == epoch].kernel_sd.tolist())
                if widths.size:
                    median = np.median(widths, axis=0)
                    axes.plot(range(len(median)), median, color=shade, label=f"epoch {epoch}")
            for sd, name in [(np.sqrt(1 / 64), "Glorot"), (np.sqrt(2 / 64), "He")]:
                axes.axhline(sd, color="black", lw=0.8, ls=":")
                axes.annotate(f"{name}'s", (1, sd), xycoords=("axes fraction", "data"), fontsize=8)
            arm = arm.format(NAMES[frame.optimizer.iloc[0]])
            axes.set_title(f"{arm}, {INITIALIZERS[initializer]}")
            if row == len(rows) - 1:
                axes.set_xlabel("layer (0 is nearest the input)")
            if column == 0:
                axes.set_ylabel("sd of the kernel")
    finish(figure, title, frame, grid[0])
    return figure


def heat(finals, title):
    """Median test accuracy of the runs that end trained, over sigma and learning rate: a row an
    initializer, a column a depth.  A cell in which not all did says how many, and how many
    diverged."""
    rows, columns = finals.initializer.nunique(), finals.depth.nunique()
    sigmas, rates = finals.sigma.nunique(), finals.learning_rate.nunique()
    figure, grid = plt.subplots(
        rows, columns, figsize=((0.75 * sigmas + 1) * columns, (0.6 * rates + 1.2) * rows),
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    accuracy = 100 * finals.val_accuracy[finals.started]
    scale = {"vmin": 10 * np.floor(accuracy.min() / 10), "vmax": 100, "cmap": "viridis"}
    # Every panel has all places, since they share their axes; what was not run stays empty.
    steps = sorted(finals.learning_rate.unique(), reverse=True)
    places = pd.MultiIndex.from_product([steps, sorted(finals.sigma.unique())])
    for axes, panel, _ in panels(grid, finals, "initializer", "depth"):
        cells = panel.groupby(["learning_rate", "sigma"]).apply(_cell, include_groups=False)
        cells = cells.reindex(places).astype({"text": object}).fillna({"text": ""}).unstack()
        cells = cells.loc[steps]
        sns.heatmap(
            cells.accuracy, ax=axes, annot=cells.text, fmt="", cbar=False, linewidths=1,
            annot_kws={"fontsize": 8}, **scale,
        )  # fmt: skip
        for y, x in np.argwhere(cells.accuracy.isna().to_numpy()):  # left empty by seaborn
            text = {"s": cells.text.iloc[y, x]} if cells.text.iloc[y, x] else NOT_RUN
            axes.text(x + 0.5, y + 0.5, **{"fontsize": 8, **text}, ha="center", va="center")
        axes.set(xlabel="sigma", ylabel="")
        axes.tick_params(labelbottom=True)
        axes.set_title(brief(axes.get_title("left")).replace(", ", "\n"))
        axes.grid(False)
        axes.set_xticklabels([f"{value:g}" for value in cells.accuracy.columns], rotation=0)
        axes.set_yticklabels([f"{value:g}" for value in cells.index], rotation=0)
    for axes in grid[:, 0]:
        axes.set_ylabel("learning rate")
    figure.colorbar(
        grid[0, 0].collections[0], ax=grid, label="test accuracy (%)\nk of n: so many end trained"
    )
    finish(figure, title, finals)
    return figure


def _cell(runs):
    """A cell of `heat`: its colour and its text."""
    started, diverged = runs[runs.started], runs.diverged.sum()
    accuracy = 100 * started.val_accuracy.median()
    text = f"{accuracy:.1f}" if len(started) else "–"
    if len(started) < len(runs):
        text += f"\n{len(started)} of {len(runs)}"
    if diverged:
        text += f"\n{diverged} diverged"
    return pd.Series({"accuracy": accuracy, "text": text})


EARLY = "so far: "  # before a verdict on fewer runs than planned
VERDICTS = {
    analysis.HOLDS: ("#0072B2", "o"),
    analysis.DOES_NOT: ("#D55E00", "X"),
    analysis.NOT_DECIDED: ("0.6", "."),
    analysis.NOT_APPLICABLE: ("0.75", "x"),
    "too few runs": ("0.8", "_"),
}


def verdict_map(table, title):
    """Each claim's verdict in each setting: a row a setting, a column a claim; hollow those on
    fewer runs than planned.

    Args:
        table: Table 2, from `langevin.experiments.studies.tables.verdicts`.
    """
    settings, claims = list(dict.fromkeys(table.setting)), sorted(table.claim.unique())
    figure, axes = plt.subplots(figsize=(5 + 1.2 * len(claims), 1.5 + 0.27 * len(settings)))
    verdicts = table.verdict.str.removeprefix(EARLY).where(table.pairs > 0, "too few runs")
    early = table.verdict.str.startswith(EARLY)
    for verdict, (color, marker) in VERDICTS.items():
        count = (verdicts == verdict).sum()
        for some, fill in ((~early, color), (early, "white")):
            told = table[(verdicts == verdict) & some]
            x, y = told.claim.map(claims.index), told.setting.map(settings.index)
            label = f"{verdict} ({count})" if fill == color else None
            axes.plot(x, y, marker, color=color, mfc=fill, ms=9, ls="", label=label)
    if early.any():
        axes.plot(
            [], [], "o", color=GREY, mfc="white", ms=9, ls="", label="hollow: not all runs yet"
        )
    axes.set(xlim=(-0.5, len(claims) - 0.5), ylim=(len(settings) - 0.5, -0.5))
    names = [textwrap.fill(CLAIMS[claim], 15) for claim in claims]
    axes.set_xticks(range(len(claims)), names, fontsize=8)
    axes.set_yticks(range(len(settings)), settings, fontsize=8)
    axes.tick_params(labeltop=True, labelbottom=False, length=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    legend = figure.legend(
        loc="outside lower left", ncols=len(VERDICTS) + early.any(), alignment="left",
        title=f"data: {'; '.join(table.data[table.data != 'none yet'].unique()) or 'none yet'}",
    )  # fmt: skip
    legend.get_title().set(color=GREY, fontsize=9)
    return figure
