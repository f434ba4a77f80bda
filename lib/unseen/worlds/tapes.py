"""The tape world: single steps of programs, rules and inputs of many lengths, unseen rules held out.

What *unseen* means here.  No held-out rule, as a pair ``x → y``, is trained on.  No held-out pattern of two
or more letters is the pattern of any training rule.  A pattern of one letter cannot be new (there are as
many as letters), nor can the empty replacement: there only the pair is.  Held out are the unseen rules and
the rules of all programs under the renamings in which models run them.

    >>> task = TapeSpec(instructions=3, unseen_instructions=2, examples=6)
    >>> split = task.split()
    >>> len(split.seen), len(split.unseen), leaks(split)
    (3, 2, 0)
    >>> rule, text, answer = task.training(split).line(0)
    >>> rule.apply(text) == answer
    True
"""

import string
from collections import Counter
from collections.abc import Collection, Iterable
from typing import ClassVar, NamedTuple

import numpy as np

from unseen.fields import LONGEST, Count, Length, Seed, Share, among, spec, whole
from unseen.layout import Layout
from unseen.rewriting import Rule
from unseen.worlds.base import Examples, Task, generator, some, word
from unseen.worlds.programs import VERSION, collection, renaming

_TRIES = 100_000  # draws in vain before there are taken to be no more rules
_UNSEEN_PART = 4  # unseen rules take at most one in so many of the rules of their lengths
_SKEW = 0.7  # of the letters of an input: below 1 some are much more frequent, as on the tapes of programs


class TapeSplit(NamedTuple):
    """Training rules (``seen``), ``unseen`` ones, and those of the renamed ``programs``."""

    seen: tuple[Rule, ...]
    unseen: tuple[Rule, ...]
    programs: tuple[Rule, ...]


@spec
class TapeSpec(Task):
    """Rules ``x → y`` and inputs ``z`` as the steps of a Markov algorithm have them.

    Patterns have 1 to ``longest_pattern`` letters, replacements 0 to ``longest_replacement``, inputs 1 to
    ``longest_input``, each length equally often.  A rule is over 1 to ``most_letters`` different letters,
    and so is an input, the pattern's letters among them: tapes repeat themselves, and a pattern may occur
    several times.  A share ``no_op_share`` of inputs does not hold the pattern.

    The rules of the programs (``programs``, edition ``collection``) in ``disguises`` renamings are in no
    training set.
    """

    streams: ClassVar[tuple[str, str]] = ("training tapes", "{} tapes")

    world: among(("tapes",)) = "tapes"
    instructions: Count = 1_000
    examples: Count = 192_000
    alphabet: str = string.ascii_lowercase
    longest_pattern: Length = 3
    longest_replacement: whole(0, LONGEST) = 4
    longest_input: Length = 16
    most_letters: Length = 5
    no_op_share: Share = 0.4
    unseen_instructions: Count = 300
    disguises: Count = 3
    collection: Seed = 1

    def _check(self) -> None:
        self._within("longest_pattern", 1, self.longest_input)
        self._letters("alphabet", 2)
        self._within("most_letters", 1, len(self.alphabet))
        super()._check()

    @property
    def layout(self) -> Layout:
        """Each part of ``x→y|z=`` is padded to its longest; an answer may have a longest y for one letter."""
        parts = self.longest_pattern, self.longest_replacement, self.longest_input
        answer = self.longest_input + max(0, self.longest_replacement - 1) + 1
        return Layout(self.alphabet, sum(parts) + 3, answer, parts=parts, least=(1, 0, 1))

    def split(self) -> TapeSplit:
        """Programs' rules, unseen ones, and seen ones from the rest; smaller sets are the first of larger.

        Raises ``ValueError`` when there are too few rules, or the programs are not those of ``collection``.
        """
        if self.collection != VERSION:
            self._refuse("collection", f"this is edition {VERSION} of the programs")
        programs = _rules_of_programs(self)
        unseen = _rules(self, "unseen", self.unseen_instructions, programs, frozenset(), _UNSEEN_PART)
        taken = (*programs, *unseen)
        patterns = {rule.pattern for rule in taken if len(rule.pattern) > 1}
        return TapeSplit(_rules(self, "seen", self.instructions, taken, patterns, 1), unseen, programs)

    def draw(self, rules: tuple[Rule, ...], which: np.ndarray, rng: np.random.Generator) -> Examples:
        """One example for each entry of ``which`` (N,), the index of its rule."""
        return self.examples_of([(rules[i], _input(self, rules[i], rng)) for i in which], which)

    def examples_of(self, pairs: Iterable[tuple[Rule, str]], which: np.ndarray | None = None) -> Examples:
        """Examples of rules and inputs, answered by the oracle; raises as ``Layout.prompt``."""
        pairs, layout = list(pairs), self.layout
        texts = [(layout.prompt(rule, text), rule.apply(text)) for rule, text in pairs]
        return Examples.of(layout, texts, which, [rule.applies_to(text) for rule, text in pairs])


def _rules_of_programs(task: TapeSpec) -> tuple[Rule, ...]:
    """The rules of all programs in all their renamings that are short enough for a model to read."""
    found: dict[Rule, None] = {}
    for program in collection().values():
        if len(program.symbols) <= len(task.alphabet):
            for number in range(task.disguises):
                rules = program.renamed(renaming(program.symbols, task.alphabet, number)).algorithm.rules
                found |= {Rule(rule.pattern, rule.replacement): None for rule in rules
                          if len(rule.pattern) <= task.longest_pattern
                          and len(rule.replacement) <= task.longest_replacement}  # fmt: skip
    return tuple(found)


def _rules(
    task: TapeSpec, name: str, count: int, taken: Collection[Rule], patterns: Collection[str], part: int
) -> tuple[Rule, ...]:
    """``count`` rules not ``taken``, with no pattern in ``patterns``; at most one in ``part`` of a length."""
    rng, found, sizes, taken = generator(task.rule_seed, f"{name} tape rules"), {}, Counter(), set(taken)
    for _ in range(100 * count + _TRIES):
        if len(found) == count:
            return tuple(found)
        rule = _rule(task, rng)
        lengths = len(rule.pattern), len(rule.replacement)
        room = max(1, len(task.alphabet) ** sum(lengths) // part)
        fresh = rule not in taken and rule not in found and rule.pattern not in patterns
        if fresh and rule.pattern != rule.replacement and sizes[lengths] < room:
            found[rule] = None
            sizes[lengths] += 1
    field = "instructions" if name == "seen" else "unseen_instructions"
    raise ValueError(f"TapeSpec.{field}={count}: only {len(found)} rules found")


def _rule(task: TapeSpec, rng: np.random.Generator) -> Rule:
    letters = some(task.alphabet, rng.integers(1, task.most_letters + 1), rng)
    x, y = rng.integers(1, task.longest_pattern + 1), rng.integers(0, task.longest_replacement + 1)
    text = word(letters, x + y, rng)
    return Rule(text[:x], text[x:])


def _input(task: TapeSpec, rule: Rule, rng: np.random.Generator) -> str:
    """An input over the letters of the pattern, and some of the replacement and others; or a no-op."""
    own, length = "".join(sorted(set(rule.pattern))), rng.integers(1, task.longest_input + 1)
    others = "".join(sorted(set(rule.replacement) - set(own))) if rng.random() < 0.5 else ""
    room = rng.integers(0, max(1, task.most_letters - len(own) + 1))
    rest = "".join(letter for letter in task.alphabet if letter not in own + others)
    letters = own + (others + some(rest, room, rng))[:room]
    weights = rng.dirichlet(np.full(len(letters), _SKEW))
    holds = rng.random() >= task.no_op_share
    length = max(0, length - len(rule.pattern)) if holds else length
    text = "".join(letters[i] for i in rng.choice(len(letters), length, p=weights))
    if not holds:
        return _without(task, rule.pattern, text, letters, rng)
    place = rng.integers(0, len(text) + 1)
    return text[:place] + rule.pattern + text[place:]


def _without(task: TapeSpec, pattern: str, text: str, letters: str, rng: np.random.Generator) -> str:
    """The text without the pattern: half of the time planted first, then spoilt by a letter at each place.

    What is left is often all but the pattern, so that looking at a part of it is not enough.
    """
    if len(text) >= len(pattern) and rng.random() < 0.5:
        place = rng.integers(0, len(text) - len(pattern) + 1)
        text = text[:place] + pattern + text[place + len(pattern) :]
    others = letters if len(letters) > 1 else letters + some(task.alphabet.replace(letters, ""), 1, rng)
    while (at := text.find(pattern)) >= 0:
        place = at + rng.integers(0, len(pattern))
        text = text[:place] + some(others.replace(text[place], ""), 1, rng) + text[place + 1 :]
    return text


def leaks(split: TapeSplit) -> int:
    """How many held-out rules training shows, by pair or a pattern of two letters or more; must be 0."""
    pairs, patterns = set(split.seen), {rule.pattern for rule in split.seen if len(rule.pattern) > 1}
    return sum(rule in pairs or rule.pattern in patterns for rule in (*split.unseen, *split.programs))
