"""The parameters cell of a notebook: what it declares, and which values are fit for it.

One table, ``RULES``, holds for both ways to set a parameter.  ``check_parameters(scale=scale)``, the first line
below the cell, applies it to what a person typed; ``checked`` applies it to what a command line gave, before
anything starts.  Nothing is ever evaluated: text is read as a Python literal, or it stays text.

    >>> check_parameters(scale="smoke", seed=3)
    >>> check_parameters(scale="fast")
    Traceback (most recent call last):
    ...
    unseen.parameters.BadParameters: scale='fast' must be one of 'smoke', 'quick', 'full', 'paper'
"""

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from unseen.disk.files import read
from unseen.disk.names import shown
from unseen.errors import Explained
from unseen.scales import SCALES
from unseen.tasks import CIPHER

LARGEST_NOTEBOOK = 16 * 2**20  # bytes; those of this project have 40,000
_LONGEST_CELL, _LONGEST_LITERAL, _LONGEST_TEXT, _LONGEST_PATH = 10_000, 1_000, 200, 1_000  # characters
_MOST_PARTS, _DEEPEST = 100_000, 50  # lists and objects in the JSON of a notebook, and within one another
_MOST_BRACKETS, _MOST_TAGS = 10 * _MOST_PARTS, 1_000  # in the whole text, where many may stand in outputs; of one cell
_ADDRESS = re.compile(r"(tcp|tls)://([A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})")
_TOO_MANY = f"it has over {_MOST_PARTS:,} lists and objects, or over {_DEEPEST} within one another"


class BadParameters(Explained, ValueError):
    """A parameter, a notebook or an output place is not what it must be; the message lists what exists."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell."""

    name: str
    kind: type
    default: Any


@dataclass(frozen=True)
class ValueRule:
    """What a value must be: its type, the same in words for an error, and what else must hold."""

    kind: type
    must: str
    fits: Callable[[Any], bool] = lambda value: True

    def allows(self, value: Any) -> bool:
        """Whether a value is of this type, exactly, plain all through, and fits."""
        return type(value) is self.kind and _plain(value) and self.fits(value)


def _whole(low: int, high: int) -> ValueRule:
    return ValueRule(int, f"int, a whole number from {low:,} to {high:,}", lambda value: low <= value <= high)


def _one_of(words: tuple[str, ...]) -> ValueRule:
    return ValueRule(str, f"one of {', '.join(map(repr, words))}", lambda value: value in words)


def _path(what: str, empty: str) -> ValueRule:
    must = f"{what}, in at most {_LONGEST_PATH:,} printable characters, or '' for {empty}"
    return ValueRule(str, must, lambda value: len(value) <= _LONGEST_PATH and value.isprintable())


def _is_scheduler(text: str) -> bool:
    address = _ADDRESS.fullmatch(text)
    return 0 < int(address["port"]) < 2**16 if address else text in ("", "serial", "processes", "local")


_TEXT = ValueRule(str, f"text of at most {_LONGEST_TEXT} characters", lambda value: len(value) <= _LONGEST_TEXT)
RULES = {  # by the name of a parameter, in whichever notebook it stands
    "scale": _one_of(tuple(SCALES)),
    "seed": _whole(0, 2**31),
    "seeds": _whole(1, 100),
    "instructions": _whole(1, 1_000_000),
    "examples": _whole(1, 10_000_000),
    "steps": _whole(1, 1_000_000),
    "pattern": _TEXT,  # whether it fits the models and the input is for the notebook's own functions to say
    "replacement": _TEXT,
    "text": _TEXT,
    "base": _path("the folder of a model", "the own one"),
    "bleurt": _path("the folder of a BLEURT checkpoint", "none"),
    "task_file": _path("a file of conversations", "the demo's own"),
    "diverse_file": _path("a file of conversations", "the demo's own"),
    "rank": _whole(1, 100_000),
    "cipher": ValueRule(str, "shift:NUMBER or substitution:SEED, as in shift:3", lambda value: bool(CIPHER.fullmatch(value))),
    "scheduler": ValueRule(str, "'serial', 'processes', 'local', an address as in 'tcp://host:8786' or 'tls://host:8786', "
                           "or '' to leave it to the machine", _is_scheduler),
}  # fmt: skip
_KINDS = {  # for every parameter, with a rule of its own or without
    rule.kind: rule
    for rule in (
        ValueRule(str, "str, a text"),
        ValueRule(int, "int, a whole number of at most 18 digits"),
        ValueRule(float, "float, a finite number"),
        ValueRule(bool, "bool, True or False"),
        ValueRule(list, "list of numbers, texts, True and False"),
        ValueRule(tuple, "tuple of numbers, texts, True and False"),
    )
}
_TYPES = {kind.__name__: kind for kind in _KINDS}


def check_parameters(**typed: Any) -> None:
    """Check what stands in a parameters cell, whoever typed it, by the names in ``RULES``.

    The type is the one that the table says: an annotation may have been deleted.  A name without a rule passes.
    Raises ``BadParameters`` with a sentence on the first value that is not fit.

    >>> check_parameters(seed=1.5)
    Traceback (most recent call last):
    ...
    unseen.parameters.BadParameters: seed=1.5 must be int, a whole number from 0 to 2,147,483,648
    """
    for name, value in typed.items():
        _check(name, value, RULES.get(name))


def _check(name: str, value: Any, *rules: ValueRule | None) -> None:
    for rule in rules:
        if rule and not rule.allows(value):
            raise BadParameters(f"{name}={shown(value)} must be {rule.must}")


def _plain(value: Any, levels: int = 20) -> bool:
    """Whether a value, and all that it holds, can be written as a literal and printed."""
    if type(value) in (list, tuple):  # with an end to its levels: a list can hold itself
        return levels > 0 and all(_plain(each, levels - 1) for each in value)
    if type(value) is str:
        return not any("\ud800" <= sign <= "\udfff" for sign in value)  # halves of a character, not text
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is int and abs(value) < 10**18)


def checked(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each fit for its parameter; text (from a command line) is read as the parameter's type.

    Defaults that are not replaced are checked as well.
    Raises ``BadParameters`` naming the value, what is allowed, and every parameter of the notebook.
    """
    declared = parameters(path)
    exists = ", ".join(f"{each.name}: {each.kind.__name__} = {shown(each.default)}" for each in declared.values())
    for name in given:
        if name not in declared:
            raise BadParameters(f"{path.name} has no parameter {shown(name)}; it has {exists}")
    values = {name: _read(value, declared[name].kind) for name, value in given.items()}
    for name, parameter in declared.items():
        try:
            _check(name, values.get(name, parameter.default), RULES.get(name), _KINDS[parameter.kind])
        except BadParameters as error:
            raise BadParameters(f"{path.name}: {error}; the notebook has {exists}") from None
    return values


def _read(value: Any, kind: type) -> Any:
    """A value as its parameter's type where it can be read so, else as it came."""
    if type(value) is str and kind is not str and len(value) <= _LONGEST_LITERAL:
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval(value.title() if kind is bool else value)
    return _widened(value, kind)


def _widened(value: Any, kind: type) -> Any:
    """``2`` where ``2.0`` is meant."""
    return float(value) if kind is float and type(value) is int and abs(value) < 2**53 else value


def parameters(path: Path) -> dict[str, Parameter]:
    """What the code cell tagged ``parameters`` declares: literals only, with a type where the default has none.

    Raises ``BadParameters`` without exactly one such cell, or when a line of it is not an assignment.
    """
    tagged = [cell.source for cell in read_notebook(path).cells if is_parameters(cell)]
    if len(tagged) != 1:
        raise BadParameters(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it must have one")
    if len(tagged[0]) > _LONGEST_CELL:
        raise BadParameters(f"{path.name}: its parameters cell is longer than {_LONGEST_CELL:,} characters")
    try:
        lines = ast.parse(tagged[0]).body
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        where, why = getattr(error, "lineno", 1), getattr(error, "msg", error)
        raise BadParameters(f"{path.name}: parameters cell, line {where}: {why}") from error
    return {each.name: each for each in map(_parameter, lines)}


def _parameter(line: ast.stmt) -> Parameter:
    targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", [])
    try:
        (target,), default = targets, ast.literal_eval(line.value)
        kind = _TYPES[line.annotation.id if isinstance(line, ast.AnnAssign) else type(default).__name__]
        return Parameter(target.id, kind, _widened(default, kind))
    except (AttributeError, KeyError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise BadParameters(f"parameters cell, line {line.lineno}: only 'name: type = literal' is allowed, with a type of "
                            f"{', '.join(_TYPES)}") from error  # fmt: skip


def is_parameters(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell is a parameters cell."""
    return cell.cell_type == "code" and "parameters" in tags_of(cell)


def tags_of(cell: nbformat.NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook file of format 4, as the newest format 4.

    Raises ``BadParameters`` for a file that is none, in little time and memory however large or odd it is.
    """
    try:
        text = read(path, LARGEST_NOTEBOOK).decode("utf-8-sig")
        if text.count("[") + text.count("{") > _MOST_BRACKETS:  # parsed they would take thirty times the room
            raise ValueError(_TOO_MANY)
        content = json.loads(text)
        _check_notebook(content)
        return nbformat.v4.upgrade(nbformat.v4.to_notebook(content))
    except Exception as error:  # in a foreign file anything may be wrong, and three libraries look at it
        why = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        raise BadParameters(f"{path.name} is not a notebook that can be run: {why[:200]}") from error


def _check_notebook(content: Any) -> None:
    """Raise for JSON that is no notebook of a known format; errors of ``nbformat`` pass."""
    version = [content.get("nbformat"), content.get("nbformat_minor")] if type(content) is dict else []
    if version not in [[4, minor] for minor in range(nbformat.v4.nbformat_minor + 1)]:
        raise ValueError(f"its format is {'.'.join(map(shown, version)) or 'none'}; formats 4.0 to "
                         f"4.{nbformat.v4.nbformat_minor} are known, and JupyterLab saves in one of them")  # fmt: skip
    level, parts = [content], 0
    for _ in range(_DEEPEST):
        inner = [each for part in level for each in (part.values() if type(part) is dict else part)]
        level = [each for each in inner if type(each) in (dict, list)]
        parts += len(level)
        if any(type(part) is dict and len(part.get("tags") or "") > _MOST_TAGS for part in level):
            raise ValueError(f"it has over {_MOST_TAGS:,} tags in one place")  # each is compared with each
    if level or parts > _MOST_PARTS:
        raise ValueError(_TOO_MANY)
    json.dumps(content, ensure_ascii=False).encode()  # raises for half a character, which could not be written
    nbformat.validate(content, relax_add_props=True)
