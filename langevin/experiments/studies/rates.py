"""Learning rates: tried on validation images, and what is reported of each setting at its best."""

import dataclasses
import math

import numpy as np

from langevin.experiments.results import analysis
from langevin.experiments.studies import profiles
from langevin.experiments.training import runs


def confirmed(tried, finals, noise, seeds):
    """The runs to report: each setting tried on the validation images, at its best learning rate
    there, on the test set, with each of these noises.

    Args:
        tried: runs with `validation`, equal but for learning rate and seed within a setting.
        finals: what came of them, from `analysis.final`.
        noise: a list of dicts with `sigma` and `langevin_layers`; one that names an `optimizer` is
            for that one alone.
        seeds: how many.

    Returns: a list of runs; best is the mean accuracy over seeds, the loss between equals.  A
        setting of which not all is there yet is left out.
    """
    return _at(_best(tried, finals), noise, seeds)


def _best(tried, finals):
    """Each setting's best learning rate, where all of its runs are there."""
    found, scores, partly = finals.set_index("key"), {}, set()
    for run in tried:
        if (key := runs.key_of(run)) not in found.index:
            partly.add(_setting(run))
            continue
        row = found.loc[key]
        # A diverged run has no accuracy: its rate is out.
        score = (-math.inf, -math.inf) if row.diverged else (row.val_accuracy, -row.val_loss)
        scores.setdefault(_setting(run), {}).setdefault(run.learning_rate, []).append(score)
    return {
        setting: max(rates, key=lambda rate: tuple(np.mean(rates[rate], axis=0)))
        for setting, rates in scores.items()
        if setting not in partly
    }


def _setting(run):
    return dataclasses.replace(run, learning_rate=1.0, seed=0, validation=False)


def _at(rates, noise, seeds):
    """Each setting at its learning rate, with each noise and seed."""
    return [
        dataclasses.replace(setting, learning_rate=rate, seed=seed, **arm)
        for setting, rate in rates.items()
        for arm in noise
        if arm.get("optimizer", setting.optimizer) == setting.optimizer
        for seed in range(seeds)
    ]


def reported(parameters, tried, store):
    """The runs that a notebook with these parameters reports beside those that it tries: none
    where it tries no learning rates, or where nothing that it tried is stored yet."""
    return _reported(parameters, _chosen(parameters, tried, store))


def expected(parameters, tried, store):
    """These, and of what is not tried yet as many runs like those that will be reported: to count
    them, and to estimate their time."""
    rates = {_setting(run): run.learning_rate for run in tried}
    return _reported(parameters, rates | _chosen(parameters, tried, store))


def _reported(parameters, rates):
    return _at(rates, parameters["noise"], parameters["seeds"]) if "noise" in parameters else []


def _chosen(parameters, tried, store):
    found = runs.stored(tried, store) if "noise" in parameters else ()
    return _best(tried, analysis.final(runs.frame(found.values()))) if found else {}


def all_planned(profile, notebook):
    """All runs and learnings of a notebook: those tried, those expected to follow, and the rest."""
    parameters, store = profiles.parameters(profile)[notebook], profiles.store(profile, notebook)
    tried = profiles.planned(profile, notebook)
    learnings = profiles.planned(profile, notebook, "learnings")
    return [*tried, *expected(parameters, tried, store), *learnings]
