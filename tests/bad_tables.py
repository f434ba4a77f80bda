"""Good and bad sweep tables for hypothesis, and what must hold of each: for ``test_tables.py`` and for longer hunts.

A ``Table`` is texts with a header; ``Form`` is the way it is written down.  Each ``check_...`` writes one file into
``folder``, reads it, and fails with an ``AssertionError`` or with whatever ``read_table`` should not have raised.
"""

import csv
import io
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from hypothesis import strategies as st

from strategies import tasks
from unseen.runs.tables import COLUMNS, SHOWN, BadTable, read_table
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec

DOTTED = [f"{part.name}.{field.name}" for part in fields(RunSpec) for field in fields(type(part.default))]
SHORT = {COLUMNS[name].sets: name for name in COLUMNS if "." not in name}

BAD = {  # never good, whatever the field and the rest of the row
    int: ["", " ", "x", "1.0", "1e3", "True", "None", "nan", "inf", "-1", "--1", "+", "0x10", "1__0", "_1", "1_", "1 000",
          "1,000", "1;2", "10%", "=1+1", "@SUM(A1)", "__import__('os').abort()", "{1}", "$(id)", "\0", "1\0", '"', "１", "٣",
          "½", "\ufeff1", "\u202e1", "9" * 19, "9" * 5_000, "1" + "_0" * 99],
    float: ["", " ", "x", "nan", "NaN", "inf", "-inf", "infinity", "1e400", "1000", "-1", "100.5", "0,5", "0.5.1", ".", "e5", "5e",
            "1e", "1_0", "True", "0x1p-3", "=0.1*2", "__import__('os').abort()", "\0", "0.1\0", "٠.٥", "0.1f", "9" * 5_000],
    str: ["", " ", "modern ", "aa", "a b", "=1+1", "nan.", "a,b", '"a"', "→", "|", "a\0", "\ufeffab", "ab" * 2_000],
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """How a table is written down; none of it changes what the table means."""

    mark: bytes = b""
    end: str = "\n"
    quoting: int = csv.QUOTE_MINIMAL
    blank: int = 0  # empty lines behind the last row
    closed: bool = True  # whether the last row has a line end
    space: str = ""  # around numbers and names


@dataclass(frozen=True)
class Table:
    """Texts by row and column, and the runs that they stand for on top of ``base``."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    runs: tuple[RunSpec, ...]
    base: RunSpec

    def encoded(self, form: Form) -> bytes:
        """The table in a form."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=form.quoting, lineterminator=form.end)
        writer.writerow([f"{form.space}{name}{form.space}" for name in self.names])
        for row in self.rows:
            writer.writerow([self._spaced(*cell, form) for cell in zip(self.names, row, strict=True)])
        body = text.getvalue() if form.closed else text.getvalue().removesuffix(form.end)
        return form.mark + (body + form.end * form.blank).encode()

    def with_cell(self, row: int, column: int, text: str) -> "Table":
        """The same table with another text in one cell."""
        rows = [list(cells) for cells in self.rows]
        rows[row][column] = text
        return replace(self, rows=tuple(map(tuple, rows)))

    def _spaced(self, name: str, text: str, form: Form) -> str:
        return text if COLUMNS[name].kind is str else f"{form.space}{text}{form.space}"


# Strategies


def forms() -> st.SearchStrategy[Form]:
    """All the ways to write a table that mean the same."""
    return st.builds(
        Form,
        mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
        end=st.sampled_from(["\n", "\r\n", "\r"]),
        quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        blank=st.integers(0, 3),
        closed=st.booleans(),
        space=st.sampled_from(["", " ", " \t", "\u00a0"]),
    )


@st.composite
def specs(draw) -> RunSpec:
    """A legal run of any shape, letters beyond ASCII among them."""
    task = draw(tasks())
    letters = draw(st.sampled_from(["abcdef", "012345", "éβж日٣ñ", "aAbBcC"]))
    task = task.but(alphabet=letters[: len(task.alphabet)], examples=task.instructions + draw(st.integers(0, 10**9)))
    heads, count = draw(st.integers(1, 4)), st.integers(1, 10**6)
    model = ModelSpec(draw(st.sampled_from(["modern", "gpt2"])), draw(st.integers(1, 9)),
                      2 * heads * draw(st.integers(1, 9)), heads, draw(st.integers(1, 4)), draw(count))  # fmt: skip
    share = st.floats(0, 1)
    training = TrainingSpec(draw(count), draw(count), draw(st.floats(1e-8, 1)), *(draw(share) for _ in range(3)),
                            draw(count), draw(count))  # fmt: skip
    return RunSpec(task, model, training, EvaluationSpec(draw(count), draw(st.integers(10, 10**9))))


@st.composite
def tables(draw) -> Table:
    """A good table: some columns, or all, under either of their names and in any order."""
    base, others = draw(specs()), draw(st.lists(specs(), min_size=1, max_size=4))
    wanted = draw(st.one_of(st.just(set(DOTTED)), st.sets(st.sampled_from(DOTTED), min_size=1)))
    runs = [mixed(base, other, wanted) for other in others]
    if None in runs:  # some fields of the others do not go with the base: take all
        wanted, runs = set(DOTTED), others
    names = [draw(st.sampled_from([name, SHORT.get(COLUMNS[name].sets, name)])) for name in sorted(wanted)]
    if draw(st.booleans()):
        names = ["seed", *(name for name in names if not set(COLUMNS[name].sets) & set(COLUMNS["seed"].sets))]
        runs = [run.with_seed(number) for number, run in enumerate(runs)]
    names, runs = draw(st.permutations(names)), tuple(dict.fromkeys(runs))
    plain = draw(st.booleans())
    return Table(tuple(names), tuple(tuple(written(run, name, plain) for name in names) for run in runs), runs, base)


def mixed(base: RunSpec, other: RunSpec, wanted: set[str]) -> RunSpec | None:
    """The base with the wanted fields of another run, or nothing where these do not go together."""
    spec = base.to_dict()
    for part, field in (name.split(".") for name in wanted):
        spec[part][field] = other.to_dict()[part][field]
    try:
        return RunSpec.from_dict(spec)
    except ValueError:
        return None


def written(run: RunSpec, name: str, plain: bool) -> str:
    """A field as a person might type it, integers with underscores where not ``plain``."""
    part, field = COLUMNS[name].sets[0]
    value = getattr(getattr(run, part), field)
    return str(value) if plain or type(value) is not int else f"{value:_}"


@st.composite
def mutations(draw) -> tuple[Table, int, int, str]:
    """A good table, the place of one of its cells, and a text that can never stand there."""
    table = draw(tables())
    row, column = draw(st.integers(0, len(table.rows) - 1)), draw(st.integers(0, len(table.names) - 1))
    return table, row, column, draw(st.sampled_from(never_good(table.names[column])))


def never_good(name: str) -> list[str]:
    """Texts that can never stand in a column; nothing at all can, in some."""
    may_be_empty = name.rpartition(".")[-1] in ("also_occurrences", "base", "cipher")
    return [bad for bad in BAD[COLUMNS[name].kind] if bad or not may_be_empty]


PIECES = [*(name.encode() for name in COLUMNS), *(text.encode() for texts in BAD.values() for text in texts if len(text) < 99),
          *b"1 2 64 703 modern gpt2 abc 0.5 , , , , , , ;".split(),
          b",", b"\n", b"\n", b"\r", b"\r\n", b'"', b'""', b"'", b"\t", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\x0b",
          b"\xe2\x80\xa8", b"\xed\xa0\x80", b"#", b"\\"]  # fmt: skip


@st.composite
def damaged(draw) -> bytes:
    """The bytes of a good table, some of them replaced."""
    table, form = draw(tables()), draw(forms())
    data = bytearray(table.encoded(form))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 9))] = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=9)))
    return bytes(data)


@st.composite
def plausible(draw) -> bytes:
    """Tables of numbers that are mostly good, and often the same."""
    names = draw(
        st.lists(st.sampled_from(["width", "task.rule_seed", "steps", "batch"]), min_size=1, max_size=3, unique=True)
    )
    cell = st.sampled_from(["64", "72", " 8", '"16"', "1_600", "24 ", "+32", "40", "48", "56", "0", "", "x"])
    rows = draw(st.lists(st.tuples(*[cell] * len(names)).map(",".join), max_size=4))
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join([",".join(names), *rows]).encode()


def raw_tables() -> st.SearchStrategy[bytes]:
    """Any bytes, likely and unlikely ones."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
    under_header = st.builds(lambda name, rows: name.encode() + b"\n" + rows, st.sampled_from(sorted(COLUMNS)), pieces)
    return st.one_of(st.binary(max_size=200), pieces, under_header, plausible(), damaged())


# What must hold


def outcome(path: Path, base: RunSpec) -> list[RunSpec] | str:
    """The runs of a table, or the words of its refusal."""
    try:
        return read_table(path, base)
    except BadTable as error:
        return str(error)


def check_bytes(data: bytes, folder: Path) -> None:
    """Any file is a list of different runs or a ``BadTable`` of few lines, each with the file's name: nothing else."""
    path = folder / "table.csv"
    path.write_bytes(data)
    found = outcome(path, RunSpec())
    if isinstance(found, str):
        lines = found.split("\n")
        assert re.fullmatch(r"and [\d,]+ more", lines.pop()) if len(lines) > SHOWN else lines
        assert len(lines) <= SHOWN
        assert all(line.startswith(str(path)) and line.isprintable() for line in lines)
        assert len(found) < 200_000
    else:
        assert found
        assert all(type(run) is RunSpec for run in found)
        assert len({run.digest() for run in found}) == len(found)


def check_mutation(table: Table, row: int, column: int, bad: str, form: Form, folder: Path) -> None:
    """One bad cell in a good table is one problem, told with its row and its column."""
    path, name = folder / "table.csv", table.names[column]
    path.write_bytes(table.with_cell(row, column, bad).encoded(form))
    found = outcome(path, table.base)
    assert isinstance(found, str), f"{bad!r} was taken for {name}"
    where, _, _ = found.removeprefix(f"{path}, row {row + 2}: column ").partition(": ")
    assert repr(name) in where.split(", "), f"{name} in row {row + 2} is not named: {found}"
    assert "\n" not in found


def check_round_trip(table: Table, form: Form, folder: Path) -> None:
    """A good table means its runs, in its order, whatever its form."""
    path = folder / "table.csv"
    path.write_bytes(table.encoded(form))
    assert outcome(path, table.base) == list(table.runs)
