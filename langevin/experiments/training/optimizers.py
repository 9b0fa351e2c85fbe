"""The optimizers of runs: their names, and how a run makes its own."""

from langevin.experiments.networks import remedies
from langevin.optimizers import LSGD, LAdadelta, LAdam, LRMSprop
from langevin.optimizers import VARIANTS as VARIANTS

BY_NAME = {"sgd": LSGD, "adam": LAdam, "rmsprop": LRMSprop, "adadelta": LAdadelta}


def from_run(run, langevin_layers, mixin=None):
    """The optimizer of a `Run`, its noise on these layers, with a mixin before its class
    if one is given."""
    given = {} if run.epsilon is None else {"epsilon": run.epsilon}
    made = BY_NAME[run.optimizer]
    if mixins := [one for one in (mixin, remedies.of(run.remedy).optimizer) if one]:
        made = type(made.__name__, (*mixins, made), {})
    return made(
        learning_rate=run.learning_rate,
        sigma=run.sigma,
        langevin_layers=langevin_layers,
        variant=run.variant,
        noise_cap=run.noise_cap,
        seed=run.seed,
        **given,
    )
