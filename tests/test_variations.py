"""Other task worlds: what is measured, what an uneven training set is worth, and how it is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.datasets import shares, training_examples
from unseen.diversity import effective, experiments, variation_plots, variations
from unseen.diversity.thresholds import Threshold
from unseen.instructions import draw_split
from unseen.running.workers import Serial
from unseen.scales import SCALES
from unseen.specs import TaskSpec
from unseen.store import Store

EVEN = Threshold(300.0, 250.0, 350.0, 8.0, 0.98, 3)


@given(st.integers(1, 300), st.integers(0, 5_000), st.floats(0.01, 5))
def test_shares_add_up_and_fall_or_rise_in_order(instructions, more, concentration):
    task = TaskSpec(examples=instructions + more + 1_000, concentration=concentration)
    counts = shares(task, instructions)
    assert counts.sum() == task.examples
    assert len(counts) == instructions
    assert (counts >= 0).all()
    steps = np.diff(counts)
    assert (steps <= 1).all() if concentration <= 1 else (steps >= -1).all()  # but for rounding


@given(st.integers(1, 50), st.integers(0, 1_000))
def test_even_shares_differ_by_one_at_most(instructions, more):
    counts = shares(TaskSpec(examples=2_000 + more), instructions)
    assert counts.max() - counts.min() <= 1


def test_a_small_budget_has_an_effective_number_too():
    assert effective.effective_number(1.0, 64, 640, 1) == 64  # fewer examples than a task has instructions by default


def test_the_examples_are_shared_as_told():
    task = TaskSpec(alphabet="abcdefgh", instructions=20, unseen_instructions=5, examples=2_000, concentration=0.1)
    drawn = training_examples(task, draw_split(task))
    assert (np.bincount(drawn.rule, minlength=20) == shares(task, 20)).all()
    assert all(line.rule.apply(line.text) == line.answer for line in map(drawn.line, range(0, 2_000, 97)))


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=50).filter(any), st.floats(0, 3), st.floats(0, 3))
def test_hill_numbers_fall_with_their_order_and_stay_within_bounds(counts, order, other):
    counts = np.array(counts)
    low, high = sorted((order, other))
    assert 1 - 1e-6 <= effective.effective(counts, high) <= effective.effective(counts, low) + 1e-6
    assert effective.effective(counts, low) <= (counts > 0).sum() + 1e-6


@given(st.integers(1, 100), st.floats(0, 3))
def test_equal_shares_are_worth_their_number(instructions, order):
    assert effective.effective(np.full(instructions, 7), order) == pytest.approx(instructions)


def frame_of(order):
    """Runs that lie on the even curve at one Hill number exactly."""
    rows = [{"split": "unseen", "instructions": size, "examples_per_instruction": 45_000 / size, "concentration": shape,
             "setting": f"a = {shape:g}",
             "accuracy": float(EVEN(np.array([effective.effective_number(shape, size, 45_000, order)]))[0])}
            for size in (300, 1_000, 3_000) for shape in (1.0, 0.5, 0.2, 0.1)]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("order", [0.3, 1.0, 1.7])
def test_the_order_that_made_the_data_is_found(order):
    table = effective.orders(frame_of(order), EVEN)
    assert list(table.index) == ["300", "1,000", "3,000", "all"]
    assert table["best order"].to_numpy() == pytest.approx(order, abs=0.1)
    assert table.loc["all", "best order"] == pytest.approx(order, abs=0.02)
    assert table[["misfit", "misfit at the order of the others"]].max().max() < 0.02
    assert table["seeds"].max() == 0


def test_two_orders_are_not_taken_for_one():
    frame = pd.concat([frame_of(0.4).query("instructions == 1000"), frame_of(1.5).query("instructions == 3000")])
    table = effective.orders(frame, EVEN)
    assert table["misfit"].drop("all").max() < 0.01
    assert table["misfit at the order of the others"].drop("all").min() > 0.05
    assert table.loc["all", "misfit"] > 0.05


def test_the_lowest_of_several_valleys_is_found(monkeypatch):
    monkeypatch.setattr(
        effective, "misfit", lambda results, even, order: min((order - 0.4) ** 2, (order - 2) ** 2 + 0.01)
    )
    assert effective.orders(frame_of(1.0), EVEN)["best order"].eq(0.4).all()


def test_next_to_entropy_hill_numbers_do_not_jump():
    counts = np.array([97, 1, 1, 1])
    assert effective.effective(counts, 1 + 1e-15) == pytest.approx(effective.effective(counts, 1))


def test_without_even_or_uneven_sets_it_says_what_is_missing():
    frame = frame_of(1.0)
    with pytest.raises(ValueError, match="no row is of an even set"):
        effective.even_curve(frame[frame["concentration"] != 1])
    with pytest.raises(ValueError, match="no row is of an uneven set"):
        effective.orders(frame[frame["concentration"] == 1], EVEN)


def test_the_even_curve_goes_through_the_means_and_stays_at_its_ends():
    frame = pd.DataFrame(
        {"split": "unseen", "concentration": 1.0, "instructions": [100, 100, 400], "accuracy": [0.1, 0.3, 0.8]}
    )
    curve = effective.even_curve(frame)
    assert curve(np.array([1, 100, 200, 400, 9_000])) == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])


def test_a_measure_has_one_row_for_each_setting_run_and_split(tmp_path):
    settings = experiments.no_ops("smoke")
    table = variations.measure(settings, Store(tmp_path), Serial(), by_kind=True)
    assert list(table.columns[:3]) == ["setting", "no_op_share", "concentration"]
    counted = table.groupby(["setting", "kind"]).size()
    assert counted.to_dict() == {("0 % no-ops", "has-op"): 8, ("50 % no-ops", "has-op"): 8, ("50 % no-ops", "no-op"): 8}
    per_run = table[table["no_op_share"] == 0.5].groupby(["run", "split"])["examples"].sum()
    assert per_run.eq(100).all()
    whole = variations.measure(settings, Store(tmp_path), Serial())
    assert len(whole) == 16
    assert whole["examples"].eq(100).all()


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_has_its_axes(name):
    for experiment in (experiments.no_ops, experiments.long_tail):
        settings = experiment(name)
        assert len({setting.name for setting in settings}) == len(settings)
        assert all(setting.runs() for setting in settings)
        if name == "quick":
            assert all(len(setting.seeds) == 3 for setting in settings)


def test_other_experiments_share_the_runs_of_the_main_curve():
    main = set(SCALES["quick"].runs())
    for experiment in (experiments.no_ops, experiments.long_tail):
        assert len(main & {run for setting in experiment("quick") for run in setting.runs()}) >= 12


def test_the_figures_draw_every_setting():
    frame = pd.concat(
        [frame_of(0.5).assign(seed=seed, split="unseen", kind=kind) for seed in (0, 1) for kind in ("a", "b")]
    )
    figure = variation_plots.by_setting(frame, {"a": "first", "b": "second"}, "kind")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == ["first", "second"]
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert labels == ["a = 1", "a = 0.5", "a = 0.2", "a = 0.1"]
    ax = variation_plots.by_concentration(frame[frame["kind"] == "a"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"{n} instructions" for n in ("300", "1,000", "3,000")
    ]
    figure = variation_plots.collapse(frame, EVEN, {"one": 1.0, "two": 2.0})
    assert len(figure.axes) == 2
    plt.close("all")
