"""`make tune`: the learning rates and sigmas that the author did not publish, from a fixed grid."""

import yaml

from langevin.experiments.results import analysis
from langevin.experiments.studies import profiles
from langevin.experiments.training.runs import grid
from langevin.experiments.training.store import Store, root
from langevin.experiments.training.sweeps import sweep

BEST = ["val_accuracy", "val_loss"]


def tune():
    """Choose each optimizer's learning rate without noise, then sigma at that rate.

    By the mean validation accuracy over seeds at the end of training, by the loss between equals.
    Prints each grid and writes figures/paper/tune.csv; the choices go into paper.yaml by hand, and
    a test holds the two together.

    Returns: a dict from each optimizer to its chosen settings.
    """
    import pandas as pd

    plan = yaml.safe_load((root() / "notebooks" / "tune.yaml").read_text())
    chosen, tables = {}, []
    for optimizer, axes in plan["optimizers"].items():
        settings = {**plan["base"], "optimizer": optimizer}
        for name in ("learning_rate", "sigma"):
            block = {"sigma": 0.0, **settings, name: axes[name]}
            table = _scores(profiles.available("paper", [block]), name)
            print(f"{optimizer}, {name}:\n{table.to_string()}")
            told = {"optimizer": optimizer, "setting": name}
            tables.append(table.reset_index(names="value").assign(**told))
            settings[name] = float(table.index[0])
        chosen[optimizer] = {name: settings[name] for name in axes}
        print(f"{optimizer}: {chosen[optimizer]}")
    path = root() / "figures" / "paper" / "tune.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_csv(path, index=False, float_format="%.9g")
    return chosen


def _scores(blocks, setting):
    """Mean validation accuracy and loss for each value of a setting, the best first."""
    store = Store(profiles.recorded() / "tune")
    finals = analysis.final(sweep(grid(blocks), store))
    # A diverged run has no accuracy: its value is out.
    means = finals.groupby(setting)[BEST].agg(lambda column: column.mean(skipna=False))
    return means.sort_values(BEST, ascending=[False, True])


def recorded():
    """The choices that tune.csv holds, as `tune` returned them."""
    import pandas as pd

    table = pd.read_csv(root() / "figures" / "paper" / "tune.csv")
    best = table.sort_values(BEST, ascending=[False, True])
    best = best.groupby(["optimizer", "setting"]).first().value
    return {optimizer: best[optimizer].to_dict() for optimizer in table.optimizer.unique()}
