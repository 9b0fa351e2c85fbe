"""`make figures`: execute the notebooks with a profile's parameters, and say what came of it."""

import os
import sys
import time
from pathlib import Path

from langevin import profiles, runs
from langevin.store import root


def choose_profile(named=None):
    """The profile to use and why: the one named, else `paper` on a GPU and `quick` on a CPU."""
    if named:
        return named, "as asked for"
    device = runs.device()
    if device == "cpu":
        return "quick", "no GPU was found; PROFILE=paper draws the recorded runs"
    return "paper", f"a GPU was found: {device}"


def figures(profile=None, only=None, fresh=False):
    """Execute notebooks by papermill; the executed copies are kept in build/<profile>.

    Args:
        profile: `smoke`, `quick` or `paper`; None chooses by the device.
        only: names of notebooks; None for all of the profile.
        fresh: train again what is stored: at paper scale beside the recorded runs, never over them.

    Returns: True if every notebook came to its end.
    """
    profile, why = choose_profile(profile)
    names = profiles.notebooks(profile, only)
    print(f"Profile {profile}: {why}. Notebooks: {', '.join(names)}.", flush=True)
    # At paper scale the recorded runs are drawn; a CPU trains none of them unless asked to.
    train = profile != "paper" or fresh or runs.device() != "cpu"
    plan = {name: _parameters(profile, name, train) for name in names}
    if fresh:
        profiles.start_afresh(profile)
    os.environ["LANGEVIN_TERMINAL"] = "1"
    if runs.device() == "cpu":
        os.environ.setdefault("LANGEVIN_WORKERS", str(os.cpu_count()))
    begun, failed = time.time(), []
    for name, parameters in plan.items():
        if not _execute(profile, name, parameters):
            failed.append(name)
    _report(profile, begun, failed)
    print(_compilation(profile, plan, begun))
    if fresh and profile == "paper":
        print(profiles.compare_with_recorded())
    return not failed


def _parameters(profile, name, train):
    """The notebook's parameters in this profile; names, data and runs are checked here."""
    import papermill

    given = dict(profiles.parameters(profile)[name])
    path = profiles.notebook_path(name)
    expected = papermill.inspect_notebook(path)
    if "runs" in given:
        given["runs"] = profiles.available(profile, given["runs"])
    own = {"profile": profile, "train": train}
    given |= {parameter: value for parameter, value in own.items() if parameter in expected}
    if unknown := sorted(set(given) - set(expected)):
        raise ValueError(
            f"{profile}.yaml gives {name} the parameters {unknown}, which {path.name} does not "
            f"have. It has: {sorted(expected)}"
        )
    for run in runs.grid(given.get("runs", [])) if train else ():
        runs.dataset_of(run)  # what must be trained needs its data: say so now
    return given


def _execute(profile, name, parameters):
    import papermill

    folder = root() / "build" / profile
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / f"{name}.ipynb", folder / f"{name}.part.ipynb"
    failed = folder / f"{name}.failed.ipynb"
    print(f"\n{name}", flush=True)
    try:
        papermill.execute_notebook(
            profiles.notebook_path(name), part, parameters, kernel_name="python3",
            cwd=root() / "notebooks", progress_bar=False,
            stdout_file=sys.stdout, stderr_file=sys.stderr,
            # The kernel's own warnings are about itself; what the cells say is passed on.
            extra_arguments=["--Application.log_level=CRITICAL"],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        part.replace(failed)
        print(f"{name} failed: {error.ename}: {error.evalue}\nTraceback in {_short(failed)}")
        return False
    part.replace(target)
    failed.unlink(missing_ok=True)
    return True


def _report(profile, begun, failed):
    """What was made, how long it took, and what failed."""
    folder = root() / "figures" / profile
    made = sorted(p for p in folder.glob("*.*") if p.stat().st_mtime >= begun)
    print(f"\n{len(made)} files in {time.time() - begun:.0f} s:")
    for path in made:
        print(f"  {_short(path)}")
    if failed:
        print(f"FAILED: {', '.join(failed)}")


def _compilation(profile, plan, begun):
    """How much of the time of what was trained since then went into compilation, in words."""
    trained = {}
    for name, parameters in plan.items():
        store = profiles.store(profile, name)
        for key in map(runs.key_of, runs.grid(parameters.get("runs", []))):
            if (path := store.find(key)) and path.stat().st_mtime >= begun:
                trained[key] = store.load(key)["history"]
    training, compiling = (
        sum(sum(history[column]) for history in trained.values())
        for column in ("seconds", "compile_seconds")
    )
    share = compiling / max(training + compiling, 1e-9)
    return (
        f"{len(trained)} runs were trained, {training:.0f} s in all processes together; compiling "
        f"them took {compiling:.0f} s more, {share:.0%} of both."
    )


def _short(path):
    return Path(path).relative_to(root())
