"""The parameters cell: what it declares is read, what is not allowed is refused by name."""

import ast
import json
import os

import pytest

from bad_parameters import EVERY_KIND, EVERY_KNOWN, FIT, NOT_FIT, refusal, write_book
from unseen.headless import notebooks
from unseen.parameters import (
    KNOWN,
    LARGEST_NOTEBOOK,
    BadParameters,
    check_parameters,
    checked,
    parameters,
    read_notebook,
    tags_of,
)

every_notebook = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A notebook with a parameter of every type and of every known name."""
    return write_book(tmp_path_factory.mktemp("books") / "tiny.ipynb", declared=EVERY_KIND + EVERY_KNOWN)


def declaring(tmp_path, text, tags=("parameters",)):
    return write_book(tmp_path / "tiny.ipynb", declared=text, tags=tags)


# The cell


def test_a_parameters_cell_is_read_with_its_types(tmp_path):
    found = {name: tuple(each) for name, each in parameters(write_book(tmp_path / "tiny.ipynb")).items()}
    assert found == {"label": ("str", "smoke"), "size": ("int", 3), "rate": ("float", 0.5),
                     "loud": ("bool", False), "plain": ("int", 7)}  # fmt: skip


@pytest.mark.parametrize("tags", [(), ("parameters", "parameters"), ("parameter",)])
def test_there_is_one_parameters_cell(tmp_path, tags):
    with pytest.raises(BadParameters, match=rf"tiny\.ipynb has {tags.count('parameters')} cells tagged"):
        parameters(declaring(tmp_path, "size = 3", tags))


LINES = ["import os", "size = len('abc')", "size: int", "size: list[int] = []", "size: Path = 3", "x.y = 3",
         "a, b = 1, 2", "a = b = 1", "size += 1", "print(3)", "size = None", "size = {}", "def", "(" * 300,
         "%matplotlib inline", f"size = {'9' * 5_000}", "size = '\0'"]  # fmt: skip


def test_only_typed_literals_are_declared(tmp_path):
    for line in LINES:
        with pytest.raises(BadParameters, match=r"tiny\.ipynb: the parameters cell holds lines of 'name:"):
            parameters(declaring(tmp_path, f"ok = 1\n{line}"))


# Values


@pytest.mark.parametrize(("name", "given", "value"), [
    ("size", "12", 12), ("size", "-1_000", -1000), ("rate", "1e-3", 0.001), ("rate", 2, 2.0),
    ("loud", "true", True), ("loud", "False", False), ("label", "12", "12"), ("seed", "2_147_483_648", 2**31),
])  # fmt: skip
def test_values_become_what_their_parameter_is(book, name, given, value):
    found = checked(book, {name: given})
    assert found == {name: value}
    assert type(found[name]) is type(value)


def test_the_known_names_are_those_tested_here():
    assert set(FIT) == set(NOT_FIT) == set(KNOWN)


@pytest.mark.parametrize("name", FIT)
def test_the_notebook_and_the_command_line_allow_the_same(book, name):
    for value in FIT[name]:
        check_parameters(**{name: value})
        path = name in ("base", "bleurt", "task_file", "diverse_file")
        assert checked(book, {name: value}) == {name: os.path.abspath(value) if path and value else value}
    for value in NOT_FIT[name]:
        assert refusal(check_parameters, **{name: value}).startswith(f"{name}=")
        assert f"{name}=" in refusal(checked, book, {name: value})


def test_a_path_that_only_its_folder_makes_too_long_is_refused_before_the_start(book):
    assert "base=" in refusal(checked, book, {"base": "a" * 1_000})


@pytest.mark.parametrize("name", ["base", "bleurt", "task_file", "diverse_file"])
def test_a_path_is_of_the_callers_folder_or_home(book, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    places = {"a b/../ü.jsonl": "ü.jsonl", "~/x": "me/x", "./~": "~", str(tmp_path): ""}
    for given, expected in places.items():
        assert checked(book, {name: given}) == {name: str(tmp_path / expected)}


@pytest.mark.parametrize("typed", [{"seed": True}, {"seed": "3"}, {"seed": 3.0}, {"text": b"cat"}])
def test_what_a_person_types_has_the_type_exactly(typed):
    with pytest.raises(BadParameters, match="must be"):
        check_parameters(**typed)


def test_all_problems_are_named_at_once(book):
    with pytest.raises(BadParameters) as refused:
        checked(book, {"sice": "3", "seed; import os": "3", "scale": "fast", "seed": "-1"})
    *problems, known = str(refused.value).split("\n")
    assert problems == [
        "tiny.ipynb has no parameter 'sice'",
        "tiny.ipynb has no parameter 'seed; import os'",
        "scale='fast' must be one of 'show', 'smoke', 'quick', 'full', 'paper'",
        "seed='-1' must be an integer from 0 to 2,147,483,648",
    ]
    assert known.startswith("the parameters of tiny.ipynb: label: str = 'smoke', size: int = 3")


def test_a_default_must_be_allowed_unless_it_is_replaced(tmp_path):
    path = declaring(tmp_path, 'scale: str = "fast"\nsize: int = "many"\nseed: str = "3"')
    refused = refusal(checked, path, {})
    assert all(part in refused for part in ("scale='fast' must", "size='many' must", "seed='3' must"))
    found = checked(path, {"scale": "quick", "size": "3", "seed": "4"})
    assert found == {"scale": "quick", "size": 3, "seed": 4}


# The notebooks of this project


@every_notebook
def test_a_notebook_checks_each_of_its_parameters_first_of_all(path):
    declared = parameters(path)
    assert set(declared) <= set(KNOWN)
    assert declared["scale"].default == "show"
    assert checked(path, {}) == {}, "its defaults are allowed"
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]
    below = cells[1 + next(place for place, cell in enumerate(cells) if "parameters" in tags_of(cell))].source
    first = next(node for node in ast.walk(ast.parse(below)) if isinstance(node, ast.Call))
    assert ast.unparse(first) == f"check_parameters({', '.join(f'{name}={name}' for name in declared)})"


# Files

CELL = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "size = 3", "outputs": [],
        "execution_count": None, "id": "a"}  # fmt: skip
BOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [CELL]}


@pytest.mark.parametrize(
    "content",
    [b"", b"size = 3", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"{}", json.dumps(BOOK).encode()[:-1],
     json.dumps({**BOOK, "nbformat": 5}).encode(), json.dumps({**BOOK, "cells": [3]}).encode(),
     json.dumps({**BOOK, "cells": [{**CELL, "source": 3}]}).encode(),
     json.dumps({**BOOK, "cells": [{**CELL, "metadata": {"tags": 3}}]}).encode()],
)  # fmt: skip
def test_what_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "x.ipynb").write_bytes(content)
    with pytest.raises(BadParameters, match=r"^x\.ipynb is not a notebook that can be run: .") as refused:
        parameters(tmp_path / "x.ipynb")
    assert len(str(refused.value)) < 300


def test_neither_a_pipe_nor_a_huge_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    with (tmp_path / "huge.ipynb").open("wb") as file:
        file.truncate(2 * 2**30)
    assert f"larger than {LARGEST_NOTEBOOK:,} bytes" in refusal(parameters, tmp_path / "huge.ipynb")
    for name in ("pipe", "folder", "none", "x" * 300):
        assert "is not a notebook" in refusal(parameters, tmp_path / f"{name}.ipynb")
