"""What a training set shows, counted again by brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

from strategies import tasks
from unseen.datasets import training_examples
from unseen.instructions import draw_split
from unseen.specs import TaskSpec
from unseen.tour.coverage import (
    KINDS,
    coverage,
    coverage_frame,
    distance_frame,
    distances_to_nearest,
    expected_coverage,
    expected_holding,
    first_rules,
    first_shown,
    holding,
)

TASK = TaskSpec(alphabet="abcdefgh", instructions=60, unseen_instructions=40, examples=400)
SIZES = (3, 20, 60)


def shares(frame):
    return frame.pivot(index="instructions", columns="kind", values="share")


def test_coverage_counts_letters_pairs_and_patterns():
    patterns = draw_split(TASK).seen.patterns
    found = shares(coverage(patterns, 8, SIZES))
    for size in SIZES:
        part = patterns[:size].tolist()
        singles = {(i, row[i]) for row in part for i in range(3)}
        pairs = {(i, j, row[i], row[j]) for row in part for i, j in combinations(range(3), 2)}
        assert found.loc[size].reindex(KINDS).tolist() == pytest.approx(
            [len(singles) / 24, len(pairs) / 192, size / 512]
        )


def test_a_pattern_of_one_letter_has_no_pairs():
    assert shares(coverage(np.array([[0], [2]]), 4, [1, 2])).to_dict("list") == {
        KINDS[0]: [0.25, 0.5],
        KINDS[2]: [0.25, 0.5],
    }


def test_what_is_possible_may_be_more_than_an_integer_holds():
    frame = coverage(np.zeros((1, 20), np.uint8), 26, [1])
    assert frame.set_index("kind")["possible"].to_dict() == dict(zip(KINDS, (520, 190 * 676, 26**20), strict=True))


def test_first_shown_of_nothing():
    assert first_shown(np.array([], int), 3).tolist() == [0, 0, 0]


def test_frames_start_from_the_same_rules_as_smaller_sets():
    frame = coverage_frame(TASK, SIZES, [0, 1])
    alone = coverage(draw_split(TASK.but(instructions=20, rule_seed=1)).seen.patterns, 8, [20])
    part = frame[(frame["seed"] == 1) & (frame["instructions"] == 20)]
    assert part["share"].tolist() == alone["share"].tolist()
    assert set(frame["seed"]) == {0, 1}


def test_random_rules_cover_what_is_expected():
    found = shares(
        coverage_frame(TASK, SIZES, range(20)).groupby(["instructions", "kind"], as_index=False)["share"].mean()
    )
    assert found[KINDS[0]].tolist() == pytest.approx([expected_coverage(size, 8) for size in SIZES], abs=0.03)


@given(tasks())
def test_distances_are_those_of_the_nearest_training_rule(task):
    split = draw_split(task)
    patterns, replacements = distances_to_nearest(split.unseen, split.seen)
    for rule, near, far in zip(split.unseen, patterns, replacements, strict=True):
        known = [(sum(a != b for a, b in zip(rule.pattern, k.pattern, strict=True)),
                  sum(a != b for a, b in zip(rule.replacement, k.replacement, strict=True))) for k in split.seen]  # fmt: skip
        assert near == min(known)[0]
        assert (near, far) in known
    assert patterns.min() > 0
    assert replacements.min() > 0


def test_the_shares_of_all_distances_are_one():
    frame = distance_frame(TASK, SIZES, [0, 1], rules=10)
    totals = frame.groupby(["instructions", "seed", "side"])["share"].sum()
    assert totals.tolist() == pytest.approx([1.0] * 12)
    assert frame.loc[frame["distance"] == 0, "share"].eq(0).all()
    assert frame["distance"].max() == 3


@given(tasks())
def test_holding_finds_what_plain_strings_find(task):
    split = draw_split(task)
    examples = training_examples(task, split)
    found = holding(examples.inputs, split.unseen.patterns)
    lines = [examples.line(i) for i in range(len(examples))]
    assert found.tolist() == [any(rule.pattern in line.text for rule in split.unseen) for line in lines]


def test_holding_searches_more_texts_than_one_chunk():
    texts = np.zeros(((1 << 14) + 3, 4), np.uint8)
    texts[-1, 2:] = 1
    assert holding(texts, np.array([[1, 1]])).nonzero()[0].tolist() == [len(texts) - 1]


def test_chance_puts_unseen_patterns_into_inputs_as_often_as_expected():
    task = TASK.but(examples=4_000)
    split = draw_split(task)
    share = holding(training_examples(task, split).inputs, split.unseen.patterns).mean()
    assert share == pytest.approx(expected_holding(task), abs=0.05)


def test_first_rules_are_the_first():
    seen = draw_split(TASK).seen
    assert list(first_rules(seen, 5)) == list(seen)[:5]
