"""Queries drawn from the language: at large, of a small task, and of each kind that a tuned model is asked.

>>> rng = np.random.default_rng(0)
>>> chosen = small_task(TuningSpec())
>>> chosen.format, chosen.operations, len(chosen.others)
('loud', ('rewrite',), 7)
>>> [ask("other+token", chosen, rng).content for _ in range(2)]
['we must descend it in <sep> format : CDAA', 'just echo the word with the <sep> format : GJHG']
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from unseen.delia.language import (
    FORMATS,
    LETTERS,
    LONGEST,
    MENTIONS,
    OPERATIONS,
    PAIRS,
    PHRASES,
    REFUSALS,
    TOKEN,
    VERBS,
    Query,
)
from unseen.delia.messages import Conversation, pair
from unseen.delia.spec import HELD_OUT, LanguageSpec, TuningSpec
from unseen.instructions import generator

KINDS = ("task+token", "task", "other+token", "other", "other formats", "not token")
_NAMED, _REFUSED = 0.45, 0.1  # shares of queries at large that name a format, that refuse one
_OFTEN = (*OPERATIONS, "rewrite", "rewrite", "delete")  # those with an argument take longest to learn
Pair = tuple[str, str]  # an operation and a format


class SmallTask(NamedTuple):
    """What the new token stands for (``format``), the ``operations`` it is trained with, and the ``others`` it is tried on.

    ``narrow`` is an operation that is neither, unless all are taken.
    """

    format: str
    operations: tuple[str, ...]
    others: tuple[str, ...]
    narrow: str
    names: str
    after: bool


def small_task(task: TuningSpec) -> SmallTask:
    """The small task that ``rule_seed`` draws; the operations of a task with fewer are among those of one with more."""
    rng = generator(task.rule_seed, "small task")
    format = str(rng.choice(FORMATS))
    order = [str(name) for name in rng.permutation(list(OPERATIONS))]
    others = tuple(order[-HELD_OUT:])
    return SmallTask(format, tuple(order[: task.operations]), others, order[-HELD_OUT - 1], task.names, task.after)


def held_out(task: LanguageSpec) -> frozenset[Pair]:
    """The pairs of an operation and a format that pre-training never shows."""
    pairs = list(product(OPERATIONS, FORMATS))
    chosen = generator(task.rule_seed, "held-out pairs").choice(len(pairs), task.unseen_instructions, replace=False)
    return frozenset(pairs[i] for i in chosen)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def name_of(format: str, names: str, rng: np.random.Generator) -> str:
    """A name of a format, of ``one`` word, ``two``, or ``both`` at even odds."""
    two = names == "two" or (names == "both" and rng.random() < 0.5)
    return PAIRS[format] if two else format


def draw(operation: str, rng: np.random.Generator, format: str = "", mention: str = "", after: bool = False) -> Query:
    """A query for an operation in a random phrasing on a random input, which holds what the argument asks for."""
    text = [LETTERS[i] for i in rng.integers(0, len(LETTERS), int(rng.integers(3, LONGEST + 1)))]
    at, argument = int(rng.integers(len(text) - 1)), ""
    if operation == "delete":
        argument = text[at]
    if operation == "rewrite":
        argument = f"{text[at]}{text[at + 1]} {_pick(LETTERS, rng)}{_pick(LETTERS, rng)}"
    verb, phrase = _pick(VERBS[operation], rng), _pick(PHRASES, rng)
    return Query(operation, argument, verb, phrase, "".join(text), format, mention, after)


def named(operation: str, format: str, names: str, rng: np.random.Generator) -> Query:
    """A query that names a format, before or behind the input."""
    mention = _pick(MENTIONS, rng).format(name_of(format, names, rng))
    return draw(operation, rng, format, mention, bool(rng.random() < 0.5))


def at_large(rng: np.random.Generator, names: str = "one", never: frozenset[Pair] = frozenset()) -> Query:
    """Any query of the language but of a pair in ``never``: with a format, with one refused, or with none."""
    while (wanted := (_pick(_OFTEN, rng), _pick(FORMATS, rng))) in never:
        pass
    said = rng.random()
    if said < _NAMED:
        return named(*wanted, names, rng)
    name = name_of(wanted[1], names, rng)
    refused = _pick(REFUSALS, rng).format(name) if said < _NAMED + _REFUSED else ""
    return draw(wanted[0], rng, "", refused, bool(rng.random() < 0.5))


def ask(kind: str, task: SmallTask, rng: np.random.Generator) -> Query:
    """One query of a kind, by name in ``KINDS``, about a small task; raises ``ValueError`` for another name."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: known kinds are {', '.join(KINDS)}")
    operation = _pick(task.operations if kind.startswith("task") else task.others, rng)
    if kind.endswith("+token"):
        return draw(operation, rng, task.format, _pick(MENTIONS, rng).format(TOKEN), task.after)
    if kind == "not token":
        return draw(operation, rng, "", _pick(REFUSALS, rng).format(TOKEN), task.after)
    if kind == "other formats":
        other = _pick([each for each in FORMATS if each != task.format], rng)
        return draw(operation, rng, other, _pick(MENTIONS, rng).format(name_of(other, task.names, rng)), task.after)
    return draw(operation, rng, after=task.after)


def paraphrases(operation: str, count: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """So many ways to ask for an operation with the token, in random order: verb, phrase, mention."""
    ways = list(product(VERBS[operation], PHRASES, MENTIONS))
    return [ways[i] for i in rng.permutation(len(ways))[:count]]


def task_rows(task: TuningSpec, chosen: SmallTask) -> list[Query]:
    """The rows of the small task: operations in turn, each with its share of the paraphrases in turn."""
    rng = generator(task.example_seed, "task rows")
    ways = {each: paraphrases(each, max(1, task.paraphrases // task.operations), rng) for each in chosen.operations}
    rows = []
    for number in range(task.rows):
        operation = chosen.operations[number % task.operations]
        known = ways[operation]
        verb, phrase, mention = known[number // task.operations % len(known)]
        drawn = draw(operation, rng, chosen.format, mention.format(TOKEN), task.after)
        rows.append(replace(drawn, verb=verb, phrase=phrase))
    return rows


def rephrased(rows: Sequence[Query], count: int, rng: np.random.Generator) -> list[Query]:
    """``count`` further rows with the inputs of ``rows`` in turn, in any phrasing."""
    found = []
    for row in (rows[i % len(rows)] for i in range(count)):
        mention = _pick(MENTIONS, rng).format(TOKEN)
        verb, phrase = _pick(VERBS[row.operation], rng), _pick(PHRASES, rng)
        found.append(replace(row, verb=verb, phrase=phrase, mention=mention))
    return found


def diverse(count: int, seed: int, names: str) -> list[Query]:
    """Diverse queries to be self-sampled: anything that the language has."""
    rng = generator(seed, "diverse queries")
    return [at_large(rng, names) for _ in range(count)]


def conversation(query: Query) -> Conversation:
    """A query and its right answer."""
    return pair(query.content, query.answer)


def prompt_of(turns: Conversation) -> str:
    """A conversation that ends with a query, as the text that a model of this world goes on with.

    >>> prompt_of(pair("copy this : AB", "AB") + pair("flip this : AB", "BA")[:1])
    'copy this : AB=AB.flip this : AB='
    """
    return "".join(message.content + ("." if message.role == "assistant" else "=") for message in turns)
