"""The figures and the sentences of `landscape`: what probed runs show along training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from langevin import plots
from langevin.style import COLORS, INITIALIZERS, NAMES, finish

BY_LAYER = {
    "output_variance": "variance of the layer's output",
    "gradient_variance": "variance of the gradient\nof the layer's kernel",
}
ALONG = {
    "sharpness": "sharpness: the greatest eigenvalue\nof the loss's Hessian",
    "volume": "log weight volume (less: units alike),\nmean of the hidden layers",
    "correlation": "|correlation| of two units' weights,\nmean of the hidden layers",
}


def by_layer(frame, title, epochs):
    """Variances by layer: a row a variance, a column an epoch; every seed a line.

    Args:
        frame: of probed runs of one depth, initializer and optimizer.
    """
    figure, grid = plt.subplots(
        len(BY_LAYER), len(epochs), figsize=(3.6 * len(epochs), 2.7 * len(BY_LAYER) + 0.9),
        squeeze=False, sharex=True, sharey="row",
    )  # fmt: skip
    for line, (column, words) in zip(grid, BY_LAYER.items()):
        line[0].set_ylabel(words)
        for axes, epoch in zip(line, epochs):
            here = frame[frame.epoch == epoch]
            for runs, color, label in _arms(here):
                lines = pd.DataFrame(runs[column].tolist()).T
                plots.bundle(axes, lines, color, label)
            axes.set_yscale("log")
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


def told_along(frame):
    """What `along` shows after the last epoch, as a Markdown table: a row a setting and arm."""
    last = frame[frame.epoch == frame.epoch.max()]
    names = {"sharpness": "sharpness", "volume": "log weight volume", "correlation": "correlation"}
    lines = [f"| after epoch {last.epoch.max()} | {' | '.join(names.values())} |"]
    lines.append("| --- |" + " --- |" * len(names))
    for (depth, initializer), group in last.groupby(["depth", "initializer"]):
        for runs, _, label in _arms(group):
            medians = (f"{_of_a_run(runs, name).median():.3g}" for name in names)
            name = f"depth {depth}, {INITIALIZERS[initializer]}, {label}"
            lines.append(f"| {name} | {' | '.join(medians)} |")
    return "\n".join(lines)


def _when(epoch):
    return f"after epoch {epoch}" if epoch else "before training"


def _arms(frame):
    """The runs of each arm that there is, its colour and its name."""
    for arm, (query, color, _) in plots.PLAIN_AND_LANGEVIN.items():
        if len(runs := frame.query(query)):
            optimizer = runs.optimizer.iloc[0]
            yield runs, color or COLORS[optimizer], arm.format(NAMES[optimizer])


def _of_a_run(runs, name):
    """A number an epoch: of what is measured of kernels, the mean of the hidden layers but the
    first, which all have as many inputs as units."""
    if name == "sharpness":
        return runs.sharpness
    column = {"volume": "log_weight_volume", "correlation": "neuron_correlation"}[name]
    return runs[column].map(lambda values: np.mean(values[1:-1]))
