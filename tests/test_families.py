"""Rules with a form: what each family looks like, and what it can and cannot give."""

import numpy as np
import pytest

from unseen import families
from unseen.families import FORMS, Family, places
from unseen.instructions import draw_split, leaks, strings_of
from unseen.specs import TaskSpec

TASK = TaskSpec(instructions=60, unseen_instructions=20, pattern_length=12, replacement_length=9, input_length=20,
                family="mixed", k_low=3, k_high=12)  # fmt: skip


def has_form(text, k):
    """Which forms with some k a string has, tried one by one."""
    return {form for form in FORMS if all(text[i] == text[j] for i, a in enumerate(places(form, k, len(text)))
                                          for j, b in enumerate(places(form, k, len(text))) if a == b)}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", range(1, 14))
def test_a_string_has_no_more_letters_than_its_base(form, length):
    for k in range(1, length + 1):
        at = places(form, k, length)
        assert len(at) == length
        assert set(at) <= set(range(-(-length // k)))
    assert set(places(form, 1, length)) == set(range(length))
    assert set(places(form, length, length)) == {0}


@pytest.mark.parametrize("name", [*FORMS, "mixed"])
def test_every_rule_has_a_form_and_a_k_of_its_family_on_both_sides(name):
    split = draw_split(TASK.but(family=name))
    forms = set(FORMS) if name == "mixed" else {name}
    for rule in [*split.seen, *split.unseen]:
        assert any(has_form(rule.pattern, k) & has_form(rule.replacement, k) & forms for k in range(3, 13))
        assert rule.pattern != rule.replacement


def test_nothing_of_an_unseen_rule_stands_in_a_seen_one():
    split = draw_split(TASK)
    assert leaks(split) == 0
    assert not strings_of(split.seen) & strings_of(split.unseen)
    assert len({rule.pattern for rule in split.seen}) == len(split.seen) == 60


def test_the_number_of_instructions_changes_neither_the_unseen_rules_nor_the_first_seen_ones():
    few, many = draw_split(TASK), draw_split(TASK.but(instructions=3_000))
    assert list(few.unseen) == list(many.unseen)
    assert list(few.seen) == list(many.seen)[:60]


def test_a_family_that_runs_out_gives_what_there_is():
    patterns, replacements = Family("repeated", 3, (4, 4), 4, 4).rules(10, np.random.default_rng(0), set())
    assert len(patterns) == len(replacements) == 3  # aaaa, bbbb, cccc
    taken = {bytes([letter] * 4) for letter in range(3)}
    assert len(Family("repeated", 3, (4, 4), 4, 4).rules(10, np.random.default_rng(0), taken)[0]) == 0


def test_too_few_strings_are_told_before_anything_trains(monkeypatch):
    monkeypatch.setattr(families, "_BLOCK", 16)
    monkeypatch.setattr(families, "_BARREN", 1)
    tight = TASK.but(pattern_length=4, replacement_length=4, input_length=8, family="periodic", k_low=2, instructions=610,
                     k_high=4, unseen_instructions=30)  # fmt: skip
    with pytest.raises(
        ValueError, match=r"^TaskSpec\.instructions=610: only [0-9]+ seen rules of family='periodic' with"
    ):
        draw_split(tight)
