"""The bench from a process on JAX, which starts another for TensorFlow."""

import dataclasses

import jax
import keras

from langevin.experiments.bench import bench, limits, timed
from langevin.experiments.bench.variants import ALL, COMPILATION, NONE, OURS, Setting, Variant
from langevin.experiments.data import datasets
from langevin.experiments.training import loop as training


def test_a_group_takes_turns_across_backends(tmp_path):
    here = Variant("step", OURS, "adam", ALL, model="dense-2", backend="jax", together=2)
    there = dataclasses.replace(here, backend="tensorflow", together=1, noise=NONE)
    setting = Setting(datasets.load("digits"), batch_size=128, steps=4)
    groups = [bench.Group("both", [bench.Comparison(here, there)], 2)]
    table = bench.bench(groups, setting, tmp_path)
    assert table.ratio[0] > 0 and table.baseline_seconds_median[0] > 0
    assert table.memory[0] > 0 and table.memory_ratio[0] > 0


def test_the_operations_of_a_step_are_those_that_xla_counts():
    """Within a hundredth: what is no product is little in a wide network of one hidden layer."""
    model = keras.Sequential([keras.Input((700,)), *map(keras.layers.Dense, (600, 500))])
    values = [v.value for v in model.trainable_variables]

    def loss(values, x):
        return (model.stateless_call(values, [], x)[0] ** 2).sum()

    compiled = jax.jit(jax.grad(loss)).lower(values, jax.numpy.ones((64, 700))).compile()
    counted = compiled.cost_analysis()["flops"]
    assert abs(limits.needs(model, 64)["operations"] / counted - 1) < 0.01


def test_a_compilation_does_not_find_what_an_earlier_one_left(monkeypatch):
    """JAX keeps programs on the disk: the cache must be off while one is compiled, and on after."""
    setting = Setting(datasets.load("digits"), batch_size=128, steps=4)
    variant = Variant(COMPILATION, OURS, "adam", ALL, model="dense-2", backend="jax")
    subject, used = timed.subject_of(variant, setting), []
    jax.monitoring.register_event_listener(lambda event, **_: used.append(event))
    for _ in range(2):
        assert subject() > 0
    assert not [event for event in used if "cache_hits" in event]
    for _ in range(2):
        training.backend().Program(*subject.program)
    assert [event for event in used if "cache_hits" in event]
