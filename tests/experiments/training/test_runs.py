"""What a run is, how it is named and kept, and what a sweep trains."""

import dataclasses
import json
import re
import sys
from concurrent import futures

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import auto

from langevin.experiments.training import executors, runs, sweeps
from langevin.experiments.training import loop as training
from langevin.experiments.training.runs import Run, grid
from langevin.experiments.training.store import Store
from langevin.experiments.training.sweeps import sweep

SMALL = {"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 2}

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["dense", "conv-dense", "highway"]),
        "depth": st.integers(1, 80),
        "blocks": st.none(),
        "augment": st.booleans(),
        "optimizer": st.sampled_from(["sgd", "adam", "rmsprop", "adadelta"]),
        "variant": st.sampled_from(["paper", "keras"]),
        "sigma": st.sampled_from([0, 0.0, 1e-4, 1e-3, 1]),
        "langevin_layers": st.sampled_from(
            [None, 0.15, 0.3, 1, 1.0, "shallowest 30 %", [0, -1], ["dense"]]
        ),
        "noise_cap": st.sampled_from([None, 100.0, 1e4]),
        "learning_rate": st.floats(1e-6, 10),
        "schedule": st.sampled_from(["drop", "inverse", "constant"]),
        "initializer": st.sampled_from(["glorot_uniform", "he_uniform"]),
        "seed": st.integers(0, 2**31 - 1),
    },
).map(lambda settings: {"dataset": "digits", **settings})


# a run


@given(SETTINGS)
def test_a_run_survives_json_with_its_key(settings):
    run = Run(**settings)
    again = Run(**json.loads(json.dumps(run.settings())))
    assert again == run and hash(again) == hash(run)
    assert runs.key_of(again) == runs.key_of(run)


@given(SETTINGS, SETTINGS)
def test_different_runs_have_different_keys(one, other):
    one, other = Run(**one), Run(**other)
    assert (runs.key_of(one) == runs.key_of(other)) == (one == other)


def test_what_says_the_same_is_the_same_run():
    assert Run(sigma=0, langevin_layers=0.3, noise_cap=10, noise_stop=0.1) == Run()
    assert Run(sigma=1e-3, langevin_layers=1.0) == Run(sigma=1e-3)
    assert Run(sigma=1e-3, langevin_layers=[0, 1]) == Run(sigma=1e-3, langevin_layers=(0, 1))
    assert Run(learning_rate=1) == Run(learning_rate=1.0)


def test_blocks_and_filters_are_those_of_the_models_that_have_them():
    for name, blocks, filters, depth in [
        ("resnet", (6, 6, 6), 8, 2 * 18 + 2), ("vgg", (5, 5, 5), 16, 2 * 15 + 2),
        ("densenet", (6, 6, 6), 16, 1 + 18 + 2 + 1), ("densenet121", None, None, 121),
        ("highway", None, None, 3),
    ]:  # fmt: skip
        run = Run(model=name)
        assert (run.blocks, run.filters, run.depth) == (blocks, filters, depth)
        assert Run(model=name, blocks=blocks, filters=filters, depth=depth) == run
    for name, others in [("densenet121", {"blocks": [6, 6, 6]}), ("dense", {"filters": 16})]:
        with pytest.raises(ValueError, match="`(blocks|filters)` must be left out but for resnet"):
            Run(model=name, **others)
    assert Run(model="vgg", blocks=[1, 2, 3]).depth == 2 * 6 + 2
    with pytest.raises(ValueError, match="`depth` must be 38.*resnet.*Received: 20"):
        Run(model="resnet", depth=20)


def test_the_bias_correction_of_the_noise_is_the_published_l_adams_alone():
    assert Run(noise_bias_correction=False) == Run()  # without noise nothing is to be corrected
    for other in ({"optimizer": "rmsprop"}, {"variant": "keras"}):
        with pytest.raises(ValueError, match="`noise_bias_correction` must be true.*Received"):
            Run(sigma=1e-3, noise_bias_correction=False, **other)


def test_an_initializer_of_matrices_is_refused_to_convolutions():
    assert Run(model="highway", initializer="identity").initializer == "identity"
    with pytest.raises(ValueError, match="`initializer` 'identity' makes matrices alone.*resnet"):
        Run(model="resnet", initializer="identity")


def test_validation_needs_more_images_than_it_takes():
    with pytest.raises(ValueError, match="`validation` must be false on .*digits.*Received: True"):
        runs.dataset_of(Run(dataset="digits", validation=True))


def test_runs_of_two_devices_are_two_runs(monkeypatch):
    on_cpu = runs.key_of(Run(dataset="digits"))
    monkeypatch.setattr(runs, "device", lambda: "NVIDIA H100")
    assert runs.key_of(Run(dataset="digits")) != on_cpu


def test_runs_of_one_program_differ_only_in_data():
    run = Run(sigma=1e-3, depth=30)
    data = dataclasses.replace(
        run, seed=7, sigma=0.5, learning_rate=0.1, schedule="inverse", epochs=3,
        initializer="he_uniform", noise_stop=0.5, noise_bias_correction=False,
    )  # fmt: skip
    assert data.program() == run.program()
    others = [{"depth": 31}, {"sigma": 0.0}, {"langevin_layers": 0.3}, {"optimizer": "sgd"}]
    for other in [*others, {"augment": True}, {"model": "highway"}]:
        assert dataclasses.replace(run, **other).program() != run.program()


@pytest.mark.parametrize(
    "name, value",
    [
        ("blocks", 6), ("blocks", [6, 6]), ("blocks", [6, 6, 0]), ("blocks", [6, 6, True]),
        ("filters", 0), ("augment", 1),
        ("model", "transformer"), ("depth", 0), ("depth", 2.5), ("depth", True), ("depth", "3"),
        ("dataset", "imagenet"), ("train_size", 0), ("validation", 1), ("optimizer", "lion"),
        ("variant", "mine"), ("epsilon", 0), ("learning_rate", 0), ("learning_rate", "1e-3"),
        ("learning_rate", float("nan")), ("sigma", -1e-3), ("sigma", None), ("langevin_layers", 0),
        ("langevin_layers", 1.5), ("langevin_layers", "deepest"),
        ("langevin_layers", "shallowest 0 %"), ("noise_cap", 0), ("noise_start", -0.1),
        ("noise_stop", 1.1), ("schedule", "cosine"), ("initializer", "nonesuch"), ("epochs", 0),
        ("batch_size", 0), ("seed", -1), ("seed", 2**31),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_was_expected_and_received(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*must.*Received: "):
        Run(**{"sigma": 1e-3, name: value})


# grids


def test_a_grid_is_every_combination_once_in_order():
    block = {**SMALL, "sigma": [0.0, 1e-3], "seeds": 2}
    planned = grid([block, {**SMALL, "sigma": 1e-3, "langevin_layers": [1.0, 0.3], "seed": 0}])
    assert [(r.sigma, r.seed, r.langevin_layers) for r in planned] == [
        (0.0, 0, None), (0.0, 1, None), (1e-3, 0, None), (1e-3, 1, None), (1e-3, 0, 0.3),
    ]  # fmt: skip
    assert grid([{"langevin_layers": [[0, 1]], "sigma": 1.0}])[0].langevin_layers == (0, 1)


def test_a_grid_refuses_a_name_that_is_no_setting():
    with pytest.raises(ValueError, match="'lr'"):
        grid([{"lr": 1e-3}])


# the store; what it is when things go wrong: test_survival.py


@pytest.fixture
def record():
    return {"key": "abc", "run": {"depth": 3}, "history": {"loss": [0.5, float("nan")]}}


def test_a_record_comes_back_as_it_was(tmp_path, record):
    store = Store(tmp_path)
    assert store.find("abc") is None
    store.save(record)
    assert json.dumps(store.load("abc")) == json.dumps(record)


def test_a_store_reads_other_folders_and_writes_its_own(tmp_path, record):
    Store(tmp_path / "recorded" / "depth-mnist").save(record)
    store = Store(tmp_path / "recorded" / "mechanism", also=[tmp_path / "recorded"])
    assert store.load("abc")["key"] == "abc"
    store.save({**record, "key": "new"})
    assert (tmp_path / "recorded" / "mechanism" / "new.json").exists()


# sweeps


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four small runs, their store's folder and their frame."""
    folder = tmp_path_factory.mktemp("store")
    planned = grid([{**SMALL, "sigma": [0.0, 1e-3], "seeds": 2}])
    return planned, folder, sweep(planned, folder)


@pytest.mark.parametrize("given", [{"depth": 2}, [Run()], [], None, "digits"], ids=str)
def test_to_train_what_is_no_run_is_refused(given):
    message = re.escape(f"`run` must be a langevin.experiments.Run, made by Run(**settings); for "
                        "many "
                        f"use langevin.experiments.sweep. Received: {given!r}")  # fmt: skip
    with pytest.raises(ValueError, match=message):
        runs.train(given)


@pytest.mark.parametrize(
    "given, came",
    [
        ([{"depth": 2}], " an item: {'depth': 2}"),
        ([Run(), "dense"], " an item: 'dense'"),
        (Run(), f": {Run()!r}"),
        ({"depth": 2}, " an item: 'depth'"),
        ([], ": []"),
        (None, ": None"),
    ],
    ids=str,
)
def test_a_sweep_of_what_are_no_runs_is_refused(given, came, tmp_path, capsys):
    message = "`runs` must be a list of langevin.experiments.Run, one at least; "
    message += "langevin.experiments.grid makes"
    for train in (True, False):
        with pytest.raises(ValueError, match=re.escape(message) + f".*{re.escape(came)}$"):
            sweep(given, tmp_path, train=train)
    assert not capsys.readouterr().out


def without_times(frame):
    return frame.drop(columns=["seconds", "compile_seconds"])


def test_a_sweep_has_a_row_an_epoch_for_every_run_in_order(trained):
    planned, _, frame = trained
    assert list(frame.epoch) == [0, 1, 2] * len(planned)
    assert list(frame.seed[frame.epoch == 0]) == [run.seed for run in planned]
    assert set(frame.langevin_layers) == {"all"} and set(frame.device) == {runs.device()}
    assert (frame.kernel_sd.map(len) == 3).all()


def test_what_is_stored_is_not_trained_again(trained, monkeypatch, capsys):
    planned, folder, frame = trained
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert sweep(planned, folder).equals(frame)
    assert "4 stored, none to train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "estimate"), [("cpu", r"\d\.\d minutes"), ("NVIDIA H100", "none, nothing like it")]
)
def test_a_sweep_says_first_what_it_will_do(
    trained, tmp_path, monkeypatch, capsys, device, estimate
):
    planned, _, _ = trained
    monkeypatch.setattr(sweeps, "device", lambda: device)
    monkeypatch.setattr(training, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sweep(planned, tmp_path)
    said = capsys.readouterr().out
    for fact in ("4 runs", "digits", "0 stored", "4 to train", "Backend", f"device {device}"):
        assert fact in said
    assert re.search(f"Estimate: {estimate}", said)


@pytest.mark.parametrize(
    ("modules", "environment", "widget"),
    [((), (), False), (["ipykernel"], (), True), (["ipykernel"], ["LANGEVIN_TERMINAL"], False)],
)
def test_progress_is_a_widget_for_a_reader_and_lines_far_apart_in_a_file(
    modules, environment, widget, monkeypatch, capsys
):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, executors)
    for variable in environment:
        monkeypatch.setenv(variable, "1")
    with executors.progress(2, "run") as bar:
        assert (bar.mininterval < 1) is widget
        assert isinstance(bar, auto.tqdm) or not widget


def test_an_interrupted_sweep_keeps_what_is_finished_and_goes_on(trained, tmp_path, monkeypatch):
    planned, _, frame = trained
    fit, calls = training.fit, []

    def interrupted(group, *rest, **named):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(group)
        return fit(group, *rest, **named)

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(planned, tmp_path)
    monkeypatch.setattr(training, "fit", fit)
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert without_times(sweep(planned, tmp_path)).equals(without_times(frame))


def test_missing_runs_are_named_and_left_out_without_training(trained, capsys):
    planned, folder, frame = trained
    missing = dataclasses.replace(planned[0], depth=5)
    assert sweep([*planned, missing], folder, train=False).equals(frame)
    assert "depth 5; sigma 0.0; seed 0 (1 run)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="nothing to show"):
        sweep([missing], folder, train=False)


def test_two_processes_train_the_same_numbers_to_the_bit(trained, tmp_path):
    planned, _, frame = trained
    with executors.workers(2) as pool:
        again = sweep(planned, tmp_path, executor=pool)
    assert without_times(again).equals(without_times(frame))


def test_an_error_in_a_process_is_the_sweeps_error(trained, tmp_path):
    planned, _, _ = trained
    unfit = dataclasses.replace(planned[0], batch_size=5000)
    with futures.ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="batch_size"):
        sweep([unfit], tmp_path, executor=pool)
