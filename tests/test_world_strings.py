"""String rewriting: the fast generator against the slow oracle, and what is held out stays out."""

import string
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen.evaluation import exact_match, without_pattern
from unseen.worlds import TaskSpec, rules, strings
from unseen.worlds.base import Split, shares
from unseen.worlds.rules import FORMS, Instructions, family_rules, leaks, nearest_rules, places
from unseen.worlds.strings import encipher


def patterns(instructions):
    return [rule.pattern for rule in instructions]


TASK = TaskSpec(instructions=50, examples=2_000, unseen_instructions=50)
LARGE = TaskSpec(
    pattern_length=20, replacement_length=20, input_length=50, instructions=300, unseen_instructions=200
)
DECOYS = TaskSpec(alphabet=string.ascii_letters + string.digits, pattern_length=2, replacement_length=2,
                  input_length=27, unseen_instructions=500, decoys=2)  # fmt: skip
CHANCE = 1 / 3 + 0.02  # an answer that does not read the pattern is right in one of decoys + 1 inputs
FAMILY = TaskSpec(instructions=60, unseen_instructions=20, pattern_length=12, replacement_length=9,
                  input_length=20, family="mixed", k_low=3, k_high=12)  # fmt: skip
# List a small space, or draw as from a large one
WAYS = ({"_ENUMERABLE": 1 << 22}, {"_ENUMERABLE": 0, "_BLOCK": 8})


def drawn(task, way):
    with patch.multiple(rules, **way):
        return task.split()


def lines(examples):
    return [examples.line(i) for i in range(len(examples))]


def shares_right(examples):
    """How often each answer that does not read the pattern is right."""
    answers = without_pattern(examples, np.random.default_rng(0))
    return {name: exact_match(answer, examples).mean() for name, answer in answers.items()}


def check(examples, instructions, task):
    """Every example against the oracle: its rule, how often the pattern occurs, its answer to the last
    token.
    """
    for i, line in enumerate(lines(examples)):
        assert line.rule == instructions[examples.rule[i]]
        assert encipher(line.rule.apply(line.text), task.alphabet, task.cipher) == line.answer
        assert line.text.count(line.rule.pattern) in (task.all_occurrences if examples.applies[i] else [0])
        tokens = "".join(examples.layout.vocabulary[token] for token in examples.tokens()[i])
        prompt = f"{line.rule.pattern}→{line.rule.replacement}|{line.text}="
        assert tokens == prompt + line.answer.ljust(examples.layout.answer_length, ".")
        assert tokens.endswith(".")  # even the longest answer is ended


# Instructions


@given(tasks(), st.sampled_from(WAYS))
def test_a_split_fits_its_task_and_shares_no_string(task, way):
    split = drawn(task, way)
    sizes = len(split.seen), len(split.unseen)
    assert (*sizes, leaks(split)) == (task.instructions, task.unseen_instructions, 0)
    for side in (split.seen, split.unseen):
        assert len(set(patterns(side))) == len(side)
        for rule in side:
            assert rule.pattern != rule.replacement
            lengths = len(rule.pattern), len(rule.replacement)
            assert lengths == (task.pattern_length, task.replacement_length)
            assert set(rule.pattern + rule.replacement) <= set(task.alphabet)
    assert len({rule.replacement for rule in split.unseen}) == len(split.unseen)


@given(tasks(), st.sampled_from(WAYS))
def test_the_number_of_instructions_changes_neither_the_unseen_rules_nor_the_first_patterns(task, way):
    whole = drawn(task, way)
    for size in range(1, task.instructions):
        part = drawn(task.but(instructions=size), way)
        assert part.unseen == whole.unseen
        assert patterns(part.seen) == patterns(whole.seen)[:size]


def test_of_many_rules_the_nearest_is_found_in_parts():
    split = LARGE.but(instructions=9_000, examples=9_000).split()
    expected = [(split.seen.patterns != pattern).sum(1).argmin() for pattern in split.unseen.patterns]
    assert nearest_rules(split.unseen.patterns, split.seen).tolist() == expected


def test_rules_follow_from_the_rule_seed_alone():
    first, second = LARGE.split(), LARGE.but(rule_seed=1).split()
    assert not set(patterns(first.seen)) & set(patterns(second.seen))
    assert not set(patterns(first.unseen)) & set(patterns(second.unseen))
    assert first == LARGE.but(example_seed=5, examples=50_000).split()


@pytest.mark.parametrize(("letters", "x", "y", "seen", "unseen"), [
    ("ab", 2, 2, 2, 1), ("abcd", 1, 1, 2, 1), ("abcdef", 3, 3, 2, 107), ("abcdef", 3, 3, 214, 1),
    ("abc", 2, 1, 8, 1),
    ("abc", 1, 2, 2, 1), ("abcde", 1, 2, 1, 3),
])  # fmt: skip
def test_the_tightest_possible_room_is_enough(letters, x, y, seen, unseen):
    values = {"alphabet": letters, "pattern_length": x, "replacement_length": y, "examples": 1_000}
    task = TaskSpec(**values, instructions=seen, unseen_instructions=unseen)
    with pytest.raises(ValueError, match=r"only .* strings of"):
        task.but(instructions=max(seen, 2) + 1, unseen_instructions=unseen)
    split = task.split()
    assert (len(split.seen), len(split.unseen), leaks(split)) == (seen, unseen, 0)


@pytest.mark.parametrize("side", ["pattern", "replacement"])
@pytest.mark.parametrize("held_out", ["pattern", "replacement"])
def test_leaks_looks_at_both_sides_of_both(side, held_out):
    def one(pattern, replacement):
        sides = (np.array([["abcd".index(c) for c in text]], np.uint8) for text in (pattern, replacement))
        return Instructions("abcd", *sides)

    seen = one(**{"pattern": "aa", "replacement": "bb", side: "dd"})
    unseen = one(**{"pattern": "ab", "replacement": "ba", held_out: "dd"})
    assert leaks(Split(seen, unseen)) == 1
    assert leaks(Split(seen, one("ab", "ba"))) == 0


# Families


def forms_of(text, k):
    """Which forms with some k a string has: letters at one place of the base are the same."""
    found = {form: set(zip(places(form, k, len(text)), text, strict=True)) for form in FORMS}
    return {form for form, pairs in found.items() if len(pairs) == len({place for place, _ in pairs})}


@pytest.mark.parametrize("name", [*FORMS, "mixed"])
def test_every_rule_has_a_form_and_a_k_of_its_family_on_both_sides(name):
    split = FAMILY.but(family=name).split()
    forms = set(FORMS) if name == "mixed" else {name}
    for rule in [*split.seen, *split.unseen]:
        assert any(forms_of(rule.pattern, k) & forms_of(rule.replacement, k) & forms for k in range(3, 13))
    assert leaks(split) == 0
    many = FAMILY.but(family=name, instructions=500).split()  # whose first rules are these
    assert (list(split.unseen), list(split.seen)) == (list(many.unseen), list(many.seen)[:60])


def test_a_family_that_runs_out_says_so_before_anything_trains(monkeypatch):
    few = FAMILY.but(alphabet="abc", pattern_length=4, replacement_length=4, family="repeated", k_low=4,
                     k_high=4, instructions=1, unseen_instructions=1)  # fmt: skip
    assert len(family_rules(few, 10, np.random.default_rng(0), set())[0]) == 3  # aaaa, bbbb, cccc
    monkeypatch.setattr(rules, "_FAMILY_BLOCK", 16)
    monkeypatch.setattr(rules, "_BARREN", 1)
    tight = FAMILY.but(pattern_length=4, replacement_length=4, input_length=8, family="periodic", k_low=2,
                       k_high=4, instructions=610, unseen_instructions=30)  # fmt: skip
    told = r"^TaskSpec\.instructions=610: only [0-9]+ seen rules of family='periodic'"
    with pytest.raises(ValueError, match=told):
        tight.split()


# Examples


@given(tasks())
def test_every_example_is_what_the_oracle_says(task):
    split = task.split()
    check(task.training(split), split.seen, task)
    evaluation = task.evaluation(split, 20, 7)
    check(evaluation["seen"], split.seen, task)
    check(evaluation["unseen"], split.unseen, task)


@pytest.mark.parametrize("lengths", [(20, 20), (20, 8), (8, 20)])
def test_every_example_is_what_the_oracle_says_in_the_papers_setting(lengths, monkeypatch):
    monkeypatch.setattr(strings, "_CHUNK", 70)  # and over the borders of chunks
    x, y = lengths
    task = TASK.but(pattern_length=x, replacement_length=y, input_length=50, no_op_share=0.2, examples=300)
    split = task.split()
    check(task.training(split), split.seen, task)


def test_the_budget_is_shared_as_its_shape_says():
    assert [shares(TaskSpec(examples=1_000, concentration=a), 4).tolist() for a in (1.0, 2.0, 0.2)] == [
        [250, 250, 250, 250], [62, 188, 312, 438], [758, 113, 73, 56]]  # fmt: skip
    assert shares(TaskSpec(instructions=3, examples=11), 3).tolist() == [4, 4, 3]


def same(a, b):
    parts = ("prompts", "answers", "rule", "applies")
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in parts)


def test_examples_follow_from_their_seeds_and_those_of_evaluation_are_others():
    split = TASK.split()
    assert same(TASK.training(split), TASK.training(split))
    assert not same(TASK.training(split), TASK.but(example_seed=1).training(split))
    assert not same(TASK.evaluation(split, 50, 1)["unseen"], TASK.evaluation(split, 50, 2)["unseen"])
    trained = {line[:2] for line in lines(TASK.training(split))}
    for seed in (TASK.example_seed, 1_000_000):  # the streams differ even where the seeds do not
        assert not trained & {line[:2] for line in lines(TASK.evaluation(split, 2_000, seed)["seen"])}
    assert TASK.evaluation(split, 120, 1)["unseen"].rule.tolist() == [*range(50), *range(50), *range(20)]


# Decoys


@pytest.mark.parametrize("times", [1, 2, 4])
def test_decoys_stand_as_often_as_the_pattern_and_answers_that_do_not_read_it_are_right_by_chance(times):
    task = DECOYS.but(occurrences=times)
    rules = task.split().unseen
    examples = task.draw(rules, np.arange(10_000) % len(rules), np.random.default_rng(times))
    check(examples.first(500), rules, task)
    known = patterns(rules)
    for line in lines(examples.first(500)):  # the pattern and two decoys; others, by chance
        assert sum(line.text.count(pattern) == times for pattern in known) >= 3
    assert max(shares_right(examples).values()) < CHANCE


@pytest.mark.parametrize("form", ["random", *FORMS])
def test_decoys_of_one_form_stand_anywhere_and_no_form_or_place_tells_the_pattern(form):
    """An answer that looks for a form is right by chance; without decoys it would be right far more often."""
    of_form = {"k_low": 3, "k_high": 4} if form != "random" else {}
    task = TaskSpec(family=form, pattern_length=10, replacement_length=10, input_length=35, decoys=2,
                    decoys_at="anywhere", instructions=300, unseen_instructions=300, **of_form)  # fmt: skip
    rules = task.split().unseen
    examples = task.draw(rules, np.arange(3_000) % 300, np.random.default_rng(0))
    check(examples.first(100), rules, task)
    assert max(shares_right(examples).values()) < CHANCE
    open_task = task.but(decoys=0, decoys_at="first third")
    alone = open_task.draw(rules, np.arange(500) % 300, np.random.default_rng(0))
    assert form == "random" or shares_right(alone)["most regular"] > 0.4


def test_inputs_too_rare_to_find_are_refused_instead_of_sought_for_ever(monkeypatch):
    monkeypatch.setattr(strings, "_ROUNDS", 50)
    task = TaskSpec(alphabet="ab", pattern_length=2, replacement_length=2, input_length=50, instructions=2,
                    unseen_instructions=1, examples=10, no_op_share=1.0)  # fmt: skip
    with pytest.raises(ValueError, match=r"^TaskSpec\.input_length=50: .*'ab'.* too rare to find"):
        task.training(task.split())
