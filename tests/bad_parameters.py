"""Whatever may be given as a parameter, a name or a notebook file: it is fit, or ``BadParameters`` says what is wrong.

The checks are plain functions without hypothesis, so that they can be called any number of times.
"""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from hypothesis import strategies as st

from unseen.disk.names import DEEPEST, LONGEST, LONGEST_BYTES, SIGNS
from unseen.headless import output_folder
from unseen.parameters import RULES, BadParameters, Parameter, check_parameters, checked, parameters

TYPES = (str, int, float, bool, list, tuple)
EVERY_KIND = """\
label: str = "smoke"  # no rule of its own
size: int = 3
rate: float = 0.5
loud: bool = False
sizes: list = [1, 2]
pair: tuple = (1, "a")
plain = 7
"""
EVERY_RULE = """\
scale: str = "smoke"
seed: int = 0
seeds: int = 1
instructions: int = 1
examples: int = 1
steps: int = 1
pattern: str = "cat"
replacement: str = "dog"
text: str = "onecatnaps"
base: str = ""
rank: int = 4
cipher: str = "shift:3"
bleurt: str = ""
task_file: str = ""
diverse_file: str = ""
scheduler: str = ""
"""


def write_book(path: Path, *cells: str, declared: str = EVERY_KIND, tags: tuple[str, ...] = ("parameters",)) -> Path:
    """Write a notebook with a parameters cell for each tag and some code cells."""
    head = [nbformat.v4.new_code_cell(declared, metadata={"tags": [tag]}) for tag in tags]
    book = nbformat.v4.new_notebook(cells=[*head, *map(nbformat.v4.new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


# Values


class Awkward:
    """An object that fails at whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __repr__

    @property
    def __class__(self):
        raise RuntimeError("no class")


class Text(str):
    """Not quite a text: its methods are somebody else's."""

    def __repr__(self):
        return "__import__('os').getpid()"


def endless() -> list:
    """A list that holds itself."""
    found: list = []
    found.append(found)
    return found


def awkward_values() -> list:
    """Values that have surprised some library."""
    return [
        None, Awkward(), Text("smoke"), endless(), [endless(), endless()], 10**5_000, -(10**400), 1e400, float("nan"),
        b"smoke", {"smoke"}, {}, 1j, object, [Awkward()], ([],), "\0", "\ud800", "\u2028!touch x", "9" * 5_000, "1e400",
        "[" * 5_000, "-" * 900 + "1", "(" * 150 + ")" * 150, "x" * 10**6, "true", " 7", "1_0", "٣", "nan", "scale", "\\",
        "'", '"""', "{x}", "{{", "%run x", "!ls", "?", "tcp://user:word@host:1", "tcp://h:0", "tcp://h:1\n", "tls://[::1]:80",
    ]  # fmt: skip


def payloads(canary: Path) -> list[str]:
    """Texts that would make a file if anything evaluated them, in a parameter, a literal, a cell, a shell or a path."""
    python = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    shell = f"touch {canary}"
    return [
        python, f"[{python}]", f"({python},)", f"0 or {python}", f"lambda: {python}", f"f'{{{python}}}'", f"{{{python}}}",
        f'"; {python} #', f"'; {python} #", f"\\'; {python} #", f'\\"; {python} #', f'"""; {python} #', f"\n{python}\n",
        f"0\n{python}", f"0; {python}", f"0\r{python}", f"0\x0c{python}", f"0\u2028{python}", f"!{shell}", f"\n!{shell}\n",
        f"\u2028!{shell}", f"\x85!{shell}", f"\x1c!{shell} #", f"%sx {shell}", f"%%bash\n{shell}", f"$({shell})", f"`{shell}`",
        f"; {shell}", f"| {shell}", f"x = !{shell}", f"{python}?", f"{{pm[run_uuid].__class__}} {python}",
    ]  # fmt: skip


def values() -> st.SearchStrategy:
    """Anything: plain values, nested ones, texts that read as them, and awkward ones."""
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()
    )
    nested = st.recursive(
        plain, lambda part: st.lists(part) | st.lists(part).map(tuple) | st.dictionaries(st.text(), part)
    )
    awkward = st.integers(0, len(awkward_values()) - 1).map(
        lambda place: awkward_values()[place]
    )  # hypothesis hashes others
    return st.one_of(nested, nested.map(repr), awkward)


def check_value(book: Path, name: str, value: object) -> dict | None:
    """Headless: a parameter's value comes out with the declared type and fit, or ``BadParameters`` is raised."""
    declared = parameters(book)
    try:
        found = checked(book, {name: value})
    except BadParameters as refused:
        return _check_sentence(refused)
    assert list(found) == [name], "one value in, one value out"
    assert type(found[name]) is declared[name].kind, "of the declared type, exactly"
    assert ast.literal_eval(ascii(found[name])) == found[name], "a literal brings it into the notebook unchanged"
    check_parameters(**found)
    return found


def check_typed(name: str, value: object) -> bool:
    """In a notebook: what a person typed has the type of the table, or ``BadParameters`` is raised."""
    try:
        check_parameters(**{name: value})
    except BadParameters as refused:
        _check_sentence(refused)
        return False
    assert name not in RULES or type(value) is RULES[name].kind
    return True


def _check_sentence(refused: BadParameters) -> None:
    told = str(refused)
    assert told.isprintable(), "one line, nothing that turns a terminal upside down"
    assert len(told) < 2_000
    assert refused._render_traceback_() == [f"BadParameters: {told}"]


# Names


def names() -> st.SearchStrategy[str]:
    """Any text, and texts of what matters in a name."""
    parts = st.sampled_from(["..", ".", "", "a", "Store", "store", "CON", "nul.txt", "-x", "x ", "x.", "link", "~", "C:", "é",
                             "\\", "a" * LONGEST, "a" * 101, "字" * 86, "😀", "\0", "\n", "{pm}", "loop", "file"])  # fmt: skip
    return st.one_of(st.text(), st.lists(parts, max_size=DEEPEST + 2).map("/".join), st.text("./-a \\", max_size=12))


def check_name_text(text: str, root: Path) -> Path | None:
    """A name of an output folder lies strictly inside the runs folder ``root`` and can be made there, or is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(root))
        try:
            folder = output_folder(text)
        except BadParameters as refused:
            return _check_sentence(refused)
    inside = Path(os.path.realpath(folder)).relative_to(os.path.realpath(root)).parts  # ValueError: it is outside
    assert inside, "it is the runs folder itself"
    assert inside[0].lower() != "store", "it is where the runs lie"
    for part in text.split("/"):
        assert all(sign.isalnum() or sign in SIGNS for sign in part)
        assert 0 < len(part) <= LONGEST
        assert len(os.fsencode(part)) <= LONGEST_BYTES
        assert part == part.lstrip("-.").rstrip(" .")
    if not os.path.lexists(folder):
        folder.mkdir(parents=True)  # OSError: the name is not fit after all
    return folder


# Files


def check_book(path: Path, content: bytes) -> dict[str, Parameter] | None:
    """Whatever a notebook file holds, its parameters can be told, or ``BadParameters`` is raised."""
    path.write_bytes(content)
    try:
        found = parameters(path)
    except BadParameters as refused:
        return _check_sentence(refused)
    assert all(name == each.name and each.kind in TYPES for name, each in found.items())
    return found
