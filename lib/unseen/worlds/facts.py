"""Documents of made-up facts, and what a model can do with them: answer, ask, check.

A fact is a code word of two syllables and its three letters; a line of a document states it.  A question
requests an operation on what one or two code words stand for.  Its answer first quotes the facts, then does
the operation, as in ``GAB:BAG``.  Earlier turns of a prompt hold the lines that it may refer to.

Pre-training draws new facts for every row.  So its model learns to read documents, and knows no fact.  It
asks about ``ASKED`` operations alone, in ``POOL`` words.  It checks an answer beside the right one: its
verdict names the kind of the error, and does not tell the right answer.

    >>> facts = FactsSpec(facts=4).split().unseen
    >>> facts
    {'ku mi': 'FGI', 'fe nu': 'FIH', 'du zi': 'BED', 'gi mi': 'CBA'}
    >>> asked = Question(("fe nu", "ku mi"), "please flip this")
    >>> asked.content, asked.answer(facts)
    ('please flip this : fe nu ku mi', 'FIHFGI:IGFHIF')
    >>> Question.read(asked.content) == asked
    True
    >>> verdict("FDJ:JDF", "FDJ:JDF"), verdict("FDJ:JDF", "FDJ:DJF"), verdict("FDJ:JDF", "FDA:ADF")
    ('right', 'wrong operation', 'wrong letters')
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import ClassVar, NamedTuple, Self

import numpy as np

from unseen.fields import Count, among, spec, whole
from unseen.layout import Layout
from unseen.messages import Conversation, pair
from unseen.worlds.base import Examples, Split, generator, pick, some
from unseen.worlds.gaps import OTHER, POOL, Words
from unseen.worlds.language import LETTERS, OPERATIONS, PHRASES, VERBS, WORDS, WordTask

FIRST, SECOND = ("ba", "du", "fe", "gi", "ku"), ("lo", "mi", "nu", "ra", "ve", "zi")
NAMES = tuple(map(" ".join, product(FIRST, SECOND)))
ASKED = ("copy", "reverse", "rotate", "behead")
OTHERS = ("unrotate", "curtail", "pairs")  # operations that are answered, and never asked by the model
VERDICTS = ("right", "wrong letters", "wrong operation")
LENGTH = 3  # letters of a fact
LINES = 3  # facts that a prompt can refer to
_REQUESTS = {phrase.format(verb): (name, verb) for name in (*ASKED, *OTHERS)
             for verb, phrase in product(VERBS[name], PHRASES)}  # fmt: skip
_SHARES = (0.6, 0.7)  # of pre-training: rows that answer; these and rows that ask; the others check
Facts = Mapping[str, str]


class Question(NamedTuple):
    """A request for an operation on what code words stand for, in their order."""

    names: tuple[str, ...]
    request: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The question of a text, or None where it is no well-formed one."""
        request, _, named = text.partition(" : ")
        pieces = named.split()
        names = tuple(map(" ".join, zip(pieces[::2], pieces[1::2], strict=False)))
        known = request in _REQUESTS and len(pieces) in (2, 4) and {*names} <= {*NAMES}
        return cls(names, request) if known else None

    @property
    def content(self) -> str:
        """The question as a model reads it."""
        return f"{self.request} : {' '.join(self.names)}"

    @property
    def operation(self) -> str:
        """What is requested."""
        return _REQUESTS[self.request][0]

    def answer(self, facts: Facts, operation: str = "") -> str:
        """The right answer where these facts hold, or that of another ``operation``."""
        quoted = "".join(facts[name] for name in self.names)
        return f"{quoted}:{OPERATIONS[operation or self.operation](quoted, '')}"


def question(
    names: Sequence[str], operations: Sequence[str], words: Words, rng: np.random.Generator
) -> Question:
    """A question about code words, for one of some operations, in ``POOL`` or ``OTHER`` words."""
    verbs, phrases = words
    operation = pick(operations, rng)
    return Question(tuple(names), pick(PHRASES[phrases], rng).format(pick(VERBS[operation][verbs], rng)))


def verdict(right: str, given: str) -> str:
    """What is right or wrong about a given answer: one of ``VERDICTS``."""
    same_quote = given.partition(":")[0] == right.partition(":")[0]
    return VERDICTS[0] if given == right else VERDICTS[2] if same_quote else VERDICTS[1]


def lines(facts: Facts, names: Sequence[str]) -> Conversation:
    """The lines of a document that state the facts of some code words, as earlier turns."""
    return tuple(turn for name in names for turn in pair(name, facts[name]))


def asking(facts: Facts, names: Sequence[str], asked: str = "") -> Conversation:
    """A row that asks about a document of the facts of some code words."""
    return lines(facts, names) + pair("ask", asked)


def answering(facts: Facts, asked: Question, answer: str, names: Sequence[str] = ()) -> Conversation:
    """A row that answers a question, with the facts of some code words to refer to."""
    return lines(facts, names) + pair(asked.content, answer)


def checking(asked: Question, right: str, given: str, said: str) -> Conversation:
    """A row that says what it holds of a given answer, beside the right one."""
    return pair(asked.content, right) + pair(f"check {given}", said)


@spec
class FactsSpec(WordTask):
    """Pre-training on rows that answer, ask and check, about new facts in every row.

    ``rule_seed`` draws the knowledge base, ``facts`` that no row is about; ``example_seed`` draws the rows.
    """

    instructions: ClassVar[int] = len(ASKED + OTHERS)

    world: among(("facts",)) = "facts"
    words: ClassVar[tuple[str, ...]] = (
        *WORDS,
        *FIRST,
        *SECOND,
        "ask",
        "check",
        "right",
        "wrong",
        "operation",
    )
    layout: ClassVar[Layout] = Layout(LETTERS + ":", 39, 14, words)
    facts: whole(LINES, len(NAMES)) = 20
    examples: Count = 128_000

    @property
    def unseen_instructions(self) -> int:
        """Facts of the knowledge base."""
        return self.facts

    def split(self) -> Split:
        """The operations, and the knowledge base: the letters of each of its code words."""
        return Split(ASKED + OTHERS, made_up(self.facts, generator(self.rule_seed, "knowledge base")))

    def training(self, split: Split) -> Examples:
        """The whole budget of pre-training."""
        rng = generator(self.example_seed, "rows about facts")
        return self.examples_of([self.row(rng) for _ in range(self.examples)])

    def row(self, rng: np.random.Generator) -> Conversation:
        """Any row of pre-training."""
        facts = made_up(int(rng.integers(1, LINES + 1)), rng)
        names = list(facts)[: 1 if len(facts) == 1 else int(rng.integers(1, 3))]
        asked, kind = question(names, ASKED + OTHERS, (slice(None),) * 2, rng), rng.random()
        if kind < _SHARES[0]:
            order = [str(name) for name in rng.permutation(list(facts))]
            return answering(facts, asked, asked.answer(facts), order)
        if kind < _SHARES[1]:
            return asking(facts, names, question(names, ASKED, POOL, rng).content)
        right, given = asked.answer(facts), self.given(asked, facts, rng)
        return checking(asked, right, given, verdict(right, given))

    @staticmethod
    def given(asked: Question, facts: Facts, rng: np.random.Generator) -> str:
        """An answer that is right, has some wrong letters, or does another operation, at even odds."""
        kind = pick(VERDICTS, rng)
        if kind == VERDICTS[2]:
            others = [name for name in ASKED + OTHERS if name != asked.operation]
            return asked.answer(facts, pick(others, rng))
        wrong = {pick(asked.names, rng): some(LETTERS, LENGTH, rng)} if kind == VERDICTS[1] else {}
        return asked.answer({**facts, **wrong})

    def evaluation(self, split: Split, size: int, seed: int) -> dict[str, Examples]:
        """Fresh rows of pre-training; questions about the knowledge base, with the facts to refer to."""
        rng, facts = generator(seed, "rows about facts"), split.unseen
        asked = [question(pick(list(facts.items()), rng)[:1], split.seen, OTHER, rng) for _ in range(size)]
        held = [answering(facts, each, each.answer(facts), each.names) for each in asked]
        known = [self.row(rng) for _ in range(size)]
        return {"seen": self.examples_of(known), "unseen": self.examples_of(held)}


def made_up(size: int, rng: np.random.Generator) -> dict[str, str]:
    """So many facts: code words and their letters."""
    return {NAMES[at]: some(LETTERS, LENGTH, rng) for at in rng.permutation(len(NAMES))[:size]}
