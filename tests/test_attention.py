"""Where each letter of an answer stands, and how much attention lies there."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from strategies import tasks
from unseen.ciphers import cipher_table
from unseen.datasets import training_examples
from unseen.encoding import Encoding
from unseen.instructions import draw_split
from unseen.model import Shape, build
from unseen.specs import RECIPES, ModelSpec, TaskSpec
from unseen.tour.attention import attention, best_heads, on_source, rows_of, sources

TASK = TaskSpec(alphabet="abcdef", instructions=5, unseen_instructions=5, examples=20, no_op_share=0.3)


@given(tasks())
def test_every_letter_of_an_answer_stands_at_its_source(task):
    examples = training_examples(task, draw_split(task))
    place = sources(examples)
    read = np.take_along_axis(examples.prompts, np.maximum(place, 0), 1)
    end = examples.encoding.special("end")
    assert ((place < 0) == (examples.answers == end)).all()
    assert (cipher_table(task.alphabet, task.cipher)[read] == examples.answers)[place >= 0].all()


@given(tasks())
def test_replaced_letters_come_from_y_and_all_others_from_z(task):
    examples = training_examples(task, draw_split(task))
    x, y = task.pattern_length, task.replacement_length
    place = sources(examples)
    in_y = (place > x) & (place <= x + y)
    assert in_y.sum(1).tolist() == [y if applies else 0 for applies in examples.applies]
    assert (place[~in_y & (place >= 0)] >= x + y + 2).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_attention_is_a_share_for_each_token_read(recipe):
    examples = training_examples(TASK, draw_split(TASK))
    shape = Shape.of(examples.encoding)
    layers = attention(build(ModelSpec(recipe, layers=2, width=16, heads=2), shape), examples.tokens())
    assert [part.shape for part in layers] == [(20, 2, shape.context, shape.context)] * 2
    for part in layers:
        np.testing.assert_allclose(part.sum(-1), 1, atol=1e-5)


def test_a_head_that_looks_at_the_source_is_found():
    examples = training_examples(TASK, draw_split(TASK))
    encoding, place = examples.encoding, sources(examples)
    first, read = encoding.prompt_length - 1, encoding.context
    perfect = np.zeros((len(examples), read, read))
    for row, column in zip(*np.nonzero(place >= 0), strict=True):
        perfect[row, first + column, place[row, column]] = 1
    even = np.full_like(perfect, 1 / read)
    frame = on_source([np.stack([even, even], 1), np.stack([even, perfect], 1)], examples)
    best = best_heads(frame)
    assert best[["layer", "head"]].to_numpy().tolist() == [[2, 2], [2, 2]]
    assert best["attention"].tolist() == pytest.approx([1, 1])
    others = frame[(frame["layer"] == 1) | (frame["head"] == 1)]
    assert others["attention"].tolist() == pytest.approx([1 / read] * 6)


def test_rows_of_name_and_pick_the_head():
    encoding = Encoding.of(TASK)
    weights = [np.random.default_rng(layer).random((3, 2, encoding.context, encoding.context)) for layer in range(2)]
    heads = pd.DataFrame({"layer": [2], "head": [1], "attention": [0.5]}, index=["copied"])
    ((name, rows),) = rows_of(heads, weights, encoding).items()
    assert name == "copied letters: layer 2, head 1"
    assert (rows == weights[1][0, 0, encoding.prompt_length - 1 :]).all()
    assert len(rows) == encoding.answer_length
