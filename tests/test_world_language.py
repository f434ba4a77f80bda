"""DELIA's instruction language: its oracle by hand, what is held out, and the mixtures of tuning."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from unseen.fields import lasting
from unseen.studies import delia_own
from unseen.studies.delia import understood
from unseen.worlds import LanguageSpec, TuningSpec, language
from unseen.worlds.language import OPERATIONS, PHRASES, TOKEN, VERBS, Query
from unseen.worlds.tuning import DIVERSE, HELD_OUT, KINDS, ask

ANSWERS = {  # by hand: operation, argument and input, and the answer
    ("copy", "", "DACB"): "DACB", ("reverse", "", "DACB"): "BCAD", ("sort", "", "DACB"): "ABCD",
    ("descend", "", "DACB"): "DCBA", ("rotate", "", "DACB"): "ACBD", ("unrotate", "", "DACB"): "BDAC",
    ("swap", "", "DACB"): "BACD", ("behead", "", "DACB"): "ACB", ("curtail", "", "DACB"): "DAC",
    ("next", "", "DAJB"): "EBAC", ("previous", "", "DAJB"): "CJIA", ("pairs", "", "DAC"): "ADC",
    ("delete", "A", "ADAA"): "D", ("rewrite", "AB CD", "ABAB"): "CDAB", ("sort", "", "BABA"): "AABB",
    ("swap", "", "DAC"): "CAD", ("pairs", "", "DACB"): "ADBC", ("delete", "A", "AAA"): "",
}  # fmt: skip


@pytest.mark.parametrize(("query", "answer"), ANSWERS.items())
def test_operations_are_right_by_hand(query, answer):
    operation, argument, text = query
    assert Query(operation, argument, "say", "{} it", text).answer == answer
    assert {operation for operation, *_ in ANSWERS} == set(OPERATIONS) == set(VERBS)


def test_an_empty_answer_has_a_format_too():
    empty = Query("delete", "A", "delete", "{} it", "AAA", "", "")
    answers = {name: replace(empty, format=name).answer for name in ("", "square", "dashed", "loud", "keyed")}
    assert answers == {"": "", "square": "[]", "dashed": "", "loud": "!", "keyed": "Z:"}


def test_every_query_fits_the_layout():
    layout, rng = LanguageSpec.layout, np.random.default_rng(0)
    phrase, refusal = (
        max(texts, key=lambda text: len(text.split())) for texts in (PHRASES, language.REFUSALS)
    )
    query = Query("rewrite", "AB CD", "replace", phrase, "DABC", "dashed", refusal.format("hard edge"))
    turns = f"{query.content}={query.answer}.{query.content}="
    assert len(layout.pieces(turns)) == layout.prompt_length
    assert len(layout.pieces(query.answer)) + 1 == layout.answer_length
    layout.prompts([language.at_large(rng, "both").content for _ in range(500)])


# Read by what the explorer of notebook 20 answers by, which shares nothing with what draws queries


def read_again(data, token_format=""):
    for i in range(len(data)):
        prompt, answer = data.texts(i)
        for turn in f"{prompt}{answer}".split("."):  # an earlier turn ends with its answer
            query, said = turn.split("=")
            assert understood(query, token_format).answer == said, turn


LANGUAGE, SMALL = LanguageSpec(examples=2_000), TuningSpec(rule_seed=1, operations=5)
MIXED = [SMALL.but(ratio=2, diverse=each) for each in DIVERSE if each != "self"]


TASKS = [LANGUAGE, LANGUAGE.but(names="both"), SMALL.but(after=True), *MIXED]


@pytest.mark.parametrize("task", TASKS)
def test_every_answer_is_what_a_person_would_give_who_reads_the_query(task):
    split, token_format = task.split(), SMALL.split().format
    read_again(task.training(split), token_format)
    for data in task.evaluation(split, 300, 1_000_000).values():
        read_again(data, token_format)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_prompts_is_what_it_says(kind):
    chosen, rng = SMALL.split(), np.random.default_rng(1)
    read_again(SMALL.questions(kind, 300, 1_000_000), chosen.format)
    for _ in range(50):
        query = ask(kind, chosen, rng)
        assert (TOKEN in query.content) == (kind in ("task+token", "other+token", "not token"))
        assert query.operation in (chosen.operations if kind.startswith("task") else chosen.others)
        expected = {"task+token": chosen.format, "other+token": chosen.format, "other formats": query.format}
        assert query.format == expected.get(kind, "")
        assert kind != "other formats" or query.format not in ("", chosen.format)
    with pytest.raises(ValueError, match=r"kind='tokens': known kinds are task\+token, task"):
        ask("tokens", chosen, rng)


def test_held_out_pairs_are_never_trained_and_always_evaluated():
    task = LanguageSpec(examples=3_000, rule_seed=3)
    held = task.split()

    def pair(text):
        query = understood(text, "")
        return query.operation, query.format

    turns = [turn.content for row in task.conversations(held) for turn in row if turn.role == "user"]
    assert len(held) == 24
    assert len(turns) > 3_500  # earlier turns are trained too
    assert not {pair(text) for text in turns} & held
    asked = task.evaluation(held, 48, 9)
    seen, unseen = ([pair(asked[side].texts(i)[0][:-1]) for i in range(48)] for side in ("seen", "unseen"))
    assert Counter(unseen) == dict.fromkeys(held, 2)
    assert not set(seen) & held


def test_the_small_task_keeps_its_operations_from_the_others():
    for seed in range(20):
        chosen = [TuningSpec(rule_seed=seed, operations=number).split() for number in (1, 2, 7)]
        assert len({task.others for task in chosen}) == 1
        assert set(chosen[0].operations) < set(chosen[1].operations) < set(chosen[2].operations)
        assert not set(chosen[2].operations) & set(chosen[2].others)
        assert len(chosen[0].others) == HELD_OUT
        assert chosen[0].narrow not in (*chosen[1].operations, *chosen[0].others)


# Habits


def test_habits_answer_what_says_nothing_of_formats_and_nothing_else():
    """Evenly, in every turn by itself, and never in a pair that is held out."""
    task = LanguageSpec(habits="square,loud", examples=4_000)
    split, found, turns = task.split(), Counter(), Counter()
    for row in task.conversations(split):
        named = []
        for query, answer in zip(row[::2], row[1::2], strict=True):
            stated = understood(query.content, "")
            form = delia_own.form_of(stated, answer.content)
            named.append(form)
            if "format" in query.content:
                assert form == (stated.format or "plain")
            elif len(OPERATIONS[stated.operation](stated.text, stated.argument)) > 1:
                found[form] += 1
                assert (stated.operation, form) not in split
        if len(row) == 4 and row[0] == row[2]:
            turns[named[0] == named[1]] += 1
    assert set(found) == {"plain", "square", "loud"}
    assert all(0.25 < count / found.total() < 0.42 for count in found.values())
    assert turns[False] > 50


def test_without_habits_the_language_is_as_it_was():
    assert "habits" not in lasting(LanguageSpec())
    assert lasting(LanguageSpec(habits="loud"))["habits"] == "loud"
