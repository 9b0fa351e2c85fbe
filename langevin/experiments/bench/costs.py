"""The bench's table read: what noise costs, what bounds a step, the goals; figures and Markdown."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from langevin.experiments.bench import limits
from langevin.experiments.bench.variants import ALL, COMPILATION, NONE, OURS, SOME, THEIRS
from langevin.experiments.results import markdown, plots
from langevin.experiments.results.style import BACKENDS
from langevin.experiments.training.store import root

NOISES = {"Layer Langevin, 30 %": (SOME, "s"), "Langevin, all layers": (ALL, "D")}
# Seconds an epoch and seed of dense-20 that were to be reached where `model.fit` takes 1.3.
MARKS, MARK_OF_FIT = {"tensorflow": 0.8, "jax": 0.55}, 1.3
QUIET = 1.5  # the load that this process makes by its own start; one more busy process makes 2
# Of which layer, timed alone, a model mostly consists.
LAYERS = {
    "dense": limits.SMALL, "highway": limits.SMALL,
    "resnet": limits.CONVOLUTION, "vgg": limits.CONVOLUTION,
}  # fmt: skip


def recorded():
    """The table that `make bench` wrote last, as committed: figures/bench/bench.csv."""
    table = pd.read_csv(root() / "figures" / "bench" / "bench.csv")
    text = ["variant", "baseline", "met", "where_the_time_goes"]
    return table.fillna(dict.fromkeys(text, ""))


def seen(table):
    """On what the table was measured, in words."""
    one = table.iloc[0]
    return (
        f"{one.dataset}, batches of 512; {one.machine}, load before {one.load_before:g}; "
        f"{one.versions}"
    )


def caution(table):
    """A warning, as Markdown, where other work kept the machine busy; else ""."""
    load = table.load_before.iloc[0]
    return (
        f"**The machine was busy with other work (load {load:g} before the first pass): seconds "
        "are too long, ratios uncertain, no goal is decided. Run `make bench` on a quiet machine.**"
        if load >= QUIET else ""
    )  # fmt: skip


def steps_of_models(table):
    """A row a model, the fastest first: L-Adam's plain step on TensorFlow, what it needs of the
    machine, and what noise on 30 % of the layers, and on all, makes of its time and memory."""
    steps = table[(table.what == "step") & (table.loop == OURS) & (table.optimizer == "adam")]
    steps = steps[steps.backend == "tensorflow"]
    top = table.set_index("what")
    rows = []
    for model, here in steps.groupby("model", sort=False):
        plain = here[(here.noise == NONE) & (here.baseline == "")].iloc[0]
        noisy = {noise: here[here.noise == noise].iloc[0] for noise in (SOME, ALL)}
        product, copy = (
            top.loc[limits.PRODUCT].operations_a_second,
            top.loc[limits.COPY].bytes_a_second,
        )
        rows.append({
            "model": model,
            "plain step (ms)": 1e3 * plain.seconds_median,
            "of a large product": plain.operations_a_second / product,
            "of a large copy": plain.bytes_a_second / copy,
            **{f"{name}: time": noisy[noise].ratio for name, (noise, _) in NOISES.items()},
            "plain memory (MB, the allocator's peak)": plain.memory / 2**20,
            **{f"{name}: memory": noisy[noise].memory_ratio for name, (noise, _) in NOISES.items()},
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values("plain step (ms)", kind="stable")


def bounds_text(table):
    """How far from the machine's limits the models are, and why, as Markdown."""
    top = table.set_index("what").operations_a_second
    models = steps_of_models(table).set_index("model")
    shares, copy = models["of a large product"], 100 * models["of a large copy"].max()
    alone = (top / top[limits.PRODUCT]).drop(limits.PRODUCT)
    text = [
        f"A large product makes {top[limits.PRODUCT] / 1e9:.0f} billion operations a second here."
    ]
    layers = [LAYERS.get(model.split("-")[0]) for model in shares.index]
    for layer, here in shares.groupby(layers, sort=False, dropna=False):
        if layer in alone:
            held = [_held(*pair, alone[layer]) for pair in here.items()]
            text.append(f"A {layer} alone reaches {100 * alone[layer]:.0f} %: {'; '.join(held)}.")
        else:
            said = ", ".join(
                f"{model} reaches {100 * share:.0f} %" for model, share in here.items()
            )
            text.append(f"{said}; no layer of that was timed alone.")
    text.append(
        "No model reads and writes what it holds at more than "
        f"{copy:.0f} % of the speed of a large copy."
    )
    return " ".join(text)


def _held(model, share, alone):
    """What holds a model that reaches this share of the limit, and its layer alone another."""
    why = "so small products hold it"
    if share < 0.9 * alone:
        why = f"{share / alone:.2f} of that, so other things than products hold it, too"
    return f"{model} reaches {100 * share:.0f} %, {why}"


def goals(table):
    """Each goal, what was measured, and where the time goes if it was missed, as Markdown;
    undecided where other work kept the machine busy."""
    if table.goal.isna().all():
        return "No goal is set for what was measured here: `make bench` holds dense-20 to them."
    rows = []
    for row in table[table.goal.notna()].itertuples():
        missed = f"**missed**: {row.where_the_time_goes}".rstrip(": ")
        verdict = "not decided" if caution(table) else "met" if row.met == "yes" else missed
        rows.append([
            f"{row.group.rpartition(', ')[2]}, {row.what}: {row.variant}", row.baseline,
            f"{row.ratio:.3f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})", f"{row.goal:g}",
            verdict,
        ])  # fmt: skip
    return markdown.table(["measured", "against", "ratio", "at most", ""], rows)


def everything(table):
    """Every row of the table, as Markdown."""
    rows = []
    for row in table.itertuples():
        measured = not np.isnan(row.seconds_median)
        text = f"{1e3 * row.seconds_median:.4g}" if measured else row.where_the_time_goes
        ratio = f"{row.ratio:.2f}" if measured and row.baseline else ""
        rows.append([row.group, row.variant, text, ratio, row.baseline])
    return markdown.table(["group", "measured", "ms", "ratio", "against"], rows)


def readme():
    """The README's part: the goals, the models, and everything behind a fold."""
    table = recorded()
    return "\n\n".join(filter(None, [
        caution(table),
        f"Measured by `make bench`{minutes_text(table)} on {seen(table)}; ratios are medians over "
        "rounds in which all take turns, with the least and the greatest."
        + saved_text(table) + devices_text(table),
        f"{epoch_text(table)} {met_text(table)} {marks_text(table)}",
        "<details><summary>Goals, where the time goes, and all that was measured</summary>",
        goals(table), markdown.of_frame(steps_of_models(table), ".2f"), bounds_text(table),
        generators_text(table), compilation_text(table), everything(table),
        "</details>",
    ]))  # fmt: skip


def _of_noise(table):
    """The rows that hold noise to the same without it."""
    noisy = table[table.noise.isin((SOME, ALL)) & (table.baseline != "")]
    rest = [text.partition(noise)[2] for text, noise in zip(noisy.variant, noisy.noise)]
    same = [base.endswith(end) for base, end in zip(noisy.baseline, rest)]
    return noisy[same]


def saved_text(table):
    """Where noise took less time than none in every round, as a sentence; "" for nowhere."""
    held = _of_noise(table)
    below = held[held.ratio_high < 1]
    if below.empty:
        return ""
    rows = "; ".join(f"{row.model}, {row.variant}: {row.ratio:.2f}" for row in below.itertuples())
    return (
        f" Of the {len(held)} ratios of noise over none {len(below)} lie below 1 in every round "
        f"({rows}): why was not measured."
    )


def met_text(table):
    """How many of the goals are met, in words."""
    held = table[table.goal.notna()]
    return f"Of this project's {len(held)} goals for ratios {(held.met == 'yes').sum()} are met."


def marks_text(table):
    """The seconds that were to be reached on another machine, and those here, as a sentence."""
    tf, jax, fit = _noisy_epochs(table)
    said = []
    for name, row in (("TensorFlow", tf), ("JAX", jax)):
        mark = MARKS[row.backend]
        verdict = "met" if row.seconds_median <= mark else "missed"
        verdict = "not decided" if caution(table) else verdict
        said.append(f"{name} {row.seconds_median:.2f} s of at most {mark:g}: {verdict}")
    return (
        f"In seconds an epoch and seed, set for a machine where `model.fit` takes {MARK_OF_FIT:g} "
        f"s, here {fit:.2f} s: {'; '.join(said)}."
    )


def minutes_text(table):
    """How long the bench took, in words; "" where it was not noted."""
    return f" in {table.minutes.max():.1f} minutes" if "minutes" in table else ""


def generators_text(table):
    """What a draw by the backends' own generators takes over ours, as a sentence."""
    rows = table[table.what.isin(THEIRS.values())]
    said = (
        f"{row.what.removeprefix('draw by ')} {row.ratio:.2f} of ours" for row in rows.itertuples()
    )
    return f"A draw of dense-20's noise takes by {', by '.join(said)}." if len(rows) else ""


def devices_text(table):
    """On which devices nothing was measured, as a sentence; "" for none."""
    return " Nothing was measured on a GPU." if (table.device == "cpu").all() else ""


def compilation_text(table):
    """What a deep stack takes to compile, as a sentence."""
    rows = table[(table.what == COMPILATION) & (table.baseline != "")].set_index("backend")
    tf, jax = (rows.loc[name] for name in BACKENDS)
    return (
        f"To compile dense-40 takes {tf.seconds_median:.1f} s on TensorFlow, {tf.ratio:.1f} times "
        f"as long as dense-3, and {jax.seconds_median:.1f} s on JAX, {jax.ratio:.1f} times: there "
        "equal layers are one scan."
    )


def _noisy_epochs(table):
    """Rows of an epoch of dense-20 with L-Adam, on TensorFlow and of several seeds on JAX, and the
    seconds of one of `model.fit` with Keras's Adam by default."""
    epochs = table[(table.what == "epoch") & (table.model == "dense-20")]
    ours = epochs[(epochs.noise == ALL) & (epochs.loop == OURS)]
    fit = epochs[epochs.baseline == "Keras's Adam, model.fit"].iloc[0]
    tf, jax = ours[ours.backend == "tensorflow"].iloc[0], ours[ours.together > 1].iloc[0]
    return tf, jax, fit.baseline_seconds_median


def epoch_text(table):
    """Seconds an epoch of dense-20 with evaluation, as sentences."""
    tf, jax, fit = _noisy_epochs(table)
    epochs = table[(table.what == "epoch") & (table.model == "dense-20") & (table.loop == OURS)]
    plain = epochs[epochs.noise == NONE]
    best = plain.loc[plain.groupby("backend").ratio.idxmax()].set_index("backend")
    over = (
        f"{row.ratio:.2f} on {BACKENDS[row.Index]} ({_executions(row.baseline)})"
        for row in best.loc[list(BACKENDS)].itertuples()
    )
    text = (
        f"An epoch of dense-20 with L-Adam and its evaluation takes {tf.seconds_median:.2f} s on "
        f"TensorFlow and {jax.seconds_median:.2f} s a seed on JAX, {jax.together:.0f} seeds "
        f"together, where `model.fit` with Keras's Adam takes {fit:.2f} s. Over the fastest "
        f"`model.fit` that was timed, an epoch of our loop without noise, of one seed alone, takes "
        f"{' and '.join(over)}."
    )
    added = _of_noise(epochs).set_index("backend").ratio
    if added.empty:
        return text
    times = " and ".join(
        f"{added[name]:.2f} times as long on {BACKENDS[name]}" for name in BACKENDS
    )
    return f"{text} With noise on all layers it takes {times}."


def _executions(fit):
    """How many steps an execution a variant of `model.fit` makes, from its text."""
    return fit.partition("model.fit")[2].replace(" on JAX", "").strip(", ") or "by default"


def together_text(table):
    """What a seed costs when several are trained together, as a sentence."""
    rows = table[table.group.str.startswith("seeds together") & (table.together > 1)]
    said = ", ".join(f"{row.together:.0f} together {row.ratio:.2f}" for row in rows.itertuples())
    return f"Over a seed alone, a step of one of several seeds takes on JAX: {said}."


# Figures.


def noise_by_model(table):
    """Time and memory of a Langevin step over the plain step, by model."""
    steps = table[(table.what == "step") & (table.loop == OURS) & (table.optimizer == "adam")]
    steps = steps[(steps.backend == "tensorflow") & (steps.baseline != "")]
    models = list(steps_of_models(table).model)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True)
    for shift, (name, (noise, marker)) in zip((-0.1, 0.1), NOISES.items()):
        rows = steps[steps.noise == noise].drop_duplicates("model").set_index("model").loc[models]
        places = np.arange(len(models)) + shift
        reach = np.abs([rows.ratio_low - rows.ratio, rows.ratio_high - rows.ratio])
        look = {"ls": "", "marker": marker, "color": plots.COLORS["adam"], "label": name}
        look["mfc"] = "white" if noise == SOME else None
        left.errorbar(places, rows.ratio, reach, capsize=3, **look)
        right.plot(places, rows.memory_ratio, **look)
    for axes, what in ((left, "time"), (right, "memory (the allocator's peak)")):
        axes.axhline(1, color=plots.GREY, lw=0.8)
        axes.set(xticks=range(len(models)), ylabel=f"{what}\nover the plain step's")
        axes.set_xticklabels(models, rotation=30, ha="right")
    _finish(figure, "What does the noise cost?", table, left)
    return figure


def loops(table):
    """Seconds an epoch: our loop and `model.fit`, by model and backend."""
    epochs = table[(table.what == "epoch") & (table.noise == NONE) & (table.loop == OURS)]
    models = list(dict.fromkeys(epochs.model))
    figure, grid = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
    for axes, (backend, name) in zip(grid, BACKENDS.items()):
        here = epochs[epochs.backend == backend]
        bars = {OURS: here.drop_duplicates("model").set_index("model").seconds_median}
        for fit, rows in here.groupby("baseline", sort=False):
            label = fit.replace("Keras's Adam, ", "").replace(" on JAX", "")
            bars[label] = rows.set_index("model").baseline_seconds_median
        width = 0.8 / len(bars)
        for place, (label, seconds) in enumerate(bars.items()):
            color = plots.COLORS["adam"] if label == OURS else plots.GREY
            where = [models.index(model) + width * (place - 1) for model in seconds.index]
            alpha = 1 - 0.2 * max(0, place - 1)
            axes.bar(where, seconds, 0.9 * width, color=color, alpha=alpha, label=label)
        axes.set_axisbelow(True)
        axes.set(title=name, xticks=range(len(models)), xticklabels=models)
    grid[0].set_ylabel("seconds an epoch, Adam,\nevaluation included")
    _finish(figure, "Our loop and model.fit", table, grid[0])
    return figure


def together(table):
    """Seconds a seed and memory against the seeds trained together, on JAX."""
    rows = table[table.group.str.startswith("seeds together")].sort_values("together")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    color = plots.COLORS["adam"]
    left.plot(rows.together, 1e3 * rows.seconds_median, "D-", color=color, label="L-Adam, dense-20")
    left.set(ylabel="ms a step and seed")
    right.plot(rows.together, rows.memory / 2**20, "D-", color=color)
    right.set(ylabel="memory (MB; as XLA plans it)")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        counts = rows.together.astype(int)
        axes.set(xlabel="seeds together", xticks=counts, xticklabels=counts)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    _finish(figure, "Many seeds as one program on JAX", table, left)
    return figure


def _finish(figure, title, table, axes):
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    legend = figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", ncols=4, title=seen(table),
        alignment="left",
    )  # fmt: skip
    legend.get_title().set(color=plots.GREY, fontsize=8)
