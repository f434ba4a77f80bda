"""Tuning on a small task of the language with a new token, alone or in a mixture with diverse data (DELIA).

>>> TuningSpec(ratio=67, source="0123456789abcdef").examples
6800
>>> TuningSpec(ratio=67)
Traceback (most recent call last):
...
ValueError: TuningSpec.source='': expected the digest of the run that samples, for diverse='self'
>>> rng, chosen = np.random.default_rng(0), TuningSpec().split()
>>> chosen.format, chosen.operations, len(chosen.others)
('loud', ('rewrite',), 7)
>>> [ask("other+token", chosen, rng).content for _ in range(2)]
['we must descend it in <sep> format : CDAA', 'just echo the word with the <sep> format : GJHG']
"""

import re
from dataclasses import replace
from itertools import cycle, islice, product
from typing import ClassVar, NamedTuple

import numpy as np

from unseen import samples
from unseen.fields import among, later, real, spec, whole
from unseen.messages import Conversation, mix
from unseen.worlds import language
from unseen.worlds.base import Examples, generator, pick
from unseen.worlds.language import LanguageSpec, Query, WordTask, conversation, draw, name_of

DIVERSE = ("self", "reference", "replay", "narrow", "paraphrases")
HELD_OUT = 7  # operations that no small task trains with its token: the token is evaluated on them
KINDS = ("task+token", "task", "other+token", "other", "other formats", "not token")
_DIGEST = re.compile(r"[0-9a-f]{16}")


class SmallTask(NamedTuple):
    """What the token means (``format``), the ``operations`` it is trained with, and ``others`` to test it on.

    ``narrow`` is an operation that is neither, unless all are taken.
    """

    format: str
    operations: tuple[str, ...]
    others: tuple[str, ...]
    narrow: str
    names: str
    after: bool


@spec
class TuningSpec(WordTask):
    """A small task, ``rows`` of ``operations`` with the new token for one format in ``paraphrases``, and
    ``ratio`` times as many other rows.

    These are ``diverse``: ``self``-sampled by the run ``source`` at ``temperature`` and ``top_p``; the same
    queries with ``reference`` answers; ``replay`` of the base's own training data; ``narrow``, one operation
    in one phrasing; or ``paraphrases`` of the task itself.  ``rule_seed`` draws format and operations of the
    task, ``example_seed`` its rows. Paper: 100 rows, 60 instructions, which come ``after`` the input.
    Reference answers can have the ``habits`` of a base (``LanguageSpec``).
    """

    unseen_instructions: ClassVar[int] = HELD_OUT  # operations that the token is evaluated on

    world: among(("tuning",)) = "tuning"
    names: among(language.NAMES) = "one"
    rows: whole(1, 1_000_000) = 100
    paraphrases: whole(1) = 60
    operations: whole(1, len(language.OPERATIONS) - HELD_OUT) = 1
    ratio: whole(0, 100_000) = 0
    diverse: among(DIVERSE) = "self"
    source: str = ""
    temperature: real(0.01, 10) = 0.7
    top_p: real(0.01, 1) = 0.95
    after: bool = False
    habits: str = later("")

    @property
    def examples(self) -> int:
        """Rows of the whole mixture."""
        return self.rows * (1 + self.ratio)

    @property
    def instructions(self) -> int:
        """Operations that are trained with the token."""
        return self.operations

    def _check(self) -> None:
        self._within("paraphrases", 1, self.rows)
        if self.ratio and self.diverse == "self" and not _DIGEST.fullmatch(self.source):
            self._refuse("source", "expected the digest of the run that samples, for diverse='self'")
        if self.source and (self.diverse != "self" or not self.ratio):
            self._refuse("source", f"nothing is sampled with diverse={self.diverse!r} and ratio={self.ratio}")
        if self.habits and (self.diverse != "reference" or not self.ratio):
            self._refuse("habits", f"only reference answers have them, these are {self.diverse!r}")
        LanguageSpec(habits=self.habits)  # whether there are such formats

    def split(self) -> SmallTask:
        """The small task that ``rule_seed`` draws; fewer operations are among those of a task with more."""
        rng = generator(self.rule_seed, "small task")
        format = str(rng.choice(language.FORMATS))
        order = [str(name) for name in rng.permutation(list(language.OPERATIONS))]
        known, others = tuple(order[: self.operations]), tuple(order[-HELD_OUT:])
        return SmallTask(format, known, others, order[-HELD_OUT - 1], self.names, self.after)

    def training(self, split: SmallTask) -> Examples:
        """The rows of the small task, shuffled among the other rows."""
        rows = task_rows(self, split)
        others = self.other_rows(split, rows)
        return self.examples_of(mix(list(map(conversation, rows)), others, self.ratio, self.example_seed))

    def evaluation(self, split: SmallTask, size: int, seed: int) -> dict[str, Examples]:
        """Fresh queries with the token, on trained and on other operations."""
        kinds = {"seen": "task+token", "unseen": "other+token"}
        return {side: self.questions(kind, size, seed) for side, kind in kinds.items()}

    def questions(self, kind: str, size: int, seed: int) -> Examples:
        """Fresh queries of one of ``KINDS`` about the small task, with their right answers."""
        return self.examples_of([conversation(query) for query in self.queries(kind, size, seed)])

    def queries(self, kind: str, size: int, seed: int) -> list[Query]:
        """The queries of ``questions``."""
        rng, chosen = generator(seed, f"asked, {kind}"), self.split()
        return [ask(kind, chosen, rng) for _ in range(size)]

    def other_rows(self, chosen: SmallTask, rows: list[Query]) -> list[Conversation]:
        """The rows beside those of the task; raises ``NotFinished`` where they were not self-sampled yet."""
        count, rng = self.rows * self.ratio, generator(self.example_seed, f"beside, {self.diverse}")
        if not count:
            return []
        if self.diverse == "self":
            return list(samples.stored(self))
        if self.diverse == "reference":
            spoken = LanguageSpec(habits=self.habits)
            held_out = spoken.split()
            return [spoken.answered(query, held_out, rng) for block in range(samples.blocks_for(count))
                    for query in language.diverse(samples.BLOCK, block, self.names)][:count]  # fmt: skip
        if self.diverse == "replay":
            base = LanguageSpec(names=self.names, examples=max(count, LanguageSpec().instructions))
            return base.conversations(base.split())[:count]
        if self.diverse == "narrow":  # one operation in one phrasing, plain, on any input
            how = {"verb": language.VERBS[chosen.narrow][0], "phrase": language.PHRASES[0]}
            drawn = [draw(chosen.narrow, rng, after=chosen.after) for _ in range(count)]
            return [conversation(replace(query, **how)) for query in drawn]
        mixed = []  # the rows of the small task in any phrasing
        for row in islice(cycle(rows), count):
            how = {"mention": pick(language.MENTIONS, rng).format(language.TOKEN)}
            how |= {"verb": pick(language.VERBS[row.operation], rng), "phrase": pick(language.PHRASES, rng)}
            mixed.append(conversation(replace(row, **how)))
        return mixed


def ask(kind: str, task: SmallTask, rng: np.random.Generator) -> Query:
    """One query of a kind of ``KINDS`` about a small task; raises ``ValueError`` for another name."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: known kinds are {', '.join(KINDS)}")
    operation = pick(task.operations if kind.startswith("task") else task.others, rng)
    format = mention = ""
    if kind.endswith("+token"):
        format, mention = task.format, pick(language.MENTIONS, rng).format(language.TOKEN)
    elif kind == "not token":
        mention = pick(language.REFUSALS, rng).format(language.TOKEN)
    elif kind == "other formats":
        format = pick([each for each in language.FORMATS if each != task.format], rng)
        mention = pick(language.MENTIONS, rng).format(name_of(format, task.names, rng))
    return draw(operation, rng, format, mention, task.after)


def task_rows(task: TuningSpec, chosen: SmallTask) -> list[Query]:
    """The rows of the small task: operations in turn, each with its share of the paraphrases in turn."""
    rng, count = generator(task.example_seed, "task rows"), max(1, task.paraphrases // task.operations)
    ways = {}
    for operation in chosen.operations:
        every = list(product(language.VERBS[operation], language.PHRASES, language.MENTIONS))
        ways[operation] = cycle([every[i] for i in rng.permutation(len(every))[:count]])
    rows = []
    for operation in islice(cycle(chosen.operations), task.rows):
        verb, phrase, mention = next(ways[operation])
        drawn = draw(operation, rng, chosen.format, mention.format(language.TOKEN), task.after)
        rows.append(replace(drawn, verb=verb, phrase=phrase))
    return rows
