"""The main study, no-ops and uneven sets: what is measured, and what is read from it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves import on_committed_results, results, step_at
from unseen.runs.store import Store
from unseen.runs.workers import Serial
from unseen.scales import SCALES, Setting, scale
from unseen.stats import Threshold
from unseen.studies import diversity
from unseen.studies.published import INSTRUCTION_DIVERSITY
from unseen.worlds.base import shares
from unseen.worlds.strings import TaskSpec

EVEN = Threshold(300.0, 250.0, 350.0, 8.0, 0.98, 3)


def falling(size):
    return step_at(180)(180**2 / size)


def read(curve, **more):
    return diversity.readings(results(curve, **more), INSTRUCTION_DIVERSITY)


# The main curve


@pytest.mark.parametrize(
    ("middle", "against"),
    [
        (295, "that is below the range of 300 to 1,000"),
        (305, "that is in the range"),
        (1_300, "that is above the range"),
    ],
)
def test_the_step_is_compared_with_the_published_range(middle, against):
    sentence = read(step_at(middle, 8))[1]
    assert against in sentence
    assert f"{middle} instructions (95 % interval {middle} to {middle}, 3 seeds)" in sentence


def test_the_width_of_the_step_is_named_only_where_it_is_seen():
    assert "from under a tenth of it at 100 to over nine tenths at 300" in read(step_at(180, 6))[1]
    assert "tenth" not in read(step_at(180, 1), sizes=(100, 150, 200, 300))[1]
    assert "tenth" not in read(lambda size: float(100 < size < 1_000))[1]


@pytest.mark.parametrize(
    ("curve", "few", "many", "budget"),
    [
        (
            step_at(180),
            "do not follow",
            "follow",
            "100.0% with 18 examples of each of 3,000, and 0.0% with 5,400",
        ),
        (lambda size: 0.001 * (size > 100), "do not follow", "do not follow", "did not help: at best 0.1%"),
        (lambda size: 0.97, "follow", "follow", "did not help"),
        (falling, "follow", "do not follow", "did not help: at best 100.0%"),
    ],
)
def test_the_main_curve_is_read_as_it_runs(curve, few, many, budget):
    ends, step, last = read(curve)
    first, second = ends.split("; ")
    assert f"10 different instructions {few} unseen ones" in first
    assert f"3,000 different instructions {many} unseen ones" in second
    assert ("There is no step to fit" in step) == ("did not help" in last)
    assert budget in last


def test_only_the_main_setting_is_read_and_one_seed_without_an_interval():
    other = pd.concat([results(step_at(180)), results(step_at(600), setting="longer strings")])
    assert diversity.readings(other, INSTRUCTION_DIVERSITY) == read(step_at(180))
    assert diversity.main_threshold(other) == diversity.main_threshold(results(step_at(180)))
    assert "nan" not in " ".join(read(step_at(180), seeds=[0]))


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
    settings = diversity.no_ops("smoke")
    table = diversity.measure(settings, Store(tmp_path), Serial(), by_kind=True)
    assert list(table.columns[:3]) == ["setting", "no_op_share", "concentration"]
    counted = table.groupby(["setting", "kind"]).size()
    assert counted.to_dict() == {
        ("0 % no-ops", "has-op"): 8,
        ("50 % no-ops", "has-op"): 8,
        ("50 % no-ops", "no-op"): 8,
    }
    assert table[table["no_op_share"] == 0.5].groupby(["run", "split"])["examples"].sum().eq(100).all()
    main = scale("smoke").main
    twice = [Setting("main", main.base, (2, 64), (0,)), Setting("again", main.base, (64,), (0,))]
    table = diversity.measure(twice, Store(tmp_path), Serial(), fields=())
    assert list(table.columns[:2]) == ["setting", "recipe"]
    assert table.groupby("setting")["instructions"].unique().map(list).to_dict() == {
        "main": [2, 64],
        "again": [64],
    }


def test_baselines_know_what_needs_no_learning():
    table = diversity.baselines(scale("smoke"), most=60)
    assert list(table) == ["baseline", "instructions", "seed", "split", "accuracy", "examples"]
    assert table["examples"].eq(60).all()
    assert len(table) == 6 * 2 * 3  # runs, splits, baselines
    means = table.groupby(["baseline", "split"])["accuracy"].agg(["min", "max"])
    assert means.loc["oracle"].eq(1).all(axis=None)
    assert means.loc[("nearest rule", "seen"), "min"] == 1
    assert means.loc[("nearest rule", "unseen"), "max"] == means.loc["copy"].max(axis=None) == 0


@pytest.mark.parametrize("study", [diversity.no_ops, diversity.long_tail])
def test_other_settings_share_the_runs_of_the_main_curve(study):
    for name in SCALES:
        settings = study(name)
        assert len({setting.name for setting in settings}) == len(settings)
        assert all(setting.runs() for setting in settings)
    main = set(SCALES["quick"].runs())
    assert len(main & {run for setting in study("quick") for run in setting.runs()}) >= 12


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


def test_the_examples_are_shared_as_the_task_says():
    task = TaskSpec(
        alphabet="abcdefgh", instructions=20, unseen_instructions=5, examples=2_000, concentration=0.1
    )
    drawn = task.training(task.split())
    assert (np.bincount(drawn.rule, minlength=20) == shares(task, 20)).all()


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
    assert (
        diversity.effective_number(1.0, 64, 640, 1) == 64
    )  # fewer examples than a task has instructions by default


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


def test_the_lowest_of_several_valleys_is_found(monkeypatch):
    valleys = lambda results, even, order: min((order - 0.4) ** 2, (order - 2) ** 2 + 0.01)  # noqa: E731
    monkeypatch.setattr(diversity, "misfit", valleys)
    assert diversity.orders(frame_of(1.0), EVEN)["best order"].eq(0.4).all()


def test_without_even_or_uneven_sets_it_says_what_is_missing():
    frame = frame_of(1.0)
    with pytest.raises(ValueError, match="no row is of an even set"):
        diversity.even_curve(frame[frame["concentration"] != 1])
    with pytest.raises(ValueError, match="no row is of an uneven set"):
        diversity.orders(frame[frame["concentration"] == 1], EVEN)


def test_the_even_curve_goes_through_the_means_and_stays_at_its_ends():
    frame = pd.DataFrame({"split": "unseen", "concentration": 1.0, "instructions": [100, 100, 400],
                          "accuracy": [0.1, 0.3, 0.8]})  # fmt: skip
    curve = diversity.even_curve(frame)
    assert curve(np.array([1, 100, 200, 400, 9_000])) == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])


@pytest.mark.parametrize("notebook", ["11_no_ops", "12_long_tail"])
def test_the_cells_show_the_committed_results(notebook, monkeypatch):
    names = on_committed_results(notebook, monkeypatch, diversity)
    shown = {"11_no_ops": 2, "12_long_tail": 1}[notebook]  # panels of the key figure
    assert sum(len(ax.lines) > 0 for ax in names["grid"].axes.flat) >= shown
