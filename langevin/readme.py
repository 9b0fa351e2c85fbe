"""`make readme`: what the README says of the recorded runs, computed from them."""

import re

import nbformat

from langevin import profiles, report, runs, sweeps, tables
from langevin.store import root

MARK = re.compile(r"(<!-- (\w+): made by `make readme`[^>]*-->\n).*?(<!-- /\2 -->)", re.S)


def findings():
    """Each claim in short, the deepest dense networks, all verdicts."""
    rows, depth = tables.claims("paper"), tables.finals_of("paper", "depth-mnist")
    parts = ["**What the recorded runs say.**", report.in_short(rows)]
    parts += ["The deepest dense networks on MNIST:", report.headline(depth)]
    parts.append(tables.markdown(tables.verdicts(rows)))
    return "\n\n".join(parts)


def table():
    """The table from notebook to command, time and claim."""
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
    return f"about {sweeps.estimate(planned, cores) / unit:.1f} {name}"


def write():
    """Put the findings and the table, computed from the recorded runs, into README.md."""
    made = {"findings": findings, "table": table}
    path = root() / "README.md"
    text = path.read_text()
    path.write_text(MARK.sub(lambda m: f"{m[1]}{made[m[2]]()}\n{m[3]}", text))
