"""`make verify`: train stored runs again, and say of each how far it agrees with what is stored."""

import os
import random
import tempfile

import numpy as np
import pandas as pd

from langevin import executors, profiles, runs, training
from langevin.store import root, whole
from langevin.sweeps import sweep

# After so many steps rounding has not grown yet: across machines, losses agree this far.
STEPS, CLOSE = 20, 1e-4


def verify(profile="paper", count=3):
    """Train a random sample of a profile's stored runs again; at smoke scale all, trained if they
    are not stored, and to agree to the bit.

    A run agrees if its history is equal to the bit.  Recorded by another machine or version, it
    agrees if its losses after 20 steps are those of figures/paper/first-steps.csv within 1e-4, and
    its final test accuracy lies in the seeds' range, widened by its width on either side.

    Returns: True if all agree.  Prints a line a run.
    """
    os.environ.setdefault("LANGEVIN_WORKERS", str(os.cpu_count()))
    if profile == "smoke":
        for notebook in profiles.notebooks(profile):
            if planned := profiles.planned(profile, notebook):
                sweep(planned, profiles.store(profile, notebook))
    stored, seed = _stored(profile), random.randrange(10**6)
    count = len(stored) if profile == "smoke" else min(count, len(stored))
    chosen = random.Random(seed).sample(list(stored), count)
    print(f"{count} of {len(stored)} stored runs of {profile}, drawn with seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        again = sweep(chosen, folder) if chosen else None
    agreeing = 0
    for run in chosen:
        key = runs.key_of(run)
        good, text = _compared(run, again[again.key == key], stored, profile == "smoke")
        agreeing += good
        name = f"{run.model}-{run.depth} {run.optimizer}, sigma {run.sigma:g}, seed {run.seed}"
        print(f"{'agrees ' if good else 'DIFFERS'}  {key}  {name}: {text}")
    print(f"{agreeing} of {count} runs agree.")
    return agreeing == count


def _stored(profile):
    """All stored runs of a profile with their frames."""
    found = {}
    for notebook in profiles.notebooks(profile):
        planned, store = profiles.planned(profile, notebook), profiles.store(profile, notebook)
        found |= {run: runs.frame([record]) for run, record in runs.stored(planned, store).items()}
    return found


def _compared(run, new, stored, exactly):
    """Whether a run that was trained again agrees, and in which words."""
    numbers = ["epoch", *training.METRICS, "kernel_sd", "diverged"]
    old, new = (frame[numbers].reset_index(drop=True) for frame in (stored[run], new))
    if old.equals(new):
        return True, "equal to the bit"
    if exactly:
        return False, "not equal to the bit"
    finals = [frame.val_accuracy.iloc[-1] for other, frame in stored.items() if alike(run, other)]
    low, high, final = min(finals), max(finals), new.val_accuracy.iloc[-1]
    inside = low - (high - low) <= final <= high + (high - low)
    text = f"final accuracy {final:.4f}, {len(finals)} seeds from {low:.4f} to {high:.4f}"
    table = first_steps()
    if (key := runs.key_of(run)) not in table.index:
        return inside, f"{text}; its first steps were not recorded"
    apart = np.abs(table.loc[key] - pd.Series(after_first_steps(run))).max()
    return inside and apart <= CLOSE, f"{text}; losses after {STEPS} steps {apart:.1e} apart"


def alike(run, other):
    return {**run.settings(), "seed": 0} == {**other.settings(), "seed": 0}


def after_first_steps(run):
    """Losses after a run's first steps: a dict."""
    measured = training.after(run, runs.dataset_of(run), STEPS)
    return {name: measured[name] for name in ("loss", "val_loss")}


def _path():
    return root() / "figures" / "paper" / "first-steps.csv"


def first_steps():
    """Losses after the first steps of recorded runs, by key."""
    if not _path().exists():
        return pd.DataFrame(columns=["loss", "val_loss"], index=pd.Index([], name="key"))
    return pd.read_csv(_path(), index_col="key")


def record_first_steps(count):
    """Add so many recorded runs to the table of first steps, those of the first seeds first."""
    table = first_steps()
    lacking = [run for run in _stored("paper") if runs.key_of(run) not in table.index]
    chosen = sorted(lacking, key=lambda run: run.seed)[:count]
    with executors.progress(len(chosen), "run") as bar:
        for run in sorted(chosen, key=lambda run: str(run.program())):
            table.loc[runs.key_of(run)] = after_first_steps(run)
            with whole(_path()) as part:
                table.sort_index().to_csv(part)
            bar.update()
