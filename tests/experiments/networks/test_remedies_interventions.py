"""Interventions: each changes what it says, and nothing else."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from helpers import assert_normal, assert_uncorrelated, gradients_of, path_of

from langevin import LAdam
from langevin.experiments.networks import models, remedies
from langevin.experiments.networks.remedies import interventions
from langevin.experiments.training import loop as training
from langevin.experiments.training import optimizers, placement, runs
from langevin.experiments.training.runs import Run

RUN = Run(dataset="digits", batch_size=64, depth=4, epochs=3, sigma=1e-3)
STEPS = 1437 // 64  # of an epoch


def changed(**settings):
    return dataclasses.replace(RUN, **settings)


def fresh(run):
    """Weights at the start, each by its path."""
    return named(models.fresh(run, runs.dataset_of(run)))


def named(model):
    # Keras counts its names of batch normalizations on from model to model.
    paths = [
        v.path if "normalization" not in v.path else f"{i}/{v.path.rpartition('/')[2]}"
        for i, v in enumerate(model.trainable_variables)
    ]
    values = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    return dict(zip(paths, values, strict=True))


def after(run, steps):
    """Weights after some steps of the first epoch: on both backends by the run's own program."""
    data = runs.dataset_of(run)
    program = training.backend().Program(run.program(), data, 1)
    program.start([run])
    order = training.order(run.seed, 1, len(data.x_train))[None]
    rates, sigmas = training._schedule(run, run.epochs * STEPS, STEPS)
    program.epoch(order, rates[None, :STEPS], sigmas[None, :STEPS], steps=steps)
    for _ in program.visit():
        return named(program.model)


def is_kernel(path):
    return path.endswith("kernel")


# the learning rate


@pytest.mark.parametrize("steps, of_epoch", [(2340, 117), (200, 10), (30, 10)])
@pytest.mark.parametrize("schedule", ["drop", "inverse", "constant"])
def test_warm_up_rises_linearly_to_the_schedule_and_leaves_the_noise(steps, of_epoch, schedule):
    plain = changed(schedule=schedule)
    rates, sigmas = training._schedule(plain, steps, of_epoch)
    for name, rising in [
        ("warm-up-1-percent", {2340: 23, 200: 2, 30: 1}[steps]), ("warm-up-1-epoch", of_epoch),
    ]:  # fmt: skip
        warm, noise = training._schedule(dataclasses.replace(plain, remedy=name), steps, of_epoch)
        share = [min(1.0, (step + 1) / rising) for step in range(steps)]
        np.testing.assert_allclose(warm, rates * share, rtol=1e-6)
        np.testing.assert_array_equal(noise, sigmas)


def test_a_run_that_warms_up_takes_the_smaller_first_step():
    plain = changed(optimizer="sgd", learning_rate=0.1, sigma=0.0)
    start, one = fresh(plain), after(plain, 1)
    warm = after(dataclasses.replace(plain, remedy="warm-up-1-epoch"), 1)
    for path, value in start.items():
        # Weights of size .3 are rounded to 3e-8.
        expected = (one[path] - value) / STEPS
        np.testing.assert_allclose(warm[path] - value, expected, rtol=1e-4, atol=1e-7)
    assert any(np.abs(one[path] - start[path]).max() > 1e-4 for path in start)


# the start


@pytest.mark.parametrize("factor", [1.15, 1.33, 1.41])
@pytest.mark.parametrize("model", ["dense", "conv-dense"])
def test_scaled_kernels_are_exactly_the_factor_times_the_plain_ones(model, factor):
    run = changed(model=model)
    plain, scaled = fresh(run), fresh(dataclasses.replace(run, remedy=f"kernels-{factor}"))
    assert list(plain) == list(scaled)
    for path, value in plain.items():
        times = np.float32(factor) if is_kernel(path) else 1
        np.testing.assert_array_equal(scaled[path], value * times)


def test_kick_adds_normal_numbers_of_sd_015_to_kernels_alone_and_depends_on_the_seed():
    run = changed(depth=20)
    plain, kicks = fresh(run), []
    for seed in (0, 0, 1):
        kicked = fresh(dataclasses.replace(run, seed=seed, remedy="kick"))
        start = fresh(dataclasses.replace(run, seed=seed))
        assert all((kicked[p] == start[p]).all() for p in plain if not is_kernel(p))
        added = [(kicked[p] - start[p]).ravel() for p in plain if is_kernel(p)]
        kicks.append(np.concatenate(added))
    # 20 kernels of 64 times 64 and the output's: the band is five standard errors.
    assert len(kicks[0]) == 20 * 64 * 64 + 64 * 10
    for kick in kicks:
        assert_normal(kick, variance=0.15**2)
    np.testing.assert_array_equal(kicks[0], kicks[1])
    assert_uncorrelated(kicks[0], kicks[2])


@pytest.mark.parametrize("model", ["dense", "conv-dense"])
def test_a_network_without_biases_has_the_plain_ones_kernels_and_nothing_else(model):
    run = changed(model=model)
    plain, without = fresh(run), fresh(dataclasses.replace(run, remedy="no-biases"))
    assert list(without) == [path for path in plain if is_kernel(path)]
    for path, kernel in without.items():
        np.testing.assert_array_equal(kernel, plain[path])


# held norms


def test_kernels_turn_under_held_norms_and_keep_their_norms_through_noisy_steps():
    run = changed(depth=6, learning_rate=3e-3, sigma=3e-3)
    held = dataclasses.replace(run, remedy="held-norms")
    start, ours, plain = fresh(held), after(held, STEPS), after(run, STEPS)
    norm, grown = np.linalg.norm, []
    for path in filter(is_kernel, start):
        assert abs(norm(ours[path]) / norm(start[path]) - 1) < 1e-4
        cosine = np.sum(ours[path] * start[path]) / norm(ours[path]) / norm(start[path])
        assert cosine < 0.999
        grown.append(norm(plain[path]) / norm(start[path]))
    assert max(grown) > 1.01  # without the intervention they grow
    assert all(np.abs(v).max() > 0 for path, v in ours.items() if not is_kernel(path))


def test_first_step_under_held_norms_is_the_plain_one_but_for_each_kernels_length():
    held, plain = after(changed(remedy="held-norms"), 1), after(RUN, 1)
    start, norm = fresh(RUN), np.linalg.norm
    for path, value in plain.items():
        expected = value * norm(start[path]) / norm(value) if is_kernel(path) else value
        np.testing.assert_allclose(held[path], expected, rtol=1e-4, atol=1e-6)


def test_held_norms_leave_the_noise_on_the_layers_that_have_it():
    noisy, still = (after(changed(remedy="held-norms", sigma=s, langevin_layers=0.3), 1)
                    for s in (1e-3, 0.0))  # fmt: skip
    # Of 5 layers round(.3 * 5) = 2 are noisy.
    moved = [path for path in noisy if np.abs(noisy[path] - still[path]).max() > 1e-5]
    expected = [f"hidden_{i}/{kind}" for i in (1, 2) for kind in ("kernel", "bias")]
    assert moved == expected


def test_hold_norms_keeps_a_kernel_of_zeros_finite():
    before, after_ = np.zeros(4, "float32"), np.array([0, 0, 3, 4], "float32")
    numbers = np.array([0, 0, 1, 1], "int32")
    held = interventions.hold_norms(*map(keras.ops.convert_to_tensor, (before, after_, numbers)), 2)
    np.testing.assert_array_equal(held, np.zeros(4))


# noise on kernels alone, on biases alone


@pytest.mark.parametrize("model", models.BUILDERS)
def test_kernels_and_biases_are_all_variables_but_those_of_batch_normalization(model):
    sizes = {"blocks": (1, 1, 1), "filters": 2} if model in models.SIZES else {}
    run = Run(model=model, dataset="digits", **sizes)
    shape = runs.dataset_of(run).x_train.shape[1:]
    variables = models.build(run, shape, 10).trainable_variables
    kernels, biases = (placement.from_text([], text) for text in ("kernels", "biases"))
    for variable in variables:
        kind = variable.path.rpartition("/")[2]
        expected = len(variable.shape) > 1, len(variable.shape) == 1 and kind not in (
            "gamma", "beta",
        )  # fmt: skip
        assert (kernels(variable.path), biases(variable.path)) == expected, variable.path


MODELS = [
    {"depth": 4}, {"model": "conv-dense", "depth": 2}, {"model": "highway", "depth": 2},
    {"model": "resnet", "depth": 8, "blocks": (1, 1, 1), "filters": 2},
]  # fmt: skip


@pytest.mark.parametrize("settings", MODELS, ids=str)
@pytest.mark.parametrize("text", ["kernels", "biases"])
def test_noise_on_one_kind_leaves_the_others_where_the_plain_optimizer_moves_them(settings, text):
    run = changed(**settings, langevin_layers=text)
    noisy, plain = after(run, 1), after(dataclasses.replace(run, sigma=0.0), 1)
    chosen = placement.from_text([], text)
    for path, value in plain.items():
        if chosen(path):
            # By sigma sqrt(lr P), 3e-5 or more: P is 10 / |g| at the first step, |g| below 10.
            assert (np.abs(noisy[path] - value) > 0).mean() > 0.9, path
        else:
            # On JAX noise of sd 0 is added: the same numbers, rounded once.
            np.testing.assert_allclose(noisy[path], value, rtol=1e-6, atol=1e-7, err_msg=path)


# Adam-atan2


def atan2(**settings):
    run = changed(remedy="adam-atan2", sigma=0.0, learning_rate=0.01, **settings)
    return optimizers.from_run(run, None)


def test_adam_atan2_follows_its_formula_in_double_precision():
    gradients = gradients_of(2000, 6)
    path = path_of(atan2(), gradients, start=np.ones(2000))
    m = v = 0.0
    theta = np.ones(2000)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.astype("float64")
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.01 * 1.27 * np.arctan2(m / (1 - 0.9**t), np.sqrt(v / (1 - 0.999**t)))
        np.testing.assert_allclose(path[t], theta, rtol=0, atol=2e-6)
    first = np.abs(path[1] - 1)  # at the first step m' = g and sqrt(v') = |g|
    np.testing.assert_allclose(first, 0.01 * 1.27 * math.pi / 4, rtol=1e-4)


def test_adam_atan2_does_not_change_when_gradients_are_scaled():
    gradients = gradients_of(2000, 6)
    small = [np.float32(1e-6) * gradient for gradient in gradients]
    ours = [path_of(atan2(), each) for each in (gradients, small)]
    np.testing.assert_allclose(*ours, rtol=0, atol=1e-6)
    adam = [path_of(LAdam(0.01, sigma=0), each) for each in (gradients, small)]
    assert np.abs(adam[0] - adam[1]).max() > 0.01  # the published epsilon sees the scale


def test_adam_atan2_without_momenta_is_refused():
    for made in (
        lambda: atan2(optimizer="rmsprop"), lambda: atan2(variant="keras"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="adam-atan2.*'adam'.*'paper'.*Received: "):
            made()


@pytest.mark.parametrize("name", [*interventions.MEMBERS, "adam-atan2"])
def test_interventions_train_on_both_backends(name):
    assert remedies.of(name).backends == ("tensorflow", "jax")
