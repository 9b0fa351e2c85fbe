"""The store: one small JSON file a finished run, written whole and renamed into place."""

import json
import os
from pathlib import Path


def root():
    """The folder of this project: above the module if the notebooks are there, else the current."""
    above = Path(__file__).resolve().parent.parent
    return above if (above / "notebooks").is_dir() else Path.cwd()


class Store:
    """A folder of finished runs, one JSON file each, and of checkpoints of unfinished ones.

    Args:
        folder: where new runs are written.
        also: folders that are only read; each is searched with its subfolders.
    """

    def __init__(self, folder, also=()):
        self.folder = Path(folder)
        self.also = tuple(Path(other) for other in also)

    def find(self, key):
        """The run's file, or None."""
        for folder in (self.folder, *self.also):
            if (found := folder / f"{key}.json").exists():
                return found
        return next((f for folder in self.also for f in folder.rglob(f"{key}.json")), None)

    def load(self, key):
        """The run's record.

        Raises:
            ValueError: a file that is not one, named, with what to do.
        """
        path = self.find(key)
        try:
            record = json.loads(path.read_text())
            if record["key"] != key:
                raise KeyError(f"key {record['key']}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not the record of run {key} ({error}). Delete it to train it again."
            ) from error
        return record

    def save(self, record):
        """Write a record whole, then rename it into place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{record['key']}.json"
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(_compact(record))
        part.replace(path)

    def checkpoint(self, key):
        """Where the run's checkpoint is kept while it trains."""
        return self.folder / "checkpoints" / f"{key}.npz"


def _compact(record):
    """JSON with one line a column of the history, to be read and compared."""
    *head, (last, history) = record.items()
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head]
    columns = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in history.items()]
    lines.append(f" {json.dumps(last)}: {{\n" + ",\n".join(columns) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"
