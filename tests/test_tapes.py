"""The tape world: what is held out, and the edition and disguises of its programs."""

import hashlib

import pytest

from unseen.rewriting import Rule
from unseen.studies.programs import misfit
from unseen.worlds.programs import VERSION, collection, renaming
from unseen.worlds.tapes import TapeSpec, leaks

TASK = TapeSpec(instructions=60, examples=400, unseen_instructions=40)


@pytest.fixture(scope="module")
def split():
    return TASK.split()


def test_the_rules_of_every_program_in_every_disguise_are_held_out(split):
    for program in collection().values():
        for number in range(TASK.disguises):
            if len(program.symbols) > len(TASK.alphabet):
                continue
            renamed = program.renamed(renaming(program.symbols, TASK.alphabet, number))
            if not any(misfit(renamed.algorithm, given, TASK) for given, _ in renamed.cases):
                plain = {Rule(rule.pattern, rule.replacement) for rule in renamed.algorithm.rules}
                assert plain <= set(split.programs)


def test_a_leak_is_noticed_and_there_is_none(split):
    assert leaks(split) == 0
    single = next(rule for rule in split.unseen if len(rule.pattern) == 1)
    longer = next(rule for rule in split.programs if len(rule.pattern) > 1)
    shown = {Rule(longer.pattern, "zz"): True, single: True, Rule(single.pattern, "qqqq"): False}
    for extra, expected in shown.items():
        changed = type(split)((*split.seen, extra), split.unseen, split.programs)
        assert (leaks(changed) > 0) == expected


def test_smaller_training_sets_are_the_first_of_larger_and_the_unseen_rules_are_the_same(split):
    more = TASK.but(instructions=90, examples=400).split()
    assert more.seen[:60] == split.seen
    assert more.unseen == split.unseen
    assert TASK.but(rule_seed=1).split().unseen != split.unseen


def test_too_few_rules_and_another_edition_are_refused(monkeypatch):
    monkeypatch.setattr("unseen.worlds.tapes._TRIES", 2_000)
    with pytest.raises(ValueError, match=r"TapeSpec\.instructions=60: only \d+ rules found"):
        TASK.but(longest_pattern=1, longest_replacement=1, most_letters=1, unseen_instructions=5).split()
    with pytest.raises(ValueError, match=r"collection=2: this is edition 1 of the programs"):
        TASK.but(collection=2).split()


def test_a_changed_collection_has_another_edition():
    """Training leaves the programs' rules out: with other programs, stored runs had other training sets."""
    text = "\n".join(f"{rule}" for program in collection().values() for rule in program.algorithm.rules)
    text += "".join(program.symbols for program in collection().values())
    assert (VERSION, hashlib.sha256(text.encode()).hexdigest()[:12]) == (1, "b8946e6d4be0")


def test_a_disguise_is_a_bijection_and_needs_letters_enough():
    secret = renaming("+-*1", "abcdef", 3)
    assert len(set(secret.values())) == 4
    assert renaming("+-*1", "abcdef", 3) == secret != renaming("+-*1", "abcdef", 4)
    with pytest.raises(ValueError, match="4 different symbols, but this model has 3 letters"):
        renaming("+-*1", "abc", 0)
