r"""Conversations as JSON lines, and DELIA's pipeline on them: self-sampling, paraphrases, mixing.

A line is ``{"messages": [{"role", "content"}, ...]}``, as in DELIA's published code.  Any model that answers
conversations can be sampled from.

>>> rows = [pair("reverse this : AB", "BA")]
>>> print(as_text(rows), end="")
{"messages": [{"role": "user", "content": "reverse this : AB"}, {"role": "assistant", "content": "BA"}]}
>>> parrot = lambda conversations: [conversation[1].content for conversation in conversations]
>>> found = self_sample(parrot, [("reverse : AB", "BA"), ("say nothing", "")])
>>> len(found.rows), found.malformed, found.rejected, len(mix(rows, found.rows * 9, ratio=5, seed=0))
(1, 0, 1, 6)
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from unseen.errors import Explained
from unseen.fields import short
from unseen.files import read, write

TEMPERATURE, TOP_P, NEW_TOKENS = 0.7, 0.95, 512  # of self-sampling, as published
_LARGEST = 1 << 30  # bytes of a file


class BadMessages(Explained, ValueError):
    """A file of conversations cannot be read; the message names file and line."""


class Message(NamedTuple):
    """One turn: who speaks (``system``, ``user`` or ``assistant``), and what."""

    role: str
    content: str


class _Turn(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class _Line(BaseModel):
    messages: list[_Turn] = Field(min_length=1)


Conversation = tuple[Message, ...]
Sampler = Callable[[Sequence[Conversation]], Sequence[str | None]]  # None: an answer that never ended


class Samples(NamedTuple):
    """Self-sampled rows; ``malformed`` answers never ended, ``rejected`` ones are empty."""

    rows: list[Conversation]
    malformed: int
    rejected: int


def pair(query: str, answer: str) -> Conversation:
    """The conversation of one query and its answer."""
    return Message("user", query), Message("assistant", answer)


def load(path: Path | str) -> list[Conversation]:
    """The conversations of a JSON-lines file; empty lines and further fields of a row are ignored.

    Raises ``BadMessages`` naming the file, the line and what is wrong with it.
    """
    path = Path(path)
    try:
        lines = read(path, _LARGEST).split(b"\n")
    except OSError as error:
        raise BadMessages(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BadMessages(str(error)) from error
    return [_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _line(line: bytes, where: str) -> Conversation:
    try:
        row = _Line.model_validate_json(line.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = " ".join([*map(str, first["loc"]), first["msg"]])
        raise BadMessages(f"{where}: {what}, got {short(first['input'])}") from error
    return tuple(Message(turn.role, turn.content) for turn in row.messages)


def answered(path: Path | str, least: int = 1) -> list[Conversation]:
    """The conversations of a file, each ending with a query and its answer; raises ``BadMessages``."""
    rows = load(path)
    for number, row in enumerate(rows, 1):
        if [message.role for message in row[-2:]] != ["user", "assistant"]:
            raise BadMessages(f"{path}, row {number}: expected to end with a user's query and its answer")
    if len(rows) < least:
        raise BadMessages(f"{path}: {len(rows)} rows are too few, at least {least} are needed")
    return rows


def save(path: Path | str, rows: Iterable[Conversation]) -> None:
    """Write conversations, whole or not at all; raises ``CannotWrite``."""
    write(Path(path), as_text(rows))


def as_text(rows: Iterable[Conversation]) -> str:
    """Conversations as the text of a JSON-lines file."""
    lines = [{"messages": [message._asdict() for message in row]} for row in rows]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def hinted(query: str, reference: str) -> Conversation:
    """What a model reads to sample its own answer: query and reference as a turn, then the query again."""
    return (*pair(query, reference), Message("user", query))


def self_sample(sampler: Sampler, references: Sequence[tuple[str, str]]) -> Samples:
    """The sampler's own answers to queries, each repeated after its reference answer (paper, step 1)."""
    answers = sampler([hinted(query, reference) for query, reference in references])
    taken = zip(references, answers, strict=True)
    rows = [pair(query, answer) for (query, _), answer in taken if answer and answer.strip()]
    malformed = sum(answer is None for answer in answers)
    return Samples(rows, malformed, len(answers) - malformed - len(rows))


def expand(rows: Sequence[Conversation], instructions: Sequence[str], form: str) -> list[Conversation]:
    """Task rows whose queries are inputs alone, combined with instructions in turn (paper, step 2).

    >>> rows = [pair("AB", "BA"), pair("CD", "DC"), pair("EF", "FE")]
    >>> [row[0].content for row in expand(rows, ["flip", "turn"], "{instruction} : {input}")]
    ['flip : AB', 'turn : CD', 'flip : EF']
    """
    if not instructions:
        raise ValueError("no instructions to expand the rows with")
    write, taken = form.format, zip(rows, cycle(instructions))
    return [(Message("user", write(instruction=way, input=row[0].content)), *row[1:]) for row, way in taken]


def mix(
    task: Sequence[Conversation], diverse: Iterable[Conversation], ratio: float, seed: int
) -> list[Conversation]:
    """All task rows with ``ratio`` times as many diverse ones, shuffled (paper, step 3).

    Raises ``ValueError`` when there are too few diverse rows, or the ratio is negative.
    """
    if ratio < 0:
        raise ValueError(f"ratio={ratio}: must be at least 0")
    needed = round(ratio * len(task))
    rows = [*task, *islice(diverse, needed)]
    if len(rows) < len(task) + needed:
        given = len(rows) - len(task)
        raise ValueError(f"ratio={ratio:g}: needs {needed:,} diverse rows, and there are {given:,}")
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[i] for i in order]
