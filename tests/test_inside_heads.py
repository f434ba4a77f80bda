"""Heads are named for what they look at: the match, z, y."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from strategies import tasks
from unseen.datasets import training_examples
from unseen.inside.heads import DIRECTIONS, JOBS, LETTERS, best, jobs_of_heads, kinds_of_letters, match_places, on_match
from unseen.instructions import draw_split
from unseen.model import Shape, build
from unseen.specs import RECIPES, ModelSpec, TaskSpec

TASK = TaskSpec(alphabet="abcdef", instructions=5, unseen_instructions=5, examples=30, no_op_share=0.3)


@pytest.fixture(scope="module")
def examples():
    return training_examples(TASK, draw_split(TASK))


@given(tasks())
def test_the_match_is_where_plain_strings_find_it(task):
    found = training_examples(task, draw_split(task))
    lines = [found.line(i) for i in range(len(found))]
    assert match_places(found).tolist() == [line.text.find(line.rule.pattern) for line in lines]


@given(tasks())
def test_every_letter_of_an_answer_is_of_one_kind(task):
    found = training_examples(task, draw_split(task))
    total = sum(mask.astype(int) for mask in kinds_of_letters(found).values())
    assert (total == (found.answers != found.encoding.special("end"))).all()
    first = kinds_of_letters(found)["first replaced"].sum(1)
    assert (first <= found.applies).all(), "a no-op has no letter to replace"


def perfect(examples, x_looks):
    """Attention in which letters of the match look at x, or x at the match, and every other token at itself."""
    encoding, at = examples.encoding, match_places(examples)
    size, z = encoding.context, encoding.prompt_length - 1 - encoding.input_length
    weights = np.tile(np.eye(size), (len(examples), 1, 1))
    for i in np.flatnonzero(at >= 0):
        for j in range(encoding.pattern_length):
            here, there = (j, z + at[i] + j) if x_looks else (z + at[i] + j, j)
            weights[i, here] = np.eye(size)[there]
    return weights


@pytest.mark.parametrize("x_looks", [False, True])
def test_a_head_that_finds_the_match_is_told_from_one_that_does_not(examples, x_looks):
    size = examples.encoding.context
    even = np.full((len(examples), size, size), 1 / size)
    table = on_match([np.stack([perfect(examples, x_looks), even], 1)], examples).set_index(["direction", "head"])[
        "excess"
    ]
    direction, other = DIRECTIONS[::-1] if x_looks else DIRECTIONS
    assert table[direction, 1] == pytest.approx(
        0.7 if x_looks else 1
    )  # of even attention on z, 3 of 10 is on the match anyway
    assert table[other, 1] == pytest.approx(0)
    assert table.loc[[(name, 2) for name in DIRECTIONS]].abs().max() < 1e-9


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_head_has_a_score_at_every_job(examples, recipe):
    model = build(ModelSpec(recipe, layers=2, width=16, heads=2), Shape.of(examples.encoding))
    table = jobs_of_heads(model, examples)
    assert table.groupby("job").size().to_dict() == dict.fromkeys(JOBS, 4)
    assert table["score"].between(-1, 1).all()


def test_the_best_come_first_and_there_may_be_fewer_than_asked_for():
    table = pd.DataFrame({"layer": [1, 2], "head": [1, 1], "job": JOBS[0], "score": [0.1, 0.2]})
    assert best(table, 5) == {JOBS[0]: [(2, 1), (1, 1)]}
    assert best(table, 0) == {JOBS[0]: []}


def test_the_kinds_are_in_the_order_of_an_answer():
    assert LETTERS == ("copied before", "first replaced", "other replaced", "copied behind")
