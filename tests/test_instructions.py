"""Held out means held out: nothing of an unseen rule ever stands in a training rule."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen import instructions
from unseen.instructions import Instructions, Split, draw_split, generator, leaks, nearest_rules
from unseen.rewriting import Rule
from unseen.specs import TaskSpec

LARGE = TaskSpec(pattern_length=20, replacement_length=20, input_length=50, instructions=300, unseen_instructions=200)
WAYS = {"_ENUMERABLE": 1 << 22}, {"_ENUMERABLE": 0, "_BLOCK": 8}  # list a small space, or draw as from a large one


def drawn(task: TaskSpec, way: dict[str, int]) -> Split:
    with patch.multiple(instructions, **way):
        return draw_split(task)


def patterns(rules: Instructions) -> list[str]:
    return [rule.pattern for rule in rules]


@given(tasks(), st.sampled_from(WAYS))
def test_a_split_is_what_the_task_asks_for(task, way):
    split = drawn(task, way)
    assert (len(split.seen), len(split.unseen)) == (task.instructions, task.unseen_instructions)
    assert leaks(split) == 0
    for rules in (split.seen, split.unseen):
        assert len(set(patterns(rules))) == len(rules)
        for rule in rules:
            assert rule.pattern != rule.replacement
            assert (len(rule.pattern), len(rule.replacement)) == (task.pattern_length, task.replacement_length)
            assert set(rule.pattern + rule.replacement) <= set(task.alphabet)
    assert len({rule.replacement for rule in split.unseen}) == len(split.unseen)
    assert split.seen.patterns.dtype == split.seen.replacements.dtype == np.uint8


@pytest.mark.parametrize("way", WAYS, ids=["listed", "in blocks"])
@given(task=tasks())
def test_the_number_of_instructions_changes_neither_the_unseen_rules_nor_the_first_patterns(way, task):
    whole = drawn(task, way)
    for size in range(1, task.instructions):
        part = drawn(task.but(instructions=size), way)
        assert part.unseen == whole.unseen
        assert patterns(part.seen) == patterns(whole.seen)[:size]


@pytest.mark.parametrize("length", [5, 20])
def test_large_spaces_keep_the_same_promises(length):
    task = LARGE.but(pattern_length=length, replacement_length=length, instructions=9_000, examples=9_000)
    whole = draw_split(task)  # 5 letters: more than memory should list, few enough to draw some strings twice
    assert leaks(whole) == 0
    assert len(set(patterns(whole.seen))) == 9_000
    for size in (500, 8_001):
        part = draw_split(task.but(instructions=size))
        assert {pattern[0] for pattern in patterns(part.seen)} == set(task.alphabet)
        assert part.unseen == whole.unseen
        assert patterns(part.seen) == patterns(whole.seen)[:size]


def test_large_spaces_of_unequal_lengths():
    split = draw_split(LARGE.but(replacement_length=18))
    assert leaks(split) == 0
    assert {len(rule.replacement) for rules in (split.seen, split.unseen) for rule in rules} == {18}


@given(tasks())
def test_drawing_is_reproducible_and_ignores_the_example_seed(task):
    assert draw_split(task) == draw_split(task.but(example_seed=task.example_seed + 1, examples=task.examples + 1))


def test_another_rule_seed_draws_other_rules():
    first, second = draw_split(LARGE), draw_split(LARGE.but(rule_seed=1))
    assert not set(patterns(first.seen)) & set(patterns(second.seen))
    assert not set(patterns(first.unseen)) & set(patterns(second.unseen))


@pytest.mark.parametrize(
    ("letters", "x", "y", "seen", "unseen"),
    [
        ("ab", 2, 2, 2, 1),
        ("abcd", 1, 1, 2, 1),
        ("abcdef", 3, 3, 2, 107),
        ("abcdef", 3, 3, 214, 1),
        ("abc", 2, 1, 8, 1),
        ("abc", 1, 2, 2, 1),
        ("abcde", 1, 2, 1, 3),
    ],
)
def test_the_tightest_possible_room_is_enough(letters, x, y, seen, unseen):
    values = {"alphabet": letters, "pattern_length": x, "replacement_length": y, "examples": 1_000}
    task = TaskSpec(**values, instructions=seen, unseen_instructions=unseen)
    with pytest.raises(ValueError, match=r"only .* strings of"):
        task.but(instructions=max(seen, 2) + 1, unseen_instructions=unseen)
    split = draw_split(task)
    assert (len(split.seen), len(split.unseen), leaks(split)) == (seen, unseen, 0)
    assert all(rule.pattern != rule.replacement for rule in split.seen)


@pytest.mark.parametrize("side", ["pattern", "replacement"])
@pytest.mark.parametrize("held_out", ["pattern", "replacement"])
def test_leaks_looks_at_both_sides_of_both(side, held_out):
    def rules(pattern: str, replacement: str) -> Instructions:
        return Instructions(
            "abcd", *(np.array([["abcd".index(c) for c in text]], np.uint8) for text in (pattern, replacement))
        )

    seen = rules(**{"pattern": "aa", "replacement": "bb", side: "dd"})
    unseen = rules(**{"pattern": "ab", "replacement": "ba", held_out: "dd"})
    assert leaks(Split(seen, unseen)) == 1
    assert leaks(Split(seen, rules("ab", "ba"))) == 0


def test_instructions_read_as_rules():
    rules = Instructions("xyz", np.array([[0, 1], [2, 2]], np.uint8), np.array([[2], [0]], np.uint8))
    assert list(rules) == [Rule("xy", "z"), Rule("zz", "x")]
    assert rules[-1] == Rule("zz", "x")
    assert rules != Instructions("xyz", rules.patterns, rules.replacements[::-1])
    assert rules != Instructions("xyw", rules.patterns, rules.replacements)
    assert rules != Instructions("xyz", rules.patterns[:1], rules.replacements[:1])


@given(tasks())
def test_the_nearest_rule_differs_in_fewest_letters(task):
    split = draw_split(task)
    nearest = nearest_rules(split.unseen.patterns, split.seen)
    for rule, chosen in zip(split.unseen, nearest, strict=True):
        distances = [sum(a != b for a, b in zip(rule.pattern, known.pattern, strict=True)) for known in split.seen]
        assert chosen == distances.index(min(distances))
    assert nearest_rules(split.seen.patterns, split.seen).tolist() == list(range(len(split.seen)))


def test_the_nearest_of_many_rules_is_found_in_parts():
    split = draw_split(LARGE.but(instructions=9_000, examples=9_000))
    expected = [(split.seen.patterns != pattern).sum(1).argmin() for pattern in split.unseen.patterns]
    assert nearest_rules(split.unseen.patterns, split.seen).tolist() == expected


def test_every_role_of_a_seed_has_a_stream_of_its_own():
    draws = {
        (seed, role): tuple(generator(seed, role).integers(0, 2**32, 4)) for seed in (0, 1) for role in ("a", "b", "ab")
    }
    assert len(set(draws.values())) == 6
    assert draws[0, "a"] == tuple(generator(0, "a").integers(0, 2**32, 4))


def test_a_slice_of_instructions_is_instructions():
    seen = draw_split(TaskSpec(alphabet="abcdef", instructions=5, unseen_instructions=2)).seen
    assert list(seen[1:3]) == [seen[1], seen[2]]
    assert len(seen[:0]) == 0
