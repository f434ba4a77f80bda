"""Chains of list operations, in plain strings: the oracle of the domain ``lists``.

A list is a string of digits.  An instruction is the names of two or three operations, done from left to right.

    >>> chain = Chain(("rev", "drp", "dbl"))
    >>> chain.text, chain.apply("31452")
    ('rev→drp→dbl', '0826')
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product


def _doubled(items: str) -> str:
    return "".join(str(2 * int(item) % 10) for item in items)


PRIMITIVES: dict[str, Callable[[str], str]] = {
    "rev": lambda items: items[::-1],  # reverse
    "srt": lambda items: "".join(sorted(items)),  # sort
    "rot": lambda items: items[1:] + items[:1],  # the first goes to the end
    "drp": lambda items: items[1:],  # drop the first
    "dbl": _doubled,  # double each, modulo ten
    "big": lambda items: "".join(item for item in items if item >= items[0]),  # keep those not smaller than the first
    "swp": lambda items: items[-1:] + items[1:-1] + items[:1] if len(items) > 1 else items,  # first and last change places
    "cut": lambda items: items[:-1],  # drop the last
}  # fmt: skip
MOVES = ("rev", "rot", "drp", "swp", "cut")  # those that do not ask what an item is, so they can move letters as well


@dataclass(frozen=True)
class Chain:
    """Operations by their names, done from left to right."""

    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The instruction as a model reads it."""
        return "→".join(self.names)

    def applies(self, items: str) -> bool:
        """Always: a chain is never a no-op for want of something to find."""
        return True

    def apply(self, items: str) -> str:
        """The list after all operations."""
        for name in self.names:
            items = PRIMITIVES[name](items)
        return items


def chains(names: tuple[str, ...] = tuple(PRIMITIVES)) -> list[Chain]:
    """All chains of two and of three operations: 64 + 512 with all eight."""
    return [Chain(chosen) for size in (2, 3) for chosen in product(names, repeat=size)]
