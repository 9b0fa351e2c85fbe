"""The comparison of remedies: each alone and with noise on top, in one figure and one table."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from langevin import analysis, markdown, models, plots, remedies, runs
from langevin.remedies import tuning
from langevin.style import BACKENDS, brief

PLAIN, OWN = "ReLU alone", ", own start"
NOISE = {
    "with Langevin noise": analysis.LANGEVIN,
    "with Layer Langevin noise": "sigma > 0 and langevin_layers != 'all'",
}
ARMS = {"alone": analysis.PLAIN, **NOISE}
LOOKS = {
    "alone": ("the remedy alone, over plain ReLU", plots.GREY, "o"),
    "with Langevin noise": ("Langevin noise on top of it", "#0072B2", "D"),
    "with Layer Langevin noise": ("Layer Langevin noise on top of it", "#E69F00", "s"),
}


def named(finals):
    """The finals with a `name` for every remedy, for none, and for another optimizer than Adam.  A
    remedy with an initializer of its own is there once for each of plain ReLU's."""
    starts = finals[finals.remedy.isna()].initializer.unique()
    own = finals.remedy.map(_has_own_start) & bool(len(starts))
    beside = [finals[own].assign(initializer=start) for start in starts]
    finals = pd.concat([finals[~own], *beside], ignore_index=True)
    names = finals.remedy.fillna(PLAIN) + np.where(finals.remedy.map(_has_own_start), OWN, "")
    other = finals.optimizer.map(lambda one: "" if one == "adam" else f", {plots.NAMES[one]}")
    return finals.assign(name=names + other)


def _has_own_start(remedy):
    return isinstance(remedy, str) and remedies.of(remedy).initializer is not None


def figure(finals, title):
    """What each remedy gains over plain ReLU, and what noise on top of it gains over the remedy
    alone, in points of final test accuracy: a panel a depth and initializer, a row a remedy.

    Points are pairs of runs of one seed that both end trained, lines their medians; the strip has
    how many runs end trained without and with what is added, where that is not all.
    """
    panels = list(finals.groupby(["depth", "initializer"]))
    names = _order(finals)
    drawn, grid = plt.subplots(
        1, len(panels), figsize=(3.2 * len(panels) + 1.5, 1.6 + 0.34 * len(names)),
        squeeze=False, sharey=True,
    )  # fmt: skip
    for axes, ((depth, initializer), panel) in zip(grid[0], panels):
        for shift, (arm, look) in zip((-0.27, 0, 0.27), LOOKS.items()):
            if len(finals.query(ARMS[arm])):
                _gains(axes, panel, names, shift, arm, *look)
        plots.in_points(axes, "x")
        axes.set(
            title=f"depth {depth}, {brief(plots.INITIALIZERS[initializer])}",
            xlabel="gain in test accuracy, points\n(linear to 1, then log)",
            yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -1),
        )  # fmt: skip
        axes.axvline(0, color="black", lw=0.8)
        low, _, high = plots.STRIP
        axes.axvspan(low, high, color="0.94", zorder=0)
        axes.text(0.98 * low, -0.6, "end trained:", color=plots.GREY, fontsize=8)
    plots.finish(drawn, title, finals, grid[0, :1])
    return drawn


def _order(finals):
    """Plain ReLU first, then the remedies, the most accurate alone first."""
    alone = finals.query(analysis.PLAIN).groupby("name").val_accuracy.mean()
    best = alone.sort_values(ascending=False).index
    return [name for name in (PLAIN, *best.drop(PLAIN, errors="ignore"))]


def _gains(axes, panel, names, shift, arm, label, color, marker):
    look = {"marker": marker, "color": color, "ms": 4, "ls": "", "alpha": 0.6}
    axes.plot([], [], label=label, **look)
    for name, remedy in panel.groupby("name"):
        pairs = _pairs(panel, remedy, arm)
        if pairs is None or pairs.empty:
            continue
        row, here = next(analysis.compare(pairs).itertuples()), names.index(name) + shift
        gains = 100 * pairs.gain.dropna()
        axes.plot(gains, np.full(len(gains), here), **look)
        if len(gains):
            axes.vlines(100 * row.gain, here - 0.13, here + 0.13, color=color, lw=2)
        if min(row.started_0, row.started_1) < row.n:
            axes.text(0.95 * plots.STRIP[0], here, f"{row.started_0} → {row.started_1} of {row.n}",
                      color=color, fontsize=7, va="center")  # fmt: skip


def table(frame, finals):
    """A row a remedy, model, depth and initializer: learning rate, weights, seconds a run, for
    each arm the median test accuracy of the runs that are trained and how many those are, and in
    points, by pairs of one seed, the gain over plain ReLU and what Langevin noise adds."""
    seconds = frame.groupby("key").seconds.sum()
    rows = []
    by = ["name", "model", "depth", "initializer"]
    for (name, model, depth, initializer), here in finals.groupby(by):
        alone = here.query(analysis.PLAIN)
        rows.append({
            "remedy": name, "model": model, "depth": depth, "initializer": initializer,
            "learning_rate": here.learning_rate.iloc[0], "weights": _weights(here.iloc[0]),
            "seconds": alone.key.map(seconds).median(),
            **{arm: _outcome(here.query(query)) for arm, query in ARMS.items()},
            "gain over ReLU": _points(_compared(finals, here, "alone")),
            "noise adds": _points(_compared(finals, here, "with Langevin noise")),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _pairs(finals, remedy, arm):
    """The pairs, by seed, of a remedy's arm with what it is compared with: alone with plain ReLU
    and Adam, None of that itself; with noise with the remedy alone."""
    if arm in NOISE:
        return analysis.pair(remedy, analysis.PLAIN, NOISE[arm])
    same = ["depth", "initializer", "model", "dataset"]
    plain = finals[(finals.name == PLAIN) & (finals[same] == remedy[same].iloc[0]).all(axis=1)]
    if plain.empty or (remedy.name == PLAIN).all():
        return None
    both = pd.concat([plain, remedy]).query(analysis.PLAIN)
    is_plain = both["name"] == PLAIN
    contrast = ("remedy", "name", "optimizer", "learning_rate")
    return analysis.pair(both, is_plain, ~is_plain, contrast)


def _compared(finals, remedy, arm):
    """The comparison of those pairs, or None."""
    pairs = _pairs(finals, remedy, arm)
    return None if pairs is None else next(analysis.compare(pairs).itertuples())


def _points(row):
    if row is None or not row.n_both:
        return "–"
    text = f"{100 * row.gain:+.2f}"
    if row.n_both >= analysis.LEAST_PAIRS:
        text += f" ({100 * row.gain_low:+.2f} to {100 * row.gain_high:+.2f})"
    return f"{text}, {row.n_both} pairs"


def answer(finals):
    """What the remedies do alone, and what noise adds to them, as Markdown: all together, then a
    line a model, depth and initializer."""
    by = ["model", "depth", "initializer"]
    told = {where: _told(panel) for where, panel in finals.groupby(by)}
    if not told:
        return "- **No run is recorded yet** of the remedies below."
    lines = []
    if len(told) > 1:  # a remedy with an initializer of its own is there for each of plain ReLU's
        all_of = pd.concat(told.values()).drop_duplicates("runs")
        lines.append(f"- **Each remedy at each depth, start and optimizer**: {_sentence(all_of)}")
    for (model, depth, initializer), rows in told.items():
        where = f"{plots.MODELS[model]}, depth {depth}, {plots.INITIALIZERS[initializer]}"
        lines.append(f"- **{where}**: {_sentence(rows)}")
    return "\n".join(lines)


def _told(panel):
    """A row a remedy: whether all of its runs end trained alone, and what noise on top adds."""
    rows = []
    for _, here in panel[panel.remedy.notna()].groupby("name"):
        alone, noise, layer = (_compared(panel, here, arm) for arm in ARMS)
        rows.append({
            "runs": frozenset(here.key), "trains": here.query(analysis.PLAIN).started.all(),
            "gain": 100 * noise.gain, "layer": 100 * layer.gain,
            "more": noise.started_gain, "pairs": noise.n,
            "alone": _direction(alone), "noise": _direction(noise),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _sentence(rows):
    fine, others = rows[rows.trains], rows[~rows.trains]
    said = [f"{len(fine)} of {len(rows)} end trained in every run alone."]
    if (gains := fine.gain.dropna()).size:
        said.append(
            f"To these noise on top adds {_spread(gains)}, and lets fewer runs of "
            f"{(fine.more < 0).sum()} end trained."
        )
    if (gains := fine.layer.dropna()).size:
        said.append(f"Layer Langevin noise adds {_spread(gains)}.")
    if len(others):
        said.append(
            f"Of the {len(others)} others noise on all layers lets more runs of "
            f"{(others.more > 0).sum()} end trained, fewer of {(others.more < 0).sum()}."
        )
    if rows.pairs.max() < analysis.LEAST_PAIRS:
        said.append(
            f"No verdict on a single remedy: that needs {analysis.LEAST_PAIRS} pairs, "
            f"{rows.pairs.max()} are there."
        )
    else:
        (helps, hurts), (helped, hurt) = (
            [(rows[arm] == word).sum() for word in ("helps", "hurts")] for arm in ("alone", "noise")
        )
        said.append(
            f"Significant by itself: against plain ReLU {helps} help and {hurts} hurt; noise on "
            f"top helps {helped} and hurts {hurt}."
        )
    return " ".join(said)


def _spread(gains):
    low, middle, high = (f"{gains.quantile(share):+.2f}" for share in (0.25, 0.5, 0.75))
    return (
        f"{middle} points of accuracy (the median over remedies; half of them {low} to {high}), "
        f"above 0 with {(gains > 0).sum()}, below with {(gains < 0).sum()}"
    )


def recorded(parameters, tried, store):
    """The finals, named, of what a store holds of a study, as the notebook would show them."""
    found = runs.stored(tuning.reported(parameters, tried, store), store)
    if not found:
        return pd.DataFrame(columns=["name", "remedy", "model", "depth", "initializer"])
    return named(analysis.final(runs.frame(found.values())))


def overview(finals, tried, depths=(20, 40)):
    """Every remedy as Markdown: formula, source, where the formula was read, and what came of it at
    each depth, alone and with noise on top, with a verdict on Langevin noise.

    Args:
        finals: of dense networks, from `recorded`; what is not there is not recorded.
        tried: the runs of which the learning rates are chosen.
    """
    depths = depths if len(finals) else ()
    head = ["remedy", "formula", "source", "read in", "trains on"]
    head += [f"depth {depth}" for depth in depths]
    rows = []
    for name, one in {PLAIN: remedies.PLAIN, **remedies.BY_NAME}.items():
        here = finals[finals.remedy.fillna(PLAIN) == name]
        found = [_results(finals, here[here.depth == depth]) for depth in depths]
        formula = one.formula.replace("|", "\\|")
        backends = ", ".join(BACKENDS[backend] for backend in one.backends)
        rows.append([name, f"`{formula}`", one.source, one.mark, backends, *found])
    told = f"The learning rate of each is the best of {_grids(tried)} on validation images.\n\n"
    return told + markdown.table(head, rows)


def _grids(tried):
    """The learning rates that were tried with each optimizer."""
    grids = {}
    for run in tried:
        grids.setdefault(run.optimizer, set()).add(run.learning_rate)
    return "; ".join(
        f"{', '.join(f'{rate:g}' for rate in sorted(rates))} with {plots.NAMES[optimizer]}"
        for optimizer, rates in grids.items()
    )


def _results(finals, remedy):
    """What came of a remedy at a depth, an optimizer and initializer a line; a remedy with a start
    of its own is told once, with its gains over plain ReLU from both."""
    said = []
    own = len(remedy) and _has_own_start(remedy.remedy.iloc[0])
    by = ["optimizer"] if own else ["optimizer", "initializer"]
    for (optimizer, *_), here in remedy.groupby(by):
        gains = []
        for initializer, panel in here.groupby("initializer"):
            start = brief(plots.INITIALIZERS[initializer])
            gain = _points(_compared(finals, panel, "alone"))
            gains.append(f"{gain} over ReLU" + f" from {start}" * own)
        once = here.drop_duplicates("key")
        arms = {arm: _outcome(once.query(query)) for arm, query in ARMS.items()}
        arms["alone"] += f" ({'; '.join(gains)})" * any(gain[0] != "–" for gain in gains)
        text = "; ".join(f"{arm} {found}" for arm, found in arms.items() if found != "–")
        start = "its own start" if own else start
        said.append(f"{plots.NAMES[optimizer]}, {start}: {text}; noise: {_verdict(panel)}")
    return "<br>".join(said) or "not recorded"


def _verdict(finals):
    """Whether Langevin noise on all layers adds to a remedy."""
    if finals.query(NOISE["with Langevin noise"]).empty:
        return "not recorded"
    return _direction(_compared(finals, finals, "with Langevin noise"))


def _direction(row):
    """By how many end trained, and by the gain where both do: as for noise alone."""
    if row is None or row.n < analysis.LEAST_PAIRS:
        return f"not decided, {row.n if row else 0} pairs"
    trained, further = analysis.directions(row)
    if trained * further < 0:
        return "trains more runs, less far" if trained > 0 else "trains fewer runs, further"
    return {1: "helps", -1: "hurts", 0: "not decided"}[trained or further]


def _weights(row):
    run = runs.Run(
        model=row.model, depth=int(row.depth), dataset=row.dataset, initializer=row.initializer,
        remedy=row.remedy if isinstance(row.remedy, str) else None,
    )  # fmt: skip
    model = models.build(run, *runs.shape_of(run))
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def _outcome(arm):
    trained = arm[arm.started]
    if arm.empty:
        return "–"
    share = f"{len(trained)} of {len(arm)}"
    return f"{100 * trained.val_accuracy.median():.2f} %, {share}" if len(trained) else share
