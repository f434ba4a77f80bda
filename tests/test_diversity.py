"""The main study, no-ops and uneven sets: what is measured, and what is read from it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves import results, step_at
from trainers import SMALL
from unseen.runs.store import Store
from unseen.runs.workers import Serial
from unseen.scales import Setting
from unseen.stats import Threshold
from unseen.studies import diversity
from unseen.worlds.base import shares
from unseen.worlds.strings import TaskSpec

EVEN = Threshold(300.0, 250.0, 350.0, 8.0, 0.98, 3)


def falling(size):
    return step_at(180)(180**2 / size)


def read(curve, **more):
    return diversity.readings(results(curve, **more), diversity.INSTRUCTION_DIVERSITY)


# The main curve


@pytest.mark.parametrize(("middle", "against"), [(295, "below"), (305, "in"), (1_300, "above")])
def test_the_step_is_compared_with_the_published_range(middle, against):
    ends, step = read(step_at(middle, 8))
    assert f"The half lies {against} the range of 300 to 1,000" in step
    assert f"{middle} instructions (95 % interval {middle} to {middle}, 3 seeds)" in step
    assert "tenths of it within a factor of 1.7" in step
    assert "5,400 examples of each of 10 give 0.0% exact match on unseen" in ends


def test_only_the_main_setting_is_read_and_a_curve_without_a_step_has_none():
    other = pd.concat([results(step_at(180)), results(step_at(600), setting="longer strings")])
    assert diversity.readings(other, diversity.INSTRUCTION_DIVERSITY) == read(step_at(180))
    assert diversity.main_threshold(other) == diversity.main_threshold(results(step_at(180)))
    assert "nan" not in " ".join(read(step_at(180), seeds=[0]))
    assert "no step to fit: unseen instructions stay between 0.0% and 0.1%" in read(lambda i: i / 3e6)[1]


def test_every_setting_has_a_row_whether_it_steps_or_not():
    lost = pd.concat([results(seeds=[0, 1]), results(lambda size: 0.0, seeds=[2])])
    parts = [results(step_at(600), setting="b"), results(falling, setting="a", seeds=[0]), lost]
    table = diversity.thresholds(pd.concat(parts)).set_index("setting")
    assert list(table.index) == ["b", "a", "main"]
    assert round(table.loc["b", "middle"]) == 600
    assert table.loc["b", "note"] == ""
    assert "does not pass from below to above one half" in table.loc["a", "note"]
    assert "seed 2 never rises" in table.loc["main", "note"]
    assert table["seeds"].tolist() == [3, 1, 3]
    assert table.loc["a", ["middle", "low", "high", "steepness", "top"]].isna().all()
    assert diversity.main_threshold(lost) is None


# What is measured


def test_a_measure_has_one_row_for_each_setting_run_and_split(tmp_path):
    half = SMALL.but(task=SMALL.task.but(no_op_share=0.5))
    settings = [Setting("none", SMALL, (2, 3), (0,)), Setting("half", half, (2, 3), (0,))]
    table = diversity.measure(settings, Store(tmp_path), Serial(), by_kind=True)
    assert list(table.columns[:3]) == ["setting", "no_op_share", "concentration"]
    counted = table.groupby(["setting", "kind"]).size()
    assert counted.to_dict() == {("none", "has-op"): 4, ("half", "has-op"): 4, ("half", "no-op"): 4}
    assert table[table["no_op_share"] == 0.5].groupby(["run", "split"])["examples"].sum().eq(20).all()
    again = diversity.measure([*settings, Setting("again", SMALL, (3,), (0,))], Store(tmp_path), fields=())
    assert list(again.columns[:2]) == ["setting", "recipe"]
    sizes = again.groupby("setting")["instructions"].unique().map(list).to_dict()
    assert sizes == {"none": [2, 3], "half": [2, 3], "again": [3]}


# Uneven sets


@given(st.integers(1, 300), st.integers(0, 5_000), st.floats(0.01, 5))
def test_shares_add_up_and_fall_or_rise_in_order(instructions, more, concentration):
    task = TaskSpec(examples=instructions + more + 1_000, concentration=concentration)
    counts, even = shares(task, instructions), shares(task.but(concentration=1.0), instructions)
    assert counts.sum() == even.sum() == task.examples
    assert len(counts) == instructions
    assert (counts >= 0).all()
    steps = np.diff(counts)
    assert (steps <= 1).all() if concentration <= 1 else (steps >= -1).all()  # but for rounding
    assert even.max() - even.min() <= 1


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=50).filter(any), st.floats(0, 3), st.floats(0, 3))
def test_hill_numbers_fall_with_their_order_and_stay_within_bounds(counts, order, other):
    counts = np.array(counts)
    low, high = sorted((order, other))
    assert 1 - 1e-6 <= diversity.effective(counts, high) <= diversity.effective(counts, low) + 1e-6
    assert diversity.effective(counts, low) <= (counts > 0).sum() + 1e-6
    assert diversity.effective(np.full(len(counts), 7), order) == pytest.approx(len(counts))


def test_effective_numbers_at_the_edges():
    counts = np.array([97, 1, 1, 1])
    assert diversity.effective(counts, 1 + 1e-15) == pytest.approx(diversity.effective(counts, 1))
    # Fewer examples than a task has instructions by default
    assert diversity.effective_number(1.0, 64, 640, 1) == 64


def frame_of(order):
    """Runs that lie on the even curve at one Hill number exactly."""
    sets = [(size, shape) for size in (300, 1_000, 3_000) for shape in (1.0, 0.5, 0.2, 0.1)]
    frame = pd.DataFrame(sets, columns=["instructions", "concentration"]).assign(split="unseen")
    frame["examples_per_instruction"] = 45_000 / frame["instructions"]
    frame["setting"] = frame["concentration"].map("a = {:g}".format)
    return frame.assign(accuracy=EVEN(diversity.with_effective(frame, order)["effective"].to_numpy()))


@pytest.mark.parametrize("order", [0.3, 1.7])
def test_the_order_that_made_the_data_is_found(order):
    table = diversity.orders(frame_of(order), EVEN)
    assert list(table.index) == ["300", "1,000", "3,000", "all"]
    assert table["best order"].to_numpy() == pytest.approx(order, abs=0.1)
    assert table[["misfit", "misfit at the order of the others"]].max(axis=None) < 0.02
    assert table["seeds"].max() == 0


def test_two_orders_are_not_taken_for_one():
    frame = pd.concat(
        [frame_of(0.4).query("instructions == 1000"), frame_of(1.5).query("instructions == 3000")]
    )
    table = diversity.orders(frame, EVEN)
    assert table["misfit"].drop("all").max() < 0.01
    assert table["misfit at the order of the others"].drop("all").min() > 0.05
    assert table.loc["all", "misfit"] > 0.05


def test_the_even_curve_goes_through_the_means_and_stays_at_its_ends():
    frame = pd.DataFrame({"split": "unseen", "concentration": 1.0, "instructions": [100, 100, 400],
                          "accuracy": [0.1, 0.3, 0.8]})  # fmt: skip
    curve = diversity.even_curve(frame)
    assert curve(np.array([1, 100, 200, 400, 9_000])) == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])
