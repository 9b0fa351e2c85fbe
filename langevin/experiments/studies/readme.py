"""`make readme`: what README and documents say of the recorded runs, computed from them."""

import functools
import re

import nbformat
import pandas as pd
import yaml

from langevin.experiments.bench import costs
from langevin.experiments.helmholtz import learning, likelihood
from langevin.experiments.results import analysis, markdown, report
from langevin.experiments.studies import landscape, profiles, rates, tables
from langevin.experiments.studies import remedies as study
from langevin.experiments.studies.answer import text as answer
from langevin.experiments.training import runs, sweeps
from langevin.experiments.training.store import root

CLAIMS = {
    "C1": "shallow networks gain nothing",
    "C2": "the deeper the network, the larger the gain",
    "C3": "noise on the deepest layers alone is enough",
    "C4": "deep residual networks gain",
}
MARK = re.compile(r"(<!-- (\w+): made by `make \w+`[^>]*-->\n).*?(<!-- /\2 -->)", re.S)


def claims():
    """A row a claim: how many settings it holds in, does not hold in, and is not decided in."""
    rows = []
    judged = _claims()
    kinds = [analysis.HOLDS, analysis.DOES_NOT]
    for claim, group in judged.groupby("claim"):
        counts = [(group.verdict == kind).sum() for kind in kinds]
        rows.append([f"{claim}: {CLAIMS[claim]}", *counts, len(group) - sum(counts)])
    return markdown.table(["claim", "holds in", "does not hold in", "other settings"], rows)


def notebooks():
    """A line a notebook: its question, and how many of its runs are recorded."""
    rows = []
    for notebook in profiles.notebooks("paper"):
        planned, found = _planned_and_found(notebook)
        recorded = f"{len(found)}/{len(planned)}" if planned else ""
        rows.append(f"- [{_question(notebook)}](notebooks/{notebook}.ipynb) {recorded}".rstrip())
    return "\n".join(rows)


def _question(notebook):
    text = nbformat.read(profiles.notebook_path(notebook), 4).cells[0].source
    return text.splitlines()[0].lstrip("# ")


def verdicts():
    """The paper's claims, setting by setting, in short."""
    return report.in_short(_claims())


def findings():
    """Every verdict with its numbers, the deepest networks, and which noise starts them."""
    deepest = report.headline(tables.finals_of("paper", "depth-mnist"))
    _, arms = report.why(tables.finals_of("paper", "mechanism"))
    return "\n\n".join([markdown.of_frame(tables.verdicts(_claims())), deepest, arms])


@functools.lru_cache
def _claims():
    return tables.claims("paper")


def table():
    """The table from notebook to command, time and claim."""
    head = ["figure", "question", "command", "claims", "quick, 2 cores"]
    rows, judged = [], _claims()
    for notebook in profiles.notebooks("paper"):
        title = _question(notebook)
        claims = ", ".join(sorted(set(judged.claim[judged.figure == notebook]))) or "–"
        planned, found = _planned_and_found(notebook)
        quick, _ = _planned_and_found(notebook, "quick")
        about = _about(quick, found, 2, 60, "minutes") if quick else "–"
        recorded = _recorded(planned, found)
        rows.append([f"`{notebook}`", title, f"`make {notebook}`", claims, about, recorded])
    return markdown.table([*head, "recorded paper runs, 1 core"], rows)


def partly():
    """Of notebooks with some but not all of their runs recorded, which these are."""
    lines = []
    for notebook in profiles.notebooks("paper"):
        planned, found = _planned_and_found(notebook)
        if 0 < len(found) < len(planned):
            data = " and ".join(sorted({record["dataset_label"] for record in found.values()}))
            lines += [f"- `{notebook}`, {data}: {those}" for those in runs.which(found, planned)]
    some = "Recorded in part, these runs and no others:\n\n" + "\n".join(lines)
    return some if lines else "Each figure has all of its runs recorded, or none."


@functools.lru_cache
def _planned_and_found(notebook, profile="paper"):
    """A notebook's runs, and the records of those that are there."""
    planned = rates.all_planned(profile, notebook)
    return planned, runs.stored(planned, profiles.store(profile, notebook))


def _recorded(planned, found):
    """How many runs are recorded, the hours they took, and what is missing."""
    if not planned:
        return "–"
    hours = sum(sum(record["history"]["seconds"]) for record in found.values()) / 3600
    text = f"{len(found)} of {len(planned)} runs"
    text += f", {hours:.1f} hours" if found else ""
    if missing := [run for run in planned if run not in found]:
        text += f"; missing: {_about(missing, found, 1, 3600, 'hours')}"
    return text


def _about(planned, found, cores, unit, name):
    """How long these runs and learnings take, of learnings by the records `found` of like ones."""
    trained = [one for one in planned if isinstance(one, runs.Run)]
    learned = [one for one in planned if not isinstance(one, runs.Run)]
    seconds = learning.estimate(learned, found, cores) if learned else 0.0
    if seconds is None:
        return "time not known"
    return f"about {(sweeps.estimate(trained, cores) + seconds) / unit:.1f} {name}"


def beside():
    """What other remedies for depth do in dense networks, what noise adds to them, what it changes
    inside plain ones, and what it does in Helmholtz machines."""
    lines = [study.answer(_remedies()[0])]
    planned, found = _planned_and_found("landscape")
    if len(found) == len(planned):
        inside = landscape.answer(runs.frame(found.values()))
        lines.append(f"- **Inside plain networks** (`make landscape`). {inside}")
    if len(finals := _helmholtz()):
        machines = likelihood.answer(finals)
        lines.append(f"- **Helmholtz machines** (`make helmholtz`). {machines}")
    return "\n".join(lines)


def remedies():
    """Every remedy for depth: formula, source, how sure, and what the recorded runs say."""
    table, finals = study.overview(*_remedies()), _helmholtz()
    if finals.empty:
        return table
    first = finals.iloc[0]
    return (
        f"{table}\n\nHelmholtz machines, on {first.dataset_label} binarized at {first.side}x"
        f"{first.side} pixels, {first.train_size:,} images: the lower bound of a test image's "
        "log-likelihood, the median over seeds, and the gain over reweighted wake-sleep by pairs "
        f"of one seed with its 95 % interval.\n\n{likelihood.overview(finals)}"
    )


@functools.lru_cache
def _helmholtz():
    """The recorded learnings of Helmholtz machines at their best rates; nothing until all are."""
    planned, found = _planned_and_found("helmholtz")
    if len(found) < len(planned):
        return pd.DataFrame()
    return likelihood.at_best(learning.frame(found.values()))


@functools.lru_cache
def _remedies():
    """What is recorded of remedies in dense networks, and the runs that are tried first."""
    given = profiles.parameters("paper")["remedies"]
    tried = [run for run in profiles.planned("paper", "remedies") if run.model == "dense"]
    return study.recorded(given, tried, profiles.store("paper", "remedies")), tried


def soak():
    """What the last `make soak` counted."""
    path = root() / "figures" / "paper" / "soak.csv"
    if not path.exists():
        return "Nothing was counted yet: `make soak`."
    counts = pd.read_csv(path)
    rows = ([what, f"{count:,}"] for what, count in counts.itertuples(index=False))
    return markdown.table(["what", "count"], rows)


def citation():
    """The paper and this software as BibTeX, from CITATION.cff."""
    software = yaml.safe_load((root() / "CITATION.cff").read_text())
    paper = software["preferred-citation"]
    names = (f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    number = paper["identifiers"][0]["value"].removeprefix("arXiv:")
    return f"""```bibtex
@article{{bras{paper["year"]}langevin,
  author = {{{" and ".join(names)}}},
  title = {{{paper["title"]}}},
  journal = {{arXiv preprint arXiv:{number}}},
  year = {{{paper["year"]}}}
}}
@software{{langevin_companion,
  author = {{{software["authors"][0]["name"]}}},
  title = {{{software["title"]}}},
  version = {{{software["version"]}}}
}}
```"""


def write():
    """Put all that is computed between its marks in README.md and docs/."""
    fill(
        {
            "answer": answer,
            "claims": claims,
            "notebooks": notebooks,
            "verdicts": verdicts,
            "findings": findings,
            "table": table,
            "partly": partly,
            "bench": costs.readme,
            "soak": soak,
            "beside": beside,
            "remedies": remedies,
            "citation": citation,
        }
    )


def fill(made):
    """Put what each function makes between the marks of its name, in README.md and docs/."""
    for path in (root() / "README.md", *sorted((root() / "docs").glob("*.md"))):
        text = path.read_text()
        path.write_text(
            MARK.sub(lambda m: f"{m[1]}{made[m[2]]()}\n{m[3]}" if m[2] in made else m[0], text)
        )
