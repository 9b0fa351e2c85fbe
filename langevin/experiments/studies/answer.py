"""The README's answer: a template written by hand, with values from the recorded runs.

Each sentence that depends on the results has a check. When the data no longer say what a sentence
says, building fails and names the sentence.
"""

from langevin.experiments.results import analysis
from langevin.experiments.studies import tables
from langevin.experiments.training.store import root

SEEDS = 20


def require(holds, sentence):
    """ValueError unless the recorded results bear out a sentence of the template."""
    if not holds:
        raise ValueError(
            f"The recorded runs must support the sentence: {sentence!r}. They no longer do: "
            "rewrite it in docs/templates/answer.md, and its check in studies/answer.py."
        )


def text():
    """The filled template, checked against the recorded runs of the notebook `epsilon`."""
    finals = tables.finals_of("paper", "epsilon")
    template = (root() / "docs" / "templates" / "answer.md").read_text(encoding="utf-8")
    return template.strip().format(**checked_values(finals))


def checked_values(finals):
    """The template's values from finals of `epsilon`, after the check of every sentence."""
    arms = {}
    for depth in (40, 80):
        for name, chosen in _arms(finals[finals.depth == depth]).items():
            arms[f"{name}_{depth}"] = chosen
            require(len(chosen) == SEEDS, f"{name} at {depth} layers has {SEEDS} runs")
    trains = {name: int(arm.started.sum()) for name, arm in arms.items()}
    accuracy = {name: 100 * arm.val_accuracy[arm.started].median() for name, arm in arms.items()}
    _check(arms, trains, accuracy)
    values = {name: str(count) for name, count in trains.items()}
    values |= {f"{name}_accuracy": f"{value:.1f}" for name, value in accuracy.items()}
    return {"seeds": str(SEEDS), **values}


def _arms(finals):
    """The runs of each arm at one depth, with Adam."""
    adam = finals[(finals.optimizer == "adam") & finals.noise_cap.isna() & finals.remedy.isna()]
    glorot = adam[adam.initializer == "glorot_uniform"]
    he = adam[(adam.initializer == "he_uniform") & adam.epsilon.isna()]
    plain = glorot[glorot.sigma == 0]
    return {
        "plain": plain[plain.epsilon.isna()],
        "small": plain[plain.epsilon == 1e-12],
        "noise": glorot[glorot.sigma > 0],
        "he": he[he.sigma == 0],
        "he_noise": he[he.sigma > 0],
    }


def _check(arms, trains, accuracy):
    require(
        _p(arms["plain_40"], arms["noise_40"]) < analysis.ALPHA,
        "Adam trains more runs with noise at 40 layers.",
    )
    require(
        _p(arms["plain_40"], arms["small_40"]) < analysis.ALPHA
        and trains["small_40"] >= trains["noise_40"],
        "A smaller epsilon trains as many runs without noise.",
    )
    require(
        accuracy["he_40"] == max(v for name, v in accuracy.items() if name.endswith("40")),
        "He's initialization is the most accurate at 40 layers.",
    )
    require(
        trains["small_80"] < trains["noise_80"] < trains["he_80"]
        and _p(arms["small_80"], arms["noise_80"]) < analysis.ALPHA,
        "At 80 layers noise trains more runs than the small epsilon, fewer than He's start.",
    )
    for depth in (40, 80):
        gain = _pairs(arms[f"he_{depth}"], arms[f"he_noise_{depth}"]).gain.dropna()
        _, high = analysis.median_interval(gain.to_numpy(float))
        require(high < 0, f"On top of He's initialization noise lowers accuracy ({depth}).")


def _pairs(baseline, treatment):
    import pandas as pd

    both = pd.concat([baseline, treatment], ignore_index=True)
    contrast = (*analysis.NOISE, "epsilon")
    return analysis.pair(both, both.key.isin(baseline.key), both.key.isin(treatment.key), contrast)


def _p(baseline, treatment):
    return analysis.compare(_pairs(baseline, treatment)).started_p.iloc[0]
