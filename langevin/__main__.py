"""The command line: `python -m langevin list | train | show | figures | readme | tune | bench`."""

import argparse
import sys

from langevin import profiles, runs, sweeps


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
        command.add_argument("--seeds", type=_count, metavar="N", help="the first N seeds alone")
        if name == "train":
            command.add_argument("--workers", type=_count, default=1, help="processes to train in")
    command = commands.add_parser("figures", help="execute the notebooks, draw the figures")
    command.add_argument("--profile", choices=profiles.NAMES, help="default: by the device")
    command.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="these notebooks alone")
    command.add_argument("--fresh", action="store_true", help="train again what is stored")
    text = "put the findings of the recorded runs into README.md"
    commands.add_parser("readme", help=text, description=text)
    text = "choose the learning rates and sigmas that the author did not publish"
    commands.add_parser("tune", help=text, description=text)
    text = "compare our loop with model.fit, and Langevin with plain optimizers"
    commands.add_parser("bench", help=text, description=text)
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        return "Interrupted. Finished runs are kept; the same command goes on from there."


def _count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {text}")
    return number


def _studies(options):
    """Each notebook's name, runs and store."""
    for notebook in profiles.notebooks(options.profile, options.only):
        planned = profiles.planned(options.profile, notebook)
        if options.seeds is not None:
            planned = [run for run in planned if run.seed < options.seeds]
        yield notebook, planned, profiles.store(options.profile, notebook)


def list_runs(options):
    for notebook, planned, store in _studies(options):
        stored = [store.find(runs.key_of(run)) is not None for run in planned]
        print(f"{notebook}: {sum(stored)} of {len(planned)} runs stored")


def train(options):
    for notebook, planned, store in _studies(options):
        print(notebook)
        with sweeps.workers(options.workers) as pool:
            sweeps.sweep(planned, store, executor=pool)


def show(options):
    for notebook, planned, store in _studies(options):
        keys = [key for key in map(runs.key_of, planned) if store.find(key)]
        print(f"{notebook}: {len(keys)} of {len(planned)} runs stored")
        if keys:
            frame = runs.frame([store.load(key) for key in keys])
            frame = frame.drop(columns=["kernel_sd", "seconds", "compile_seconds"])
            last = frame[frame.groupby("key").epoch.transform("max") == frame.epoch]
            varied = [name for name in last if last[name].nunique() > 1 or name == "val_accuracy"]
            print(last[varied].to_string(index=False))


def figures(options):
    # Papermill and Jupyter are needed here alone.
    from langevin import pipeline

    return 0 if pipeline.figures(options.profile, options.only, options.fresh) else 1


def readme(options):
    from langevin import report

    report.write_readme()


def tune(options):
    from langevin import tuning

    tuning.tune()


def bench(options):
    from langevin import bench

    bench.bench()


COMMANDS = {
    "list": list_runs,
    "train": train,
    "show": show,
    "figures": figures,
    "readme": readme,
    "tune": tune,
    "bench": bench,
}

if __name__ == "__main__":
    sys.exit(main())
