"""Which layers get noise: one pure function from variable paths and a choice to positions.

A layer is the consecutive variables of one owner, a path without its last part, in the order of
`trainable_variables`, so layer 0 is nearest the input.  A normalization or a parametrised
activation, known by its variables' names, belongs to the layer before it.  "Deepest" is the
paper's word for the layers farthest from the loss: nearest the input.
"""

import numbers
import re
from collections.abc import Mapping, Sequence

from langevin.checks import is_function

FORMS = (
    "None (every layer), a fraction in (0, 1], a non-empty sequence of layer numbers or of exact "
    "layer names, or a predicate on the variable's path"
)
# What owners that are no layers hold: normalizations, of at most one dimension, and activations.
NORMALIZATION = {"gamma", "beta", "scale", "offset"}
ACTIVATION = {"alpha", "slope", "strength", "amplitudes", "frequencies"}


def layers(paths, shapes=None):
    """Group variable paths into layers: a list of (name, positions of its variables).

    A path met again begins another layer: models in a model may have equal names.  With `shapes`
    a `gamma` or `beta` of two dimensions makes a layer, as any matrix does.

    >>> layers(["dense/kernel", "dense/bias", "normalization/gamma", "dense_1/kernel"])
    [('dense', [0, 1, 2]), ('dense_1', [3])]
    """
    runs = []
    for position, path in enumerate(paths):
        owner = _owner(path)
        if not runs or runs[-1][0] != owner or path in [paths[i] for i in runs[-1][1]]:
            runs.append((owner, []))
        runs[-1][1].append(position)
    groups = []
    for owner, members in runs:
        if groups and _joins(members, paths, shapes):
            groups[-1][1].extend(members)
        else:
            groups.append((owner, members))
    return groups


def _owner(path):
    return path.rpartition("/")[0] or path


def _joins(members, paths, shapes):
    """Whether one owner's variables belong to the layer before."""
    names = {paths[i].rpartition("/")[2] for i in members if "/" in paths[i]}
    flat = shapes is None or all(len(shapes[i]) < 2 for i in members)
    return bool(names) and (names <= ACTIVATION or (names <= NORMALIZATION and flat))


def check(choice):
    """ValueError for a choice that fits no model: a fraction outside (0, 1], another form."""
    if isinstance(choice, numbers.Real) and not isinstance(choice, bool):
        if not 0 < choice <= 1:
            raise ValueError(
                "`langevin_layers` as a fraction must lie in (0, 1]; for layer numbers pass a "
                f"list. Received: {choice!r}"
            )
        return
    listed = _is_list(choice) and len(choice) > 0
    if not (choice is None or is_function(choice) or _is_saved(choice) or listed):
        raise ValueError(f"`langevin_layers` must be {FORMS}. Received: {choice!r}")


def _is_saved(choice):
    if not isinstance(choice, Mapping) or set(choice) != {"paths", "noisy"}:
        return False
    paths, noisy = choice["paths"], choice["noisy"]
    return (
        _is_list(paths)
        and all(isinstance(path, str) for path in paths)
        and _is_list(noisy)
        and all(type(i) is int and 0 <= i < len(paths) for i in noisy)
    )


def choose(paths, choice, shapes=None):
    """Positions, in `paths`, of the variables that get noise.

    Args:
        paths: the paths of the trainable variables, in order.
        choice: `None` for all; a fraction f in (0, 1], the max(1, round(f n)) layers nearest the
            input out of n; a sequence of layer numbers (0 nearest the input, negative from the
            output) or of exact layer names (the last part of a layer's path, or all of it; the
            name of a layer or model that holds layers means all of them); a predicate on the
            variable's path; or what `portable` makes of one.
        shapes: the variables' shapes, which tell a normalization's `gamma` from a matrix.

    Returns: a sorted tuple of positions, never empty.

    Raises:
        ValueError: a choice of another form, out of range, unknown, ambiguous or empty.
    """
    check(choice)
    groups = layers(paths, shapes)
    if choice is None:
        chosen = range(len(paths))
    elif isinstance(choice, numbers.Real):
        chosen = _members(groups, range(max(1, round(choice * len(groups)))))
    elif callable(choice):
        chosen = [position for position, path in enumerate(paths) if choice(path)]
    elif isinstance(choice, Mapping):
        chosen = _recorded(paths, choice)
    else:
        chosen = _members(groups, [i for item in choice for i in _numbers(groups, item)])
    chosen = tuple(sorted(set(chosen)))
    if not chosen:
        raise ValueError(
            f"`langevin_layers` chose no variable: {choice!r}. For no noise at all set sigma=0. "
            f"Layers: {[name for name, _ in groups]}"
        )
    return chosen


def portable(paths, choice, shapes=None):
    """The choice as a saved model holds it: of a predicate and of whole paths what they chose.

    All paths are recorded: Keras renames them when it loads a model ("sequential/first/kernel"
    becomes "first/kernel"), and so many variables in this order are still the same model.
    """
    whole_paths = _is_list(choice) and any("/" in str(item) for item in choice)
    if not (callable(choice) or whole_paths):
        return choice
    return {"paths": list(paths), "noisy": list(choose(paths, choice, shapes))}


def _recorded(paths, saved):
    """Positions of the variables that were noisy when the choice was saved, or ValueError."""
    old, new = ([_unnumbered(path) for path in each] for each in (saved["paths"], paths))
    if len(old) == len(new) and all(map(_is_renamed, old, new)):
        return saved["noisy"]
    wanted = [old[i] for i in saved["noisy"]]
    # Exactly those, and no other variable that could be meant: neither now nor then.
    if any(not wanted.count(path) == old.count(path) == new.count(path) for path in wanted):
        raise ValueError(
            "`langevin_layers` was saved for another model: there the noisy variables were "
            f"{[saved['paths'][i] for i in saved['noisy']]}, here are {list(paths)}. Pass "
            "`langevin_layers` anew."
        )
    return [position for position, path in enumerate(new) if path in wanted]


def _unnumbered(path):
    """Without the number that Keras gives to a weight without a name: it counts them all."""
    return re.sub(r"variable_\d+$", "variable", path)


def _is_renamed(one, other):
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _is_list(value):
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _members(groups, indices):
    return [position for index in indices for position in groups[index][1]]


def _numbers(groups, item):
    """The indices of the layers that a layer number or an exact name means."""
    names = [name for name, _ in groups]
    if isinstance(item, numbers.Integral) and not isinstance(item, bool):
        if not -len(groups) <= item < len(groups):
            raise ValueError(
                f"`langevin_layers` holds layer number {item}; the model has {len(groups)} "
                f"layers, 0 to {len(groups) - 1}: {names}"
            )
        return [item % len(groups)]
    if isinstance(item, str):
        # Whole paths first, of layers and of what holds layers, then their last parts.
        owners = [[*_outer(name), name] for name in names]
        whole = {owner for each in owners for owner in each if owner == item}
        nodes = whole or {o for each in owners for o in each if o.rpartition("/")[2] == item}
        found = [i for i, each in enumerate(owners) if nodes & set(each)]
        if len(nodes) == 1 and found == list(range(found[0], found[-1] + 1)):
            if len({names[i] for i in found}) == len(found):
                return found
        problem = "names no layer" if not found else "names several layers, give the whole path"
        if whole:
            problem = "names several layers of equal paths, give their numbers"
        raise ValueError(f"`langevin_layers`: {item!r} {problem}. Layers: {names}")
    raise ValueError(f"`langevin_layers` must be {FORMS}. Received an item: {item!r}")


def _outer(name):
    """The paths of what holds a layer, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
