"""Configurations, and wrong arguments: the argument, what was expected, what came."""

import math

import keras
import numpy as np
import pytest
from helpers import (
    ADAPTIVE,
    BACKEND,
    KERAS,
    OPTIMIZERS,
    assert_equal,
    gradients_of,
    path_of,
    variables_of,
)
from keras import ops
from keras.optimizers.schedules import ExponentialDecay

import langevin
from langevin import LSGD, LAdam, LogSchedule

all_optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)


@all_optimizers
def test_config_makes_an_equal_optimizer(case):
    arguments = {"sigma": 0.02, "langevin_layers": 0.5, "noise_cap": 3.0, "seed": 11}
    arguments |= {"weight_decay": 0.1, "clipnorm": 1.0, "name": "mine"}
    optimizer = case(0.3, **arguments)
    config = optimizer.get_config()
    for name, value in arguments.items():
        assert config[name] == pytest.approx(value) if name == "sigma" else config[name] == value
    assert config.get("variant") == case.variant
    again = case.optimizer.from_config(config)
    assert again.get_config() == config
    gradients = gradients_of(50, 3)
    assert_equal(path_of(optimizer, gradients), path_of(again, gradients))


@pytest.mark.parametrize("layers", [None, 0.3, [0, -1], (0, 1), range(2), ["a", "c"]], ids=str)
@all_optimizers
def test_config_serializes_every_form_of_langevin_layers(case, layers):
    config = keras.optimizers.serialize(case(langevin_layers=layers))
    again = keras.optimizers.deserialize(config)
    expected = list(layers) if isinstance(layers, (tuple, range)) else layers
    assert again.langevin_layers == expected and type(again) is case.optimizer


@pytest.mark.parametrize("sigma", [ExponentialDecay(0.1, 2, 0.5), LogSchedule(0.1, 3)], ids=type)
@all_optimizers
def test_config_serializes_schedules(case, sigma):
    optimizer = case(ExponentialDecay(0.2, 2, 0.5), sigma=sigma)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    again.iterations.assign(5)
    assert float(again.sigma) == pytest.approx(float(sigma(5)), rel=1e-6)
    assert float(again.learning_rate) == pytest.approx(0.2 * 0.5**2.5, rel=1e-6)


def test_registered_names_are_unique_and_of_the_package():
    classes = {case.optimizer for case in OPTIMIZERS if case.variant}
    names = {keras.saving.get_registered_name(each) for each in classes}
    assert names == {"langevin>LSGD", "langevin>LAdam", "langevin>LRMSprop", "langevin>LAdadelta"}
    for each in classes:
        assert keras.saving.get_registered_object(f"langevin>{each.__name__}") is each


def test_seed_comes_from_keras_seeding_unless_given():
    def seed():
        keras.utils.set_random_seed(5)
        return LSGD().seed

    assert seed() == seed() != LSGD().seed
    assert LSGD(seed=3).seed == LSGD(seed=np.int64(3)).seed == 3
    assert LSGD(seed=2**31 - 1).seed == 2**31 - 1


# Wrong arguments

NUMBER = "`{}` must be a finite number {}"
WRONG = [
    ({"sigma": -0.1}, NUMBER.format("sigma", ">= 0") + ".*Received: -0.1"),
    ({"sigma": float("nan")}, NUMBER.format("sigma", ">= 0") + ".*Received: nan"),
    ({"sigma": float("inf")}, NUMBER.format("sigma", ">= 0") + ".*Received: inf"),
    ({"sigma": "0.1"}, NUMBER.format("sigma", ">= 0") + ".*schedule.*Received: '0.1'"),
    ({"sigma": None}, NUMBER.format("sigma", ">= 0") + ".*Received: None"),
    ({"sigma": True}, NUMBER.format("sigma", ">= 0") + ".*Received: True"),
    ({"noise_cap": 0.0}, NUMBER.format("noise_cap", "> 0") + ".*Received: 0.0"),
    ({"noise_cap": -1}, NUMBER.format("noise_cap", "> 0") + ".*Received: -1"),
    ({"noise_cap": float("nan")}, NUMBER.format("noise_cap", "> 0") + ".*Received: nan"),
    ({"noise_cap": "1"}, NUMBER.format("noise_cap", "> 0") + ".*Received: '1'"),
    ({"seed": -1}, r"`seed` must be an integer in \[0, 2\*\*31\).*Received: -1"),
    ({"seed": 2**31}, r"`seed` must be an integer in .*Received: 2147483648"),
    ({"seed": 0.5}, "`seed` must be an integer .*Received: 0.5"),
    ({"seed": "7"}, "`seed` must be an integer .*Received: '7'"),
    ({"seed": True}, "`seed` must be an integer .*Received: True"),
    ({"langevin_layers": 0.0}, r"`langevin_layers`.* in \(0, 1\].*Received: 0.0"),
    ({"langevin_layers": 1.2}, r"`langevin_layers`.* in \(0, 1\].*Received: 1.2"),
    ({"langevin_layers": 2}, r"`langevin_layers`.* in \(0, 1\].*Received: 2"),
    ({"langevin_layers": "w0"}, "`langevin_layers` must be None .*Received: 'w0'"),
    ({"langevin_layers": True}, "`langevin_layers` must be None .*Received: True"),
    ({"langevin_layers": dict}, "`langevin_layers` must be None .*Received: <class 'dict'>"),
    ({"langevin_layers": {"positions": [3]}}, "`langevin_layers` must be None .*Received: {'posi"),
    ({"langevin_layers": []}, "`langevin_layers` must be None .*non-empty.*Received: \\[\\]"),
]
WRONG_LAYERS = [  # that only the model can tell
    (["d"], "'d' names no layer. Layers: .*'w0', 'w1', 'w2'"),
    ([3], "layer number 3; the model has 3 layers, 0 to 2: .*'w0', 'w1', 'w2'"),
]


@pytest.mark.parametrize("arguments, message", WRONG, ids=str)
@all_optimizers
def test_wrong_argument(case, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        case(**arguments)


@pytest.mark.parametrize("layers, message", WRONG_LAYERS, ids=str)
@all_optimizers
def test_wrong_langevin_layers_at_the_first_build_and_at_every_later_one(case, layers, message):
    optimizer = case(langevin_layers=layers)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"(?s)`langevin_layers`.*{message}"):
            optimizer.build(variables_of(*[np.zeros(2)] * 3))


@pytest.mark.parametrize("given", ["0.1", None, -0.1, math.nan, True, np.ones(2), np.array(True)])
@pytest.mark.parametrize("argument", ["learning_rate", "sigma"])
@all_optimizers
def test_a_callable_that_gives_no_number_is_refused_before_a_weight_moves(case, argument, given):
    optimizer, variables = case(**{argument: lambda: given}), variables_of(np.zeros(2))
    with pytest.raises(ValueError, match=f"`{argument}` must .* when it is called. Received: "):
        optimizer.apply([ops.ones(2)], variables)
    assert not np.any(variables[0])


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("argument", ["learning_rate", "sigma"])
@all_optimizers
def test_a_schedule_and_a_tensor_are_checked_like_a_number(case, argument, wrong):
    message = f"`{argument}` must be a finite number >= 0, or .* called. Received: {wrong}"
    with pytest.raises(ValueError, match=message):
        case(**{argument: ExponentialDecay(wrong, 1, 0.5)})
    optimizer = case(**{argument: lambda: ops.convert_to_tensor(wrong)})
    variables = variables_of(np.zeros(2))
    with pytest.raises(ValueError, match=message):
        optimizer.apply([ops.ones(2)], variables)
    assert not np.any(variables[0])


@pytest.mark.parametrize("wrong", [-0.1, math.nan])
@pytest.mark.parametrize("argument", ["learning_rate", "sigma"])
def test_what_a_schedule_gives_later_is_refused_too_and_shows_in_compiled_code(argument, wrong):
    gradients, later = gradients_of(10, 2), ExponentialDecay(0.1, 1, decay_rate=wrong)
    with pytest.raises(ValueError, match=f"`{argument}` must .* when it is called. Received: "):
        path_of(LAdam(**{argument: later}), gradients)
    mode = "graph" if BACKEND == "tensorflow" else "xla"
    _, first, second = path_of(LAdam(**{argument: later}), gradients, mode=mode)
    assert np.all(np.isfinite(first)) and np.all(np.isnan(second))


@pytest.mark.parametrize("argument", ["learning_rate", "sigma"])
def test_a_callable_is_called_once_a_step(argument):
    calls = []
    optimizer = LSGD(**{argument: lambda: calls.append(1) or 0.1})
    variables = variables_of(np.zeros(2))
    optimizer.build(variables)
    assert not calls
    for step in (1, 2, 3):
        optimizer.apply([ops.ones(2)], variables)
        assert len(calls) == step


@pytest.mark.parametrize(
    "make", [float, int, np.float32, np.array, keras.Variable, ops.convert_to_tensor]
)
@pytest.mark.parametrize("argument", ["learning_rate", "sigma"])
def test_a_callable_may_give_any_kind_of_number(argument, make):
    value = make(1.0)
    optimizer = LAdam(**{argument: lambda: value})
    path_of(optimizer, gradients_of(3, 2))
    assert float(getattr(optimizer, argument)) == 1


@pytest.mark.parametrize("case", [case for case in OPTIMIZERS if case.variant], ids=str)
def test_wrong_variant_and_epsilon(case):
    with pytest.raises(ValueError, match=r"`variant` must be one of .*paper.*keras.*Received: 'x'"):
        case.optimizer(variant="x")
    if case in ADAPTIVE:
        with pytest.raises(ValueError, match="`epsilon` must be a finite number > 0. Received: 0"):
            case(epsilon=0)


def test_a_class_is_no_schedule():
    for argument in ("learning_rate", "sigma"):
        with pytest.raises(ValueError, match=f"`{argument}` must be a finite number.*Received"):
            LAdam(**{argument: dict})


def test_an_argument_by_its_place_is_checked_too():
    class LNadam(langevin.Langevin, keras.optimizers.Nadam):
        preconditioner = None

    with pytest.raises(ValueError, match="`beta_1` must be a finite number.*Received: 1.5"):
        LNadam(1e-3, 1.5)


PAPER_LACKS = [
    (LSGD, {"momentum": 0.9}), (LSGD, {"nesterov": True}), (LAdam, {"amsgrad": True}),
    (KERAS[2].optimizer, {"momentum": 0.9}), (KERAS[2].optimizer, {"centered": True}),
]  # fmt: skip


@pytest.mark.parametrize("optimizer, arguments", PAPER_LACKS, ids=str)
def test_paper_variant_says_what_the_published_update_lacks(optimizer, arguments):
    [(name, value)] = arguments.items()
    message = f"`{name}` is not part of the published update: pass variant='keras'.*{name}={value}"
    with pytest.raises(ValueError, match=message):
        optimizer(**arguments)


def test_sigma_set_on_an_optimizer_that_cannot_take_it():
    for sigma in (0.0, LogSchedule(0.1, 3)):
        with pytest.raises(ValueError, match="`sigma` can be set only on .*sigma=0.2"):
            LSGD(sigma=sigma).sigma = 0.2
    with pytest.raises(ValueError, match="`sigma` must be a finite number >= 0. Received: -1"):
        LSGD().sigma = -1


def test_mixin_without_preconditioner_says_so():
    class Bare(langevin.Langevin, keras.optimizers.Adagrad):
        pass

    with pytest.raises(TypeError, match="Bare does not say what its `preconditioner` is"):
        path_of(Bare(sigma=0.1), gradients_of(3, 1))


def test_an_optimizer_made_without_noise_refuses_a_sigma_that_is_assigned():
    optimizer = LSGD(sigma=0)
    with pytest.raises(ValueError, match="`sigma` must stay 0.*Received: 0.1.*Make a new"):
        optimizer.sigma.assign(0.1)
    optimizer.sigma.assign(0.0)
    assert float(optimizer.sigma) == 0


def test_sigma_and_seed_set_on_the_wrapper_of_mixed_precision_reach_the_optimizer():
    inner = LSGD(sigma=0.1, seed=1)
    wrapper = keras.optimizers.LossScaleOptimizer(inner)
    wrapper.sigma, wrapper.seed = 0.0, 2
    assert float(inner.sigma) == float(wrapper.sigma) == 0 and inner.seed == wrapper.seed == 2
    with pytest.raises(ValueError, match="`sigma` must be a finite number"):
        wrapper.sigma = -1


def test_a_sigma_that_compiled_code_reads_once_is_warned_of():
    mode = "graph" if BACKEND == "tensorflow" else "xla"
    with pytest.warns(UserWarning, match="`sigma` is a callable, .* once: it stays 0.1"):
        path_of(LSGD(sigma=lambda: 0.1), gradients_of(3, 1), mode=mode)


@pytest.mark.parametrize("case", [case for case in OPTIMIZERS if case.variant], ids=str)
def test_models_made_after_an_optimizer_start_as_with_keras_own(case):
    starts = []
    for make in (case.plain, case.optimizer):
        keras.utils.set_random_seed(0)
        make()
        starts.append(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).get_weights())
    assert_equal(*starts)
