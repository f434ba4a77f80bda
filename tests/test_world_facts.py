"""Made-up facts: questions and answers by hand, verdicts, and that the knowledge base is new to its base."""

import numpy as np
import pytest

from unseen.worlds import FactsSpec
from unseen.worlds.facts import (
    ASKED,
    FIRST,
    LENGTH,
    LINES,
    NAMES,
    OTHERS,
    SECOND,
    VERDICTS,
    Question,
    answering,
    asking,
    checking,
    lines,
    question,
    verdict,
)
from unseen.worlds.gaps import OTHER, POOL
from unseen.worlds.language import OPERATIONS, PHRASES, VERBS, WORDS, prompt_of

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
    assert said(answering(FACTS, asked, "ABC:CBA", ["du mi", "ba ve"])) == (
        "du mi=DEF.ba ve=ABC.flip this : ba ve=",
        "ABC:CBA",
    )
    assert said(asking(FACTS, ["ba ve"], asked.content)) == ("ba ve=ABC.ask=", "flip this : ba ve")
    assert said(checking(asked, "ABC:CBA", "ABC:ABC", VERDICTS[2])) == (
        "flip this : ba ve=ABC:CBA.check ABC:ABC=",
        "wrong operation",
    )
    assert said(lines(FACTS, ["ba ve"])) == ("ba ve=", "ABC")


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


def test_no_two_operations_agree_on_a_fact():
    answers = {OPERATIONS[name]("ABC", "") for name in ASKED + OTHERS}
    assert len(answers) == len(ASKED + OTHERS)


def test_code_words_are_new_words():
    assert len({*NAMES}) == len(NAMES) == 30
    assert not {*FIRST, *SECOND} & {*WORDS}
    assert not {*FIRST} & {*SECOND}


def test_pre_training_shows_every_skill_and_asks_about_some_operations_in_some_words():
    rng, kinds = np.random.default_rng(0), {"answer": 0, "ask": 0, "check": 0}
    given = dict.fromkeys(VERDICTS, 0)
    verbs, phrases = POOL
    known = {
        phrase.format(verb) for name in ASKED for verb in VERBS[name][verbs] for phrase in PHRASES[phrases]
    }
    for _ in range(3_000):
        row = TASK.row(rng)
        query, answer = row[-2].content, row[-1].content
        facts = {turn.content: row[at + 1].content for at, turn in enumerate(row[:-2]) if at % 2 == 0}
        if query == "ask":
            kinds["ask"] += 1
            asked = Question.read(answer)
            assert asked.request in known
            assert asked.names == (*facts,)
        elif query.startswith("check "):
            kinds["check"] += 1
            given[answer] += 1
            assert answer == verdict(row[1].content, query.removeprefix("check "))
        else:
            kinds["answer"] += 1
            assert len(facts) <= LINES
            assert answer == Question.read(query).answer(facts)
    shares = [number / 3_000 for number in kinds.values()]
    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.04)
    assert min(given.values()) > 0.25 * kinds["check"]


def test_the_knowledge_base_follows_from_its_seed_and_is_in_no_row_of_pre_training():
    facts = TASK.split().unseen
    assert len(facts) == 20
    assert all(len({*letters}) == LENGTH for letters in facts.values())
    assert TASK.but(rule_seed=1).split().unseen != facts
    assert TASK.but(example_seed=1).split().unseen == facts
    assert np.array_equal(TASK.training(TASK.split()).prompts, TASK.but(rule_seed=1).training(None).prompts)


@pytest.mark.parametrize(("field", "value"), [("facts", 2), ("facts", 31), ("facts", "20")])
def test_an_impossible_knowledge_base_is_refused(field, value):
    with pytest.raises(ValueError, match=f"FactsSpec.{field}={value!r}"):
        FactsSpec(**{field: value})
