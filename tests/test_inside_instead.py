"""Every answer has one name, and the oracle's is the first."""

import numpy as np
import pytest

from unseen.encoding import Encoding
from unseen.evaluation import baselines
from unseen.inside import instead
from unseen.inside.instead import KINDS, classify, distances, lured, shares, strangers
from unseen.instructions import Instructions
from unseen.rewriting import Rule
from unseen.specs import TaskSpec
from unseen.tour.probes import one_example

TASK = TaskSpec()
ENCODING = Encoding.of(TASK)
EXAMPLE = one_example(ENCODING, Rule("cat", "dog"), "onecatnaps")
LETTERS = TASK.alphabet


def rules(*pairs):
    x, y = ([[LETTERS.index(c) for c in pair[side]] for pair in pairs] for side in (0, 1))
    return Instructions(LETTERS, np.array(x, np.uint8), np.array(y, np.uint8))


KNOWN = rules(("cot", "emu"), ("fly", "bee"))


@pytest.mark.parametrize(("said", "kind"), [
    ("onedognaps", "right"), ("onecatnaps", "copies the input"), ("oneemunaps", "training y, nearest rule"),
    ("onebeenaps", "training y, another rule"), ("onecatemus", "training y, another place"), ("onedatnaps", "part of y, at the place"),
    ("onexyznaps", "other letters, at the place"), ("zzzzzzzzzz", "something else"), ("", "something else"), ("onedo", "something else"),
    ("onedognapsx", "something else"),
])  # fmt: skip
def test_an_answer_is_named_by_what_it_is(said, kind):
    ids = ENCODING.ids(said.ljust(ENCODING.answer_length, "."))[None]
    assert classify(ids, EXAMPLE, KNOWN).tolist() == [kind]
    assert kind in KINDS


def test_the_baselines_of_the_study_are_named_as_they_are_called():
    answers = baselines(EXAMPLE, rules(("cat", "dog")), KNOWN)
    names = {name: classify(given, EXAMPLE, KNOWN)[0] for name, given in answers.items()}
    assert names == {"oracle": "right", "copy": "copies the input", "nearest rule": "training y, nearest rule"}


def test_distance_and_strangers():
    assert distances(EXAMPLE, KNOWN).tolist() == [1]
    other = strangers(KNOWN)
    assert [rule.pattern for rule in other] == ["cot", "fly"]
    assert [rule.replacement for rule in other] != ["emu", "bee"]


def test_shares_add_up_and_have_every_kind():
    import pandas as pd

    table = pd.DataFrame({"instructions": [8, 8, 8], "seed": [0, 0, 1], "kind": ["right", "copies the input", "right"]})
    found = shares(table)
    assert list(found) == list(KINDS)
    assert found.loc[8, "right"] == 0.75
    assert found.sum(axis=1).tolist() == [1]


@pytest.mark.parametrize("copies", [False, True])
def test_who_applies_a_training_rule_though_the_prompt_asks_for_another(monkeypatch, copies):
    task = TaskSpec(alphabet="abcdefgh", instructions=8, unseen_instructions=5)
    known = {rule.pattern: rule for rule in instead.draw_split(task).seen}

    def answers(model, prompts):
        encoding, found = Encoding.of(task), []
        for prompt in map(encoding.text, prompts):
            text = prompt[8:-1]
            assert prompt[:3] not in known
            assert prompt[:3] not in text
            first = min((p for p in known if p in text), key=text.find)
            found.append(
                encoding.ids((text if copies else known[first].apply(text)).ljust(encoding.answer_length, "."))
            )
        return np.array(found)

    monkeypatch.setattr(instead, "greedy_answers", answers)
    found = lured(None, task, size=20)
    assert found["copies the input"] == float(copies)
    assert (found["applies the training rule"] == 0) if copies else (found["applies the training rule"] > 0.8)
