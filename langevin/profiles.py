"""Profiles: for each notebook its runs and parameters, at three scales, and where runs are kept.

A profile is a YAML file beside the notebooks.  The notebooks, Make and the command line all turn
it into runs by the same functions.
"""

import yaml

from langevin import datasets
from langevin.runs import Store, grid, root

NAMES = ("smoke", "quick", "paper")


def parameters(profile):
    """The profile: a dict from each notebook's name to its parameters, `runs` among them.

    Raises:
        ValueError: not a profile; a file that is not one.
    """
    if profile not in NAMES:
        raise ValueError(f"A profile is one of {', '.join(NAMES)}. Received: {profile!r}")
    path = root() / "notebooks" / f"{profile}.yaml"
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path} must hold a mapping from notebooks to their parameters")
    return content


def notebooks(profile, only=None):
    """The notebooks of a profile, in its order, or those named.

    Raises:
        ValueError: a name that the profile lacks.
    """
    there = list(parameters(profile))
    unknown = sorted(set(only or ()) - set(there))
    if unknown:
        raise ValueError(f"Profile {profile} has no {unknown}; it has {there}")
    return [name for name in there if not only or name in only]


def planned(profile, notebook):
    """The runs of a notebook in a profile."""
    return grid(parameters(profile)[notebook].get("runs", []))


def store(profile, notebook):
    """Where a notebook's runs are kept: recorded beside the figures at paper scale, else `.runs`."""
    if profile != "paper":
        return Store(root() / ".runs")
    recorded = root() / "figures" / "paper" / "runs"
    return Store(recorded / notebook, also=[recorded])


def notebook_path(notebook):
    return root() / "notebooks" / f"{notebook}.ipynb"


def forget(profile):
    """Remove the runs of `.runs`, so that they are trained again; recorded runs are never touched."""
    for path in (root() / ".runs").glob("*.json"):
        path.unlink()


def available(profile, blocks):
    """The blocks with data that can be had here: without it `quick` falls back to digits.

    Raises:
        DataUnavailable: at paper scale, which never falls back.
    """
    blocks = list(blocks)
    for place, block in enumerate(blocks):
        named = block.get("dataset", "mnist")
        try:
            datasets.load(named)
        except datasets.DataUnavailable as error:
            if profile == "paper":
                raise
            print(f"{error}\n*** scikit-learn's digits instead of {named}: not the paper's data. ***")
            fallback = {"dataset": "digits", "batch_size": 64, "train_size": None}
            blocks[place] = {**block, **fallback}
    return blocks
