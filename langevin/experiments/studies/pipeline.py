"""`make figures`: execute the notebooks with a profile's parameters, and say what came of it."""

import ast
import contextlib
import dataclasses
import itertools
import os
import sys
import time
from pathlib import Path

import nbformat

from langevin.checks import check_known, is_number, is_positive, received
from langevin.experiments.bench import variants
from langevin.experiments.data import datasets
from langevin.experiments.helmholtz import learning
from langevin.experiments.studies import profiles, rates
from langevin.experiments.training import executors, runs, sweeps
from langevin.experiments.training.store import alone, root

# It measures time: nothing is executed beside it.
TIMED = {"cost"}
# Notebooks at once at most: a kernel with TensorFlow takes a gigabyte.
AT_ONCE = 4


def choose_profile(named=None):
    """The profile to use and why: the one named, else `paper` on a GPU and `quick` on a CPU."""
    if named:
        return named, "as asked for"
    device = runs.device()
    if device == "cpu":
        return "quick", "no GPU was found; PROFILE=paper draws the recorded runs"
    return "paper", f"a GPU was found: {device}"


def figures(profile=None, only=None, fresh=False):
    """Train what the notebooks need, then execute them by papermill, which finds it stored; the
    executed copies are kept in build/<profile>.

    Args:
        profile: `smoke`, `quick` or `paper`; None chooses by the device.
        only: names of notebooks; None for all of the profile.
        fresh: train again what is stored: at paper scale beside the recorded runs, never over them.

    Returns: True if every notebook came to its end.
    """
    # The notebooks' kernels share a GPU with this process: none takes all its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    profile, why = choose_profile(profile)
    names = profiles.notebooks(profile, only)
    print(f"Profile {profile}: {why}. Notebooks: {', '.join(names)}.", flush=True)
    # At paper scale the recorded runs are drawn; a CPU trains none of them unless asked to.
    train = profile != "paper" or fresh or runs.device() != "cpu"
    plan, without_data = {}, []
    for name in names:
        try:
            plan[name] = checked_parameters(profile, name, train)
        except datasets.DataUnavailable as error:
            print(f"{name}: left out, for its data. {error}", flush=True)
            without_data.append(name)
    if fresh:
        planned = (run for name in plan for run in planned_in(profile, name, plan[name])[0])
        profiles.start_afresh(profile, [runs.key_of(run) for run in planned])
    os.environ["LANGEVIN_TERMINAL"] = "1"
    if runs.device() == "cpu":
        os.environ.setdefault("LANGEVIN_WORKERS", str(os.cpu_count()))
    begun = time.time()
    if train:
        train_plan(profile, plan)
    else:
        datasets.stay_offline()
        plan = _recorded(profile, plan)
    failed = without_data + _execute_all(profile, plan)
    _report(profile, begun, failed)
    print(_compilation(profile, plan, begun))
    if fresh and profile == "paper":
        print(profiles.compare_with_recorded())
    return not failed


def checked_parameters(profile, name, train):
    """The notebook's parameters in this profile; names, types, data and runs are checked here."""
    import papermill

    given = dict(profiles.parameters(profile)[name])
    path = profiles.notebook_path(name)
    expected = papermill.inspect_notebook(path)
    for parameter, kind in profiles.BLOCKS.items():
        if parameter in given:
            runs.grid(given[parameter], kind)
            given[parameter] = profiles.available(profile, given[parameter])
    own = {"profile": profile, "train": train}
    given |= {parameter: value for parameter, value in own.items() if parameter in expected}
    check_known(given, sorted(expected), f"{profile}.yaml: {path.name}")
    for parameter, value in given.items():
        default = _default(path.name, parameter, expected[parameter]["default"])
        _check_like(f"{profile}.yaml: {name}: `{parameter}`", value, default)
    planned = runs.grid(given.get("runs", []))
    if "noise" in given and not planned:
        raise ValueError(f"{profile}.yaml: {name}: `noise` needs `runs` that it is added to.")
    for model in given.get("models", ()):
        variants.size_of(model)
    for arm in given.get("noise", ()):  # of what is reported in the end
        check_known(arm, [field.name for field in dataclasses.fields(runs.Run)], "A noise")
        dataclasses.replace(planned[0], **arm)
    for run in planned if train else ():
        runs.dataset_of(run)  # what must be trained needs its data: say so now
    return given


def _default(notebook, parameter, text):
    """The value of a notebook's parameter, which its parameters cell must spell out."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"{notebook}: `{parameter}` must be a plain value in the parameters cell. "
            f"Received: {text}. Write out the value, 1000 for 10 * 100."
        ) from error


def planned_in(profile, name, parameters):
    """All runs and learnings of a notebook, those that follow from others too, and their store."""
    store, planned = profiles.store(profile, name), runs.grid(parameters.get("runs", []))
    planned += rates.reported(parameters, planned, store)
    return planned + runs.grid(parameters.get("learnings", []), learning.Learning), store


def _recorded(profile, plan):
    """What of a plan can be drawn without training; names what cannot, and what it would take."""
    drawn = {}
    for name, parameters in plan.items():
        tried = runs.grid(parameters.get("runs", []))
        planned, store = planned_in(profile, name, parameters)
        following = rates.expected(parameters, tried, store)
        # What was only tried is no result.
        shown = list(dict.fromkeys(planned).keys() - set(tried)) if following else planned
        if (planned or following) and not any(store.load(runs.key_of(run)) for run in shown):
            stored = runs.stored(tried, store)
            missing = [one for one in tried if one not in stored] + following
            hours = sweeps.estimate(missing, 1) / 3600
            count = len(tried) + len(following) if following else len(planned)
            what = f"none of {count} runs is recorded"
            what += f", about {hours:.1f} hours of one core" * bool(missing)
            print(f"{name}: {what}; left out.")
        else:
            drawn[name] = parameters
    return drawn


def train_plan(profile, plan):
    """Train all notebooks' runs as one sweep where they share a store: no process waits for a
    notebook to be drawn, and a program that several notebooks need is compiled once."""
    studies = {}
    for name, parameters in plan.items():
        store = profiles.store(profile, name)
        needed = studies.setdefault(store.folder, (store, {}))[1]
        needed |= dict.fromkeys(runs.grid(parameters.get("runs", [])))
    for store, needed in studies.values():
        if needed:
            sweeps.sweep(needed, store)
    for name, parameters in plan.items():
        store = profiles.store(profile, name)
        tried = runs.grid(parameters.get("runs", []))
        if following := rates.reported(parameters, tried, store):
            sweeps.sweep(following, store)
        if blocks := parameters.get("learnings"):
            learning.learn(runs.grid(blocks, learning.Learning), store)


def _check_like(where, value, default):
    """ValueError unless a value is of its default's kind, and positive where that is."""
    if isinstance(default, list):
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where} must be a list, not empty. {received(value)}")
        for item in value:
            _check_like(where, item, default[0])
    elif isinstance(default, (int, float)) and not isinstance(default, bool):
        whole = isinstance(default, int)
        fits = is_number(value) and isinstance(value, int if whole else (int, float))
        if not fits or (default > 0) > is_positive(value):
            kind = ("a whole number" if whole else "a number") + " > 0" * (default > 0)
            raise ValueError(f"{where} must be {kind}. {received(value, number=True)}")
    elif default is not None and not isinstance(value, type(default)):
        kind = {"str": "text", "bool": "true or false"}.get(type(default).__name__, "a mapping")
        raise ValueError(f"{where} must be {kind}. {received(value)}")


def _execute_all(profile, plan):
    """Execute the notebooks, as many at once as processes train; the names of those that failed."""
    count = min(executors.worker_count(), AT_ONCE, len(plan.keys() - TIMED))
    failed = []
    with executors.processes(count) as pool:
        for names in ([n for n in plan if n not in TIMED], [n for n in plan if n in TIMED]):
            execute = pool.map if pool else map
            fine = execute(_execute, itertools.repeat(profile), names, [plan[n] for n in names])
            failed += itertools.compress(names, (not one for one in fine))
    return failed


def _execute(profile, name, parameters):
    """Execute a notebook; True if it came to its end.  Of two `make figures` each waits for it."""
    folder = root() / "build" / profile
    with alone(folder / f"{name}.lock"):
        return _execute_alone(folder, name, parameters)


def _execute_alone(folder, name, parameters):
    import nbclient
    import papermill

    target, part = folder / f"{name}.ipynb", folder / f"{name}.part.ipynb"
    failed = folder / f"{name}.failed.ipynb"
    begun = time.monotonic()
    print(f"{name}: executing", flush=True)
    try:
        with contextlib.closing(_Said(name)) as said:
            papermill.execute_notebook(
                profiles.notebook_path(name), part, parameters, kernel_name="python3",
                cwd=root() / "notebooks", progress_bar=False, start_timeout=600,
                stdout_file=said, stderr_file=said,
                # The kernel's own warnings are about itself; what the cells say is passed on.
                extra_arguments=["--Application.log_level=CRITICAL"],
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        what = f"{error.ename}: {error.evalue}\nTraceback in {_short(failed)}"
    except nbclient.exceptions.DeadKernelError:
        what = f"its kernel died, perhaps killed since memory ran out.\n{_last_lines(part)}"
        what += f"What it had done is in {_short(failed)}; finished runs are kept."
    except (RuntimeError, OSError, TimeoutError) as error:  # a kernel that does not start, say
        what = f"{type(error).__name__}: {error}"
    else:
        part.replace(target)
        failed.unlink(missing_ok=True)
        print(f"{name}: done in {time.monotonic() - begun:.0f} s", flush=True)
        return True
    if part.exists():
        part.replace(failed)
    print(f"{name} failed: {what}", flush=True)
    return False


class _Said:
    """What a notebook says, line by line under its name: others may say something meanwhile."""

    def __init__(self, name):
        self.name, self.begun = name, ""

    def write(self, text):
        *lines, self.begun = (self.begun + text).split("\n")
        sys.stdout.write("".join(f"{self.name}: {line}\n" for line in lines))

    def flush(self):
        sys.stdout.flush()

    def close(self):
        if self.begun:
            self.write("\n")


def _last_lines(path, count=5):
    """The last lines that a notebook's cells printed."""
    cells = nbformat.read(path, 4).cells
    printed = [o.text for c in cells for o in c.get("outputs", ()) if o.output_type == "stream"]
    return "".join("".join(printed).splitlines(keepends=True)[-count:])


def _report(profile, begun, failed):
    """What was made, how long it took, and what failed."""
    folder = root() / "figures" / profile
    made = {}
    for path in sorted(folder.glob("*.*")):
        if path.stat().st_mtime >= begun:
            made.setdefault(path.stem, []).append(path.suffix.lstrip("."))
    files = sum(map(len, made.values()))
    print(f"\n{files} files in {time.time() - begun:.0f} s, in {_short(folder)}:")
    for name, endings in made.items():
        print(f"  {name}: {', '.join(endings)}")
    print(f"The executed notebooks are in {_short(root() / 'build' / profile)}; to read: make docs")
    if failed:
        print(f"FAILED: {', '.join(failed)}")


def _compilation(profile, plan, begun):
    """How much of the time of what was trained since then went into compilation, in words."""
    trained = {}
    for name, parameters in plan.items():
        planned, store = planned_in(profile, name, parameters)
        for key in map(runs.key_of, planned):
            if (path := store.find(key)) and path.stat().st_mtime >= begun:
                trained[key] = store.load(key)["history"]
    if not trained:
        return "No run of a study had to be trained or compiled."
    training, compiling = (
        sum(sum(history.get(column, ())) for history in trained.values())
        for column in ("seconds", "compile_seconds")
    )
    share = compiling / (training + compiling)
    return (
        f"{len(trained)} runs were trained, {training:.0f} s in all processes together; compiling "
        f"them took {compiling:.0f} s more, {100 * share:.0f} % of both."
    )


def _short(path):
    return Path(path).relative_to(root())
