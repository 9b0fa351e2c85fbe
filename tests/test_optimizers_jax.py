"""What only JAX has: `stateless_apply` under jit and vmap, float64 behind a switch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    OPTIMIZERS,
    THREE,
    assert_equal,
    assert_one_step_law,
    gradients_of,
    numpy_of,
    path_of,
    variables_of,
)
from jax.extend.random import threefry_2x32

from langevin import noise

N, LR, SIGMA = 20_000, 0.01, 0.05
all_optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)


def state_of(case, n, **arguments):
    """(optimizer, values of its variables, values of the weights)"""
    variables = variables_of(np.zeros(n))
    optimizer = case(LR, **{"sigma": SIGMA, **arguments})
    optimizer.build(variables)
    return optimizer, [v.value for v in optimizer.variables], [v.value for v in variables]


@all_optimizers
def test_stateless_apply_is_apply_to_the_bit(case):
    gradients = gradients_of(1000, 3)
    optimizer, slots, values = state_of(case, 1000)
    start = numpy_of(optimizer.variables)
    path = [values]
    for gradient in gradients:
        values, slots = optimizer.stateless_apply(slots, [jnp.asarray(gradient)], values)
        path.append(values)
    stateful = path_of(case(LR, sigma=SIGMA), gradients)
    np.testing.assert_array_equal(np.stack([value for [value] in path]), stateful)
    assert_equal(numpy_of(optimizer.variables), start)  # nothing was written


@pytest.fixture(scope="module")
def compiled():
    """A list that grows with every compilation."""
    events, watched = [], "/jax/core/compile/backend_compile_duration"
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event) if event == watched else None
    )
    return events


@all_optimizers
def test_eager_steps_compile_nothing_after_the_first_two(case, compiled):
    """A step that compiles takes 300 times as long."""
    [variable], optimizer = variables_of(np.zeros(100)), case(LR, sigma=SIGMA)
    for step, gradient in enumerate(gradients_of(100, 4)):
        if step == 2:
            compiled.clear()
        optimizer.apply([jnp.asarray(gradient)], [variable])
    assert not compiled
    jax.jit(lambda x: 3 * x)(1.0)
    assert compiled  # it does listen


@pytest.mark.parametrize("case", THREE, ids=str)
def test_runs_of_other_seeds_and_sigmas_side_by_side_are_the_runs_alone(case):
    """vmap over the optimizers' variables: one program for a group of runs."""
    gradients = jnp.asarray(gradients_of(1000, 4))
    settings = [(1, 0.05), (2, 0.05), (2**31 - 1, 0.0), (1, 0.2)]

    def run(slots, values):
        def body(state, gradient):
            values, slots = optimizer.stateless_apply(state[1], [gradient], state[0])
            return (values, slots), values[0]

        return jax.lax.scan(body, (values, slots), gradients)[1]

    states = []
    for seed, sigma in settings:
        optimizer, slots, values = state_of(case, 1000, seed=seed)
        optimizer.sigma = sigma
        states.append(([v.value for v in optimizer.variables], values))
    together = jax.jit(jax.vmap(run))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))
    alone = jax.jit(run)
    for state, path in zip(states, together, strict=True):
        np.testing.assert_allclose(path, alone(*state), rtol=1e-4, atol=2e-6)
    assert np.std(together[2]) > 0 and not np.any(together[0] == together[1])


def test_random_words_under_vmap_are_equal_to_the_bit():
    def words(seed, step):
        return noise._words(seed, step, 128, 1000)

    seeds, steps = jnp.array([0, 5, 2**31 - 1]), jnp.array([7, 0, 3])
    together = jax.jit(jax.vmap(words))(seeds, steps)
    for i in range(3):
        for one, other in zip(together, words(int(seeds[i]), int(steps[i])), strict=True):
            np.testing.assert_array_equal(one[i], other)


def test_random_words_are_those_of_threefry():
    """Known answers: JAX's own bits of the same key and counter."""
    radius, angle = noise._words(3, 4, 10, 4)
    key = jnp.array([3, 4], jnp.uint32)
    for i in range(4):
        expected = threefry_2x32(key, jnp.array([0, 10 + i], jnp.uint32))
        np.testing.assert_array_equal([radius[i], angle[i]], expected)


@all_optimizers
def test_one_step_law_in_float64(case):
    gradients = gradients_of(N, 2)
    with jax.enable_x64(True):
        path = path_of(case(LR, sigma=SIGMA), gradients, start=np.full(N, 1e3), dtype="float64")
    assert path.dtype == np.float64
    assert_one_step_law(case, path, gradients, LR, SIGMA)


@pytest.mark.parametrize("case", THREE, ids=str)
def test_gradient_accumulation_under_jit_has_noise_on_real_updates_only(case):
    gradients = gradients_of(N, 4)
    optimizer = case(LR, sigma=SIGMA, gradient_accumulation_steps=2)
    path = path_of(optimizer, gradients, mode="xla")
    np.testing.assert_array_equal(path[1::2], path[0:-1:2])
    means = [np.mean(np.float64(gradients[i : i + 2]), axis=0) for i in (0, 2)]
    assert_one_step_law(case, path[::2], means, LR, SIGMA)
