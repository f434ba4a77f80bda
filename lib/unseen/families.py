"""Families of rules with a form: *repeated* ``aaabbbccc``, *periodic* ``abcabcabc``, *mirrored* ``abccbaabc`` (paper, experiment 4).

A string of L letters has a base of ceil(L / k) letters: ``repeated`` writes each k times, ``periodic`` writes the base k
times, ``mirrored`` k times, forwards and backwards in turn; what would reach beyond L is cut.  k = 1 is any string, k = L
one letter.

    >>> base = np.array([0, 1, 2])
    >>> ["".join("abc"[i] for i in base[places(family, 3, 9)]) for family in FORMS]
    ['aaabbbccc', 'abcabcabc', 'abccbaabc']
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

FORMS = ("repeated", "periodic", "mirrored")
_BLOCK = 1 << 11  # rules drawn at a time: the first ones do not depend on how many are asked for
_BARREN = 10  # blocks without a new rule before a family is taken to be exhausted


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


@dataclass(frozen=True)
class Family:
    """Rules over so many ``letters`` with patterns of |x| and replacements of |y| letters, in some forms and with some k.

    ``name`` is a form, ``random``, or ``mixed``: a third of each form.  Form and k, from ``k_low`` to ``k_high``, are
    drawn for each rule, evenly, and are those of both its sides.
    """

    name: str
    letters: int
    lengths: tuple[int, int]
    k_low: int = 1
    k_high: int = 1

    def rules(self, count: int, rng: np.random.Generator, taken: set[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Up to ``count`` patterns (R, |x|), all different, and replacements (R, |y|), as letter ids.

        No string is in ``taken`` (as bytes), and none replaces itself.  Where a large k has too few strings smaller ones
        fill up; R is below ``count`` only when there are hardly any more.
        """
        found: dict[bytes, bytes] = {}
        barren = 0
        while len(found) < count and barren < _BARREN:
            before = len(found)
            for pattern, replacement in self._block(rng):
                if pattern != replacement and not {pattern, replacement} & taken:
                    found.setdefault(pattern, replacement)
            barren = 0 if len(found) > before else barren + 1
        sides = (b"".join(list(side)[:count]) for side in (found, found.values()))
        patterns, replacements = (np.frombuffer(side, np.uint8).reshape(-1, length)
                                  for side, length in zip(sides, self.lengths, strict=True))  # fmt: skip
        return patterns, replacements

    def _block(self, rng: np.random.Generator) -> list[tuple[bytes, bytes]]:
        forms = FORMS if self.name == "mixed" else (self.name,)
        chosen, ks = rng.integers(0, len(forms), _BLOCK), rng.integers(self.k_low, self.k_high + 1, _BLOCK)
        sides = []
        for length in self.lengths:
            base = rng.integers(0, self.letters, (_BLOCK, length), np.uint8)
            at = np.stack([places(forms[form], int(k), length) for form, k in zip(chosen, ks, strict=True)])
            sides.append(np.take_along_axis(base, at, 1))
        return [(x.tobytes(), y.tobytes()) for x, y in zip(*sides, strict=True)]
