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
_PAGES = re.compile(r"(?!.*->)(?P<pattern>|[^→]*[^→\s])\s*→(?!\s*[·•])\s*(?P<dot>\.)?(?P<replacement>[^→]*)")
_LIKELY = re.compile(r"(.*?)\s*(?:[|:]?[-–—=~]+>|::?=|[\u2190-\u21ff\u2794-\u27ff])\s*([.·•]?)\s*(.*)")
_COMMENT = re.compile(r"[ \t](#|//)\S|(?:^|[ \t])(#|//)[ \t]+\S")  # behind a rule
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


class LimitExceeded(RuntimeError):
    """A Markov algorithm was stopped after the step ``number``, which left ``text``."""

    def __init__(self, why: str, number: int, text: str):
        super().__init__(f"{why}; the string was then {text[:60]!r}")
        self.number, self.text = number, text


class StepLimitExceeded(LimitExceeded):
    """It was still running after the allowed number of steps."""


class LengthLimitExceeded(LimitExceeded):
    """Its string was about to grow beyond the allowed length."""


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
        may hold arrows (``a->b -> c``) and dots.  A line without one may have a single ``→`` instead, as this
        project's pages show rules.  White space before a pattern is indentation, at the end of a line it
        belongs to the replacement, and a comment has a line of its own; so there are rules that cannot be
        written.

        Raises ``ValueError`` naming the number of the first malformed line and what it most likely means.

        >>> MarkovAlgorithm.parse("-> -> x").rules[0].pattern
        '->'
        >>> MarkovAlgorithm.parse("ab = c")
        Traceback (most recent call last):
        ...
        ValueError: line 1: no '->' with white space around it in 'ab = c'
        >>> MarkovAlgorithm.parse("ab ->. c")
        Traceback (most recent call last):
        ...
        ValueError: line 1: no '->' with white space around it in 'ab ->. c'; did you mean 'ab -> .c'?
        """
        rules = []
        for number, line in enumerate(_LINE_END.split(text.removeprefix("\ufeff")), start=1):
            line = line.lstrip(" \t")
            if not line.strip() or line.startswith("#"):
                continue
            if not (found := _RULE.fullmatch(line) or _PAGES.fullmatch(line)):
                where = f"in {line[:200]!r}{_meant(line)}"
                raise ValueError(f"line {number}: no '->' with white space around it {where}")
            rule = Rule(found["pattern"] or "", found["replacement"] or "", bool(found["dot"]))
            if _COMMENT.search(rule.replacement):
                why = "a comment behind a rule would be part of its replacement; give it a line of its own"
                raise ValueError(f"line {number}: {why}: {line[:200]!r}")
            rules.append(rule)
        return cls(tuple(rules))

    def steps(self, text: str, limit: int = 100_000, longest: int = 10_000) -> Iterator[Step]:
        """Yield every step of the run on ``text``, in order.

        Raises ``StepLimitExceeded`` before a step beyond ``limit``, and ``LengthLimitExceeded`` before one
        that makes the string longer, and longer than ``longest``; both keep the last step's number and text.
        """
        number = 0
        while rule := next((rule for rule in self.rules if rule.applies_to(text)), None):
            if number >= limit:
                raise StepLimitExceeded(f"no rule terminated within {limit} steps", number, text)
            grown = len(rule.replacement) - len(rule.pattern)
            if grown > 0 and len(text) + grown > longest:
                why = f"the string grows beyond {longest:,} letters at step {number + 1:,}"
                raise LengthLimitExceeded(why, number, text)
            number += 1
            position, text = text.index(rule.pattern), rule.apply(text)
            yield Step(number, rule, position, text)
            if rule.terminating:
                return

    def run(self, text: str, limit: int = 100_000, longest: int = 10_000) -> str:
        """The string on which the algorithm halts; raises ``LimitExceeded`` as ``steps`` does."""
        for step in self.steps(text, limit, longest):
            text = step.text
        return text


def _meant(line: str) -> str:
    """How a malformed line is written, if it looks like a rule."""
    if len(line) > 200 or not (found := _LIKELY.fullmatch(line)):
        return ""
    pattern, dot, replacement = found.groups()
    return f"; did you mean {str(Rule(pattern, replacement, bool(dot))).lstrip()!r}?"
