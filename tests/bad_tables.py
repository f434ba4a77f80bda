"""Good and bad sweep tables for hypothesis, and what must hold of each."""

import csv
import io
import re
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from strategies import tasks
from unseen.runs.tables import COLUMNS, SHOWN, BadTable, read_table
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec

DOTTED = [f"{part.name}.{field.name}" for part in fields(RunSpec) for field in fields(type(part.default))]
SHORT = {COLUMNS[name].sets: name for name in COLUMNS if "." not in name}
BAD = {  # never good, whatever the field and the rest of the row
    int: [" ", "x", "1.5", "True", "None", "nan", "inf", "-1", "--1", "0x10", "1,000", "=1+1", "\0", '"',
          "__import__('os').abort()", "9" * 19, "9" * 5_000, "1.000", "1 000", "1e-3", "1e99",
          "1.5e0", "٣", "−1"],
    float: [" ", "x", "nan", "inf", "-inf", "1e400", "1000.5", "-1", "0,5", ".", "e5", "True", "=1*2", "\0"],
    str: [" ", "modern ", "aa", "a b", "=1+1", "nan.", "a,b", '"a"', "→", "|", "a\0", "ab" * 2_000],
}  # fmt: skip


class Table(NamedTuple):
    """Texts by row and column, the runs that they stand for on top of ``base``, and how csv writes them."""

    names: list[str]
    rows: list[list[str]]
    runs: list[RunSpec]
    base: RunSpec
    end: str
    quoting: int
    mark: bytes
    sign: str
    said: bool

    def encoded(self) -> bytes:
        """The table as bytes."""
        text = io.StringIO(newline="")
        how = {"quoting": self.quoting, "lineterminator": self.end, "delimiter": self.sign}
        csv.writer(text, **how).writerows([self.names, *self.rows])
        return self.mark + (f"sep={self.sign}{self.end}" * self.said + text.getvalue()).encode()


@st.composite
def specs(draw) -> RunSpec:
    """A legal run of any shape, letters beyond ASCII among them."""
    task = draw(tasks())
    letters = draw(st.sampled_from(["abcdef", "012345", "éβж日٣ñ", "aAbBcC"]))
    more = draw(st.integers(0, 10**9))
    task = task.but(alphabet=letters[: len(task.alphabet)], examples=task.instructions + more)
    heads, count, share = draw(st.integers(1, 4)), st.integers(1, 10**6), st.floats(0, 1)
    recipe, layers, wide = draw(st.tuples(st.sampled_from(["modern", "gpt2"]), *[st.integers(1, 9)] * 2))
    model = ModelSpec(recipe, layers, width=2 * heads * wide, heads=heads, seed=draw(count))
    rates = {name: draw(share) for name in ("weight_decay", "decay_share")}
    training = TrainingSpec(draw(count), draw(count), learning_rate=draw(st.floats(1e-8, 1)), **rates)
    return RunSpec(task, model, training, EvaluationSpec(draw(count), draw(st.integers(10, 10**9))))


@st.composite
def tables(draw) -> Table:
    """A good table: all columns, under either of their names, in any order and form."""
    base, runs = draw(specs()), draw(st.lists(specs(), min_size=1, max_size=4, unique=True))
    either = [draw(st.sampled_from([name, SHORT.get(COLUMNS[name].sets, name)])) for name in DOTTED]
    names = draw(st.permutations(either))
    end, mark = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    rows = [[written(run, name) for name in names] for run in runs]
    sign, said = draw(st.sampled_from([",", ";", "\t", "|"])), draw(st.booleans())
    return Table(names, rows, runs, base, end, quoting, mark, sign, said)


def written(run: RunSpec, name: str) -> str:
    """A field as a person might type it, large integers with underscores."""
    part, field = COLUMNS[name].sets[0]
    value = getattr(getattr(run, part), field)
    return f"{value:_}" if type(value) is int else str(value)


PIECES = [name.encode() for name in COLUMNS]
PIECES += [text.encode() for texts in BAD.values() for text in texts if len(text) < 99]
PIECES += [b";", b"\t", b"sep=;\n", b"1.000", b"1e3", b"64.0"]
PIECES += [b",", b"\n", b"\r", b"\r\n", b'"', b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"64", b"72"]


def raw_tables() -> st.SearchStrategy[bytes]:
    """Any bytes, likely and unlikely ones."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
    headers = st.sampled_from([name.encode() + b"\n" for name in sorted(COLUMNS)])
    under_header = st.tuples(headers, pieces).map(b"".join)
    return st.one_of(st.binary(max_size=200), pieces, under_header)


def outcome(path: Path, data: bytes, base: RunSpec) -> list[RunSpec] | str:
    """The runs of a table, or the words of its refusal."""
    path.write_bytes(data)
    try:
        return read_table(path, base)
    except BadTable as error:
        return str(error)


def check_bytes(data: bytes, folder: Path) -> None:
    """Any file is a list of different runs or a ``BadTable`` of few lines, each with the file's name."""
    path = folder / "table.csv"
    found = outcome(path, data, RunSpec())
    if isinstance(found, str):
        lines = found.split("\n")
        assert re.fullmatch(r"and [\d,]+ more", lines.pop()) if len(lines) > SHOWN else lines
        assert all(line.startswith(str(path)) and line.isprintable() for line in lines)
    else:
        assert 0 < len(found) == len({run.digest() for run in found})


def check_round_trip(table: Table, folder: Path) -> None:
    """A good table means its runs, in its order, whatever its form."""
    assert outcome(folder / "table.csv", table.encoded(), table.base) == table.runs
