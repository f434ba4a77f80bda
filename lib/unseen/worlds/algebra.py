"""Algebraic rewriting on expression trees, in plain strings: the oracle of the domain ``algebra``.

Expressions are written in prefix order, one character an operator or leaf: ``*+abc`` is (a + b) * c.  A rule
is a pair of expressions whose leaves are metavariables, and each stands for any expression.  It is applied
once, at the leftmost subtree, in the order of writing, that its pattern matches; where none matches, the
expression stays as it is.

    >>> spread = AlgebraRule("*+ABC", "+*AC*BC")
    >>> spread.text, spread.apply("*+ab-cd")
    ('*+ABC→+*AC*BC', '+*a-cd*b-cd')
    >>> spread.apply("-*c+ab/ab")
    '-*c+ab/ab'
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from unseen.rewriting import Rule
from unseen.worlds.base import pick

OPERATORS = "+-*/^&%#"
METAVARIABLES = "ABC"
LEAVES = "abcdefgh"


@dataclass(frozen=True)
class AlgebraRule(Rule):
    """Both sides are expressions over metavariables; the replacement knows those of the pattern only."""

    def __post_init__(self) -> None:
        for side in (self.pattern, self.replacement):
            if end_of(side, 0) != len(side):
                raise ValueError(f"{side!r} is more than one expression")
        if unknown := (set(self.replacement) - set(self.pattern)) & set(METAVARIABLES):
            raise ValueError(f"{self.text}: the pattern does not bind {min(unknown)}")

    def applies_to(self, expression: str) -> bool:
        """Whether the pattern matches anywhere."""
        return any(match(self.pattern, expression, start) is not None for start in range(len(expression)))

    def apply(self, expression: str) -> str:
        """The expression with its leftmost match rewritten."""
        for start in range(len(expression)):
            if (bound := match(self.pattern, expression, start)) is not None:
                written = "".join(bound.get(token, token) for token in self.replacement)
                return expression[:start] + written + expression[end_of(expression, start) :]
        return expression


def end_of(expression: str, start: int) -> int:
    """Where the subtree that begins at ``start`` ends; raises ``ValueError`` when it never does.

    >>> end_of("*+abc", 1), end_of("*+abc", 0)
    (4, 5)
    """
    missing, place = 1, start
    while missing:
        if place == len(expression):
            raise ValueError(f"{expression!r} is not a whole expression")
        missing += 1 if expression[place] in OPERATORS else -1
        place += 1
    return place


def match(pattern: str, expression: str, start: int) -> dict[str, str] | None:
    """What each metavariable stands for when the pattern is laid on the subtree at ``start``, or None where
    it does not fit.

    >>> match("*+ABC", "*+ab-cd", 0)
    {'A': 'a', 'B': 'b', 'C': '-cd'}
    >>> match("+AA", "+ab", 0) is None
    True
    """
    bound: dict[str, str] = {}
    for token in pattern:
        if token in METAVARIABLES:
            end = end_of(expression, start)
            if bound.setdefault(token, expression[start:end]) != expression[start:end]:
                return None
            start = end
        elif expression[start] == token:
            start += 1
        else:
            return None
    return bound


def expression(operators: int, leaves: str, rng: np.random.Generator) -> str:
    """A random expression with so many operators."""
    if not operators:
        return pick(leaves, rng)
    left = int(rng.integers(operators))
    parts = (expression(size, leaves, rng) for size in (left, operators - 1 - left))
    return pick(OPERATORS, rng) + "".join(parts)


def patterns() -> list[str]:
    """All patterns of two operators in which each of three metavariables stands once: 128.

    Metavariables are named in the order of writing, so two patterns that are equal but for names are equal.
    """
    forms = ("{}{}ABC", "{}A{}BC")
    return [form.format(*pair) for form, pair in product(forms, product(OPERATORS, repeat=2))]
