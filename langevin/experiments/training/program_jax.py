"""The compiled part of training on JAX: a group of runs as one jitted scan over batches.

The group is a leading axis of every array that training changes, `vmap` over Keras's stateless
API does the rest.  Seed, sigma, learning rate and the noise's place are data: a plain run is a row
with sigma = 0.  With several devices the axis is sharded over them; on a CPU each core is one,
since the small products of deep narrow networks gain little from more threads.
"""

import contextlib
import functools
import itertools
import math
import os

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from langevin import noise, placement
from langevin.experiments.data import augmentation
from langevin.experiments.networks import models, remedies
from langevin.experiments.training import optimizers
from langevin.experiments.training.loop import MEASURED_AT_ONCE, measured_images
from langevin.experiments.training.placement import from_text
from langevin.experiments.training.stack import Stack, shaped
from langevin.experiments.training.store import root

# Runs in a group at most, and bytes that a group may take.
MOST_TOGETHER = {"cpu": 8, "gpu": 32}
MEMORY = {"cpu": 2**30, "gpu": 2**34}
# Arrays of all weights that a step holds at once: weights, slots, gradient, noise, mask, and new.
COPIES = 8

if jax.config.jax_num_cpu_devices < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
    with contextlib.suppress(RuntimeError):  # JAX has met its devices already
        cores = min(os.cpu_count(), MOST_TOGETHER["cpu"])
        jax.config.update("jax_num_cpu_devices", cores)
if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(root() / ".runs" / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def group_size(run, dataset):
    """The largest power of two of runs for which `memory` stays within bounds; beyond
    `MOST_TOGETHER` seeds together gain a CPU no more (`make bench`); for a GPU it is an assumption,
    not measured."""
    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    size, one = MOST_TOGETHER[kind], memory(run, dataset)
    while size > 1 and size * one > MEMORY[kind]:
        size //= 2
    return size


def memory(run, dataset):
    """Bytes that a run more in a group takes, estimated: weights, slots, gradients and noise, and
    what a batch leaves behind in each layer."""
    model = models.build(run, dataset.x_train.shape[1:], dataset.classes)
    outputs = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    return 4 * (COPIES * model.count_params() + run.batch_size * outputs)


@contextlib.contextmanager
def float64():
    """A context in which JAX computes in float64 where asked to."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


class _Given:
    """Mixin: a Langevin optimizer of one flat vector, whose noise sigma xi is set from outside."""

    def build(self, variables):
        super().build(variables)
        self.given = self.add_variable(variables[0].shape, "zeros", noise.dtype(), name="given")

    def _draw(self):
        return (self.given.value,)


class Program:
    """A model, an optimizer, and an epoch of `size` runs over a data set on the device.

    All trainable weights of a run are one flat vector, all runs' weights one array.  `start`
    gives each run its weights, seed and noisy layers, `epoch` trains, `measure` evaluates;
    `state` and `restore` carry everything that training changes.
    """

    def __init__(self, run, dataset, size):
        self.dataset, self.batch, self.size = dataset, run.batch_size, size
        self.model = models.fresh(run, self.dataset)
        variables = self.model.trainable_variables
        self.paths = [v.path for v in variables]
        self.ends = list(itertools.accumulate(math.prod(v.shape) for v in variables))
        self.kernels = [i for i, path in enumerate(self.paths) if path.endswith("/kernel")]

        self.optimizer = optimizers.from_run(run, None, _Given)
        self.optimizer.build([keras.Variable(np.zeros(self.ends[-1], keras.config.floatx()))])
        self.slots = [v for v in self.optimizer.variables if v is not self.optimizer.given]
        self.after_step = remedies.of(run.remedy).after_step
        numbers = [i if len(v.shape) > 1 else -1 for i, v in enumerate(variables)]
        self.kernel_of = np.repeat(numbers, np.diff([0, *self.ends])).astype("int32")
        # A remedy's layers may have losses of their own.
        self.stack = Stack.of(self.model) if run.remedy is None else None
        # On a CPU two batches of linear systems, which some of them solve, can wait for each other
        # for ever: each waits on a thread for threads to solve its parts (jaxlib 0.10).
        alone = run.remedy is not None and jax.default_backend() == "cpu"
        self._each_run = jax.lax.map if alone else lambda step, runs: jax.vmap(step)(runs)

        devices = jax.devices()
        devices = devices[: math.gcd(size, len(devices))]
        mesh = jax.sharding.Mesh(np.array(devices), ("runs",))
        self.whole = NamedSharding(mesh, PartitionSpec())
        self.by_run = NamedSharding(mesh, PartitionSpec("runs"))
        self.by_step = NamedSharding(mesh, PartitionSpec(None, "runs"))
        put = functools.partial(jax.device_put, device=self.whole)
        self.train = put(dataset.x_train), put(dataset.y_train)
        self.sets = {
            "": tuple(part[: measured_images(len(part))] for part in self.train),
            "val_": (put(dataset.x_test), put(dataset.y_test)),
        }
        self._compile(run)

    def _compile(self, run):
        """Ahead of time, apart from the training that is timed."""
        self.start([run] * self.size)
        steps = len(self.dataset.x_train) // self.batch
        orders = self._by_step(np.zeros((self.size, steps, self.batch), "int32"))
        numbers = self._by_step(np.zeros((self.size, steps), "float32"))
        still = np.zeros((self.size, steps, self.batch, 3), "int8") if run.augment else None
        data = orders, numbers, numbers, self._by_step(still)
        runs, steps, whole = (sharding.spec for sharding in (self.by_run, self.by_step, self.whole))
        # Each device for its own runs: nothing is gathered, and none waits for another.
        sharded = functools.partial(
            jax.shard_map, mesh=self.by_run.mesh, out_specs=runs, check_vma=False
        )
        epoch = sharded(self._epoch, in_specs=(runs, runs, whole, steps, steps, steps, steps))
        lowered = jax.jit(epoch, donate_argnums=0).lower(
            self.changing, self.fixed, self.train, *data
        )
        self.compiled_epoch = lowered.compile()
        measure = jax.jit(sharded(self._measure, in_specs=(runs, whole)))
        self.compiled_measure = measure.lower(self.changing, self.sets).compile()

    def start(self, runs):
        """Weights from each run's seed and initializer, blank slots, the run's noise."""
        blank = [v.numpy() for v in self.slots]
        # once each: padding repeats one
        made = {run: models.fresh(run, self.dataset) for run in dict.fromkeys(runs)}
        fresh = [made[run] for run in runs]
        flat = [[v.numpy().ravel() for v in model.trainable_variables] for model in fresh]
        others = [[v.numpy() for v in model.non_trainable_variables] for model in fresh]
        weights = np.stack([np.concatenate(parts) for parts in flat])
        stacked = [np.stack(values) for values in zip(*others)]
        slots = [np.stack([value] * self.size) for value in blank]
        self.restore([weights, *stacked, *slots])
        seeds = np.array([run.seed for run in runs], "int32")
        masks = np.stack([self._mask(run) for run in runs])
        self.fixed = jax.device_put((seeds, masks), self.by_run)

    def _mask(self, run):
        """1 for the weights that get noise, 0 for the others."""
        layers = from_text(self.paths, run.langevin_layers)
        noisy = set(placement.choose(self.paths, layers))
        sizes = np.diff([0, *self.ends])
        mask = np.array([i in noisy for i in range(len(sizes))], noise.dtype())
        return np.repeat(mask, sizes)

    def epoch(self, orders, rates, sigmas, moves=None, steps=None):
        """One pass: for each run the order of its images, a learning rate and a sigma a step, and
        in that order how the images are augmented, if they are.

        With `steps`, only so many move the weights: what is compiled makes all.
        """
        if steps is not None:
            moving = np.arange(rates.shape[1]) < steps
            rates, sigmas = rates * moving, sigmas * moving
        steps = rates.shape[1]
        shape = self.size, steps, self.batch
        orders, moves = (
            a if a is None else a[:, : steps * self.batch].reshape(*shape, *a.shape[2:])
            for a in (orders, moves)
        )
        data = [self._by_step(a) for a in (orders, rates, sigmas, moves)]
        self.changing = self.compiled_epoch(self.changing, self.fixed, self.train, *data)

    def _by_step(self, array):
        """An array (runs, steps, ...) on the devices, its steps first; None stays None."""
        return jax.device_put(jax.tree.map(lambda a: np.swapaxes(a, 0, 1), array), self.by_step)

    def measure(self):
        """A dict a run: losses, accuracies, kernel standard deviations of the present weights."""
        found = jax.device_get(self.compiled_measure(self.changing, self.sets))
        widths = found.pop("kernel_sd")
        return [
            {name: float(values[i]) for name, values in found.items()}
            | {"kernel_sd": [float(f"{sd:.4g}") for sd in widths[i]]}
            for i in range(self.size)
        ]

    def visit(self):
        """Have `model` hold the present weights of one run after the other."""
        weights, others, _ = self.changing
        for i in range(self.size):
            values = [*shaped(self.model, weights[i]), *(value[i] for value in others)]
            variables = self.model.trainable_variables + self.model.non_trainable_variables
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            yield

    def state(self):
        """Copies of all that training changes, in an order that `restore` takes."""
        return [np.asarray(value) for value in jax.tree.leaves(self.changing)]

    def restore(self, state):
        count = len(self.model.non_trainable_variables) + 1
        changing = state[0], list(state[1:count]), list(state[count:])
        self.changing = jax.device_put(changing, self.by_run)

    def _parts(self, weights):
        """A run's flat weights as `_call` takes them."""
        return self.stack.parts(weights) if self.stack else shaped(self.model, weights)

    def _call(self, parts, others, x, training):
        """Logits, the new values of what is not trained, and the layers' own losses."""
        if self.stack:
            return self.stack(parts, x), others, []
        return self.model.stateless_call(parts, others, x, training=training, return_losses=True)

    def _epoch(self, changing, fixed, train, orders, rates, sigmas, moves):
        seeds, masks = fixed
        iteration = next(i for i, v in enumerate(self.slots) if v is self.optimizer.iterations)

        def step(changing, data):
            order, rate, sigma, moves = data
            given = jax.lax.cond(
                jnp.any(sigma > 0), self.draw, lambda *_: jnp.zeros_like(masks),
                changing[2][iteration][0], sigma, seeds, masks,
            )  # fmt: skip
            now = *changing, given, (order, rate, moves)
            return self._each_run(lambda one: self._step(*one, train), now), None

        return jax.lax.scan(step, changing, (orders, rates, sigmas, moves))[0]

    def draw(self, step, sigma, seeds, masks):
        """sigma xi of every run, on its noisy layers."""
        normal = jax.vmap(lambda seed: noise.normal(seed, step, 0, self.ends[-1]))(seeds)
        return sigma[:, None] * masks * normal

    def _step(self, weights, others, slots, given, data, train):
        """One update of one run."""
        (order, rate, moves), (images, labels) = data, train
        x, y = images[order], labels[order]
        x = pixels(x if moves is None else augmentation.apply(x, moves))

        def loss(parts):
            logits, new, penalties = self._call(parts, others, x, training=True)
            return losses(logits, y).mean() + sum(penalties), new

        gradients, others = jax.grad(loss, has_aux=True)(self._parts(weights))
        flat = jnp.concatenate([gradient.ravel() for gradient in jax.tree.leaves(gradients)])
        known = {id(v): value for v, value in zip(self.slots, slots)}
        known |= {id(self.optimizer.given): given, id(self.optimizer._learning_rate): rate}
        values = [known[id(v)] for v in self.optimizer.variables]
        before = weights
        [weights], values = self.optimizer.stateless_apply(values, [flat], [weights])
        if self.after_step:
            weights = self.after_step(before, weights, self.kernel_of, len(self.paths))
        new = {id(v): value for v, value in zip(self.optimizer.variables, values)}
        return weights, others, [new[id(v)] for v in self.slots]

    def _measure(self, changing, sets):
        weights, others, _ = changing
        return self._each_run(lambda one: self._measure_one(*one, sets), (weights, others))

    def _measure_one(self, weights, others, sets):
        pieces, parts = shaped(self.model, weights), self._parts(weights)
        numbers = {"kernel_sd": jnp.stack([pieces[i].std() for i in self.kernels])}
        for name, (images, labels) in sets.items():
            sums = jnp.zeros(2)
            for first in range(0, len(images), MEASURED_AT_ONCE):
                some = slice(first, first + MEASURED_AT_ONCE)
                logits, *_ = self._call(parts, others, pixels(images[some]), training=False)
                right = (logits.argmax(axis=1) == labels[some]).sum()
                sums += jnp.stack([losses(logits, labels[some]).sum(), right])
            numbers[f"{name}loss"], numbers[f"{name}accuracy"] = sums / len(images)
        return numbers


def pixels(images):
    return images.astype(keras.config.floatx()) / 255.0


def losses(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
