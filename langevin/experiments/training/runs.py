"""Runs: what one is, grids of them, and what comes of one.

A run is a pure function of its settings, the backend and the data; its key is a hash of these.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata

import keras
import numpy as np
import pandas as pd

from langevin.checks import check_known, is_positive, received
from langevin.experiments.data import datasets
from langevin.experiments.networks import models, remedies
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, placement, schedules
from langevin.experiments.training.settings import (
    check_settings,
    count,
    number,
    one_of,
    positive_or_none,
    setting,
)
from langevin.experiments.training.store import digest

# Raised by hand when the same settings come to mean another computation.
SCHEMA = 1
NAMED_DATA = (*datasets.LABELS, "digits")
# Keras knows each by two names; one run has one spelling.  That of the Fourier transform needs more
# than a shape.
INITIALIZERS = tuple(
    name for name, made in vars(keras.initializers).items()
    if isinstance(made, type) and name.islower() and name != "stft"
)  # fmt: skip

# Initializers of matrices alone, and the models whose kernels are such.
FLAT, FLAT_MODELS = ("identity",), ("dense", "highway")


def _layers(value):
    """Of a fraction its range, of a list that it names layers; the names themselves come later."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(type(item) in (int, str) for item in value)
    return not isinstance(value, (int, float)) or 0 < value <= 1


def _blocks(value):
    return len(value) == 3 and all(type(count) is int and count >= 1 for count in value)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run, by its settings: JSON values only.

    Args:
        model: "dense", "conv-dense", "highway", "resnet", "vgg", "densenet" or "densenet121"; see
            `langevin.experiments.networks.models`.  Images too small for it are enlarged or padded.
        depth: hidden dense layers, or highway layers after the first dense one; of the other models
            it follows from `blocks` and may be left out.
        blocks: of resnet, vgg and densenet, three whole numbers; None for the author's 6, 6, 6,
            of vgg 5, 5, 5.
        filters: of their first convolution; None for the author's 8, in a vgg and densenet 16.
        conv_bias: whether convolutions that batch normalization follows, of resnet, vgg and
            densenet, have biases, as the author's do.
        dataset: "mnist", "cifar10", "cifar100", "digits" or a path ending in .npz.
        train_size: how many of the first training images to use, and of the test images the same
            share, or 1,000; None for all.
        validation: measure on the last 10,000 training images, and train on the others, instead
            of the test set: for choosing hyper-parameters.
        augment: move and flip the training images; see `langevin.experiments.data.augmentation`.
        optimizer: "sgd", "adam", "rmsprop" or "adadelta".
        variant: "paper" or "keras"; see `langevin.optimizers`.
        epsilon: the optimizer's; None for the variant's own.
        learning_rate: at the start.
        sigma: the noise's scale at the start; 0 is the plain optimizer, whatever comes next.
        langevin_layers: as for the optimizers, without predicates, or "shallowest 30 %",
            "kernels" or "biases".
        noise_cap: upper bound of P inside the noise.
        noise_start, noise_stop: the noise's window, in fractions of all steps.
        noise_bias_correction: whether P inside L-Adam's noise carries Adam's correction of m, as
            published; only its "paper" variant can do without.
        schedule: "drop", "inverse" or "constant"; see `training.schedules.values`.
        initializer: name of a Keras initializer, for every kernel.
        epochs, batch_size, seed: whole numbers.
        remedy: None, or for "dense" and "conv-dense" a name of `networks.remedies.BY_NAME`.
        probe: after every epoch measure also signals, gradients, kernels and curvature; see
            `langevin.experiments.networks.remedies.probes`.

    Raises:
        ValueError: a setting of another type or out of its range, named with what was expected.

    >>> run = Run(model="dense", depth=30, sigma=1e-3, langevin_layers=0.3, seed=0)
    """

    model: str = one_of("dense", tuple(models.BUILDERS))
    depth: int = count(3)
    blocks: tuple | None = setting(
        None, (list, tuple, type(None)), "a list of three whole numbers >= 1 or null",
        lambda value: value is None or _blocks(value),
    )  # fmt: skip
    filters: int | None = count(None, optional=True)
    conv_bias: bool = setting(True, bool, "true or false")
    dataset: str = setting(
        "mnist", str, f"one of {', '.join(NAMED_DATA)} or a path ending in .npz",
        lambda value: value in NAMED_DATA or value.endswith(".npz"),
    )  # fmt: skip
    train_size: int | None = count(None, optional=True)
    validation: bool = setting(False, bool, "true or false")
    augment: bool = setting(False, bool, "true or false")
    optimizer: str = one_of("adam", tuple(optimizers.BY_NAME))
    variant: str = one_of("paper", optimizers.VARIANTS)
    epsilon: float | None = positive_or_none()
    learning_rate: float = number(1e-3, "> 0", is_positive)
    sigma: float = number(0.0, ">= 0", lambda value: value >= 0)
    langevin_layers: float | str | tuple | None = setting(
        None, (int, float, str, list, tuple, type(None)),
        "null, a fraction in (0, 1], a list of layer numbers or names, or 'shallowest 30 %', "
        "'kernels', 'biases'",
        _layers,
    )  # fmt: skip
    noise_cap: float | None = positive_or_none()
    noise_start: float = number(0.0, "in [0, 1]", lambda value: 0 <= value <= 1)
    noise_stop: float = number(1.0, "in [0, 1]", lambda value: 0 <= value <= 1)
    noise_bias_correction: bool = setting(True, bool, "true or false")
    schedule: str = one_of("drop", schedules.NAMES)
    initializer: str = one_of("glorot_uniform", INITIALIZERS)
    epochs: int = count(20)
    batch_size: int = count(512)
    seed: int = setting(
        0, int, "a whole number in [0, 2**31)", lambda value: 0 <= value < 2**31
    )  # fmt: skip
    remedy: str | None = setting(
        None, (str, type(None)), f"null or one of {', '.join(remedies.BY_NAME)}",
        lambda value: value is None or value in remedies.BY_NAME,
    )  # fmt: skip
    probe: bool = setting(False, bool, "true or false")

    def __new__(cls, *values, **settings):
        check_known(settings, [field.name for field in dataclasses.fields(cls)], "A run")
        return super().__new__(cls)

    def __post_init__(self):
        check_settings(self)
        if self.noise_start >= self.noise_stop:
            raise ValueError(
                "`noise_start` must be below `noise_stop`. "
                f"Received: {self.noise_start!r} and {self.noise_stop!r}"
            )
        # One run, one spelling: what says the same compares equal and has the same key.
        self._set(dataset=datasets.resolved(self.dataset))
        self._set_size()
        self._check_remedy()
        layers = self.langevin_layers
        if isinstance(layers, str):
            placement.share(layers)
        self._set(langevin_layers=tuple(layers) if isinstance(layers, list) else layers)
        if layers == 1:
            self._set(langevin_layers=None)
        if not self.noise_bias_correction and (self.optimizer, self.variant) != ("adam", "paper"):
            raise ValueError(
                "`noise_bias_correction` must be true but for optimizer 'adam' in variant 'paper'. "
                f"Received: False with optimizer {self.optimizer!r}, variant {self.variant!r}"
            )
        if self.sigma == 0:
            self._set(langevin_layers=None, noise_cap=None, noise_start=0.0, noise_stop=1.0)
            self._set(noise_bias_correction=True)
        for name in ("learning_rate", "sigma", "noise_start", "noise_stop"):
            self._set(**{name: float(getattr(self, name))})

    def _set_size(self):
        """Blocks and filters of the models that have them, and the depth that follows."""
        blocks, filters = models.SIZES.get(self.model, (None, None))
        for name in ("blocks", "filters") if not blocks else ():
            if (value := getattr(self, name)) is not None:
                raise ValueError(
                    f"`{name}` must be left out but for {', '.join(models.SIZES)}. "
                    f"Received: {value!r} with model {self.model!r}"
                )
        if blocks:
            blocks, filters = tuple(self.blocks or blocks), self.filters or filters
            self._set(blocks=blocks, filters=filters)
        if not self.conv_bias and self.model not in models.NORMALIZED:
            raise ValueError(
                f"`conv_bias` must be true but for {', '.join(models.NORMALIZED)}. Received: False "
                f"with model {self.model!r}"
            )
        if depth := models.depth_of(self.model, blocks):
            if self.depth not in (depth, Run.depth):
                raise ValueError(
                    f"`depth` must be {depth}, or be left out, for {self.model} with blocks "
                    f"{blocks}. Received: {self.depth!r}"
                )
            self._set(depth=depth)

    def _check_remedy(self):
        if self.remedy and self.model not in remedies.MODELS:
            raise ValueError(
                f"`remedy` needs a model among {', '.join(remedies.MODELS)}; leave it out for "
                f"another. Received: remedy={self.remedy!r}, model={self.model!r}"
            )
        if remedies.of(self.remedy).initializer:  # the remedy's own
            self._set(initializer=Run.initializer)
        if self.initializer in FLAT and self.model not in FLAT_MODELS:
            raise ValueError(
                f"`initializer` {self.initializer!r} makes matrices alone: choose another for a "
                f"model with convolutions. Received: model={self.model!r}"
            )

    def _set(self, **settings):
        for name, value in settings.items():
            object.__setattr__(self, name, value)

    def settings(self):
        """The settings as JSON values, in order."""
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values}

    def program(self):
        """The run that stands for all runs which differ from this one only in data."""
        same = dataclasses.replace(
            self, seed=0, epochs=1, initializer="glorot_uniform", learning_rate=1.0,
            schedule="constant", sigma=float(self.sigma > 0), noise_start=0.0, noise_stop=1.0,
            noise_bias_correction=True, probe=False,
        )  # fmt: skip
        if keras.backend.backend() == "jax":  # there the noise's place is data, or that it is none
            same = dataclasses.replace(same, sigma=1.0, langevin_layers=None)
        return same

    def layers_text(self):
        """`langevin_layers` in the paper's words."""
        layers = self.langevin_layers
        if layers is None:
            return "all"
        if isinstance(layers, float):
            return f"deepest {100 * layers:g} %"
        return layers if isinstance(layers, str) else ", ".join(map(str, layers))


def grid(blocks, kind=Run):
    """Runs from a profile's blocks, or settings of another `kind` of dataclass.

    A block maps settings to a value or to a list of values, and stands for all combinations;
    `seeds: n` is short for the seeds 0 to n - 1; a list of layers is written as a list in a list.
    A run that several blocks name comes once, the order is that of first mention.

    Raises:
        ValueError: blocks of another form, a name that is no setting, or what `Run` raises.
    """
    mappings = isinstance(blocks, (list, tuple)) and all(isinstance(b, Mapping) for b in blocks)
    if not mappings:
        raise ValueError(
            "Runs must be a list of blocks, each a mapping from settings to values. "
            f"Received: {blocks!r}"
        )
    runs = {}
    for block in blocks:
        axes = _axes(block, kind)
        values = [value if isinstance(value, list) else [value] for value in axes.values()]
        for combination in itertools.product(*values):
            runs[kind(**dict(zip(axes, combination)))] = None
    return list(runs)


def _axes(block, kind):
    """A block's settings and their values, `seeds` spelled out."""
    axes = dict(block)
    check_known(axes, [*(field.name for field in dataclasses.fields(kind)), "seeds"], "A run")
    if empty := [name for name, values in axes.items() if isinstance(values, list) and not values]:
        raise ValueError(f"`{empty[0]}` must be a value or a list of some. Received: []")
    if "seeds" in axes:
        seeds = axes.pop("seeds")
        if type(seeds) is not int or not 1 <= seeds <= 10_000 or "seed" in axes:
            raise ValueError(
                "`seeds` must be a whole number in [1, 10000], and stand in the place of `seed`. "
                + received(seeds, True)
            )
        axes["seed"] = list(range(seeds))
    return axes


def data_of(name, train_size, validation, side=1):
    """The images of the runs with these settings, of at least `side` pixels a side."""
    return _data_of(name, train_size, validation, side, datasets.version(name))


@functools.lru_cache(maxsize=4)
def _data_of(name, train_size, validation, side, version):
    if side > 1:
        return datasets.at_least(data_of(name, train_size, validation), side)
    dataset = datasets.load(name)
    if validation:
        if len(dataset.x_train) <= datasets.VALIDATION:
            raise ValueError(
                f"`validation` must be false on {dataset.label}: of its {len(dataset.x_train):,} "
                f"training images {datasets.VALIDATION:,} would be measured on. Received: True"
            )
        dataset = datasets.validation_split(dataset)
    return dataset if train_size is None else datasets.subset(dataset, train_size)


def dataset_of(run):
    side = models.LEAST_SIDE.get(run.model, 1)
    return data_of(run.dataset, run.train_size, run.validation, side)


def shape_of(run):
    """The shape of a run's images, and how many classes they have; of known data without it."""
    if run.dataset not in datasets.SIZES:
        data = dataset_of(run)
        return data.x_train.shape[1:], data.classes
    _, _, (*sides, channels), classes = datasets.SIZES[run.dataset]
    least = models.LEAST_SIDE.get(run.model, 1)
    return (*(max(side, least) for side in sides), channels), classes


def data_facts(name):
    """Hash and label of a whole data set; of a known one also where it cannot be had, so that
    recorded runs can be read without the data.  Of CIFAR-100 no run is recorded."""
    return _data_facts(name, datasets.version(name))


@functools.lru_cache
def _data_facts(name, version):
    try:
        dataset = data_of(name, None, False)
        return dataset.hash, dataset.label
    except datasets.DataUnavailable:
        for known, label in datasets.KNOWN.items():
            if label.split(" (")[0] == datasets.LABELS[name]:
                return known, label
        return f"{name} is not at hand", datasets.LABELS[name]


@functools.singledispatch
def key_of(run):
    """The name under which a run is stored: a hash of all that its numbers follow from.

    Settings at their default are left out, so that a new setting leaves old keys as they were.
    """
    return _key_in(SCHEMA, run)


def older_keys(run):
    """The names that a run had in older schemas."""
    return [_key_in(schema, run) for schema in range(1, SCHEMA)]


def _key_in(schema, run):
    defaults = {field.name: field.default for field in dataclasses.fields(Run)}
    settings = {k: v for k, v in run.settings().items() if v != defaults[k]}
    if run.dataset.endswith(".npz"):
        settings["dataset"] = ".npz"  # the hash below says which; its path is no matter
    data, size = data_facts(run.dataset)[0], group_size(run.program())
    facts = [settings, schema, keras.backend.backend(), data, size]
    if revision := models.REVISIONS.get(run.model):
        facts.append(revision)
    if device() != "cpu":  # its numbers are others; a CPU's runs were recorded first
        facts.append(device())
    return digest(json.dumps(facts, sort_keys=True))


def group_size(program):
    """How many runs of this program are trained together."""
    if keras.backend.backend() == "tensorflow":
        return 1  # known without the data, which recorded runs can do without
    return training.group_size(program, dataset_of(program))


def stored(planned, store):
    """The runs that a store holds, in order: a dict from each to its record."""
    return {run: record for run in planned if (record := store.load(key_of(run)))}


def count_stored(planned, store):
    """How many of these runs a store holds; none is read."""
    return sum(store.find(key_of(run)) is not None for run in planned)


@functools.cache
def device():
    """The kind of device that runs train on, such as "cpu" or "NVIDIA H100"."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu).get("device_name", "gpu")
        return "cpu"
    import jax

    training.backend()  # settles what JAX's devices are
    return jax.devices()[0].device_kind


def records(group, checkpoint=None):
    """Train runs that share a program, with a checkpoint at a path if one is given; a record of
    each for the store."""
    first = group[0]
    dataset = dataset_of(first)
    # Facts and keys of the data that is trained on, whatever becomes of its file meanwhile.
    # The images as they came, not enlarged for the model.
    facts = provenance(data_of(first.dataset, first.train_size, first.validation))
    facts |= {"classes": dataset.classes, "group_size": group_size(first.program())}
    keys = [key_of(run) for run in group]
    histories = training.fit(group, dataset, checkpoint=checkpoint)
    return [
        {"key": key, "run": run.settings(), **facts, "history": by_column(history)}
        for key, run, history in zip(keys, group, histories)
    ]


def provenance(dataset):
    """Where numbers come from, as a record has it: backend, device, machine, versions, data."""
    packages = ("keras", keras.backend.backend(), "numpy")
    return {
        "backend": keras.backend.backend(),
        "device": device(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in packages}},
        "dataset_label": dataset.label,
        "data_hash": dataset.hash,
    }


def by_column(rows):
    """A list of dicts, one an epoch, as the dict of lists that a record has."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def _version(package):
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return __import__(package).__version__


def frame(records):
    """Records as one tidy frame, one row an epoch, every setting a column."""
    return by_epoch((_facts(record), record["history"]) for record in records)


def _facts(record):
    run = Run(**record["run"])  # what was recorded before a setting was made has its default
    facts = {**run.settings(), "blocks": run.blocks, "langevin_layers": run.layers_text()}
    same = ("key", "backend", "device", "dataset_label", "data_hash", "classes", "group_size")
    return facts | {name: record[name] for name in same}


def which(found, planned):
    """Which of the planned runs, or learnings, these are, exactly: a line for as many as are all
    combinations of some values; a setting is named where it tells them from others, a learning rate
    that follows from the other settings is not."""
    settings = pd.DataFrame([_in_words(run) for run in planned], list(planned))
    follows = ~settings.drop(columns="learning_rate").duplicated(keep=False)
    settings["learning_rate"] = settings.learning_rate.mask(follows, "")
    settings = settings.loc[:, settings.nunique() > 1]

    def is_whole(here):
        """Whether no other run has these values, too."""
        alike = np.ones(len(settings), bool)
        for name in settings:
            alike &= settings[name].isin(here[name])
        return alike.sum() == len(here)

    def told(here):
        if is_whole(here):
            few = [name for name in settings if here[name].nunique() < settings[name].nunique()]
            values = {name: ", ".join(filter(None, here[name].unique())) for name in few}
            said = "; ".join(f"{name} {values[name]}" for name in few if values[name]) or "all"
            return [f"{said} ({len(here)} run{'s' * (len(here) > 1)})"]
        # By the setting that leaves the fewest parts to be told further.
        parts = {name: [part for _, part in here.groupby(name, sort=False)] for name in settings
                 if here[name].nunique() > 1}  # fmt: skip
        best = min(parts.values(), key=lambda by: (len(by) - sum(map(is_whole, by)), len(by)))
        return [line for part in best for line in told(part)]

    return told(settings.loc[list(found)])


def _in_words(run):
    settings = dataclasses.asdict(run)
    if isinstance(run, Run):
        settings["langevin_layers"] = run.layers_text()
    settings["dataset"] = datasets.LABELS.get(run.dataset, run.dataset)
    return {name: str(value) for name, value in settings.items()}


def by_epoch(recorded):
    """One tidy frame, one row an epoch, of pairs: what is the same in all epochs, as a dict, and
    the history, a list for each name.  Column by column: a frame a run would take ten times as
    long."""
    columns, rows = {}, 0
    for facts, history in recorded:
        epochs = len(history["epoch"])
        here = {name: [value] * epochs for name, value in facts.items()} | history
        for name in training.BY_LAYER:
            if name in here:
                here[name] = map(tuple, here[name])
        for name, values in here.items():
            column = columns.setdefault(name, [])
            column += [None] * (rows - len(column))  # what earlier runs did not measure
            column += values
        rows += epochs
    return pd.DataFrame({name: column + [None] * (rows - len(column))
                         for name, column in columns.items()})  # fmt: skip


def train(run):
    """Train one run here and now, stored nowhere.

    Returns: a tidy pandas frame, one row an epoch (0 is before training): the run's settings,
        loss and accuracy on the first fifth of the training images (2,000 to 10,000), val_loss,
        val_accuracy, kernel_sd (tuple, one number a layer), seconds, compile_seconds, diverged,
        backend, device, key.

    Raises:
        ValueError: what is no `Run`.
    """
    if not isinstance(run, Run):
        raise ValueError(
            "`run` must be a langevin.experiments.Run, made by Run(**settings); for many "
            f"use langevin.experiments.sweep. Received: {run!r}"
        )
    return frame(records([run]))
