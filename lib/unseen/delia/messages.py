r"""Conversations as JSON lines, the format of DELIA's published code: one ``{"messages": [{"role", "content"}, ...]}`` a line.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder) / "rows.jsonl"
...     save(path, [pair("reverse this : AB", "BA")])
...     print(path.read_text(), load(path) == [pair("reverse this : AB", "BA")])
{"messages": [{"role": "user", "content": "reverse this : AB"}, {"role": "assistant", "content": "BA"}]}
 True
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from unseen.disk.files import write
from unseen.errors import Explained
from unseen.fields import short

ROLES = ("system", "user", "assistant")
_LARGEST = 1 << 30  # bytes of a file


class BadMessages(Explained, ValueError):
    """A file of conversations cannot be read; the message names file and line."""


class Message(NamedTuple):
    """One turn: who speaks (``system``, ``user`` or ``assistant``), and what."""

    role: str
    content: str


Conversation = tuple[Message, ...]


def pair(query: str, answer: str) -> Conversation:
    """The conversation of one query and its answer."""
    return Message("user", query), Message("assistant", answer)


def load(path: Path | str) -> list[Conversation]:
    """The conversations of a JSON-lines file; empty lines are passed over, and so are further fields of a row.

    Raises ``BadMessages`` naming the file, the line and what is wrong with it.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise BadMessages(f"{path}: larger than {_LARGEST >> 20:,} MiB")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadMessages(f"{path}: {error.strerror}") from error
    return [_conversation(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def save(path: Path | str, rows: Iterable[Conversation]) -> None:
    """Write conversations, whole or not at all; raises ``CannotWrite``."""
    write(Path(path), as_text(rows))


def as_text(rows: Iterable[Conversation]) -> str:
    """Conversations as the text of a JSON-lines file."""
    lines = [{"messages": [message._asdict() for message in row]} for row in rows]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _conversation(line: bytes, where: str) -> Conversation:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadMessages(f"{where}: not JSON ({short(str(error))})") from error
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadMessages(f'{where}: expected {{"messages": [...]}} with at least one message, got {short(row)}')
    return tuple(_message(message, f"{where}, message {number}") for number, message in enumerate(messages, 1))


def _message(message: Any, where: str) -> Message:
    role, content = (message.get(name) for name in Message._fields) if isinstance(message, dict) else (None, None)
    if role not in ROLES:
        raise BadMessages(f"{where}: its role must be one of {', '.join(ROLES)}, got {short(role)}")
    if not isinstance(content, str):
        raise BadMessages(f"{where}: its content must be text, got {short(content)}")
    return Message(role, content)
