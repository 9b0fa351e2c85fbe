"""The README's answer: a template written by hand, with values from the recorded runs.

Each sentence that depends on the results has a check. When the data no longer say what a sentence
says, building fails and names the sentence.
"""

import pandas as pd

from langevin.experiments.results import analysis, epsilon
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
    adam = epsilon.with_arms(finals[finals.optimizer == "adam"])
    glorot, he = (adam[adam.initializer == f"{start}_uniform"] for start in ("glorot", "he"))
    return {
        "plain": glorot[glorot.arm == epsilon.BASELINE],
        "small": glorot[glorot.arm == epsilon.SMALL],
        "tiny": glorot[glorot.arm == epsilon.TINY],
        "noise": glorot[glorot.arm == epsilon.NOISE],
        "he": he[he.arm == epsilon.BASELINE],
        "he_noise": he[he.arm == epsilon.NOISE],
    }


def _check(arms, trains, accuracy):
    require(
        _compared(arms["plain_40"], arms["noise_40"]).started_p < analysis.ALPHA,
        "Adam trains more runs with noise at 40 layers.",
    )
    require(
        min(trains["tiny_40"], trains["he_40"]) >= trains["noise_40"],
        "Noise is not needed for that.",
    )
    require(
        accuracy["he_40"] == max(v for name, v in accuracy.items() if name.endswith("40")),
        "He's initialization is the most accurate at 40 layers.",
    )
    require(
        trains["tiny_80"] < trains["noise_80"] < trains["he_80"]
        and _compared(arms["tiny_80"], arms["noise_80"]).started_p < analysis.ALPHA,
        "At 80 layers noise trains more runs than the small epsilon, fewer than He's start.",
    )
    for depth in (40, 80):
        row = _compared(arms[f"he_{depth}"], arms[f"he_noise_{depth}"])
        require(
            row.gain_high < 0,
            f"On top of He's initialization noise lowers accuracy at {depth} layers.",
        )


def _compared(baseline, treatment):
    both = pd.concat([baseline, treatment], ignore_index=True)
    sides = both.key.isin(baseline.key), both.key.isin(treatment.key)
    return next(analysis.compare(analysis.pair(both, *sides, epsilon.CONTRAST)).itertuples())
