"""A tidy frame in, Axes out: what stands in the figures, and what they leave alone."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from curves import SIZES, baselines, results, step_at
from unseen import plots
from unseen.claims import INSTRUCTION_DIVERSITY
from unseen.diversity.curve import thresholds
from unseen.diversity.thresholds import Threshold, fit_threshold


def histories(sizes=(10, 300), recipes=("modern",), seeds=(0, 1)):
    return pd.DataFrame([
        {"step": step, "loss": 1.0, "seconds": 1.0, "split": split, "accuracy": step / 100, "recipe": recipe,
         "instructions": size, "seed": seed}
        for step in (50, 100) for split in ("seen", "unseen") for recipe in recipes for size in sizes for seed in seeds
    ])  # fmt: skip


def settings(middles=(150, 600)):
    return thresholds(pd.concat([results(step_at(m), setting=f"at {m}") for m in middles]))


FIGURES = {
    "accuracy_by_instructions": (lambda frame: plots.accuracy_by_instructions(
        frame, baselines(), fit_threshold(frame), INSTRUCTION_DIVERSITY), results),
    "accuracy alone": (plots.accuracy_by_instructions, results),
    "threshold_by_setting": (plots.threshold_by_setting, settings),
    "learning_curves": (plots.learning_curves, histories),
    "learning_curves of one": (plots.learning_curves, lambda: histories(sizes=(10,))),
}  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_changes_neither_settings_nor_its_frame(name):
    draw, make = FIGURES[name]
    frame = make()
    before, settings_before = frame.copy(deep=True), dict(mpl.rcParams)
    draw(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert dict(mpl.rcParams) == settings_before


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_drawn_into_given_axes(name):
    _, make = FIGURES[name]
    draw = getattr(plots, name.split()[0] if name != "accuracy alone" else "accuracy_by_instructions")
    ax = plt.figure().add_subplot()
    assert draw(make(), ax=ax) is ax
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()


def test_the_theme_is_set_only_when_asked_for():
    with mpl.rc_context():
        before = dict(mpl.rcParams)
        plots.set_theme()
        assert dict(mpl.rcParams) != before


# The main figure


def test_the_main_figure_shows_curves_baselines_threshold_and_paper():
    frame = results(step_at(180), noise=0.02)
    ax = plots.accuracy_by_instructions(frame, baselines(), fit_threshold(frame), INSTRUCTION_DIVERSITY)
    labels = " / ".join(legend(ax))
    for expected in ("seen instructions", "unseen instructions", "baseline: oracle", "baseline: copy",
                     "baseline: nearest rule, seen", "baseline: nearest rule, unseen", "half accuracy at",
                     "95 % interval", "never below 300", "always from 1,000", "400 or 500"):  # fmt: skip
        assert expected in labels
    assert ax.get_xlabel() == "different instructions in training"
    assert ax.get_ylabel() == "exact match of whole answers"
    assert ax.get_xscale() == "log"
    low, high = ax.get_ylim()
    assert low < 0 < 1 < high  # points at both ends are whole


def test_the_upper_axis_tells_the_examples_of_each_instruction():
    ax = plots.accuracy_by_instructions(results())
    (upper,) = ax.child_axes
    ax.figure.canvas.draw()
    lower_ticks = [text.get_text() for text in ax.get_xticklabels()]
    upper_ticks = [text.get_text() for text in upper.get_xticklabels()]
    assert (lower_ticks[0], upper_ticks[0]) == ("10", "5,400")
    assert (lower_ticks[-1], upper_ticks[-1]) == ("3,000", "18")
    assert "54,000" in upper.get_xlabel()


def test_every_run_is_a_point():
    frame = results(noise=0.02)
    ax = plots.accuracy_by_instructions(frame)
    drawn = np.sort(np.concatenate([np.asarray(part.get_offsets())[:, 1] for part in ax.collections
                                    if hasattr(part, "get_offsets") and len(part.get_offsets()) == 27]))  # fmt: skip
    assert drawn == pytest.approx(np.sort(frame["accuracy"].to_numpy()))


def test_a_threshold_without_an_interval_has_no_band():
    lone = results(seeds=[0])
    ax = plots.accuracy_by_instructions(lone, threshold=fit_threshold(lone))
    assert "half accuracy at 180" in legend(ax)
    assert "nan" not in " ".join(legend(ax))


def test_a_curve_that_does_not_step_is_drawn_all_the_same():
    ax = plots.accuracy_by_instructions(results(lambda size: 0.0), baselines(), None, INSTRUCTION_DIVERSITY)
    assert not any("half" in label for label in legend(ax))


@pytest.mark.parametrize("values", [[0.2, 0.4, 0.6], [0.0, 0.0], [1.0, 0.9, 1.0], [0.5]])
def test_intervals_over_seeds_hold_their_mean_and_stay_shares(values):
    low, high = plots.over_seeds(pd.Series(values))
    assert 0 <= low <= np.mean(values) <= high <= 1
    assert (low == high) == (len(set(values)) == 1)


def test_the_interval_over_seeds_is_students():
    low, high = plots.over_seeds(pd.Series([0.4, 0.5, 0.6]))
    assert high - low == pytest.approx(2 * 4.302653 * 0.1 / 3**0.5)


@pytest.mark.parametrize("sizes", [SIZES, (1, 2, 3), (1_000, 1_001, 1_002), (10,), range(50, 400, 10)])
def test_labels_do_not_touch(sizes):
    kept = plots.spaced(np.array(sizes), apart=1.3)
    assert kept[0] == sizes[0]
    assert set(kept) <= set(sizes)
    assert all(b / a >= 1.3 for a, b in pairwise(kept))
    assert all(any(k <= size < 1.3 * k for k in kept) for size in sizes)  # none is left out without need


# The others


def test_thresholds_of_settings_stand_in_their_order():
    ax = plots.threshold_by_setting(settings((150, 600)))
    ax.figure.canvas.draw()
    places = {text.get_text(): text.get_position()[1] for text in ax.get_yticklabels()}
    assert places["at 150"] > places["at 600"]
    assert "half accuracy" in ax.get_xlabel()
    offsets = np.asarray(ax.collections[-1].get_offsets())
    assert offsets[:, 0] == pytest.approx([150, 600], rel=0.01)


def test_learning_curves_name_both_splits():
    ax = plots.learning_curves(histories(sizes=(10,)))
    assert legend(ax) == ["unseen instructions", "seen instructions"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "exact match")


def test_learning_curves_of_several_are_told_apart():
    assert {"10", "300", "seen", "unseen"} <= set(legend(plots.learning_curves(histories())))
    both = plots.learning_curves(histories(sizes=(10,), recipes=("modern", "gpt2")), hue="recipe")
    assert {"modern", "gpt2"} <= set(legend(both))


def test_a_split_has_one_colour_everywhere():
    def colours(ax):
        return {line.get_label(): mpl.colors.to_rgb(line.get_color()) for line in ax.get_lines()}

    main = colours(plots.accuracy_by_instructions(results()))
    assert main["unseen instructions"] == plots.COLOURS["unseen"]
    assert main["seen instructions"] == plots.COLOURS["seen"]
    handles, _ = plots.learning_curves(histories(sizes=(10,))).get_legend_handles_labels()
    assert [mpl.colors.to_rgb(handle.get_color()) for handle in handles] == [
        plots.COLOURS["unseen"],
        plots.COLOURS["seen"],
    ]


def test_attention_shows_the_answer_rows_of_each_layer():
    weights = [np.full((2, 6, 6), 1 / 6), np.stack([np.eye(6), np.ones((6, 6)) / 6])]
    figure = plots.attention_maps(weights, "ab→c=d", answer_from=4)
    assert [ax.get_title() for ax in figure.axes] == ["layer 1", "layer 2"]
    assert figure.axes[1].collections[0].get_array().shape == (2, 6)
    assert figure.axes[1].collections[0].get_array()[0, 4] == pytest.approx((1 + 1 / 6) / 2)
    picked = plots.attention_maps(weights, "ab→c=d", answer_from=4, heads=[1, 0])
    assert picked.axes[1].get_title() == "layer 2, head 1"
    assert picked.axes[1].collections[0].get_array()[0, 4] == 1
    assert figure.axes[-1].get_xlabel() == "attends to"


def test_a_threshold_is_one_line():
    ax = plots.accuracy_by_instructions(results(), threshold=Threshold(222, 111, 333, 4, 1, 3))
    (line,) = [line for line in ax.get_lines() if "half accuracy" in line.get_label()]
    assert set(line.get_xdata()) == {222}
    assert "111 to 333" in line.get_label()
