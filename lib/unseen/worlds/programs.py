"""Markov algorithms from text-books and the public collection of interpreter tests (``programs.toml``).

A model reads letters only, so a program's symbols (``|``, ``+``, brackets, spaces) are *renamed*: mapped to
letters by a drawn bijection.  What the program does stays the same; which rules the model reads does not.

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

from unseen.files import packaged
from unseen.rewriting import MarkovAlgorithm, Rule
from unseen.worlds.base import generator

# Of the collection: training leaves its rules out, so a change of it changes what runs are trained on.
VERSION = 1


@dataclass(frozen=True)
class Program:
    """A Markov algorithm, what it is for, and ``cases``: inputs with the strings on which it halts."""

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
        rules = (
            Rule(each.pattern.translate(table), each.replacement.translate(table), each.terminating)
            for each in self.algorithm.rules
        )
        cases = tuple((given.translate(table), expected.translate(table)) for given, expected in self.cases)
        return replace(self, algorithm=MarkovAlgorithm(tuple(rules)), cases=cases)


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
    found = {}
    for name, text in packaged("worlds/programs.toml").items():
        algorithm, cases = MarkovAlgorithm.parse(text["rules"]), tuple(map(tuple, text["cases"]))
        found[name] = Program(name, text["about"], algorithm, cases)
    return found
