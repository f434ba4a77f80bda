"""A dialect of the language: pairs of verbs that mean something new, some of it uncertain by a known amount.

A *compound* is two verbs side by side.  A certain one means one operation.  A shared one means either of two,
at even odds.  In a share ``noise`` of the rows of a corrupted one the answer is that of another operation.
So every query has a known distribution of answers, and a known entropy.

    >>> task = DialectSpec(examples=48)
    >>> chosen = task.split()
    >>> chosen.seen[0].operations, task.training(chosen).texts(0)
    (('reverse',), ('you should unrotate advance this :AJCH=', 'HCJA'))
    >>> shared = chosen.seen[9]
    >>> shared.operations, shared.answers("ADCB")
    (('sort', 'next'), {'ABCD': 0.5, 'BEDC': 0.5})
    >>> entropy(shared.answers("ADCB")), entropy(chosen.seen[0].answers("ADCB"))
    (1.0, 0.0)
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, NamedTuple

import numpy as np

from unseen.fields import Count, Share, among, spec, whole
from unseen.messages import pair
from unseen.worlds.base import Examples, Split, generator, pick, shares, word
from unseen.worlds.language import (
    LETTERS,
    LONGEST,
    OPERATIONS,
    PHRASES,
    VERBS,
    WITHOUT_ARGUMENT,
    LanguageSpec,
    Query,
    WordTask,
)

KINDS = ("certain", "shared", "corrupted")
Number = whole(0, 200)


@dataclass(frozen=True)
class Compound:
    """Two verbs, the operations they mean, and how often a row has the answer of any other (``noise``)."""

    words: str
    operations: tuple[str, ...]
    noise: float

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return KINDS[1] if len(self.operations) > 1 else KINDS[2] if self.noise else KINDS[0]

    def answers(self, text: str) -> dict[str, float]:
        """The probability of every answer to an input; operations that agree on it share one answer."""
        found: dict[str, float] = defaultdict(float)
        others = [name for name in WITHOUT_ARGUMENT if name not in self.operations] if self.noise else []
        for names, weight in ((self.operations, 1 - self.noise), (others, self.noise)):
            for name in names:
                found[OPERATIONS[name](text, "")] += weight / len(names)
        return dict(found)

    def meant(self, text: str) -> set[str]:
        """The answers to an input that the compound means."""
        return {OPERATIONS[name](text, "") for name in self.operations}


class Row(NamedTuple):
    """One query about the compound of that number, with an answer drawn from its distribution."""

    compound: int
    query: Query
    answer: str


def entropy(answers: Mapping[str, float]) -> float:
    """The entropy of a distribution of answers, in bits."""
    shares = np.array([share for share in answers.values() if share > 0])
    return float(abs(-(shares * np.log2(shares)).sum()))


@spec
class DialectSpec(WordTask):
    """Rows about ``certain``, ``shared`` and ``corrupted`` compounds, equally many of each compound.

    ``rule_seed`` draws the compounds and their meanings, ``example_seed`` the rows and their answers.
    """

    unseen_instructions: ClassVar[int] = len(OPERATIONS)  # of the language at large; no row is about them

    world: among(("dialect",)) = "dialect"
    certain: Number = 8
    shared: Number = 8
    corrupted: Number = 8
    noise: Share = 0.5
    examples: Count = 240

    def _check(self) -> None:
        if not self.instructions:
            self._refuse("certain", "there must be a compound of some kind")
        super()._check()

    @property
    def instructions(self) -> int:
        """Compounds of all kinds."""
        return self.certain + self.shared + self.corrupted

    def split(self) -> Split:
        """The compounds; unseen is the language at large, as its own held-out pairs."""
        rng, verbs = generator(self.rule_seed, "compounds"), sorted(chain(*VERBS.values()))
        pairs = [(one, two) for one in verbs for two in verbs if one != two]
        found = []
        for number, at in enumerate(rng.permutation(len(pairs))[: self.instructions]):
            kind = KINDS[(number >= self.certain) + (number >= self.certain + self.shared)]
            meant = rng.choice(WITHOUT_ARGUMENT, 2 if kind == "shared" else 1, replace=False)
            noise = self.noise if kind == "corrupted" else 0.0
            found.append(Compound(" ".join(pairs[at]), tuple(map(str, meant)), noise))
        return Split(tuple(found), LanguageSpec().split())

    def rows(self, compounds: tuple[Compound, ...], which: np.ndarray, rng: np.random.Generator) -> list[Row]:
        """A row about each of the compounds ``which`` (N,), on a random input in a random phrasing."""
        rows = []
        for number in which.tolist():
            compound, text = compounds[number], word(LETTERS, int(rng.integers(3, LONGEST + 1)), rng)
            answers = compound.answers(text)
            drawn = str(rng.choice(list(answers), p=list(answers.values())))
            query = Query(compound.operations[0], "", compound.words, pick(PHRASES, rng), text)
            rows.append(Row(number, query, drawn))
        return rows

    def training_rows(self, split: Split) -> list[Row]:
        """The rows of training, compound by compound."""
        which = np.repeat(np.arange(self.instructions), shares(self, self.instructions))
        return self.rows(split.seen, which, generator(self.example_seed, "rows of the dialect"))

    def training(self, split: Split) -> Examples:
        """The rows of training as token ids."""
        return self.of_rows(self.training_rows(split))

    def of_rows(self, rows: list[Row]) -> Examples:
        """Rows as token ids; ``rule`` is the number of the compound."""
        pairs = [pair(row.query.content, row.answer) for row in rows]
        return self.examples_of(pairs, [row.compound for row in rows])

    def evaluation(self, split: Split, size: int, seed: int) -> dict[str, Examples]:
        """Fresh queries about compounds in turn with the answer of their first operation, and of the
        language at large.
        """
        rng = generator(seed, "queries of the dialect")
        rows = self.rows(split.seen, np.arange(size) % self.instructions, rng)
        known = [pair(row.query.content, row.query.answer) for row in rows]
        at_large = LanguageSpec().evaluation(split.unseen, size, seed)["seen"]
        return {"seen": self.examples_of(known), "unseen": at_large}
