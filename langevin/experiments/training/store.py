"""The store: one small JSON file a finished run, written whole, known by a hash of its content.

Many processes may share a folder: a lock a run keeps two of them from training it twice.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import uuid
import warnings
from pathlib import Path


def root():
    """The folder of this project: above the module if the notebooks are there, else the current."""
    above = Path(__file__).resolve().parents[3]
    return above if (above / "notebooks").is_dir() else Path.cwd()


def digest(text):
    """A short name for a text: 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def whole(path):
    """A path to write to, which becomes `path` at the end: a file is there whole, or not at all.

    Raises:
        OSError: it cannot be written, for a full disk say; named, with what to do.
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex}.{path.name}")  # its ending tells the format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        text = f"{error.strerror or error}. What is finished is kept: mend this, and the same"
        raise OSError(error.errno, f"{text} command goes on. Not written", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(path, wait=True):
    """Hold the lock of this name; the kernel takes it from a holder that ends, however it ends.

    Yields: True, or False where another holds it and we do not `wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            if not _is_at(file, path):  # its last holder removed it: what we hold locks nothing
                continue
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file, path):
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def set_aside(path, problem, meaning, content=None):
    """Keep a file that is not what it should be under another name, and say so; with the `content`
    that was found wanting, unless another process did so, or mended it, meanwhile."""
    names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in itertools.count())
    with alone(path.with_name(f"{path.name}.lock")):
        if content is not None and not (path.exists() and path.read_bytes() == content):
            return
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
    warnings.warn(f"{path} {problem}: kept as {aside.name}, {meaning}", stacklevel=3)


class Store:
    """A folder of finished runs, one JSON file each, and of checkpoints of unfinished ones.

    Args:
        folder: where new runs are written.
        also: folders that are only read, each with the folders in it.
    """

    def __init__(self, folder, also=()):
        self.folder = Path(folder).expanduser().absolute()  # other processes may be elsewhere
        self.also = tuple(Path(other).expanduser().absolute() for other in also)

    def find(self, key):
        """The run's file, or None."""
        for folder in (self.folder, *self.also):
            if (found := folder / f"{key}.json").exists():
                return found
        return next((f for folder in self.also for f in folder.glob(f"*/{key}.json")), None)

    def load(self, key):
        """The run's record, or None where there is none.

        A file that is truncated, altered or of another run is named in a warning and set aside,
        and counts as none: the run is trained again.
        """
        path = self.find(key)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # another process set it aside
            return self.load(key)
        try:
            record = json.loads(content)
            _check(record, key)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"is no whole record ({error})"
            set_aside(path, problem, "the run counts as not trained", content)
            return self.load(key)  # another folder may have it
        record.pop("hash", None)
        return record

    def save(self, record):
        """Write a record whole, with the hash of its content."""
        path = self.folder / f"{record['key']}.json"
        with whole(path) as part:
            part.write_text(
                _compact({"key": record["key"], "hash": _hash(record), **record}), encoding="utf-8"
            )

    def checkpoint(self, key):
        """Where the run's checkpoint is kept while it trains."""
        return self.folder / "checkpoints" / f"{key}.npz"

    def lock(self, key, wait=True):
        """Hold a run alone among all who share the store; see `alone`."""
        shared = self.also[0] if self.also else self.folder
        return alone(shared / "locks" / key, wait)


def _hash(record):
    return digest(json.dumps(record, sort_keys=True))


def _check(record, key):
    """ValueError, or whatever a misshapen record raises, unless this is the run's whole record."""
    if record["key"] != key:
        raise ValueError(f"it is the record of run {record['key']}")
    if record.get("hash") != _hash({k: v for k, v in record.items() if k != "hash"}):
        raise ValueError("its content does not fit its hash")


def _compact(record):
    """JSON with one line a column of the history, to be read and compared."""
    *head, (last, history) = record.items()
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head]
    columns = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in history.items()]
    lines.append(f" {json.dumps(last)}: {{\n" + ",\n".join(columns) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"
