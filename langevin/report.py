"""Sentences and tables, computed from frames: what a notebook or the README states as a result."""

import math
import re

import nbformat
import pandas as pd

from langevin import analysis, plots, profiles, runs, sweeps, training
from langevin.store import root

README_MARK = re.compile(r"(<!-- (\w+): made by `make readme`[^>]*-->\n).*?(<!-- /\2 -->)", re.S)


def counts_text(finals, column, order, by):
    """How many runs of each condition started, as Markdown: a line a setting in `by`."""
    lines = []
    for setting, group in finals.groupby(by):
        said = [
            f"{value} {here.started.sum()} of {len(here)}"
            for value in order
            if len(here := group[group[column] == value])
        ]
        name = ", ".join(plots.INITIALIZERS.get(v, f"{k} {v}") for k, v in zip(by, setting))
        lines.append(f"- **{name}**, started: {'; '.join(said)}.")
    return "\n".join(lines)


def claims_text(rows, finals):
    """Verdict rows as Markdown, a line a claim and setting, computed from the rows alone.

    On other data than the paper's the runs cannot speak on its claims, and the text says so.
    """
    if set(finals.dataset) & {"digits"}:
        label = finals.dataset_label.iloc[0]
        return f"These runs were made on {label}: they say nothing on the paper's claims."
    lines = [
        f"- **{row.claim}, {row.setting}: {row.verdict}.** {row.reason} (n = {row.n:.0f})."
        for row in rows[rows.verdict != ""].itertuples()
    ]
    return "\n".join(lines)


def show_table(table):
    """A comparison as a table to read: counts, medians in points, p."""
    return table.style.hide(axis="index").format(precision=3, na_rep="–")


def columns(frame):
    """The frame's columns that a csv behind a figure needs: the runs' keys, what varies, where."""
    always = {"key", "epoch", "seed", *training.METRICS, "dataset_label"}
    drop = {"kernel_sd", "seconds", "compile_seconds", "data_hash"}
    varied = [c for c in frame if c not in drop and (c in always or frame[c].nunique() > 1)]
    return frame[varied]


def headline(finals):
    """What the deepest networks say, a line an initializer and optimizer, as Markdown."""
    deepest = finals[finals.depth == finals.depth.max()]
    lines = []
    for initializer in plots.INITIALIZERS:
        for optimizer in plots.COLORS:
            here = (deepest.initializer == initializer) & (deepest.optimizer == optimizer)
            if here.any():
                arms = [deepest[here].query(q) for q in (analysis.PLAIN, analysis.LANGEVIN)]
                name = f"{plots.INITIALIZERS[initializer]}, {plots.NAMES[optimizer]}"
                said = [f"{word} {_outcome(arm)}" for word, arm in zip(("plain", "noise"), arms)]
                lines.append(f"- **{name}, depth {finals.depth.max()}**: {'; '.join(said)}.")
    return "\n".join(lines)


def _outcome(arm):
    """How many runs of an arm end trained, how far those got, and how many had learned in vain."""
    started, collapsed = arm[arm.started], (arm.learned & ~arm.started).sum()
    text = f"{len(started)} of {len(arm)} runs end trained"
    if len(started):
        text += f", at {100 * started.val_accuracy.median():.1f} % (median)"
    if collapsed:
        text += f", {collapsed} learned and then collapsed"
    return text


def by_setting(finals, by, claims, **given):
    """The claims of each setting: verdict rows, Holm's correction within a setting.

    Args:
        by: the columns that make a setting.
        claims: functions of `analysis`, such as `claim_1`.
        given: further arguments of these.
    """
    rows = []
    for values, group in finals.groupby(by):
        names = {**plots.NAMES, **plots.INITIALIZERS}
        setting = ", ".join(names.get(v, f"{k} {v}") for k, v in zip(by, values))
        told = pd.concat([claim(group, setting, **given) for claim in claims], ignore_index=True)
        rows.append(analysis.verdicts(told))
    return pd.concat(rows, ignore_index=True)


def recorded_finals(notebook):
    """The finals of a notebook's recorded runs; empty where none is recorded."""
    planned, store = profiles.planned("paper", notebook), profiles.store("paper", notebook)
    records = [record for key in map(runs.key_of, planned) if (record := store.load(key))]
    return analysis.final(runs.frame(records)) if records else pd.DataFrame()


CLAIMS = {
    "C1": "noise does nothing for shallow networks",
    "C2": "the deeper the network, the more it helps",
    "C3": "noise on the deepest layers alone is enough",
}


def in_short(rows):
    """Each claim with the settings in which it holds, does not, or is not decided, as Markdown."""
    lines, told = [], rows[rows.verdict != ""]
    for claim, text in CLAIMS.items():
        mine = told[told.claim == claim]
        said = [
            f"**{verdict.capitalize()}**: {'; '.join(here.setting)}"
            for verdict in (analysis.HOLDS, analysis.DOES_NOT, analysis.NOT_DECIDED)
            if len(here := mine[mine.verdict == verdict])
        ]
        if said:
            line = f"- **{claim}, {text}.** {'. '.join(said)}."
            lines.append(line.replace(" initialization", ""))
    return "\n".join(lines)


def findings():
    """The README's findings: each claim in short, the deepest networks, all verdicts."""
    depth, layers = recorded_finals("depth-mnist"), recorded_finals("layer-langevin")
    rows = [by_setting(depth, ["initializer", "optimizer"], [analysis.claim_1, analysis.claim_2])]
    if len(layers):
        rows.append(by_setting(layers, ["initializer", "depth"], [analysis.claim_3]))
    rows = pd.concat(rows, ignore_index=True)
    table = ["| claim | setting | verdict | measured | n |", "| --- | --- | --- | --- | --- |"]
    for row in rows[rows.verdict != ""].sort_values("claim", kind="stable").itertuples():
        table.append(
            f"| {row.claim} | {row.setting} | **{row.verdict}** | {row.reason} | {row.n:.0f} |"
        )
    planned = len(profiles.planned("paper", "depth-mnist"))
    seen = f"{depth.dataset_label.iloc[0]}, {len(depth)} of {planned} planned runs recorded"
    parts = [f"**What the recorded runs say** ({seen}).", in_short(rows)]
    parts += ["The deepest networks:", headline(depth), "\n".join(table)]
    return "\n\n".join(parts)


def table():
    """The README's table from notebook to command, time and claim."""
    head = "figure | question | command | claims | quick, 2 cores | recorded paper runs, 1 core"
    lines = [f"| {head} |", "| --- | --- | --- | --- | --- | --- |"]
    for notebook in profiles.notebooks("paper"):
        text = nbformat.read(profiles.notebook_path(notebook), 4).cells[0].source
        title = text.splitlines()[0].lstrip("# ")
        claims = ", ".join(sorted(set(re.findall(r"C[1-4]", text)))) or "–"
        quick = profiles.planned("quick", notebook)
        about = _about(quick, 2, 60, "minutes") if quick else "seconds"
        lines.append(
            f"| `{notebook}` | {title} | `make {notebook}` | {claims} | {about} "
            f"| {_recorded(notebook)} |"
        )
    return "\n".join(lines)


def _recorded(notebook):
    """How many of a notebook's runs are recorded, the hours they took, and what is missing."""
    planned, store = profiles.planned("paper", notebook), profiles.store("paper", notebook)
    if not planned:
        return "–"
    found = {run: record for run in planned if (record := store.load(runs.key_of(run)))}
    hours = sum(sum(record["history"]["seconds"]) for record in found.values()) / 3600
    text = f"{len(found)} of {len(planned)} runs, {hours:.1f} hours"
    if missing := [run for run in planned if run not in found]:
        text += f"; missing: {_about(missing, 1, 3600, 'hours')}"
    return text


def _about(planned, cores, unit, name):
    """The time that runs take, in words: an estimate, for which their data must be at hand."""
    time = sweeps.estimate(planned, cores) / unit
    return f"{len(planned)} runs" if math.isnan(time) else f"about {time:.1f} {name}"


def soak():
    """What the last `make soak` counted, as a table."""
    counts = pd.read_csv(root() / "figures" / "paper" / "soak.csv")
    rows = [f"| {what} | {count:,} |" for what, count in counts.itertuples(index=False)]
    return "\n".join(["| what | count |", "| --- | ---: |", *rows])


def write_readme():
    """Put findings, table and counts, computed from what is recorded, into README.md."""
    made = {"findings": findings, "table": table, "soak": soak}
    path = root() / "README.md"
    text = path.read_text()
    path.write_text(README_MARK.sub(lambda m: f"{m[1]}{made[m[2]]()}\n{m[3]}", text))
