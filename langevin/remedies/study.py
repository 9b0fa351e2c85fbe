"""The comparison of remedies: the rate of each chosen, its noise arms, one figure, one table."""

import dataclasses
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from langevin import analysis, models, plots, remedies, runs

PLAIN = "ReLU alone"
STRIP = 20  # left of 0: the counts of runs that are not trained
ARMS = {
    "alone": ("sigma == 0", plots.GREY, "o"),
    "with Langevin noise": ("sigma > 0 and langevin_layers == 'all'", "#0072B2", "D"),
    "with Layer Langevin noise": ("sigma > 0 and langevin_layers != 'all'", "#E69F00", "s"),
}


def confirmed(tried, finals, noise, seeds):
    """The runs to report: each setting tried on the validation images, at its best learning rate
    there, on the test set, with each of these noises.

    Args:
        tried: runs with `validation`, equal but for learning rate and seed within a setting.
        finals: what came of them, from `analysis.final`.
        noise: a list of dicts with `sigma` and `langevin_layers`.
        seeds: how many.

    Returns: a list of runs; best is the mean accuracy over seeds, the loss between equals.
    """
    found = finals.set_index("key")
    scores = {}
    for run in tried:
        if (key := runs.key_of(run)) not in found.index:  # not recorded
            continue
        row = found.loc[key]
        # A diverged run has no accuracy: its rate is out.
        score = (-math.inf, -math.inf) if row.diverged else (row.val_accuracy, -row.val_loss)
        scores.setdefault(_setting(run), {}).setdefault(run.learning_rate, []).append(score)
    best = {
        setting: max(rates, key=lambda rate: tuple(np.mean(rates[rate], axis=0)))
        for setting, rates in scores.items()
    }
    return _at(best, noise, seeds)


def _setting(run):
    return dataclasses.replace(run, learning_rate=1.0, seed=0, validation=False)


def _at(rates, noise, seeds):
    """Each setting at its learning rate, with each noise and seed."""
    return [
        dataclasses.replace(setting, learning_rate=rate, seed=seed, **arm)
        for setting, rate in rates.items()
        for arm in noise
        for seed in range(seeds)
    ]


def reported(parameters, tried, store):
    """The runs that a notebook with these parameters reports beside those that it tries: none
    where it tries no learning rates, or where nothing that it tried is stored yet."""
    found = runs.stored(tried, store) if "noise" in parameters else ()
    if not found:
        return []
    finals = analysis.final(runs.frame(found.values()))
    return confirmed(tried, finals, parameters["noise"], parameters["seeds"])


def expected(parameters, tried):
    """As many runs like those that will be reported: to count them, and to estimate their time."""
    if "noise" not in parameters:
        return []
    rates = {_setting(run): run.learning_rate for run in tried}
    return _at(rates, parameters["noise"], parameters["seeds"])


def named(finals):
    """The finals with a `name` for every remedy, for none, and for another optimizer than Adam."""
    names = finals.remedy.fillna(PLAIN)
    other = finals.optimizer.map(lambda one: "" if one == "adam" else f", {plots.NAMES[one]}")
    return finals.assign(name=names + other)


def figure(finals, title):
    """Final test accuracy of each remedy, a panel a depth and initializer, a row a remedy.

    Points are runs that are trained at the end, beside how many of each arm are not; lines are
    the medians of plain ReLU's arms.
    """
    panels = list(finals.groupby(["depth", "initializer"]))
    names = _order(finals)
    drawn, grid = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels) + 1.5, 1.8 + 0.42 * len(names)),
        squeeze=False, sharey=True,
    )  # fmt: skip
    for axes, ((depth, initializer), panel) in zip(grid[0], panels):
        for shift, (arm, look) in zip((-0.25, 0, 0.25), ARMS.items()):
            if len(finals.query(look[0])):
                _arm(axes, panel, names, shift, arm, *look)
        axes.set(
            title=f"depth {depth}, {plots.INITIALIZERS[initializer]}", xlim=(-STRIP, 101),
            xlabel="final test accuracy (%)", xticks=range(0, 101, 20),
            yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -1),
        )  # fmt: skip
        axes.axvspan(-STRIP, 0, color="0.94", zorder=0)
        axes.text(0.5 - STRIP, -0.6, "not trained:", color=plots.GREY, fontsize=8)
    plots.finish(drawn, title, finals, grid[0, :1])
    return drawn


def _order(finals):
    """Plain ReLU first, then the remedies, the most accurate alone first."""
    alone = finals.query(ARMS["alone"][0]).groupby("name").val_accuracy.mean()
    best = alone.sort_values(ascending=False).index
    return [name for name in (PLAIN, *best.drop(PLAIN, errors="ignore"))]


def _arm(axes, panel, names, shift, label, query, color, marker):
    look = {"marker": marker, "color": color, "ms": 4.5, "ls": ""}
    axes.plot([], [], label=label, **look)
    for place, name in enumerate(names):
        here = panel.query(query)
        here = here[here.name == name]
        trained = 100 * here[here.started].val_accuracy
        axes.plot(trained, np.full(len(trained), place + shift), **look)
        if name == PLAIN and len(trained):
            axes.axvline(trained.median(), color=color, alpha=0.4, lw=1)
        if missing := len(here) - len(trained):
            axes.text(1 - STRIP, place + shift, f"{missing}/{len(here)}", color=color, fontsize=7,
                      va="center")  # fmt: skip


def table(frame, finals):
    """A row a remedy, depth and initializer: learning rate, weights, seconds a run, for each arm
    the median test accuracy of the runs that are trained and how many those are, and in points,
    by pairs of one seed, the gain over plain ReLU and what Langevin noise adds."""
    seconds = frame.groupby("key").seconds.sum()
    rows = []
    for (name, depth, initializer), here in finals.groupby(["name", "depth", "initializer"]):
        alone = here.query(ARMS["alone"][0])
        rows.append({
            "remedy": name, "depth": depth, "initializer": initializer,
            "learning_rate": here.learning_rate.iloc[0], "weights": _weights(here.iloc[0]),
            "seconds": alone.key.map(seconds).median(),
            **{name: _outcome(here.query(look[0])) for name, look in ARMS.items()},
            "gain over ReLU": _points(_over_plain(finals, here)),
            "noise adds": _points(_by_noise(here)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _over_plain(finals, remedy):
    """The comparison of a remedy alone with plain ReLU alone; None of plain ReLU itself."""
    same = ["depth", "initializer", "model", "dataset", "optimizer"]
    plain = finals[finals.remedy.isna() & (finals[same] == remedy[same].iloc[0]).all(axis=1)]
    if remedy.remedy.isna().all() or plain.empty:
        return None
    pairs = analysis.pair(
        pd.concat([plain, remedy]), "remedy.isna() and sigma == 0", "remedy.notna() and sigma == 0",
        ("remedy", "name", "learning_rate"),
    )  # fmt: skip
    return next(analysis.compare(pairs).itertuples())


def _by_noise(remedy):
    """The comparison of a remedy with Langevin noise on all layers with the remedy alone."""
    pairs = analysis.pair(remedy, analysis.PLAIN, analysis.LANGEVIN)
    return next(analysis.compare(pairs).itertuples())


def _points(row):
    if row is None or not row.n_both:
        return "–"
    text = f"{100 * row.gain:+.2f}"
    if row.n_both >= analysis.LEAST_PAIRS:
        text += f" ({100 * row.gain_low:+.2f} to {100 * row.gain_high:+.2f})"
    return f"{text}, {row.n_both} pairs"


def answer(finals):
    """What the remedies do alone, and what noise adds to them, as Markdown: a line a depth and
    initializer."""
    lines = []
    for (depth, initializer), panel in finals.groupby(["depth", "initializer"]):
        groups = [here for _, here in panel[panel.remedy.notna()].groupby("name")]
        alone = [here.query(ARMS["alone"][0]) for here in groups]
        over = [_direction(_over_plain(finals, here)) for here in groups]
        noise = [_direction(_by_noise(here)) for here in groups]
        lines.append(
            f"- **Depth {depth}, {plots.INITIALIZERS[initializer]}**: of {len(groups)} remedies "
            f"{sum(arm.started.all() for arm in alone)} end trained in every run alone. Over plain "
            f"ReLU {over.count('helps')} gain accuracy, {over.count('hurts')} lose, of the others "
            f"it is not decided. Noise on top adds to {noise.count('helps')}, takes from "
            f"{noise.count('hurts')}, of the others it is not decided."
        )
    return "\n".join(lines)


def recorded(parameters, tried, store):
    """The finals, named, of what a store holds of a study, as the notebook would show them."""
    found = runs.stored(reported(parameters, tried, store), store)
    if not found:
        return pd.DataFrame(columns=["name", "depth", "initializer"])
    return named(analysis.final(runs.frame(found.values())))


def overview(finals, depths=(20, 40)):
    """Every remedy as Markdown: formula, source, where the formula was read, and what came of it at
    each depth, alone and with noise on top, with a verdict on Langevin noise.

    Args:
        finals: of dense networks, from `recorded`; what is not there is not recorded.
    """
    depths = depths if len(finals) else ()
    head = ["remedy", "formula", "source", "read in", *(f"depth {depth}" for depth in depths)]
    rows = [head, ["---"] * len(head)]
    for name, one in {PLAIN: remedies.PLAIN, **remedies.BY_NAME}.items():
        found = [_results(finals[(finals.name == name) & (finals.depth == depth)])
                 for depth in depths]  # fmt: skip
        formula = one.formula.replace("|", "\\|")
        rows.append([name, f"`{formula}`", one.source, one.mark, *found])
    none = "" if len(finals) else "**No run is recorded yet**: this is what will be compared.\n\n"
    return none + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _results(finals):
    """What came of a remedy at a depth, an initializer a line."""
    said = []
    for initializer, here in finals.groupby("initializer"):
        arms = {arm: here.query(look[0]) for arm, look in ARMS.items()}
        text = "; ".join(f"{arm} {_outcome(runs)}" for arm, runs in arms.items() if len(runs))
        start = plots.INITIALIZERS[initializer].split(" (")[0]
        said.append(f"{start}: {text}; noise: {_verdict(here)}")
    return "<br>".join(said) or "not recorded"


def _verdict(finals):
    """Whether Langevin noise on all layers adds to a remedy: by the interval of the paired gain."""
    if len(finals.query(ARMS["with Langevin noise"][0])) == 0:
        return "not recorded"
    return _direction(_by_noise(finals))


def _direction(row):
    if row is None or row.n_both < analysis.LEAST_PAIRS:
        return f"not decided, {row.n_both if row else 0} pairs"
    return "helps" if row.gain_low > 0 else "hurts" if row.gain_high < 0 else "not decided"


def _weights(row):
    run = runs.Run(
        model=row.model, depth=int(row.depth), dataset=row.dataset, initializer=row.initializer,
        remedy=row.remedy if isinstance(row.remedy, str) else None,
    )  # fmt: skip
    model = models.build(run, runs.dataset_of(run).x_train.shape[1:], int(row.classes))
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def _outcome(arm):
    trained = arm[arm.started]
    if arm.empty:
        return "–"
    share = f"{len(trained)} of {len(arm)}"
    return f"{100 * trained.val_accuracy.median():.2f} %, {share}" if len(trained) else share
