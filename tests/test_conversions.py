"""docs/use.md converts from other libraries: a step here has the law of a step there.

The table's own code is what runs.  Each law is restated from the other library's source.
"""

import math
import re

import keras
import numpy as np
import pytest
from helpers import assert_normal, steps, variables_of
from keras import ops

import langevin
from langevin.experiments.training.store import root

N = 100_000
DOCUMENT = (root() / "docs" / "use.md").read_text()
ROWS = re.findall(r"^\| ([^|`]*`[^|]*) \| `([^|]*)` \|$", DOCUMENT, re.M)
SYMBOLS = {
    "lr": 0.05, "h": 0.04, "s": 0.3, "b1": 0.7, "b2": 0.7, "bias": 0.3, "alpha": 0.6, "rho": 0.6,
    "N": 50, "beta": 15.0, "T": 0.6, "eta": 0.2, "gamma": 0.55,
}  # fmt: skip
LATE = 100  # steps after which averages have forgotten where they began


def gradient_at(t):
    """Of step t = 1, 2, ...: it changes, so that an average tells its decay."""
    return 0.5 + t % 2


def average(t, decay, power=1):
    value = 0.0
    for step in range(1, t + 1):
        value = decay * value + (1 - decay) * gradient_at(step) ** power
    return value


def author_adam(t, lr, s, b1, b2, bias, **_):
    """bras-p/deep-layer-langevin, optimizers/ladam.py"""
    P = 1 / ((1 - b1**t) * (bias + math.sqrt(average(t, b2, 2) / (1 - b2**t))))
    return -lr * P * average(t, b1), (s * math.sqrt(lr * P)) ** 2


def author_rmsprop(t, lr, s, alpha, bias, **_):
    """bras-p/deep-layer-langevin, optimizers/lrmsprop.py"""
    P = 1 / (bias + math.sqrt(average(t, alpha, 2)))
    return -lr * P * gradient_at(t), (s * math.sqrt(lr * P)) ** 2


def probability(t, h, rho, N, bias, **_):
    """tensorflow/probability, optimizer/sgld.py: x - h N(N P g / 2, P / h); its average begins
    elsewhere than ours."""
    P = 1 / math.sqrt(average(t, rho, 2) + bias)
    return -h * 0.5 * P * gradient_at(t) * N, h**2 * P / h


def posteriors(t, h, beta, T, **_):
    """normal-computing/posteriors, sgmcmc/sgld.py, the code: it and its docstring differ at T."""
    return -h * gradient_at(t), T * h * (2 - T * h * beta)


def optax(t, h, eta, gamma, **_):
    """optax, transforms/_adding.py: the gradient gets variance eta / t^gamma, t = 1, 2, ..."""
    return -h * gradient_at(t), h**2 * eta / t**gamma


LAWS = {
    "the author's `LAdam(": (author_adam, 2),
    "the author's `LRMSprop(": (author_rmsprop, 3),
    "TensorFlow Probability's": (probability, LATE),
    "posteriors'": (posteriors, 2),
    "optax's `noisy_sgd(h, eta, gamma=0)": (lambda t, **given: optax(t, **given | {"gamma": 0}), 3),
    "optax's `noisy_sgd(h, eta, gamma)": (optax, 3),
    "`x - h / 2": (lambda t, h, **_: (-h / 2 * gradient_at(t), h), 2),
    "`x - h * g": (lambda t, h, T, **_: (-h * gradient_at(t), 2 * T * h), 2),
}


def schedule():
    """The schedule that the document shows, from its own code."""
    names = {"keras": keras, "ops": ops}
    exec(re.search(r"^class NoisySGD.*?(?=^```)", DOCUMENT, re.S | re.M)[0], names)
    return names["NoisySGD"]


def one_step(expression, step):
    """The change of N weights at this step, made with the optimizer that the table names."""
    here = eval(expression, {"NoisySGD": schedule(), **vars(langevin)}, dict(SYMBOLS))
    variables = variables_of(np.zeros(N))

    def gradients_from(first):
        return lambda _, after: [gradient_at(ops.cast(first + after, "float32")) * ops.ones(N)]

    before = steps(here, variables, gradients_from(1), step - 1)[0].copy()
    return steps(here, variables, gradients_from(step), 1)[0].astype("float64") - before


def check(there, here, symbols=SYMBOLS):
    law, step = next(law for start, law in LAWS.items() if there.startswith(start))
    mean, variance = law(step, **symbols)
    # Weights lie at most 1e3 from 0, where float32 rounds at 6e-5: not to be seen beside the noise.
    assert_normal(one_step(here, step), mean, variance)


@pytest.mark.parametrize("there, here", ROWS, ids=[there for there, _ in ROWS])
def test_a_step_here_has_the_law_of_a_step_there(there, here):
    check(there, here)


def test_every_line_of_the_table_has_its_law():
    assert len(ROWS) == len(LAWS)
    assert all(sum(there.startswith(start) for there, _ in ROWS) == 1 for start in LAWS)


@pytest.mark.parametrize(
    "there, here, symbol",
    [
        (*row, symbol)
        for row in ROWS
        for symbol in SYMBOLS
        if all(re.search(rf"\b{symbol}\b", side) for side in row)
    ],
)
def test_a_conversion_that_is_wrong_in_one_symbol_is_noticed(there, here, symbol):
    with pytest.raises(AssertionError):
        check(there, here, SYMBOLS | {symbol: 1.4 * SYMBOLS[symbol]})


def test_optax_itself_has_the_law_that_is_restated_here():
    import jax.numpy as jnp
    import optax as library

    given = {name: SYMBOLS[name] for name in ("eta", "gamma")}
    solver = library.noisy_sgd(SYMBOLS["h"], **given, key=0)
    state = solver.init(jnp.zeros(N))
    for step in range(1, 4):
        move, state = solver.update(jnp.full(N, gradient_at(step)), state)
        assert_normal(move, *optax(step, **SYMBOLS))


@pytest.mark.parametrize("rate", [0.5, 1e4])
def test_log_schedule_of_the_author_is_ours_with_the_inverse_rate(rate):
    ours = langevin.LogSchedule(SYMBOLS["s"], decay_steps=1 / rate)
    for step in (0, 1, 1000):
        theirs = SYMBOLS["s"] / math.sqrt(math.log(rate * step + math.e))
        assert float(ours(step)) == pytest.approx(theirs, rel=1e-5)
