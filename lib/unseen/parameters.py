"""The parameters cell of a notebook: what it declares, and which values are allowed.

One table, ``KNOWN``, holds for both ways to set a parameter: ``check_parameters(scale=scale)`` below the cell
checks what a person typed there; ``checked`` checks what a command line gives, before it starts.
Nothing is evaluated.

>>> check_parameters(scale="smoke", seed=3)
>>> check_parameters(scale="fast", seed=1.5)
Traceback (most recent call last):
...
unseen.parameters.BadParameters: scale='fast' must be one of 'show', 'smoke', 'quick', 'full', 'paper'
seed=1.5 must be an integer from 0 to 2,147,483,648
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from unseen.errors import Explained
from unseen.fields import short
from unseen.files import BadPath, brief, read
from unseen.lm.load import NAMED, place_of
from unseen.runs.cluster import SCHEDULERS, known_scheduler
from unseen.scales import SCALES
from unseen.worlds.strings import CIPHER

VALUES, MARKER = "injected-parameters", "success-marker"  # tags of the cells that a headless run adds
LARGEST_NOTEBOOK = 8 * 2**20  # bytes; those of this project have 40,000, executed ones up to a million


class BadParameters(Explained, ValueError):
    """A parameter or a notebook is not what it must be; each line of the message is one problem."""


class Parameter(NamedTuple):
    """What a parameters cell declares for a name; ``kind`` is one of ``KINDS``."""

    kind: str
    default: Any


def _type(base: Any, must_be: str, *checks: Any, **limits: Any) -> Any:
    """A type with limits and checks for pydantic, described for an error message."""
    return Annotated[base, Field(description=must_be, **limits), *checks]


def _integer(low: int, high: int) -> Any:
    return _type(int, f"an integer from {low:,} to {high:,}", ge=low, le=high)


_TEXT = _type(str, "text of at most 200 characters", max_length=200)
_A_PATH = "a path of at most 1,000 printable characters, or ''"
_PATH = _type(str, _A_PATH, max_length=1_000, pattern=r"^\P{C}*$")
KNOWN = {  # by the name of a parameter, in whichever notebook it stands
    "scale": _type(Literal[tuple(SCALES)], f"one of {', '.join(map(repr, SCALES))}"),
    "seed": _integer(0, 2**31),
    "seeds": _integer(1, 100),
    "instructions": _integer(1, 1_000_000),
    "examples": _integer(1, 10_000_000),
    "steps": _integer(1, 1_000_000),
    "pattern": _TEXT,  # whether it fits a model's alphabet is for the notebook's own functions to check
    "replacement": _TEXT,
    "text": _TEXT,
    "base": _PATH,
    "bleurt": _PATH,
    "task_file": _PATH,
    "diverse_file": _PATH,
    "leave_out_long": _type(bool, "True or False"),
    "rank": _integer(1, 100_000),
    "cipher": _type(str, "shift:NUMBER or substitution:SEED, as in shift:3", pattern=f"^({CIPHER.pattern})$"),
    "scheduler": _type(str, SCHEDULERS, AfterValidator(known_scheduler)),
}
KINDS = {  # for parameters of other names
    "str": _type(str, "str"),
    "int": _type(int, "int of at most 18 digits", gt=-(10**18), lt=10**18),
    "float": _type(float, "float, a finite number", allow_inf_nan=False),
    "bool": _type(bool, "bool, True or False"),
}


def check_asserts() -> None:
    """Raise ``BadParameters`` where Python leaves assertions out: a check that cannot fail proves nothing."""
    if not __debug__:
        raise BadParameters(
            "Python runs with -O or PYTHONOPTIMIZE, which leaves out the assertions that check the results: "
            "unset PYTHONOPTIMIZE and start without -O"
        )


def check_parameters(**typed: Any) -> None:
    """Check the values of a parameters cell by the names in ``KNOWN``; other names pass.

    Raises ``BadParameters`` with a line for each value that is not allowed, and as ``check_asserts``.
    """
    check_asserts()
    faults: list[str] = []
    for name, value in typed.items():
        _value(name, value, KNOWN.get(name, Any), faults)
    if faults:
        raise BadParameters("\n".join(faults))


def checked(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each of its parameter's type; text, as from a command line, is read as that type.

    Paths become absolute, so that they mean the same in a kernel, whose folder is the notebook's.
    Defaults that are not replaced are checked as well.  Raises ``BadParameters`` with a line for each
    problem, and one that lists the parameters of the notebook.
    """
    check_asserts()
    declared, values = parameters(path), {}
    faults = [f"{path.name} has no parameter {short(name)}" for name in given if name not in declared]
    for name, (kind, default) in declared.items():
        rule = KNOWN.get(name, KINDS[kind])
        if name not in given:
            _value(name, default, rule, faults)
            continue
        values[name] = _value(name, given[name], rule, faults, strict=False)
        if values[name] and rule is _PATH and values[name] not in NAMED:
            try:
                values[name] = _value(name, str(place_of(values[name], name=name)), rule, faults)
            except BadPath as error:
                faults.append(str(error))
    if faults:
        exists = ", ".join(f"{name}: {kind} = {short(default)}" for name, (kind, default) in declared.items())
        raise BadParameters("\n".join([*faults, f"the parameters of {path.name}: {exists}"]))
    return values


def _value(name: str, value: Any, rule: Any, faults: list[str], strict: bool = True) -> Any:
    """The value as the rule's type, or a line in ``faults``; strictly, ``'3'`` is no integer."""
    try:
        return TypeAdapter(rule).validate_python(value, strict=strict)
    except ValidationError:
        faults.append(f"{name}={short(value)} must be {get_args(rule)[1].description}")
        return None


def parameters(path: Path) -> dict[str, Parameter]:
    """What the code cell tagged ``parameters`` declares, by name: literals, with a type or without.

    Raises ``BadParameters`` without exactly one such cell, or when a line of it is not an assignment.
    """
    tagged = [cell.source for cell in read_notebook(path).cells if "parameters" in tags_of(cell)]
    if len(tagged) != 1:
        raise BadParameters(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it must have one")
    try:
        return dict(map(_declared, ast.parse(tagged[0]).body))
    except (AttributeError, SyntaxError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise BadParameters(
            f"{path.name}: the parameters cell holds lines of 'name: type = literal' only, with a type of "
            f"{', '.join(KINDS)} ({error})"
        ) from error


def _declared(line: ast.stmt) -> tuple[str, Parameter]:
    annotated = isinstance(line, ast.AnnAssign)
    (target,) = [line.target] if annotated else line.targets
    default = ast.literal_eval(line.value)
    kind = line.annotation.id if annotated else type(default).__name__
    if kind not in KINDS:
        raise TypeError(f"line {line.lineno}: type {kind}")
    return target.id, Parameter(kind, default)


def tags_of(cell: Any) -> set[str]:
    """The tags of a code cell; none for prose."""
    return set(cell.metadata.get("tags", [])) if cell.cell_type == "code" else set()


def read_notebook(path: Path) -> Any:
    """A notebook file as the newest format 4; raises ``BadParameters`` for a file that is no notebook."""
    import nbformat  # takes two seconds, which a kernel that only checks its parameters can save

    try:
        book = nbformat.reads(read(path, LARGEST_NOTEBOOK).decode("utf-8-sig"), as_version=4)
        nbformat.validate(book)
        return book
    except Exception as error:  # anything may be wrong in a foreign file, and three libraries look at it
        raise BadParameters(f"{path.name} is not a notebook that can be run: {brief(error, 200)}") from error
