"""The oracle itself: leftmost rewrites and Markov algorithms; notebook 16 runs the public collection."""

import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.rewriting import LengthLimitExceeded, MarkovAlgorithm, Rule, Step, StepLimitExceeded

SOME = "ab.\\"  # letters, and what would mean something in a regular expression


@given(st.text(SOME, max_size=3), st.text(SOME, max_size=3), st.text(SOME, max_size=12))
def test_a_rule_equals_find_and_slices(pattern, replacement, text):
    rule, at = Rule(pattern, replacement), text.find(pattern)
    assert rule.apply(text) == (text if at < 0 else text[:at] + replacement + text[at + len(pattern) :])
    assert rule.applies_to(text) == (at >= 0)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_indentation_blank_lines_and_comments_do_not_matter(newline):
    lines = ["\ufeff", "# a -> comment", "    a b -> c", "", "\t# another", "\td -> .e f", "  x -> y"]
    rules = MarkovAlgorithm.parse(newline.join(lines)).rules
    assert rules == (Rule("a b", "c"), Rule("d", "e f", terminating=True), Rule("x", "y"))
    assert MarkovAlgorithm.parse("\ufeffa -> b").rules == (Rule("a", "b"),)  # no mark of the byte order


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_ends_of_lines_end_a_line(sign):
    assert MarkovAlgorithm.parse(f"a{sign}b -> {sign}").rules == (Rule(f"a{sign}b", sign),)
    with pytest.raises(ValueError, match=r"^line 2: "):
        MarkovAlgorithm.parse(f"a{sign}b -> c\nbad")


@pytest.mark.parametrize(("line", "rule"), [
    ("S -> .shop ", Rule("S", "shop ", terminating=True)),
    ("a ->", Rule("a", "")), ("a -> ", Rule("a", "")), ("a -> .", Rule("a", "", terminating=True)),
    ("a -> ..", Rule("a", ".", terminating=True)),  # only the first dot is a mark
    ("a -> b.c", Rule("a", "b.c")), (".a. -> b", Rule(".a.", "b")), ("a->b -> c", Rule("a->b", "c")),
    ("a -> b -> c", Rule("a", "b -> c")),  # the first arrow with white space divides
    ("-> -> x", Rule("->", "x")), ("->", Rule("", "")), ("-> x", Rule("", "x")),
    ("a\t->\tb", Rule("a", "b")), ("a  ->  b", Rule("a", "b")),
    ("a# -> b", Rule("a#", "b")), ("a -> #", Rule("a", "#")), ("a -> b#", Rule("a", "b#")),
    ("a → b ", Rule("a", "b ")), ("ab→ba", Rule("ab", "ba")),  # as this project's pages show a rule
    ("a → .b", Rule("a", "b", terminating=True)), ("→ x", Rule("", "x")), ("a →", Rule("a", "")),
    ("a → b -> c", Rule("a → b", "c")), ("→ -> x", Rule("→", "x")),
])  # fmt: skip
def test_notation_of_one_line(line, rule):
    assert MarkovAlgorithm.parse(line).rules == (rule,)


PARTS = st.tuples(st.text("ab->.", min_size=1, max_size=4), st.text("ab->", max_size=4), st.booleans())


@given(st.lists(PARTS, max_size=4))
def test_what_a_rule_prints_is_read_back(parts):
    rules = tuple(Rule(*part) for part in parts)
    assert MarkovAlgorithm.parse("\n".join(map(str, rules))).rules == rules


@pytest.mark.parametrize(("line", "words"), [
    ("ab = c", "'ab = c'$"), ("a - > b", "'a - > b'$"),
    *((f"a{arrow}b", "; did you mean 'a -> b'?$") for arrow in
      (" ->", "-> ", "->", " => ", " |-> ", " –> ", "➝", "\xa0->\xa0", " ::= ")),
    *((f"a {arrow}b", "; did you mean 'a -> .b'?$") for arrow in ("->.", "->. ", "→·", "→ •", "⟶.")),
    ("->b", "; did you mean '-> b'?$"), ("a → b → c", "; did you mean 'a -> b → c'?$"),
    ("a → b->c", "; did you mean 'a -> b->c'?$"),
    *((f"a {arrow} b {sign}", "a comment behind a rule would be part of its replacement")
      for arrow in ("->", "→") for sign in ("# swap", "#1", "// swap")),
    ("a -> # erase", "a comment behind a rule"),
])  # fmt: skip
def test_a_malformed_line_is_named_by_its_number_and_what_it_likely_means(line, words):
    with pytest.raises(ValueError, match=f"^line 4: .*{words.replace('?', '[?]')}"):
        MarkovAlgorithm.parse(f"a -> b\n# comment\n\n{line}\nc = d")


def test_steps_tell_which_rule_fired_where():
    first, second, last = rules = Rule("ab", "ba"), Rule("", "x", terminating=True), Rule("b", "")
    assert list(MarkovAlgorithm(rules).steps("aab")) == [
        Step(1, first, 1, "aba"),
        Step(2, first, 0, "baa"),
        Step(3, second, 0, "xbaa"),  # the empty pattern stands before everything: the last rule never fires
    ]
    assert last.applies_to("xbaa")


def test_an_algorithm_without_applicable_rules_halts_at_once():
    assert MarkovAlgorithm.parse("").run("abc") == "abc"
    assert list(MarkovAlgorithm.parse("x -> y").steps("abc", limit=0)) == []


@pytest.mark.parametrize("program", ["a -> a", "-> x", "a -> b\nb -> a", "a -> aa"])
def test_an_endless_program_is_stopped(program):
    last = list(islice(MarkovAlgorithm.parse(program).steps("a"), 50))[-1].text
    with pytest.raises(StepLimitExceeded, match=f"within 50 steps; the string was then '{last}'") as stopped:
        MarkovAlgorithm.parse(program).run("a", limit=50)
    assert (stopped.value.number, stopped.value.text) == (50, last)


@pytest.mark.parametrize(("program", "text", "number", "kept"), [
    ("-> *", "", 9, "*" * 9), ("a -> aa", "a", 8, "a" * 9), (f"-> {'x' * 1_000_000}", "a", 0, "a"),
    ("b -> c\na -> bbb", "a" * 9, 0, "a" * 9), ("ab -> \nb -> .ccc", "ab" * 9 + "b" * 9, 9, "b" * 9),
])  # fmt: skip
def test_a_program_that_grows_is_stopped_and_its_last_string_kept(program, text, number, kept):
    with pytest.raises(LengthLimitExceeded, match="grows beyond 9 letters") as stopped:
        MarkovAlgorithm.parse(program).run(text, longest=9)
    assert (stopped.value.number, stopped.value.text) == (number, kept)


@pytest.mark.parametrize("line", ["a{}b", "a{}→ b→", "a ->b{}c"])
def test_a_long_malformed_line_is_refused_at_once(line):
    for sign in (" ", "-", "→", "a "):
        with pytest.raises(ValueError, match=r"^line 1: ") as error:
            MarkovAlgorithm.parse(line.format(sign * 100_000))  # for minutes, if it took quadratic time
        assert len(str(error.value)) < 400


def test_a_program_that_grows_takes_little_memory():
    tracemalloc.start()
    with pytest.raises(LengthLimitExceeded):
        list(MarkovAlgorithm.parse("-> *").steps(""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
