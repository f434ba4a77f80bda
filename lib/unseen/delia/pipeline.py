"""DELIA's pipeline, each step a function on its own: self-sampling, paraphrases, mixing.  Any model that answers conversations will do.

>>> parrot = lambda conversations: [conversation[1].content for conversation in conversations]
>>> found = self_sample(parrot, [("reverse : AB", "BA"), ("say nothing", "")])
>>> found.rows, found.malformed, found.rejected
([(Message(role='user', content='reverse : AB'), Message(role='assistant', content='BA'))], 0, 1)
>>> len(mix(found.rows, found.rows * 9, ratio=5, seed=0))
6
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unseen.delia.messages import Conversation, Message, pair

TEMPERATURE, TOP_P, NEW_TOKENS = 0.7, 0.95, 512  # of self-sampling, as published
Sampler = Callable[[Sequence[Conversation]], Sequence[str | None]]  # None: an answer that never ended


class Samples(NamedTuple):
    """Self-sampled rows; ``malformed`` answers never ended, ``rejected`` ones are empty or not what ``keep`` wants."""

    rows: list[Conversation]
    malformed: int
    rejected: int


def hinted(query: str, reference: str) -> Conversation:
    """What a model is shown to sample its own answer: query and reference as an earlier turn, then the query again."""
    return (*pair(query, reference), Message("user", query))


def self_sample(
    sampler: Sampler, references: Sequence[tuple[str, str]], keep: Callable[[str], bool] = lambda answer: True
) -> Samples:
    """The sampler's own answers to queries, each asked again behind its reference (paper, step 1)."""
    answers = sampler([hinted(query, reference) for query, reference in references])
    rows, malformed, rejected = [], 0, 0
    for (query, _), answer in zip(references, answers, strict=True):
        if answer is None:
            malformed += 1
        elif not answer.strip() or not keep(answer):
            rejected += 1
        else:
            rows.append(pair(query, answer))
    return Samples(rows, malformed, rejected)


def expand(
    rows: Sequence[Conversation], instructions: Sequence[str], put: Callable[[str, str], str]
) -> list[Conversation]:
    """Task rows whose queries are inputs alone, with instructions taken in turn put to them (paper, step 2).

    >>> rows = [pair("AB", "BA"), pair("CD", "DC"), pair("EF", "FE")]
    >>> [row[0].content for row in expand(rows, ["flip", "turn"], "{0} : {1}".format)]
    ['flip : AB', 'turn : CD', 'flip : EF']
    """  # fmt: skip
    if not instructions:
        raise ValueError("no instructions to expand the rows with")
    taken = zip(rows, cycle(instructions))
    return [(Message("user", put(instruction, row[0].content)), *row[1:]) for row, instruction in taken]


def mix(task: Sequence[Conversation], diverse: Iterable[Conversation], ratio: float, seed: int) -> list[Conversation]:
    """All task rows with ``ratio`` times as many diverse ones, shuffled (paper, step 3).

    Raises ``ValueError`` when there are too few diverse rows, or the ratio is negative.
    """
    wanted = round(ratio * len(task))
    if ratio < 0:
        raise ValueError(f"ratio={ratio}: must be at least 0")
    rows = [*task, *islice(diverse, wanted)]
    if len(rows) < len(task) + wanted:
        raise ValueError(
            f"ratio={ratio:g}: {wanted:,} diverse rows are asked for, and there are {len(rows) - len(task):,}"
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[i] for i in order]


def nucleus(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """One token a row (B,) of logits (B, V), from the fewest tokens whose probabilities reach ``top_p`` (Holtzman et al., 2020).

    >>> nucleus(torch.tensor([[0.0, 9.0, 1.0]]), 0.7, 0.95, torch.Generator().manual_seed(0)).tolist()
    [1]
    """
    shares, tokens = (logits / temperature).softmax(-1).sort(dim=-1, descending=True)
    kept = shares.masked_fill(shares.cumsum(-1) - shares >= top_p, 0.0)  # the first always stays
    return tokens.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)
