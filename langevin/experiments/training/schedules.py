"""The schedules that a run names, spelled out as one number a step.

So that runs with other schedules share one compiled program.
"""

import math

import numpy as np

NAMES = ("drop", "inverse", "constant")


def values(name, learning_rate, sigma, steps, window=(0.0, 1.0)):
    """Learning rate and sigma at every step of a run: two float32 arrays of shape (steps,).

    | name       | learning rate                 | sigma                             |
    | ---------- | ----------------------------- | --------------------------------- |
    | `drop`     | divided by 10 at half the run | 0 from half the run on            |
    | `inverse`  | lr / (1 + n / N)              | sigma / sqrt(log(e + n / N))      |
    | `constant` | lr                            | sigma                             |

    with N = steps / 2.  Outside `window` = (start, stop), fractions of all steps, sigma is 0.
    """
    n = np.arange(steps)
    half = steps / 2
    if name == "drop":
        rates = np.where(n < half, learning_rate, learning_rate / 10)
        sigmas = np.where(n < half, sigma, 0.0)
    elif name == "inverse":
        rates = learning_rate / (1 + n / half)
        sigmas = sigma / np.sqrt(np.log(math.e + n / half))
    elif name == "constant":
        rates, sigmas = np.full(steps, learning_rate), np.full(steps, sigma)
    else:
        raise ValueError(f"`schedule` must be one of {', '.join(NAMES)}. Received: {name!r}")
    start, stop = window
    inside = (n >= round(start * steps)) & (n < round(stop * steps))
    return rates.astype("float32"), np.where(inside, sigmas, 0.0).astype("float32")
