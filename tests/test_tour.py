"""What the tour shows: letters that are marked, sets counted again by brute force, attention, questions to
a model.
"""

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

from strategies import tasks
from unseen.figures import shade
from unseen.model import Shape, build
from unseen.rewriting import MarkovAlgorithm, Rule, StepLimitExceeded
from unseen.specs import RECIPES, ModelSpec
from unseen.studies import tour
from unseen.worlds.strings import TaskSpec, cipher_table

TASK = TaskSpec(alphabet="abcdefgh", instructions=60, unseen_instructions=40, examples=400, no_op_share=0.3)
SIZES = (3, 20, 60)


# Letters


def letters(page):
    """The rows of tiles: letters with a dot for a gap, places of filled and of underlined ones, the note."""
    rows = []
    for row in page.split("<tr>")[1:]:
        _, *cells, note = re.findall(r"<td([^>]*)>(.*?)</td>", row)
        text = "".join(letter or "." for _, letter in cells)
        filled = {name: places(cells, f"background:{shade(name)}") for name in ("pattern", "replacement")}
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


def test_a_tape_has_a_row_per_step_and_its_rule():
    shown = letters(tour.tape(MarkovAlgorithm.parse("ba -> ab\nca -> ac\ncb -> bc"), "cba"))
    assert [row[0] for row in shown] == ["cba", "cab", "acb", "abc"]
    assert [row[1] for row in shown] == [[1, 2], [0, 1], [1, 2], []]  # what comes next
    assert [row[2] for row in shown] == [[], [1, 2], [0, 1], [1, 2]]  # what was written last
    assert [row[3] for row in shown] == ["start", "ba -&gt; ab", "ca -&gt; ac", "cb -&gt; bc"]
    assert "(empty)" in letters(tour.tape(MarkovAlgorithm.parse("a -> ."), "a"))[-1][3]
    with pytest.raises(StepLimitExceeded):
        tour.tape(MarkovAlgorithm.parse("a -> aa"), "a", limit=5)


# Sets of instructions


def test_coverage_counts_letters_pairs_and_patterns():
    patterns = TASK.split().seen.patterns
    found = tour.coverage(patterns, 8, SIZES).set_index("instructions")["share"]
    for size in SIZES:
        part = patterns[:size].tolist()
        singles = {(i, row[i]) for row in part for i in range(3)}
        pairs = {(i, j, row[i], row[j]) for row in part for i, j in combinations(range(3), 2)}
        counted = [len(singles) / 24, len(pairs) / 192, size / 512]
        assert found[size].tolist() == pytest.approx(counted)
    frame = tour.coverage_frame(TASK, SIZES, [0, 1])
    part = frame[(frame["seed"] == 1) & (frame["instructions"] == 20)]
    smaller = TASK.but(instructions=20, rule_seed=1).split().seen.patterns
    assert part["share"].tolist() == tour.coverage(smaller, 8, [20])["share"].tolist()


@pytest.mark.parametrize(("length", "possible"), [(1, [26, 26]), (20, [520, 190 * 676, 26**20])])
def test_patterns_of_one_letter_have_no_pairs_and_long_ones_more_than_an_integer_holds(length, possible):
    assert tour.coverage(np.zeros((1, length), np.uint8), 26, [1])["possible"].tolist() == possible


@given(tasks())
def test_distances_are_those_of_the_nearest_training_rule(task):
    split = task.split()
    near, far = tour.distances_to_nearest(split.unseen, split.seen)
    patterns = (split.unseen.patterns[:, None] != split.seen.patterns).sum(2)  # each with each
    replacements = (split.unseen.replacements[:, None] != split.seen.replacements).sum(2)
    assert (near == patterns.min(1)).all()
    assert ((patterns == near[:, None]) & (replacements == far[:, None])).any(1).all()
    assert min(near.min(), far.min()) > 0


@given(tasks())
def test_holding_finds_what_plain_strings_find(task):
    split = task.split()
    examples = task.training(split)
    found = tour.holding(examples.inputs, split.unseen.patterns)
    lines = [examples.line(i) for i in range(len(examples))]
    assert found.tolist() == [any(rule.pattern in line.text for rule in split.unseen) for line in lines]


def test_holding_searches_more_texts_than_one_chunk():
    texts = np.zeros((tour._CHUNK + 3, 4), np.uint8)
    texts[-1, 2:] = 1
    assert tour.holding(texts, np.array([[1, 1]])).nonzero()[0].tolist() == [len(texts) - 1]


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


@pytest.mark.parametrize("recipe", RECIPES)
def test_attention_is_a_share_for_each_token_read(recipe):
    examples = TASK.training(TASK.split()).first(20)
    shape = Shape.of(examples.layout)
    layers = tour.attention(build(ModelSpec(recipe, layers=2, width=16, heads=2), shape), examples.tokens())
    assert [part.shape for part in layers] == [(20, 2, shape.context, shape.context)] * 2
    for part in layers:
        np.testing.assert_allclose(part.sum(-1), 1, atol=1e-5)


def test_a_head_that_looks_at_the_source_is_found_and_named():
    examples = TASK.training(TASK.split())
    layout, place = examples.layout, tour.sources(examples)
    first, read = layout.prompt_length - 1, layout.context
    perfect = np.zeros((len(examples), read, read))
    for row, column in zip(*np.nonzero(place >= 0), strict=True):
        perfect[row, first + column, place[row, column]] = 1
    even = np.full_like(perfect, 1 / read)
    weights = [np.stack([even, even], 1), np.stack([even, perfect], 1)]
    frame = tour.on_source(weights, examples)
    best = tour.best_heads(frame)
    assert best[["layer", "head"]].to_numpy().tolist() == [[2, 2], [2, 2]]
    assert best["attention"].tolist() == pytest.approx([1, 1])
    others = frame[(frame["layer"] == 1) | (frame["head"] == 1)]
    assert others["attention"].tolist() == pytest.approx([1 / read] * 6)
    rows = tour.rows_of(best, weights, layout)
    assert list(rows) == ["copied letters: layer 2, head 2", "replaced letters: layer 2, head 2"]
    assert all((each == perfect[0, first:]).all() for each in rows.values())


# Questions to a model


@pytest.mark.parametrize(("task", "rule", "text", "message"), [
    ({}, Rule("is", "art"), "kissmeonce", "pattern: 2 letters"),
    ({}, Rule("iss", "art"), "kiss", "input: 4 letters"),
    ({}, Rule("iss", "ÄÖÜ"), "kissmeonce", "replacement: unknown letter"),
    ({"replacement_length": 2, "unseen_instructions": 10}, Rule("iss", "ab"), "canadacana", "at most 9"),
])  # fmt: skip
def test_one_example_that_does_not_fit_is_refused(task, rule, text, message):
    with pytest.raises(ValueError, match=message):
        tour.one_example(TaskSpec(**task).layout, rule, text)


def test_changed_instructions_keep_patterns_and_swap_replacements():
    now, before = tour.changed_instructions(TASK, size=16)
    trained = {rule.pattern: rule for rule in TASK.split().seen}
    for i in range(16):
        new, old = now.line(i), before.line(i)
        rule = trained[new.rule.pattern]
        assert new.answer == new.rule.apply(new.text)
        assert old.answer == rule.apply(new.text)
        assert new.rule.replacement in {other.replacement for other in trained.values()} - {rule.replacement}


@pytest.mark.parametrize("recites", [False, True])
def test_who_follows_and_who_recites(monkeypatch, recites):
    now, before = tour.changed_instructions(TASK.but(no_op_share=0.0), size=16)
    monkeypatch.setattr(tour, "greedy_answers", lambda *_: (before if recites else now).answers)
    found = tour.follows_or_recites(None, TASK.but(no_op_share=0.0), size=16)
    assert found == {"follows the prompt": float(not recites), "recites": float(recites)}


def test_other_worlds_are_what_their_names_say(monkeypatch):
    task = TASK.but(no_op_share=0.0)

    def replaces_everywhere(model, prompts):
        layout, found = task.layout, []
        for prompt in map(layout.text, prompts):
            text = prompt[8:-1].replace(prompt[:3], prompt[4:7])
            found.append(layout.ids(text.ljust(layout.answer_length, ".")))
        return np.array(found)

    monkeypatch.setattr(tour, "greedy_answers", replaces_everywhere)
    worlds = {"once": {}, "none": {"no_op_share": 1.0}, "twice": {"occurrences": 2}}
    found = tour.other_worlds(None, task, worlds, size=20).set_index("world")
    assert found["exact match"].to_dict() == {"once": 1, "none": 1, "twice": 0}
    assert found["every x replaced"].eq(1).all()
