"""Profiles: for each notebook its runs and parameters, at three scales, and where runs are kept.

A profile is a YAML file beside the notebooks.  The notebooks, Make and the command line all turn
it into runs by the same functions.
"""

import functools
import itertools
import os
from pathlib import Path

import yaml

from langevin.checks import check_known
from langevin.experiments.data import datasets
from langevin.experiments.helmholtz.learning import Learning
from langevin.experiments.training.runs import Run, grid
from langevin.experiments.training.store import Store, root

NAMES = ("smoke", "quick", "paper")
# The parameters of notebooks that hold blocks of settings, and of what.
BLOCKS = {"runs": Run, "learnings": Learning}


def parameters(profile):
    """The profile: a dict from each notebook's name to its parameters, `runs` among them.

    Raises:
        ValueError: not a profile; a file that is not one.
    """
    if profile not in NAMES:
        raise ValueError(f"A profile is one of {', '.join(NAMES)}. Received: {profile!r}")
    path = root() / "notebooks" / f"{profile}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be a YAML file of plain values. {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path} must hold a mapping from notebooks to their parameters")
    there = sorted(notebook.stem for notebook in path.parent.glob("*.ipynb"))
    check_known(content, there, f"{path.name}: its folder")
    for given in content.values():
        _resolve_paths(given)
    return content


def _resolve_paths(given):
    """Make the paths of data files in a notebook's blocks absolute: they start at the project."""
    for block in itertools.chain.from_iterable(given.get(kind) or () for kind in BLOCKS):
        if not isinstance(block, dict) or "dataset" not in block:
            continue
        names = block["dataset"]
        full = [
            datasets.resolved(str(root() / Path(name).expanduser()))
            if isinstance(name, str) and name.endswith(".npz") else name
            for name in (names if isinstance(names, list) else [names])
        ]  # fmt: skip
        block["dataset"] = full if isinstance(names, list) else full[0]


def notebooks(profile, only=None):
    """The notebooks of a profile, in its order, or those named.

    Raises:
        ValueError: a name that the profile lacks.
    """
    there = list(parameters(profile))
    check_known(only or (), there, f"Profile {profile}")
    return [name for name in there if not only or name in only]


def planned(profile, notebook, parameter="runs"):
    """The runs of a notebook in a profile, or its `learnings`; none where it has none."""
    return grid(parameters(profile)[notebook].get(parameter, []), BLOCKS[parameter])


def store(profile, notebook):
    """Where a notebook's runs are kept: at paper scale recorded beside the figures, else `.runs`.

    With `LANGEVIN_FRESH` set, the paper's runs are trained again into `.runs/fresh`.
    """
    if profile != "paper":
        return Store(root() / ".runs")
    if os.environ.get("LANGEVIN_FRESH"):
        return Store(root() / ".runs" / "fresh")
    return Store(recorded() / notebook, also=[recorded()])


def recorded():
    """The folder of the recorded runs, a folder in it for each notebook."""
    return root() / "figures" / "paper" / "runs"


def start_afresh(profile, keys):
    """Have the runs of these keys trained again.  At paper scale the recorded ones are left alone
    and compared with later; what an interrupted start has trained since is not trained again."""
    folder = root() / ".runs"
    if profile == "paper":
        os.environ["LANGEVIN_FRESH"] = "1"
        folder = folder / "fresh"
        if not all((folder / f"{key}.json").exists() for key in keys):
            return
    for key in keys:
        (folder / f"{key}.json").unlink(missing_ok=True)
    for path in folder.glob("checkpoints/*"):
        path.unlink()


def compare_with_recorded():
    """A sentence: how far fresh runs are from the recorded ones of the same key."""
    fresh, old = Store(root() / ".runs" / "fresh"), Store(recorded(), also=[recorded()])
    keys = [path.stem for path in sorted(fresh.folder.glob("*.json"))]
    pairs = [pair for key in keys if all(pair := [store.load(key) for store in (fresh, old)])]
    apart = []
    for pair in pairs:
        one, other = (record["history"]["val_accuracy"] for record in pair)
        if one != other:
            apart.append(abs(one[-1] - other[-1]))
    return (
        f"Of {len(pairs)} fresh runs that are also recorded {len(pairs) - len(apart)} are equal to "
        f"the bit; the others' final test accuracies differ by {max(apart, default=0):.4f} at most."
    )


def notebook_path(notebook):
    return root() / "notebooks" / f"{notebook}.ipynb"


def available(profile, blocks):
    """The blocks with data that can be had here: without it `quick` falls back to digits.

    The paper's blocks never fall back: what must be trained then fails by `DataUnavailable`.
    """
    blocks = list(blocks)
    for place, block in enumerate(blocks if profile != "paper" else ()):
        names = block.get("dataset", "mnist")
        if any(missing(name) for name in (names if isinstance(names, list) else [names])):
            blocks[place] = {**block, **_on_digits(block)}
    return blocks


@functools.cache
def missing(name):
    """Whether a data set cannot be had here; said once."""
    try:
        datasets.load(name)
    except datasets.DataUnavailable as error:
        print(f"{error}\n*** scikit-learn's digits instead: these are not the paper's data ***")
        return True
    return False


def _on_digits(block):
    """What a block has otherwise on digits: about as many steps, of so few images."""
    small = {
        "dataset": "digits",
        "train_size": None,
        "batch_size": min(64, block.get("batch_size", 64)),
    }
    small["epochs"] = 5 * block.get("epochs", 4)
    if "validation" in block:
        small["validation"] = False  # too few images to split
    return small
