"""What the tour shows: letters that are marked, attention, instructions that do not fit or have changed."""

import re

import numpy as np
import pytest
from hypothesis import given

from strategies import tasks
from unseen.figures import shade
from unseen.rewriting import Rule
from unseen.studies import tour
from unseen.worlds.strings import TaskSpec, cipher_table

TASK = TaskSpec(alphabet="abcdefgh", instructions=60, unseen_instructions=40, examples=400, no_op_share=0.3)


# Letters


def letters(page):
    """The rows of tiles: letters with a dot for a gap, places of filled and of underlined ones, the note."""
    rows = []
    for row in page.split("<tr>")[1:]:
        _, *cells, note = re.findall(r"<td([^>]*)>(.*?)</td>", row)
        text = "".join(letter or "." for _, letter in cells)
        filled = {name: places(cells, shade(name)) for name in ("pattern", "replacement")}
        rows.append((text, filled["pattern"] or filled["replacement"], places(cells, "box-shadow"), note[1]))
    return rows


def places(cells, look):
    return [place for place, (style, _) in enumerate(cells) if look in style]


@pytest.mark.parametrize(("rule", "text", "above", "below"), [
    (Rule("aa", "bac"), "caaba", ("caa.ba", [1, 2], []), ("cbacba", [1, 2, 3], [])),
    (Rule("iss", "art"), "mississippi", ("mississippi", [1, 2, 3], [4, 5, 6]),
     ("martissippi", [1, 2, 3], [])),
    (Rule("iss", "art"), "canada", ("canada", [], []), ("canada", [], [])),
    (Rule("b", ""), "abba", ("abba", [1], [2]), ("a.ba", [], [])),
    (Rule("", "x"), "ab", (".ab", [], []), ("xab", [0], [])),
])  # fmt: skip
def test_a_rewrite_marks_match_and_replacement_and_aligns_the_rest(rule, text, above, below):
    shown = letters(tour.rewrites([(rule, text)]))
    assert [row[:3] for row in shown] == [above, below]
    assert ("no-op" in shown[0][3]) == (rule.pattern not in text)


def test_a_string_can_be_pointed_out_even_where_it_overlaps_the_match():
    ((_, filled, underlined, _), _) = letters(tour.rewrites([(Rule("bc", "dd"), "abcab")], mark="ab"))
    assert (filled, underlined) == ([1, 2], [0, 1, 3, 4])


# Attention


@given(tasks())
def test_every_letter_of_an_answer_is_found_at_its_source(task):
    examples = task.training(task.split())
    x, y, place = task.pattern_length, task.replacement_length, tour.sources(examples)
    read = np.take_along_axis(examples.prompts, np.maximum(place, 0), 1)
    assert ((place < 0) == (examples.answers == examples.layout.special("end"))).all()
    assert (cipher_table(task.alphabet, task.cipher)[read] == examples.answers)[place >= 0].all()
    in_y = (place > x) & (place <= x + y)
    assert in_y.sum(1).tolist() == [y if applies else 0 for applies in examples.applies]
    assert (place[~in_y & (place >= 0)] >= x + y + 2).all()  # all others come from z


def test_a_head_that_looks_at_the_source_is_found():
    examples = TASK.training(TASK.split())
    layout, place = examples.layout, tour.sources(examples)
    first, read = layout.prompt_length - 1, layout.context
    perfect = np.zeros((len(examples), read, read))
    for row, column in zip(*np.nonzero(place >= 0), strict=True):
        perfect[row, first + column, place[row, column]] = 1
    even = np.full_like(perfect, 1 / read)
    weights = [np.stack([even, even], 1), np.stack([even, perfect], 1)]
    frame = tour.on_source(weights, examples)
    best = frame.loc[frame.groupby("job")["attention"].idxmax()]
    assert best[["layer", "head", "attention"]].to_numpy() == pytest.approx(np.array([[2, 2, 1]] * 2))
    others = frame[(frame["layer"] == 1) | (frame["head"] == 1)]
    assert others["attention"].tolist() == pytest.approx([1 / read] * 6)


# Instructions of one's own, and changed ones


def test_changed_instructions_keep_patterns_and_swap_replacements():
    now, before = tour.changed_instructions(TASK, size=16)
    trained = {rule.pattern: rule for rule in TASK.split().seen}
    for i in range(16):
        new, old = now.line(i), before.line(i)
        rule = trained[new.rule.pattern]
        assert new.answer == new.rule.apply(new.text)
        assert old.answer == rule.apply(new.text)
        assert new.rule.replacement in {other.replacement for other in trained.values()} - {rule.replacement}
