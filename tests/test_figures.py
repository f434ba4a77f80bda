"""Tidy frame in, figure out: what the figures show, and what they leave alone."""

import re
from itertools import combinations, pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from curves import SIZES, baselines, results
from unseen import figures

PAPER = SimpleNamespace(never_below=300, always_from=1_000, sharp_near=(400, 500))
HALF = SimpleNamespace(middle=222, low=111, high=333)
LONE = SimpleNamespace(middle=222, low=np.nan, high=np.nan)  # of one seed


def histories(sizes=(10, 300)):
    levels = {"step": (50, 100), "split": ("seen", "unseen"), "instructions": sizes, "seed": (0, 1)}
    index = pd.MultiIndex.from_product(levels.values(), names=levels)
    return index.to_frame(index=False).assign(accuracy=lambda frame: frame["step"] / 100)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def tick_labels(ax, axis="x"):
    ax.figure.canvas.draw()
    return [text.get_text() for text in getattr(ax, f"get_{axis}ticklabels")()]


def test_curves_have_a_panel_per_value_a_line_per_hue_and_a_point_per_run():
    frame = pd.concat([results(noise=0.02).assign(recipe=recipe) for recipe in ("modern", "gpt2")])
    grid = figures.curves(frame, hue="recipe", col="split")
    assert [ax.get_title("left") for ax in grid.axes.flat] == ["seen", "unseen"]
    assert [text.get_text() for text in grid.legend.get_texts()] == ["modern", "gpt2"]
    part = frame[(frame["split"] == "unseen") & (frame["recipe"] == "gpt2")]
    line, points = grid.axes.flat[1].lines[1], grid.axes.flat[1].collections[-1].get_offsets()
    assert line.get_ydata() == pytest.approx(part.groupby("instructions")["accuracy"].mean())
    assert len(points) == 2 * len(part)
    assert tick_labels(grid.axes.flat[1])[-1] == "3,000"


@pytest.mark.parametrize("sizes", [SIZES, (1_000, 1_001, 1_002), (10,), range(50, 400, 10)])
def test_labels_do_not_touch_and_none_is_left_out_without_need(sizes):
    kept = figures.spaced(sizes, apart=1.3)
    assert set(kept) <= set(sizes)
    assert all(b / a >= 1.3 for a, b in pairwise(kept))
    assert all(any(k <= size < 1.3 * k for k in kept) for size in sizes)
    labels = tick_labels(figures.log_sizes(plt.figure().add_subplot(), [10, 1_000_000]))
    assert labels == ["10", "1,000,000"]


def test_learning_curves_name_splits_and_levels():
    frame, ax = histories(sizes=(10,)), plt.figure().add_subplot()
    assert figures.learning_curves(frame, ax) is ax
    pd.testing.assert_frame_equal(frame, histories(sizes=(10,)))
    assert legend(ax) == ["unseen instructions", "seen instructions"]
    assert {"10", "300", "unseen instructions"} <= set(legend(figures.learning_curves(histories())))


def test_tiles_are_escaped_marked_and_their_notes_in_one_column():
    rows = [("<b>", [("<", "wrong"), (" ", ""), ("", "")], "&"), ("", [("a", "seen _right")], "")]
    page = figures.tiles(rows)
    first, second = page.split("<tr>")[1:]
    assert "<b>" not in page
    assert "&lt;b&gt;" in first
    assert first.count("<td") == second.count("<td") == 5
    assert [first.count(figures.shade(mark)) for mark in ("wrong", "")] == [1, 1]  # a gap has no background
    assert figures.shade("seen") in second
    assert "box-shadow" in second


# Readable by all

SEEN_BY = {  # what is left of linear red, green and blue (Machado, Oliveira and Fernandes 2009)
    "all cones": np.eye(3),
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
WHITE, BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


def lab(colour, eyes):
    """A colour in CIE L*a*b*, whose distances are ΔE."""
    colour = np.asarray(colour)
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.clip(TO_XYZ @ (SEEN_BY[eyes] @ linear) / (0.9505, 1, 1.0888), 1e-9, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def of_tile(mark):
    """The background of a tile, and its letters."""
    parts = re.findall(r"rgb\((\d+),(\d+),(\d+)\)", figures.shade(mark))
    return [np.array(part, float) / 255 for part in parts]


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_tiles_of_different_meaning_differ_for_all_eyes(eyes):
    for one, other in combinations(("pattern", "wrong", "right"), 2):
        apart = lab(of_tile(one)[0], eyes) - lab(of_tile(other)[0], eyes)
        assert np.linalg.norm(apart) > 20, (one, other)


def test_letters_and_lines_have_contrast():
    assert figures.contrast(BLACK, WHITE) == pytest.approx(21)
    for mark in figures.COLOURS:
        assert figures.contrast(*of_tile(mark)) > 4.5
    for colour in [*figures.SAFE, *figures.COLOURS.values(), *figures.levels(2), *figures.levels(7)]:
        assert figures.contrast(colour) >= 3


def test_bands_contain_their_mean_and_end_within_the_axis():
    frame = pd.DataFrame({"instructions": [10, 100] * 3, "accuracy": [0.0, 0.9, 0.0, 1.0, 0.1, 1.0]})
    ax = figures.curves(frame, points=False).ax
    band = np.concatenate([path.vertices[:, 1] for path in ax.collections[0].get_paths()])
    assert 0 < band.min() < 0.03
    assert 0.97 < band.max() < 1


# The main study


def test_the_main_figure_shows_curves_runs_baselines_threshold_and_paper():
    frame = results(noise=0.02)
    ax = figures.accuracy_by_instructions(frame, baselines(), HALF, PAPER)
    labels = " / ".join(legend(ax))
    expected = ("oracle", "copy", "rule, seen", "rule, unseen", "222", "111 to 333", "300", "400 or 500")
    assert all(each in labels for each in expected)
    offsets = [np.asarray(part.get_offsets()) for part in ax.collections]
    points = np.concatenate([each[:, 1] for each in offsets if len(each) == 27])
    assert np.sort(points) == pytest.approx(np.sort(frame["accuracy"]))
    colours = {line.get_label(): line.get_color() for line in ax.get_lines()}
    assert colours["unseen instructions"] == figures.COLOURS["unseen"]
    (upper,) = ax.child_axes
    assert (tick_labels(ax)[0], tick_labels(upper)[0]) == ("10", "5,400")
    assert (tick_labels(ax)[-1], tick_labels(upper)[-1]) == ("3,000", "18")
    assert "54,000" in upper.get_xlabel()


@pytest.mark.parametrize(("threshold", "label"), [(LONE, "half accuracy at 222"), (None, None)])
def test_a_threshold_may_lack_an_interval_or_be_absent(threshold, label):
    labels = legend(figures.accuracy_by_instructions(results(), threshold=threshold))
    assert [each for each in labels if "half" in each] == ([label] if label else [])
