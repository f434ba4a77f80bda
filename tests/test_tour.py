"""What the tour shows: letters that are marked, and where each letter of an answer comes from."""

import re

import numpy as np
import pytest
from hypothesis import given

from strategies import tasks
from unseen.figures import shade
from unseen.rewriting import Rule
from unseen.studies import tour
from unseen.worlds.strings import cipher_table

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
