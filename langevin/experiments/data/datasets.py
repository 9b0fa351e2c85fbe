"""The data sets: MNIST, CIFAR-10, CIFAR-100, scikit-learn's digits, or any .npz file.

Pixels stay uint8 from the file to the device, where training divides them by 255. A set is known
by a hash of its arrays, never by its file's name: a copy that differs says so in its label.
"""

import dataclasses
import functools
import hashlib
import os
import socket
from pathlib import Path

import numpy as np

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
LABELS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
# Labels by hash. MNIST's arrays were compared with the md5 sums of the original idx files.
KNOWN = {"ceda791d3e53beaf": "MNIST", "330efa6df58bcd7f": "CIFAR-10 (JPEG copy)"}
# Training images, test images, shape, classes, as published: what an estimate of time needs.
SIZES = {
    "mnist": (60_000, 10_000, (28, 28, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
    "cifar100": (50_000, 10_000, (32, 32, 3), 100),
}
VALIDATION = 10_000  # training images that stand for the test set
TIMEOUT = 10.0  # seconds that a download may stay silent
# What Keras's cache holds of each.
CACHED = {"mnist": "mnist.npz", "cifar10": "cifar-10-*", "cifar100": "cifar-100-*"}


class DataUnavailable(OSError):
    """A data set that is neither in a local folder nor to be downloaded."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, split into a training and a test part.

    Attributes:
        x_train, x_test: images, uint8, shape (n, height, width, channels).
        y_train, y_test: labels 0 .. classes - 1, int32, shape (n,).
        classes: number of classes.
        name: `"mnist"`, `"cifar10"`, `"cifar100"`, `"digits"` or the stem of a file.
        label: what a figure calls the data, such as `"CIFAR-10 (JPEG copy)"`.
    """

    x_train: np.ndarray = dataclasses.field(repr=False)
    y_train: np.ndarray = dataclasses.field(repr=False)
    x_test: np.ndarray = dataclasses.field(repr=False)
    y_test: np.ndarray = dataclasses.field(repr=False)
    classes: int
    name: str
    label: str

    @functools.cached_property
    def hash(self):
        """First 16 hex digits of a sha256 over the four arrays: bytes, shapes and dtypes."""
        digest = hashlib.sha256()
        for array in (getattr(self, name) for name in ARRAYS):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]


def load(name):
    """Load a data set.

    A named set is taken from `<name>.npz` in the folder that the environment variable
    `LANGEVIN_DATA` names, else from `keras.datasets`: its cache or, unless `stay_offline` was
    called, a download. A file holds `x_train`, `y_train`, `x_test` and `y_test`: images (n, h, w)
    or (n, h, w, c), as integers in 0..255 or floats in [0, 1]; integer labels (n,) or (n, 1).
    `"digits"` comes with scikit-learn: 1,437 and 360 images of 8x8 pixels, their 17 grey levels
    spread over 0..255.

    Args:
        name: `"mnist"`, `"cifar10"`, `"cifar100"`, `"digits"`, or the path of an .npz file.

    Returns:
        A `Dataset`, its arrays read-only.

    Raises:
        DataUnavailable: a named set is in neither place.
        FileNotFoundError: the path leads to no file.
        ValueError: the name is unknown or no text, or a file does not hold what it should.

    Example:
        >>> data = load("digits")
        >>> data.x_train.shape, data.classes, data.label
        ((1437, 8, 8, 1), 10, "scikit-learn's digits")
    """
    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    named = (*LABELS, "digits")
    if not isinstance(name, str) or not (name in named or name.endswith(".npz")):
        expected = f"{', '.join(named)} or a path ending in .npz"
        raise ValueError(f"dataset: expected {expected}, received {name!r}")
    if name.endswith(".npz"):
        return _from_file(Path(resolved(name)))
    if name == "digits":
        return _from_sklearn()
    folder = data_folder()
    if folder and (path := folder / f"{name}.npz").exists():
        return _from_file(path)
    return _from_keras(name)


def resolved(name):
    """A data set's name as it is, or a file's path in full, `~` expanded."""
    return str(Path(name).expanduser().resolve()) if name.endswith(".npz") else name


def data_folder():
    """The folder that LANGEVIN_DATA names, or None.  It is made absolute in the environment at
    import and at each call, so that processes started in other folders find the same one."""
    for variable in ("LANGEVIN_DATA", "KERAS_HOME"):
        if folder := os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.path.expanduser(folder))
    folder = os.environ.get("LANGEVIN_DATA")
    return Path(folder) if folder else None


data_folder()


def version(name):
    """What tells that the file of a data set was written again: its path, size and times; None
    where it comes from no file."""
    folder = data_folder()
    if not name.endswith(".npz") and not folder:
        return None
    path = Path(name) if name.endswith(".npz") else folder / f"{name}.npz"
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def stay_offline():
    """Download nothing, here and in processes started from now on: to tell of stored runs and to
    draw them takes no images."""
    os.environ["LANGEVIN_OFFLINE"] = "1"


def tested_of(images, tested, n):
    """How many test images a `subset` of `n` training images keeps, of so many of both."""
    return min(tested, max(1_000, tested * n // images))


def subset(dataset, n):
    """Keep at most the first `n` training images, and of the test set the same share, but of it
    never less than 1,000 images, if it has them.

    A set with no more than `n` training images comes back as it is, so that settings made for
    CIFAR-10 also run on digits. The label tells of the cut.

    Raises:
        ValueError: `n` is below 1.

    Example:
        >>> subset(load("digits"), 1000).label
        "scikit-learn's digits, first 1,000 images, tested on 360"
    """
    _expect(n >= 1, f"{dataset.name}: n", "1 or more training images", n)
    images, tested = len(dataset.x_train), len(dataset.x_test)
    if n >= images:
        return dataset
    tested = tested_of(images, tested, n)
    return dataclasses.replace(
        dataset,
        x_train=dataset.x_train[:n],
        y_train=dataset.y_train[:n],
        x_test=dataset.x_test[:tested],
        y_test=dataset.y_test[:tested],
        label=f"{dataset.label}, first {n:,} images, tested on {tested:,}",
    )


def validation_split(dataset, n=VALIDATION):
    """Put the last `n` training images in the place of the test set, for choosing settings.

    The test set is not in the result: it chooses nothing. The label tells of the split.

    Raises:
        ValueError: `n` is below 1, or leaves no image to train on.

    Example:
        >>> split = validation_split(load("digits"), 400)
        >>> len(split.x_train), len(split.x_test)
        (1037, 400)
    """
    images = len(dataset.x_train)
    expected = f"1 to {images - 1:,} of its {images:,} training images"
    _expect(1 <= n < images, f"{dataset.name}: n", expected, f"{n:,}")
    return dataclasses.replace(
        dataset,
        x_train=dataset.x_train[:-n],
        y_train=dataset.y_train[:-n],
        x_test=dataset.x_train[-n:],
        y_test=dataset.y_train[-n:],
        label=f"{dataset.label}, last {n:,} for validation",
    )


def fit(images, size):
    """Bring images to `size` x `size` pixels: enlarge by a whole factor, then pad with zeros.

    The factor is the largest that fits; every pixel becomes a square of equal pixels. The image
    is centred, an odd row or column of zeros going below or to the right.

    Args:
        images: shape (n, height, width, channels), any dtype.
        size: height and width of the result, in pixels.

    Returns:
        An array of shape (n, size, size, channels), dtype unchanged.

    Raises:
        ValueError: `images` has another number of axes, or is larger than `size`.

    Example:
        >>> fit(load("digits").x_train, 32).shape   # 8x8, enlarged 4 times
        (1437, 32, 32, 1)
        >>> fit(np.zeros((5, 28, 28, 1), "uint8"), 32).shape   # padded by 2 on each side
        (5, 32, 32, 1)
    """
    fits = images.ndim == 4 and max(images.shape[1:3]) <= size
    expected = f"shape (n, height, width, channels), height and width up to {size}"
    _expect(fits, "images", expected, images.shape)
    factor = size // max(images.shape[1:3])
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    rows, columns = (((size - side) // 2, (size - side + 1) // 2) for side in images.shape[1:3])
    return np.pad(images, ((0, 0), rows, columns, (0, 0)))


def at_least(dataset, side):
    """The data set as it is, or brought to `side` pixels by `fit` where its images are smaller."""
    if min(pixels := dataset.x_train.shape[1:3]) >= side:
        return dataset
    x_train, x_test = (fit(x, max(side, *pixels)) for x in (dataset.x_train, dataset.x_test))
    return dataclasses.replace(dataset, x_train=x_train, x_test=x_test)


def _from_sklearn():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        np.rint(digits.images * (255 / 16)).astype(np.uint8),
        digits.target,
        test_size=0.2,
        stratify=digits.target,
        random_state=0,
    )
    arrays = (x_train, y_train, x_test, y_test)
    return _checked(arrays, "scikit-learn", "digits", "scikit-learn's digits")


def _from_file(path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected an .npz data set, found no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS if name in file.files}
    except PermissionError:
        raise
    except Exception as error:  # zipfile, zlib and numpy have each their own for a damaged file
        raise ValueError(
            f"{path}: expected an .npz of plain arrays, received a file that cannot be read as one "
            f"({error})"
        ) from error
    missing = ", ".join(name for name in ARRAYS if name not in arrays)
    _expect(not missing, path, f"the arrays {', '.join(ARRAYS)}", f"a file without {missing}")
    dataset = _checked([arrays[name] for name in ARRAYS], path, path.stem, path.stem)
    label = KNOWN.get(dataset.hash)
    if label is None and path.stem in LABELS:
        label = f"{LABELS[path.stem]} (unverified copy {dataset.hash[:8]})"
    return dataclasses.replace(dataset, label=label or path.stem)


def _from_keras(name):
    import keras

    # Keras's download has no timeout of its own. This one bounds a silence, not a slow download.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    try:
        if "LANGEVIN_OFFLINE" in os.environ and not any(cache.glob(CACHED[name])):
            raise OSError("nothing in its cache, and LANGEVIN_OFFLINE is set")
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception
        raise DataUnavailable(
            f"{name}: found no {name}.npz in the folder LANGEVIN_DATA "
            f"({os.environ.get('LANGEVIN_DATA') or 'not set'}), and keras.datasets failed "
            f"({error}). Either put {name}.npz, with the arrays {', '.join(ARRAYS)}, in a folder "
            "and set LANGEVIN_DATA to that folder, or connect to the network. The quick profile "
            "falls back to scikit-learn's digits."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    if x_train.ndim == 4 and x_train.shape[-1] != 3:  # keras.json says channels first
        x_train, x_test = (np.moveaxis(x, 1, -1) for x in (x_train, x_test))
    arrays = (x_train, y_train, x_test, y_test)
    return _checked(arrays, f"keras.datasets.{name}", name, LABELS[name])


def _checked(arrays, source, name, label):
    """A `Dataset` of the four arrays in our dtypes and shapes; anything doubtful is refused."""
    x_train, y_train, x_test, y_test = (
        (_images if key.startswith("x") else _labels)(f"{source}: {key}", array)
        for key, array in zip(ARRAYS, arrays, strict=True)
    )
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        expected = f"a label for each of the {len(x)} images"
        _expect(len(x) == len(y), f"{source}: y_{part}", expected, f"{len(y)} labels")
    shape = x_train.shape[1:]
    same = x_test.shape[1:] == shape
    _expect(same, f"{source}: x_test", f"images of {shape} as in x_train", x_test.shape[1:])

    found = np.unique(y_train)
    classes = len(found)
    _expect(
        classes >= 2 and found[-1] == classes - 1,
        f"{source}: y_train",
        "every label from 0 to the number of classes less 1, and at least 2 classes",
        f"{classes} different labels in {found[0]}..{found[-1]}",
    )
    top = y_test.max()
    _expect(top < classes, f"{source}: y_test", f"labels in 0..{classes - 1} as in y_train", top)
    for array in (x_train, y_train, x_test, y_test):
        array.flags.writeable = False  # the hash stays true
    return Dataset(x_train, y_train, x_test, y_test, classes, name, label)


def _images(where, array):
    expected = "images of shape (n, h, w) or (n, h, w, c), nothing empty"
    _expect(array.ndim in (3, 4) and array.size, where, expected, array.shape)
    expected = "integers in 0..255 or floats in [0, 1]"
    _expect(array.dtype.kind in "uif", where, expected, array.dtype)
    low, high, real = array.min(), array.max(), array.dtype.kind == "f"
    inside = low >= 0 and high <= (1 if real else 255)  # false for NaN
    _expect(inside, where, expected, f"{array.dtype} in {low}..{high}")
    array = np.rint(array * np.float32(255)) if real else array
    return np.array(array if array.ndim == 4 else array[..., np.newaxis], np.uint8, order="C")


def _labels(where, array):
    column = array.ndim == 2 and array.shape[1] == 1
    expected = "labels of shape (n,) or (n, 1), nothing empty"
    _expect((array.ndim == 1 or column) and array.size, where, expected, array.shape)
    _expect(array.dtype.kind in "ui", where, "integer labels from 0", array.dtype)
    low, high = array.min(), array.max()
    inside = low >= 0 and high < 2**31
    _expect(inside, where, "integer labels from 0", f"{array.dtype} in {low}..{high}")
    return array.ravel().astype(np.int32)


def _expect(condition, where, expected, received):
    if not condition:
        raise ValueError(f"{where}: expected {expected}, received {received}")
