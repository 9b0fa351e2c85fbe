"""Whatever is given to a run, a grid, a profile or a data set: a result or a clear error.

What is valid is restated here, apart from the code: anything else must be refused.
"""

import dataclasses
import json
import os

import numpy as np
import pytest
import yaml
from helpers import ANYTHING, MOST, number, or_none, positive, whole
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langevin.experiments.data import datasets
from langevin.experiments.studies import pipeline, profiles
from langevin.experiments.training.runs import Run, grid

many = settings(max_examples=200)


def shallowest(value):
    words = isinstance(value, str) and value.split(" ")
    return words and words[0] == "shallowest" and words[1:] in (["30", "%"], ["30%"])


def placed(value):
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(type(item) in (int, str) for item in value)
    if isinstance(value, str) and value in {"kernels", "biases"}:
        return True
    return value is None or (number(value, 0, 1) and value > 0) or shallowest(value)


SIZED = {"resnet", "vgg", "densenet"}
IMAGES = {"mnist", "cifar10", "cifar100", "digits"}
INITIALIZERS = {"glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "zeros"}
VALID = {
    "model": lambda v: v in {"dense", "conv-dense", "highway", "densenet121"} | SIZED,
    "depth": whole,
    "blocks": or_none(
        lambda v: isinstance(v, (list, tuple)) and len(v) == 3 and all(whole(n) for n in v)
    ),
    "filters": or_none(whole),
    "conv_bias": lambda v: type(v) is bool,
    "dataset": lambda v: isinstance(v, str) and (v in IMAGES or v.endswith(".npz")),
    "train_size": or_none(whole),
    "validation": lambda v: type(v) is bool,
    "augment": lambda v: type(v) is bool,
    "optimizer": lambda v: v in {"sgd", "adam", "rmsprop", "adadelta"},
    "variant": lambda v: v in {"paper", "keras"},
    "epsilon": or_none(positive),
    "learning_rate": positive,
    "sigma": lambda v: number(v, 0),
    "langevin_layers": placed,
    "noise_cap": or_none(positive),
    "noise_start": lambda v: number(v, 0) and v < 1,
    "noise_stop": lambda v: number(v, 0, 1) and v > 0,
    "noise_bias_correction": lambda v: type(v) is bool,
    "schedule": lambda v: v in {"drop", "inverse", "constant"},
    "initializer": lambda v: v in INITIALIZERS,
    "epochs": whole,
    "batch_size": whole,
    "seed": lambda v: whole(v, 0, 2**31 - 1),
    "remedy": lambda v: v is None or v == "dropout",
    "probe": lambda v: type(v) is bool,
}
WORDS = ["vgg", "digits", "a.npz", "rmsprop", "keras", "inverse", "he_normal", "dropout", "1e-3"]
NEAR = st.one_of(
    st.sampled_from([*WORDS, "shallowest 30 %", "kernels"]), st.booleans(), st.none(),
    st.sampled_from([0, 1, 0.3, 1e-3, 2**31, -1, 1e400, 10**400]),
    st.lists(st.integers(-3, 8), max_size=4), st.tuples(*[st.integers(0, 3)] * 3),
)  # fmt: skip


def valid(name, value):
    try:
        return bool(VALID[name](value))
    except TypeError:  # what has no hash is in no set
        return False


def test_every_setting_has_its_restatement():
    assert set(VALID) == {field.name for field in dataclasses.fields(Run)}


@pytest.mark.parametrize("name", VALID)
@many
@given(value=NEAR | ANYTHING)
def test_a_setting_is_taken_if_valid_and_else_named_with_what_came(name, value):
    given_with = {"sigma": 1e-3, name: value}
    if name in ("blocks", "filters", "conv_bias"):
        given_with["model"] = "vgg"
    if valid(name, value):
        run = Run(**given_with)
        assert Run(**json.loads(json.dumps(run.settings()))) == run
    else:
        with pytest.raises(ValueError, match=f"(?s)`{name}`.*Received: ") as caught:
            Run(**given_with)
        assert repr(value) in str(caught.value)


@many
@given(st.dictionaries(st.sampled_from(sorted(VALID)), NEAR, max_size=4))
def test_settings_together_make_a_run_or_a_named_error(given_with):
    apart = all(valid(name, value) for name, value in given_with.items())
    try:
        run = Run(**given_with)
    except ValueError as error:
        assert "`" in str(error) and "Received: " in str(error)
        start, stop = given_with.get("noise_start", 0), given_with.get("noise_stop", 1)
        sized = given_with.get("model") in ("vgg", "densenet121") and "depth" in given_with
        sizes = {"blocks", "filters"} & given_with.keys()
        sized |= bool(sizes) and given_with.get("model") not in [*SIZED]
        sized |= not given_with.get("conv_bias", True) and given_with.get("model") not in [*SIZED]
        keys = {"noise_bias_correction", "remedy"} & given_with.keys()  # have words of their own
        assert not apart or start >= stop or sized or keys
    else:
        assert apart and Run(**run.settings()) == run


number_of = st.floats(1e-37, MOST)
OF_VALID = {
    "model": st.sampled_from(["dense", "conv-dense", "highway", *sorted(SIZED)]),
    "depth": st.integers(1, 10**4), "blocks": st.tuples(*[st.integers(1, 99)] * 3),
    "filters": st.none() | st.integers(1, 999), "train_size": st.none() | st.integers(1, 10**6),
    "dataset": st.sampled_from([*sorted(IMAGES), "mine.npz"]),
    "validation": st.booleans(), "augment": st.booleans(), "probe": st.booleans(),
    "conv_bias": st.booleans(),
    "optimizer": st.sampled_from(["sgd", "adam", "rmsprop", "adadelta"]),
    "variant": st.sampled_from(["paper", "keras"]), "epsilon": st.none() | number_of,
    "learning_rate": number_of, "sigma": st.floats(0, MOST), "noise_cap": st.none() | number_of,
    "langevin_layers": st.floats(1e-3, 1) | st.lists(st.integers(-9, 9), min_size=1)
    | st.sampled_from(["kernels", "biases", "shallowest 30 %"]),
    "noise_start": st.floats(0, 0.99), "noise_stop": st.floats(0.01, 1),
    "noise_bias_correction": st.booleans(), "epochs": st.integers(1, 10**6),
    "schedule": st.sampled_from(["drop", "inverse", "constant"]),
    "initializer": st.sampled_from(sorted(INITIALIZERS)),
    "batch_size": st.integers(1, 10**6), "seed": st.integers(0, 2**31 - 1),
    "remedy": st.sampled_from([None, "dropout"]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALID)
@many
@given(data=st.data())
def test_every_valid_setting_is_taken(name, data):
    value = data.draw(OF_VALID[name])
    others = {"model": "resnet"} if name in ("blocks", "filters", "conv_bias") else {}
    run = Run(**{"sigma": 1e-3, **others, name: value})
    expected = tuple(value) if isinstance(value, list) else value
    if name == "dataset" and value.endswith(".npz"):
        expected = os.path.abspath(value)  # one file, one spelling
    if not (name == "filters" and value is None or name == "langevin_layers" and value == 1):
        assert getattr(run, name) == expected
    assert Run(**json.loads(json.dumps(run.settings()))) == run


@many
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_noises_window_must_not_be_empty_or_turned(start, stop):
    if start < stop:
        assert Run(sigma=1e-3, noise_start=start, noise_stop=stop).noise_stop == stop
    else:
        with pytest.raises(ValueError, match="`noise_start` must be below `noise_stop`. Received"):
            Run(noise_start=start, noise_stop=stop)


@pytest.mark.parametrize(
    "name, near", [("dept", "depth"), ("learning-rate", "learning_rate"), ("epoch", "epochs")]
)
def test_an_unknown_setting_is_named_with_the_nearest_known(name, near):
    for make in (lambda: Run(**{name: 1}), lambda: grid([{name: 1}])):
        with pytest.raises(ValueError, match=f"{name}.*Did you mean '{near}'"):
            make()


def test_text_in_a_numbers_place_is_explained():
    [block] = yaml.safe_load("- {learning_rate: 1e-3}")
    with pytest.raises(ValueError, match=r"'1e-3', which is text.*point and a sign: 1\.0e-3"):
        grid([block])


# grids


@many
@given(ANYTHING | st.lists(ANYTHING, max_size=2))
def test_what_is_no_list_of_blocks_is_no_grid(blocks):
    fits = isinstance(blocks, (list, tuple)) and all(isinstance(b, dict) for b in blocks)
    if fits and all(b == {} for b in blocks):
        assert len(grid(blocks)) == min(1, len(blocks))
    else:
        with pytest.raises(ValueError, match="list of blocks|has no"):
            grid(blocks)


@example({"seeds": 2**31})
@example({"seeds": 10**400})
@many
@given(st.dictionaries(st.sampled_from(["seeds", "seed", "depth", "sigma"]), NEAR | st.just([])))
def test_a_block_is_a_grid_or_a_named_error(block):
    try:
        planned = grid([block])
    except ValueError as error:
        assert "`" in str(error) and "Received: " in str(error)
    else:
        assert planned and all(isinstance(run, Run) for run in planned)
        if "seeds" in block:
            assert whole(block["seeds"]) and [r.seed for r in planned] == [*range(block["seeds"])]


# profiles and notebooks


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Writes a profile for notebooks `one` and `two`, which it makes."""
    (tmp_path / "notebooks").mkdir()
    for name in ("one", "two"):
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
    monkeypatch.setattr(profiles, "root", lambda: tmp_path)
    return (tmp_path / "notebooks" / "smoke.yaml").write_text


@pytest.mark.parametrize(
    "text, message",
    [
        ("onne: {}", "no 'onne'.*Did you mean 'one'"),
        ("one: 3", "mapping from notebooks"),
        ("- one", "mapping from notebooks"),
        ("one: {a: 1", "smoke.yaml must be a YAML file"),
        ("one: !!python/object/apply:os.system [exit]", "YAML file of plain values"),
    ],
)
def test_a_profile_that_is_none_is_refused_and_runs_no_code(profile, text, message):
    profile(text)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        profiles.parameters("smoke")


def test_an_unknown_notebook_is_named_with_the_nearest_known(profile):
    profile("one: {}\ntwo: {}")
    with pytest.raises(ValueError, match="Profile smoke has no 'tow'. Did you mean 'two'"):
        profiles.notebooks("smoke", ["tow"])


LIKE = {3: whole, 0.5: positive, -1: lambda v: type(v) is int and abs(v) <= MOST,
        "a": lambda v: isinstance(v, str), True: lambda v: type(v) is bool}  # fmt: skip


@pytest.mark.parametrize("default", [3, 0.5, -1, "a", True], ids=repr)
@many
@given(value=NEAR | ANYTHING)
def test_a_notebooks_parameter_is_of_its_defaults_kind(default, value):
    where = "smoke.yaml: one: `steps`"
    for good, given_as, kind in [
        (LIKE[default](value), value, default),
        (LIKE[default](value), [value], [default]),
        (isinstance(value, list) and value and all(map(LIKE[default], value)), value, [default]),
    ]:
        if good:
            pipeline._check_like(where, given_as, kind)
        else:
            with pytest.raises(ValueError, match=f"{where} must be .*Received: "):
                pipeline._check_like(where, given_as, kind)


# data sets

DTYPES = st.sampled_from(["u1", "i4", "i8", "f2", "f8", "c8", "?", "U2", "M8[s]", "O", "V3"])


@st.composite
def arrays(draw):
    """Four arrays, now and then one that is missing, odd or hostile."""
    made = {}
    for name in datasets.ARRAYS:
        n = draw(st.sampled_from([6, 6, 6, 5, 1, 0]))
        sides = draw(st.sampled_from([(4, 4), (4, 4), (4, 4, 3), (4,), (), (4, 4, 1, 1), (0, 4)]))
        images = name.startswith("x")
        array = np.arange(n) % 3 if not images else np.zeros((n, *sides))
        kind = draw(st.sampled_from(["u1" if images else "i8"] * 4) | DTYPES)
        with np.errstate(all="ignore"):
            array = array.astype(kind)
        if array.dtype.kind in "if" and array.size and draw(st.booleans()):
            wild = [np.nan, np.inf, 2.0, -1] if array.dtype.kind == "f" else [-1, 3, 300, 2**31 - 1]
            array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(wild))
        made[name] = array
    if draw(st.integers(0, 9)) == 0:
        made.pop(draw(st.sampled_from(datasets.ARRAYS)))
    return made


@settings(max_examples=300)
@given(arrays())
def test_a_file_of_any_arrays_is_a_data_set_or_a_named_error(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("fuzz") / "wild.npz"
    np.savez(path, **made)
    assert_data_or_error(path)


WHOLE = {"x_train": np.zeros((6, 4, 4), "u1"), "y_train": np.arange(6) % 3,
         "x_test": np.zeros((3, 4, 4), "u1"), "y_test": np.arange(3)}  # fmt: skip


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_a_named_error_or_unharmed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "wild.npz"
    np.savez(path, **WHOLE)
    whole_hash, content = datasets.load(path).hash, bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3) if content else
                           st.just([])):  # fmt: skip
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = assert_data_or_error(path)
    assert found is None or found.hash == whole_hash


def assert_data_or_error(path):
    """The data set, with all that a data set promises, or None after an error that names it."""
    try:
        found = datasets.load(path)
    except ValueError as error:
        assert "wild.npz" in str(error) and "expected" in str(error) and "received" in str(error)
        return None
    for x, y in ((found.x_train, found.y_train), (found.x_test, found.y_test)):
        assert (x.dtype, x.ndim, y.dtype, len(x)) == ("uint8", 4, "int32", len(y))
        assert 0 <= y.min() and y.max() < found.classes
    return found
