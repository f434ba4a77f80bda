"""Scores: the fast one equals the real one, and the trivial baselines are what they should be."""

import numpy as np
import pytest
import torch
from hypothesis import given

from strategies import tasks
from unseen import evaluation
from unseen.evaluation import all_right, baselines, exact_match, examples_table, greedy_answers
from unseen.layout import Layout
from unseen.model import Shape
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.training import data_of, start, train
from unseen.worlds.base import Examples
from unseen.worlds.strings import TaskSpec

RECIPES = ("modern", "gpt2")

NO_OPS = TaskSpec(alphabet="abcd", instructions=4, unseen_instructions=2, examples=400, pattern_length=2,
                  replacement_length=1, input_length=3, no_op_share=0.5)  # fmt: skip


@pytest.fixture(scope="module", params=RECIPES)
def trained(request):
    """A model stopped half way, and examples on which it is sometimes right."""
    rate = 0.0 if request.param == "gpt2" else 0.04
    spec = RunSpec(
        NO_OPS,
        ModelSpec(request.param, 2, 16, 2),
        TrainingSpec(steps=30, batch=32, learning_rate=0.01, matrix_learning_rate=rate, decay_share=0.3),
        EvaluationSpec(600),
    )
    data = data_of(spec)
    return train(spec, start(spec), data).model, data


def test_answers_that_do_not_read_the_pattern_only_choose_a_place():
    layout = Layout("abcdxy", 13, 7, parts=(2, 2, 6))
    rng = np.random.default_rng(0)
    for pattern in ("ab", "yx"):  # whatever it is
        examples = Examples.of(layout, [(f"{pattern}→cd|xyabab=", "xycdab")] * 200)
        found = evaluation.without_pattern(examples, rng)
        texts = {name: {layout.answer(answer) for answer in answers} for name, answers in found.items()}
        assert texts["y first"] == {"cdabab"}
        assert texts["commonest"] == {"xycdab"}
        assert texts["anywhere"] == {"cdabab", "xcdbab", "xycdab", "xyacdb", "xyabcd"}


def test_one_reading_tells_what_greedy_decoding_would(trained):
    model, data = trained
    right = {name: exact_match(greedy_answers(model, examples.prompts), examples).tolist()
             for name, examples in data.evaluation.items()}  # fmt: skip
    assert right == {name: all_right(model, examples).tolist() for name, examples in data.evaluation.items()}
    assert set(right["seen"]) == {True, False}


def test_greedy_answers_feed_the_likeliest_token_back(trained):
    model, data = trained
    prompts = data.evaluation["unseen"].prompts[:20]
    answers = greedy_answers(model, prompts)
    assert (answers.dtype, answers.shape) == (np.uint8, (20, data.training.layout.answer_length))
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = list(prompt)
        for token in answer:  # without a cache, without a batch
            assert token == model(torch.tensor([tokens], dtype=torch.long))[0, -1].argmax()
            tokens.append(token)


def test_chunks_do_not_show(trained, monkeypatch):
    model, data = trained
    examples = data.evaluation["seen"].first(50)
    answers, right = greedy_answers(model, examples.prompts), all_right(model, examples)
    monkeypatch.setattr(evaluation, "_CHUNK", 7)
    assert (greedy_answers(model, examples.prompts) == answers).all()
    assert (all_right(model, examples) == right).all()


class Parrot(torch.nn.Module):
    """Says the given answers, whatever it reads."""

    def __init__(self, answers, layout):
        super().__init__()
        self.said, self.shape = torch.from_numpy(answers).long(), Shape.of(layout)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, tokens):
        return torch.nn.functional.one_hot(self.said, self.shape.vocabulary).float()


def test_every_token_up_to_and_with_the_end_counts_and_none_behind_it():
    examples = NO_OPS.training(NO_OPS.split())
    ends = (examples.answers == examples.layout.special("end")).argmax(1)
    assert (ends < examples.answers.shape[1] - 1).any()
    for position in range(examples.answers.shape[1]):
        answers = examples.answers.copy()
        answers[:, position] = (answers[:, position] + 1) % len(examples.layout.vocabulary)
        assert (exact_match(answers, examples) == (position > ends)).all()
        assert (all_right(Parrot(answers, examples.layout), examples) == (position > ends)).all()


@given(tasks(examples=60))
def test_baselines(task):
    split = task.split()
    examples = task.training(split)
    answers = baselines(examples, split.seen, split.seen, task.cipher)
    right = {name: exact_match(answer, examples) for name, answer in answers.items()}
    assert all(answer.shape == examples.answers.shape for answer in answers.values())
    assert right["oracle"].all()
    assert right["nearest rule"].all()  # of a known rule, itself
    if not task.cipher:
        assert (right["copy"] == ~examples.applies).all()


def test_the_table_shows_rules_inputs_and_answers(trained):
    model, data = trained
    examples = data.evaluation["seen"]
    table = examples_table(model, examples, rows=25)
    assert list(table.columns) == ["rule", "input", "right answer", "model's answer", "right"]
    line = examples.line(24)
    shown = table.loc[24, ["rule", "input", "right answer"]].tolist()
    assert shown == [str(line.rule), line.text, line.answer]
    assert table["right"].tolist() == all_right(model, examples)[:25].tolist()
    assert (table["right"] == (table["right answer"] == table["model's answer"])).all()
    assert len(examples_table(model, examples.first(3))) == 3
