"""`make bench`: what training costs, as ratios measured side by side in one run.

One process measures on Keras's present backend, TensorFlow by default, and starts another for JAX.

A variant is one thing to time, a comparison holds it to another (`bench.variants`); what they
do is in `bench.timed`, what the machine could do in `bench.limits`.  All variants of a group
are compiled and passed through once before anything counts.  Then they take turns, A B C C B A, so
that the machine's drift hits all alike, whoever comes before; a ratio is the median over the rounds
of the ratios within a round, beside the least and the greatest of them.

Most of its ten minutes is compilation: for every variant of `model.fit` anew.  Hence five rounds
where a goal is, seven of the steps with goals, and three of dense-40's epochs.
"""

import contextlib
import dataclasses
import math
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from langevin.experiments.bench import limits, timed
from langevin.experiments.bench.variants import (
    ALL,
    COMPILATION,
    FIRST,
    FIT,
    IMAGES,
    KERAS,
    NONE,
    OURS,
    SECOND,
    SOME,
    THEIRS,
    Setting,
    Variant,
    mnist_or_its_size,
)
from langevin.experiments.training import optimizers, runs, store

STEP, EPOCH = (Variant(what, OURS, "adam", NONE) for what in ("step", "epoch"))
WHOLE = IMAGES // Setting.batch_size  # steps of an epoch
FAST = ("dense-3", "dense-40", "conv-dense-20")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table: a variant over its baseline, or alone; `goal` is the greatest ratio
    aimed at."""

    variant: Variant
    baseline: Variant | None = None
    goal: float | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    """Comparisons whose variants take turns, so many rounds."""

    name: str
    comparisons: list
    rounds: int

    def variants(self):
        """Each once, in the order of first mention, a baseline before what is held to it."""
        both = ((c.baseline, c.variant) for c in self.comparisons if measurable(c.variant))
        return list(dict.fromkeys(v for pair in both for v in pair if v))


def measurable(variant):
    """Whether it is timed at all: JAX's convolutions take minutes to compile on a CPU."""
    on_cpu_by_jax = variant.backend == "jax" and runs.device() == "cpu"
    return not (on_cpu_by_jax and getattr(variant, "convolutional", False))


def noisy(plain, *noises, goals=()):
    """The plain variant alone, and with each noise over it."""
    yield Comparison(plain)
    for noise, goal in zip(noises, [*goals, *[None] * len(noises)]):
        yield Comparison(dataclasses.replace(plain, noise=noise), plain, goal)


def optimizer_steps():
    """Every optimizer with noise over without, in our loop and in `model.fit`; L-Adam also on JAX,
    and its parts, which say where its time goes."""
    for name in optimizers.BY_NAME:
        plain, adam = dataclasses.replace(STEP, optimizer=name), name == "adam"
        yield from noisy(plain, SOME, ALL, goals=(1.15, 1.3) if adam else ())
        in_fit = dataclasses.replace(plain, loop=FIT, noise=KERAS)
        yield from noisy(in_fit, NONE, SOME, ALL)
    for part in ({"what": "update"}, {"what": "draw", "noise": ALL}):
        yield Comparison(dataclasses.replace(STEP, **part), STEP)
    on_jax = dataclasses.replace(STEP, backend="jax")
    yield from noisy(on_jax, ALL, goals=(1.1,))
    draw = dataclasses.replace(on_jax, what="draw", noise=ALL)
    yield Comparison(draw, on_jax)
    yield Comparison(dataclasses.replace(draw, together=8), draw)
    for backend, theirs in THEIRS.items():  # why the generator is ours
        ours = dataclasses.replace(draw, backend=backend)
        yield Comparison(dataclasses.replace(ours, what=theirs), ours)


def model_steps(model):
    """Langevin and Layer Langevin over plain; convolutions over `model.fit` too."""
    plain = dataclasses.replace(STEP, model=model)
    yield from noisy(plain, SOME, ALL, goals=(1.02, 1.02) if model == "resnet" else ())
    if model == "resnet":  # its goals' account
        yield Comparison(dataclasses.replace(plain, what="draw", noise=ALL), plain)
    if plain.convolutional:
        for backend in ("tensorflow", "jax"):
            ours = dataclasses.replace(plain, backend=backend)
            yield Comparison(ours, dataclasses.replace(ours, loop=FIT, noise=KERAS))


def epochs(model):
    """Our loop over `model.fit` by default and with many steps an execution, on both backends."""
    plain = dataclasses.replace(EPOCH, model=model)
    fit = dataclasses.replace(plain, loop=FIT, noise=KERAS)
    for backend in ("tensorflow", "jax"):
        more = (8, WHOLE) if (model, backend) == ("dense-20", "tensorflow") else ()
        for executions in (1, 32, *more):
            goal = 0.4 if (model, backend, executions) == ("dense-20", "tensorflow", 1) else None
            other = dataclasses.replace(fit, backend=backend, executions=executions)
            yield Comparison(dataclasses.replace(plain, backend=backend), other, goal)
    if model == "dense-20":
        ours, in_fit = (dataclasses.replace(v, noise=ALL) for v in (plain, fit))
        yield Comparison(ours, in_fit, goal=0.4)
        # 0.8 s an epoch, and 0.55 s an epoch and seed, where `model.fit` takes 1.3 s.
        yield Comparison(ours, fit, goal=0.62)
        yield Comparison(dataclasses.replace(ours, backend="jax", together=8), fit, goal=0.42)
        for backend in ("tensorflow", "jax"):  # what noise adds to an epoch
            noisy, quiet = (dataclasses.replace(v, backend=backend) for v in (ours, plain))
            yield Comparison(noisy, quiet)


def seeds_together():
    """Seconds a seed of L-Adam on JAX, many seeds as one program over one: past the number from
    which more gain nothing."""
    alone = dataclasses.replace(STEP, noise=ALL, backend="jax")
    yield Comparison(alone)
    for count in (2, 4, 8, 16) if runs.device() == "cpu" else (2, 4, 8, 16, 32, 64):
        yield Comparison(dataclasses.replace(alone, together=count), alone)


def compilations():
    """What a deep stack takes to compile over a shallow one, on both backends."""
    shallow = dataclasses.replace(EPOCH, what=COMPILATION, model="dense-3", noise=ALL)
    for backend in ("tensorflow", "jax"):
        base = dataclasses.replace(shallow, backend=backend)
        goal = 1.3 if backend == "jax" else None  # TensorFlow has no scan over layers
        yield Comparison(base)
        yield Comparison(dataclasses.replace(base, model="dense-40"), base, goal)


def small_groups(models, rounds):
    """The machine's limits, and the steps of some models."""
    kinds = limits.PRODUCT, limits.SMALL, limits.CONVOLUTION, limits.COPY
    machine = [limits.Limit(what) for what in kinds]
    return [
        Group("machine", [Comparison(limit) for limit in machine], rounds),
        *(Group(f"step, {model}", list(model_steps(model)), rounds) for model in models),
    ]


def all_groups():
    first, second = (dataclasses.replace(EPOCH, what=what, noise=ALL) for what in (FIRST, SECOND))
    return [
        *small_groups(FAST, 5),
        Group("step, dense-20", list(optimizer_steps()), 7),
        Group("step, resnet", list(model_steps("resnet")), 5),
        Group("seeds together, dense-20", list(seeds_together()), 5),
        Group("further run, dense-20", [Comparison(first, second, goal=1.05)], 11),
        Group("compilation", list(compilations()), 3),
        *(Group(f"epoch, {m}", list(epochs(m)), 5) for m in ("dense-3", "dense-20")),
        Group("epoch, dense-40", list(epochs("dense-40")), 3),
    ]


def row_of(comparison, seconds, facts):
    """A comparison's row: medians, the ratios within the rounds, and what follows from the facts,
    the variants' needs; numbers that were not measured are NaN."""
    variant, baseline, goal = comparison.variant, comparison.baseline, comparison.goal
    own, base = (np.array(seconds.get(v, [math.nan])) for v in (variant, baseline))
    ratios, median = own / base, float(np.median(own))
    ratio, needs, others = float(np.median(ratios)), facts.get(variant, {}), facts.get(baseline, {})
    return {
        **dataclasses.asdict(variant),
        "variant": str(variant),
        "baseline": str(baseline or ""),
        "seconds_median": median,
        "baseline_seconds_median": float(np.median(base)),
        "ratio": ratio,
        "ratio_low": float(ratios.min()),
        "ratio_high": float(ratios.max()),
        "goal": goal,
        "met": "" if goal is None else "yes" if ratio <= goal else "no",
        "operations_a_second": needs.get("operations", math.nan) / median,
        "bytes_a_second": needs.get("bytes", math.nan) / median,
        "memory": needs.get("memory", math.nan),
        "memory_ratio": needs.get("memory", math.nan) / others.get("memory", math.nan),
    }


def where_time_goes(comparison, seconds, facts, steps):
    """For a goal that was missed, the parts of the time, in words; "" where they were not timed."""
    variant, baseline = comparison.variant, comparison.baseline

    def ms(of, **changes):
        return 1e3 * float(np.median(seconds[dataclasses.replace(of, **changes)]))

    try:
        if variant.what == "epoch":
            evaluation, others = (
                1e3 * float(np.median(facts[v]["evaluation"])) for v in (variant, baseline)
            )
            step, other = (ms(variant) - evaluation) / steps, (ms(baseline) - others) / steps
            return (
                f"{steps} steps of {step:.2f} ms{_parts(variant, step, seconds)} and "
                f"{evaluation:.0f} ms of evaluation; the baseline {steps} of {other:.2f} and "
                f"{others:.0f} ms"
            )
        if variant.what == COMPILATION:
            built, others = (
                1e3 * float(np.median(facts[v]["building"])) for v in (variant, baseline)
            )
            return (
                f"it takes {ms(variant):.0f} ms, the baseline {ms(baseline):.0f}; building the "
                f"Keras layers once takes {built:.0f} ms, the baseline's {others:.0f}"
            )
        if variant.what == FIRST:
            return (
                f"{1e3 * facts[variant]['compiling']:.0f} ms went into compiling before it; both "
                "epochs make the same calls"
            )
        if variant.what != "step":
            return ""
        # Round by round, as the ratio is.
        added = 1e3 * float(np.median(np.subtract(seconds[variant], seconds[baseline])))
        draw = ms(variant, what="draw", noise=ALL)
        return (
            f"the plain step takes {ms(baseline):.2f} ms, noise adds {added:.2f}: the draw of all "
            f"layers' noise alone {draw:.2f}"
        )
    except KeyError:
        return ""


def _parts(variant, step, seconds):
    """Of our step of so many milliseconds the parts that were timed alone, and the rest, in words;
    "" where none was."""
    parts = {"update": NONE} | ({"draw": ALL} if variant.noise == ALL else {})
    alone = {what: dataclasses.replace(variant, what=what, noise=n) for what, n in parts.items()}
    took = {what: 1e3 * float(np.median(seconds[v])) for what, v in alone.items() if v in seconds}
    if not took:
        return ""
    rest = "forward and backward" if "update" in took else "forward, backward and update"
    took[rest] = step - sum(took.values())
    return f" ({', '.join(f'{part} {ms:.2f}' for part, ms in took.items())})"


def facts_of_machine():
    """Columns that name the machine and the versions, and how busy it was."""
    packages = ("keras", "tensorflow", "jax", "numpy")
    versions = [f"python {platform.python_version()}"]
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": runs.device(),
        "versions": ", ".join(versions + [f"{p} {runs._version(p)}" for p in packages]),
        "load_before": round(os.getloadavg()[0], 1),
    }


def measure(groups, setting):
    """Yields the table group by group, a row a comparison."""
    variants = [v for group in groups for v in group.variants()]
    passes = sum(len(group.variants()) * (group.rounds + 2) for group in groups)
    elsewhere = {v.backend for v in variants} - {keras.backend.backend()}
    process = contextlib.nullcontext()
    if elsewhere:
        process = timed.process_on(elsewhere.pop(), setting)
    seconds = {}
    with tqdm(total=passes, unit="pass") as bar, process as pool:
        for group in groups:
            bar.set_description(group.name)
            subjects = timed.subjects_of(group.variants(), setting, pool, bar.update)
            seconds |= timed.take_turns(subjects, group.rounds, bar.update)
            facts = {variant: subject.facts for variant, subject in subjects.items()}
            yield pd.DataFrame(_rows(group, seconds, facts, setting))


def _rows(group, seconds, facts, setting):
    for comparison in group.comparisons:
        row = {"group": group.name, **row_of(comparison, seconds, facts), "where_the_time_goes": ""}
        if row["met"] == "no":
            steps = setting.steps_of(comparison.variant)
            row["where_the_time_goes"] = where_time_goes(comparison, seconds, facts, steps)
        if not measurable(comparison.variant):
            row["where_the_time_goes"] = "not measured: on a CPU its compilation takes minutes"
        yield row


def bench(groups=None, setting=None, folder=None):
    """Measure, print the table, and save it as bench.csv.

    Args:
        groups: by default `all_groups()`.
        setting: by default MNIST in batches of 512.
        folder: by default figures/bench of this project.

    Returns: the table.
    """
    setting = setting or Setting(mnist_or_its_size())
    begun = time.perf_counter()
    facts = {"dataset": setting.dataset.label, **facts_of_machine()}
    print(*facts.items(), sep="\n", flush=True)
    path = Path(folder or store.root() / "figures" / "bench") / "bench.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame()
    for rows in measure(all_groups() if groups is None else groups, setting):
        # At once: what is measured is kept when the rest is interrupted.
        facts["minutes"] = (time.perf_counter() - begun) / 60  # of all groups so far
        table = pd.concat([table, rows.assign(**facts)], ignore_index=True)
        table.to_csv(path, index=False, float_format="%.5g")
        tqdm.write(as_text(rows))
    print(f"\nSaved: {path}")
    return table


def as_text(table):
    """The table to read: milliseconds, ratio [least, greatest], goals, and what was missed."""
    lines = []
    for group, rows in table.groupby("group", sort=False):
        lines.append(f"\n{group}: milliseconds; ratio [least, greatest of the rounds] to what")
        for row in rows.itertuples():
            line = f"  {row.variant:52}{1e3 * row.seconds_median:9.2f}"
            if row.baseline:
                line += f"  {row.ratio:5.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}] "
                line += f"to {row.baseline}"
            met = {"yes": "met", "no": "MISSED"}.get(row.met)
            lines.append(line + (f"; goal {row.goal:g}: {met}" if met else ""))
            if row.where_the_time_goes:
                lines.append(f"      {row.where_the_time_goes}")
    return "\n".join(lines)
