"""Learnings of Helmholtz machines: what one is, and many of them, stored.

What `Run` and `sweep` are to classifiers: there are no labels here, the score is the
likelihood of images that were not learned.
"""

import dataclasses
import functools
import json
import time

import keras
import numpy as np

from langevin.checks import is_positive
from langevin.experiments.data import datasets
from langevin.experiments.helmholtz.helmholtz import RULES, Helmholtz, gradients
from langevin.experiments.training import executors
from langevin.experiments.training.isolation import isolated
from langevin.experiments.training.loop import order
from langevin.experiments.training.runs import (
    NAMED_DATA,
    by_column,
    by_epoch,
    data_facts,
    device,
    key_of,
    provenance,
    stored,
    which,
)
from langevin.experiments.training.settings import check_settings, count, number, one_of, setting
from langevin.experiments.training.store import digest
from langevin.experiments.training.sweeps import announcement
from langevin.optimizers import LAdam

SCHEMA = 2
SCORED, SCORE_SAMPLES = 500, 50  # images of each set at most, samples for each
PARTS = 10  # in which they are scored, of equal size: each size is compiled


@dataclasses.dataclass(frozen=True)
class Learning:
    """One learning of a Helmholtz machine with L-Adam, by its settings: JSON values only.

    Args:
        rule: "wake-sleep", "reweighted" or "natural"; see `helmholtz.helmholtz`.
        sigma: of L-Adam; 0 is Adam.
        depth, units: hidden layers, and units of each.
        dataset: "mnist" or another's name; colours are averaged.
        side: images are averaged down to about so many pixels a side, then binarized at one half.
        train_size: how many of the first training images; None for all.
        samples: of the hidden states, an image; wake-sleep takes one.
        learning_rate, batch_size, epochs, seed: as ever; both rates are constant.

    Raises:
        ValueError: a setting of another type or out of its range, named with what was expected.
    """

    rule: str = one_of("reweighted", RULES)
    sigma: float = number(0.0, ">= 0", lambda value: value >= 0)
    depth: int = count(2)
    units: int = count(50)
    dataset: str = one_of("mnist", NAMED_DATA)
    side: int = count(14)
    train_size: int | None = count(None, optional=True)
    samples: int = count(5)
    learning_rate: float = number(1e-3, "> 0", is_positive)
    batch_size: int = count(100)
    epochs: int = count(10)
    seed: int = setting(0, int, "a whole number in [0, 2**31)", lambda v: 0 <= v < 2**31)

    __post_init__ = check_settings

    def arm(self):
        """What it is in the comparison."""
        if self.sigma:
            return f"Langevin {self.rule}"
        return "natural reweighted" if self.rule == "natural" else self.rule


@functools.lru_cache(maxsize=2)
def images_of(dataset, side):
    """Training and test images as rows of 0 and 1, and the data set they come from."""
    data = datasets.load(dataset)
    found = []
    for images in (data.x_train, data.x_test):
        factor = max(1, images.shape[1] // side)
        many, height, width = (images.shape[0], *(s // factor for s in images.shape[1:3]))
        cut = images[:, : height * factor, : width * factor].mean(axis=3)
        shrunk = cut.reshape(many, height, factor, width, factor).mean(axis=(2, 4))
        found.append((shrunk > 127.5).astype("float32").reshape(many, -1))
    return *found, data


@isolated()
def train(learning):
    """Learn, and score before and after every epoch.

    Returns: a list of dicts with epoch, log_likelihood (nats, the mean over the first test images
        of its lower bound by samples), val_log_likelihood (of the last training images, which are
        not learned), seconds and compile_seconds.
    """
    images, tested, _ = images_of(learning.dataset, learning.side)
    scored = PARTS * min(SCORED // PARTS, len(images) // (5 * PARTS))
    kept, images = images[-scored:], images[:-scored][: learning.train_size]
    if learning.batch_size > len(images):
        raise ValueError(
            f"`batch_size` must not exceed the {len(images)} training images. "
            f"Received: {learning.batch_size}"
        )
    sizes = (images.shape[1], *[learning.units] * learning.depth)
    machine = Helmholtz(sizes, learning.seed)
    optimizer = LAdam(learning.learning_rate, sigma=learning.sigma, seed=learning.seed)
    optimizer.build(machine.variables)

    def step(x):
        found = gradients(machine, x, learning.rule, learning.samples)
        optimizer.apply(found, machine.variables)

    def score(x):
        return machine.log_likelihood(x, SCORE_SAMPLES)

    changed = [*machine.variables, machine.seeds.state]
    begun = time.perf_counter()
    learned = _compiled(step, [*changed, *optimizer.variables], images[: learning.batch_size])
    scores_of = _compiled(score, changed, kept[: scored // PARTS])
    compile_seconds = time.perf_counter() - begun
    rows, batches = [], len(images) // learning.batch_size
    for epoch in range(learning.epochs + 1):
        begun = time.perf_counter()
        places = order(learning.seed, epoch, len(images))
        for batch in np.split(places[: batches * learning.batch_size], batches) if epoch else ():
            learned(images[batch])
        seconds = time.perf_counter() - begun
        scores = [_mean(scores_of, part) for part in (tested[:scored], kept)]
        names = ("log_likelihood", "val_log_likelihood")
        times = {"seconds": seconds, "compile_seconds": 0.0 if epoch else compile_seconds}
        rows.append({"epoch": epoch, **dict(zip(names, scores)), **times})
    return rows


def _mean(score, images):
    parts = [score(part) for part in np.split(images, PARTS)]
    return float(np.concatenate([keras.ops.convert_to_numpy(part) for part in parts]).mean())


def _compiled(function, variables, images):
    """A function of as many images that reads and changes these variables, compiled by the backend
    ahead of its first call."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function).get_concrete_function(tf.constant(images))
    import jax

    @jax.jit
    def pure(values, x):
        with keras.StatelessScope(state_mapping=zip(variables, values)) as scope:
            result = function(x)
        found = [scope.get_current_value(variable) for variable in variables]
        return [value if new is None else new for value, new in zip(values, found)], result

    compiled = pure.lower([v.value for v in variables], images).compile()

    def run(x):
        values, result = compiled([v.value for v in variables], x)
        for variable, value in zip(variables, values):
            variable.assign(value)
        return result

    return run


@key_of.register
def _(learning: Learning):
    data = data_facts(learning.dataset)[0]
    facts = ["helmholtz", SCHEMA, dataclasses.asdict(learning), keras.backend.backend(), data]
    if device() != "cpu":
        facts.append(device())
    return digest(json.dumps(facts, sort_keys=True))


def learn(learnings, store, executor=None, train=True):
    """Each learning once: stored ones are read, missing ones trained, if `train`, and stored.

    Args and what it says: as `langevin.experiments.sweep`.

    Returns: a tidy frame, one row an epoch: the settings, `arm`, log_likelihood,
        val_log_likelihood, seconds, compile_seconds, backend, device, key.
    """
    found = stored(learnings, store)
    missing = [one for one in learnings if one not in found]
    given, where, count = executors.chosen(executor)
    seconds = estimate(missing, found, count)
    # One at a time: each is a program of its own.
    print(announcement("learnings", learnings, missing, [1], where, train, seconds), flush=True)
    if missing and not train:
        print("\n  ".join(["Not recorded, and left out:", *which(missing, learnings)]), flush=True)
    elif missing:
        with executors.progress(len(missing), "learning") as bar, given as pool:
            for done in executors.results(pool, _keep, [(one, store) for one in missing]):
                bar.update(len(done))
        found = stored(learnings, store)
    if not found:
        raise ValueError("None of these is stored, and train=False: there is nothing to show.")
    return frame(found.values())


def estimate(learnings, found, count):
    """Seconds that learnings take in so many processes, by the records `found` of like ones, which
    differ in seed, sigma and learning rate, and in epochs and images, in proportion to which they
    take; None where one has no like."""
    took = {}
    for one, record in found.items():
        compiling, seconds = (sum(record["history"][n]) for n in ("compile_seconds", "seconds"))
        took.setdefault(_alike(one), []).append((compiling, seconds / _steps(one)))
    if not all(_alike(one) in took for one in learnings):
        return None
    medians = {alike: np.median(pairs, axis=0) for alike, pairs in took.items()}
    return float(sum(medians[_alike(one)] @ (1, _steps(one)) for one in learnings)) / count


def _alike(learning):
    size = None if learning.train_size is None else 1
    return dataclasses.replace(
        learning, seed=0, sigma=0.0, learning_rate=1.0, epochs=1, train_size=size
    )


def _steps(learning):
    """Its steps; of all images, of which the number is not known here, its epochs."""
    return learning.epochs * (learning.train_size or learning.batch_size) / learning.batch_size


def _keep(learning, store):
    """Train a learning and store it, unless another process did so meanwhile."""
    key = key_of(learning)
    with executors.one_gpu_at_a_time(), store.lock(key):
        if store.load(key) is None:
            facts = provenance(images_of(learning.dataset, learning.side)[2])
            facts |= {"key": key, "learning": dataclasses.asdict(learning)}
            store.save({**facts, "history": by_column(train(learning))})


def frame(records):
    """Records as one tidy frame, one row an epoch, every setting a column."""
    same = ("key", "backend", "device", "dataset_label")
    return by_epoch(
        (
            {name: record[name] for name in same}
            | record["learning"]
            | {"arm": Learning(**record["learning"]).arm()},
            record["history"],
        )
        for record in records
    )
