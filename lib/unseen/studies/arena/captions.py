"""Pictures and their captions, for two towers: a *picture* is an input and its output, as in ``ABCD=[DCBA]``,
its caption the words of the instruction, as in ``flip this in the square format``.

Twelve operations and sixteen formats of the symbolic language, and no format.  Twelve classes, six operations
in each of two formats, are held out: pre-training never shows them, and the verb that will name the operation
never with a format.

    >>> classes = held_out(0)
    >>> len(classes), sorted({format for _, format in classes})
    (12, ['listed', 'slashed'])
    >>> texts(classes).shape, pictures(classes, np.random.default_rng(0)).shape
    (torch.Size([12, 8]), torch.Size([12, 12]))
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from unseen.layout import PAD
from unseen.worlds.base import generator, pick, word
from unseen.worlds.language import (
    FORMATS,
    LETTERS,
    LONGEST,
    MENTIONS,
    OPERATIONS,
    PHRASES,
    VERBS,
    WITHOUT_ARGUMENT,
    Pair,
    WordTask,
    formatted,
)

TEMPLATE = "{} this in the {} format"  # the text of a held-out class
PICTURE, TEXT = 3 * LONGEST, 8  # tokens
POOL = 40_000  # pairs that pre-training draws from
_IDS = {token: at for at, token in enumerate(WordTask.layout.vocabulary)}


def held_out(seed: int) -> list[Pair]:
    """The held-out classes: six operations, each in two formats."""
    rng = generator(seed, "held-out classes")
    some = [WITHOUT_ARGUMENT[at] for at in sorted(rng.choice(len(WITHOUT_ARGUMENT), 6, replace=False))]
    return list(product(some, [FORMATS[at] for at in rng.choice(len(FORMATS), 2, replace=False)]))


def ids(lines: Sequence[list[str]], length: int) -> Tensor:
    """Token ids (N, length) of lines of tokens, filled up on the right."""
    filled = [[_IDS[token] for token in [*line, *[PAD] * (length - len(line))]] for line in lines]
    return torch.tensor(filled)


def pictures(classes: Sequence[Pair], rng: np.random.Generator) -> Tensor:
    """A picture of each class (an operation, and a format or none) on a random input: token ids (N, T)."""
    lines = []
    for operation, format in classes:
        text = word(LETTERS, LONGEST, rng)
        lines.append(list(f"{text}={formatted(OPERATIONS[operation](text, ''), format)}"))
    return ids(lines, PICTURE)


def texts(classes: Sequence[Pair]) -> Tensor:
    """The texts of held-out classes, by the last verb of each operation: token ids (N, T)."""
    return ids([TEMPLATE.format(VERBS[one][-1], format).split() for one, format in classes], TEXT)


def pairs(seed: int) -> tuple[Tensor, Tensor]:
    """What pre-training reads: pictures (N, T) and the request for each (N, T')."""
    rng, held = generator(seed, "pairs of pre-training"), set(held_out(seed))
    known = [pair for pair in product(WITHOUT_ARGUMENT, ("", *FORMATS)) if pair not in held]
    drawn = [
        pick(known, rng) if rng.random() < 0.7 else (pick(WITHOUT_ARGUMENT, rng), "") for _ in range(POOL)
    ]
    lines = []
    for operation, format in drawn:
        verb = pick(VERBS[operation][:-1] if format else VERBS[operation], rng)
        mention = pick(MENTIONS, rng).format(format) if format else ""
        lines.append(f"{pick(PHRASES, rng).format(verb)} {mention}".split())
    return pictures(drawn, rng), ids(lines, TEXT)
