"""The domains behind one interface: which instructions there are, which are held out, and on what inputs they are asked.

Every domain is written ``instruction|input=answer.`` with the same characters.  Held out is, drawn first:

* ``letters``: patterns and replacements; no string of an unseen rule stands on either side of a training rule;
* ``algebra``: patterns in canonical form (metavariables named in the order of writing) and replacements, likewise;
* ``lists``: whole chains of operations; each single operation also stands in training chains.

``digits`` (letter rules over digits) and ``moves`` (chains over letters) are kinds that no run trains on: tests alone.

    >>> seen, unseen = KINDS["algebra"].split(DomainSpec(algebra_instructions=3, unseen_instructions=2))
    >>> len(seen), len(unseen), {rule.pattern for rule in seen} & {rule.pattern for rule in unseen}
    (3, 2, set())
"""

import string
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from unseen.domains.algebra import LEAVES, AlgebraRule, expression, patterns
from unseen.domains.chains import MOVES, Chain, chains
from unseen.domains.spec import DomainSpec
from unseen.instructions import generator

ALPHABET = "abcdefghijkl"  # of letter rules: 1,728 strings of three
NO_OPS = 0.1  # share of inputs without the pattern, where there is one
_LENGTH, _INPUT, _ITEMS = 3, 8, 6  # letters of a pattern and of an input, items of a list
_HELD_OUT_PATTERNS = 32  # of the 128 patterns of algebra


class LetterRule(NamedTuple):
    """Leftmost string rewriting, as in ``rewriting.Rule``, with the methods of an instruction."""

    pattern: str
    replacement: str

    @property
    def text(self) -> str:
        """The instruction as a model reads it."""
        return f"{self.pattern}→{self.replacement}"

    def applies(self, letters: str) -> bool:
        """Whether the pattern occurs."""
        return self.pattern in letters

    def apply(self, letters: str) -> str:
        """The input with the leftmost pattern replaced."""
        return letters.replace(self.pattern, self.replacement, 1)


Instruction = LetterRule | AlgebraRule | Chain


class Kind(NamedTuple):
    """``split(task)`` gives training and held-out instructions, ``ask(instruction, rng)`` an input for one."""

    split: Callable[[DomainSpec], tuple[list[Any], list[Any]]]
    ask: Callable[[Any, np.random.Generator], str]


def _word(length: int, alphabet: str, rng: np.random.Generator) -> str:
    return "".join(alphabet[i] for i in rng.integers(0, len(alphabet), length))


def _words(alphabet: str, task: DomainSpec, role: str) -> list[str]:
    """All strings of the length of a pattern, in random order."""
    size = len(alphabet) ** _LENGTH
    codes = generator(task.rule_seed, role).permutation(size)
    return ["".join(alphabet[code // len(alphabet) ** i % len(alphabet)] for i in range(_LENGTH)) for code in codes]


def _split_letters(task: DomainSpec, alphabet: str = ALPHABET) -> tuple[list[LetterRule], list[LetterRule]]:
    words, held_out = _words(alphabet, task, "letters"), task.unseen_instructions
    unseen = list(map(LetterRule, words[:held_out], words[held_out : 2 * held_out]))
    patterns = words[2 * held_out :][: task.letter_instructions]
    rng, free = generator(task.rule_seed, "letters, replacements"), len(words) - 2 * held_out
    replacements = [words[2 * held_out + i] for i in rng.integers(0, free, len(patterns))]
    rules = [
        LetterRule(x, y if x != y else words[-1 - (y == words[-1])])
        for x, y in zip(patterns, replacements, strict=True)
    ]
    return rules, unseen


def _ask_letters(rule: LetterRule, rng: np.random.Generator, alphabet: str = ALPHABET) -> str:
    planted = rng.random() >= NO_OPS
    while True:
        text, place = _word(_INPUT, alphabet, rng), int(rng.integers(0, _INPUT - _LENGTH + 1))
        text = text[:place] + rule.pattern + text[place + _LENGTH :] if planted else text
        if rule.applies(text) == planted:
            return text


def _split_algebra(task: DomainSpec) -> tuple[list[AlgebraRule], list[AlgebraRule]]:
    """Training rules take their patterns in turn, so up to 96 rules have as many different ones."""
    order = generator(task.rule_seed, "algebra, patterns").permutation(patterns())
    held_out, rest = order[:_HELD_OUT_PATTERNS], order[_HELD_OUT_PATTERNS:]
    unseen = _algebra_rules(held_out, task.unseen_instructions, generator(task.rule_seed, "algebra, unseen"), set())
    taken = {rule.replacement for rule in unseen}
    return _algebra_rules(rest, task.algebra_instructions, generator(task.rule_seed, "algebra, seen"), taken), unseen


def _algebra_rules(sides: Sequence[str], count: int, rng: np.random.Generator, taken: set[str]) -> list[AlgebraRule]:
    """Different rules over these patterns, in turn, each with a random replacement of two operators that is not ``taken``."""
    rules: dict[AlgebraRule, None] = {}
    while len(rules) < count:
        rule = AlgebraRule(str(sides[len(rules) % len(sides)]), expression(2, "ABC", rng))
        if rule.replacement not in taken and rule.replacement != rule.pattern:
            rules[rule] = None
    return list(rules)


def _ask_algebra(rule: AlgebraRule, rng: np.random.Generator) -> str:
    """An expression of two to four operators: the pattern planted with up to two more, inside or around; or without it."""
    planted, room = rng.random() >= NO_OPS, DomainSpec.answer_length - 1
    while True:
        more = int(rng.integers(0, 3))
        text = _planted(rule.pattern, more, rng) if planted else expression(2 + more, LEAVES, rng)
        if rule.applies(text) == planted and len(rule.apply(text)) <= room:
            return text


def _planted(pattern: str, more: int, rng: np.random.Generator) -> str:
    """The pattern with expressions for its metavariables, and with ``more`` operators in these or around it."""
    sizes = np.bincount(rng.integers(0, 4, more), minlength=4)
    bound = {name: expression(int(size), LEAVES, rng) for name, size in zip("ABC", sizes[1:], strict=True)}
    text = "".join(bound.get(token, token) for token in pattern)
    for _ in range(sizes[0]):
        outer, leaf = expression(1, LEAVES, rng)[:2]
        text = f"{outer}{text}{leaf}" if rng.random() < 0.5 else f"{outer}{leaf}{text}"
    return text


def _split_lists(task: DomainSpec) -> tuple[list[Chain], list[Chain]]:
    every = chains()
    order = [every[i] for i in generator(task.rule_seed, "lists").permutation(len(every))]
    held_out, rest = order[: task.unseen_instructions], order[task.unseen_instructions :]
    return rest[: task.list_instructions], held_out


def _ask_lists(chain: Chain, rng: np.random.Generator, alphabet: str = string.digits) -> str:
    return _word(_ITEMS, alphabet, rng)


def _split_moves(task: DomainSpec) -> tuple[list[Chain], list[Chain]]:
    return [], chains(MOVES)


KINDS = {
    "letters": Kind(_split_letters, _ask_letters),
    "algebra": Kind(_split_algebra, _ask_algebra),
    "lists": Kind(_split_lists, _ask_lists),
    "digits": Kind(lambda task: ([], _split_letters(task, string.digits)[1]), lambda rule, rng: _ask_letters(rule, rng, string.digits)),
    "moves": Kind(_split_moves, lambda chain, rng: _ask_lists(chain, rng, ALPHABET)),
}  # fmt: skip
