"""Sigmoid belief networks learned by wake-sleep, reweighted and natural reweighted wake-sleep.

Generative, p, from the top down, and recognition, q, from the image up: every unit is 1 with
probability sigmoid(W h + b), h the layer that it depends on.  States are a list from the image
(batch, pixels) to the top.  A family of its own: no labels, no `Run`; the score is a lower bound of
log p(x).

    wake-sleep   W by g_p = E_q dlog p(x, h),   V by g_q = E_p dlog q(h | x)
    reweighted   g_p = sum_k w_k dlog p(x, h_k),   g_q = sum_k w_k dlog q(h_k | x),   h_k ~ q,
                 w_k proportional to p(x, h_k) / q(h_k | x)
    natural      the reweighted ones, each unit's times (E s (1 - s) h h^T + damping)^-1, the
                 inverse Fisher matrix of its weights; s its probability, the mean under the w_k

Langevin reweighted wake-sleep is `reweighted` with a Langevin optimizer.  Every rule is followed
by the same optimizer: natural directions too, which their source takes as they are.

Source: Hinton et al., Science 1995; Bornschein and Bengio, arXiv 1406.2751; Varady et al., arXiv
2008.06687.  Mark: code.  Runs on TensorFlow and on JAX.
"""

import itertools

import keras
import numpy as np
from keras import ops

from langevin.experiments.networks.remedies.systems import solve

DAMPING = 0.05
SAMPLES = 5  # of the hidden states, in all rules but wake-sleep
# By name, its source and, in short, its formula; the formulas of all were read in public code.
RULES = {
    "wake-sleep": (
        "Hinton et al., Science 1995",
        "p by E_q dlog p(x, h), q by E_p dlog q(h | x)",
    ),
    "reweighted": (
        "Bornschein and Bengio, arXiv 1406.2751",
        f"both under the w_k of {SAMPLES} samples h_k ~ q, "
        "w_k proportional to p(x, h_k) / q(h_k | x)",
    ),
    "natural": (
        "Varady et al., arXiv 2008.06687",
        "reweighted, each unit's gradient times its inverse Fisher matrix, followed by Adam",
    ),
}


class Helmholtz:
    """The two networks and what can be asked of them.

    Args:
        sizes: units of each layer, the image's pixels first.
        seed: of the weights and of all samples.

    >>> images = (np.random.default_rng(0).random((20, 784)) < 0.2).astype("float32")
    >>> machine = Helmholtz((784, 200, 200), seed=0)
    >>> optimizer = langevin.LAdam(1e-3, sigma=1e-4)
    >>> optimizer.build(machine.variables)
    >>> optimizer.apply(gradients(machine, images, "reweighted"), machine.variables)
    """

    def __init__(self, sizes, seed=0):
        self.sizes = tuple(sizes)
        self.seeds = keras.random.SeedGenerator(seed)
        draw = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(seed + 1))
        pairs = list(itertools.pairwise(self.sizes))
        # Both with a 1 for the bias as last input: (inputs + 1, units).
        self.generative = [_weights(draw, above, below) for below, above in pairs]
        self.recognition = [_weights(draw, below, above) for below, above in pairs]
        self.top = keras.Variable(np.zeros((1, self.sizes[-1])), dtype="float32")

    @property
    def variables(self):
        return [*self.generative, self.top, *self.recognition]

    def recognize(self, x):
        """States h ~ q(h | x)."""
        states = [x]
        for weights in self.recognition:
            states.append(self._sample(logits(weights, states[-1])))
        return states

    def generate(self, count):
        """States (x, h) ~ p."""
        top = ops.broadcast_to(1 * self.top, (count, self.sizes[-1]))
        states = [self._sample(top)]
        for weights in reversed(self.generative):
            states.insert(0, self._sample(logits(weights, states[0])))
        return states

    def _sample(self, logit):
        drawn = keras.random.uniform(ops.shape(logit), seed=self.seeds)
        return ops.cast(drawn < ops.sigmoid(logit), "float32")

    def factors(self):
        """Every conditional law: (its weights, how to find the states it depends on and gives).

        The first half is p's, the prior of the top last, the second q's.
        """
        levels = range(len(self.sizes) - 1)
        down = [(w, lambda s, i=i: (s[i + 1], s[i])) for i, w in zip(levels, self.generative)]
        prior = [(self.top, lambda s: (s[-1][:, :0], s[-1]))]
        up = [(w, lambda s, i=i: (s[i], s[i + 1])) for i, w in zip(levels, self.recognition)]
        return [*down, *prior], up

    def log_p(self, states):
        """log p(x, h) for each row."""
        return sum(log_law(w, *of(states)) for w, of in self.factors()[0])

    def log_q(self, states):
        """log q(h | x) for each row."""
        return sum(log_law(w, *of(states)) for w, of in self.factors()[1])

    def log_likelihood(self, x, samples):
        """log of the mean over samples of p(x, h) / q(h | x), h ~ q: below log p(x) on average,
        and it for many samples."""
        states = self.recognize(ops.repeat(x, samples, axis=0))
        ratios = ops.reshape(self.log_p(states) - self.log_q(states), (-1, samples))
        return ops.logsumexp(ratios, axis=1) - np.log(samples)

    def exact_log_likelihood(self, x):
        """log p(x) by the sum over all hidden states: for few hidden units."""
        hidden = np.array(list(itertools.product((0, 1), repeat=sum(self.sizes[1:]))), "float32")
        parts = np.split(hidden, np.cumsum(self.sizes[1:-1]), axis=1)
        every = [np.repeat(x, len(hidden), axis=0), *(np.tile(p, (len(x), 1)) for p in parts)]
        states = [ops.convert_to_tensor(s, "float32") for s in every]
        return ops.logsumexp(ops.reshape(self.log_p(states), (len(x), -1)), axis=1)


def _weights(draw, inputs, units):
    start = np.concatenate([draw((inputs, units)), np.zeros((1, units))])
    return keras.Variable(start, dtype="float32")


def _with_one(inputs):
    return ops.pad(inputs, [[0, 0], [0, 1]], constant_values=1)


def logits(weights, inputs):
    return ops.matmul(_with_one(inputs), 1 * weights)


def log_law(weights, inputs, outputs):
    """Sum over units of log p(output | inputs): output * logit - softplus(logit)."""
    logit = logits(weights, inputs)
    return ops.sum(outputs * logit - ops.softplus(logit), axis=1)


def ascent(weights, inputs, outputs, shares, natural=False):
    """The gradient of the mean log law under `shares`, which sum to 1: h^T (share (output - s)).

    `natural`: each unit's column times the inverse of its damped Fisher matrix.
    """
    rows, probability = _with_one(inputs), ops.sigmoid(logits(weights, inputs))
    gradient = ops.matmul(ops.transpose(rows), shares[:, None] * (outputs - probability))
    if not natural:
        return gradient
    spread = shares[:, None] * probability * (1 - probability)
    fisher = ops.einsum("bi,bu,bj->uij", rows, spread, rows)
    fisher = fisher + DAMPING * ops.eye(rows.shape[1])
    return ops.transpose(solve(fisher, ops.transpose(gradient)[:, :, None])[:, :, 0])


def gradients(machine, x, rule, samples=SAMPLES):
    """Descent directions for `machine.variables` from a batch of binary images."""
    if rule not in RULES:
        raise ValueError(f"`rule` must be one of {', '.join(RULES)}. Received: {rule!r}")
    p, q = machine.factors()
    count = x.shape[0]
    if rule == "wake-sleep":
        even = ops.ones((count,)) / count
        awake, asleep = machine.recognize(x), machine.generate(count)
        up = [ascent(w, *of(awake), even) for w, of in p]
        return [-g for g in [*up, *(ascent(w, *of(asleep), even) for w, of in q)]]
    states = machine.recognize(ops.repeat(x, samples, axis=0))
    ratios = ops.reshape(machine.log_p(states) - machine.log_q(states), (count, samples))
    shares = ops.reshape(ops.softmax(ratios, axis=1), (-1,)) / count
    return [-ascent(w, *of(states), shares, rule == "natural") for w, of in [*p, *q]]


def bars(count, seed=0, side=3):
    """Images of bars: upright or across with equal chance, each line then on with chance 1/2."""
    generator = np.random.default_rng(seed)
    lines = generator.integers(0, 2, (count, 1, side)).astype("float32")
    images = np.repeat(lines, side, axis=1)
    across = generator.integers(0, 2, count).astype(bool)
    images[across] = np.swapaxes(images[across], 1, 2)
    return images.reshape(count, -1)
