"""Drawing rules of string rewriting: which ones a model trains on, and which are held out for the test.

Unseen rules are drawn first.  No pattern and no replacement of an unseen rule is ever a pattern or a
replacement of a training rule (``leaks`` counts violations; the notebooks assert that there are none).  With
one ``rule_seed`` the unseen rules are the same for every number of instructions, and the patterns of a
smaller training set are the first of a larger.

Families have a form (paper, experiment 4): *repeated* ``aaabbbccc``, *periodic* ``abcabcabc``, *mirrored*
``abccbaabc``. A string of L letters has a base of ceil(L / k) letters: ``repeated`` writes each k times,
``periodic`` writes the base k times, ``mirrored`` k times, forwards and backwards in turn; what would reach
beyond L is cut.  k = 1 is any string.

    >>> base = np.array([0, 1, 2])
    >>> ["".join("abc"[i] for i in base[places(family, 3, 9)]) for family in FORMS]
    ['aaabbbccc', 'abcabcabc', 'abccbaabc']
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from unseen.rewriting import Rule
from unseen.worlds.base import Split, Task, generator

FORMS = ("repeated", "periodic", "mirrored")
_ENUMERABLE = 1 << 22  # up to this many strings a permutation of all of them is cheap
_BLOCK = 1 << 16  # strings drawn at a time above that
_FAMILY_BLOCK = 1 << 11  # rules drawn at a time: the first ones do not depend on how many are needed
_BARREN = 10  # blocks without a new rule before a family is taken to be exhausted


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

    def __getitem__(self, index: int | slice) -> "Rule | Instructions":
        """The rule at ``index`` as plain strings, or the rules of a slice."""
        if isinstance(index, slice):
            return Instructions(self.alphabet, self.patterns[index], self.replacements[index])
        sides = self.patterns[index], self.replacements[index]
        return Rule(*("".join(self.alphabet[i] for i in side) for side in sides))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instructions) and list(self) == list(other)


def draw_split(task: Task) -> Split:
    """The instructions of a ``TaskSpec``: first the unseen, then the seen from what they leave over.

    Raises ``ValueError`` when a family has too few strings for all of them.
    """
    if task.family != "random":
        return _draw_family(task)
    rng, letters = generator(task.rule_seed, "unseen rules"), len(task.alphabet)
    size, x, y = task.unseen_instructions, task.pattern_length, task.replacement_length
    if x == y:
        held_out_x = held_out_y = _distinct(rng, 2 * size, x, letters)
        unseen = held_out_x[:size], held_out_x[size:]
    else:
        held_out_x, held_out_y = unseen = _distinct(rng, size, x, letters), _distinct(rng, size, y, letters)
    rng = generator(task.rule_seed, "seen patterns")
    patterns = _distinct(rng, task.instructions, x, letters, held_out_x)
    rng = generator(task.rule_seed, "seen replacements")
    replacements = _replacements(rng, patterns, y, letters, held_out_y)
    return Split(Instructions(task.alphabet, patterns, replacements), Instructions(task.alphabet, *unseen))


def leaks(split: Split) -> int:
    """How many strings of the unseen rules also occur in a training rule, on either side; must be 0."""
    return len(strings_of(split.seen) & strings_of(split.unseen))


def strings_of(rules: Instructions) -> set[bytes]:
    """All patterns and replacements, as bytes of their letter ids."""
    return {row.tobytes() for side in (rules.patterns, rules.replacements) for row in side}


def nearest_rules(patterns: np.ndarray, known: Instructions) -> np.ndarray:
    """For each pattern (R, |x|) the index (R,) of the first known rule that differs in fewest letters.

    This is all that a model which had memorised its training rules could use.
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
        blocks = [
            rng.integers(0, letters, (_BLOCK, length), np.uint8) for _ in range(len(drawn), count, _BLOCK)
        ]
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


@cache
def places(family: str, k: int, length: int) -> np.ndarray:
    """For each letter of a string of ``length`` its place in the base: (L,).  ``random`` is its own base."""
    size, at = -(-length // k), np.arange(length)
    block, within = divmod(at, size)
    return {
        "random": at,
        "repeated": at // k,
        "periodic": within,
        "mirrored": np.where(block % 2 == 0, within, size - 1 - within),
    }[family]


def family_rules(
    task: Task, count: int, rng: np.random.Generator, taken: set[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Up to ``count`` patterns (R, |x|) of a task's family, all different, and replacements (R, |y|).

    The form of a rule, of ``mixed`` any of the three, and its k, from ``k_low`` to ``k_high``, are drawn
    evenly and are those of both its sides.  No string is in ``taken`` (as bytes of letter ids), and none
    replaces itself.  Where a large k has too few strings smaller ones fill up; R is below ``count`` only when
    there are hardly any more.
    """
    forms = FORMS if task.family == "mixed" else (task.family,)
    lengths, letters = (task.pattern_length, task.replacement_length), len(task.alphabet)
    found: dict[bytes, bytes] = {}
    barren = 0
    while len(found) < count and barren < _BARREN:
        before = len(found)
        chosen = rng.integers(0, len(forms), _FAMILY_BLOCK)
        ks = rng.integers(task.k_low, task.k_high + 1, _FAMILY_BLOCK)
        sides = []
        for length in lengths:
            base = rng.integers(0, letters, (_FAMILY_BLOCK, length), np.uint8)
            at = np.stack([places(forms[form], int(k), length) for form, k in zip(chosen, ks, strict=True)])
            sides.append(map(bytes, np.take_along_axis(base, at, 1)))
        for pattern, replacement in zip(*sides, strict=True):
            if pattern != replacement and not {pattern, replacement} & taken:
                found.setdefault(pattern, replacement)
        barren = 0 if len(found) > before else barren + 1
    sides = (b"".join(list(side)[:count]) for side in (found, found.values()))
    patterns, replacements = (np.frombuffer(side, np.uint8).reshape(-1, length)
                              for side, length in zip(sides, lengths, strict=True))  # fmt: skip
    return patterns, replacements


def _draw_family(task: Task) -> Split:
    drawn: dict[str, Instructions] = {}
    taken: set[bytes] = set()
    for side, field in (("unseen", "unseen_instructions"), ("seen", "instructions")):
        count = getattr(task, field)
        found = family_rules(task, count, generator(task.rule_seed, f"{side} rules"), taken)
        if len(found[0]) < count:
            raise ValueError(
                f"TaskSpec.{field}={count}: only {len(found[0])} {side} rules of family={task.family!r} "
                f"with k from {task.k_low} to {task.k_high} found"
            )
        drawn[side] = Instructions(task.alphabet, *found)
        taken |= strings_of(drawn[side])
    return Split(**drawn)
