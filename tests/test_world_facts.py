"""Made-up facts: questions and answers by hand, verdicts, and that the knowledge base is new to its base."""

import numpy as np
import pytest

from unseen.worlds import FactsSpec, facts
from unseen.worlds.facts import ASKED, LENGTH, NAMES, OTHERS, VERDICTS, Question, question, verdict
from unseen.worlds.gaps import OTHER, POOL
from unseen.worlds.language import prompt_of

FACTS = {"ba ve": "ABC", "du mi": "DEF"}
TASK = FactsSpec(examples=400)


def said(row):
    return prompt_of(row[:-1]), row[-1].content


def test_an_answer_quotes_its_facts_in_order_and_does_the_operation():
    assert Question(("ba ve",), "kindly flip the text").answer(FACTS) == "ABC:CBA"
    assert Question(("du mi", "ba ve"), "skip this").answer(FACTS) == "DEFABC:EFABC"
    assert Question(("du mi", "ba ve"), "skip this").answer(FACTS, "copy") == "DEFABC:DEFABC"


def test_rows_are_read_as_a_document_and_a_question():
    asked = Question(("ba ve",), "flip this")
    assert said(facts.answering(FACTS, asked, "ABC:CBA", ["du mi", "ba ve"])) == (
        "du mi=DEF.ba ve=ABC.flip this : ba ve=",
        "ABC:CBA",
    )
    assert said(facts.asking(FACTS, ["ba ve"], asked.content)) == ("ba ve=ABC.ask=", "flip this : ba ve")
    assert said(facts.checking(asked, "ABC:CBA", "ABC:ABC", VERDICTS[2])) == (
        "flip this : ba ve=ABC:CBA.check ABC:ABC=",
        "wrong operation",
    )
    assert said(facts.lines(FACTS, ["ba ve"])) == ("ba ve=", "ABC")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("ABC:CBA", "right"), ("ABC:BCA", "wrong operation"), ("ABD:DBA", "wrong letters"),
     ("", "wrong letters"), ("ABC", "wrong operation"), ("CBA", "wrong letters")],
)  # fmt: skip
def test_a_verdict_names_the_kind_of_the_error_alone(given, expected):
    assert verdict("ABC:CBA", given) == expected
    assert not {*expected} & {*"ABC"}


@pytest.mark.parametrize("words", [POOL, OTHER])
def test_a_question_is_read_back_from_its_text(words):
    rng = np.random.default_rng(0)
    for at in range(200):
        asked = question(list(NAMES[at % 29 : at % 29 + 1 + at % 2]), ASKED + OTHERS, words, rng)
        assert Question.read(asked.content) == asked
        assert asked.operation in ASKED + OTHERS
    for text in ("", "flip this", "flip this :", "flip this : you", "ba ve : flip this", "flip : ba ve",
                 "flip this : ba ve du mi ku lo"):  # fmt: skip
        assert Question.read(text) is None


def test_the_knowledge_base_follows_from_its_seed_and_is_in_no_row_of_pre_training():
    known = TASK.split().unseen
    assert len(known) == 20
    assert all(len({*letters}) == LENGTH for letters in known.values())
    assert TASK.but(rule_seed=1).split().unseen != known
    assert TASK.but(example_seed=1).split().unseen == known
    assert np.array_equal(TASK.training(TASK.split()).prompts, TASK.but(rule_seed=1).training(None).prompts)
