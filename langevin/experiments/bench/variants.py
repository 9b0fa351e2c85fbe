"""The variants that `langevin.experiments.bench.bench` times, and the setting that they share."""

import dataclasses
import functools

import numpy as np
from keras import ops

from langevin.experiments.data import datasets
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, runs

OURS, FIT = "our loop", "model.fit"
# Noise in the order of the table, as settings of a run; Keras's own optimizer has none to set.
NOISE = {
    "Keras's own": {},
    "no noise": {"sigma": 0.0},
    "30 % of the layers noisy": {"sigma": 1e-3, "langevin_layers": 0.3},
    "all layers noisy": {"sigma": 1e-3},
}
KERAS, NONE, SOME, ALL = NOISE
# The draw by the backend's own generator, instead of ours.
THEIRS = {"tensorflow": "draw by tf.random.stateless_normal", "jax": "draw by jax.random.normal"}
PARTS = ("update", "draw", *THEIRS.values())
FIRST, SECOND = "first epoch", "second epoch"
COMPILATION = "compilation"
LONG = ("resnet", "vgg", "densenet", "densenet121")
CONVOLUTIONAL = ("conv-dense", *LONG)
IMAGES, TEST_IMAGES, SIDE = 60_000, 10_000, 28  # MNIST's size, to which digits are brought


@dataclasses.dataclass(frozen=True)
class Variant:
    """One thing that is timed.

    Args:
        what: "epoch", with evaluation; "step"; a part of a step alone: "update", "draw", or
            the draw of `THEIRS`; "first epoch" and "second epoch" of a run whose program an earlier
            run compiled; or "compilation", of a program that nothing has compiled before.
        loop: `OURS` or `FIT`.
        optimizer: a run's name for it.
        noise: a key of `NOISE`.
        executions: `steps_per_execution` of `model.fit`.
        model: a run's name for it, with the depth, if it has one to choose: "dense-20".
        backend: "tensorflow" or "jax".
        together: how many seeds our loop trains as one program, on JAX.
    """

    what: str
    loop: str
    optimizer: str
    noise: str
    executions: int = 1
    model: str = "dense-20"
    backend: str = "tensorflow"
    together: int = 1

    def __str__(self):
        name = optimizers.BY_NAME[self.optimizer].__name__
        name = f"Keras's {name[1:]}" if self.noise == KERAS else f"{name}, {self.noise}"
        name += f", {self.loop}" + (" on JAX" if self.backend == "jax" else "")
        told = {
            f"{self.what} alone": self.what in PARTS,
            f"{self.what} of a further run": self.what in (FIRST, SECOND),
            f"{self.what} of {self.model}": self.what == COMPILATION,
            f"{self.executions} steps an execution": self.executions > 1,
            f"{self.together} seeds together": self.together > 1,
        }
        return ", ".join([name, *(text for text, holds in told.items() if holds)])

    @property
    def convolutional(self):
        return self.model.startswith(CONVOLUTIONAL)


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What all variants share: data, batches, and how many steps a step's timing averages over,
    with convolutions `few`, and one where it takes about a second."""

    dataset: datasets.Dataset
    batch_size: int = 512
    steps: int = 20
    few: int = 3

    def run(self, variant):
        return runs.Run(
            **size_of(variant.model), **NOISE[variant.noise],
            optimizer=variant.optimizer, epochs=1, batch_size=self.batch_size,
        )  # fmt: skip

    def data(self, variant):
        """The whole data set for an epoch; for steps as many images as they take."""
        if "epoch" in variant.what:
            return self.dataset
        steps = self.few if variant.convolutional else self.steps
        if variant.model in LONG and variant.loop == OURS:
            steps = 1
        return _cut(self.dataset, steps * self.batch_size, self.batch_size)

    def steps_of(self, variant):
        return len(self.data(variant).x_train) // self.batch_size

    @functools.cached_property
    def evaluated(self):
        """The images that `Program.measure` measures, as one set for `model.fit`."""
        data = self.dataset
        measured = training.measured_images(len(data.x_train))
        parts = [part[:measured] for part in tensors(data.x_train, data.y_train)]
        test = tensors(data.x_test, data.y_test)
        return {
            "validation_data": tuple(ops.concatenate(pair) for pair in zip(parts, test)),
            "validation_batch_size": training.MEASURED_AT_ONCE,
        }


def size_of(model):
    """A run's settings of a model's size, from its name in the table, such as "dense-20".

    Raises:
        ValueError: no such name, in words.
    """
    name, _, depth = model.rpartition("-")
    try:
        size = {"model": name, "depth": int(depth)} if name else {"model": depth}
        runs.Run(**size)
    except ValueError as error:
        raise ValueError(
            f"`models` must be names such as 'dense-20' or 'resnet'. Received: {model!r}"
        ) from error
    return size


@functools.lru_cache
def _cut(dataset, images, test_images):
    few = {"x_test": dataset.x_test[:test_images], "y_test": dataset.y_test[:test_images]}
    return dataclasses.replace(datasets.subset(dataset, images), **few)


def tensors(images, labels):
    return ops.convert_to_tensor(images.astype("float32") / 255), ops.convert_to_tensor(labels)


def mnist_or_its_size():
    """MNIST, or where it cannot be had scikit-learn's digits, enlarged and repeated to its size."""
    try:
        return datasets.load("mnist")
    except datasets.DataUnavailable:
        digits = datasets.load("digits")
    arrays = {}
    for part, count in (("train", IMAGES), ("test", TEST_IMAGES)):
        images = datasets.fit(getattr(digits, f"x_{part}"), SIDE)
        labels = getattr(digits, f"y_{part}")
        index = np.arange(count) % len(images)
        arrays |= {f"x_{part}": images[index], f"y_{part}": labels[index]}
    label = "scikit-learn's digits, enlarged and repeated to MNIST's size"
    return dataclasses.replace(digits, **arrays, label=label)
