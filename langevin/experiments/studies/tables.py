"""Table 1, what was measured, and Table 2, what it says on the claims, from stored runs.

A claim is judged setting by setting and never pooled; of networks and optimizers without a run yet
the claims stand in Table 2 as not decided.
"""

from functools import partial

import pandas as pd

from langevin.experiments.results import analysis, markdown, plots, report
from langevin.experiments.studies import profiles
from langevin.experiments.training import runs
from langevin.experiments.training.store import root, whole

WHERE = {
    "depth-mnist": "dense", "sensitivity": "dense, each arm at its best learning rate",
    "highway": "highway", "depth-cifar10": "conv-dense", "layer-langevin": "dense",
    "resnet": "ResNet and VGG", "densenet": "DenseNet",
}  # fmt: skip
MEASURED = ("depth-mnist", "layer-langevin", "highway", "depth-cifar10", "resnet", "densenet")
ARMS = {"all layers": analysis.LANGEVIN, "deepest 30 %": analysis.DEEPEST,
        "deepest 90 %": analysis.DEEPEST_90}  # fmt: skip
PUBLISHED_SIGMA = 1e-3


def finals_of(profile, notebook):
    """A row a stored run of a notebook, as `analysis.final` makes it; empty without any."""
    blocks = profiles.parameters(profile)[notebook].get("runs", [])
    planned = runs.grid(profiles.available(profile, blocks))
    found = runs.stored(planned, profiles.store(profile, notebook))
    return analysis.final(runs.frame(found.values())) if found else pd.DataFrame()


def outcomes(profile):
    """Table 1: each choice of noisy layers against plain, setting by setting: runs started, medians
    of final training loss and test accuracy where both started, paired gain with its interval."""
    by = ["dataset_label", "model", "depth", "optimizer", "initializer"]
    medians = ["loss_0", "loss_1", "val_accuracy_0", "val_accuracy_1"]
    columns = [
        "figure", *by, "noise", "n", "started_0", "started_1", "started_p", "n_both", *medians,
        "gain", "gain_low", "gain_high", "gain_p",
    ]  # fmt: skip
    parts = [pd.DataFrame(columns=columns)]
    for notebook in MEASURED:
        if (finals := finals_of(profile, notebook)).empty:
            continue
        for layers in finals.langevin_layers[finals.sigma > 0].unique():
            arm = f"sigma > 0 and langevin_layers == {layers!r}"
            pairs = analysis.pair(finals, analysis.PLAIN, arm)
            table = analysis.compare(pairs, by).assign(figure=notebook, noise=layers)
            both = pairs[pairs.gain.notna()].groupby(by)[medians].median()
            parts.append(table.join(both, on=by)[columns])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def runs_behind(profile):
    """The stored runs that both tables are made from, a row a run, with its key."""
    columns = ["figure", "dataset_label", "model", "depth", "optimizer", "initializer",
               "learning_rate", "sigma", "langevin_layers", "seed", "key"]  # fmt: skip
    parts = [finals_of(profile, notebook).assign(figure=notebook) for notebook in WHERE]
    return pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)


def claims(profile):
    """The rows of all claims, as `analysis.verdicts` gives them, with the `figure` they belong to;
    of what a study has no run of, a row a claim, not decided."""
    start, network = ["initializer", "optimizer"], ["network", "optimizer"]
    layers = [partial(analysis.claim_4, treatment=query, name=name) for name, query in ARMS.items()]
    studies = {
        "depth-mnist": (start, [analysis.claim_1, analysis.claim_2]),
        "sensitivity": (start, [analysis.claim_1, analysis.claim_2]),
        "highway": (start, [analysis.claim_1, analysis.claim_2]),
        "depth-cifar10": (start, [analysis.claim_1, analysis.claim_2]),
        "layer-langevin": ([*start, "depth"], [analysis.claim_3]),
        "resnet": (network, layers),
        "densenet": (network, layers),
    }
    parts = [_study(profile, notebook, *study) for notebook, study in studies.items()]
    return _corrected(pd.concat(parts, ignore_index=True))


def _corrected(rows):
    """Holm over all settings of a claim, of every study, that have runs."""
    if "primary" not in rows:
        return rows
    ran = rows.primary.notna()
    judged = analysis.verdicts(rows[ran]).set_index(rows.index[ran])
    return pd.concat([judged, rows[~ran]]).sort_index()


def _study(profile, notebook, by, claims):
    finals, planned, given = finals_of(profile, notebook), profiles.planned(profile, notebook), {}
    if len(finals) and "digits" in set(finals.dataset):
        why = "digits: not its data"
        return _undecided(notebook, claims, WHERE[notebook], why, _data(finals))
    rest = _not_run(notebook, finals, claims, planned)
    if finals.empty:
        return rest
    shallowest = partial(analysis.claim_1, depth=finals.depth.min())
    claims = [shallowest if claim is analysis.claim_1 else claim for claim in claims]
    if notebook == "sensitivity":  # its own question is the whole grid
        best = analysis.at_best_rate(finals, {run.learning_rate for run in planned})
        finals = best[(best.sigma == 0) | (best.sigma == PUBLISHED_SIGMA)]
        given = {"contrast": (*analysis.NOISE, "learning_rate")}
    named = finals.dataset_label.str.partition(", ")[0]  # how many images stands under `data`
    finals["network"] = finals.model.map(plots.MODELS) + ", " + named
    rows, data = (
        report.by_setting(finals, by, claims, planned, corrected=False, **given),
        _data(finals),
    )
    if by[0] != "network":
        others = [name for name in named.unique() if name != "MNIST"]
        where = ", ".join([WHERE[notebook], *others])
        rows["setting"] = f"{where}: " + rows.setting
    return pd.concat([rows.assign(figure=notebook, data=data), rest], ignore_index=True)


def _not_run(notebook, finals, claims, planned):
    """A row a claim for the networks and optimizers of which no run is there; none if all are."""
    there = set() if finals.empty else report.networks_of(finals.itertuples())
    missing = [run for run in planned if report.networks_of([run]).isdisjoint(there)]
    if not missing:
        return pd.DataFrame()
    setting = WHERE[notebook] + (", the rest" if there else "")
    why = f"no run is there of: {'; '.join(runs.which(missing, planned))}"
    return _undecided(notebook, claims, setting, why, "none yet")


def _undecided(notebook, claims, setting, why, data):
    names = sorted({f"C{partial(claim).func.__name__[-1]}" for claim in claims})
    return pd.DataFrame({"claim": names}).assign(
        verdict=analysis.NOT_DECIDED, pairs=0, seeds="none", setting=setting, reason=why,
        figure=notebook, data=data,
    )  # fmt: skip


def _data(finals):
    return ", ".join(finals.dataset_label.unique())


def verdicts(rows):
    """Table 2: a row a claim and setting, its verdict and what was measured."""
    told = rows[rows.verdict != ""].sort_values("claim", kind="stable")
    told = told.assign(verdict=told.seeds.map(report.so_far) + told.verdict)
    columns = ["claim", "figure", "setting", "verdict", "reason", "pairs", "seeds", "data"]
    return told[columns].rename(columns={"reason": "measured"}).astype({"pairs": int})


def save(table, profile, name):
    """Write figures/<profile>/<name>.csv, .md and .tex.

    Returns: the table, so that a notebook shows it.
    """
    texts = {
        "csv": table.to_csv(index=False, float_format="%.9g"),
        "md": markdown.of_frame(table) + "\n",
        "tex": table.map(markdown.text).to_latex(index=False, escape=True, longtable=True),
    }
    for ending, text in texts.items():
        with whole(root() / "figures" / profile / f"{name}.{ending}") as part:
            part.write_text(text)
    return table
