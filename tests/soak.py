"""`make soak`: sweeps that are killed and damaged at random, for as long as it is told.

A sweep of small runs is started in a process of its own, which says where it is: training, writing,
or in papermill.  It is killed there, at times a stored run is damaged too, and it is started again,
until all is trained.  Then every run must be there, equal to the bit to that of a sweep which
nothing disturbed; and what was finished when a process began was not trained by it.
"""

import argparse
import collections
import contextlib
import csv
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = {name: getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGINT")}
LIMIT = 900  # seconds after which a sweep hangs
PHASES = ("training", "writing", "papermill")
BLOCK = {"dataset": "digits", "batch_size": 64, "depth": 2, "epochs": 3, "sigma": [0.0, 1e-3]}


# in the process that is killed


def child(folder, seeds):
    """A sweep in a folder, which says where it is and notes what it begins."""
    from langevin.experiments import grid, sweep

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    tell()
    sweep(grid([{**BLOCK, "seeds": seeds}]), folder)


def tell():
    """Have this process, and those that will train for it, say where they are."""
    from langevin.experiments.training import executors, store
    from langevin.experiments.training import loop as training

    fit, whole = training.fit, store.whole
    training.CHECKPOINT_SECONDS = 0.0
    executors._one_thread = start_worker

    def noted(group, *rest, checkpoint, **named):
        with (checkpoint.parents[1] / "begun.log").open("a") as file:
            file.write(f"{checkpoint.stem}\n")
        print("\n@training", flush=True)
        return fit(group, *rest, checkpoint=checkpoint, **named)

    @contextlib.contextmanager
    def slowly(path):
        with whole(path) as part:
            print("\n@writing", flush=True)
            time.sleep(0.1)
            yield part
            time.sleep(0.1)  # written, and not yet renamed

    training.fit, training.whole, store.whole = noted, slowly, slowly


def start_worker():
    from langevin.experiments.training import executors

    executors._one_thread()
    tell()


NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "execution_count": None, "id": name, "outputs": [], "source": text,
         "metadata": {"tags": tags}}
        for name, tags, text in [
            ("a", ["parameters"], "seeds = 1\nfolder = ''"),
            ("b", [], "import soak\nsoak.child(folder, seeds)"),
            ("c", [], "import pandas as pd, matplotlib.pyplot as plt\n"
                      "from langevin.experiments.results import style\n"
                      "figure, axes = plt.subplots()\n"
                      "axes.plot([seeds])\n"
                      "style.save(figure, 'smoke', 'one', pd.DataFrame({'seeds': [seeds]}))"),
        ]
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


# outside


class Campaign:
    """One folder, and a sweep in it that is started as often as it takes.

    Args:
        seeds: two runs each.
        workers: processes that train; 1 is the sweep's own.
    """

    def __init__(self, folder, seeds=3, workers=1):
        self.folder, self.seeds, self.damaged = Path(folder), seeds, set()
        self.workers = workers
        self.project = self.folder / "project"
        (self.project / "notebooks").mkdir(parents=True)
        shutil.copytree(ROOT / "langevin", self.project / "langevin")
        (self.project / "notebooks" / "one.ipynb").write_text(json.dumps(NOTEBOOK))
        given = json.dumps({"one": {"seeds": seeds, "folder": str(self.folder)}})
        (self.project / "notebooks" / "smoke.yaml").write_text(given)

    def start(self, papermill=False):
        """The sweep in a process of its own, by way of a notebook or not."""
        code = f"import soak; soak.child({str(self.folder)!r}, {self.seeds})"
        command = ["-m", "langevin", "figures", "--profile", "smoke"] if papermill else ["-c", code]
        path = os.pathsep.join(map(str, (self.project, ROOT / "tests")))
        self.before, self.since = self.finished() - self.damaged, len(self.begun())
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.project, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, "LANGEVIN_WORKERS": str(self.workers)},
        )  # fmt: skip
        self.limit = threading.Timer(LIMIT, process.kill)
        self.limit.daemon = True  # it must not keep alive who was interrupted
        self.limit.start()
        return process

    def killed(self, phase, name, dice):
        """Start, and send a signal at a random moment of a phase; True if it came in time."""
        process = self.start(phase == "papermill")
        word = "@training" if phase == "papermill" else f"@{phase}"
        left = dice.choice((1, 1, 2, 6) if phase == "writing" else (1, 1, 2))
        for line in process.stdout:
            left -= word in line
            if left == 0:
                break
        time.sleep(dice.uniform(0, 0.15 if phase == "writing" else 0.3))
        alive = process.poll() is None and left == 0
        with contextlib.suppress(ProcessLookupError):
            # Ctrl-C reaches all processes of a terminal, a kill the one that is meant.
            (os.killpg if name == "SIGINT" else os.kill)(process.pid, SIGNALS[name])
        self.end(process)
        return alive

    def completed(self):
        """Start, and wait for the end; True if it is a good one."""
        return self.end(self.start()) == 0

    def end(self, process):
        self.said, _ = process.communicate()
        self.limit.cancel()
        begun = set(self.begun()[self.since :])
        assert not begun & self.before, f"finished, and trained again: {begun & self.before}"
        assert self.before <= self.finished(), f"lost: {self.before - self.finished()}"
        self.damaged -= begun  # from now on as good as any
        return process.returncode

    def begun(self):
        """The keys of all trainings, in the order in which they began."""
        log = self.folder / "begun.log"
        return log.read_text().split() if log.exists() else []

    def finished(self):
        return {path.stem for path in self.folder.glob("*.json")}

    def damage(self, dice):
        """Cut, alter or exchange a finished run; False where there is none."""
        if not (paths := sorted(self.folder.glob("*.json"))):
            return False
        path, other = dice.choice(paths), dice.choice(paths)
        content = path.read_bytes()
        cut, digit = dice.randrange(len(content) - 3), content.rindex(b"0")
        altered = content[:digit] + b"1" + content[digit + 1 :]
        exchanged = other.read_bytes() if other != path else b""
        path.write_bytes(dice.choice((content[:cut], altered, exchanged)))
        self.damaged.add(path.stem)
        return True

    def results(self):
        """What is stored of every run, without its times and their hash, by key."""
        found = {}
        for path in self.folder.glob("*.json"):
            record = json.loads(path.read_text())
            del record["hash"]
            for name in ("seconds", "compile_seconds"):
                del record["history"][name]
            found[path.stem] = json.dumps(record)
        return found


def soak(minutes, counts):
    """Kills and faults for some minutes, in two folders at a time."""
    until = time.monotonic() + 60 * minutes
    sides = [collections.Counter() for _ in range(2)]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(len(sides)) as pool:
        calm = Campaign(Path(name) / "calm")
        assert calm.completed(), calm.said
        expected = calm.results()
        try:
            jobs = [
                pool.submit(campaigns, Path(name) / str(number), expected, until, own)
                for number, own in enumerate(sides)
            ]
            for job in jobs:
                job.result()
        finally:
            for own in sides:
                counts.update(own)


def campaigns(folder, expected, until, counts):
    """One campaign after the other; every phase and signal in turn."""
    dice = random.Random()
    turns = [(phase, name) for name in SIGNALS for phase in PHASES]
    dice.shuffle(turns)
    turns = itertools.cycle(turns)
    for number in itertools.count():
        if time.monotonic() > until:
            return
        campaign = Campaign(folder / str(number), workers=1 + number % 2)
        for phase, name in itertools.islice(turns, 2 * len(PHASES)):
            counts[f"{name} while {phase}"] += campaign.killed(phase, name, dice)
            if dice.random() < 0.3:
                counts["faults: stored runs damaged"] += campaign.damage(dice)
            if time.monotonic() > until:
                break
        assert campaign.completed(), campaign.said
        results = campaign.results()
        counts["runs compared"] += len(expected)
        counts["runs lost"] += len(expected.keys() - results.keys())
        counts["runs wrong"] += sum(results[k] != expected.get(k) for k in results)


def inputs_tried(minutes):
    """Arbitrary input, other than in `make test`: how much of it there was; fails as tests do."""
    command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics",
               "tests/experiments/training/test_input.py", "tests/test_input_optimizers.py",
               "-k", "taken or error or grid"]  # fmt: skip
    tried, until = 0, time.monotonic() + 60 * minutes
    while tried == 0 or time.monotonic() < until:
        environment = {**os.environ, "LANGEVIN_HYPOTHESIS": "random"}
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout
        tried += sum(map(int, re.findall(r"(\d+) passing", said.stdout)))
    return tried


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    counts = collections.Counter()
    counts.update({f"{name} while {phase}": 0 for phase in PHASES for name in SIGNALS})
    counts["faults: stored runs damaged"] = 0
    begun = time.monotonic()
    try:
        soak(0.8 * minutes, counts)
        counts["inputs tried"] = inputs_tried(0.1 * minutes)
    finally:  # what was counted before a fault is told too
        counts["minutes"] = round((time.monotonic() - begun) / 60)
        told(counts)
    kills = {phase: sum(counts[f"{name} while {phase}"] for name in SIGNALS) for phase in PHASES}
    if minutes >= 10 and (sum(kills.values()) < 30 or min(kills.values()) < 5):
        print("Too few kills to count: the machine is too busy, or MINUTES too few.")
        return 1
    return int(counts["runs lost"] + counts["runs wrong"] > 0)


def told(counts):
    """The counts as a table, printed and kept for the README."""
    for name in ("runs compared", "runs lost", "runs wrong"):
        counts[name] = counts.pop(name, 0)
    rows = [["all kills", sum(n for name, n in counts.items() if " while " in name)]]
    rows = [*rows, *map(list, counts.items())]
    for name, count in rows:
        print(f"{name:<30}{count:>10,}")
    with (ROOT / "figures" / "paper" / "soak.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["what", "count"], *rows])


if __name__ == "__main__":
    sys.exit(main())
