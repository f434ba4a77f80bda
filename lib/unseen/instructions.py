"""Drawing instructions: which rules a model trains on, and which are held out for the test.

Unseen rules are drawn first.  No pattern and no replacement of an unseen rule is ever a pattern or a
replacement of a training rule (``leaks`` counts violations; the notebooks assert that it finds none).
With one ``rule_seed`` the unseen rules are the same for every number of instructions, and the patterns
of a smaller training set are the first ones of a larger.

    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2)
    >>> split = draw_split(task)
    >>> len(split.seen), len(split.unseen), leaks(split)
    (3, 2, 0)
    >>> split == draw_split(task)
    True
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np

from unseen.families import Family
from unseen.rewriting import Rule
from unseen.specs import TaskSpec

_ENUMERABLE = 1 << 22  # up to this many strings a permutation of all of them is cheap
_BLOCK = 1 << 16  # strings drawn at a time above that


@dataclass(frozen=True)
class Instructions:
    """Rules as arrays of letter ids: ``patterns`` (R, |x|) and ``replacements`` (R, |y|), uint8."""

    alphabet: str
    patterns: np.ndarray
    replacements: np.ndarray

    def __len__(self) -> int:
        return len(self.patterns)

    def __iter__(self) -> Iterator[Rule]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> "Instructions": ...
    def __getitem__(self, index: int | slice) -> "Rule | Instructions":
        """The rule at ``index`` as plain strings, or the rules of a slice."""
        if isinstance(index, slice):
            return Instructions(self.alphabet, self.patterns[index], self.replacements[index])
        return Rule(self._text(self.patterns[index]), self._text(self.replacements[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instructions) and list(self) == list(other)

    def _text(self, letters: np.ndarray) -> str:
        return "".join(self.alphabet[i] for i in letters)


@dataclass(frozen=True)
class Split:
    """The training rules (``seen``) and the held-out ones (``unseen``)."""

    seen: Instructions
    unseen: Instructions


def generator(seed: int, role: str) -> np.random.Generator:
    """An independent random stream for one role of a seed (``unseen rules``, ``order``, ...)."""
    return np.random.default_rng([seed, *role.encode()])


def draw_split(task: TaskSpec) -> Split:
    """Draw the instructions of a task: first the unseen, then the seen from what they leave over.

    Raises ``ValueError`` when a family has too few strings for all of them.
    """
    if task.family != "random":
        return _draw_family(task)
    rng, size, letters = generator(task.rule_seed, "unseen rules"), task.unseen_instructions, len(task.alphabet)
    x, y = task.pattern_length, task.replacement_length
    if x == y:
        held_out_x = held_out_y = _distinct(rng, 2 * size, x, letters)
        unseen = held_out_x[:size], held_out_x[size:]
    else:
        held_out_x, held_out_y = unseen = _distinct(rng, size, x, letters), _distinct(rng, size, y, letters)
    patterns = _distinct(generator(task.rule_seed, "seen patterns"), task.instructions, x, letters, held_out_x)
    rng = generator(task.rule_seed, "seen replacements")
    replacements = _replacements(rng, patterns, y, letters, held_out_y)
    return Split(Instructions(task.alphabet, patterns, replacements), Instructions(task.alphabet, *unseen))


def family_of(task: TaskSpec) -> Family:
    """The family of a task's rules."""
    lengths = task.pattern_length, task.replacement_length
    return Family(task.family, len(task.alphabet), lengths, task.k_low, task.k_high)


def _draw_family(task: TaskSpec) -> Split:
    family, sides = family_of(task), []
    taken: set[bytes] = set()
    for name, count in (("unseen", task.unseen_instructions), ("seen", task.instructions)):
        rules = family.rules(count, generator(task.rule_seed, f"{name} rules"), taken)
        if len(rules[0]) < count:
            raise ValueError(f"TaskSpec.{'' if name == 'seen' else 'unseen_'}instructions={count}: only {len(rules[0])} {name} "
                             f"rules of family={task.family!r} with k from {task.k_low} to {task.k_high} found")  # fmt: skip
        taken |= strings_of(rules := Instructions(task.alphabet, *rules))
        sides.append(rules)
    return Split(seen=sides[1], unseen=sides[0])


def strings_of(rules: Instructions) -> set[bytes]:
    """All patterns and replacements, as bytes of their letter ids."""
    return {row.tobytes() for side in (rules.patterns, rules.replacements) for row in side}


def leaks(split: Split) -> int:
    """How many strings of the unseen rules also stand in a training rule, on either side; must be 0."""
    seen, unseen = ({text for rule in rules for text in (rule.pattern, rule.replacement)}
                    for rules in (split.seen, split.unseen))  # fmt: skip
    return len(seen & unseen)


def nearest_rules(patterns: np.ndarray, known: Instructions) -> np.ndarray:
    """For each pattern (R, |x|) the index (R,) of the known rule whose pattern differs in fewest letters.

    Ties go to the first.  This is all that a model which had memorised its training rules could use.
    """
    chunk = max(1, (1 << 24) // known.patterns.size)  # bounds the memory of one comparison to 16 MiB
    parts = [(patterns[i : i + chunk, None] != known.patterns[None]).sum(-1).argmin(1)
             for i in range(0, len(patterns), chunk)]  # fmt: skip
    return np.concatenate(parts)


def _keys(strings: np.ndarray) -> np.ndarray:
    """One comparable value (R,) per row of letter ids (R, L): its bytes, shifted so that none is zero."""
    return np.ascontiguousarray(strings + 1, dtype=np.uint8).view(f"S{strings.shape[1]}").ravel()


def _distinct(
    rng: np.random.Generator, count: int, length: int, letters: int, exclude: np.ndarray | None = None
) -> np.ndarray:
    """``count`` different random strings (count, length), none of them in ``exclude``."""
    exclude = np.empty((0, length), np.uint8) if exclude is None else exclude
    if letters**length <= _ENUMERABLE:
        codes = rng.permutation(letters**length)
        drawn = (codes[:, None] // letters ** np.arange(length) % letters).astype(np.uint8)
        return drawn[~np.isin(_keys(drawn), _keys(exclude))][:count]
    drawn = np.empty((0, length), np.uint8)
    while len(drawn) < count:  # in whole blocks: the first strings do not depend on ``count``
        blocks = [rng.integers(0, letters, (_BLOCK, length), np.uint8) for _ in range(len(drawn), count, _BLOCK)]
        drawn = np.concatenate([drawn, *blocks])
        _, first = np.unique(_keys(drawn), return_index=True)
        drawn = drawn[np.sort(first)]
        drawn = drawn[~np.isin(_keys(drawn), _keys(exclude))]
    return drawn[:count]


def _replacements(
    rng: np.random.Generator, patterns: np.ndarray, length: int, letters: int, exclude: np.ndarray
) -> np.ndarray:
    """A replacement (R, length) for each pattern: never in ``exclude``, never the pattern itself."""
    drawn = rng.integers(0, letters, (len(patterns), length), np.uint8)
    while True:
        bad = np.isin(_keys(drawn), _keys(exclude))
        if drawn.shape == patterns.shape:
            bad |= (drawn == patterns).all(1)
        if not bad.any():
            return drawn
        drawn[bad] = rng.integers(0, letters, (bad.sum(), length), np.uint8)
