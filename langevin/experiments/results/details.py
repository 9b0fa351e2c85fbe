"""How much of the gain by noise each detail of an update makes: what `ablation` says."""

import itertools
from types import SimpleNamespace

from langevin.experiments.results import analysis, markdown, plots
from langevin.experiments.results.report import effect

CHANGED = (*analysis.NOISE, "update", "variant", "epsilon", "learning_rate")  # by a detail
HEAD = ("", "of the gain by noise", "of the runs with noise", "of those without")


def told(finals, chain, larger=None):
    """What each detail of an update makes of the gain by noise, and of the runs with noise and
    those without that the gain comes from, as Markdown: a table, and a sentence an optimizer.

    Args:
        finals: with a column `update`, the name of what is left of the published update.
        chain: a dict from these names, in the order in which details are taken out, to the detail
            that is out from there on; the first is the published update.
        larger: the name of a control, whose runs without noise are told beside the published
            update's with noise.
    """
    rows, sentences = [], []
    for optimizer in plots.values(finals, "optimizer"):
        name, said, beside = plots.NAMES[optimizer], [], []
        for depth, runs in finals[finals.optimizer == optimizer].groupby("depth"):
            there = [update for update in chain if update in set(runs["update"])]
            gain, made = _made(runs, *_arms(there[0])), _details(runs, there, chain)
            rows.append([f"**{name}, depth {depth}**", _amount(gain, True), "", ""])
            for detail, changes in made.items():
                rows.append([detail, *(_amount(row, True) for row in changes)])
            parts = ", ".join(f"{detail} {_in_short(*changes)}" for detail, changes in made.items())
            text = f"at depth {depth} noise makes {_amount(gain)}, of which make: "
            said.append(text + (parts or "no detail is taken out"))
            if larger in set(runs["update"]):
                control = _made(runs, _arms(there[0])[1], _arms(larger)[0])
                does = effect(control, "better", "worse") or "no difference that is shown"
                beside.append(f"{does} at depth {depth}, {_amount(control, True)}")
        if beside:
            names = " ".join(larger.split()), next(iter(chain))
            said.append("*{}* without noise, against *{}* with it: ".format(*names) + beside.pop(0))
        sentences.append(f"- **{name}**: {'; '.join(said + beside)}.")
    return "\n".join([markdown.table(HEAD, rows), "", *sentences])


def _arms(update):
    return [f"update == {update!r} and {arm}" for arm in (analysis.PLAIN, analysis.LANGEVIN)]


def _details(runs, updates, chain):
    """What each detail makes of the gain, of the runs with noise and of those without."""
    details = {}
    for before, after in itertools.pairwise(updates):
        (plain, noisy), (plain_before, noisy_before) = _arms(after), _arms(before)
        arms = _made(runs, noisy, noisy_before), _made(runs, plain, plain_before)
        details[chain[after]] = _part(runs, before, after), *arms
    return details


def _made(runs, baseline, treatment):
    """The row of `analysis.compare` of two arms; None where they are the same runs."""
    if set(runs.query(baseline).key) & set(runs.query(treatment).key):
        return None
    return analysis.contrasted(runs, baseline, treatment, CHANGED)[0]


def _part(runs, before, after):
    """By how much the gains of two updates differ, by seeds, as such a row."""
    pairs = [analysis.pair(runs, *_arms(update)).set_index("seed") for update in (before, after)]
    more = [here.started_1.astype(int) - here.started_0 for here in pairs]
    share, gain = (more[0] - more[1]).dropna(), (pairs[0].gain - pairs[1].gain).dropna()
    low, high = analysis.median_interval(gain)
    return SimpleNamespace(
        n=len(share), started_gain=share.mean(), started_p=analysis.sign_flip(share),
        n_both=len(gain), gain=gain.median(), gain_low=low, gain_high=high,
        gain_p=analysis.sign_flip(gain),
    )  # fmt: skip


def _amount(row, exactly=False):
    """How many more runs end trained, and how much further those get that do, if these are enough;
    exactly, with intervals and p."""
    if row is None or not row.n:
        return "the same runs" if row is None else "no pair"
    (trained, further), amounts = analysis.directions(row), []
    enough = row.n_both >= analysis.LEAST_PAIRS
    if (more := round(row.n * row.started_gain)) or not enough:
        amounts.append((trained, f"{more:+d} of {row.n} runs", f"p = {row.started_p:.2g}"))
    if enough:
        points, low, high = (f"{100 * v:+.2f}" for v in (row.gain, row.gain_low, row.gain_high))
        known = f"{low} to {high}, {row.n_both} pairs, p = {row.gain_p:.2g}"
        amounts.append((further, f"{points} points", known))
    return " and ".join(
        (f"**{text}**" if sure else text) + (f" ({known})" if exactly else "")
        for sure, text, known in amounts
    )


def _in_short(part, noisy, plain):
    """What a detail makes of the gain, and of the arms where that is significant."""
    arms = {"with noise": noisy, "without": plain}
    sure = {arm: row for arm, row in arms.items() if row and any(analysis.directions(row))}
    said = ", ".join(f"{arm} {_amount(row)}" for arm, row in sure.items())
    return _amount(part) + (f" ({said})" if said else "")
