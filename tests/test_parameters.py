"""The parameters cell: what it declares is read, what is not fit is refused in one sentence, nothing is evaluated."""

import ast
import json
import os
import subprocess
import sys
import time

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_parameters import (
    EVERY_KIND,
    EVERY_RULE,
    awkward_values,
    check_book,
    check_typed,
    check_value,
    payloads,
    values,
    write_book,
)
from unseen.disk.files import project_folder
from unseen.disk.names import shown
from unseen.parameters import (
    LARGEST_NOTEBOOK,
    RULES,
    BadParameters,
    check_parameters,
    checked,
    is_parameters,
    parameters,
    read_notebook,
)

NOTEBOOKS = {path.stem: path for path in sorted((project_folder() / "notebooks").glob("*.ipynb"))}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A notebook with a parameter of every type and of every rule."""
    return write_book(tmp_path_factory.mktemp("books") / "tiny.ipynb", declared=EVERY_KIND + EVERY_RULE)


# The cell


def test_a_parameters_cell_is_read_with_its_types(tmp_path):
    path = write_book(tmp_path / "tiny.ipynb")
    found = {each.name: (each.kind, each.default) for each in parameters(path).values()}
    assert found == {"label": (str, "smoke"), "size": (int, 3), "rate": (float, 0.5), "loud": (bool, False),
                     "sizes": (list, [1, 2]), "pair": (tuple, (1, "a")), "plain": (int, 7)}  # fmt: skip


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_one_parameters_cell(tmp_path, count):
    path = write_book(tmp_path / "tiny.ipynb", tags=("parameters",) * count)
    with pytest.raises(BadParameters, match=rf"tiny\.ipynb has {count} cells tagged 'parameters'"):
        parameters(path)


def test_prose_is_no_parameters_cell(tmp_path):
    path = write_book(tmp_path / "tiny.ipynb")
    content = nbformat.read(path, as_version=4)
    content.cells.insert(0, nbformat.v4.new_markdown_cell("size = 4", metadata={"tags": ["parameters"]}))
    nbformat.write(content, path)
    assert parameters(path)["size"].default == 3


@pytest.mark.parametrize(
    "line",
    ["import os", "size = len('abc')", "size: int = 2 + x", "size: int", "size: list[int] = []", "size: Path = 3",
     "a, b = 1, 2", "a = b = 1", "size += 1", "print(3)", "'text'", "x.y = 3", "size: int = {[]: 1}", "size = None",
     "size = {}", "size: NoneType = None", f"size = {'-' * 900}1"],
)  # fmt: skip
def test_only_typed_literals_are_declared(tmp_path, line):
    path = write_book(tmp_path / "tiny.ipynb", declared=f"ok = 1\n{line}")
    with pytest.raises(BadParameters, match="line 2: only 'name: type = literal' is allowed"):
        parameters(path)


@pytest.mark.parametrize("line", ["%matplotlib inline", "size: int = ", "def", f"size = {'9' * 5_000}", "(" * 300])
def test_a_parameters_cell_that_is_no_python_is_refused(tmp_path, line):
    with pytest.raises(BadParameters, match=r"tiny\.ipynb: parameters cell, line 2"):
        parameters(write_book(tmp_path / "tiny.ipynb", declared=f"ok = 1\n{line}"))


@pytest.mark.parametrize("cell", ["size = '\0'", "-" * 9_000 + "1", "x" * 10_001])
def test_a_parameters_cell_that_python_cannot_read_is_refused(tmp_path, cell):
    with pytest.raises(BadParameters, match="parameters cell"):
        parameters(write_book(tmp_path / "tiny.ipynb", declared=cell))


# Values from outside


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("size", "12", 12), ("size", " 12", 12), ("size", "-1_000", -1000), ("size", 12, 12), ("plain", "0", 0),
        ("rate", "1e-3", 0.001), ("rate", "2", 2.0), ("rate", 2, 2.0),
        ("loud", "true", True), ("loud", "False", False), ("loud", True, True),
        ("sizes", "[3, 'x', [True]]", [3, "x", [True]]), ("sizes", [], []), ("pair", "(1, 2.5)", (1, 2.5)),
        ("label", "12", "12"), ("label", "", ""), ("label", "None", "None"),
        ("label", "__import__('os').system('x')", "__import__('os').system('x')"),  # text stays text
        ("scale", "quick", "quick"), ("seed", "2_147_483_648", 2**31), ("scheduler", "", ""), ("text", "12", "12"),
    ],
)  # fmt: skip
def test_values_become_what_their_parameter_is(book, name, given, value):
    found = checked(book, {name: given})
    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("size", "1.0"), ("size", "True"), ("size", True), ("size", 1.0), ("size", "many"), ("size", ""), ("size", None),
        ("size", "1 + 1"), ("size", "__import__('os')"), ("size", "size"), ("size", "{[]: 1}"), ("size", "-" * 9_999 + "1"),
        ("size", "(" * 9_999), ("size", "1\nimport os"), ("size", "\0"), ("size", "9" * 19),
        ("rate", "fast"), ("rate", "nan"), ("rate", "1j"), ("rate", True), ("rate", "1e999"), ("rate", float("inf")),
        ("rate", 10**400),
        ("loud", "1"), ("loud", 1), ("loud", "yes"),
        ("sizes", "1, 2"), ("sizes", (1, 2)), ("sizes", "[1, x]"), ("sizes", "[print(1)]"), ("sizes", "[{1}]"),
        ("sizes", "[b'x']"), ("sizes", [object()]), ("sizes", [None]), ("pair", [1]), ("sizes", ["\udc80"]),
        ("label", 3), ("label", None), ("label", b"smoke"), ("label", "\ud800"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_and_every_parameter_listed(book, name, given):
    kind = parameters(book)[name].kind.__name__
    with pytest.raises(
        BadParameters, match=rf"must be {kind}\b.*; the notebook has label: str = 'smoke', size: int = 3"
    ):
        checked(book, {"plain": 1, name: given})


@pytest.mark.parametrize(
    "name", ["Size", "", "size ", "__import__('os')", "size=3; import os", "_", "print", "\0" * 999]
)
def test_an_unknown_name_is_refused_and_every_parameter_listed(book, name):
    with pytest.raises(BadParameters, match=r"has no parameter .*; it has label: str = 'smoke', size: int = 3"):
        checked(book, {name: "1"})


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('scale: str = "fast"', r"tiny\.ipynb: scale='fast' must be one of 'smoke'"),
        ('size: int = "many"', "size='many' must be int"),
        ("size: int = None", "size=None must be int"),
        ("scale: int = 3", "scale=3 must be one of"),  # the annotation cannot overrule the table
        ("rate: float = 1e999", "rate=inf must be float"),
    ],
)
def test_a_default_must_be_fit_unless_it_is_replaced(tmp_path, line, sentence):
    path = write_book(tmp_path / "tiny.ipynb", declared=f"{line}\nother = 1")
    with pytest.raises(BadParameters, match=sentence):
        checked(path, {"other": 2})


def test_a_bad_default_may_be_replaced(tmp_path):
    path = write_book(tmp_path / "tiny.ipynb", declared='scale: str = "fast"')
    assert checked(path, {"scale": "quick"}) == {"scale": "quick"}
    assert parameters(write_book(path, declared="rate: float = 1"))["rate"].default == 1.0


# Rules by name

FIT = {
    "scale": ["smoke", "quick", "full", "paper"],
    "seed": [0, 7, 2**31],
    "seeds": [1, 100],
    "instructions": [1, 1_000_000],
    "examples": [1, 10_000_000],
    "steps": [1, 1_000_000],
    "pattern": ["", "cat", "é" * 200],
    "replacement": ["", "x\ny"],
    "text": ["", "one cat naps", "'; import os"],
    "base": ["", "models/llama", "/a/" * 333],
    "bleurt": ["", "models/bleurt"],
    "task_file": ["", "data/sep.jsonl", "/a/" * 333],
    "diverse_file": ["", "rows.jsonl"],
    "rank": [1, 512, 100_000],
    "cipher": ["shift:3", "substitution:7", "shift:999999999"],
    "scheduler": ["", "serial", "processes", "local", "tcp://10.0.0.1:8786", "tls://node-7.cluster_a.example:1",
                  "tcp://[::1]:65535", "tcp://localhost:8786"],
}  # fmt: skip
NOT_FIT = {
    "scale": ["fast", 3, "../x", "Smoke", "smoke ", "", None, ["smoke"], "store", True],
    "seed": ["many", -1, 1.5, 2**31 + 1, True, None, 1.0, "3", [0]],
    "seeds": [0, 101, -5, 5.0, "5"],
    "instructions": [0, 1_000_001, 1e3],
    "examples": [0, 10_000_001],
    "steps": [0, 1_000_001],
    "pattern": ["a" * 201, 3, None, b"cat", "\ud800"],
    "replacement": ["a" * 201, 3],
    "text": ["a" * 201, ["cat"]],
    "base": ["a" * 1_001, 3, None, b"models", "\ud800"],
    "bleurt": ["a" * 1_001, None],
    "task_file": ["a" * 1_001, 3, "a\nb"],
    "diverse_file": ["a" * 1_001, b"rows"],
    "rank": [0, 100_001, 4.0, "4", None, True],
    "cipher": ["", "rot13", "shift:", "shift:-1", "shift:3\n", "shift:３", "shift:1234567890", 3, None],
    "scheduler": ["dask", "tcp://", "tcp://host", "tcp://host:", "tcp://host:0", "tcp://host:65536", "tcp://:8786",
                  "http://host:8786", "tcp://user:word@host:8786", "tcp://user@host:1", "tcp://host:8786/x",
                  "tcp://host :8786", " serial", "serial\n", "tcp://host:8786\n", "tcp://ho\nst:1", "tcp://höst:1",
                  "tcp://host:８７８６", "TCP://host:1", "tcp://-host:1", "tcp://[::1:1", "LOCAL", 3, None, True,
                  "tcp://" + "a" * 254 + ":1"],
}  # fmt: skip


def test_every_rule_is_tested_here():
    assert set(FIT) == set(NOT_FIT) == set(RULES)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, fit in FIT.items() for value in fit])
def test_a_fit_value_passes_both_ways(book, name, value):
    check_parameters(**{name: value})
    assert checked(book, {name: value}) == {name: value}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, bad in NOT_FIT.items() for value in bad])
def test_a_bad_value_is_refused_by_the_same_sentence_both_ways(book, name, value):
    with pytest.raises(BadParameters, match=rf"^{name}=.* must be ") as typed:
        check_parameters(**{name: value})
    if type(value) is str and RULES[name].kind is int and value.isdecimal():
        return  # from a command line it is a number
    with pytest.raises(BadParameters) as headless:
        checked(book, {name: value})
    assert str(headless.value).startswith(f"{book.name}: {typed.value}; the notebook has label: str = 'smoke', ")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"scale": "fast"}, "scale='fast' must be one of 'smoke', 'quick', 'full', 'paper'"),
        ({"scale": 3}, "scale=3 must be one of 'smoke', 'quick', 'full', 'paper'"),
        ({"scale": "../x"}, "scale='../x' must be one of 'smoke', 'quick', 'full', 'paper'"),
        ({"scale": "smoke", "seed": "many"}, "seed='many' must be int, a whole number from 0 to 2,147,483,648"),
        ({"seed": -1, "scale": 3}, "seed=-1 must be int, a whole number from 0 to 2,147,483,648"),
        ({"seed": 1.5}, "seed=1.5 must be int, a whole number from 0 to 2,147,483,648"),
        ({"text": "x" * 300}, f"text='{'x' * 56}... must be text of at most 200 characters"),
    ],
)
def test_a_newcomer_reads_one_sentence(typed, sentence):
    with pytest.raises(BadParameters) as refused:
        check_parameters(**typed)
    assert str(refused.value) == sentence


def test_jupyter_shows_the_sentence_and_no_frames(tmp_path):
    code = "from unseen.parameters import check_parameters\ncheck_parameters(scale='fast')"
    command = [sys.executable, "-m", "IPython", "--quick", "--no-banner", "--colors=nocolor", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "IPYTHONDIR": str(tmp_path)})
    assert done.returncode == 1
    assert done.stdout.strip() == "BadParameters: scale='fast' must be one of 'smoke', 'quick', 'full', 'paper'"


def test_a_name_without_a_rule_passes_in_a_notebook():
    check_parameters(mine=object())


# The notebooks of this project


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_checks_each_of_its_parameters_first_of_all(name):
    cells = [cell for cell in read_notebook(NOTEBOOKS[name]).cells if cell.cell_type == "code"]
    below = cells[1 + next(place for place, cell in enumerate(cells) if is_parameters(cell))].source
    calls = [node for node in ast.walk(ast.parse(below)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == "check_parameters"]
    declared = list(parameters(NOTEBOOKS[name]))
    assert ast.unparse(call) == f"check_parameters({', '.join(f'{each}={each}' for each in declared)})"
    assert call is calls[0], "before anything is done with them"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_a_rule_for_each_of_its_parameters(name):
    declared = parameters(NOTEBOOKS[name])
    assert set(declared) <= set(RULES)
    assert {each.name: each.kind for each in declared.values()} == {each: RULES[each].kind for each in declared}
    assert checked(NOTEBOOKS[name], {}) == {}, "its defaults are fit"


# Files

CELL = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "size = 3", "outputs": [],
        "execution_count": None, "id": "a"}  # fmt: skip
BOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [CELL]}


def without(part, key):
    return {name: value for name, value in part.items() if name != key}


@pytest.mark.parametrize(
    "content",
    [
        BOOK,
        {**BOOK, "nbformat_minor": 0, "cells": [without(CELL, "id")]},
        {**BOOK, "nbformat_minor": 4, "cells": [CELL]},  # an id before there were ids: some tools write it
        {**BOOK, "cells": [{**CELL, "source": ["size = ", "3"]}]},
        {**BOOK, "metadata": {"deep": json.loads("[" * 40 + "]" * 40)}},
    ],
)
def test_every_kind_of_format_4_is_read(tmp_path, content):
    for text in (json.dumps(content).encode(), b"\xef\xbb\xbf" + json.dumps(content).encode()):
        assert check_book(tmp_path / "x.ipynb", text)["size"].default == 3
    assert read_notebook(tmp_path / "x.ipynb").nbformat_minor == 5


@pytest.mark.parametrize(
    "content",
    [
        [], 3, "text", None, {}, {"cells": [CELL]}, {**BOOK, "nbformat": 3}, {**BOOK, "nbformat": 5}, {**BOOK, "nbformat": "4"},
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]},
        {**BOOK, "nbformat_minor": 6}, {**BOOK, "nbformat_minor": -1}, {**BOOK, "nbformat_minor": True}, {**BOOK, "nbformat": 4.0},
        without(BOOK, "nbformat_minor"), without(BOOK, "metadata"), without(BOOK, "cells"), {**BOOK, "metadata": []},
        {**BOOK, "cells": None}, {**BOOK, "cells": {}}, {**BOOK, "cells": [3]}, {**BOOK, "cells": [None]},
        {**BOOK, "cells": [[CELL]]}, {**BOOK, "cells": [without(CELL, "metadata")]}, {**BOOK, "cells": [without(CELL, "source")]},
        {**BOOK, "cells": [without(CELL, "cell_type")]}, {**BOOK, "cells": [{**CELL, "id": []}]},
        {**BOOK, "cells": [{**CELL, "source": 3}]}, {**BOOK, "cells": [{**CELL, "source": [3]}]},
        {**BOOK, "cells": [{**CELL, "metadata": {"tags": 3}}]}, {**BOOK, "cells": [{**CELL, "metadata": {"tags": [[]]}}]},
        {**BOOK, "cells": [{**CELL, "metadata": {"tags": "parameters"}}]}, {**BOOK, "cells": [{**CELL, "cell_type": "x"}]},
        {**BOOK, "metadata": {"half": "\ud800"}}, {**BOOK, "cells": [{**CELL, "source": "size = '\udc80'"}]},
        {**BOOK, "metadata": {"deep": json.loads("[" * 60 + "]" * 60)}},
    ],
)  # fmt: skip
def test_json_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(content))
    with pytest.raises(BadParameters, match=r"^x\.ipynb is not a notebook that can be run: .") as refused:
        parameters(path)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "content",
    [b"", b"size = 3", b"{", b"\xff\xfe", b"\0" * 999, b'{"nbformat": ' + b"9" * 5_000 + b"}", b"[" * 100_000,
     b'{"a":' * 100_000, json.dumps(BOOK).encode("utf-16"), json.dumps(BOOK).encode()[:-1], b"\xef\xbb\xbf"],
)  # fmt: skip
def test_what_is_no_json_is_refused(tmp_path, content):
    assert check_book(tmp_path / "x.ipynb", content) is None


@pytest.fixture
def soon():
    """A test may take seconds on a busy machine, but no minute."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30


def test_a_file_as_large_as_a_disk_is_not_read(tmp_path, soon):
    path = tmp_path / "x.ipynb"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    with pytest.raises(BadParameters, match=f"larger than {LARGEST_NOTEBOOK:,} bytes"):
        parameters(path)


def test_a_notebook_of_a_million_parts_is_refused_soon(tmp_path, soon):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({**BOOK, "cells": [{}] * 1_000_000}))
    with pytest.raises(BadParameters, match="over 100,000 lists and objects"):
        parameters(path)


def test_what_is_no_file_is_not_waited_for(tmp_path, soon):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "loop.ipynb").symlink_to("loop.ipynb")
    for name in ("pipe.ipynb", "folder.ipynb", "loop.ipynb", "none.ipynb", "x" * 300 + ".ipynb", "x\0.ipynb"):
        with pytest.raises(BadParameters, match="is not a notebook"):
            parameters(tmp_path / name)
    if os.path.exists("/dev/zero"):
        (tmp_path / "zero.ipynb").symlink_to("/dev/zero")
        with pytest.raises(BadParameters, match="is not a notebook"):
            parameters(tmp_path / "zero.ipynb")


# Anything


@given(st.data(), values())
def test_any_value_is_fit_or_refused(book, data, value):
    check_value(book, data.draw(st.sampled_from(sorted(parameters(book)))), value)


@given(st.one_of(st.sampled_from(sorted(RULES)), st.text()), values())
def test_anything_typed_is_fit_or_refused(name, value):
    check_typed(name, value)


@given(st.dictionaries(st.text(), values()))
def test_any_name_is_known_or_refused(book, given):
    if set(given) - set(parameters(book)):
        with pytest.raises(BadParameters, match="has no parameter"):
            checked(book, given)


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_file_is_a_notebook_or_refused(tmp_path_factory, content):
    assert check_book(tmp_path_factory.getbasetemp() / "any.ipynb", content) is None


@given(
    st.one_of(st.text(), st.text("size=:int 0'\"([{,\n#"), values().map(lambda value: f"size = {shown(value, 9_999)}"))
)
def test_any_parameters_cell_is_read_or_refused(tmp_path_factory, source):
    content = {**BOOK, "cells": [{**CELL, "source": source}]}
    check_book(tmp_path_factory.getbasetemp() / "any.ipynb", json.dumps(content).encode())


def test_nothing_is_evaluated(book, tmp_path):
    canary = tmp_path / "canary"
    for text in payloads(canary):
        for name in parameters(book):
            check_value(book, name, text)
            check_typed(name, text)
        content = {**BOOK, "cells": [{**CELL, "source": f"size = 3\n{text}"}]}
        check_book(tmp_path / "x.ipynb", json.dumps(content).encode())
    assert not canary.exists()


def test_awkward_values_are_fit_or_refused(book):
    for value in awkward_values():
        for name in parameters(book):
            check_value(book, name, value)
            check_typed(name, value)
