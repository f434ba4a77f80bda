r"""Conversations as JSON lines, and DELIA's pipeline on them: self-sampling, paraphrases, mixing.

A line is ``{"messages": [{"role", "content"}, ...]}``, as in DELIA's published code.  Rows in other forms
that people publish (ShareGPT, Alpaca, prompts with completions ...) are read with a note; a row of which
something would be lost is refused.  Any model that answers conversations can be sampled from.

>>> rows = [pair("reverse this : AB", "BA")]
>>> print(as_text(rows), end="")
{"messages": [{"role": "user", "content": "reverse this : AB"}, {"role": "assistant", "content": "BA"}]}
>>> parrot = lambda conversations: [conversation[1].content for conversation in conversations]
>>> found = self_sample(parrot, [("reverse : AB", "BA"), ("say nothing", "")])
>>> len(found.rows), found.malformed, found.rejected, len(mix(rows, found.rows * 9, ratio=5, seed=0))
(1, 0, 1, 6)
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from unseen.errors import Explained
from unseen.fields import listed, short
from unseen.files import absolute, brief, read_text, write

TEMPERATURE, TOP_P, NEW_TOKENS = 0.7, 0.95, 512  # of self-sampling, as published
_LARGEST = 1 << 30  # bytes of a file
_BETWEEN = re.compile("[ \t\n,\ufeff]*")  # rows: some write commas, and files joined have marks inside
_FORM = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
_TURNS = ("messages", "conversations", "conversation", "dialog")  # fields that hold a row's turns
_QUERIES = ("instruction", "prompt", "question", "query", "input", "context")
_JOINED = (["instruction", "input"], ["instruction", "context"])  # in two lines
_ANSWERS = ("output", "completion", "response", "answer")
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}
_LOST = {  # fields that say something to a model, and are no text of a turn
    "tools", "functions", "tool_calls", "tool_call_id", "function_call", "image", "images", "video",
    "videos", "audio", "audios", "documents", "history", "chosen", "rejected", "refusal", "thinking",
    "reasoning", "reasoning_content",
}  # fmt: skip
_DEEP = "lists in lists, nested too deeply"
_EMPTY = (None, False, "", "[]", [], {})
_WEIGHTS = ("weight", "train", "loss")  # of a turn: whether it is learned
_TURN = '{"role": "user", "content": "..."}'
_ROWS = ".to_json(..., orient='records', lines=True) writes rows"
_LIKELY = {  # how a text begins that is no JSON: what it most likely is, and what to do
    r"[\[{]+\s*'": "Python's own notation: write it by json.dumps",
    r"[\w\"'-]+[,;\t|][^{}\[\]\n]*(\n|$)": f"a table: pandas.read_csv(...){_ROWS}",
}


class BadMessages(Explained, ValueError):
    """A file of conversations cannot be read; each line of the message names file, line and what is wrong."""


class Message(NamedTuple):
    """One turn: who speaks (``system``, ``user`` or ``assistant``), and what."""

    role: str
    content: str


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


# Reading


def load(path: Path | str) -> list[Conversation]:
    """The conversations of a file of JSON lines; a JSON array, or JSON over several lines, is read as well.

    Prints a note of what is converted, and of fields that are not read.  Raises
    ``BadMessages`` naming the file, the lines and what is wrong with them.
    """
    return [row for _, row in located(path)]


def located(path: Path | str) -> list[tuple[str, Conversation]]:
    """``load``, each conversation with the words for where it stands, as in ``rows.jsonl, line 3``."""
    path, rows, faults, notes = absolute(path), [], [], {}
    try:
        text = read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise BadMessages(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        for place, value in _values(text):
            try:
                read = _Row.model_validate(value, context=notes).messages
                rows.append((f"{path}, {place}", tuple(Message(turn.role, turn.content) for turn in read)))
            except RecursionError:
                faults.append(f"{path}, {place}: {_DEEP}")
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                why = first.get("ctx", {}).get("error") or f"{first['msg']}, got {short(first['input'])}"
                faults.append(f"{path}, {place}: {' '.join([*map(str, first['loc']), str(why)])}")
    except ValueError as error:  # it is no JSON from there on
        faults.append(f"{path}, {error}")
    _refuse(faults)
    if notes:
        said = "; ".join(f"{what} {', '.join(sorted(each))}".strip() for what, each in notes.items())
        print(f"{path}: {brief(said, 1_000)}", flush=True)
    return rows


def answered(path: Path | str, least: int = 1) -> list[Conversation]:
    """The conversations of a file, each ending with a query and its answer; raises ``BadMessages``."""
    rows = located(path)
    ends = ["user", "assistant"]
    odd = [where for where, row in rows if [message.role for message in row[-2:]] != ends]
    _refuse([f"{where}: expected to end with a user's query and its answer" for where in odd])
    if len(rows) < least:
        raise BadMessages(f"{path}: {len(rows)} rows are too few, at least {least} are needed")
    return [row for _, row in rows]


def _refuse(faults: list[str]) -> None:
    if faults:
        raise BadMessages("\n".join(listed(faults, 5)))


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """Each row of a JSON text and its place: values one after another, or the items of an array of rows.

    Raises ``ValueError`` where it is no JSON.
    """
    text, line, at = text.replace("\r\n", "\n").replace("\r", "\n"), 1, 0
    while (begin := _BETWEEN.match(text, at).end()) < len(text):
        line += text.count("\n", at, begin)
        try:
            value, at = _JSON.raw_decode(text, begin)
        except json.JSONDecodeError as error:
            why = f"{error.msg} at line {error.lineno}, column {error.colno}"
            likely = [what for pattern, what in _LIKELY.items() if re.compile(pattern).match(text, begin)]
            why = f"{why}; this looks like {likely[0]}" if likely else why
            raise ValueError(f"line {line}: not JSON ({why}); expected a row such as {_FORM}") from error
        except (ValueError, RecursionError) as error:
            why = _DEEP if isinstance(error, RecursionError) else error
            raise ValueError(f"line {line}: {why}") from error
        if isinstance(value, list) and value and not any(map(_speaks, value)):
            yield from ((f"line {line}, item {number}", row) for number, row in enumerate(value, 1))
        else:
            yield f"line {line}", value
        line += text.count("\n", begin, at)


def _speaks(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(("role", "from"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {short(name)} occurs twice")
        found[name] = value
    return found


# Numbers are named in errors, never used: of a longer one than Python reads, the first digits suffice; NaN is
# a missing value, as pandas writes it.
_JSON = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=lambda digits: int(digits[:4_000]), parse_constant=lambda name: None
)


def _note(info: ValidationInfo, what: str, which: str = "") -> None:
    """Keep a note for the file: what is converted, or not read."""
    info.context.setdefault(what, set()).add(which)


def _role(role: Any, info: ValidationInfo) -> Any:
    if role == "developer":
        raise ValueError("few chat templates have a developer's turn; make it a system turn")
    known = _SPEAKERS.get(str(role).lower(), str(role).lower())
    if known != role and known in ("system", "user", "assistant"):
        _note(info, "turns read:", f"{role} as {known}")
        return known
    return role


def _content(content: Any, info: ValidationInfo) -> Any:
    """The text of a turn, which some write as a list of parts."""
    if isinstance(content, list) and content:
        for part in content:
            kind = part.get("type", "text") if isinstance(part, dict) else part
            if kind not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
                raise ValueError(f"of a turn's parts only those of type text can be read, not {short(kind)}")
            for name in part.keys() - {"type", "text"}:
                _note(info, "fields not read:", brief(name, 40))
        _note(info, "parts of a turn are joined to one text")
        content = "".join(part["text"] for part in content)
    if isinstance(content, str) and re.search("[\ud800-\udfff]", content):
        raise ValueError("holds half of a surrogate pair (an emoji cut in two?), which is no character")
    return content


class _Part(BaseModel):
    """A row or a turn: what is not read is noted, or refused where it says something to a model."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _nothing_lost(cls, part: Any) -> Any:
        if not isinstance(part, dict):
            raise ValueError(f"expected a turn such as {_TURN}, got {short(part)}")
        for name, value in part.items():
            if value not in _EMPTY and (name in _LOST or (name, cls) == ("name", _Turn)):
                raise ValueError(
                    f"{name!r} is not the text of a turn and would be lost; remove it or the row"
                )
        return part

    @model_validator(mode="after")
    def _noted(self, info: ValidationInfo) -> Self:
        for name, value in self.model_extra.items():
            if name not in _WEIGHTS and value not in _EMPTY:
                _note(info, "fields not read:", brief(name, 40))
        return self

    def _learned(self, learned: bool, what: str) -> None:
        preferred = isinstance(self.model_extra.get("label"), bool)  # or not, as in rows for KTO
        for name in (*_WEIGHTS, *["label"] * preferred):
            given = self.model_extra.get(name)
            if given is not None and given != learned:
                why = "the last turn of a row is learned, with weight 1, and no other"
                raise ValueError(f"{name}={short(given)} of {what} cannot be kept: {why}")


class _Turn(_Part):
    role: Annotated[Literal["system", "user", "assistant"], BeforeValidator(_role)] = Field(
        validation_alias=AliasChoices("role", "from")
    )
    content: Annotated[str, BeforeValidator(_content)] = Field(
        validation_alias=AliasChoices("content", "value", "text")
    )


class _Row(_Part):
    messages: list[_Turn] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_any_form(cls, row: Any, info: ValidationInfo) -> Any:
        """A row with ``messages``, whichever known form it has."""
        row = {"messages": row} if isinstance(row, list) else row
        if not isinstance(row, dict):
            raise ValueError(f"expected a row such as {_FORM}, got {short(row)}")
        if row and all(isinstance(column, dict) and "0" in column for column in row.values()):
            raise ValueError(f"a table by columns, as pandas writes it; {_ROWS}")
        queries = [name for name in _QUERIES if row.get(name) not in (None, "", [])]
        answers = [name for name in _ANSWERS if row.get(name) is not None]
        turns = next((name for name in _TURNS if row.get(name) is not None), None)
        if turns:
            read, found = {turns}, row[turns]
            if isinstance(found, str):
                _note(info, "a text is read as the JSON that it holds")
                found = _held(found)
        elif len(answers) == 1 and (len(queries) == 1 or queries in _JOINED):
            read = {*queries, *answers}
            texts = [row[name] for name in queries]
            if len(texts) > 1 and (odd := [text for text in texts if not isinstance(text, str)]):
                raise ValueError(f"{' and '.join(queries)} must be texts, got {short(odd[0])}")
            query = texts[0] if len(texts) == 1 else "\n".join(texts)
            found = [*_turns("user", query), *_turns("assistant", row[answers[0]])]
        else:
            raise ValueError(f"expected a row such as {_FORM}, got {short(row)}")
        for name in ("system", "system_prompt"):
            if row.get(name) and isinstance(found, list):
                found, read = [*_turns("system", row[name]), *found], {*read, name}
        if read != {"messages"}:
            _note(info, "messages made of", " and ".join(sorted(read)))
        return {name: value for name, value in row.items() if name not in read} | {"messages": found}

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        self._learned(True, "the row")
        for number, turn in enumerate(self.messages, 1):
            turn._learned(number == len(self.messages), f"turn {number}")
        return self


def _held(text: str) -> Any:
    try:
        return _JSON.decode(text)
    except ValueError as error:
        raise ValueError(f"its turns are a text that is not JSON ({error}); use json.dumps") from error


def _turns(role: str, what: Any) -> list[Any]:
    return what if isinstance(what, list) else [{"role": role, "content": what}]


# Writing, and the pipeline


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
