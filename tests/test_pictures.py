"""Pictures of single examples: which letters stand where, and what is marked."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch, Rectangle

from unseen.encoding import Encoding
from unseen.model import Shape, build
from unseen.rewriting import MarkovAlgorithm, Rule, StepLimitExceeded
from unseen.specs import RECIPES, ModelSpec, TaskSpec
from unseen.tour import pictures

ENCODING = Encoding.of(TaskSpec())
SORT = MarkovAlgorithm.parse("ba -> ab\nca -> ac\ncb -> bc")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def boxes(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]


def filled(ax, colour):
    """Where the cells of a colour stand, left edges by row."""
    light = to_hex(pictures._tint(colour))
    found = [patch for patch in boxes(ax) if to_hex(patch.get_facecolor()) == light]
    return [(round(patch.get_x()), round(patch.get_y() + 0.44, 2)) for patch in found]


def test_a_rewrite_shows_every_letter_and_marks_match_and_replacement():
    ax = pictures.rewrite(Rule("aa", "bac"), "caaba")
    assert texts(ax) == [*"caaba", *"cbacba", "input", "answer", "aa → bac"]
    assert filled(ax, "pattern") == [(1, 0), (2, 0)]
    assert filled(ax, "replacement") == [(1, 2), (2, 2), (3, 2)]
    assert len(ax.lines) == 3  # three letters are copied


def test_a_no_op_marks_nothing_and_says_so():
    ax = pictures.rewrite(Rule("iss", "art"), "canada")
    assert filled(ax, "pattern") == filled(ax, "replacement") == []
    assert texts(ax)[-1].endswith("(no-op)")
    assert len(ax.lines) == len("canada")


@pytest.mark.parametrize(("mark", "lines"), [("", 9), ("ss", 11), ("zz", 9)])
def test_further_matches_and_a_mark_are_underlined(mark, lines):
    assert len(pictures.rewrite(Rule("iss", "art"), "mississippi", mark=mark).lines) == lines  # 8 copied, 1 match


def test_an_empty_replacement_leaves_no_cell():
    ax = pictures.rewrite(Rule("b", ""), "abba")
    assert len(boxes(ax)) == 4 + 3


def test_several_rewrites_stand_below_each_other():
    figure = pictures.rewrites([(Rule("a", "b"), "a"), (Rule("a", "b"), "banana")])
    assert len(figure.axes) == 2
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_a_tape_has_a_row_for_each_step_and_its_rule():
    ax = pictures.tape(SORT, "cabca")
    assert len(boxes(ax)) == 6 * 5
    assert [text for text in texts(ax) if "→" in text] == ["ca → ac", "ca → ac", "ba → ab", "ca → ac", "cb → bc"]
    assert len(filled(ax, "pattern")) == 5 * 2
    assert len(ax.lines) == 5


def test_a_tape_without_steps_or_letters():
    assert texts(pictures.tape(SORT, "abc")) == [*"abc", "start"]
    ax = pictures.tape(MarkovAlgorithm.parse("a -> ."), "a")
    assert "(empty)" in texts(ax)
    assert "a → ." in texts(ax)


def test_a_tape_that_does_not_end_is_refused():
    with pytest.raises(StepLimitExceeded):
        pictures.tape(MarkovAlgorithm.parse("a -> aa"), "a", limit=5)


def test_an_encoded_example_shows_ids_and_scored_positions():
    ax = pictures.encoded(ENCODING, Rule("iss", "art"), "kissmeonce")
    shown = texts(ax)
    assert "".join(shown[:29]) == "iss→art|kissmeonce=kartmeonce"
    assert shown[29:58] == [str(i) for i in ENCODING.ids("iss→art|kissmeonce=kartmeonce")]
    assert "".join(shown[58:69]) == "kartmeonce."
    assert len(filled(ax, "unseen")) == ENCODING.answer_length
    assert {x for x, _ in filled(ax, "pattern")} == {0, 1, 2}
    assert {x for x, _ in filled(ax, "replacement")} == {4, 5, 6}


def test_masks_have_a_panel_each_and_a_token_at_each_tick():
    shape = Shape.of(ENCODING)
    visible = {name: (build(ModelSpec(name), shape).mask == 0).numpy() for name in RECIPES}
    figure = pictures.masks(visible, "iss→art|kissmeonce=kartmeonce", shape.prompt)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == list(RECIPES)
    for ax, may in zip(figure.axes, visible.values(), strict=True):
        assert (ax.images[0].get_array() == may).all()
        assert "".join(label.get_text() for label in ax.get_xticklabels()) == "iss→art|kissmeonce=kartmeonce"


def test_looks_frames_the_place_of_each_letter():
    weights = np.full((11, 29), 1 / 29)
    sources = [8, 4, 5, 6, *range(12, 18), -1]
    figure = pictures.looks(
        {"one": weights, "two": weights}, "iss→art|kissmeonce=kartmeonce", "kartmeonce.", sources, ENCODING
    )
    for ax in figure.axes[:2]:
        frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert [(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in frames] == [
            (p, r) for r, p in enumerate(sources[:-1])
        ]
        assert "".join(label.get_text() for label in ax.get_yticklabels()) == "kartmeonce."


def test_jobs_have_a_panel_each():
    frame = pd.DataFrame([(layer, head, job, 0.5) for layer in (1, 2, 3) for head in (1, 2) for job in ("copied", "replaced")],
                         columns=["layer", "head", "job", "attention"])  # fmt: skip
    figure = pictures.jobs(frame)
    assert [len(ax.texts) for ax in figure.axes] == [6, 6]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_parameter_is_counted_once(recipe):
    model = build(ModelSpec(recipe), Shape.of(ENCODING))
    assert pictures.parameter_counts(model).sum() == sum(p.numel() for p in model.parameters())
