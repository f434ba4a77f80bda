"""Pictures of instruction sets: every number of the frame is drawn once."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from unseen.instructions import draw_split
from unseen.specs import TaskSpec
from unseen.tour import coverage, set_pictures

TASK = TaskSpec(alphabet="abcdefgh", instructions=60, unseen_instructions=40, examples=400)
SIZES = (3, 20, 60)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_ways_to_spend_a_budget_have_one_area():
    area, line = set_pictures.budget(600, SIZES).axes
    rectangles = [patch for patch in area.patches if isinstance(patch, Rectangle)]
    assert [patch.get_width() * patch.get_height() for patch in rectangles] == pytest.approx([600] * 3)
    assert (line.lines[0].get_xdata() * line.lines[0].get_ydata()).tolist() == pytest.approx([600] * 3)
    assert [text.get_text() for text in line.texts] == ["3 × 200", "60 × 10"]


def test_pair_grids_fill_the_pairs_that_occur():
    split = draw_split(TASK)
    sets = {str(size): coverage.first_rules(split.seen, size) for size in SIZES}
    figure = set_pictures.pair_grids(sets, split.unseen)
    for ax, rules in zip(figure.axes, sets.values(), strict=True):
        assert ax.images[0].get_array().sum() == len({rule.pattern[:2] for rule in rules})
        assert len(ax.collections[0].get_offsets()) == len(split.unseen)


def test_pair_grids_need_two_letters():
    split = draw_split(TASK.but(pattern_length=1, instructions=2, unseen_instructions=2, alphabet="abcdefg"))
    with pytest.raises(ValueError, match="no second letter"):
        set_pictures.pair_grids({"set": split.seen}, split.unseen)


def test_coverage_has_a_curve_for_each_kind():
    ax = set_pictures.coverage_curves(coverage.coverage_frame(TASK, SIZES, [0, 1]))
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [name.split("\n")[0] for name in names] == list(coverage.KINDS)
    assert "(512 possible)" in names[-1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3", "20", "60"]


def test_bars_of_distances_reach_one():
    frame = coverage.distance_frame(TASK, SIZES, [0])
    for ax in set_pictures.distances(frame).axes:
        tops = [patch.get_y() + patch.get_height() for patch in ax.patches]
        assert tops[-3:] == pytest.approx([1.0] * 3)
        assert len(ax.patches) == 3 * 4
