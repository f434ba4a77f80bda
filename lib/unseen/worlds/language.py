"""A symbolic instruction language (words: ``language.toml``), which DELIA's base learns.

A query requests an operation on a string of capitals, in one of many phrasings, and may name a format, or
refuse one; the instruction comes before the input or after it.  A few lines of plain Python are the oracle.

    >>> query = Query("reverse", "", "flip", "please {} this", "ABCD", "square", "in the square format")
    >>> query.content, query.answer
    ('please flip this in the square format : ABCD', '[DCBA]')
    >>> Query("rewrite", "AB CD", "replace", "now {} it", "DAB").content
    'now replace AB by CD in it : DAB'
    >>> task = LanguageSpec(examples=300)
    >>> task.instructions, task.training(task.split()).texts(0)
    (214, ('kindly trim the text :FDCI=', 'FDC'))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice, product
from typing import ClassVar

import numpy as np

from unseen.fields import Count, Share, among, later, spec, whole
from unseen.files import packaged
from unseen.layout import Layout
from unseen.messages import Conversation, pair
from unseen.worlds.base import Examples, Split, Task, generator, pick, word

LETTERS = "ABCDEFGHIJ"
TOKEN = "<sep>"  # the new token, in no query of the language itself
LONGEST = 4  # letters of an input, and of the plain answer to it


def _moved(text: str, by: int) -> str:
    return "".join(LETTERS[(LETTERS.index(letter) + by) % len(LETTERS)] for letter in text)


OPERATIONS: dict[str, Callable[[str, str], str]] = {  # of an input and an argument, which most do without
    "copy": lambda z, _: z,
    "reverse": lambda z, _: z[::-1],
    "sort": lambda z, _: "".join(sorted(z)),
    "descend": lambda z, _: "".join(sorted(z, reverse=True)),
    "rotate": lambda z, _: z[1:] + z[:1],
    "unrotate": lambda z, _: z[-1:] + z[:-1],
    "swap": lambda z, _: z[-1:] + z[1:-1] + z[:1],
    "behead": lambda z, _: z[1:],
    "curtail": lambda z, _: z[:-1],
    "next": lambda z, _: _moved(z, 1),
    "previous": lambda z, _: _moved(z, -1),
    "pairs": lambda z, _: "".join(z[i : i + 2][::-1] for i in range(0, len(z), 2)),
    "delete": lambda z, letter: z.replace(letter, ""),
    "rewrite": lambda z, rule: z.replace(*rule.split(), 1),  # one step of a Markov algorithm
}
WITHOUT_ARGUMENT = tuple(name for name in OPERATIONS if name not in ("delete", "rewrite"))
_TEXTS = packaged("worlds/language.toml")
VERBS, PHRASES = _TEXTS["verbs"], _TEXTS["phrases"]
MENTIONS, REFUSALS = _TEXTS["mentions"], _TEXTS["refusals"]
FORMATS = tuple(_TEXTS["formats"])  # each is its own name of one word
PAIRS = {name: pair for name, (*_, pair) in _TEXTS["formats"].items()}  # the names of two words
_SAID = (*PHRASES, *MENTIONS, *REFUSALS, *PAIRS.values(), *FORMATS, *chain(*VERBS.values()), "by in from")
WORDS = tuple(sorted(set(" ".join(_SAID).replace("{}", "").split())))
MARKS = '[](){}<>"*/~-,_+!?#:Z'  # of formats, and the colon of a query


def formatted(plain: str, name: str) -> str:
    """An answer in the format of that name; without a name it stays plain.

    >>> [formatted("ABC", name) for name in ("", "curly", "dashed", "keyed")]
    ['ABC', '{ABC}', 'A-B-C', 'Z:ABC']
    """
    before, between, behind = _TEXTS["formats"][name][:3] if name else ("", "", "")
    return before + between.join(plain) + behind


@dataclass(frozen=True)
class Query:
    """One query: an operation with its argument, how it is requested, and the input (``text``).

    ``format`` is that of the answer ("" for a plain one), ``mention`` what the query says of formats: it
    names the format, by any of its names, or refuses one.  ``after`` puts the instruction after the input.
    """

    operation: str
    argument: str
    verb: str
    phrase: str
    text: str
    format: str = ""
    mention: str = ""
    after: bool = False

    @property
    def content(self) -> str:
        """The query as a model reads it."""
        form = {"rewrite": " {} by {} in", "delete": " {} from"}.get(self.operation, "")
        verb = self.verb + form.format(*self.argument.split())
        request = f"{self.phrase.format(verb)} {self.mention}".strip()
        return f"{self.text} : {request}" if self.after else f"{request} : {self.text}"

    @property
    def answer(self) -> str:
        """The right answer."""
        return formatted(OPERATIONS[self.operation](self.text, self.argument), self.format)


_NAMED, _REFUSED = 0.45, 0.1  # shares of queries at large that name a format, that refuse one
_OFTEN = (*OPERATIONS, "rewrite", "rewrite", "delete")  # those with an argument take longest to learn
_QUERY = 23  # tokens of the longest query with ``=`` behind it
_PLAIN_QUERY = 10  # of the longest one without a format
_ANSWER = 2 * LONGEST  # of the longest answer, its end included
NAMES = ("one", "two", "both")  # words that name a format
Pair = tuple[str, str]  # an operation and a format


@spec
class WordTask(Task):
    """What tasks of this language share: words, marks and capitals, and prompts of up to two turns."""

    words: ClassVar[tuple[str, ...]] = (*WORDS, TOKEN)
    layout: ClassVar[Layout] = Layout(LETTERS + MARKS, 2 * _QUERY + _ANSWER, _ANSWER, words)

    def examples_of(self, rows: Sequence[Conversation], rule: Sequence[int] | None = None) -> Examples:
        """Conversations as token ids; the last message of each is the answer."""
        pairs = [(prompt_of(row[:-1]), row[-1].content) for row in rows]
        return Examples.of(self.layout, pairs, None if rule is None else np.array(rule))


@spec
class LanguageSpec(WordTask):
    """Pre-training: queries of the whole language; an instruction is an operation with or without a format.

    ``unseen_instructions`` pairs are held out.  Formats are named by ``one`` word, by ``two``, or by ``both``
    in turn. A share ``two_turns`` of the prompts has an earlier turn, half of these the same query with its
    answer, as in self-sampling.

    ``habits`` are formats, by commas, in which a query that says nothing of formats is also answered, each as
    often as plainly; an earlier turn may have another than the last.  Evaluation expects plain answers.

    >>> task = LanguageSpec(habits="square,loud", examples=300)
    >>> [message.content for message in task.conversations(task.split())[0]]
    ['kindly trim the text : FDCI', '[FDC]']
    >>> LanguageSpec(habits="oval")
    Traceback (most recent call last):
    ...
    ValueError: LanguageSpec.habits='oval': known formats are square, round, curly, angle, quoted, starred, \
slashed, waved, dashed, listed, scored, summed, loud, asking, hashed, keyed
    """

    world: among(("language",)) = "language"
    names: among(NAMES) = "one"
    examples: Count = 160_000
    unseen_instructions: whole(1, len(OPERATIONS) * len(FORMATS) // 2) = 24
    two_turns: Share = 0.25
    habits: str = later("")

    def _check(self) -> None:
        if self.habits and not {*self.habits.split(",")} <= {*FORMATS}:
            self._refuse("habits", f"known formats are {', '.join(FORMATS)}")

    @property
    def instructions(self) -> int:
        """Pairs of an operation and a format that are trained."""
        return len(OPERATIONS) * (1 + len(FORMATS)) - self.unseen_instructions

    def split(self) -> frozenset[Pair]:
        """The pairs of an operation and a format that pre-training never shows."""
        pairs = list(product(OPERATIONS, FORMATS))
        rng = generator(self.rule_seed, "held-out pairs")
        return frozenset(pairs[i] for i in rng.choice(len(pairs), self.unseen_instructions, replace=False))

    def training(self, split: frozenset[Pair]) -> Examples:
        """The whole budget, in the order in which it was drawn."""
        return self.examples_of(self.conversations(split))

    def conversations(self, split: frozenset[Pair]) -> list[Conversation]:
        """The training budget as conversations."""
        rng, rows = generator(self.example_seed, "language"), []
        for _ in range(self.examples):
            query = self.query(rng, split)
            drawn, before = rng.random(), ()
            if drawn < self.two_turns:
                same = drawn < self.two_turns / 2
                before = self.answered(query if same else self.query(rng, split), split, rng)
            rows.append((*before, *self.answered(query, split, rng)))
        return rows

    def answered(self, query: Query, split: frozenset[Pair], rng: np.random.Generator) -> Conversation:
        """A query and its right answer, in a habitual format or plain where it says nothing of formats."""
        if self.habits and not query.mention:
            forms = [form for form in self.habits.split(",") if (query.operation, form) not in split]
            query = replace(query, format=pick(["", *forms], rng))
        return conversation(query)

    def query(self, rng: np.random.Generator, split: frozenset[Pair]) -> Query:
        """Any query of pre-training."""
        return at_large(rng, self.names, split)

    def evaluation(self, split: frozenset[Pair], size: int, seed: int) -> dict[str, Examples]:
        """Fresh queries at large of what is trained; of held-out pairs in turn, with their format."""
        seen, unseen = (generator(seed, f"language, {side}") for side in ("seen", "unseen"))
        known = [conversation(self.query(seen, split)) for _ in range(size)]
        held = [conversation(named(*each, self.names, unseen)) for each in islice(cycle(sorted(split)), size)]
        return {"seen": self.examples_of(known), "unseen": self.examples_of(held)}


def name_of(format: str, names: str, rng: np.random.Generator) -> str:
    """A name of a format, of ``one`` word, ``two``, or ``both`` at even odds."""
    two = names == "two" or (names == "both" and rng.random() < 0.5)
    return PAIRS[format] if two else format


def draw(
    operation: str, rng: np.random.Generator, format: str = "", mention: str = "", after: bool = False
) -> Query:
    """A query for an operation in a random phrasing on a random input, which holds the argument."""
    text = word(LETTERS, int(rng.integers(3, LONGEST + 1)), rng)
    at, argument = int(rng.integers(len(text) - 1)), ""
    if operation == "delete":
        argument = text[at]
    if operation == "rewrite":
        argument = f"{text[at : at + 2]} {pick(LETTERS, rng)}{pick(LETTERS, rng)}"
    verb, phrase = pick(VERBS[operation], rng), pick(PHRASES, rng)
    return Query(operation, argument, verb, phrase, text, format, mention, after)


def named(operation: str, format: str, names: str, rng: np.random.Generator) -> Query:
    """A query that names a format, before or after the input."""
    mention = pick(MENTIONS, rng).format(name_of(format, names, rng))
    return draw(operation, rng, format, mention, bool(rng.random() < 0.5))


def at_large(rng: np.random.Generator, names: str = "one", never: frozenset[Pair] = frozenset()) -> Query:
    """Any query of the language but of a pair in ``never``: with a format, with one refused, or with none."""
    while (chosen := (pick(_OFTEN, rng), pick(FORMATS, rng))) in never:
        pass
    drawn = rng.random()
    if drawn < _NAMED:
        return named(*chosen, names, rng)
    name = name_of(chosen[1], names, rng)
    refused = pick(REFUSALS, rng).format(name) if drawn < _NAMED + _REFUSED else ""
    return draw(chosen[0], rng, "", refused, bool(rng.random() < 0.5))


def diverse(count: int, seed: int, names: str) -> list[Query]:
    """Diverse queries to be self-sampled: anything that the language has."""
    rng = generator(seed, "diverse queries")
    return [at_large(rng, names) for _ in range(count)]


def conversation(query: Query) -> Conversation:
    """A query and its right answer."""
    return pair(query.content, query.answer)


def prompt_of(turns: Conversation) -> str:
    """A conversation that ends with a query, as the text that a model of this world continues.

    >>> prompt_of(pair("copy this : AB", "AB") + pair("flip this : AB", "BA")[:1])
    'copy this : AB=AB.flip this : AB='
    """
    return "".join(message.content + ("." if message.role == "assistant" else "=") for message in turns)


# Plain queries about some operations


@spec
class OperationsSpec(Task):
    """Queries about ``instructions`` operations in any phrasing; ``unseen_instructions`` others are held out.

    ``rule_seed`` draws which, ``example_seed`` the queries.  No operation has an argument.  A model that is
    tuned on one of those held out has to learn what it does and what it is called.

    >>> task = OperationsSpec(examples=80)
    >>> split = task.split()
    >>> split.unseen
    ('rotate', 'curtail', 'descend', 'pairs')
    >>> task.training(split).texts(0)
    ('just reverse the word :HEFB=', 'BFEH')
    """

    world: among(("operations",)) = "operations"
    layout: ClassVar[Layout] = Layout(LETTERS + ":", _PLAIN_QUERY, LONGEST + 1, WORDS)
    instructions: whole(1, len(WITHOUT_ARGUMENT)) = 8
    unseen_instructions: whole(1, len(WITHOUT_ARGUMENT) - 1) = 4
    examples: Count = 64_000

    def split(self) -> Split:
        """The names of the operations that are trained, and of those held out, which are the same whatever
        the number of ``instructions``; if it is all, they are trained too.
        """
        order = [str(name) for name in generator(self.rule_seed, "operations").permutation(WITHOUT_ARGUMENT)]
        return Split(tuple(order[: self.instructions]), tuple(order[-self.unseen_instructions :]))

    def draw(self, instructions: tuple[str, ...], which: np.ndarray, rng: np.random.Generator) -> Examples:
        """A query for each entry of ``which`` (N,), on a random input in a random phrasing."""
        rows = [conversation(draw(instructions[at], rng)) for at in which.tolist()]
        return Examples.of(self.layout, [(f"{asked.content}=", said.content) for asked, said in rows], which)
