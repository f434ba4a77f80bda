"""Drills: symbolic work other than rewriting; what the own base of notebook 15 is pre-trained on.

Each operation takes an input, an argument and the alphabet; its answer is never longer than the input.  None
replaces a substring: that is left to be learnt.  Parts of it are among them, as they are in whatever a
language model was trained on: copying, finding a letter, writing the argument down.  The layout is that of
string rewriting: the x slot of ``x→y|z=`` names an operation, y is its argument.

    >>> {name: do("banana", "nax", "abnx") for name, do in OPERATIONS.items()}
    {'copy': 'banana', 'reverse': 'ananab', 'sort': 'aaabnn', 'rotate': 'nanaba', 'shift': 'xnanan',
     'swap': 'baxaxa', 'delete': 'baaa', 'drop': 'b', 'double': 'bbaann', 'front': 'naxban', 'back': 'ananax',
     'from': 'nana', 'neighbours': 'abanan', 'every other': 'bnnaaa'}
"""

import string
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from unseen.fields import Count, Length, among, spec
from unseen.layout import Layout
from unseen.rewriting import Rule
from unseen.worlds.base import Examples, Split, Task, generator, possible

_PLANTED = 0.25  # share of an input's letters taken from the argument, so that there is something to be done
_SHARED = ("alphabet", "pattern_length", "replacement_length", "input_length")


OPERATIONS: dict[str, Callable[[str, str, str], str]] = {
    "copy": lambda z, y, alphabet: z,
    "reverse": lambda z, y, alphabet: z[::-1],
    "sort": lambda z, y, alphabet: "".join(sorted(z, key=alphabet.index)),
    # by the place of the argument's first letter in the alphabet
    "rotate": lambda z, y, alphabet: z[(by := alphabet.index(y[0]) % len(z)) :] + z[:by],
    # each letter by so many places in the alphabet, around its end
    "shift": lambda z, y, alphabet: "".join(
        alphabet[(alphabet.index(letter) + alphabet.index(y[0])) % len(alphabet)] for letter in z
    ),
    "swap": lambda z, y, alphabet: (
        z.translate(str.maketrans(y[0] + y[-1], y[-1] + y[0])) if y[0] != y[-1] else z
    ),
    "delete": lambda z, y, alphabet: z.replace(y[0], ""),
    "drop": lambda z, y, alphabet: "".join(letter for letter in z if letter not in y),
    "double": lambda z, y, alphabet: "".join(2 * letter for letter in z)[: len(z)],
    "front": lambda z, y, alphabet: (y + z)[: len(z)],
    "back": lambda z, y, alphabet: (z + y)[-len(z) :],
    "from": lambda z, y, alphabet: z[max(0, z.find(y[0])) :],  # from that letter on; all if it does not occur
    "neighbours": lambda z, y, alphabet: "".join(z[i : i + 2][::-1] for i in range(0, len(z), 2)),
    "every other": lambda z, y, alphabet: z[::2] + z[1::2],
}


class Drill(NamedTuple):
    """One instruction: an operation, the letters that name it in a prompt, and its argument."""

    operation: str
    name: str
    argument: str

    def apply(self, text: str, alphabet: str) -> str:
        """The right answer."""
        return OPERATIONS[self.operation](text, self.argument, alphabet)


@spec
class DrillSpec(Task):
    """An instruction is an operation with an argument; held-out ones have arguments that no training
    instruction has.

    Lengths are in letters and those of the rewriting task that is to follow (``like``), so that one model
    reads both.

    >>> split = DrillSpec(rule_seed=1).split()
    >>> len({drill.name for drill in split.seen}), len(split.seen), len(split.unseen)
    (14, 2600, 650)
    >>> DrillSpec(replacement_length=1, unseen_instructions=20)
    Traceback (most recent call last):
    ...
    ValueError: DrillSpec.instructions=2600: with unseen_instructions=20 more arguments than the 26 there are
    """

    streams: ClassVar[tuple[str, str]] = ("training drills", "{} drills")

    world: among(("drills",)) = "drills"
    instructions: Count = 2_600
    unseen_instructions: Count = 650
    examples: Count = 89_600
    alphabet: str = string.ascii_lowercase
    pattern_length: Length = 3
    replacement_length: Length = 3
    input_length: Length = 10

    @classmethod
    def like(cls, task: Task, **changes: Any) -> Self:
        """Drills in the layout of a rewriting task; without no-ops its longest answers may differ."""
        return cls(**{name: getattr(task, name) for name in _SHARED} | changes)

    def _check(self) -> None:
        self._letters("alphabet", 2)
        super()._check()
        arguments = possible(self.alphabet, self.replacement_length)
        if self.instructions + self.unseen_instructions > arguments:
            held_out = f"with unseen_instructions={self.unseen_instructions}"
            self._refuse("instructions", f"{held_out} more arguments than the {arguments} there are")

    @property
    def layout(self) -> Layout:
        """That of a rewriting task with no-ops."""
        x, y, z = self.pattern_length, self.replacement_length, self.input_length
        return Layout(self.alphabet, x + y + z + 3, max(z, z - x + y) + 1, parts=(x, y, z))

    def split(self) -> Split:
        """Names for the operations, and arguments, unseen ones first; operations are taken in turn."""
        size, names_rng = self.unseen_instructions, generator(self.rule_seed, "names of drills")
        names = _distinct(self.alphabet, self.pattern_length, len(OPERATIONS), names_rng)
        rng = generator(self.rule_seed, "arguments of drills")
        arguments = _distinct(self.alphabet, self.replacement_length, size + self.instructions, rng)
        ways = list(zip(OPERATIONS, names, strict=True))
        unseen, seen = (
            [Drill(*way, argument) for way, argument in zip(cycle(ways), part, strict=False)]
            for part in (arguments[:size], arguments[size:])
        )
        return Split(seen, unseen)

    def draw(self, drills: Sequence[Drill], which: np.ndarray, rng: np.random.Generator) -> Examples:
        """One example for each entry of ``which`` (N,), some letters of its input taken from the argument."""
        size, letters = (len(which), self.input_length), np.array(list(self.alphabet))
        given = np.array([list(drill.argument) for drill in drills])[which]  # (N, |y|)
        own = np.take_along_axis(given, rng.integers(0, self.replacement_length, size), 1)  # (N, |z|)
        mixed = np.where(rng.random(size) < _PLANTED, own, letters[rng.integers(0, len(letters), size)])
        layout, pairs = self.layout, []
        for drill, text in zip((drills[i] for i in which), map("".join, mixed), strict=True):
            prompt = layout.prompt(Rule(drill.name, drill.argument), text)
            pairs.append((prompt, drill.apply(text, self.alphabet)))
        return Examples.of(layout, pairs, which)


def _distinct(alphabet: str, length: int, count: int, rng: np.random.Generator) -> list[str]:
    """So many different random strings."""
    found: dict[str, None] = {}
    while len(found) < count:
        block = rng.integers(0, len(alphabet), (max(64, count), length))
        found |= dict.fromkeys("".join(alphabet[i] for i in row) for row in block)
    return list(found)[:count]
