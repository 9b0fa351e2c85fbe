"""What all figures share: colours, words, panels, provenance, and where they are saved.

An optimizer has one colour everywhere (Okabe and Ito's, safe for the colour-blind); its plain
counterpart is grey.
"""

import numbers
from pathlib import Path

import matplotlib.pyplot as plt

from langevin.experiments.results import analysis
from langevin.experiments.studies import profiles, rates
from langevin.experiments.training import runs
from langevin.experiments.training.store import root, whole

plt.style.use("default")  # whatever the reader's matplotlibrc says
plt.style.use(Path(__file__).with_name("style.mplstyle"))

GREY = "#6b6b6b"
COLORS = {"adam": "#0072B2", "rmsprop": "#D55E00", "adadelta": "#009E73", "sgd": "#CC79A7"}
NAMES = {"adam": "Adam", "rmsprop": "RMSprop", "adadelta": "Adadelta", "sgd": "SGD"}
INITIALIZERS = {
    "glorot_uniform": "Glorot initialization (the paper's)",
    "he_uniform": "He initialization",
}
MODELS = {
    "dense": "dense", "conv-dense": "conv-dense", "highway": "highway", "resnet": "ResNet",
    "vgg": "VGG: no shortcuts", "densenet": "DenseNet", "densenet121": "DenseNet-121",
}  # fmt: skip
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
# The words for a setting's values, in the order in which panels show them.
WORDS = {"optimizer": NAMES, "initializer": INITIALIZERS, "model": MODELS}
CLAIMS = {
    "C1": "C1: shallow, no difference",
    "C2": "C2: the deeper, the more gain",
    "C3": "C3: noise on the deepest layers is enough",
    "C4": "C4: deep residual networks gain",
}
# Ends what a figure says of its runs while some are missing.
SO_FAR = "; so far "


def save(figure, profile, name, data):
    """Write figures/<profile>/<name>.png and .pdf, and the tidy data behind them as .csv.

    Data of runs name them: in a column `key`, or those of pairs in `key_0` and `key_1`.

    Returns: the figure, so that a notebook shows it.
    """
    if "seed" in data and not {"key", "key_0"} & set(data):
        raise ValueError(f"The data of {name} must name their runs in a column `key`.")
    for title in [legend.get_title() for legend in figure.legends]:
        seen, _, _ = title.get_text().partition(SO_FAR)
        title.set_text(seen + (_so_far(name) if profile == "paper" else ""))
    folder = root() / "figures" / profile
    for ending in ("png", "pdf"):
        # No date, so that the same runs give the same file.
        metadata = {"CreationDate": None} if ending == "pdf" else None
        with whole(folder / f"{name}.{ending}") as part:
            figure.savefig(part, metadata=metadata)
    with whole(folder / f"{name}.csv") as part:
        data.to_csv(part, index=False, float_format="%.9g")
    plt.close(figure)
    return figure


def _so_far(name):
    """How many of the runs that a figure's notebook plans are recorded, while some are missing."""
    of = [n for n in profiles.notebooks("paper") if name == n or name.startswith(f"{n}-")]
    notebook = max(of, key=len)
    planned = rates.all_planned("paper", notebook)
    there = runs.count_stored(planned, profiles.store("paper", notebook))
    return f"{SO_FAR}{there} of {len(planned)} runs" if there < len(planned) else ""


def finish(figure, title, frame, axes=()):
    """The message above; below, what it was seen on, and one legend entry a label."""
    entries = {}
    for each in axes:
        handles, labels = each.get_legend_handles_labels()
        entries |= dict(zip(labels, handles))
    one = frame.iloc[0]
    for what in ("backend", "device"):
        if len(found := frame[what].unique()) > 1:
            raise ValueError(f"A figure's runs must have one {what}. Received: {', '.join(found)}")
    settings = ["dataset", "model", "depth", "optimizer", "initializer", "learning_rate"]
    settings += ["variant", "epsilon", *analysis.NOISE]
    seeds = seeds_of(frame, settings)
    data = " and ".join(frame.dataset_label.unique())
    seen = f"{data}, {seeds}, {one.epochs} epochs; {one.backend} on {one.device}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    legend = figure.legend(
        entries.values(), entries, loc="outside lower left", ncols=max(1, len(entries)),
        title=seen, alignment="left",
    )  # fmt: skip
    legend.get_title().set(color=GREY, fontsize=9)


def seeds_of(frame, settings):
    """How many seeds a setting has, in words."""
    seeds = frame.groupby(settings, dropna=False).seed.nunique()
    text = " to ".join(map(str, sorted({seeds.min(), seeds.max()})))
    return text + (" seed" if text == "1" else " seeds")


def values(frame, setting):
    """The values of a setting that a frame has, in the order in which they are shown."""
    there = set(frame[setting])
    return [value for value in WORDS.get(setting, sorted(there)) if value in there]


def brief(words):
    """Words without what stands in brackets behind them."""
    return words.partition(" (")[0]


def word(setting, value):
    """A setting's value in words."""
    words = WORDS.get(setting, {})
    return words.get(value, f"{setting} {value}" if isinstance(value, numbers.Number) else value)


def panels(grid, frame, row, column):
    """The panels that have runs, a row a value of `row`, a column a value of `column`: for each its
    axes, entitled, its runs, and whether it is the lowest of its column.  The others are hidden."""
    for place, across in enumerate(values(frame, column)):
        here = frame[frame[column] == across]
        for height, down in enumerate(values(frame, row)):
            axes, panel = grid[height, place], here[here[row] == down]
            if panel.empty:
                axes.set_visible(False)
                continue
            axes.set_title(f"{word(column, across)}, {word(row, down)}")
            yield axes, panel, down == values(here, row)[-1]
