"""Questions to a model: the answers that a faithful one and a reciting one would give."""

import numpy as np
import pytest

from unseen.encoding import Encoding
from unseen.evaluation import exact_match
from unseen.instructions import draw_split
from unseen.rewriting import Rule
from unseen.specs import TaskSpec
from unseen.tour import probes

TASK = TaskSpec(alphabet="abcdef", instructions=8, unseen_instructions=5, examples=20)


def test_one_example_is_the_rule_and_its_answer():
    example = probes.one_example(Encoding.of(TaskSpec()), Rule("iss", "art"), "kissmeonce")
    assert example.line(0) == (Rule("iss", "art"), "kissmeonce", "kartmeonce")
    assert example.applies.tolist() == [True]
    assert (example.prompts.shape, example.answers.shape) == ((1, 19), (1, 11))


@pytest.mark.parametrize(("rule", "text", "message"), [
    (Rule("is", "art"), "kissmeonce", "pattern: 2 letters"),
    (Rule("iss", "art"), "kiss", "input: 4 letters"),
    (Rule("iss", "ÄÖÜ"), "kissmeonce", "replacement: unknown letter"),
])  # fmt: skip
def test_one_example_that_does_not_fit_is_refused(rule, text, message):
    with pytest.raises(ValueError, match=message):
        probes.one_example(Encoding.of(TaskSpec()), rule, text)


def test_an_answer_longer_than_the_model_writes_is_refused():
    encoding = Encoding.of(TaskSpec(replacement_length=2, unseen_instructions=10))
    with pytest.raises(ValueError, match="writes at most 9"):
        probes.one_example(encoding, Rule("iss", "ab"), "canadacana")


def test_changed_instructions_keep_patterns_and_swap_replacements():
    now, before = probes.changed_instructions(TASK, size=16)
    taught = {rule.pattern: rule for rule in draw_split(TASK).seen}
    for i in range(16):
        asked, old = now.line(i), before.line(i)
        rule = taught[asked.rule.pattern]
        assert asked.answer == asked.rule.apply(asked.text)
        assert old.answer == rule.apply(asked.text)
        assert asked.rule.replacement in {other.replacement for other in taught.values()} - {rule.replacement}


@pytest.mark.parametrize("recites", [False, True])
def test_who_follows_and_who_recites(monkeypatch, recites):
    monkeypatch.setattr(probes, "greedy_answers", lambda model, prompts: answers(prompts))

    def answers(prompts):
        now, before = probes.changed_instructions(TASK, size=16)
        assert (prompts == now.prompts).all()
        return (before if recites else now).answers

    found = probes.follows_or_recites(None, TASK, size=16)
    assert found == {"follows the prompt": float(not recites), "recites": float(recites)}


def test_other_worlds_ask_for_what_they_say(monkeypatch):
    def replaces_everywhere(model, prompts):
        encoding, found = Encoding.of(TASK), []
        for prompt in map(encoding.text, prompts):
            text = prompt[8:-1].replace(prompt[:3], prompt[4:7])
            found.append(encoding.ids(text.ljust(encoding.answer_length, ".")))
        return np.array(found)

    monkeypatch.setattr(probes, "greedy_answers", replaces_everywhere)
    worlds = {"once": {}, "none": {"no_op_share": 1.0}, "twice": {"occurrences": 2}}
    found = probes.other_worlds(None, TASK, worlds, size=20).set_index("world")
    assert found["exact match"].to_dict() == {"once": 1, "none": 1, "twice": 0}
    assert found["every x replaced"].eq(1).all()


def test_exact_match_of_both_answers_differs():
    now, before = probes.changed_instructions(TASK, size=16)
    assert not exact_match(before.answers, now).any()
