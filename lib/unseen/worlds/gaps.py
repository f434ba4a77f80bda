"""The language with gaps: a base that lacks the long half of some operations, and a pool that has it.

Pre-training shows the operations of the gaps on three letters only, in all of their verbs.  So the base knows
the words, and not how to treat four letters.  A pool of requests shows every operation on three and four
letters, in ``POOL`` words: two of three verbs, seven of ten phrases.  The target is one gap, on four letters,
in the ``OTHER`` words.

    >>> base = GapsSpec(examples=300)
    >>> base.gaps
    ('sort', 'behead', 'swap', 'descend')
    >>> task, rng = RequestsSpec(), np.random.default_rng(0)
    >>> task.target, task.asked(rng, OTHER).content
    ('sort', 'GBEB : we must arrange it')
    >>> task.asked(rng, POOL).content
    'IFCJ : kindly order the text'
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from unseen.fields import Count, among, spec, whole
from unseen.worlds.base import Examples, Split, generator, pick, word
from unseen.worlds.language import (
    LETTERS,
    LONGEST,
    OPERATIONS,
    PHRASES,
    VERBS,
    WITHOUT_ARGUMENT,
    LanguageSpec,
    Pair,
    Query,
    WordTask,
    at_large,
    conversation,
)

# verbs of each operation, and phrases, that a request takes
POOL, OTHER = (slice(2), slice(7)), (slice(2, None), slice(7, None))
Words = tuple[slice, slice]
GAPS = 4  # operations
INFERRED = "behead"  # a gap whose long half the base infers from the short one (seen in a pilot): no target


@spec
class GapsSpec(LanguageSpec):
    """Pre-training as ``language`` has it, but the operations in ``gaps`` come with three letters only."""

    world: among(("gaps",)) = "gaps"

    @property
    def gaps(self) -> tuple[str, ...]:
        """The operations that are never shown on four letters."""
        return tuple(map(str, generator(self.rule_seed, "gaps").permutation(WITHOUT_ARGUMENT)[:GAPS]))

    def query(self, rng: np.random.Generator, split: frozenset[Pair]) -> Query:
        """Any query of pre-training."""
        query = at_large(rng, self.names, split)
        return replace(query, text=query.text[: LONGEST - 1]) if query.operation in self.gaps else query


@spec
class RequestsSpec(WordTask):
    """``examples`` rows of a ``pool`` of requests, at random; a study may choose others.

    ``rule_seed`` says which gap is the target, ``example_seed`` draws the pool.
    """

    instructions: ClassVar[int] = len(OPERATIONS)  # in the pool
    unseen_instructions: ClassVar[int] = 1  # the target

    world: among(("requests",)) = "requests"
    pool: whole(len(OPERATIONS), 1_000_000) = 3_000
    examples: Count = 150

    def _check(self) -> None:
        self._within("examples", 1, self.pool)

    @property
    def targets(self) -> tuple[str, ...]:
        """The gaps that can be wanted."""
        return tuple(name for name in GapsSpec().gaps if name != INFERRED)

    @property
    def target(self) -> str:
        """The operation that is wanted."""
        return self.targets[self.rule_seed % len(self.targets)]

    def split(self) -> Split:
        """All operations, and the target."""
        return Split(tuple(OPERATIONS), (self.target,))

    def candidates(self) -> list[Query]:
        """The pool: any query of the language, in its own words."""
        rng = generator(self.example_seed, "pool of requests")
        return [worded(at_large(rng), POOL, rng) for _ in range(self.pool)]

    def asked(self, rng: np.random.Generator, words: Words = OTHER, operation: str = "") -> Query:
        """A request for the target (or another ``operation``) on four letters, in those words."""
        operation = operation or self.target
        while (query := at_large(rng)).operation != operation:
            pass
        return replace(worded(query, words, rng), text=word(LETTERS, LONGEST, rng))

    def training(self, split: Split) -> Examples:
        """Random rows of the pool."""
        chosen = generator(self.example_seed, "random rows").permutation(self.pool)[: self.examples]
        return self.rows(self.candidates()).where(chosen)

    def rows(self, queries: list[Query]) -> Examples:
        """Queries with their answers as token ids; ``rule`` is the number of the operation."""
        found = self.examples_of(list(map(conversation, queries)))
        return replace(found, rule=np.array([list(OPERATIONS).index(each.operation) for each in queries]))

    def evaluation(self, split: Split, size: int, seed: int) -> dict[str, Examples]:
        """Fresh queries of the language at large, and of the target in other words."""
        known, unseen = (generator(seed, f"requests, {side}") for side in ("seen", "unseen"))
        at = [at_large(known) for _ in range(size)]
        return {"seen": self.rows(at), "unseen": self.rows([self.asked(unseen) for _ in range(size)])}


def worded(query: Query, words: Words, rng: np.random.Generator) -> Query:
    """The same request in other words: a verb and a phrase of ``POOL`` or ``OTHER``."""
    verbs, phrases = words
    return replace(query, verb=pick(VERBS[query.operation][verbs], rng), phrase=pick(PHRASES[phrases], rng))
