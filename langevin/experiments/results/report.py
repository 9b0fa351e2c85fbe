"""Sentences and tables, computed from frames: what a notebook states as a result."""

import numpy as np
import pandas as pd

from langevin.experiments.results import analysis, markdown, plots, style
from langevin.experiments.training import loop as training


def settings_of(finals, by):
    """The settings that the columns `by` make: the name of each and its rows."""
    for values, group in finals.groupby(by):
        yield ", ".join(map(plots.word, by, values)), group


def counts_text(finals, column, order, by):
    """How many runs of each condition end trained, as Markdown: a line a setting in `by`."""
    lines = []
    for name, group in settings_of(finals, by):
        said = [
            f"{value} {here.started.sum()} of {len(here)}"
            for value in order
            if len(here := group[group[column] == value])
        ]
        lines.append(f"- **{name}**, end trained: {'; '.join(said)}.")
    return "\n".join(lines)


def claims_text(rows, finals):
    """Verdict rows as Markdown, a line a claim and setting, computed from the rows alone.

    On other data than the paper's the runs cannot speak on its claims, and the text says so.
    """
    if set(finals.dataset) & {"digits"}:
        return f"These runs were made on {_data(finals)}: they say nothing on the paper's claims."
    lines = [
        f"- **{row.claim}, {row.setting}: {so_far(row.seeds)}{row.verdict}.** {row.reason} "
        f"(pairs: {row.pairs:.0f}; seeds: {row.seeds})."
        for row in rows[rows.verdict != ""].itertuples()
    ]
    return "\n".join([f"On {_data(finals)}:", "", *lines])


def _data(finals):
    return " and ".join(finals.dataset_label.unique())


def show_table(table):
    """A table to read; text in it is shown as it is written."""
    return table.style.hide(axis="index").format(precision=3, na_rep="–", escape="html")


def columns(frame):
    """The frame's columns that a csv behind a figure needs: the runs' keys, what varies, where."""
    always = {"key", "epoch", "seed", *training.METRICS, "dataset_label"}
    drop = {*training.BY_LAYER, "seconds", "compile_seconds", "data_hash"}
    varied = [c for c in frame if c not in drop and (c in always or frame[c].nunique() > 1)]
    return frame[varied]


def headline(finals):
    """The deepest networks, and those others of which not all runs end trained, as a Markdown
    table: a row an initializer, optimizer and depth."""
    head, rows = [f"{_data(finals)}: runs that end trained", "without noise", "with noise"], []
    for initializer in plots.values(finals, "initializer"):
        for optimizer in plots.values(finals, "optimizer"):
            runs = finals[(finals.initializer == initializer) & (finals.optimizer == optimizer)]
            for depth, here in runs.groupby("depth"):
                if here.started.all() and depth < finals.depth.max():
                    continue
                arms = [here.query(query) for query in (analysis.PLAIN, analysis.LANGEVIN)]
                name = f"{plots.INITIALIZERS[initializer]}, {plots.NAMES[optimizer]}, depth {depth}"
                rows.append([name, *map(_outcome, arms)])
    return markdown.table(head, rows)


PUBLISHED = ("adam", "rmsprop")  # the paper gives their learning rates
STARTS = {"glorot_uniform": "the paper's initialization, Glorot's,", "he_uniform": "He's"}
SIGNIFICANT = (
    "(Only what is significant by itself is told, uncorrected for their number: a difference in "
    "the runs that end trained, or one in accuracy whose 95 % interval lies beyond "
    f"{100 * analysis.SMALLEST_GAIN:g} points. Smaller ones stand in `figures/paper/table-1.md`.)"
)
ANSWERS = {
    (True, False): "Partly: noise helps deep networks from the paper's initialization, not from a "
    "better one.",
    (True, True): "Yes: noise helps deep networks, from a good initialization too.",
    (False, True): "Not as published: noise helps from He's initialization alone.",
    (False, False): "No: noise helps from neither initialization.",
}


def answer(finals, *further):
    """At which depths noise helps an optimizer, from either start, and at which it costs, as
    Markdown; of those whose learning rates the paper does not give, only whether it helps.

    Args:
        finals: of the networks that the answer is about.
        further: finals of others, told in a paragraph each.
    """
    told, answers = _networks(finals)
    bold = answers.pop() if len(answers) == 1 else "It depends on the optimizer."
    others = "".join(f"\n\n{_networks(other)[0]}" for other in further)
    return f"**{bold}** {told}{others} {SIGNIFICANT}"


def where_it_helps(finals):
    """At which depths noise helps and at which it costs, as Markdown."""
    arms = finals.groupby(["optimizer", "initializer", "depth", "sigma"])
    if (seeds := arms.seed.nunique().min()) < analysis.LEAST_PAIRS:
        return f"At which depths noise helps takes {analysis.LEAST_PAIRS} seeds; here are {seeds}."
    return f"{_networks(finals)[0]} {SIGNIFICANT}"


def _networks(finals):
    """What one kind of network says, in sentences, and the answers of its optimizers."""
    lines, answers, others = [], set(), {}
    where = f"{finals.model.iloc[0]} networks on {finals.dataset_label.iloc[0]}, at "
    where += f"{finals.depth.min()} to {finals.depth.max()} layers"
    for optimizer in plots.values(finals, "optimizer"):
        runs, name = finals[finals.optimizer == optimizer], plots.NAMES[optimizer]
        starts = [start for start in STARTS if start in set(runs.initializer)]
        found = {start: _by_depth(runs[runs.initializer == start]) for start in starts}
        helped = {start for start, (helps, _) in found.items() if helps}
        if optimizer not in PUBLISHED:
            others[name] = bool(helped)
            continue
        answers.add(ANSWERS[tuple(start in helped for start in STARTS)])
        told = (_told(STARTS[start], *both) for start, both in found.items())
        opening = "With" if lines else f"In {where}, with"
        lines.append(f"{opening} {name} {'; '.join(told)}.")
    for helps, does in ((True, "helps too"), (False, "helps at no depth")):
        if names := [name for name, helped in others.items() if helped == helps]:
            lines.append(
                f"With {' and '.join(names)}, whose rates the paper does not give, it {does}."
            )
    return " ".join(lines), answers


def _told(start, helps, costs):
    told = [f"helps at {' and '.join(helps)}" if helps else "helps at no depth"]
    told += [f"costs {', '.join(costs)}"] if costs else []
    return f"from {start} it {' and '.join(told)}"


def _by_depth(runs):
    """Where noise trains more runs, or trains them further, and where less far, in words."""
    helps, costs = [], []
    pairs = analysis.pair(runs, analysis.PLAIN, analysis.LANGEVIN)
    for row in analysis.compare(pairs, "depth").itertuples():
        trained, further = analysis.directions(row)
        if trained > 0:
            counts = f"{row.started_1} of {row.n} runs end trained"
            helps.append(f"{row.depth} layers ({counts}, without it {row.started_0})")
        elif further > 0:
            helps.append(f"{row.depth} layers (by {100 * row.gain:.1f} points of accuracy)")
        if trained < 0:
            lost = f"{row.started_0 - row.started_1} of {row.started_0} trained runs"
            costs.append(f"{lost} at {row.depth} layers")
        if further < 0:
            low, gain, high = (-100 * g for g in (row.gain_high, row.gain, row.gain_low))
            costs.append(f"{gain:.1f} points ({low:.1f} to {high:.1f}) at {row.depth} layers")
    return helps, costs


def _outcome(arm):
    """How many runs of an arm end trained, how far those got, and how many had learned in vain."""
    started, diverged = arm[arm.started], arm.diverged.sum()
    text = f"{len(started)} of {len(arm)}"
    if len(started):
        text += f", median accuracy {100 * started.val_accuracy.median():.1f} %"
    if collapsed := (arm.learned & ~arm.started & ~arm.diverged).sum():
        text += f"; {collapsed} learned and then collapsed"
    return f"{text}; {diverged} diverged" if diverged else text


# The conditions of `analysis.condition` in a reader's words, in the order in which they are told.
CONDITIONS = {
    "no noise": "none",
    "noise": "all along",
    "first 1 %": "in the first 1 % of steps alone",
    "after 1 %": "only after them",
}


def widths_text(frame):
    """How wide the hidden kernels are after the last epoch, as Markdown: a line an initializer.

    Args:
        frame: of runs of one depth; medians over those that have this epoch.
    """
    lines = []
    last = frame[frame.epoch == frame.epoch.max()]
    for initializer in plots.values(last, "initializer"):
        said = []
        for arm, query in (("without noise", analysis.PLAIN), ("with noise", analysis.LANGEVIN)):
            runs = last[last.initializer == initializer].query(query)
            if len(runs):
                widths = np.concatenate([sd[1:-1] for sd in runs.kernel_sd])
                said.append(f"{np.median(widths):.3f} {arm} ({len(runs)} runs)")
        lines.append(f"- **{plots.INITIALIZERS[initializer]}**: {', '.join(said)}.")
    head = f"Median sd of the hidden kernels after epoch {last.epoch.max()}; Glorot's is "
    head += f"{np.sqrt(1 / 64):.3f}, He's {np.sqrt(2 / 64):.3f}:"
    return "\n".join([head, "", *lines])


def why(finals):
    """What starts the deepest networks from the paper's initialization, as Markdown: which
    noise does, which learning rate, and He's start; all over the seeds that every noise has.

    Args:
        finals: of `mechanism`.

    Returns: a sentence, and a table of the arms that it speaks of.
    """
    depth = finals.depth.max()
    arms = finals[finals.depth == depth]
    arms = arms.assign(condition=analysis.condition(arms))
    glorot, he = (arms[arms.initializer == start] for start in plots.INITIALIZERS)
    usual, he = (here[here.learning_rate == 1e-3] for here in (glorot, he))
    capped = sorted(usual.noise_cap.dropna().unique())
    names = CONDITIONS | {f"P ≤ {cap:g}": f"all along, its P at most {cap:g}" for cap in capped}
    told = {words: usual[usual.condition == name] for name, words in names.items()}
    plain = glorot[glorot.condition == "no noise"]
    for rate in sorted(set(plain.learning_rate) - {1e-3}, reverse=True):
        told[f"none, learning rate {rate:g}"] = plain[plain.learning_rate == rate]
    told["none, from He's start"] = he[he.condition == "no noise"]
    noises = [set(told[words].seed) for words in names.values() if len(told[words])]
    seeds = set.intersection(*noises) if noises else set()
    told = {words: here[here.seed.isin(seeds)] for words, here in told.items()}
    p = {words: _p_more(told["none"], here) for words, here in told.items() if words != "none"}
    rows = []
    for words, here in told.items():
        sure = "yes" if p.get(words, 1) < analysis.ALPHA else "not shown"
        more = f"{sure}, p = {p[words]:.2g}" if words in p else ""
        if len(here):
            rows.append([words, _outcome(here), more])
    head = f"Adam at depth {depth}, Glorot's start unless said, {len(seeds)} seeds: noise"
    head = [head, "runs that end trained", "more than with none?"]
    return _because(told, p), markdown.table(head, rows)


def _p_more(none, arm):
    """McNemar's p that other runs end trained than without noise, by seeds; of fewer, that is 1."""
    both = pd.concat([none, arm], ignore_index=True)
    is_arm = np.arange(len(both)) >= len(none)
    contrast = (*analysis.NOISE, "learning_rate", "initializer", "condition")
    row, _ = analysis.contrasted(both, ~is_arm, is_arm, contrast)
    return row.started_p if row.started_gain > 0 else 1.0


def _because(arms, p_more):
    """What the arms of `why` say, as far as they are there, in a sentence."""

    def share(words):
        arm = arms.get(words, ())
        return (arm.started.mean(), f"{arm.started.sum()} of {len(arm)}") if len(arm) else None

    none, along, early, late, he = map(share, ["none", *list(CONDITIONS.values())[1:],
                                               "none, from He's start"])  # fmt: skip
    if not all((none, along, early, late, he)):
        return "Not all of these arms were run: they do not say why."
    said = f"at {arms['none'].depth.iloc[0]} layers, with Adam and noise in the first 1 % of the "
    said += f"steps alone, {early[1]} runs end trained, with noise "
    said += f"only after them {late[1]}, all along {along[1]}; without noise {none[1]}"
    for words in arms:
        if words.startswith("none, learning rate") and (other := share(words)):
            said += f", at learning rate {words.split()[-1]} {other[1]}"
    said += f", from He's start {he[1]}"
    sure = {
        "early": p_more[CONDITIONS["first 1 %"]],
        "after them": p_more[CONDITIONS["after 1 %"]],
        "all along": p_more[CONDITIONS["noise"]],
        "from He's start": p_more["none, from He's start"],
    }
    p = ", ".join(f"{value:.2g} {name}" for name, value in sure.items())
    said += f" (p against no noise: {p})"
    repaired = max(sure["early"], sure["from He's start"]) < analysis.ALPHA
    if repaired and min(early[0], late[0]) >= along[0] > none[0] and he[0] >= along[0]:
        return (
            "Noise repairs a silent start, one from which too little of the signal arrives at the "
            f"other end to learn from: {said}. {_afterwards(arms)}"
        ).rstrip()
    return f"These runs do not single out a reason: {said}. {_afterwards(arms)}".rstrip()


def _afterwards(arms):
    """What noise does once training has started, in a sentence; "" from too few pairs."""
    none, he = arms["none"], arms["none, from He's start"]
    along, early, late = (arms[CONDITIONS[one]] for one in ("noise", "first 1 %", "after 1 %"))
    both, contrast = pd.concat([along, early]), (*analysis.NOISE, "condition")
    is_early = both.condition == "first 1 %"
    row, _ = analysis.contrasted(both, ~is_early, is_early, contrast)
    if row.n_both < analysis.LEAST_PAIRS:
        return ""
    low, gain, high = (100 * value for value in (row.gain_low, row.gain, row.gain_high))
    does = "costs accuracy" if low > 0 else "adds accuracy" if high < 0 else "is not decided on"
    told = {"with early noise alone": early, "with noise all along": along,
            "with noise only after it": late, "without noise": none,
            "without noise from He's start": he}  # fmt: skip
    medians = [
        f"{100 * arm[arm.started].val_accuracy.median():.1f} % {words}"
        for words, arm in told.items()
        if arm.started.any()
    ]
    return (
        f"Once training has started noise {does}: early noise alone over noise all along "
        f"{gain:+.1f} points ({low:+.1f} to {high:+.1f}, {row.n_both} pairs). Median accuracy of "
        f"the runs that end trained, however few: {', '.join(medians)}."
    )


def _points(gains):
    """A median gain with its interval, in words after a comma; "" of too few pairs."""
    if len(gains) < analysis.LEAST_PAIRS:
        return ""
    low, high = (100 * bound for bound in analysis.median_interval(gains))
    return f", {100 * gains.median():+.2f} ({low:+.2f} to {high:+.2f}) points of {len(gains)} pairs"


def against_plain(finals, by, arms, contrast=analysis.NOISE):
    """What each of some noises gains or costs over none, as Markdown: a line a setting.

    Args:
        by: the columns that make a setting.
        arms: a dict from each noise's name to the query of its runs.
        contrast: the columns in which partners may differ.
    """
    lines = []
    for setting, group in settings_of(finals, by):
        said, few = [], []
        for name, query in arms.items():
            row, gains = analysis.contrasted(group, analysis.PLAIN, query, contrast)
            if row.n < analysis.LEAST_PAIRS:
                few.append(name)
                continue
            counts = f"{row.started_0} → {row.started_1} of {row.n} end trained"
            does = effect(row) or "makes no difference that is shown"
            said.append(f"{name} {does}: {counts}{_points(gains)}")
        said += [f"of {', '.join(few)} fewer than {analysis.LEAST_PAIRS} pairs"] if few else []
        lines.append(f"- **{setting}**, over no noise: {'; '.join(said)}.")
    return "\n".join(lines)


def effect(row, gains="gains", costs="costs"):
    """The significant effect of a row of `analysis.compare`, in these words."""
    found = analysis.directions(row)
    words = [word for sign, word in ((1, gains), (-1, costs)) if sign in found]
    return " and ".join(words)


def best_text(best):
    """Each sigma at its best learning rate, as Markdown: a line an initializer and depth."""
    lines = []
    for (initializer, depth), group in best.groupby(["initializer", "depth"]):
        said = []
        for sigma, arm in group.groupby("sigma"):
            started = arm[arm.started]
            text = f"sigma {sigma:g} at learning rate {arm.learning_rate.iloc[0]:g}: "
            text += f"{len(started)} of {len(arm)} end trained"
            if len(started):
                text += f", {100 * started.val_accuracy.median():.2f} %"
            said.append(text)
        lines.append(f"- **{plots.INITIALIZERS[initializer]}, depth {depth}**: {'; '.join(said)}.")
    return "\n".join(lines)


def networks_of(runs):
    """What is trained, and by which optimizer: the set of these of runs, or of rows of finals."""
    return {(one.model, one.dataset, one.optimizer, one.initializer) for one in runs}


def by_setting(finals, by, claims, planned, corrected=True, **given):
    """The claims of each setting: verdict rows, Holm's correction over the settings, with the
    `seeds` that are there of those planned, as in "3 of 8".

    Args:
        by: the columns that make a setting.
        claims: functions of `analysis`, such as `claim_1`.
        planned: all `Run`s of the study.
        corrected: False where the settings of other studies are still to come to the same claims.
        given: further arguments of the claims.
    """
    rows = []
    for setting, group in settings_of(finals, by):
        told = pd.concat([claim(group, setting, **given) for claim in claims], ignore_index=True)
        rows.append(told.assign(seeds=_seeds(group, by, planned)))
    none = pd.DataFrame(columns=["claim", "setting", "verdict", "reason", "n"])
    rows = pd.concat(rows, ignore_index=True) if rows else none
    return analysis.verdicts(rows) if len(rows) and corrected else rows


def _seeds(finals, by, planned):
    """How many seeds every arm of a setting has at every depth that is planned, at its own where
    the depth makes the setting, and how many it is to have."""
    arms = finals.groupby(["depth", "sigma", "langevin_layers"])
    networks = networks_of(finals.itertuples())
    wanted = [run for run in planned if networks_of([run]) <= networks]
    missing = {r.depth for r in wanted} - set(finals.depth) if "depth" not in by else ()
    there = 0 if missing else arms.seed.nunique().min()
    return f"{there} of {len({r.seed for r in wanted})}"


def in_short(rows):
    """The verdicts as a Markdown table, a row a setting, a column a claim, with the seeds behind
    each; below it what has too few runs, and what was not run at all."""
    told = rows[rows.verdict != ""]
    ran = told[told.pairs > 0]
    claims = sorted(set(ran.claim))
    rows = []
    for setting, here in ran.groupby("setting", sort=False):
        verdicts = dict(zip(here.claim, map(_verdict, here.itertuples())))
        setting = setting.replace(" initialization", "")
        rows.append([setting, *(verdicts.get(claim, "") for claim in claims)])
    table = markdown.table(["setting", *(style.CLAIMS[claim] for claim in claims)], rows)
    few = told[told.pairs == 0]
    return "\n\n".join(filter(None, [table, *_named(few)]))


MANY = 6  # settings, from which on they are counted and not named


def by_claim(rows):
    """A line a claim, as Markdown: where it holds, where not, and where that is not decided."""
    told = rows[(rows.verdict != "") & (rows.pairs > 0)]
    told = told.assign(verdict=told.seeds.map(so_far) + told.verdict)
    lines = []
    for claim, here in told.groupby("claim"):
        said = [
            f"**{early}{verdict}** in {_where(names)}"
            for early in ("", plots.EARLY)
            for verdict in plots.VERDICTS
            if len(names := here.setting[here.verdict == early + verdict])
        ]
        lines.append(f"- {style.CLAIMS[claim]}: {'; '.join(said)}.")
    return "\n".join(lines)


def _where(settings):
    """These settings, those of one network behind its name."""
    if len(settings) > MANY:
        return f"{len(settings)} settings"
    settings = settings.str.replace(" initialization (the paper's)", "")
    parts = settings.str.replace(" initialization", "").str.partition(": ")
    networks = parts.groupby(0, sort=False)[2].agg("; ".join)
    said = (f"{network} ({rest})" if rest else network for network, rest in networks.items())
    return ", ".join(said)


def _named(few):
    """What has too few runs for a verdict, and what has none, in sentences."""
    claims = few.groupby(["setting", "seeds", "reason"], sort=False).claim.agg(", ".join)
    some = [f"{setting} ({names})" for (setting, seeds, _), names in claims.items()
            if seeds != "none"]  # fmt: skip
    if some:
        yield f"Too few runs: {'; '.join(some)}.".replace(" initialization", "")
    none = [f"- {setting} ({names}), {why}" for (setting, seeds, why), names in claims.items()
            if seeds == "none"]  # fmt: skip
    if none:
        yield "\n".join(["Not decided, since nothing is recorded yet:\n", *none])


def so_far(seeds):
    """What stands before a verdict while not all planned seeds are there, as in "3 of 8"."""
    there, _, planned = seeds.partition(" of ")
    return plots.EARLY if planned and there != planned else ""


def _verdict(row):
    """In bold where it is one and all planned seeds are there."""
    if early := so_far(row.seeds):
        return f"{early}{row.verdict} ({row.seeds} seeds)"
    text = row.verdict if row.verdict == analysis.NOT_DECIDED else f"**{row.verdict}**"
    return f"{text} ({row.seeds.split()[0]} seeds)"
