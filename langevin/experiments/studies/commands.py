"""The command line: `python -m langevin list | train | show | figures | verify | …`."""

import argparse
import contextlib
import dataclasses
import itertools
import os

import pandas as pd

from langevin.experiments.data import datasets
from langevin.experiments.helmholtz import learning
from langevin.experiments.studies import profiles, rates
from langevin.experiments.training import executors, runs, sweeps
from langevin.experiments.training import loop as training

# For each kind of blocks: who trains what they plan, and who makes a frame of its records.
KINDS = {"runs": (sweeps.sweep, runs.frame), "learnings": (learning.learn, learning.frame)}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m langevin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "list": "the runs of a profile, and which are stored",
        "train": "train a profile's missing runs, without a notebook",
        "show": "the last epoch of a profile's stored runs",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--profile", choices=profiles.NAMES, default="quick")
        command.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="these notebooks alone")
        text = 'the runs alone of which this holds, as "depth == 20 and seed < 3"'
        command.add_argument("--where", metavar="CONDITION", help=text)
        if name == "train":
            command.add_argument("--workers", type=_count, default=1, help="processes to train in")
    command = commands.add_parser("figures", help="execute the notebooks, draw the figures")
    command.add_argument("--profile", choices=profiles.NAMES, help="default: by the device")
    command.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="these notebooks alone")
    command.add_argument("--fresh", action="store_true", help="train again what is stored")
    text = "put the findings of the recorded runs into README.md"
    commands.add_parser("readme", help=text, description=text)
    text = "stamp the repository's address into README.md and the notebooks"
    command = commands.add_parser("badges", help=text, description=text)
    command.add_argument("--repo", metavar="OWNER/NAME", help="default: as in pyproject.toml")
    text = "choose the learning rates and sigmas that the author did not publish"
    commands.add_parser("tune", help=text, description=text)
    text = "train a random sample of recorded runs again, and compare; at smoke scale, all runs"
    command = commands.add_parser("verify", help=text, description=text)
    command.add_argument("--profile", choices=profiles.NAMES, default="paper")
    command.add_argument("--runs", type=_count, default=3, metavar="N", help="how many")
    text = "add the losses after 20 steps of N recorded runs to figures/paper/first-steps.csv"
    command.add_argument("--record", type=_count, metavar="N", help=text)
    text = "compare our loop with model.fit, and Langevin with plain optimizers"
    commands.add_parser("bench", help=text, description=text)
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except (ValueError, OSError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    except ImportError as error:
        if (error.name or "langevin").startswith("langevin"):
            raise
        extra = "page" if options.command == "page" else "notebooks"
        return (
            f"`{options.command}` needs the package {error.name}. Received: {error}. "
            f"Install it: pip install '.[{extra}]'"
        )
    except KeyboardInterrupt:
        return "Interrupted. Finished runs are kept; the same command goes on from there."


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1. Received: {text!r}")
    return int(text)


def _asked_for(options):
    """The studies of which a run is asked for; there must be one."""
    none, able = True, _able(options)
    for notebook, planned, kind, store in _studies(options):
        if kind in able and (planned := _where(options, planned)):
            none = False
            yield notebook, planned, kind, store
    if none and options.where is not None:
        raise ValueError(f"`--where` must hold for some run. Received: {options.where!r}")


def _able(options):
    """The kinds of blocks that have the condition's settings; without one there is no work."""
    wrong, able = [], []
    for kind, settings in profiles.BLOCKS.items():
        try:
            _where(options, [settings()])
            able.append(kind)
        except ValueError as error:
            wrong.append(error)
    if not able:
        raise wrong[0]
    return able


def _studies(options):
    """Each notebook's name, what it plans, of which of KINDS, and its store.  A notebook that tries
    learning rates comes twice: what it reports is known when those are stored."""
    for notebook in profiles.notebooks(options.profile, options.only):
        parameters = profiles.parameters(options.profile)[notebook]
        store = profiles.store(options.profile, notebook)
        for kind, settings in profiles.BLOCKS.items():
            blocks = profiles.available(options.profile, parameters.get(kind, []))
            planned = runs.grid(blocks, settings)
            if "noise" in parameters and kind == "runs":
                yield f"{notebook}, learning rates tried first", planned, kind, store
                planned = rates.reported(parameters, planned, store)
            yield notebook, planned, kind, store


def _where(options, planned):
    """Those of the runs that are asked for."""
    if options.where is None or not planned:
        return planned
    settings = pd.DataFrame(map(dataclasses.asdict, planned))
    told = f"`--where` must be a condition on {', '.join(settings)}, as pandas writes it: such as "
    told += f"\"optimizer == 'adam' and seed < 3\". Received: {options.where!r}"
    try:
        holds = settings.eval(options.where)
    except (ValueError, NameError, SyntaxError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{told}. {error}") from error
    if not pd.api.types.is_bool_dtype(holds):
        raise ValueError(told)
    return list(itertools.compress(planned, holds))


def list_runs(options):
    datasets.stay_offline()
    for notebook, planned, _, store in _asked_for(options):
        stored = runs.count_stored(planned, store)
        print(f"{notebook}: {stored} of {len(planned)} runs stored")


def train(options):
    for notebook, planned, kind, store in _asked_for(options):
        print(notebook)
        elsewhere = os.environ.get("LANGEVIN_CLUSTER")
        own = contextlib.nullcontext() if elsewhere else executors.workers(options.workers)
        with own as pool:
            KINDS[kind][0](planned, store, executor=pool)


def show(options):
    datasets.stay_offline()
    for notebook, planned, kind, store in _asked_for(options):
        found = runs.stored(planned, store)
        print(f"{notebook}: {len(found)} of {len(planned)} runs stored")
        if found:
            frame = KINDS[kind][1](found.values())
            hidden = [*training.BY_LAYER, "seconds", "compile_seconds"]
            frame = frame.drop(columns=hidden, errors="ignore")
            last = frame[frame.groupby("key").epoch.transform("max") == frame.epoch]
            varied = [name for name in last if last[name].nunique() > 1 or name in training.METRICS]
            print(last[varied].to_string(index=False))


def figures(options):
    # Papermill and Jupyter are needed here alone.
    from langevin.experiments.studies import pipeline

    return 0 if pipeline.figures(options.profile, options.only, options.fresh) else 1


def readme(options):
    from langevin.experiments.studies import readme

    datasets.stay_offline()
    readme.write()


def badges(options):
    from langevin.experiments.studies import badges

    badges.stamp(options.repo)


def tune(options):
    from langevin.experiments.studies import tuning

    tuning.tune()


def verify(options):
    from langevin.experiments.studies import verify

    if options.record:
        return verify.record_first_steps(options.record)
    return 0 if verify.verify(options.profile, options.runs) else 1


def bench(options):
    from langevin.experiments.bench import bench

    bench.bench()


COMMANDS = {
    "list": list_runs,
    "train": train,
    "show": show,
    "figures": figures,
    "readme": readme,
    "badges": badges,
    "tune": tune,
    "verify": verify,
    "bench": bench,
}
