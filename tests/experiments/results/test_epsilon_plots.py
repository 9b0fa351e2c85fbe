"""The figure and the tables of `epsilon` on made-up finals."""

import pandas as pd
from test_epsilon import finals_of, runs_of, trains

from langevin.experiments.results import epsilon, epsilon_plots


def shown(**setting):
    """Finals with all columns that a figure's caption reads."""
    finals = finals_of(**setting)
    constant = {"dataset": "mnist", "model": "dense", "learning_rate": 1e-3, "variant": "paper",
                "epochs": 20}  # fmt: skip
    return finals.assign(**constant).reset_index(drop=True)


def test_the_figure_draws_the_share_first_and_names_every_arm_once():
    figure = epsilon_plots.by_depth(pd.concat([shown(), shown(depth=60)]), "title")
    top, bottom = figure.axes
    assert "train (%)" in top.get_ylabel() and top.get_ylim()[0] <= 0 and top.get_ylim()[1] >= 100
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*epsilon_plots.LINES]
    lines = {line.get_label(): list(line.get_ydata()) for line in top.lines}
    assert lines["epsilon 1e-8, no noise"] == [100, 100]
    assert lines["published Adam, no noise"] == [25, 25]


def test_a_figure_of_two_seeds_is_preliminary():
    finals = shown()
    figure = epsilon_plots.by_depth(finals[finals.seed < 22], "title")
    assert figure.get_suptitle().startswith("Preliminary")


def test_a_median_of_fewer_than_half_of_the_runs_is_not_drawn():
    few = epsilon_plots._accuracy(runs_of(epsilon.SMALL, trains(9)))
    half = epsilon_plots._accuracy(runs_of(epsilon.SMALL, trains(10)))
    assert pd.isna(few[0]) and half[0] == 92


def test_the_tables_have_a_row_an_arm_and_a_row_a_rule_and_setting():
    rows = epsilon_plots.arms_table(shown(), 40).splitlines()[2:]
    assert len(rows) == 3 and "5 of 20" in rows[0] and "+0.0 (+0.0 to +0.0)" in rows[2]
    rows = epsilon_plots.verdicts_table(shown()).splitlines()[2:]
    assert len(rows) == 2 and "**holds**" in rows[0] and "depth 40" in rows[0]
    assert "| 40 | 40 |" in epsilon_plots.depths_table(shown())
    assert "only" not in epsilon_plots.missing_text([0] * 60, shown())
    assert "60 of 61" in epsilon_plots.missing_text([0] * 61, shown())
