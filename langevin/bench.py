"""`make bench`: what our loop and the noise cost, as ratios measured side by side in one run.

A variant is one thing to time, a comparison names two of them; `langevin.timed` says what is in
them.  Each variant is compiled and passed through once before anything counts.  Then the variants
of a group take turns, A B C A B C, so that the machine's drift hits all alike; a ratio is the
median over the rounds of the ratios within a round, beside the least and the greatest of them.
"""

import dataclasses
import itertools
import os
import platform
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from langevin import optimizers, runs, store
from langevin.timed import (
    ALL,
    FIT,
    KERAS,
    NONE,
    OURS,
    SOME,
    Setting,
    Variant,
    mnist_or_its_size,
    subject_of,
    take_turns,
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table: a variant over its baseline; `goal` is the greatest ratio aimed at."""

    group: str
    variant: Variant
    baseline: Variant
    goal: float | None = None


def epoch_comparisons():
    """Our loop against `model.fit`: Adam, L-Adam, and our L-Adam against Keras's Adam."""
    plain, noisy = Variant("epoch", OURS, "adam", NONE), Variant("epoch", OURS, "adam", ALL)
    of_keras, of_ours = Variant("epoch", FIT, "adam", KERAS), Variant("epoch", FIT, "adam", ALL)
    for variant, baseline in [(plain, of_keras), (noisy, of_ours)]:
        yield Comparison("epoch", variant, baseline, goal=0.4)
        yield Comparison("epoch", variant, dataclasses.replace(baseline, executions="best"))
    yield Comparison("epoch", noisy, of_keras)


def step_comparisons(loop):
    """Each Langevin optimizer against its plain counterpart, in one loop."""
    goals = {("adam", SOME): 1.15, ("adam", ALL): 1.3} if loop == OURS else {}
    for name in optimizers.BY_NAME:
        plain = Variant("step", loop, name, NONE)
        for noise in (SOME, ALL):
            noisy = dataclasses.replace(plain, noise=noise)
            yield Comparison(f"step, {loop}", noisy, plain, goals.get((name, noise)))
        if loop == FIT:
            for noise in (NONE, SOME, ALL):
                own = dataclasses.replace(plain, noise=KERAS)
                yield Comparison(f"step, {loop}", dataclasses.replace(plain, noise=noise), own)


def part_comparisons():
    """Where the time of an L-Adam step goes, as shares of the plain step."""
    step = Variant("step", OURS, "adam", NONE)
    for what, noise in [("update", NONE), ("draw", SOME), ("draw", ALL)]:
        # In the steps' group, so that both are timed in the same rounds.
        yield Comparison(f"step, {OURS}", dataclasses.replace(step, what=what, noise=noise), step)


def all_comparisons():
    # The epochs last: what was measured before says where their time goes.
    return [
        *step_comparisons(OURS), *part_comparisons(), *step_comparisons(FIT), *epoch_comparisons(),
    ]  # fmt: skip


def variants_of(comparisons):
    """Each variant once, in the order of first mention, a baseline before what is held to it."""
    return list(dict.fromkeys(v for c in comparisons for v in (c.baseline, c.variant)))


def row_of(comparison, seconds, notes=None):
    """A comparison's row: medians, and the ratios within the rounds."""
    notes = notes or {}
    own, base = (np.array(seconds[v]) for v in (comparison.variant, comparison.baseline))
    ratios = own / base
    goal, ratio = comparison.goal, float(np.median(ratios))
    return {
        "group": comparison.group,
        "variant": f"{comparison.variant}{notes.get(comparison.variant, '')}",
        "baseline": f"{comparison.baseline}{notes.get(comparison.baseline, '')}",
        "seconds_median": float(np.median(own)),
        "baseline_seconds_median": float(np.median(base)),
        "ratio": ratio,
        "ratio_low": float(ratios.min()),
        "ratio_high": float(ratios.max()),
        "goal": goal,
        "met": "" if goal is None else "yes" if ratio <= goal else "no",
    }


def where_time_goes(comparison, seconds, steps):
    """For a goal that was missed, the parts of the time, in words; "" where they were not timed."""
    median = {variant: 1e3 * float(np.median(values)) for variant, values in seconds.items()}
    variant, baseline = comparison.variant, comparison.baseline
    plain = Variant("step", OURS, variant.optimizer, NONE)
    try:
        update = median[dataclasses.replace(plain, what="update")]
        gradients = median[plain] - update
        if variant.what == "epoch":
            step, other = (median[dataclasses.replace(v, what="step")] for v in (variant, baseline))
            rest, other_rest = median[variant] - steps * step, median[baseline] - steps * other
            return (
                f"{steps} steps of {step:.2f} ms, of it the gradients {gradients:.2f}, and "
                f"{rest:.0f} ms of evaluation and the rest; the baseline {steps} of {other:.2f} "
                f"and {other_rest:.0f} ms. The gradients alone would be "
                f"{steps * gradients / median[baseline]:.2f} of the baseline"
            )
        draw = median[dataclasses.replace(variant, what="draw")]
        added = median[variant] - median[plain]
        return (
            f"plain step {median[plain]:.2f} ms: gradients {gradients:.2f}, update {update:.2f}; "
            f"noise adds {added:.2f}: the draw alone {draw:.2f}, its use {added - draw:.2f}"
        )
    except KeyError:
        return ""


def machine():
    """Columns that name the processor with its cores, the versions, and how busy it was."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor() or platform.machine()
    able = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    device = "" if runs.device() == "cpu" else f", {runs.device()}"
    packages = ("keras", keras.backend.backend(), "numpy")
    versions = [f"python {platform.python_version()}"]
    versions += [f"{name} {runs._version(name)}" for name in packages]
    return {
        "machine": f"{processor}, {len(able)} cores{device}",
        "versions": ", ".join(versions),
        "load_before": round(os.getloadavg()[0], 1),
    }


def measure(comparisons, setting, rounds):
    """Yields the table group by group, a row a comparison."""
    passes = sum(len(variants_of(members)) for _, members in _groups(comparisons)) * (rounds + 2)
    seconds, steps = {}, len(setting.dataset.x_train) // setting.batch_size
    with tqdm(total=passes, unit="pass") as bar:
        for group, members in _groups(comparisons):
            subjects = {}
            for variant in variants_of(members):
                bar.set_description(f"{group}: compiling")
                subjects[variant] = subject_of(variant, setting)
                bar.update()
            bar.set_description(f"{group}: timing")
            seconds |= take_turns(subjects, rounds, bar.update)
            notes = {variant: subject.note for variant, subject in subjects.items()}
            rows = [row_of(comparison, seconds, notes) for comparison in members]
            for row, comparison in zip(rows, members):
                why = where_time_goes(comparison, seconds, steps) if row["met"] == "no" else ""
                row["where_the_time_goes"] = why
            yield pd.DataFrame(rows)


def _groups(comparisons):
    return [(k, list(g)) for k, g in itertools.groupby(comparisons, key=lambda c: c.group)]


def bench(rounds=5, comparisons=None, setting=None, folder=None):
    """Measure, print the table, and save it as bench.csv.

    Args:
        rounds: how often each variant is timed, after a pass that does not count.
        comparisons: by default `all_comparisons()`.
        setting: by default dense-20 on MNIST, in batches of 512.
        folder: by default figures/bench of this project.

    Returns: the table.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`bench` measures the loop on TensorFlow. "
            f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
        )
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {rounds}")
    setting = setting or Setting(mnist_or_its_size())
    facts = {"dataset": setting.dataset.label, **machine(), "rounds": rounds}
    print(
        f"dense-{setting.depth} on {setting.dataset.label}, batches of {setting.batch_size}; "
        f"medians of {rounds} rounds.\n{facts['machine']}; {facts['versions']}; "
        f"load before: {facts['load_before']}.", flush=True,
    )  # fmt: skip
    comparisons = all_comparisons() if comparisons is None else list(comparisons)
    path = Path(folder or store.root() / "figures" / "bench") / "bench.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame()
    for rows in measure(comparisons, setting, rounds):
        # At once: what is measured is kept when the rest is interrupted.
        table = pd.concat([table, rows.assign(**facts)], ignore_index=True)
        table.to_csv(path, index=False, float_format="%.5g")
        tqdm.write(as_text(rows))
    print(f"\nSaved: {path}")
    return table


def as_text(table):
    """The table to read: milliseconds, ratio [least, greatest], goals, and what was missed."""
    lines = []
    for group, rows in table.groupby("group", sort=False):
        _, comma, loop = group.partition(", ")
        said = comma + loop  # what the group's name has told already
        lines.append(f"\n{group}: milliseconds; ratio [least, greatest of the rounds] to what")
        for row in rows.itertuples():
            variant, baseline = (
                v.replace(said, "") if said else v for v in (row.variant, row.baseline)
            )
            met = {"yes": "met", "no": "MISSED"}.get(row.met)
            goal = f"; goal {row.goal:g}: {met}" if met else ""
            lines.append(
                f"  {variant:48}{1e3 * row.seconds_median:9.2f}  {row.ratio:5.2f} "
                f"[{row.ratio_low:.2f}, {row.ratio_high:.2f}] to {baseline}{goal}"
            )
            if row.where_the_time_goes:
                lines.append(f"      {row.where_the_time_goes}")
    return "\n".join(lines)
