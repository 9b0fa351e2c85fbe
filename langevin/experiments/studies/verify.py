"""`make verify`: train stored runs again, and say of each how far it agrees with what is stored."""

import dataclasses
import json
import os
import random
import tempfile

import numpy as np
import pandas as pd

from langevin.experiments.helmholtz.learning import Learning, learn
from langevin.experiments.studies import pipeline, profiles
from langevin.experiments.training import executors, runs
from langevin.experiments.training import loop as training
from langevin.experiments.training.store import Store, whole
from langevin.experiments.training.sweeps import sweep

# How far losses agree across machines after so many steps, computed in double precision.
STEPS, CLOSE = 20, 1e-4


def verify(profile="paper", count=3):
    """Train a random sample of a profile's stored runs and learnings again; at paper scale of all
    that is recorded, at smoke scale all, trained if they are not stored, and to agree to the bit.

    A run agrees if its history is equal to the bit.  Recorded by another machine or version, it
    agrees if its losses after 20 steps, in double precision, are those of
    figures/paper/first-steps.csv within 1e-4, and its final test accuracy lies in the seeds' range,
    widened by its width on either side.

    Returns: True if all agree.  Prints a line a run.
    """
    os.environ.setdefault("LANGEVIN_WORKERS", str(os.cpu_count()))
    if profile == "smoke":
        pipeline.train_plan(profile, _plan(profile))
    stored, seed = _stored(profile), random.randrange(10**6)
    count = len(stored) if profile == "smoke" else min(count, len(stored))
    chosen = random.Random(seed).sample(list(stored), count)
    print(f"{count} of {len(stored)} stored runs of {profile}, drawn with seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _train(chosen, Store(folder))
        again = _histories(runs.stored(chosen, Store(folder)))
    agreeing = 0
    for run in chosen:
        good, text = _compared(run, again[run], stored, profile == "smoke")
        agreeing += good
        print(f"{'agrees ' if good else 'DIFFERS'}  {runs.key_of(run)}  {_named(run)}: {text}")
    print(f"{agreeing} of {count} runs agree.")
    return agreeing == count


def _plan(profile):
    """The profile's notebooks and their parameters."""
    names = profiles.notebooks(profile)
    return {name: pipeline.checked_parameters(profile, name, train=False) for name in names}


def _train(planned, store):
    for kind, trained in ((runs.Run, sweep), (Learning, learn)):
        if own := [run for run in planned if isinstance(run, kind)]:
            trained(own, store)


def _stored(profile):
    """All stored runs and learnings of a profile with their histories."""
    if profile == "paper":
        return _histories(_recorded())
    found = {}
    for notebook, parameters in _plan(profile).items():
        found |= runs.stored(*pipeline.planned_in(profile, notebook, parameters))
    return _histories(found)


def _recorded():
    """All recorded runs and learnings, those that were tried for tuning too, of this backend."""
    found = {}
    for path in sorted(profiles.recorded().glob("*/*.json")):
        if (record := Store(path.parent).load(path.stem)) is None:
            continue
        run = Learning(**record["learning"]) if "learning" in record else runs.Run(**record["run"])
        if runs.key_of(run) == path.stem:  # else of another backend or device
            found[run] = record
    return found


def _histories(records):
    """What was found, a list with one entry an epoch for each name, but for the times."""
    histories = ((run, record["history"].items()) for run, record in records.items())
    return {run: {k: v for k, v in found if "seconds" not in k} for run, found in histories}


def _named(run):
    if isinstance(run, Learning):
        return f"{run.arm()}, {run.depth} layers, seed {run.seed}"
    return f"{run.model}-{run.depth} {run.optimizer}, sigma {run.sigma:g}, seed {run.seed}"


def _compared(run, new, stored, exactly):
    """Whether a run that was trained again agrees, and in which words."""
    # As text, in which NaN is equal to NaN; code of today may measure more.
    if json.dumps(stored[run]) == json.dumps({name: new.get(name) for name in stored[run]}):
        return True, "equal to the bit"
    if exactly:
        return False, "not equal to the bit"
    score = "log_likelihood" if isinstance(run, Learning) else "val_accuracy"
    finals = [history[score][-1] for other, history in stored.items() if alike(run, other)]
    low, high, final = min(finals), max(finals), new[score][-1]
    inside = low - (high - low) <= final <= high + (high - low)
    text = f"final {score} {final:.4f}, {len(finals)} seeds from {low:.4f} to {high:.4f}"
    table = first_steps()
    if (key := runs.key_of(run)) not in table.index:
        return inside, f"{text}; its first steps were not recorded"
    apart = np.abs(table.loc[key] - pd.Series(after_first_steps(run))).max()
    text = f"{text}; losses after {STEPS} steps in double precision {apart:.1e} apart"
    return inside and apart <= CLOSE, text


def alike(run, other):
    same_kind = type(run) is type(other)
    return same_kind and dataclasses.replace(run, seed=0) == dataclasses.replace(other, seed=0)


def after_first_steps(run):
    """Losses after a run's first steps, in double precision: a dict."""
    measured = training.after(run, runs.dataset_of(run), STEPS)
    return {name: measured[name] for name in ("loss", "val_loss")}


def _path():
    return profiles.recorded().with_name("first-steps.csv")


def first_steps():
    """Losses after the first steps of recorded runs, by key."""
    if not _path().exists():
        return pd.DataFrame(columns=["loss", "val_loss"], index=pd.Index([], name="key"))
    return pd.read_csv(_path(), index_col="key")


def record_first_steps(count):
    """Add so many recorded runs to the table of first steps, those of the first seeds first."""
    table = first_steps()
    recorded = (run for run in _stored("paper") if isinstance(run, runs.Run))
    lacking = [run for run in recorded if runs.key_of(run) not in table.index]
    chosen = sorted(lacking, key=lambda run: run.seed)[:count]
    with executors.progress(len(chosen), "run") as bar:
        for run in sorted(chosen, key=lambda run: str(run.program())):
            table.loc[runs.key_of(run)] = after_first_steps(run)
            with whole(_path()) as part:
                table.sort_index().to_csv(part)
            bar.update()
