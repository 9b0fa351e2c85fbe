"""The bench from a process on JAX, which starts another for TensorFlow."""

import dataclasses

from langevin import bench, datasets
from langevin.variants import ALL, NONE, OURS, Setting, Variant


def test_a_group_takes_turns_across_backends(tmp_path):
    here = Variant("step", OURS, "adam", ALL, model="dense-2", backend="jax", together=2)
    there = dataclasses.replace(here, backend="tensorflow", together=1, noise=NONE)
    setting = Setting(datasets.load("digits"), batch_size=128, steps=4)
    groups = [bench.Group("both", [bench.Comparison(here, there)], 2)]
    table = bench.bench(groups, setting, tmp_path)
    assert table.ratio[0] > 0 and table.baseline_seconds_median[0] > 0
    assert table.memory[0] > 0 and table.memory_ratio[0] > 0
