"""The comparison of remedies: each alone and with noise on top, in one figure and one table."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from langevin.experiments.networks import models, remedies
from langevin.experiments.results import analysis, markdown, plots
from langevin.experiments.results.style import BACKENDS, brief
from langevin.experiments.studies import rates
from langevin.experiments.training import runs

PLAIN, OWN = "ReLU alone", ", own start"
NOISE = {
    "with Langevin noise": analysis.LANGEVIN,
    "with Layer Langevin noise": "sigma > 0 and langevin_layers != 'all'",
}
ARMS = {"alone": analysis.PLAIN, **NOISE}
LOOKS = {
    "alone": ("the remedy alone, over plain ReLU with Adam", plots.GREY, "o"),
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
                      color=color, fontsize=6, va="center")  # fmt: skip


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
    """The gain in points of accuracy, by the pairs that both end trained."""
    if row is None or not row.n_both:
        return "–"
    text = f"{100 * row.gain:+.2f}"
    if row.n_both >= analysis.LEAST_PAIRS:
        text += f" ({100 * row.gain_low:+.2f} to {100 * row.gain_high:+.2f})"
    return text + (f", {row.n_both} of {row.n} pairs" if row.n_both < row.n else "")


def answer(finals):
    """What the remedies do alone, and what noise adds to them, as Markdown: all together, then a
    line a model, depth and initializer."""
    by = ["model", "depth", "initializer"]
    panels = dict(list(finals.groupby(by)))
    told = {where: _told(panel) for where, panel in panels.items()}
    if not told:
        return "- **No run is recorded yet** of the remedies below."
    lines = []
    if len(told) > 1:  # a remedy with an initializer of its own is there for each of plain ReLU's
        all_of = pd.concat(told.values()).drop_duplicates("runs")
        lines.append(f"- **Each remedy at each depth, start and optimizer**: {_sentence(all_of)}")
    for (model, depth, initializer), rows in told.items():
        where = f"{plots.MODELS[model]}, depth {depth}, {plots.INITIALIZERS[initializer]}"
        best = rows[rows.trains].sort_values("accuracy", ascending=False)[:3]
        plain = panels[model, depth, initializer].query(analysis.PLAIN)
        plain = plain[plain["name"] == PLAIN]
        said = f"- **{where}**: {_sentence(rows)}"
        if len(best):
            accurate = ", ".join(f"{one.remedy} {one.outcome}" for one in best.itertuples())
            said += f" Most accurate alone: {accurate}; plain ReLU: {_outcome(plain)}."
        lines.append(said)
    return "\n".join(lines)


def _told(panel):
    """A row a remedy: whether all of its runs end trained alone, and what noise on top adds."""
    rows = []
    for name, here in panel[panel.remedy.notna()].groupby("name"):
        alone, noise, layer = (_compared(panel, here, arm) for arm in ARMS)
        plain = here.query(analysis.PLAIN)
        rows.append({
            "remedy": name.removesuffix(OWN), "runs": frozenset(here.key),
            "trains": plain.started.all(), "accuracy": plain.val_accuracy.median(),
            "outcome": _outcome(plain), "over_plain": np.nan if alone is None else alone.gain,
            "gain": 100 * noise.gain, "more": noise.started_gain,
            "layer_gain": 100 * layer.gain, "layer_more": layer.started_gain,
            "pairs": noise.n, "alone": _direction(alone), "noise": _direction(noise),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _sentence(rows):
    fine, others = rows[rows.trains], rows[~rows.trains]
    said = [
        f"{len(fine)} of {len(rows)} end trained in every run alone, {(fine.over_plain > 0).sum()} "
        "of these further than plain ReLU with Adam."
    ]
    for noise, gain, more in (
        ("Langevin noise on top", fine.gain, fine.more),
        ("Layer Langevin noise", fine.layer_gain, fine.layer_more),
    ):
        if (there := gain.dropna()).size:
            low, middle, high = (f"{there.quantile(share):+.2f}" for share in (0.25, 0.5, 0.75))
            said.append(
                f"{noise} changes these by {middle} points of accuracy (the median; half of them "
                f"{low} to {high}), up {(there > 0).sum()}, down {(there < 0).sum()}; fewer runs "
                f"end trained with {(more < 0).sum()}."
            )
    if len(others):
        said.append(
            f"Of the {len(others)} others more runs end trained with {(others.more > 0).sum()} by "
            f"Langevin noise, fewer with {(others.more < 0).sum()}; by Layer Langevin noise more "
            f"with {(others.layer_more > 0).sum()}, fewer with {(others.layer_more < 0).sum()}."
        )
    least = analysis.LEAST_PAIRS
    if (enough := rows[rows.pairs >= least]).empty:
        said.append(f"No verdict on one alone: that needs {least} pairs of runs.")
    else:
        (helps, hurts), (helped, hurt) = (
            [(enough[arm] == word).sum() for word in ("helps", "hurts")]
            for arm in ("alone", "noise")
        )
        said.append(
            f"Significant by itself, of {len(enough)} with {least} pairs of runs: against plain "
            f"ReLU {helps} help and {hurts} hurt; Langevin noise on top helps {helped} and hurts "
            f"{hurt}."
        )
    return " ".join(said)


def recorded(parameters, tried, store):
    """The finals, named, of what a store holds of a study, as the notebook would show them."""
    found = runs.stored(rates.reported(parameters, tried, store), store)
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
        backends = ", ".join(BACKENDS[backend] for backend in one.backends)
        verdicts = [_verdicts(here[here.depth.isin(depths)])] if depths else []
        rows.append([name, f"`{one.formula}`", one.source, one.mark, backends, *found, *verdicts])
    head += ["does Langevin noise help?"] if depths else []
    return f"{_chosen(finals, tried)}\n\n{markdown.table(head, rows)}"


def _chosen(finals, tried):
    """The learning rates that were tried with each optimizer, and the sigmas."""
    grids, said = {}, []
    for run in tried:
        grids.setdefault(run.optimizer, set()).add(run.learning_rate)
    for optimizer, grid in grids.items():
        here = finals[finals.optimizer == optimizer] if len(finals) else finals
        text = f"{plots.NAMES[optimizer]}, {', '.join(f'{rate:g}' for rate in sorted(grid))}"
        if len(here):
            best = here[here.sigma == 0].groupby(["name", "model", "depth", "initializer"])
            rates = best.learning_rate.first()
            edges = rates.isin([min(grid), max(grid)]).sum()
            text += f" ({edges} of {len(rates)} have the least or the greatest)"
        said.append(text)
    seeds = len({run.seed for run in tried})
    text = "The learning rate of each is the best of a grid on validation images, tried without "
    text += f"noise with {seeds} seed{'s' * (seeds > 1)}: {'; '.join(said)}."
    noisy = finals[finals.sigma > 0] if len(finals) else finals
    if len(noisy):
        sigmas = noisy.groupby("optimizer").sigma.first()
        values = (f"{value:g} with {plots.NAMES[one]}" for one, value in sigmas.items())
        text += f" Sigma is {', '.join(values)}."
    return text


def _results(finals, remedy):
    """What came of a remedy at a depth, an optimizer and initializer a line; a remedy with a start
    of its own is told once, with its gains over plain ReLU from both."""
    said = []
    own = len(remedy) and _has_own_start(remedy.remedy.iloc[0])
    by = ["optimizer"] if own else ["optimizer", "initializer"]
    for (optimizer, *_), here in remedy.groupby(by):
        gains = {
            _start(start): _points(_compared(finals, panel, "alone"))
            for start, panel in here.groupby("initializer")
        }
        told = [f"{gain} over {start}" if own else gain for start, gain in gains.items()]
        once = here.drop_duplicates("key")
        alone, langevin, layer = (_outcome(once.query(query)) for query in ARMS.values())
        alone += f" ({'; '.join(told)})" * any(gain != "–" for gain in gains.values())
        start = "own start" if own else next(iter(gains))
        said.append(
            f"{plots.NAMES[optimizer]}, {start}: {alone}; Langevin {langevin}; Layer {layer}"
        )
    return "<br>".join(said) or "not recorded"


def _verdicts(remedy):
    """Whether Langevin noise helps a remedy: where that differs, for each setting."""
    by = ["depth", "optimizer", "initializer"]
    found = {where: _verdict(here) for where, here in remedy.groupby(by)}
    if len(set(found.values())) < 2:
        return next(iter(found.values()), "not recorded")
    return "<br>".join(
        f"{depth}, {plots.NAMES[optimizer]}, {_start(start)}: {verdict}"
        for (depth, optimizer, start), verdict in found.items()
    )


def _start(initializer):
    """Glorot or He."""
    return initializer.partition("_")[0].capitalize()


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
    """The median accuracy of the runs that end trained, and how many those are if not all."""
    trained = arm[arm.started]
    if arm.empty:
        return "–"
    share = f"{len(trained)} of {len(arm)}" if len(trained) < len(arm) else ""
    accuracy = f"{100 * trained.val_accuracy.median():.2f} %" if len(trained) else ""
    return ", ".join(filter(None, [accuracy, share]))
