"""Sentences are computed, and the command line does as it says."""

import pandas as pd

from langevin import __main__, report, runs
from langevin.store import Store


def test_in_short_every_verdict_is_told_once_under_its_claim():
    rows = pd.DataFrame(
        [("C1", "one", "holds"), ("C1", "two", "not decided"), ("C2", "one", "does not"),
         ("C2", "two", "does not"), ("C2", "two", "")],
        columns=["claim", "setting", "verdict"],
    )  # fmt: skip
    first, second = report.in_short(rows).splitlines()
    assert first.startswith("- **C1") and first.endswith("**Holds**: one. **Not decided**: two.")
    assert second.startswith("- **C2") and second.endswith(" **Does not**: one; two.")


def test_the_command_line_lists_trains_and_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(__main__.profiles, "store", lambda *_: Store(tmp_path))
    small = {"dataset": "digits", "batch_size": 64, "epochs": 1, "depth": 1, "seed": [0, 1]}
    monkeypatch.setattr(__main__.profiles, "planned", lambda *_: runs.grid([small]))
    only = ["--profile", "smoke", "--only", "depth-mnist"]
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 0 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["train", *only, "--seeds", "1"])
    assert not __main__.main(["list", *only])
    assert "depth-mnist: 1 of 2 runs stored" in capsys.readouterr().out
    assert not __main__.main(["show", *only])
    assert "val_accuracy" in capsys.readouterr().out
    assert "ValueError" in __main__.main(["list", "--only", "no-such"])
