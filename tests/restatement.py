"""The updates once more, in NumPy and float64, written from the papers' and Keras's formulas.

A rule holds its averages.  step(g, lr) advances them and returns P and the drift, the change of
the weight without noise; moved(s) is told the whole step, noise included.
"""

import numpy as np


class SGD:
    def __init__(self, momentum=0.0):
        self.momentum, self.velocity = momentum, 0.0

    def step(self, g, lr):
        self.velocity = self.momentum * self.velocity - lr * g
        return np.ones_like(g), self.velocity

    def moved(self, s):
        pass


class PaperAdam:
    """P = 1 / ((1 - beta_1^t) (eps + sqrt(v / (1 - beta_2^t)))), d = m"""

    def __init__(self, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.m = self.v = 0.0
        self.t = 0

    def average(self, g):
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * g**2

    def step(self, g, lr):
        self.average(g)
        root = np.sqrt(self.v / (1 - self.beta_2**self.t))
        P = 1 / ((1 - self.beta_1**self.t) * (self.epsilon + root))
        return P, -lr * P * self.m

    def moved(self, s):
        pass


class KerasAdam(PaperAdam):
    """P = sqrt(1 - beta_2^t) / (sqrt(v) + eps), m divided by 1 - beta_1^t in the drift"""

    def __init__(self, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
        super().__init__(beta_1, beta_2, epsilon)

    def step(self, g, lr):
        self.average(g)
        P = np.sqrt(1 - self.beta_2**self.t) / (np.sqrt(self.v) + self.epsilon)
        return P, -lr * P * self.m / (1 - self.beta_1**self.t)


class Nadam(KerasAdam):
    """P = 1 / (sqrt(v / (1 - beta_2^t)) + eps), Nesterov's average of m and g in the drift"""

    product = 1.0

    def mu(self, t):
        return self.beta_1 * (1 - 0.5 * 0.96**t)

    def step(self, g, lr):
        self.average(g)
        now, after = self.mu(self.t), self.mu(self.t + 1)
        self.product *= now
        P = 1 / (np.sqrt(self.v / (1 - self.beta_2**self.t)) + self.epsilon)
        d = after * self.m / (1 - self.product * after) + (1 - now) * g / (1 - self.product)
        return P, -lr * P * d


class PaperRMSprop:
    """P = 1 / (eps + sqrt(v))"""

    def __init__(self, rho=0.9, epsilon=1e-6):
        self.rho, self.epsilon, self.v = rho, epsilon, 0.0

    def step(self, g, lr):
        self.v = self.rho * self.v + (1 - self.rho) * g**2
        P = self.preconditioner()
        return P, -lr * P * g

    def preconditioner(self):
        return 1 / (self.epsilon + np.sqrt(self.v))

    def moved(self, s):
        pass


class KerasRMSprop(PaperRMSprop):
    """P = 1 / sqrt(v + eps)"""

    def __init__(self, rho=0.9, epsilon=1e-7):
        super().__init__(rho, epsilon)

    def preconditioner(self):
        return 1 / np.sqrt(self.v + self.epsilon)


class PaperAdadelta:
    """P = sqrt(D + eps) / sqrt(v + eps); D averages the squares of the whole step"""

    def __init__(self, rho=0.95, epsilon=1e-6):
        self.rho, self.epsilon, self.v, self.D = rho, epsilon, 0.0, 0.0

    def step(self, g, lr):
        self.v = self.rho * self.v + (1 - self.rho) * g**2
        P = np.sqrt(self.D + self.epsilon) / np.sqrt(self.v + self.epsilon)
        return P, -lr * P * g

    def moved(self, s):
        self.D = self.rho * self.D + (1 - self.rho) * s**2


class KerasAdadelta(PaperAdadelta):
    """As the paper's, but D averages (P g)^2"""

    def __init__(self, rho=0.95, epsilon=1e-7):
        super().__init__(rho, epsilon)

    def step(self, g, lr):
        P, drift = super().step(g, lr)
        self.D = self.rho * self.D + (1 - self.rho) * (P * g) ** 2
        return P, drift

    def moved(self, s):
        pass
