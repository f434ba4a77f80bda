"""Three domains: what their oracles answer, what is held out, and how a budget is divided."""

from dataclasses import replace

import pytest

from unseen.rewriting import Rule
from unseen.runs.workers import Serial
from unseen.scales import SCALES
from unseen.studies import domains
from unseen.worlds.algebra import OPERATORS, AlgebraRule, end_of, match, patterns
from unseen.worlds.domains import DOMAINS, KINDS, OPTIONS, PRIMITIVES, Chain, DomainSpec

SMALL = DomainSpec(algebra_examples=200, letter_examples=100, list_examples=100, algebra_instructions=20,
                   letter_instructions=30, list_instructions=30)  # fmt: skip

LARGE = DomainSpec(letter_examples=1_000, algebra_examples=5_000, list_examples=450,
                   letter_instructions=1_000, algebra_instructions=5_000, list_instructions=450)  # fmt: skip


@pytest.mark.parametrize(("rule", "asked", "answer"), [
    (("*+ABC", "+*AC*BC"), "*+abc", "+*ac*bc"),
    (("*+ABC", "+*AC*BC"), "-*+abc*+def", "-+*ac*bc*+def"),  # the first of two
    (("*+ABC", "+*AC*BC"), "*+*+abcde", "+**+abce*de"),  # the outer one before the inner
    (("*+ABC", "+*AC*BC"), "+*abc", "+*abc"),  # nowhere
    (("+AA", "A"), "++abab", "++abab"),  # one metavariable, two different things
    (("+AA", "A"), "+/ab/ab", "/ab"),
    (("+Aa", "A"), "++bab", "+bb"),  # a leaf in a pattern stands for itself
    (("A", "+AA"), "b", "+bb"),
    (("-+ABC", "*CB"), "/c-+a*bde", "/c*e*bd"),  # inside, and longer metavariables
])  # fmt: skip
def test_an_algebra_rule_is_applied_at_the_leftmost_match(rule, asked, answer):
    assert AlgebraRule(*rule).apply(asked) == answer
    assert AlgebraRule(*rule).applies_to(asked) or asked == answer


@pytest.mark.parametrize("sides", [("+AB", "+AC"), ("+A", "A"), ("+ABC", "A"), ("", "A"), ("+AB", "")])
def test_what_is_no_rule_is_refused(sides):
    with pytest.raises(ValueError, match=r"does not bind C|not a whole expression|more than one expression"):
        AlgebraRule(*sides)


def test_patterns_are_in_canonical_form_and_different():
    assert len(set(patterns())) == 2 * len(OPERATORS) ** 2 == 128
    assert all(end_of(pattern, 0) == len(pattern) for pattern in patterns())
    assert match("*+ABC", "*+abc", 1) is None


@pytest.mark.parametrize(("names", "items", "answer"), [
    ("rev", "314", "413"), ("srt", "3145", "1345"), ("rot", "314", "143"), ("drp", "314", "14"),
    ("dbl", "357", "604"),
    ("big", "3145", "345"), ("swp", "3145", "5143"), ("cut", "314", "31"), ("drp rev", "314", "41"),
    ("swp", "3", "3"), ("rot", "", ""), ("big", "", ""), ("drp drp", "3", ""), ("cut swp rot", "3", ""),
])  # fmt: skip
def test_list_operations(names, items, answer):
    assert Chain(tuple(names.split())).apply(items) == answer


@pytest.mark.parametrize("seed", range(3))
def test_unseen_instructions_are_disjoint(seed):
    split = LARGE.but(rule_seed=seed).split()
    assert [len(split[kind][0]) for kind in DOMAINS] == [1_000, 5_000, 450]
    for kind in ("letters", "algebra"):
        seen, unseen = (
            [rule.pattern for rule in side] + [rule.replacement for rule in side] for side in split[kind]
        )
        assert kind == "algebra" or not set(seen) & set(unseen)
        for part in ("pattern", "replacement"):
            seen, unseen = ({getattr(rule, part) for rule in side} for side in split[kind])
            assert not seen & unseen
    assert not set(split["lists"][0]) & set(split["lists"][1])
    assert {name for chain in split["lists"][1] for name in chain.names} == set(PRIMITIVES)
    for seen, unseen in split.values():
        assert len(set(seen)) == len(seen)
        assert len(set(unseen)) == len(unseen)


def test_the_test_does_not_depend_on_how_many_are_trained():
    one, other = (SMALL.but(algebra_instructions=size).split() for size in (20, 100))
    assert one["algebra"][1] == other["algebra"][1]
    assert other["algebra"][0][:20] != one["algebra"][1]


def test_a_domain_without_examples_has_no_seen_instructions():
    split = DomainSpec(algebra_examples=50).split()
    assert {kind: len(seen) for kind, (seen, _) in split.items()} == dict.fromkeys(KINDS, 0) | {"algebra": 40}
    assert all(len(unseen) >= 100 for _, unseen in split.values())


def test_untrained_kinds_can_be_asked():
    split = SMALL.split()
    digits, moves = (SMALL.questions(split, 60, 1_000_000, kind).texts(3)[0] for kind in ("digits", "moves"))
    assert set(digits) <= set("0123456789→|=")
    assert moves.split("|")[1].removesuffix("=").isalpha()


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_has_designs_of_each_experiment_that_read_their_budget_once(scale):
    designs = domains.designs(scale)
    assert {design.experiment for design in designs} == {"7", "7 alone", "8", "8 longer", "9"}
    for spec in (spec for design in designs for spec in design.runs()):
        assert spec.training.steps == spec.task.examples // spec.training.batch


def test_every_model_is_evaluated_on_every_kind(runs):
    chosen = [replace(each, seeds=(0,)) for each in domains.designs("smoke") if each.experiment == "8"]
    results = domains.measure(chosen, Serial())
    assert set(results["kind"]) == set(KINDS)
    assert not results.duplicated(["setting", "own_rules", "seed", "kind", "split"]).any()
    assert len(results) == len(chosen) * (len(KINDS) + 1)


@pytest.mark.parametrize("kind", ["digits", "moves"])
def test_a_choice_is_fair_to_a_model_that_does_not_read_the_instruction(kind):
    asked = SMALL.choices(SMALL.split(), 80, 1_000_000, kind)
    prompts, answers = zip(*(asked.texts(i) for i in range(len(asked))), strict=True)
    rights = 0
    for first in range(0, len(asked), OPTIONS**2):  # an input
        shown = [answers[at : at + OPTIONS] for at in range(first, first + OPTIONS**2, OPTIONS)]
        assert len(set(shown)) == 1, "each instruction has the same answers"
        assert len(set(shown[0])) == OPTIONS
        assert len({*map(len, shown[0])}) == 1
        for own in range(OPTIONS):
            stated, text = prompts[first + own * OPTIONS].removesuffix("=").split("|")
            names = stated.split("→")
            instruction = Rule(*names) if kind == "digits" else Chain(tuple(names))
            assert instruction.applies_to(text)
            assert instruction.apply(text) == shown[0][own]
            rights += shown[0][own] == min(shown[0])  # an answer that reads the answers alone
    assert rights == len(asked) / OPTIONS**2


def test_a_finished_run_is_asked_to_choose_on_the_kinds_that_none_trained(runs):
    chosen = [replace(each, seeds=(0,)) for each in domains.designs("smoke") if each.experiment == "9"]
    results = domains.measure(chosen, Serial())
    choices = results[results["split"] == "choice"]
    assert set(choices["kind"]) == {*KINDS} - {*DOMAINS}
    assert len(choices) == len(chosen) * 2
    assert choices["examples"].between(32, 40).all()  # a few inputs have too few different answers


def test_longer_budgets_hold_the_same_rules():
    longer = [each.base.task for each in domains.designs("paper") if each.experiment == "8 longer"]
    assert [task.examples for task in longer] == [50_000] * 2 + [187_500] * 2 + [500_000] * 2
    assert {task.number("algebra") for task in longer} == {20}
    assert [task.share("algebra") for task in longer] == [1.0, 0.9] * 3
