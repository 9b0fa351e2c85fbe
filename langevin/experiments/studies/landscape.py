"""The figures and the sentences of `landscape`: what probed runs show along training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from langevin.experiments.results import analysis, markdown, plots
from langevin.experiments.results.style import COLORS, INITIALIZERS, NAMES, brief, finish

BY_LAYER = {
    "output_variance": "variance of the layer's output",
    "gradient_variance": "variance of the gradient\nof the layer's kernel",
}
# What `changes` compares: its name in words, and whether by a ratio, not a difference.
MEASURED = {
    "gradient": ("a hidden layer's gradient (sd)", True),
    "sharpness": ("sharpness", True),
    "volume": ("log weight volume", False),
    "correlation": ("correlation", False),
}
ALONG = {
    "sharpness": "sharpness: the greatest eigenvalue\nof the loss's Hessian",
    "volume": "log weight volume (less: units alike),\nmean of hidden layers but the first",
    "correlation": "|correlation| of two units' weights,\nmean of hidden layers but the first",
}


def by_layer(frame, title, epochs):
    """Variances by layer: rows a depth and variance, a column an epoch; every seed a line.

    Args:
        frame: of probed runs of one initializer and optimizer.
    """
    depths = sorted(frame.depth.unique())
    rows = [(depth, column) for depth in depths for column in BY_LAYER]
    figure, grid = plt.subplots(
        len(rows), len(epochs), figsize=(3.6 * len(epochs), 2.3 * len(rows) + 0.9),
        squeeze=False, sharex="row", sharey="row",
    )  # fmt: skip
    for line, (depth, column) in zip(grid, rows):
        line[0].set_ylabel(f"depth {depth}\n{BY_LAYER[column]}", fontsize=9)
        for axes, epoch in zip(line, epochs):
            here = frame[(frame.depth == depth) & (frame.epoch == epoch)]
            for runs, color, label in _arms(here):
                lines = pd.DataFrame(runs[column].tolist()).T
                plots.bundle(axes, lines, color, label)
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, epoch in zip(grid[0], epochs):
        axes.set_title(_when(epoch))
    for axes in grid[-1]:
        axes.set_xlabel("layer (0 is nearest the input)")
    finish(figure, title, frame, grid[0])
    return figure


def along(frame, title):
    """Curvature and kernels along training: a row a depth and initializer; every seed a line."""
    settings = [
        (depth, initializer, here)
        for depth in sorted(frame.depth.unique())
        for initializer in INITIALIZERS
        if len(here := frame[(frame.depth == depth) & (frame.initializer == initializer)])
    ]
    figure, grid = plt.subplots(
        len(settings), len(ALONG), figsize=(3.9 * len(ALONG), 2.3 * len(settings) + 0.9),
        squeeze=False, sharex=True, sharey="col",
    )  # fmt: skip
    for line, (depth, initializer, here) in zip(grid, settings):
        for axes, name in zip(line, ALONG):
            for runs, color, label in _arms(here):
                wide = runs.assign(value=_of_a_run(runs, name))
                wide = wide.pivot(index="epoch", columns="seed", values="value")
                plots.bundle(axes, wide, color, label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        line[0].set_yscale("log")
        line[0].set_ylabel(f"depth {depth}\n{INITIALIZERS[initializer].split(' ')[0]}")
    for axes, words in zip(grid[0], ALONG.values()):
        axes.set_title(words, fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    finish(figure, title, frame, grid[0])
    return figure


def told(frame, epochs):
    """The standard deviation of a hidden layer's gradient, the median over layers and seeds, as
    Markdown: a line a setting."""
    lines = []
    for (depth, initializer), group in frame.groupby(["depth", "initializer"]):
        arms = []
        for runs, _, label in _arms(group):
            said = []
            for epoch in epochs:
                here = np.array(runs[runs.epoch == epoch].gradient_variance.tolist())
                said.append(f"{np.sqrt(np.median(here[:, :-1])):.2g} {_when(epoch)}")
            arms.append(f"{label} {', '.join(said)}")
        name = f"depth {depth}, {INITIALIZERS[initializer]}"
        lines.append(f"- **{name}**: {'; '.join(arms)}.")
    return "\n".join(lines)


def changes(frame):
    """What noise changes of each number in `MEASURED` after the last epoch, by pairs of one seed: a
    row a setting and number, medians with and without noise, the median ratio or difference, its
    95 % interval."""
    rows = []
    last = frame[frame.epoch == frame.epoch.max()]
    for (depth, initializer), group in last.groupby(["depth", "initializer"]):
        arms = [runs for runs, _, _ in _arms(group)]
        for name, (_, by_ratio) in MEASURED.items() if len(arms) == 2 else ():
            sides = [pd.Series(_of_a_run(runs, name).to_numpy(), runs.seed) for runs in arms]
            pairs = pd.concat(sides, axis=1, keys=["plain", "noise"], join="inner")
            scaled = np.log(pairs.where(pairs > 0)) if by_ratio else pairs
            change = scaled.diff(axis=1).noise.dropna()
            found = np.array([change.median(), *analysis.median_interval(change)])
            found = np.exp(found) if by_ratio else found
            rows.append([depth, initializer, name, *pairs.median(), *found, len(change)])
    setting = ["depth", "initializer", "number", "plain", "noise"]
    return pd.DataFrame(rows, columns=[*setting, "change", "low", "high", "pairs"])


def _change(row):
    """A change in words, with its interval from 6 pairs on."""
    if not row.pairs:
        return "no pairs"
    form = "×{:.2g}" if MEASURED[row.number][1] else "{:+.2g}"
    text = form.format(row.change)
    if row.pairs < analysis.LEAST_PAIRS:
        return f"{text}, {row.pairs} pairs"
    return f"{text}, {form.format(row.low)} to {form.format(row.high)}"


def told_along(frame):
    """What is left after the last epoch as a Markdown table: a row a setting, in its cells what is
    measured without noise, with noise, and the change by pairs of one seed."""
    rows = []
    found = changes(frame)
    for (depth, initializer), group in found.groupby(["depth", "initializer"]):
        cells = [
            f"{row.plain:.2g} → {row.noise:.2g} ({_change(row)})" for row in group.itertuples()
        ]
        rows.append([f"depth {depth}, {INITIALIZERS[initializer]}", *cells])
    head = [f"after epoch {frame.epoch.max()}", *(words for words, _ in MEASURED.values())]
    return markdown.table(head, rows)


def answer(frame):
    """What noise has changed in the deepest network after the last epoch: a sentence."""
    found = changes(frame)
    if not found.pairs.sum():
        return "No runs with and without noise to compare."
    said = []
    for initializer, group in found[found.depth == found.depth.max()].groupby("initializer"):
        parts = [f"{MEASURED[row.number][0]} {_change(row)}" for row in group.itertuples()]
        said.append(f"{brief(INITIALIZERS[initializer])}: {'; '.join(parts)}")
    return (
        f"After epoch {frame.epoch.max()} of {found.depth.max()} layers, with noise over without, "
        f"medians of pairs of one seed and their 95 % intervals, {'. '.join(said)}."
    )


def _when(epoch):
    return f"after epoch {epoch}" if epoch else "before training"


def _arms(frame):
    """The runs of each arm that there is, its colour and its name."""
    for arm, (query, color, _) in plots.PLAIN_AND_LANGEVIN.items():
        if len(runs := frame.query(query)):
            optimizer = runs.optimizer.iloc[0]
            yield runs, color or COLORS[optimizer], arm.format(NAMES[optimizer])


def _of_a_run(runs, name):
    """A number an epoch: of the gradients' standard deviations the median of the hidden layers; of
    what is measured of kernels, the mean of those but the first, which all have as many inputs as
    units."""
    if name == "sharpness":
        return runs.sharpness
    if name == "gradient":
        return runs.gradient_variance.map(lambda values: np.sqrt(np.median(values[:-1])))
    column = {"volume": "log_weight_volume", "correlation": "neuron_correlation"}[name]
    return runs[column].map(lambda values: np.mean(values[1:-1]))
