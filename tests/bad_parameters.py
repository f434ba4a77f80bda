"""Notebooks to run and values to give to them."""

import ast
from pathlib import Path

import nbformat
from hypothesis import strategies as st

from unseen.parameters import KNOWN, BadParameters, check_parameters, checked

EVERY_KIND = """\
label: str = "smoke"  # not a known name
size: int = 3
rate: float = 0.5
loud: bool = False
plain = 7
"""
FIT = {  # for each known name, values that it may have; the first are the defaults of EVERY_KNOWN
    "scale": ["smoke", "quick", "full", "paper"],
    "seed": [0, 7, 2**31],
    "seeds": [1, 100],
    "instructions": [1, 1_000_000],
    "examples": [1, 10_000_000],
    "steps": [1, 1_000_000],
    "pattern": ["cat", "", "é" * 200],
    "replacement": ["dog", "x\ny"],
    "text": ["onecatnaps", "'; import os"],
    "base": ["", "models/llama", "/a/" * 333],
    "bleurt": ["", "models/bleurt"],
    "task_file": ["", "data/sep.jsonl"],
    "diverse_file": ["", "rows.jsonl"],
    "leave_out_long": [False, True],
    "rank": [4, 1, 100_000],
    "cipher": ["shift:3", "substitution:7", "shift:999999999"],
    "scheduler": ["", "serial", "processes", "local", "tcp://10.0.0.1:87", "tls://n-7:1", "tcp://[::]:65535"],
}  # fmt: skip
NOT_FIT = {
    "scale": ["fast", 3, "../x", "Smoke", "smoke ", "", None, ["smoke"]],
    "seed": ["many", -1, 1.5, 2**31 + 1, None, [0]],
    "seeds": [0, 101, "-5"],
    "instructions": [0, 1_000_001, 1.5],
    "examples": [0, 10_000_001],
    "steps": [0, 1_000_001],
    "pattern": ["a" * 201, 3, None, "\ud800"],
    "replacement": ["a" * 201],
    "text": ["a" * 201, ["cat"]],
    "base": ["a" * 1_001, 3, None, "\ud800"],
    "bleurt": ["a" * 1_001],
    "task_file": ["a\nb"],
    "diverse_file": ["a" * 1_001],
    "leave_out_long": ["perhaps", None, 2],
    "rank": [0, 100_001, None],
    "cipher": ["", "rot13", "shift:", "shift:-1", "shift:3\n", "shift:３", "shift:1234567890", 3],
    "scheduler": ["dask", "tcp://", "tcp://host", "tcp://host:", "http://host:1", "tcp://user:word@host:1",
                  "tcp://host:1/x", "tcp://host:0", "tcp://host:65536", " serial",
                  "tcp://host:8786\n", "tcp://höst:1", "LOCAL", 3, None],
}  # fmt: skip
EVERY_KNOWN = "".join(f"{name}: {type(fit[0]).__name__} = {fit[0]!r}\n" for name, fit in FIT.items())


def write_book(
    path: Path, *cells: str, declared: str = EVERY_KIND, tags: tuple[str, ...] = ("parameters",)
) -> Path:
    """Write a notebook with a parameters cell for each tag and some code cells."""
    head = [nbformat.v4.new_code_cell(declared, metadata={"tags": [tag]}) for tag in tags]
    book = nbformat.v4.new_notebook(cells=[*head, *map(nbformat.v4.new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


def payloads(canary: Path) -> list[str]:
    """Texts that would make a file if anything evaluated them, in a literal, a cell, a shell or a path."""
    python, shell = f"__import__('pathlib').Path({str(canary)!r}).touch()", f"touch {canary}"
    return [python, f"[{python}]", f"{{{python}}}", f'"; {python} #', f"\\'; {python} #", f'"""; {python} #',
            f"\n{python}\n", f"0\u2028{python}", f"\n!{shell}\n", f"%%bash\n{shell}", f"$({shell})",
            f"x = !{shell}"]  # fmt: skip


def values() -> st.SearchStrategy:
    """Anything: plain values, nested ones, and texts that read as them."""
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
    nested = st.recursive(plain, lambda part: st.lists(part) | st.dictionaries(st.text(), part))
    return st.one_of(nested, nested.map(repr), st.just(10**5_000), st.just("9" * 5_000), st.just("[" * 5_000))


def refusal(check, *arguments, **named) -> str:
    """The words in which a check refuses its arguments; empty where it takes them."""
    try:
        check(*arguments, **named)
        return ""
    except BadParameters as refused:
        return str(refused)


def check_value(book: Path, name: str, value: object) -> None:
    """A value that is not refused comes out fit for its notebook, which checks it alike."""
    if not refusal(checked, book, {name: value}):
        found = checked(book, {name: value})
        assert list(found) == [name]
        assert KNOWN.get(name) is not KNOWN["base"] or not found[name] or Path(found[name]).is_absolute()
        assert ast.literal_eval(ascii(found[name])) == found[name]  # so it comes into the notebook unchanged
        check_parameters(**found)
    assert name in KNOWN or not refusal(check_parameters, **{name: value})
