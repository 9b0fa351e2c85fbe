"""The bench's table read: sentences, tables and figures say what its rows say."""

import numpy as np
import pandas as pd
import pytest

from langevin.experiments.bench import bench, costs, limits
from langevin.experiments.bench.variants import OURS

SECONDS = {"no noise": 2.0, "30 % of the layers noisy": 2.2, "all layers noisy": 3.0}


@pytest.fixture(scope="module")
def table():
    """A whole bench whose clock is scripted: noise costs a tenth, or a half."""
    rows = []
    for group in bench.all_groups():
        seconds, facts = {}, {}
        for v in group.variants():
            seconds[v] = np.full(group.rounds, SECONDS.get(getattr(v, "noise", ""), 4.0))
            facts[v] = {"memory": 2**20 * SECONDS.get(getattr(v, "noise", ""), 4.0)}
            facts[v] |= {"operations": 8e9, "bytes": 1e9}
            if isinstance(v, limits.Limit):
                facts[v] = {"bytes" if v.what == limits.COPY else "operations": 40e9}
        for comparison in group.comparisons:
            row = {"group": group.name, **bench.row_of(comparison, seconds, facts)}
            rows.append({**row, "where_the_time_goes": "told"})
    facts = {"dataset": "MNIST", "machine": "a machine", "versions": "keras 3", "load_before": 0.3}
    return pd.DataFrame(rows).assign(**facts, device="cpu", minutes=np.linspace(1, 6.2, len(rows)))


def test_a_row_a_model_with_its_ratios_and_its_shares_of_the_limits(table):
    models = costs.steps_of_models(table).set_index("model")
    assert set(models.index) == {*bench.FAST, "dense-20", "resnet"}
    for row in models.to_dict("records"):
        assert row["plain step (ms)"] == 2000.0
        # 8e9 operations in 2 s, of 40e9 in 4 s; 1e9 bytes in 2 s, of 40e9 in 4 s
        assert row["of a large product"] == pytest.approx(0.4)
        assert row["of a large copy"] == pytest.approx(0.05)
        assert row["Layer Langevin, 30 %: time"] == pytest.approx(1.1)
        assert row["Langevin, all layers: memory"] == pytest.approx(1.5)


def test_a_model_is_held_to_the_layer_that_it_consists_of(table):
    def said(**rates):
        new = table.set_index("what").operations_a_second
        for what, rate in rates.items():
            new[getattr(limits, what)] = rate
        return costs.bounds_text(table.assign(operations_a_second=new.to_numpy()))

    # A large product makes 10 billion a second, each model 4.
    text = said(SMALL=3e9, CONVOLUTION=8e9)
    assert "512x64 by 64x64 alone reaches 30 %: dense-3 reaches 40 %, so small products" in text
    assert "resnet reaches 40 %, 0.50 of that, so other things" in text
    assert "conv-dense-20 reaches 40 %; no layer of that was timed alone." in text
    assert "dense-20 reaches 40 %, so small" in text
    assert "dense-20 reaches 40 %, 0.40 of that" in said(SMALL=1e10, CONVOLUTION=8e9)


def test_a_goal_that_was_missed_says_where_the_time_goes(table):
    lines = costs.goals(table).splitlines()[2:]
    assert len(lines) == table.goal.notna().sum() > 5
    assert all(("**missed**: told" in line) == ("| met |" not in line) for line in lines)
    assert "No goal" in costs.goals(table.assign(goal=float("nan")))
    noisy = [line for line in lines if line.startswith("| resnet")]
    assert len(noisy) == 2 and all("missed" in line for line in noisy)


def test_everything_has_a_line_a_row_and_says_what_was_not_measured(table):
    lines = costs.everything(table).splitlines()[2:]
    assert len(lines) == len(table)
    unmeasured = [line for line in lines if "| told |" in line]
    assert len(unmeasured) == table.seconds_median.isna().sum() > 0
    assert all("on JAX" in line for line in unmeasured)


def test_what_a_seed_of_several_costs_is_told_of_every_group(table):
    said = costs.together_text(table)
    groups = table[table.group.str.startswith("seeds together")].together
    assert all(f" {count:.0f} together 1.00" in said for count in groups if count > 1)
    assert said.count("together") == (groups > 1).sum() > 2


def test_the_readme_is_made_from_the_recorded_table(table, monkeypatch):
    monkeypatch.setattr(costs, "recorded", lambda: table)
    text = costs.readme()
    assert "a machine" in text and "3.00 s on TensorFlow" in text
    assert "takes 4.00 s" in text and "8 seeds together" in text
    assert "in 6.2 minutes" in text
    assert "10 billion operations a second" in text
    assert "dense-40 takes 3.0 s on TensorFlow, 1.0 times" in text
    assert "Nothing was measured on a GPU" in text
    monkeypatch.setattr(costs, "recorded", lambda: table.assign(device="NVIDIA H100"))
    assert "on a GPU" not in costs.readme()


def test_noise_that_took_less_time_in_every_round_is_told(table):
    table = table[table.loop == OURS]
    assert costs.saved_text(table) == ""
    held = costs._of_noise(table)
    assert set(held.ratio.round(2)) == {1.1, 1.5}
    one = held[held.model == "resnet"].index[0]
    low, below = (table.copy() for _ in range(2))
    low.loc[one, ["ratio", "ratio_low"]] = 0.9, 0.8  # in most rounds, not in all
    assert costs.saved_text(low) == costs.saved_text(table)
    below.loc[one, ["ratio", "ratio_high"]] = 0.9, 0.95
    said = costs.saved_text(below)
    assert (
        f"Of the {len(held)} ratios" in said and " 1 lie" in said and "resnet, LAdam, 30 %" in said
    )


def test_what_noise_adds_to_an_epoch_is_told_for_both_backends(table):
    assert "1.50 times as long on TensorFlow and 1.50 times as long on JAX" in costs.epoch_text(
        table
    )
    without = table.drop(costs._of_noise(table).index)
    assert "With noise" not in costs.epoch_text(without)


def test_our_epoch_is_held_to_the_fastest_fit_that_was_measured(table):
    ours = table[
        (table.what == "epoch") & (table.noise == "no noise") & (table.model == "dense-20")
    ]
    there = ours.baseline.str.contains("8 steps an execution")
    assert there.sum() == 1
    faster = table.copy()
    faster.loc[ours.index[there], "ratio"] = 0.9
    assert "0.50 on TensorFlow (by default)" in costs.epoch_text(table)
    assert "0.90 on TensorFlow (8 steps an execution)" in costs.epoch_text(faster)


def test_the_marks_in_seconds_are_held_to_what_was_measured(table):
    rows = (
        (table.what == "epoch") & (table.model == "dense-20") & (table.noise == "all layers noisy")
    )
    fast = table.copy()
    fast.loc[rows & (table.backend == "jax"), "seconds_median"] = 0.55
    fast.loc[rows & (table.backend == "tensorflow"), "seconds_median"] = 0.81
    said = costs.marks_text(fast)
    assert "takes 1.3 s, here 4.00 s" in said
    assert "TensorFlow 0.81 s of at most 0.8: missed" in said
    assert "JAX 0.55 s of at most 0.55: met" in said
    assert said.count("not decided") == 0
    assert costs.marks_text(fast.assign(load_before=6.3)).count("not decided") == 2


def test_what_the_backends_own_draws_take_is_told(table):
    said = costs.generators_text(table)
    assert "tf.random.stateless_normal" in said and "jax.random.normal" in said
    assert said.count("1.00 of ours") == 2
    assert costs.generators_text(table[table.what == "step"]) == ""


def test_a_busy_machine_is_owned_up_to(table, monkeypatch):
    assert costs.caution(table) == ""
    busy = table.assign(load_before=6.3)
    assert "load 6.3" in costs.caution(busy)
    assert all(line.endswith("| not decided |") for line in costs.goals(busy).splitlines()[2:])
    monkeypatch.setattr(costs, "recorded", lambda: busy)
    assert costs.readme().startswith(costs.caution(busy))


def test_the_recorded_table_names_its_machine_and_has_every_group():
    recorded = costs.recorded()
    assert list(dict.fromkeys(recorded.group)) == [group.name for group in bench.all_groups()]
    assert recorded.machine.nunique() == 1 and "cores" in recorded.machine[0]


def test_figures_draw_the_ratios(table):
    left, right = costs.noise_by_model(table).axes
    drawn = [line.get_ydata() for line in right.lines[:2]]
    np.testing.assert_allclose(drawn, [[1.1] * 5, [1.5] * 5])
    assert [text.get_text() for text in left.get_xticklabels()][-1] == "resnet"
    heights = {bar.get_height() for bar in costs.loops(table).axes[0].patches}
    assert heights == {2.0, 4.0}
    left, right = costs.together(table).axes
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [1, 2, 4, 8, 16])
    np.testing.assert_allclose(right.lines[0].get_ydata(), 3.0)
