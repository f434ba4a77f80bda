"""A sweep as a table: each row of a CSV file is one run, each column names a field of its spec.

A column is a field's dotted name (``model.width``), or its own name where no other part has it
(``width``); ``examples`` is ``task.examples``, and ``seed`` draws rules, examples and initial weights, as
``RunSpec.with_seed`` does.  What no column names is as in the base run.  A cell is compared with a form
and never computed: ``=1+1`` is no integer.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "sweep.csv"
    ...     _ = path.write_text("instructions,width,seed\\n100,64,0\\n1_000,96,1\\n")
    ...     [(run.task.instructions, run.model.width, run.task.rule_seed) for run in read_table(path, RunSpec())]
    [(100, 64, 0), (1000, 96, 1)]
    >>> run_of({"width": "63", "steps": "100"}, RunSpec())
    Traceback (most recent call last):
    ...
    unseen.running.tables.BadTable: column 'width': ModelSpec.width=63: must be a multiple of 2 x heads=4
"""

import codecs
import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as short
from typing import Any

from unseen.disk.files import TooLarge, read
from unseen.specs import RunSpec

LARGEST, LONGEST_ROW = 16 * 2**20, 10_000  # bytes of a table and of a row
MOST_ROWS, SHOWN = 200_000, 20  # rows below the header; problems told in full
_FORMS = {  # no digits but ASCII's; integers of any length would be slow to read
    int: (re.compile("[+-]?[0-9](_?[0-9]){0,17}"), "an integer such as 1000, of at most 18 digits"),
    float: (re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.I), "a finite number such as 0.015"),
}


class BadTable(ValueError):
    """A table, or a value by column name, is not what it must be; each line of the message is one problem."""


@dataclass(frozen=True)
class Column:
    """What a column name stands for: ``sets`` are (part, field) pairs that all take the value, of type ``kind``."""

    kind: type
    sets: tuple[tuple[str, str], ...]


def _columns() -> dict[str, Column]:
    dotted = {f"{part.name}.{field.name}": Column(field.type, ((part.name, field.name),))
              for part in fields(RunSpec) for field in fields(type(part.default))}  # fmt: skip
    names = [name.partition(".")[2] for name in dotted]
    unique = {name: column for name, column in zip(names, dotted.values(), strict=True) if names.count(name) == 1}
    seed = Column(int, (("task", "rule_seed"), ("task", "example_seed"), ("model", "seed")))
    return {**dotted, **unique, "examples": dotted["task.examples"], "seed": seed}


COLUMNS = _columns()
_KNOWN = ", ".join({column.sets: name for name, column in COLUMNS.items()}.values())  # each by its shortest name


def run_of(values: Mapping[str, str], base: RunSpec) -> RunSpec:
    """The base run with some values changed, all at once, each given as text by its column name.

    Raises ``BadTable`` with all that is wrong: unknown names and two names of one field; where there are none,
    values that are not of the field's type; where there are none either, the spec's own refusal.
    """
    _check_names(list(values))
    return _run(values, base)


def read_table(path: Path, base: RunSpec) -> list[RunSpec]:
    """The runs of a table, in its order; see the module's docstring.

    UTF-8 with or without its mark, any line ends, quoted cells and empty lines at the end are taken; a cell ends on its
    own row.  Raises ``BadTable`` once all rows are checked (under a bad header none), with file, row (the header is 1)
    and column of the first ``SHOWN`` problems.  More than ``LARGEST`` bytes or ``MOST_ROWS`` rows are refused.
    """
    names, runs, told, count = [], {}, [], 0
    for row, line in enumerate(_lines(path), 1):
        try:
            if row == 1:
                _check_names(names := [name.strip() for name in _cells(line)])
            else:
                run = _run(_named(names, _cells(line)), base, told=count < SHOWN)
                if runs.setdefault(run, row) != row:
                    raise BadTable(f"the same run ({run.digest()}) as row {runs[run]}")
        except BadTable as error:
            faults = str(error).split("\n")
            told += [f"{path}, row {row}: {fault}" for fault in faults[: SHOWN - len(told)]]
            count += len(faults)
            if row == 1:
                break
    if count or not runs:
        more = [f"and {count - SHOWN:,} more"] * (count > SHOWN)
        raise BadTable("\n".join(told + more) or f"{path}: empty, or a header without rows")
    return list(runs)


def _lines(path: Path) -> list[bytes]:
    try:
        data = read(path, LARGEST)
    except TooLarge as error:
        raise BadTable(f"{path}: more than {LARGEST:,} bytes") from error
    except FileNotFoundError as error:
        raise BadTable(f"{path}: {'not a file' if path.exists() else 'no such file'}") from error
    except OSError as error:
        raise BadTable(f"{path}: {error.strerror}") from error
    data = data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    if data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n") > MOST_ROWS:
        raise BadTable(f"{path}: more than {MOST_ROWS:,} rows")
    return data.splitlines()


def _cells(line: bytes) -> list[str]:
    """The cells of one row; each row is read on its own, so a quote left open spoils no other."""
    if len(line) > LONGEST_ROW:
        raise BadTable(f"longer than {LONGEST_ROW:,} bytes")
    try:
        return next(csv.reader([line.decode("utf-8")], strict=True)) or [""]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"not CSV in UTF-8 ({error}); a quoted cell must end on its own row") from error


def _named(names: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(names):
        missing = [f", none for column {name!r}" for name in names[len(cells) :]][:1]
        raise BadTable(f"{len(cells):,} cell(s) for {len(names)} column(s){''.join(missing)}")
    return dict(zip(names, cells, strict=True))


def _check_names(names: Sequence[str]) -> None:
    faults, setter = [], {}
    if len(names) > len(COLUMNS):  # they cannot all be good, and a suggestion for each takes long
        raise BadTable(f"{len(names):,} columns, but there are only {len(COLUMNS)} names: {_KNOWN}")
    for place, name in enumerate(names, 1):
        if name not in COLUMNS:
            hint = "".join(f"; did you mean {close!r}?" for close in get_close_matches(name[:60], COLUMNS, 1))
            what = f"{short(name)} is unknown{hint}" if name else f"{place} has no name"
            faults.append(f"column {what} (known, with commas between: {_KNOWN})")
        elif twice := [pair for pair in COLUMNS[name].sets if pair in setter]:
            faults.append(f"columns {setter[twice[0]]!r} and {name!r} both set {'.'.join(twice[0])}")
        else:
            setter |= dict.fromkeys(COLUMNS[name].sets, name)
    if faults:
        raise BadTable("\n".join(faults))


def _run(values: Mapping[str, str], base: RunSpec, told: bool = True) -> RunSpec:
    """A run from values of known names; which columns clash is found out where it will be ``told``."""
    changes, faults = {}, []
    for name, text in values.items():
        try:
            changes[name] = _value(COLUMNS[name].kind, text)
        except ValueError as error:
            faults.append(f"column {name!r}: {short(text)} is not {error}")
    if faults:
        raise BadTable("\n".join(faults))
    try:
        return _built(base, changes)
    except ValueError as error:
        names = _involved(base, changes, str(error)) if told else changes
        raise BadTable(f"column {', '.join(map(repr, names))}: {error}") from error


def _value(kind: type, text: str) -> int | float | str:
    if kind is str:
        return text
    form, what = _FORMS[kind]
    value = kind(text.strip()) if form.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError(what)
    return value


def _built(base: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    """Parts are built with all their changes, the run with all its parts: nothing in between is checked."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        for part, field in COLUMNS[name].sets:
            parts.setdefault(part, {})[field] = value
    return base.but(**{part: getattr(base, part).but(**new) for part, new in parts.items()})


def _involved(base: RunSpec, changes: Mapping[str, Any], refusal: str) -> list[str]:
    """The columns without which the spec would not be refused in these words."""
    names = []
    for name in changes:
        try:
            _built(base, {other: value for other, value in changes.items() if other != name})
        except ValueError as error:
            if str(error) == refusal:
                continue
        names.append(name)
    return names or list(changes)
