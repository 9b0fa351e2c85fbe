"""Which layers get noise: one pure function from variable paths and a choice to positions.

A layer is a variable path without its last part, in the order of `trainable_variables`, so layer
0 is nearest the input.  A layer without a kernel (batch normalization) belongs to the one before
it.  "Deepest" is the paper's word for the layers farthest from the loss: nearest the input.
"""

import numbers
from collections.abc import Mapping, Sequence

from langevin.checks import is_function

FORMS = (
    "None (every layer), a fraction in (0, 1], a sequence of layer numbers or of exact layer "
    "names, or a predicate on the variable's path"
)


def layers(paths):
    """Group variable paths into layers: a list of (name, positions of its variables).

    >>> layers(["dense/kernel", "dense/bias", "normalization/gamma", "dense_1/kernel"])
    [('dense', [0, 1, 2]), ('dense_1', [3])]
    """
    owners = [path.rpartition("/")[0] or path for path in paths]
    with_kernel = {
        owner
        for owner, path in zip(owners, paths)
        if "/" not in path or path.endswith(("kernel", "embeddings"))
    }
    groups = {}
    current = None
    for position, owner in enumerate(owners):
        if owner in with_kernel or current is None:
            current = owner
        groups.setdefault(current, []).append(position)
    return list(groups.items())


def check(choice):
    """ValueError for a choice that fits no model: a fraction outside (0, 1], another form."""
    if isinstance(choice, numbers.Real) and not isinstance(choice, bool):
        if not 0 < choice <= 1:
            raise ValueError(
                "`langevin_layers` as a fraction must lie in (0, 1]; for layer numbers pass a "
                f"list. Received: {choice!r}"
            )
        return
    saved = (
        isinstance(choice, Mapping)
        and set(choice) == {"positions"}
        and _is_list(choice["positions"])
        and all(type(position) is int for position in choice["positions"])
    )
    if not (choice is None or is_function(choice) or saved or _is_list(choice)):
        raise ValueError(f"`langevin_layers` must be {FORMS}. Received: {choice!r}")


def choose(paths, choice):
    """Positions, in `paths`, of the variables that get noise.

    Args:
        paths: the paths of the trainable variables, in order.
        choice: `None` for all; a fraction f in (0, 1], the max(1, round(f n)) layers nearest the
            input out of n; a sequence of layer numbers (0 nearest the input, negative from the
            output) or of exact layer names (the last part of a layer's path, or all of it); a
            predicate on the variable's path; or {"positions": [...]}, as `portable` makes it.

    Returns: a sorted tuple of positions, never empty.

    Raises:
        ValueError: a choice of another form, out of range, unknown, ambiguous or empty.
    """
    check(choice)
    groups = layers(paths)
    if choice is None:
        chosen = range(len(paths))
    elif isinstance(choice, numbers.Real):
        chosen = _members(groups, range(max(1, round(choice * len(groups)))))
    elif callable(choice):
        chosen = [position for position, path in enumerate(paths) if choice(path)]
    elif isinstance(choice, Mapping):
        chosen = list(choice["positions"])
        if not set(chosen) <= set(range(len(paths))):
            raise ValueError(
                f"`langevin_layers` was saved for another model: variables {chosen} are noisy, "
                f"here are {len(paths)}: {list(paths)}"
            )
    else:
        chosen = _members(groups, [_number(groups, item) for item in choice])
    chosen = tuple(sorted(set(chosen)))
    if not chosen:
        raise ValueError(
            f"`langevin_layers` chose no variable: {choice!r}. For no noise at all set sigma=0. "
            f"Layers: {[name for name, _ in groups]}"
        )
    return chosen


def portable(paths, choice):
    """The choice as a saved model holds it.

    Keras renames paths when it loads a model ("sequential/first/kernel" becomes "first/kernel"):
    a predicate and whole paths are saved as the positions that they chose.
    """
    whole_paths = _is_list(choice) and any("/" in str(item) for item in choice)
    return {"positions": list(choose(paths, choice))} if callable(choice) or whole_paths else choice


def _is_list(value):
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _members(groups, indices):
    return [position for index in indices for position in groups[index][1]]


def _number(groups, item):
    """The layer's index for a layer number or an exact layer name."""
    names = [name for name, _ in groups]
    if isinstance(item, numbers.Integral) and not isinstance(item, bool):
        if not -len(groups) <= item < len(groups):
            raise ValueError(
                f"`langevin_layers` holds layer number {item}; the model has {len(groups)} "
                f"layers, 0 to {len(groups) - 1}: {names}"
            )
        return item % len(groups)
    if isinstance(item, str):
        found = [i for i, name in enumerate(names) if name == item]
        found = found or [i for i, name in enumerate(names) if name.rpartition("/")[2] == item]
        if len(found) == 1:
            return found[0]
        problem = "names no layer" if not found else "names several layers, give the whole path"
        raise ValueError(f"`langevin_layers`: {item!r} {problem}. Layers: {names}")
    raise ValueError(f"`langevin_layers` must be {FORMS}. Received an item: {item!r}")
