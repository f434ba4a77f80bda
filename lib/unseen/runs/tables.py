"""A sweep as a table: each row of a CSV file is one run, each column names a field of its spec.

A column is a field's dotted name (``model.width``), or its own name where no other part has it
(``width``); ``examples`` is ``task.examples``, and ``seed`` draws rules, examples and initial weights, as
``RunSpec.with_seed`` does.  What no column names is as in the base run.  Cells are never computed:
``=1+1`` is no integer.  Commas, semicolons, tabs or bars divide cells, whichever the header has, or what a
line ``sep=;`` above it says, which no row number counts, as no spreadsheet shows it.

A sweep has a name and a folder ``runs/sweeps/<name>/``: which runs it is made of, and what became of each.
The runs themselves lie in the store like all others, so two sweeps share what they have in common.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "sweep.csv"
...     _ = path.write_text("instructions,width,seed\\n100,64,0\\n1_000,96,1\\n")
...     [(run.task.instructions, run.model.width, run.task.rule_seed) for run in read_table(path, RunSpec())]
[(100, 64, 0), (1000, 96, 1)]
>>> run_of({"width": "63", "steps": "100"}, RunSpec())
Traceback (most recent call last):
...
unseen.runs.tables.BadTable: column 'width': ModelSpec.width=63: must be a multiple of 2 x heads=4
"""

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as short
from typing import Annotated, NamedTuple, get_args, get_origin

import pandas as pd
from pydantic import AllowInfNan, BeforeValidator, TypeAdapter, ValidationError

from unseen.fields import listed
from unseen.files import BrokenRun, brief, read_json, read_text, resolved, runs_folder, write
from unseen.runs.inventory import entry
from unseen.runs.store import SpecChanged, Store
from unseen.runs.sweep import about, fill, manifests, rows
from unseen.runs.workers import Executor
from unseen.specs import RunSpec, differences

LARGEST, LARGEST_SWEEP = 16 * 2**20, 2**28  # bytes of a table, of a ``sweep.json``
MOST_ROWS, SHOWN = 200_000, 20  # rows below the header; problems that a message lists
_MEANT = {re.compile(pattern, re.ASCII | re.IGNORECASE): what for pattern, what in {
    r"[=@].*": "a formula; paste its value",
    r"nan|n/?a|none|null|<na>|-": "a missing value; each row needs one",
    r"[+-]?[1-9]\d{0,2}([.,'’ \u00a0\u2009\u202f]\d{3})+([.,]\d+)?": "separators of thousands? write 1000",
    r"[+-]?\d*,\d+(e[+-]?\d+)?": "a decimal comma? write a point",
    r"\d+[-/.]\d+[-/.]\d+|\d+[-. ]+[a-z]{3,}.*|[a-z]{3}[-. ]+\d+": "a date, as spreadsheets make of numbers?",
    r"": "an empty cell; a row without this value? an index that pandas saved?",
}.items()}  # fmt: skip


def _whole(text: str) -> str:
    """A whole number, of which spreadsheets may have made ``1E+03``; ``1.000`` may be one or a thousand."""
    text = text.strip()
    if re.fullmatch(r"[+-]?\d{1,3}\.\d{3}", text):
        raise ValueError(text)
    number = float(text) if re.fullmatch(r"[+-]?\d{1,20}(\.\d*)?(e\+?\d\d?)?", text, re.A | re.I) else 0.5
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text


_FORMS = {
    int: (TypeAdapter(Annotated[int, BeforeValidator(_whole)]), "an integer such as 1000"),
    float: (TypeAdapter(Annotated[float, AllowInfNan(False)]), "a finite number such as 0.015"),
    str: (TypeAdapter(str), "text"),
}
_PART = r"(?!(?i:con|prn|aux|nul|com\d|lpt\d) *(?:[./]|$))(?![-.])[\w .{}-]{1,60}(?<![ .])"
_NAME = re.compile(f"{_PART}(/{_PART})" + "{0,7}")


class BadTable(ValueError):
    """A table, or a value by column name, is not what it must be; each line of the message is one problem."""


class BadName(ValueError):
    """A name is not fit for a folder; the message says what is allowed."""


class Column(NamedTuple):
    """What a column name stands for: the (part, field) pairs that take a value of this kind."""

    kind: type
    sets: tuple[tuple[str, str], ...]


def _columns() -> dict[str, Column]:
    found: dict[str, list[Column]] = {}
    for part in fields(RunSpec):
        for field in fields(type(part.default)):
            kind = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
            column = Column(kind, ((part.name, field.name),))
            for name in (f"{part.name}.{field.name}", field.name):
                found.setdefault(name, []).append(column)
    unique = {name: columns[0] for name, columns in found.items() if len(columns) == 1}
    seed = Column(int, (("task", "rule_seed"), ("task", "example_seed"), ("model", "seed")))
    return {**unique, "examples": unique["task.examples"], "seed": seed}


COLUMNS = _columns()
_KNOWN = ", ".join(name for name, column in COLUMNS.items() if COLUMNS.get(name.split(".")[-1]) != column
                   or "." not in name)  # fmt: skip


def run_of(values: Mapping[str, str], base: RunSpec) -> RunSpec:
    """The base run with some values changed, all at once, each given as text by its column name.

    Raises ``BadTable`` with all that is wrong: unknown names and two names of one field; else values that are
    not of the field's type; else the spec's own refusal.
    """
    faults, parts = _name_faults(list(values)), {}
    for name, text in {} if faults else values.items():
        form, what = _FORMS[COLUMNS[name].kind]
        try:
            value = form.validate_strings(text)
        except ValidationError:
            faults.append(f"column {name!r}: {short(text)} is not {what}{_meant(text)}")
            continue
        for part, field in COLUMNS[name].sets:
            parts.setdefault(part, {})[field] = value
    if faults:
        raise BadTable("\n".join(faults))
    try:
        return base.but(**{part: getattr(base, part).but(**changes) for part, changes in parts.items()})
    except ValueError as error:
        said = set(re.findall(r"\w+", f"{error}"))
        at_fault = [name for name in values if said & {field for _, field in COLUMNS[name].sets}]
        raise BadTable(f"column {', '.join(map(repr, at_fault or values))}: {brief(error)}") from error


def read_table(path: Path, base: RunSpec) -> list[RunSpec]:
    """The runs of a table, in its order; see the module's docstring.

    Raises ``BadTable`` once all rows are checked (under a bad header none), with file, row (the header is 1)
    and column of the first ``SHOWN`` problems, and for more than ``LARGEST`` bytes or ``MOST_ROWS`` rows.
    """
    header, *lines = _cells(path) or [[]]
    runs, faults = {}, _name_faults(names := [name.strip() for name in header])
    if lines and not names:
        faults = ["empty, above the column names; delete it"]
    faults = [f"{path}, row 1: {fault}" for fault in faults]
    for row, cells in enumerate([] if faults else lines, 2):
        try:
            if len(cells) != len(names):
                why = "a comma in a number divides it" if cells else "delete the empty row"
                count = f"{len(cells):,} cell(s) for {len(names)} column(s): {', '.join(names)}"
                raise BadTable(count + f" ({why})" * (not 0 < len(cells) < len(names)))
            run = run_of(dict(zip(names, cells, strict=True)), base)
            if runs.setdefault(run, row) != row:
                raise BadTable(f"the same run ({run.digest()}) as row {runs[run]}")
        except BadTable as error:
            faults += [f"{path}, row {row}: {fault}" for fault in f"{error}".split("\n")]
    if not runs:
        faults = faults or [f"{path}: empty, or a header without rows"]
    if faults:
        raise BadTable("\n".join(listed(faults, SHOWN)))
    return list(runs)


def _cells(path: Path) -> list[list[str]]:
    """The cells of a CSV file by row; in UTF-8, with any line ends, without what is empty behind the rest."""
    try:
        text = read_text(path, LARGEST)
        if text.startswith(("[", "{")):
            raise ValueError("this is JSON, not a table; pandas: read_json(...).to_csv(..., index=False)")
        said = re.match('"?sep=(.)"?(\r\n|\r|\n)', text, re.IGNORECASE)
        text = text[said.end() if said else 0 :]
        here = [said[1]] if said else [sign for sign in ",;\t|" if sign in re.match(r"[^\r\n]*", text)[0]]
        sign = here[0] if len(here) == 1 else ","
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=sign)
        rows = list(reader)
    except csv.Error as error:
        raise BadTable(f"{path}, row {reader.line_num}: {error}") from error
    except (OSError, ValueError) as error:  # no file, no name of a file, too large, not in UTF-8
        raise BadTable(f"{path}: {brief(getattr(error, 'strerror', None) or error)}") from error
    if len(rows) > MOST_ROWS + 1:
        raise BadTable(f"{path}: more than {MOST_ROWS:,} rows")
    while rows and not "".join(rows[-1]).strip():
        del rows[-1]
    named = max((n for n, name in enumerate(rows[0] if rows else [], 1) if name.strip()), default=0)
    return rows if any("".join(row[named:]).strip() for row in rows) else [row[:named] for row in rows]


def _meant(text: str) -> str:
    """What a spreadsheet most likely made of a value, as the end of a sentence."""
    what = next((what for pattern, what in _MEANT.items() if pattern.fullmatch(text.strip()[:100])), "")
    return f": {what}" if what else ""


def _name_faults(names: Sequence[str]) -> list[str]:
    """What is wrong with column names: unknown ones, and two that set one field."""
    faults, setter = [], {}
    for name in names:
        if name not in COLUMNS:
            near = get_close_matches(name[:60].lower(), COLUMNS, 1)
            hint = _meant(name) or "".join(f"; did you mean {close!r}?" for close in near)
            hint = hint or "; columns are settings of a run, not notes or names of it"
            faults.append(f"column {short(name)} is unknown{hint} (known, with commas between: {_KNOWN})")
        elif twice := [pair for pair in COLUMNS[name].sets if pair in setter]:
            faults.append(f"columns {setter[twice[0]]!r} and {name!r} both set {'.'.join(twice[0])}")
        else:
            setter |= dict.fromkeys(COLUMNS[name].sets, name)
    return faults


def folder_in(root: Path, name: str, what: str) -> Path:
    """The folder of a name strictly inside ``root``, links resolved; ``what`` it names is for the error.

    Raises ``BadName`` for a name that leads out of ``root``, by a link too, or to its ``store``, where
    the runs lie, and for one that some file system or shell would trip over.

    >>> folder_in(Path("/tmp"), "smoke/première série", "output folder").name
    'première série'
    >>> folder_in(Path("/tmp"), "../x", "output folder")
    Traceback (most recent call last):
    ...
    unseen.runs.tables.BadName: output folder '../x' must be one to eight parts with / between, ...
    """
    name = unicodedata.normalize("NFC", name)  # some systems write letters and accents apart
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{what} {short(name)} must be one to eight parts with / between, each of 1 to 60 letters, "
            "digits or signs out of ' _-.{}', not starting with - or ., not ending with a space or ., "
            "and not a name that Windows reserves"
        )
    try:
        inside = resolved(root / name).relative_to(root).parts
    except (OSError, ValueError):  # links in a circle, or to another place
        inside = ()
    if not inside or inside[0].casefold() == "store":
        raise BadName(f"{what} {short(name)} must lie in {root}, not in its store; choose another name")
    return root.joinpath(*inside)


def name_of(table: Path) -> str:
    """The name of a sweep by default: that of its table, made to fit where it does not.

    >>> name_of(Path("widths (2).csv")), name_of(Path("u\u0308ber alles.csv"))
    ('widths 2 c44b', 'über alles')
    """
    stem = unicodedata.normalize("NFC", table.stem)
    if re.fullmatch(_PART, stem) and stem.casefold() != "store":
        return stem
    fit = re.sub(r"[^\w .{}-]", "", stem).strip(" .-")[:50] or "table"
    return f"{fit} {hashlib.sha256(os.fsencode(stem)).hexdigest()[:4]}"  # another file gets another name


def sweep_folder(name: str) -> Path:
    """The folder of a named sweep; raises ``BadName``."""
    return folder_in(runs_folder() / "sweeps", name, "sweep name")


def remember(name: str, specs: list[RunSpec]) -> Path:
    """Write down which runs a sweep is made of; rows may be added to it later, and none changed.

    Raises ``SpecChanged`` showing row and field where the sweep was begun with other runs; writes nothing.
    """
    path = sweep_folder(name) / "sweep.json"
    try:
        before = read_json(path, LARGEST_SWEEP) if path.is_file() else [spec.to_dict() for spec in specs]
        if not before or not isinstance(before, list):
            raise ValueError("no list of runs")
        odd = _changed([RunSpec.from_dict(each) for each in before], specs)
    except (OSError, ValueError) as error:
        why = f"{path} does not list a sweep's runs ({brief(error)}); choose another name"
        raise BrokenRun(why) from error
    if odd:
        changed = f"sweep {name!r} was begun with another table: {'; '.join(odd)}"
        raise SpecChanged(f"{changed}. Choose another --name, or put the rows back; rows may be added")
    write(path, "[\n" + ",\n".join(json.dumps(spec.to_dict()) for spec in specs) + "\n]\n")
    return path.parent


def _changed(before: list[RunSpec], now: list[RunSpec]) -> list[str]:
    """The rows that a table no longer has, with the fields in which the run that replaced each differs."""
    gone, said = set(before) - set(now), []
    for row, spec in enumerate(before, start=2):  # as a spreadsheet counts, the header being row 1
        if spec in gone:
            instead = now[row - 2] if row - 2 < len(now) else None
            new = instead is not None and instead not in before
            odd = differences(spec.to_dict(), instead.to_dict()) if new else ["gone"]
            said.append(f"row {row}: {', '.join(odd)}")
    return listed(said, SHOWN)


def run_sweep(name: str, specs: list[RunSpec], store: Store, executor: Executor | None) -> pd.DataFrame:
    """Train what is missing of a sweep and write ``results.csv`` into its folder, even when interrupted."""
    folder, failed = remember(name, specs), {}
    try:
        _, failed = fill(specs, store, executor)
    finally:
        table = results(specs, store, failed)
        write(folder / "results.csv", table.to_csv(index=False, lineterminator="\n"))
    return table


def results(specs: list[RunSpec], store: Store, failed: Mapping[str, str]) -> pd.DataFrame:
    """The rows of ``sweep.frame`` with state and reason; an unfinished run has one row, without scores.

    ``failed`` gives reasons by digest, as ``fill`` returns them.
    """
    known, found = manifests(specs, store), []
    for spec in specs:
        if spec in known:
            found += [{**row, "state": "done", "reason": ""} for row in rows(known[spec])]
            continue
        reason = failed.get(spec.digest(), "")
        state = "failed" if reason else "waiting"
        if store.folder(spec).is_dir():
            kept = entry(store, store.folder(spec))
            state, reason = kept.state, reason or kept.reason
        found.append({**about(spec), "run": spec.digest(), "state": state, "reason": reason})
    return pd.DataFrame(found)
