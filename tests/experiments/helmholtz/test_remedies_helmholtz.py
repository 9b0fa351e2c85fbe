"""Wake-sleep on 3x3 bars, against sums over all hidden states."""

import itertools

import keras
import numpy as np
import pytest
from helpers import BAND, steps
from keras import ops

from langevin import LAdam
from langevin.experiments.helmholtz import helmholtz
from langevin.experiments.helmholtz.helmholtz import Helmholtz

SIZES = (9, 4, 2)


def machine(seed=0, scale=2.0):
    """With weights so large that posteriors are far from flat."""
    made = Helmholtz(SIZES, seed)
    generator = np.random.default_rng(seed)
    for variable in made.variables:
        variable.assign(scale * generator.standard_normal(variable.shape))
    return made


def everything(units):
    return np.array(list(itertools.product((0, 1), repeat=units)), "float32")


def test_the_laws_of_images_and_of_recognition_sum_to_one():
    made = machine()
    total = np.exp(np.asarray(made.exact_log_likelihood(everything(9)), "float64")).sum()
    assert total == pytest.approx(1, abs=1e-4)
    hidden = everything(6)
    x = np.repeat(helmholtz.bars(1, seed=1), len(hidden), axis=0)
    q = np.exp(np.asarray(made.log_q([x, hidden[:, :4], hidden[:, 4:]]), "float64"))
    assert q.sum() == pytest.approx(1, abs=1e-5)


def test_log_likelihood_by_samples_is_the_exact_one():
    made, x = machine(scale=0.5), helmholtz.bars(6, seed=1)
    exact = np.asarray(made.exact_log_likelihood(x), "float64")
    rounds = np.stack([np.asarray(made.log_likelihood(x, 5000), "float64") for _ in range(12)])
    ratios = np.exp(rounds - exact)  # unbiased for 1
    error = ratios.std(axis=0, ddof=1) / np.sqrt(len(rounds))
    assert np.all(error < 0.05) and np.all(np.abs(ratios.mean(axis=0) - 1) < BAND * error)


def test_generated_images_have_the_exact_law():
    made = machine()
    images = np.asarray(made.generate(20_000)[0])
    numbers = (images @ 2 ** np.arange(9)).astype(int)
    every = everything(9)
    exact = np.zeros(512)
    exact[(every @ 2 ** np.arange(9)).astype(int)] = np.exp(made.exact_log_likelihood(every))
    found = np.bincount(numbers, minlength=512) / len(images)
    likely = exact > 1e-3
    error = np.sqrt(exact * (1 - exact) / len(images))
    assert np.all(np.abs(found - exact)[likely] < BAND * error[likely])


def exact_objective(made, x, rule, part):
    """What `rule` ascends with p's weights ("p") or with q's, by sums over all states, as a
    function of the present weights; the law that the sum is over stays the one of now."""
    if part == "p" and rule == "reweighted":
        return lambda: np.mean(made.exact_log_likelihood(x))
    hidden = everything(sum(SIZES[1:]))
    seen = everything(9) if (rule, part) == ("wake-sleep", "q") else x
    states = [
        np.repeat(seen, len(hidden), axis=0),
        *np.split(np.tile(hidden, (len(seen), 1)), [4], 1),
    ]

    def by_image(log_law):
        return np.asarray(log_law(states), "float64").reshape(len(seen), -1)

    law = np.exp(by_image(made.log_q if part == "p" else made.log_p))
    if rule == "reweighted":  # p's posterior of the images
        law /= law.sum(axis=1, keepdims=True)
    if seen is x:
        law /= len(x)
    return lambda: np.sum(law * by_image(made.log_p if part == "p" else made.log_q))


@pytest.mark.parametrize("rule", ["wake-sleep", "reweighted"])
@pytest.mark.parametrize("part", ["p", "q"])
def test_gradient_of_many_samples_is_the_exact_one(rule, part):
    """wake-sleep: E_q dlog p of images, E_p dlog q of dreams; reweighted: dlog p(x), and dlog q of
    images under p's posterior."""
    made, x = machine(scale=0.5), helmholtz.bars(4, seed=1)
    many = x if rule == "reweighted" else np.tile(x, (20_000, 1))
    found = helmholtz.gradients(made, many, rule, samples=20_000)
    objective, h = exact_objective(made, x, rule, part), 1e-2
    places = {"p": (0, 0, 1, 1, 2), "q": (3, 3, 3, 4, 4)}[part]
    for place, index in zip(places, ((1, 3), (4, 2), (0, 1), (2, 0), (0, 1))):
        variable, values = made.variables[place], []
        start = np.array(variable)
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * h
            variable.assign(moved)
            values.append(objective())
        variable.assign(start)
        expected = -(values[0] - values[1]) / (2 * h)
        assert np.asarray(found[place])[index] == pytest.approx(expected, abs=0.01)


def test_natural_gradient_is_fishers_inverse_times_the_reweighted_one():
    made, x = machine(scale=0.5), helmholtz.bars(50, seed=1)
    states = made.recognize(x)
    shares = np.full(50, 1 / 50, "float32")
    weights = made.generative[0]
    plain = np.asarray(helmholtz.ascent(weights, states[1], states[0], shares), "float64")
    natural = np.asarray(helmholtz.ascent(weights, states[1], states[0], shares, natural=True))
    rows = np.hstack([states[1], np.ones((50, 1))])
    s = 1 / (1 + np.exp(-rows @ np.array(weights, "float64")))
    for unit in range(9):
        fisher = rows.T @ ((s * (1 - s))[:, [unit]] * rows) / 50
        expected = np.linalg.solve(fisher + helmholtz.DAMPING * np.eye(5), plain[:, unit])
        np.testing.assert_allclose(natural[:, unit], expected, rtol=1e-3, atol=1e-5)


LANGEVIN = {"sigma": 1e-3}


@pytest.mark.parametrize(
    "rule, noise", [*((rule, {"sigma": 0}) for rule in helmholtz.RULES), ("reweighted", LANGEVIN)]
)
def test_every_rule_raises_the_exact_likelihood_of_bars(rule, noise):
    made, x = Helmholtz(SIZES, seed=2), helmholtz.bars(100, seed=3)
    before = float(np.mean(made.exact_log_likelihood(x)))
    optimizer = LAdam(0.05, seed=1, **noise)
    x = ops.convert_to_tensor(x)
    steps(optimizer, made.variables, lambda *_: helmholtz.gradients(made, x, rule), 60)
    after = float(np.mean(made.exact_log_likelihood(x)))
    assert before + 0.3 < after < 0  # from 9 fair coins, -6.2, toward the bars' own -2.7


def test_bars_have_no_other_image():
    images = helmholtz.bars(500).reshape(-1, 3, 3)
    upright = (images == images[:, :1]).all(axis=(1, 2))
    across = (images == images[:, :, :1]).all(axis=(1, 2))
    assert np.all(upright | across) and 0.3 < across.mean() < 0.8


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="wake-sleep, reweighted, natural.*'rem'"):
        helmholtz.gradients(Helmholtz((9, 4)), np.zeros((2, 9), "float32"), "rem")


def test_equal_seeds_give_equal_machines_and_samples():
    one, other = Helmholtz(SIZES, 5), Helmholtz(SIZES, 5)
    for a, b in zip(one.variables, other.variables):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.generate(10)[0], other.generate(10)[0])
    assert not np.array_equal(np.array(Helmholtz(SIZES, 6).variables[0]), one.variables[0])
    assert isinstance(one.top, keras.Variable)
