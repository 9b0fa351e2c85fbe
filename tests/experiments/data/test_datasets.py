"""Data sets: what is accepted, what is refused and in which words, and how data are known."""

import dataclasses
import hashlib
import http.server
import io
import re
import socket
import threading
import time
import urllib.request

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from langevin.experiments.data import datasets
from langevin.experiments.data.datasets import (
    ARRAYS,
    DataUnavailable,
    fit,
    load,
    subset,
    validation_split,
)


def made(n=12, test=5, side=4, channels=None, classes=3):
    """Four arrays of a small data set, as a file holds them."""
    shape = (side, side) if channels is None else (side, side, channels)
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (n, *shape), np.uint8),
        "y_train": (np.arange(n) % classes).astype(np.uint8),
        "x_test": random.integers(0, 256, (test, *shape), np.uint8),
        "y_test": (np.arange(test) % classes).astype(np.uint8),
    }


def pairs(arrays):
    """The same arrays, as a loader of keras.datasets returns them."""
    a, b, c, d = (arrays[name] for name in ARRAYS)
    return (a, b), (c, d)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LANGEVIN_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def keras_loader(monkeypatch):
    """Puts a function in the place of keras.datasets.<name>.load_data; no LANGEVIN_DATA."""
    monkeypatch.delenv("LANGEVIN_DATA", raising=False)
    return lambda name, loader: monkeypatch.setattr(
        getattr(keras.datasets, name), "load_data", loader
    )


@pytest.fixture
def written(tmp_path):
    """Writes a made set, some arrays of it replaced (None leaves one out), as custom.npz."""

    def write(**replaced):
        arrays = {k: v for k, v in {**made(), **replaced}.items() if v is not None}
        np.savez(tmp_path / "custom.npz", **arrays)
        return tmp_path / "custom.npz"

    return write


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def dataset(arrays, name="made"):
    return datasets._checked([arrays[key] for key in ARRAYS], "made", name, name)


# What a file gives.


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_file_holds_comes_back(tmp_path_factory, data):
    channels = data.draw(st.sampled_from([None, 1, 3]))
    classes = data.draw(st.integers(2, 5))
    arrays = made(
        data.draw(st.integers(classes, 20)), 4, data.draw(st.integers(1, 6)), channels, classes
    )
    pixels = arrays["x_train"].shape
    arrays["x_train"] = data.draw(hnp.arrays(np.uint8, pixels))
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("LANGEVIN_DATA", str(folder))
        np.savez(folder / "mnist.npz", **arrays)
        found = load("mnist")
    assert (found.name, found.classes) == ("mnist", classes)
    for name in ARRAYS:
        array = getattr(found, name)
        images = name.startswith("x")
        assert array.dtype == (np.uint8 if images else np.int32)
        assert array.ndim == (4 if images else 1)
        np.testing.assert_array_equal(array.reshape(arrays[name].shape), arrays[name])
        assert not array.flags.writeable


@settings(max_examples=25, deadline=None)
@given(
    pixels=hnp.arrays(np.uint8, (3, 2, 2)), dtype=st.sampled_from(["f2", "f4", "f8", "i4", "u2"])
)
def test_every_accepted_dtype_gives_the_same_pixels(pixels, dtype):
    given_as = (pixels / 255 if dtype.startswith("f") else pixels).astype(dtype)
    np.testing.assert_array_equal(datasets._images("x", given_as)[..., 0], pixels)


def test_labels_may_be_a_column_and_channels_may_be_left_out(written):
    arrays = made()
    plain = load(written())
    column = load(
        written(
            x_train=arrays["x_train"][..., None],
            y_train=arrays["y_train"][:, None],
            y_test=arrays["y_test"][:, None].astype(np.int64),
        )
    )
    assert column.y_train.shape == (12,)
    assert column.hash == plain.hash


def test_a_file_elsewhere_is_named_after_its_stem(written):
    found = load(str(written()))
    assert (found.name, found.label) == ("custom", "custom")
    assert load(written()).hash == found.hash  # a path object, too


def test_the_arrays_given_to_us_stay_writeable():
    arrays = made(channels=1)
    dataset(arrays)
    assert all(array.flags.writeable for array in arrays.values())


def test_digits(digits):
    assert digits.x_train.shape == (1437, 8, 8, 1) and digits.x_test.shape == (360, 8, 8, 1)
    assert (digits.name, digits.label, digits.classes) == ("digits", "scikit-learn's digits", 10)
    levels = np.unique(digits.x_train)
    np.testing.assert_array_equal(levels, np.rint(np.arange(17) * 255 / 16))
    # Stratified: the test part holds 20 % of each class, to the image.
    train, test = (np.bincount(y) for y in (digits.y_train, digits.y_test))
    assert np.abs(test - (train + test) * 0.2).max() <= 1
    assert load("digits").hash == digits.hash


# Where a named set comes from, and what it is then called.


def test_the_folder_comes_first(folder, monkeypatch):
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pytest.fail("asked Keras"))
    np.savez(folder / "mnist.npz", **made())
    assert load("mnist").x_train.shape == (12, 4, 4, 1)


@pytest.mark.parametrize(
    "name, label", [("mnist", "MNIST"), ("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100")]
)
def test_keras_is_asked_where_the_folder_lacks_the_file(folder, monkeypatch, name, label):
    arrays = made(channels=3)
    module = getattr(keras.datasets, name)
    monkeypatch.setattr(module, "load_data", lambda: pairs(arrays))
    assert (load(name).name, load(name).label) == (name, label)


def test_an_unknown_copy_says_so(folder):
    np.savez(folder / "cifar10.npz", **made(channels=3))
    found = load("cifar10")
    assert found.label == f"CIFAR-10 (unverified copy {found.hash[:8]})"
    assert load(folder / "cifar10.npz").label == found.label


def test_a_known_hash_decides_the_label_whatever_the_file_is_called(folder, monkeypatch):
    np.savez(folder / "cifar10.npz", **made(channels=3))
    np.savez(folder / "pictures.npz", **made(channels=3))
    monkeypatch.setitem(datasets.KNOWN, load("cifar10").hash, "CIFAR-10 (JPEG copy)")
    assert load("cifar10").label == "CIFAR-10 (JPEG copy)"
    assert load(folder / "pictures.npz").label == "CIFAR-10 (JPEG copy)"


def test_cifar100_in_the_layout_of_keras(folder):
    arrays = made(n=200, test=100, side=32, channels=3, classes=100)
    arrays |= {name: arrays[name].reshape(-1, 1) for name in ("y_train", "y_test")}
    np.savez(folder / "cifar100.npz", **arrays)
    found = load("cifar100")
    assert found.classes == 100
    assert found.x_train.shape == (200, 32, 32, 3) and found.y_train.shape == (200,)
    assert found.label.startswith("CIFAR-100 (unverified copy ")


def test_channels_come_last_whatever_keras_is_set_to(keras_loader, monkeypatch):
    arrays = made(channels=3)
    first = {k: np.moveaxis(v, -1, 1).copy() if v.ndim == 4 else v for k, v in arrays.items()}
    keras_loader("cifar10", lambda: pairs(first))
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    found = load("cifar10")
    assert found.hash == dataset(arrays).hash and found.x_train.flags.c_contiguous


# Nothing to be had.


def test_a_failed_download_names_both_ways_out(keras_loader):
    def fail():
        raise Exception("URL fetch failure")  # as Keras does

    keras_loader("mnist", fail)
    with pytest.raises(DataUnavailable) as caught:
        load("mnist")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, Exception)
    for part in (
        "found no mnist.npz in the folder LANGEVIN_DATA (not set)",
        "keras.datasets failed (URL fetch failure)",
        "put mnist.npz, with the arrays x_train, y_train, x_test, y_test, in a folder",
        "set LANGEVIN_DATA to that folder, or connect to the network",
        "falls back to scikit-learn's digits",
    ):
        assert part in str(caught.value)


def test_offline_only_what_keras_has_in_its_cache_is_loaded(keras_loader, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGEVIN_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras_loader("mnist", lambda: pairs(made()))
    with pytest.raises(DataUnavailable, match="LANGEVIN_OFFLINE is set"):
        load("mnist")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").touch()
    assert load("mnist").classes == 3


def test_the_error_tells_which_folder_was_searched(folder, monkeypatch):
    monkeypatch.setattr(keras.datasets.cifar100, "load_data", lambda: 1 / 0)
    with pytest.raises(DataUnavailable, match=re.escape(f"LANGEVIN_DATA ({folder})")):
        load("cifar100")


@pytest.mark.parametrize("download", ["urllib", "keras"])
def test_a_silent_host_is_left_after_the_timeout(keras_loader, monkeypatch, tmp_path, download):
    monkeypatch.setattr(datasets, "TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the call, never answers
        url = f"http://127.0.0.1:{server.getsockname()[1]}/mnist.npz"
        loaders = {
            "urllib": lambda: urllib.request.urlopen(url),
            "keras": lambda: keras.utils.get_file("mnist.npz", origin=url, cache_dir=tmp_path),
        }
        keras_loader("mnist", loaders[download])
        start = time.monotonic()
        with pytest.raises(DataUnavailable, match="timed out"):
            load("mnist")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("harm", ["cut off", "another file"])
def test_a_broken_download_leaves_no_broken_cache(monkeypatch, tmp_path, harm):
    """Keras's own loader, its host and its file replaced."""
    good = io.BytesIO()
    np.savez(good, **made())
    good = good.getvalue()
    sent = {"cut off": good[:-50], "another file": b"<html>moved</html>"}[harm]

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            promised = len(good) if harm == "cut off" else len(sent)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    def get_file(fname, origin, file_hash):
        return keras.utils.get_file(
            fname, f"http://127.0.0.1:{server.server_port}/{fname}", cache_dir=tmp_path,
            file_hash=hashlib.sha256(good).hexdigest(),
        )  # fmt: skip

    monkeypatch.delenv("LANGEVIN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("keras.src.datasets.mnist.get_file", get_file)
    with http.server.HTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataUnavailable, match="mnist"):
            load("mnist")
        sent = good  # the host is whole again: what is left must not stand in its way
        assert load("mnist").x_train.shape == (12, 4, 4, 1)
        server.shutdown()


@pytest.mark.parametrize("works", [True, False])
def test_the_timeout_of_other_sockets_comes_back(keras_loader, works):
    seen = []

    def loader():
        seen.append(socket.getdefaulttimeout())
        return pairs(made()) if works else 1 / 0

    keras_loader("mnist", loader)
    before = socket.getdefaulttimeout()
    try:
        load("mnist")
    except DataUnavailable:
        assert not works
    assert seen == [datasets.TIMEOUT] and socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    "name", ["fashion", "MNIST", "mnist.np", "", b"mnist", 3, None, ["digits"]]
)
def test_an_unknown_name_is_refused(name):
    known = "expected mnist, cifar10, cifar100, digits or a path ending in .npz"
    with pytest.raises(ValueError, match=re.escape(f"{known}, received {name!r}")):
        load(name)


def test_a_missing_file_is_no_reason_for_the_fallback(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.npz: expected an \.npz data set") as caught:
        load(tmp_path / "gone.npz")
    assert not isinstance(caught.value, DataUnavailable)


# Files that do not hold what they should.


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_named(written, name):
    with pytest.raises(
        ValueError, match=f"custom.npz: expected the arrays .* a file without {name}$"
    ):
        load(written(**{name: None}))


NAN = np.full((12, 4, 4), np.nan)
IMAGES, LABELS = (12, 4, 4), np.arange(12) % 3


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("x_train", np.zeros((12, 16), np.uint8), r"or \(n, h, w, c\).*received \(12, 16\)"),
        ("x_train", np.zeros((0, 4, 4), np.uint8), r"nothing empty, received \(0, 4, 4\)"),
        ("x_test", np.zeros((5, 4, 0), np.uint8), r"nothing empty, received \(5, 4, 0\)"),
        ("x_train", np.full(IMAGES, 1.5), r"floats in \[0, 1\], received float64 in 1\.5\.\.1\.5"),
        ("x_train", np.full(IMAGES, -0.1), r"floats in \[0, 1\], received float64 in -0\.1"),
        ("x_train", np.full(IMAGES, np.inf), r"received float64 in inf"),
        ("x_train", NAN, r"received float64 in nan"),
        ("x_train", np.where(np.arange(4) == 2, np.nan, NAN * 0 + 0.5), r"float64 in nan"),
        ("x_train", np.full(IMAGES, 256), r"integers in 0\.\.255.*received int64 in 256\.\.256"),
        ("x_train", np.full(IMAGES, -1), r"integers in 0\.\.255.*received int64 in -1\.\.-1"),
        ("x_train", np.zeros(IMAGES, bool), r"received bool$"),
        ("x_train", np.zeros(IMAGES, complex), r"received complex128$"),
        ("x_train", np.full(IMAGES, "a"), r"received <U1$"),
        ("y_train", np.eye(3)[LABELS], r"shape \(n,\) or \(n, 1\).*received \(12, 3\)"),
        ("y_train", np.zeros((0,), int), r"nothing empty, received \(0,\)"),
        ("y_test", np.arange(5.0), r"integer labels from 0, received float64"),
        ("y_train", LABELS - 1, r"integer labels from 0, received int64 in -1\.\.1"),
        ("y_train", LABELS + 2**32, r"integer labels from 0, received int64 in 4294967296"),
        ("y_train", LABELS[:-1], r"a label for each of the 12 images, received 11 labels"),
        ("y_test", np.zeros(6, int), r"a label for each of the 5 images, received 6 labels"),
        ("y_train", LABELS + 1, r"every label from 0 .* 3 different labels in 1\.\.3"),
        ("y_train", LABELS * 2, r"every label from 0 .* 3 different labels in 0\.\.4"),
        ("y_train", LABELS * 0, r"at least 2 classes, received 1 different labels in 0\.\.0"),
        ("y_test", np.full(5, 3), r"labels in 0\.\.2 as in y_train, received 3"),
        ("x_test", np.zeros((5, 4, 5), np.uint8), r"images of \(4, 4, 1\).*received \(4, 5, 1\)"),
    ],
)
def test_a_wrong_array_is_refused_by_file_name_expected_and_received(written, name, array, message):
    with pytest.raises(ValueError, match=rf"custom\.npz: {name}: expected .*{message}"):
        load(written(**{name: array}))


def test_a_pickled_array_is_not_opened(written):
    pickled = np.array([{"a": 1}] * 12, object)
    with pytest.raises(ValueError, match=r"custom\.npz: expected an \.npz of plain arrays.*pickle"):
        load(written(y_train=pickled))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x80\x04K\x01.", b"PK\x03\x04 not quite"])
def test_a_file_that_is_no_npz_is_refused_by_name(folder, content):
    (folder / "mnist.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist\.npz: expected an \.npz of plain arrays"):
        load("mnist")  # and Keras is not asked: a damaged file is to be seen


def test_a_single_array_is_no_data_set(tmp_path):
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"one\.npz: expected an \.npz of plain arrays"):
        load(tmp_path / "one.npz")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_by_name(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "cut.npz"
    np.savez_compressed(path, **made())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.npz: expected"):
        load(path)


def test_what_keras_gives_is_checked_too(keras_loader):
    keras_loader("mnist", lambda: pairs(made() | {"y_test": np.zeros(4, np.uint8)}))
    with pytest.raises(ValueError, match=r"keras\.datasets\.mnist: y_test: expected a label"):
        load("mnist")


# The hash.


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from(ARRAYS), where=st.integers(0, 10**6), by=st.integers(1, 255))
def test_any_byte_changes_the_hash(name, where, by):
    before = dataset(made())
    changed = getattr(before, name).copy()
    view = changed.view(np.uint8).reshape(-1)
    view[where % view.size] ^= np.uint8(by)
    after = dataclasses.replace(before, **{name: changed})
    assert re.fullmatch("[0-9a-f]{16}", after.hash) and after.hash != before.hash


def test_shape_and_place_change_the_hash():
    arrays = made(n=6, test=6)
    whole = dataset(arrays)
    wide = dataclasses.replace(whole, x_train=whole.x_train.reshape(6, 2, 8, 1))
    swapped = dataclasses.replace(whole, x_train=whole.x_test, x_test=whole.x_train)
    assert len({whole.hash, wide.hash, swapped.hash}) == 3


def test_neither_compression_nor_name_changes_the_hash(tmp_path):
    np.savez(tmp_path / "a.npz", **made())
    np.savez_compressed(tmp_path / "b.npz", **dict(reversed(made().items())))
    assert load(tmp_path / "a.npz").hash == load(tmp_path / "b.npz").hash == dataset(made()).hash


# Parts, and sizes.


@settings(max_examples=50, deadline=None)
@given(n=st.integers(3, 30), first=st.integers(1, 40), last=st.integers(1, 29))
def test_parts_partition_the_training_images(n, first, last):
    whole = dataset(made(n=n))
    part = subset(whole, first)
    np.testing.assert_array_equal(part.x_train, whole.x_train[:first])
    np.testing.assert_array_equal(part.y_train, whole.y_train[:first])
    np.testing.assert_array_equal(part.x_test, whole.x_test)  # fewer than 1,000
    np.testing.assert_array_equal(part.y_test, whole.y_test)
    assert (part.hash == whole.hash) == (part is whole) == (first >= n)
    if last < n:
        split = validation_split(whole, last)
        assert len(split.x_test) == len(split.y_test) == last
        for axis in "xy":
            train, test, every = (
                getattr(split, f"{axis}_train"),
                getattr(split, f"{axis}_test"),
                getattr(whole, f"{axis}_train"),
            )
            np.testing.assert_array_equal(np.concatenate([train, test]), every)
        assert split.classes == whole.classes and split.hash != whole.hash


def test_the_label_tells_of_a_cut(digits):
    part = subset(digits, 1_000)
    assert part.label == "scikit-learn's digits, first 1,000 images, tested on 360"
    assert validation_split(part, 200).label == f"{part.label}, last 200 for validation"
    assert subset(digits, 10_000) is digits


@pytest.mark.parametrize("n, tested", [(1, 1_000), (2_000, 1_000), (3_000, 1_200), (5_000, 2_000)])
def test_the_test_set_is_cut_in_proportion_to_a_thousand_at_least(n, tested):
    whole = dataset(made(n=5_000, test=2_000))
    part = subset(whole, n)
    assert len(part.x_train) == n and len(part.x_test) == len(part.y_test) == tested
    np.testing.assert_array_equal(part.x_test, whole.x_test[:tested])


@pytest.mark.parametrize("n", [-1, 0])
def test_a_part_of_nothing_is_refused(digits, n):
    with pytest.raises(ValueError, match=f"digits: n: expected 1 or more.*received {n}"):
        subset(digits, n)


@pytest.mark.parametrize("n", [-1, 0, 1_437, 10_000])
def test_a_split_that_leaves_nothing_is_refused(digits, n):
    message = f"digits: n: expected 1 to 1,436 of its 1,437 training images, received {n:,}"
    with pytest.raises(ValueError, match=re.escape(message)):
        validation_split(digits, n)


@settings(max_examples=50, deadline=None)
@given(
    images=hnp.arrays(
        st.sampled_from([np.uint8, np.float32]),
        hnp.array_shapes(min_dims=4, max_dims=4, max_side=7),
        elements=st.integers(1, 255),  # no zeros: padding is then to be told from pixels
    ),
    more=st.integers(0, 20),
)
def test_fit_keeps_every_pixel_and_centres(images, more):
    height, width = images.shape[1:3]
    size = max(height, width) + more
    factor = size // max(height, width)
    result = fit(images, size)
    assert result.shape == (len(images), size, size, images.shape[3])
    assert result.dtype == images.dtype
    top, left = (size - factor * height) // 2, (size - factor * width) // 2
    inner = result[:, top : top + factor * height, left : left + factor * width]
    for row in range(factor):
        for column in range(factor):
            np.testing.assert_array_equal(inner[:, row::factor, column::factor], images)
    assert np.count_nonzero(result) == np.count_nonzero(inner) == images.size * factor**2


def test_fit_of_the_sizes_in_use(digits):
    assert fit(digits.x_train[:2], 32).all(axis=(1, 2, 3)).sum() == 0
    np.testing.assert_array_equal(fit(digits.x_train[:2], 32)[:, ::4, ::4], digits.x_train[:2])
    mnist = np.ones((2, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(fit(mnist, 32), np.pad(mnist, ((0, 0), (2, 2), (2, 2), (0, 0))))
    cifar = np.ones((2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(fit(cifar, 32), cifar)


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 33, 8, 1), (2, 8, 33, 1)])
def test_fit_refuses_what_does_not_fit(shape):
    with pytest.raises(ValueError, match=re.escape(f"up to 32, received {shape}")):
        fit(np.zeros(shape, np.uint8), 32)


# Golden: scikit-learn 1.9.1, numpy 2.4.6, from load("digits").hash. Recorded runs depend on it.


def test_digits_are_the_same_everywhere(digits):
    assert digits.hash == "fe43ae3d84fa23a6"
