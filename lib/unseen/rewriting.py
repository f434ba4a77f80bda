"""The oracle: string rewriting and Markov algorithms on plain strings, slow and obvious.

The task is the one of Zhang, Wang and Charton (arXiv 2402.10891, section 2): a model reads a rule
``x -> y`` and an input ``z`` and writes ``z`` with its *leftmost* ``x`` replaced by ``y``.

    >>> Rule("aa", "bac").apply("caaba")
    'cbacba'
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_RULE = re.compile(r"(?:(?P<pattern>.*?\S)[ \t]+)?->(?:[ \t]+(?P<dot>\.)?(?P<replacement>.*))?")
_LINE_END = re.compile(r"\r\n|\n|\r")  # of a text file; str.splitlines knows others, which a string may hold


@dataclass(frozen=True, order=True)
class Rule:
    """One instruction ``pattern -> replacement``, applied to the leftmost occurrence of the pattern.

    >>> Rule("iss", "art").apply("mississippi")
    'martissippi'
    >>> Rule("iss", "art").apply("canada")      # no occurrence: a no-op
    'canada'
    >>> Rule("", "x").apply("abc")              # the empty pattern occurs before the first letter
    'xabc'
    """

    pattern: str
    replacement: str
    terminating: bool = False

    @property
    def text(self) -> str:
        """The instruction as a model reads it."""
        return f"{self.pattern}→{self.replacement}"

    def applies_to(self, text: str) -> bool:
        """Whether the pattern occurs in ``text``."""
        return self.pattern in text

    def apply(self, text: str) -> str:
        """``text`` with the leftmost occurrence of the pattern replaced, or unchanged without one."""
        return text.replace(self.pattern, self.replacement, 1)

    def __str__(self) -> str:
        return f"{self.pattern} -> {'.' if self.terminating else ''}{self.replacement}"


@dataclass(frozen=True)
class Step:
    """One step of a Markov algorithm: which rule fired where, and the string it left.

    ``number`` counts from 1; ``position`` is the index of the match in the string before the step.
    """

    number: int
    rule: Rule
    position: int
    text: str


class StepLimitExceeded(RuntimeError):
    """A Markov algorithm was still running after the allowed number of steps."""


@dataclass(frozen=True)
class MarkovAlgorithm:
    """An ordered list of rules; at each step the first rule that applies rewrites its leftmost match.

    It halts after a terminating rule, or when no rule applies (Markov, 1954).

    >>> shop = MarkovAlgorithm.parse('''
    ...     # from the customary collection
    ...     A -> apple
    ...     B -> bag
    ...     S -> .shop
    ... ''')
    >>> shop.run("a B of A from S")
    'a bag of apple from shop'
    >>> [step.text for step in shop.steps("B A")]
    ['B apple', 'bag apple']
    """

    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, text: str) -> "MarkovAlgorithm":
        """Read the customary notation: one rule a line, white space on both sides of ``->``.

        A dot before the replacement marks a terminating rule, the right side may be empty, lines that start
        with ``#`` are comments.  The first arrow with white space around it divides the line, so a pattern
        may hold arrows (``a->b -> c``) and dots.  White space before a pattern is indentation, at the end of
        a line it belongs to the replacement; so there are rules that cannot be written.

        Raises ``ValueError`` naming the number of the first malformed line.

        >>> MarkovAlgorithm.parse("-> -> x").rules[0].pattern
        '->'
        >>> MarkovAlgorithm.parse("ab = c")
        Traceback (most recent call last):
        ...
        ValueError: line 1: no '->' with white space around it in 'ab = c'
        """
        rules = []
        for number, line in enumerate(_LINE_END.split(text.removeprefix("\ufeff")), start=1):
            line = line.lstrip(" \t")
            if not line.strip() or line.startswith("#"):
                continue
            if not (found := _RULE.fullmatch(line)):
                raise ValueError(f"line {number}: no '->' with white space around it in {line!r}")
            rules.append(Rule(found["pattern"] or "", found["replacement"] or "", bool(found["dot"])))
        return cls(tuple(rules))

    def steps(self, text: str, limit: int = 100_000) -> Iterator[Step]:
        """Yield every step of the run on ``text``, in order.

        Raises ``StepLimitExceeded`` before a step beyond ``limit``.
        """
        number = 0
        while rule := next((rule for rule in self.rules if rule.applies_to(text)), None):
            if number >= limit:
                was = f"the string was then {text[:60]!r}"
                raise StepLimitExceeded(f"no rule terminated within {limit} steps; {was}")
            number += 1
            position, text = text.index(rule.pattern), rule.apply(text)
            yield Step(number, rule, position, text)
            if rule.terminating:
                return

    def run(self, text: str, limit: int = 100_000) -> str:
        """The string on which the algorithm halts; raises ``StepLimitExceeded`` as ``steps`` does."""
        for step in self.steps(text, limit):
            text = step.text
        return text
