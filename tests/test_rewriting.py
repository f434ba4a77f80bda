"""The oracle itself: leftmost rewrites, and Markov algorithms from the customary public collection."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.rewriting import MarkovAlgorithm, Rule, Step, StepLimitExceeded

SHOP = """
# This rules file is extracted from Wikipedia:
# http://en.wikipedia.org/wiki/Markov_Algorithm
A -> apple
B -> bag
S -> shop
T -> the
the shop -> my brother
a never used -> .terminating rule
"""
BINARY_TO_UNARY = """
1 -> 0|
|0 -> 0||
0 ->
"""
MULTIPLICATION = """
### Unary Multiplication Engine, for testing Markov Algorithm implementations
### By Donal Fellows.
# Unary addition engine
_+1 -> _1+
1+1 -> 11+
# Pass for converting from the splitting of multiplication into ordinary addition
1! -> !1
,! -> !+
_! -> _
# Unary multiplication by duplicating left side, right side times
1*1 -> x,@y
1x -> xX
X, -> 1,1
X1 -> 1X
_x -> _X
,x -> ,X
y1 -> 1y
y_ -> _
# Next phase of applying
1@1 -> x,@y
1@_ -> @_
,@_ -> !_
++ -> +
# Termination cleanup for addition
_1 -> 1
1+_ -> 1
_+_ ->
"""
BUSY_BEAVER = """
# Turing machine: three-state busy beaver
# state A, symbol 0 => write 1, move right, new state B
A0 -> 1B
# state A, symbol 1 => write 1, move left, new state C
0A1 -> C01
1A1 -> C11
# state B, symbol 0 => write 1, move left, new state A
0B0 -> A01
1B0 -> A11
# state B, symbol 1 => write 1, move right, new state B
B1 -> 1B
# state C, symbol 0 => write 1, move left, new state B
0C0 -> B01
1C0 -> B11
# state C, symbol 1 => write 1, move left, halt
0C1 -> H01
1C1 -> H11
"""

strings = st.text("ab", max_size=12)


def rewritten(pattern: str, replacement: str, text: str) -> str:
    at = text.find(pattern)
    return text if at < 0 else text[:at] + replacement + text[at + len(pattern) :]


@given(pattern=st.text("ab", max_size=3), replacement=st.text("ab", max_size=3), text=strings)
def test_a_rule_equals_find_and_slices(pattern, replacement, text):
    rule = Rule(pattern, replacement)
    assert rule.apply(text) == rewritten(pattern, replacement, text)
    assert rule.applies_to(text) == (text.find(pattern) >= 0)


@pytest.mark.parametrize(
    ("rule", "text", "answer"),
    [
        (Rule("a", "b"), "aaa", "baa"),  # leftmost, once
        (Rule("aa", "b"), "aaa", "ba"),  # overlapping matches
        (Rule("a", "aa"), "ba", "baa"),  # what it wrote is not read again
        (Rule("a", ""), "banana", "bnana"),
        (Rule("x", "y"), "banana", "banana"),  # no-op
        (Rule("abc", "x"), "ab", "ab"),  # longer than the text
        (Rule("", "x"), "", "x"),
        (Rule("a.", "b"), "axa.", "axb"),  # no regular expression
        (Rule("a", "\\1"), "a", "\\1"),
    ],
)
def test_a_rule_at_the_edges(rule, text, answer):
    assert rule.apply(text) == answer


@pytest.mark.parametrize(
    ("program", "text", "answer"),
    [
        (SHOP, "I bought a B of As from T S.", "I bought a bag of apples from my brother."),
        (
            SHOP.replace("S -> shop", "S -> .shop"),
            "I bought a B of As from T S.",
            "I bought a bag of apples from T shop.",
        ),
        (MULTIPLICATION, "_1111*11111_", "1" * 20),
        (MULTIPLICATION, "_11*111_", "1" * 6),
        (BUSY_BEAVER, "000000A000000", "00011H1111000"),
        *[(BINARY_TO_UNARY, f"{n:b}", "|" * n) for n in (0, 1, 5, 13)],
    ],
)
def test_programs_of_the_public_collection(program, text, answer):
    assert MarkovAlgorithm.parse(program).run(text) == answer


@pytest.mark.parametrize("indent", ["", "    ", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_indentation_blank_lines_and_comments_do_not_matter(newline, indent):
    lines = ["", f"{indent}# a -> comment", f"{indent}a b -> c", "", f"{indent}  # another", f"{indent}d -> .e f"]
    rules = MarkovAlgorithm.parse(newline.join(lines)).rules
    assert rules == (Rule("a b", "c"), Rule("d", "e f", terminating=True))


@pytest.mark.parametrize(
    "text",
    [
        "# comment\n    a -> b\n    b -> c",
        "    a -> b\n   b -> c",
        "\ta -> b\n  b -> c",
        "a -> b\n b -> c",
        " a -> b\rb -> c",
    ],
)
def test_uneven_indentation_is_no_part_of_a_pattern(text):
    assert MarkovAlgorithm.parse(text).rules == (Rule("a", "b"), Rule("b", "c"))


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_ends_of_lines_end_a_line(sign):
    assert MarkovAlgorithm.parse(f"a{sign}b -> {sign}").rules == (Rule(f"a{sign}b", sign),)
    with pytest.raises(ValueError, match=r"^line 2: "):
        MarkovAlgorithm.parse(f"a{sign}b -> c\nbad")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("S -> .shop ", Rule("S", "shop ", terminating=True)),
        ("a ->", Rule("a", "")),
        ("a -> ", Rule("a", "")),
        ("a -> .", Rule("a", "", terminating=True)),
        ("a -> ..", Rule("a", ".", terminating=True)),  # only the first dot is a mark
        ("a -> b.c", Rule("a", "b.c")),
        (".a. -> b", Rule(".a.", "b")),
        ("a->b -> c", Rule("a->b", "c")),
        ("a -> b -> c", Rule("a", "b -> c")),  # the first arrow with white space divides
        ("-> -> x", Rule("->", "x")),
        ("->", Rule("", "")),
        ("-> x", Rule("", "x")),
        ("a\t->\tb", Rule("a", "b")),
        ("a  ->  b", Rule("a", "b")),
        ("a# -> b", Rule("a#", "b")),
    ],
)
def test_notation_of_one_line(line, rule):
    assert MarkovAlgorithm.parse(line).rules == (rule,)


@given(
    st.lists(
        st.tuples(st.text("ab->.", min_size=1, max_size=4), st.text("ab->", max_size=4), st.booleans()), max_size=4
    )
)
def test_what_a_rule_prints_is_read_back(parts):
    rules = tuple(Rule(*part) for part in parts)
    assert MarkovAlgorithm.parse("\n".join(map(str, rules))).rules == rules


@pytest.mark.parametrize("line", ["ab = c", "a ->b", "a-> b", "a->b", "->b", "a - > b"])
def test_a_malformed_line_is_named_by_its_number(line):
    with pytest.raises(ValueError, match=r"^line 4: .*'" + line):
        MarkovAlgorithm.parse(f"a -> b\n# comment\n\n{line}\nc = d")


def test_steps_tell_which_rule_fired_where():
    first, second, last = rules = Rule("ab", "ba"), Rule("", "x", terminating=True), Rule("b", "")
    assert list(MarkovAlgorithm(rules).steps("aab")) == [
        Step(1, first, 1, "aba"),
        Step(2, first, 0, "baa"),
        Step(3, second, 0, "xbaa"),  # the empty pattern stands before everything, so the last rule never fires
    ]
    assert last.applies_to("xbaa")


def test_an_algorithm_without_applicable_rules_halts_at_once():
    assert MarkovAlgorithm.parse("").run("abc") == "abc"
    assert list(MarkovAlgorithm.parse("x -> y").steps("abc", limit=0)) == []


@pytest.mark.parametrize("program", ["a -> a", "-> x", "a -> b\nb -> a", "a -> aa"])
def test_an_endless_program_is_stopped(program):
    with pytest.raises(StepLimitExceeded, match="within 50 steps") as stopped:
        MarkovAlgorithm.parse(program).run("a", limit=50)
    assert stopped.value.limit == 50
    assert stopped.value.text == list(_first(MarkovAlgorithm.parse(program), 50))[-1].text


def test_a_limit_below_none_is_refused():
    for ask in (MarkovAlgorithm.run, MarkovAlgorithm.steps):
        with pytest.raises(ValueError, match="limit=-1"):
            ask(MarkovAlgorithm.parse("a -> a"), "a", limit=-1)


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_pattern():
    assert MarkovAlgorithm.parse("\ufeffa -> b").rules == (Rule("a", "b"),)


def test_the_error_of_an_endless_program_can_be_sent_to_another_process():
    sent = pickle.loads(pickle.dumps(StepLimitExceeded(3, "a")))
    assert (str(sent), sent.limit, sent.text) == (str(StepLimitExceeded(3, "a")), 3, "a")


def test_the_limit_counts_steps_taken():
    countdown = MarkovAlgorithm.parse("a -> b")
    assert countdown.run("aaa", limit=3) == "bbb"
    with pytest.raises(StepLimitExceeded, match="'bba'"):
        countdown.run("aaa", limit=2)
    assert MarkovAlgorithm.parse("a -> .b").run("aaa", limit=1) == "baa"


def _first(algorithm, count):
    return (step for step, _ in zip(algorithm.steps("a"), range(count), strict=False))
