"""The common test of all Langevin optimizers: what a Keras user may expect, on any backend.

A feature is tested by the one-step law under it, or by equality to the bit.
"""

import keras
import numpy as np
import pytest
import restatement
from helpers import (
    ADAPTIVE,
    BACKEND,
    BAND,
    KERAS,
    OPTIMIZERS,
    THREE,
    assert_equal,
    assert_normal,
    assert_one_step_law,
    fit_path,
    gradients_of,
    linear_loss,
    path_of,
    paths_of,
    standardized,
    variables_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from langevin import LSGD, LAdam, LogSchedule, noise

N, LR, SIGMA = 20_000, 0.01, 0.05
all_optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
ExponentialDecay = keras.optimizers.schedules.ExponentialDecay


def halves(initial, steps):
    return initial * 0.5 ** np.arange(steps)


def constant_sigma():
    return ops.convert_to_tensor(SIGMA, "float32")


# Arguments of the optimizer -> what they change in the law: learning rates, sigmas, weight decay.
LAW_FEATURES = {
    "a learning-rate schedule": (
        {"learning_rate": ExponentialDecay(0.04, 1, 0.5)}, {"rates": halves(0.04, 2)},
    ),
    "a sigma schedule": ({"sigma": ExponentialDecay(0.2, 1, 0.5)}, {"sigmas": halves(0.2, 2)}),
    "LogSchedule": (
        {"sigma": LogSchedule(0.2, 1)},
        {"sigmas": 0.2 / np.sqrt(np.log(np.e + np.arange(2)))},
    ),
    "a sigma callable": ({"sigma": constant_sigma}, {}),
    "weight decay": ({"weight_decay": 0.5}, {"weight_decay": 0.5}),
    "loss_scale_factor": ({"loss_scale_factor": 1024.0}, {}),
    "an EMA": ({"use_ema": True, "ema_momentum": 0.9}, {}),
}  # fmt: skip


@pytest.mark.parametrize("feature", LAW_FEATURES)
@all_optimizers
def test_one_step_law_under(case, feature):
    arguments, law = LAW_FEATURES[feature]
    arguments = {"learning_rate": LR, "sigma": SIGMA, **arguments}
    law = {"rates": LR, "sigmas": SIGMA, **law}
    gradients = gradients_of(N, 2)
    scale = arguments.get("loss_scale_factor", 1.0)
    path = path_of(case(**arguments), [g * np.float32(scale) for g in gradients], np.ones(N))
    assert_one_step_law(case, path, gradients, **law)


CLIPS = {
    "clipvalue": lambda g: np.clip(g, -0.2, 0.2),
    "clipnorm": lambda g: g * (0.2 / np.linalg.norm(g)),
    "global_clipnorm": lambda g: g * (0.2 / np.linalg.norm(g)),
}


@pytest.mark.parametrize("argument", CLIPS)
@all_optimizers
def test_one_step_law_under_clipping_which_leaves_the_noise_alone(case, argument):
    gradients = gradients_of(N, 2)
    path = path_of(case(LR, sigma=SIGMA, **{argument: 0.2}), gradients)
    clipped = [CLIPS[argument](g.astype("float64")) for g in gradients]
    assert_one_step_law(case, path, clipped, LR, SIGMA)


@all_optimizers
def test_gradient_accumulation_has_noise_on_real_updates_only(case):
    gradients = gradients_of(N, 4)
    path = path_of(case(LR, sigma=SIGMA, gradient_accumulation_steps=2), gradients)
    np.testing.assert_array_equal(path[1::2], path[0:-1:2])
    means = [np.mean(np.float64(gradients[i : i + 2]), axis=0) for i in (0, 2)]
    assert_one_step_law(case, path[::2], means, LR, SIGMA)


@all_optimizers
def test_ema_averages_the_noisy_path(case):
    optimizer = case(LR, sigma=SIGMA, use_ema=True, ema_momentum=0.5)
    variables = variables_of(np.zeros(100))
    path = paths_of(optimizer, variables, [[gradient] for gradient in gradients_of(100, 3)])
    optimizer.finalize_variable_values(variables)
    average = path[1][0]
    for [value] in path[2:]:
        average = np.float32(0.5) * average + np.float32(0.5) * value
    np.testing.assert_allclose(np.asarray(variables[0].value), average, rtol=1e-5, atol=1e-7)


def half(case):
    """Numbers that half precision holds: of others, Keras's averages are off by some percent."""
    if case.rule in (restatement.KerasAdam, restatement.PaperAdam, restatement.Nadam):
        averages = {"beta_1": 0.5, "beta_2": 0.75}
    else:
        averages = {"rho": 0.5} if case in ADAPTIVE else {}
    return averages | ({"epsilon": 2.0**-10} if case in KERAS and case in ADAPTIVE else {})


@all_optimizers
def test_one_step_law_in_float16(case):
    # P of the zero gradients is beyond float16 in the paper's variants, sqrt(P) lr sigma is not.
    gradients = [np.where(np.arange(N) % 2, g, 0).astype("float16") for g in gradients_of(N, 1)]
    path = path_of(case(1e-3, sigma=0.01, **half(case)), gradients, dtype="float16")
    assert path.dtype == np.float16 and np.all(np.isfinite(path))
    assert_one_step_law(case, path, gradients, 1e-3, 0.01, **half(case))


@all_optimizers
def test_one_step_law_in_bfloat16_up_to_its_rounding(case):
    [gradient] = gradients_of(N, 1)
    path = path_of(case(LR, sigma=SIGMA, **half(case)), [gradient], dtype="bfloat16")
    rounded = np.asarray(ops.convert_to_tensor(gradient, dtype="bfloat16")).astype("float64")
    [z] = standardized(case, path, [rounded], LR, SIGMA, **half(case))
    # 8 bits: the weight, P and the drift are each off by up to 1 / 256.
    assert abs(np.std(z) - 1) < BAND * np.sqrt(0.5 / N) + 2 / 256
    assert abs(np.mean(z)) < BAND / np.sqrt(N) + 2 / 256


@all_optimizers
def test_sigma_schedule_that_returns_zero_has_no_effect(case):
    gradients = gradients_of(1000, 3)
    off = keras.optimizers.schedules.PiecewiseConstantDecay([0], [SIGMA, 0.0])
    path = path_of(case(LR, sigma=off), gradients)
    # z as if sigma were still there: what is left of it is the rounding of float32.
    first, *rest = standardized(case, path, gradients, LR, SIGMA)
    assert_normal(first)
    for z in rest:
        assert np.max(np.abs(z)) < 1e-3


@all_optimizers
def test_sigma_can_be_set_between_steps(case):
    optimizer, n = case(LR, sigma=1.0), 20_000
    optimizer.sigma = SIGMA
    gradients = gradients_of(n, 2)
    assert_one_step_law(case, path_of(optimizer, gradients), gradients, LR, SIGMA)
    assert optimizer.get_config()["sigma"] == pytest.approx(SIGMA)


# Equality to the bit


@pytest.mark.parametrize("case", KERAS, ids=str)
@settings(max_examples=5)
@given(
    shape=st.sampled_from([(), (1,), (3, 4), (2, 3, 2)]), learning_rate=st.floats(1e-5, 1.0),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6]), seed=st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_keras_variant_without_noise_is_the_keras_optimizer(
    case, shape, learning_rate, scale, seed
):
    generator = np.random.default_rng(seed)
    start = generator.normal(size=shape)
    gradients = [[scale * generator.normal(size=shape)] for _ in range(4)]
    ours = paths_of(case(learning_rate, sigma=0.0), variables_of(start), gradients)
    theirs = paths_of(case.plain(learning_rate), variables_of(start), gradients)
    assert_equal(ours, theirs)


OPTIONS = [
    (LSGD, keras.optimizers.SGD, {"momentum": 0.9}),
    (LSGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    (LAdam, keras.optimizers.Adam, {"amsgrad": True}),
    (LAdam, keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    *[(case.optimizer, case.plain, {"rho": 0.5, "epsilon": 1e-2}) for case in KERAS[2:4]],
    *[(KERAS[2].optimizer, KERAS[2].plain, o) for o in ({"momentum": 0.5}, {"centered": True})],
]


@pytest.mark.parametrize("ours, theirs, options", OPTIONS, ids=str)
def test_keras_variant_takes_the_options_of_the_keras_optimizer(ours, theirs, options):
    gradients = gradients_of(50, 4)
    one = path_of(ours(0.1, variant="keras", sigma=0.0, **options), gradients)
    assert_equal(one, path_of(theirs(0.1, **options), gradients))
    noisy = path_of(ours(0.1, variant="keras", sigma=0.1, **options), gradients)
    assert np.all(np.isfinite(noisy)) and not np.any(noisy[-1] == one[-1])


SHAPES = [(3, 2), (3, 2), (2,), (3, 2), (2,)]
NAMES = ["a/kernel", "b/kernel", "b/bias", "c/kernel", "c/bias"]


def network(shapes=SHAPES):
    """Variables with the paths of layers a, b and c; a's and b's kernels have one shape."""
    result = []
    for name, shape in zip(NAMES, shapes, strict=True):
        layer, _, part = name.partition("/")
        with keras.name_scope(layer):
            result.append(keras.Variable(np.zeros(shape), dtype="float32", name=part))
    assert [variable.path for variable in result] == NAMES
    return result


def network_path(make, count=2, mode="eager", sigma=SIGMA, **arguments):
    generator = np.random.default_rng(5)
    gradients = [[generator.normal(size=shape) for shape in SHAPES] for _ in range(count)]
    optimizer = make(LR, sigma=sigma, **arguments) if sigma is not None else make(LR)
    return paths_of(optimizer, network(), gradients, mode)[1:]


@pytest.mark.parametrize("case", KERAS, ids=str)
def test_weights_left_out_move_like_the_keras_optimizer_in_compiled_code(case):
    mode = "graph" if BACKEND == "tensorflow" else "xla"
    plain = network_path(case.plain, mode=mode, sigma=None)
    for some, none in zip(network_path(case, mode=mode, langevin_layers=["b"]), plain, strict=True):
        assert_equal([some[i] for i in (0, 3, 4)], [none[i] for i in (0, 3, 4)])
    for some, none in zip(network_path(case, mode=mode, sigma=0.0), plain, strict=True):
        assert_equal(some, none)


@all_optimizers
def test_weights_left_out_move_like_the_plain_optimizer_and_noise_knows_no_neighbours(case):
    plain, everywhere = network_path(case, sigma=0.0), network_path(case)
    for none, each in zip(plain, everywhere, strict=True):
        assert all(np.all(none[i] != each[i]) for i in range(5))
    choices = [(["b"], {1, 2}), ([0, -1], {0, 3, 4}), (lambda path: path == "c/bias", {4})]
    for layers, noisy in choices:
        path = network_path(case, langevin_layers=layers)
        for some, none, each in zip(path, plain, everywhere, strict=True):
            assert_equal(some, [each[i] if i in noisy else none[i] for i in range(5)])


SPANS = {
    "all": (None, (0, 22)),
    "first": (["a"], (0, 6)),
    "second": (["b"], (6, 14)),
    "second and third": ([1, 2], (6, 22)),
    "first and last": ([0, -1], (0, 22)),
    "a predicate": (lambda path: path == "c/bias", (20, 22)),
}


@pytest.mark.parametrize("layers, span", SPANS.values(), ids=SPANS)
@all_optimizers
def test_a_step_draws_once_from_the_first_noisy_number_to_the_last(case, layers, span, monkeypatch):
    spans, draw = [], noise.scaled_normal

    def scaled_normal(sigma, seed, step, start, stop):
        spans.append((start, stop))
        return draw(sigma, seed, step, start, stop)

    monkeypatch.setattr(noise, "scaled_normal", scaled_normal)
    network_path(case, count=3, langevin_layers=layers)
    assert spans == [span] * 3


NESTED = {
    "a fraction": (0.5, ["outer/first", "inner/first"]),
    "a name": (["second"], ["inner/second"]),
    "a whole path": (["inner/first"], ["inner/first"]),
    "numbers": ([2, -1], ["inner/second", "outer/last"]),
    "a predicate": (lambda path: path.startswith("inner/"), ["inner/first", "inner/second"]),
}


@pytest.mark.parametrize("layers, noisy", NESTED.values(), ids=NESTED)
def test_layers_of_a_model_inside_a_model_are_chosen_like_any(layers, noisy):
    keras.utils.set_random_seed(3)
    dense, start = keras.layers.Dense, keras.Input((3,))
    inner = keras.Sequential([start, dense(4, name="first"), dense(4, name="second")], name="inner")
    model = keras.Sequential(
        [start, dense(3, name="first"), inner, dense(1, name="last")], name="outer"
    )
    # The loss has no gradient: noise alone moves weights.
    model.compile(LSGD(LR, sigma=SIGMA, langevin_layers=layers), loss=linear_loss)
    before = model.get_weights()
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 1)))
    moved = set()
    for variable, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.all(new != old) or np.all(new == old)
        moved |= {variable.path} if np.all(new != old) else set()
    assert moved == {f"{layer}/{part}" for layer in noisy for part in ("kernel", "bias")}


@all_optimizers
def test_two_variables_of_one_shape_never_share_noise(case):
    gradients = [[np.ones(shape) for shape in SHAPES]] * 2
    for values in paths_of(case(LR, sigma=SIGMA), network(), gradients)[1:]:
        assert not np.any(values[0] == values[1])


@all_optimizers
def test_a_variable_without_gradient_stays_and_the_others_keep_their_noise(case):
    variables = network()
    optimizer = case(LR, sigma=SIGMA)
    optimizer.build(variables)
    gradients = [ops.ones(shape) for shape in SHAPES]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, *gradients[1:]], variables)
    other = network()
    case(LR, sigma=SIGMA).apply(gradients, other)
    assert not np.any(np.asarray(variables[0].value))
    for one, two in zip(variables[1:], other[1:], strict=True):
        np.testing.assert_array_equal(np.asarray(one.value), np.asarray(two.value))


@all_optimizers
def test_without_noise_nothing_is_drawn(case, monkeypatch):
    def fail(*arguments):
        raise AssertionError("drawn")

    monkeypatch.setattr("langevin.noise.scaled_normal", fail)
    path_of(case(LR, sigma=0.0), gradients_of(10, 1))
    with pytest.raises(AssertionError, match="drawn"):
        path_of(case(LR, sigma=SIGMA), gradients_of(10, 1))


@pytest.mark.parametrize("mode", ["graph", "xla"] if BACKEND == "tensorflow" else ["xla"])
@all_optimizers
def test_compiled_updates_agree_with_eager_ones_to_rounding(case, mode):
    gradients = gradients_of(1000, 4)
    eager = path_of(case(LR, sigma=SIGMA), gradients)
    compiled = path_of(case(LR, sigma=SIGMA), gradients, mode=mode)
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=2e-5)


# compile and fit


MODES = {"xla": {"jit_compile": True}, "eager": {"run_eagerly": True}}
if BACKEND == "tensorflow":
    MODES["graph"] = {"jit_compile": False}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", THREE, ids=str)
def test_one_step_law_in_fit(case, mode):
    gradients = gradients_of(N, 2)
    path = fit_path(case(LR, sigma=SIGMA), gradients, **MODES[mode])
    assert_one_step_law(case, path, gradients, LR, SIGMA)


@all_optimizers
def test_one_step_law_in_fit_under_mixed_precision_and_loss_scaling(case):
    # Half-precision gradients times the scale of the loss must be exact: small multiples of 1/64.
    # On JAX Keras does not carry Nadam's product of momenta from step to step there.
    count = 1 if case.plain is keras.optimizers.Nadam else 2
    gradients = [np.round(g * 64).clip(-64, 64) / np.float32(64) for g in gradients_of(N, count)]
    inner = case(LR, sigma=SIGMA)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        path = fit_path(optimizer, gradients)
    finally:
        keras.config.set_dtype_policy("float32")
    assert int(inner.iterations) == count
    assert_one_step_law(case, path, gradients, LR, SIGMA)


def test_an_overflow_under_loss_scaling_makes_no_noise():
    optimizer = keras.optimizers.LossScaleOptimizer(LAdam(LR, sigma=SIGMA), initial_scale=2.0)
    fine, [broken] = gradients_of(100, 1), [np.full(100, np.inf, "float32")]
    path = fit_path(optimizer, [broken, *fine])
    np.testing.assert_array_equal(path[1], path[0])
    assert np.all(path[2] != path[1])


@pytest.mark.parametrize("layers", [None, 0.3, ["x"], [0]], ids=str)
@all_optimizers
def test_a_frozen_model_is_no_error(case, layers):
    optimizer = case(LR, langevin_layers=layers)
    optimizer.build([])
    assert optimizer.get_config()["langevin_layers"] == layers
