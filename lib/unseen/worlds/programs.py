"""Markov algorithms from text-books and the public collection of interpreter tests, with inputs and what
they halt on.

A model reads letters only, so a program's symbols (``|``, ``+``, brackets, spaces) are mapped to letters by
a drawn bijection: its symbols are *renamed*.  What the program does is the same under every renaming; which
rules the model reads is not.

    >>> program = collection()["unary addition"]
    >>> program.algorithm.run("111+11")
    '11111'
    >>> letters = renaming(program.symbols, "abcdefgh", number=0)
    >>> renamed = program.renamed(letters)
    >>> given, expected = renamed.cases[0]
    >>> renamed.algorithm.run(given) == expected == program.cases[0][1].translate(str.maketrans(letters))
    True
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from unseen.rewriting import MarkovAlgorithm, Rule
from unseen.worlds.base import generator

VERSION = (
    1  # of the collection; training leaves its rules out, so a change of it changes what runs are trained on
)


@dataclass(frozen=True)
class Program:
    """A Markov algorithm with a name, what it is for, and ``cases``: inputs with the strings on which it
    halts.
    """

    name: str
    about: str
    algorithm: MarkovAlgorithm
    cases: tuple[tuple[str, str], ...]

    @property
    def symbols(self) -> str:
        """All different characters of the rules and the cases, in order."""
        rules = "".join(rule.pattern + rule.replacement for rule in self.algorithm.rules)
        return "".join(sorted(set(rules + "".join(map("".join, self.cases)))))

    def renamed(self, letters: Mapping[str, str]) -> "Program":
        """The same program with each symbol replaced by a letter; symbols that are not named stay."""
        table = str.maketrans(dict(letters))
        rules = tuple(renamed(rule, table) for rule in self.algorithm.rules)
        cases = tuple((given.translate(table), expected.translate(table)) for given, expected in self.cases)
        return replace(self, algorithm=MarkovAlgorithm(rules), cases=cases)


def renamed(rule: Rule, table: dict[int, str]) -> Rule:
    """A rule with its symbols translated."""
    return replace(rule, pattern=rule.pattern.translate(table), replacement=rule.replacement.translate(table))


def renaming(symbols: str, alphabet: str, number: int) -> dict[str, str]:
    """A different letter for each symbol, drawn by a number.

    Raises ``ValueError`` when there are more symbols than letters.
    """
    if len(symbols) > len(alphabet):
        raise ValueError(f"{len(symbols)} different symbols, but this model has {len(alphabet)} letters")
    drawn = generator(number, f"disguise of {symbols}").permutation(len(alphabet))
    return {symbol: alphabet[place] for symbol, place in zip(symbols, drawn, strict=False)}


def collection() -> dict[str, Program]:
    """All programs by name, in the order in which they are shown."""
    return {program.name: program for program in map(_read, _TEXTS)}


def _read(text: tuple[str, str, str, str]) -> Program:
    name, about, rules, cases = text
    pairs = (line.strip().split(" => ") for line in cases.strip().splitlines())
    return Program(
        name,
        about,
        MarkovAlgorithm.parse(rules),
        tuple((given, expected.strip("'")) for given, expected in pairs),
    )


_SHOP = """A -> apple
B -> bag
S -> {dot}shop
T -> the
the shop -> my brother
a never used -> .terminating rule"""
_SHORT = "A -> apl\nB -> bg\nS -> {dot}s\nT -> t\nt s -> me\nnev -> .end"
_MULTIPLY = """
    # Donal Fellows' engine for unary multiplication: addition, splitting, duplication, clean-up
    _+1 -> _1+
    1+1 -> 11+
    1! -> !1
    ,! -> !+
    _! -> _
    1*1 -> x,@y
    1x -> xX
    X, -> 1,1
    X1 -> 1X
    _x -> _X
    ,x -> ,X
    y1 -> 1y
    y_ -> _
    1@1 -> x,@y
    1@_ -> @_
    ,@_ -> !_
    ++ -> +
    _1 -> 1
    1+_ -> 1
    _+_ ->
"""
_BEAVER = """
    A0 -> 1B
    0A1 -> C01
    1A1 -> C11
    0B0 -> A01
    1B0 -> A11
    B1 -> 1B
    0C0 -> B01
    1C0 -> B11
    0C1 -> H01
    1C1 -> H11
"""
_TRAVEL = "Aa -> aA\nAb -> bA\nBa -> aB\nBb -> bB\n"  # capital letters walk to the right

_TEXTS = (  # name, what it is for, rules, cases: input => the string on which it halts
    (
        "unary addition",
        "the plus walks left and goes",
        "1+ -> +1\n+ -> .",
        "111+11 => 11111\n11+1 => 111\n11111+111 => 11111111",
    ),
    (
        "unary subtraction",
        "ones go in pairs",
        "1-1 -> -\n1- -> .1",
        "111-11 => 1\n11111-11 => 111\n1-111 => -11",
    ),
    (
        "sorting",
        "neighbours change places",
        "ba -> ab\nca -> ac\ncb -> bc",
        "cabca => aabcc\nccbbaa => aabbcc\nbcabcacb => aabbbccc",
    ),
    (
        "brackets",
        "pairs go; y if balanced",
        "() ->\n<> -> .y",
        "<(())()> => y\n<(()> => <(>\n<((())(()))> => y",
    ),
    (
        "binary to unary",
        "the classical example",
        "|0 -> 0||\n1 -> 0|\n0 ->",
        "101 => |||||\n11 => |||\n110 => ||||||\n0 => ''",
    ),
    (
        "binary increment",
        "the carry walks to the left",
        "1_ -> _0\n0_ -> .1\n[_ -> .[1",
        "[1011_ => [1100\n[111_ => [1000\n[10_ => [11",
    ),
    (
        "greatest common divisor",
        "Euclid in unary",
        "aA -> Aa\na-a -> A-\na- -> -B\nB -> a\nA -> C\nC -> a\n- ->",
        "aaaa-aa => aa\naaaaaa-aaa => aaa\naaa-aa => a",
    ),
    (
        "reversal",
        "each letter walks over the rest",
        _TRAVEL + "A] -> ]a\nB] -> ]b\n[a -> [A\n[b -> [B\n[] -> .",
        "[abb] => bba\n[aab] => baa\n[abaab] => baaba",
    ),
    (
        "palindrome",
        "first meets last; y or n is left",
        _TRAVEL + "[A] -> .y\n[B] -> .y\naA] -> ]\nbB] -> ]\nbA] -> n\naB] -> n\nan -> n\nbn -> n\n[n -> .n\n"
        "[a -> [A\n[b -> [B\n[] -> .y",
        "[abba] => y\n[aba] => y\n[abaab] => n\n[ab] => n",
    ),
    (
        "unary multiplication",
        "test 4, smaller numbers",
        _MULTIPLY,
        "_11*11_ => 1111\n_1*111_ => 111\n_11*111_ => 111111",
    ),
    (
        "busy beaver",
        "test 5: a Turing machine",
        _BEAVER,
        "000000A000000 => 00011H1111000\n0000A000 => 011H1111\n0000A0000 => 011H11110",
    ),
    (
        "abridged shopping",
        "test 1, shorter words",
        _SHORT.format(dot=""),
        "B of A T S => bg of apl me\nA S => apl s\nT B => t bg",
    ),
    (
        "abridged shopping that ends",
        "test 2, shorter words",
        _SHORT.format(dot="."),
        "B of A T S => bg of apl T s\nT S A => T s apl",
    ),
    (
        "abridged syntax",
        "test 3, shorter words",
        "A -> ap\nWWW -> wi\nBg -> ->.\nB -> bg\n->. -> mo\nW -> WW\nS -> .s\nT -> t\nt s -> me",
        "B A W Bg T S => bg ap wi mo T s\nA W Bg => ap wi mo",
    ),
    (
        "shopping",
        "interpreter test 1",
        _SHOP.format(dot=""),
        "I bought a B of As from T S. => I bought a bag of apples from my brother.",
    ),
    (
        "shopping that ends",
        "interpreter test 2",
        _SHOP.format(dot="."),
        "I bought a B of As from T S. => I bought a bag of apples from T shop.",
    ),
    (
        "syntax",
        "interpreter test 3: odd signs",
        "A -> apple\nWWWW -> with\nBgage -> ->.*\nB -> bag\n->.* -> money\nW -> WW\nS -> .shop\nT -> the\n"
        "the shop -> my brother\na never used -> .terminating rule",
        "I bought a B of As W my Bgage from T S. => I bought a bag of apples with my money from T shop.",
    ),
    ("unary multiplication 4 by 5", "interpreter test 4", _MULTIPLY, "_1111*11111_ => 11111111111111111111"),
)
