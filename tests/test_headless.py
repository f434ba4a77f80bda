"""Notebooks without a person: nothing starts on bad input, and only a notebook that reached its end has succeeded."""

import json
import os
import sys

import nbformat
import pytest

from unseen import headless
from unseen.headless import (
    BadParameters,
    NotebookFailed,
    checked,
    notebook_path,
    output_folder,
    parameters,
    run_notebook,
)
from unseen.store import project_folder

DECLARED = """\
scale: str = "smoke"  # the dial
size: int = 3
rate: float = 0.5
loud: bool = False
sizes: list = [1, 2]
pair: tuple = (1, "a")
plain = 7
"""


def notebook(path, *cells, declared=DECLARED, tags=("parameters",)):
    """Write a notebook with a parameters cell and some code cells."""
    head = [nbformat.v4.new_code_cell(declared, metadata={"tags": [tag]}) for tag in tags]
    book = nbformat.v4.new_notebook(cells=[*head, *map(nbformat.v4.new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


@pytest.fixture
def book(tmp_path):
    return notebook(tmp_path / "tiny.ipynb")


# Parameters


def test_a_parameters_cell_is_read_with_its_types(book):
    found = {each.name: (each.kind, each.default) for each in parameters(book).values()}
    assert found == {"scale": (str, "smoke"), "size": (int, 3), "rate": (float, 0.5), "loud": (bool, False),
                     "sizes": (list, [1, 2]), "pair": (tuple, (1, "a")), "plain": (int, 7)}  # fmt: skip


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_one_parameters_cell(tmp_path, count):
    book = notebook(tmp_path / "tiny.ipynb", tags=["parameters"] * count)
    with pytest.raises(BadParameters, match=rf"tiny\.ipynb has {count} cells tagged 'parameters'"):
        parameters(book)


@pytest.mark.parametrize(
    "line",
    ["import os", "size = len('abc')", "size: int = 2 + x", "size: int", "size: list[int] = []", "size: Path = 3",
     "a, b = 1, 2", "a = b = 1", "size += 1", "print(3)", "'text'", "x.y = 3", "size: int = {[]: 1}"],
)  # fmt: skip
def test_only_typed_literals_are_declared(tmp_path, line):
    book = notebook(tmp_path / "tiny.ipynb", declared=f"ok = 1\n{line}")
    with pytest.raises(BadParameters, match="line 2: only 'name: type = literal' is allowed"):
        parameters(book)


@pytest.mark.parametrize("line", ["%matplotlib inline", "size: int = ", "def"])
def test_a_parameters_cell_that_is_no_python_is_refused(tmp_path, line):
    with pytest.raises(BadParameters, match=r"tiny\.ipynb: parameters cell, line 2"):
        parameters(notebook(tmp_path / "tiny.ipynb", declared=f"ok = 1\n{line}"))


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("size", "12", 12), ("size", " 12", 12), ("size", "-1_000", -1000), ("size", 12, 12), ("plain", "0", 0),
        ("rate", "1e-3", 0.001), ("rate", "2", 2.0), ("rate", 2, 2.0),
        ("loud", "true", True), ("loud", "False", False), ("loud", True, True),
        ("sizes", "[3, 'x', [True]]", [3, "x", [True]]), ("sizes", [], []), ("pair", "(1, 2.5)", (1, 2.5)),
        ("scale", "12", "12"), ("scale", "", ""), ("scale", "None", "None"),
        ("scale", "__import__('os').system('x')", "__import__('os').system('x')"),  # text stays text
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
        ("size", "(" * 9_999), ("size", "1\nimport os"), ("size", "\0"),
        ("rate", "fast"), ("rate", "nan"), ("rate", "1j"), ("rate", True),
        ("loud", "1"), ("loud", 1), ("loud", "yes"),
        ("sizes", "1, 2"), ("sizes", (1, 2)), ("sizes", "[1, x]"), ("sizes", "[print(1)]"), ("sizes", "[{1}]"),
        ("sizes", "[b'x']"), ("sizes", [object()]), ("sizes", [None]), ("pair", [1]),
        ("scale", 3), ("scale", None), ("scale", b"smoke"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_and_every_parameter_listed(book, name, given):
    kind = parameters(book)[name].kind.__name__
    with pytest.raises(BadParameters, match=rf"must be {kind}; the notebook has scale: str = 'smoke', size: int = 3"):
        checked(book, {"plain": 1, name: given})


@pytest.mark.parametrize("name", ["Size", "", "size ", "__import__('os')", "size=3; import os", "_", "print"])
def test_an_unknown_name_is_refused_and_every_parameter_listed(book, name):
    with pytest.raises(BadParameters, match=r"has no parameter .*; it has scale: str = 'smoke', size: int = 3"):
        checked(book, {name: "1"})


# Places


def test_a_notebook_is_found_by_number_name_and_path(monkeypatch, book):
    path = project_folder() / "notebooks" / "10_diversity_threshold.ipynb"
    for name in ("10", "10_diversity_threshold", "10_diversity_threshold.ipynb", path, str(path)):
        assert notebook_path(name) == path
    monkeypatch.chdir(book.parent)
    assert notebook_path("tiny.ipynb") == book.resolve()


@pytest.mark.parametrize("name", ["77", "1", "", ".", "10_", "diversity", "nothing.ipynb", "../tiny", "*"])
def test_an_unknown_notebook_is_refused_and_all_listed(name):
    with pytest.raises(BadParameters, match=r"is not one of: 00_start_here, .*10_diversity_threshold"):
        notebook_path(name)


@pytest.mark.parametrize("name", ["smoke", "a/b", "a/../b", "{scale}", "with space"])
def test_outputs_go_below_the_runs_folder(runs, name):
    assert runs in output_folder(name).parents


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/tmp/x", "", ".", "a/..", "~/../.."])
def test_outputs_cannot_climb_out(runs, name):
    if name.startswith("~"):
        name = "../" + name
    with pytest.raises(BadParameters, match="would lie outside"):
        output_folder(name)


def test_outputs_cannot_leave_by_a_link(runs, tmp_path):
    runs.mkdir()
    (runs / "link").symlink_to(tmp_path)
    (runs / "inner").symlink_to(runs / "real")
    for name in ("link", "link/x"):
        with pytest.raises(BadParameters, match="would lie outside"):
            output_folder(name)
    assert output_folder("inner") == runs / "real"


@pytest.mark.parametrize(
    ("given", "into"), [({"sice": "3"}, None), ({"size": "x"}, None), ({}, "../out"), ({"scale": "../out"}, None)]
)
def test_nothing_starts_on_bad_input(book, runs, monkeypatch, given, into):
    monkeypatch.setattr(headless.papermill, "execute_notebook", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(BadParameters):
        run_notebook(book, given, into)
    assert not runs.exists()


# Running; each kernel takes seconds to start


def files(folder):
    return sorted(path.name for path in folder.iterdir())


TOLD = """\
import json, os, sys
from pathlib import Path
told = {"parameters": [scale, size, rate, loud, sizes, list(pair), plain], "runs": os.environ["UNSEEN_RUNS"],
        "python": sys.prefix, "headless": os.environ["UNSEEN_HEADLESS"], "here": str(Path.cwd())}
Path("told.json").write_text(json.dumps(told))
"""


def test_a_notebook_that_reaches_its_end(book, tmp_path, monkeypatch):
    """With a relative runs folder, braces in its path, and a text that would be code if it were not quoted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_RUNS", "runs {size}")
    notebook(book, TOLD)
    evil = '"; import os; os._exit(1) #\n\\ {x} é'
    target = run_notebook(book, {"scale": evil, "size": "9", "sizes": "[4]"}, into="{rate}")
    folder = tmp_path.resolve() / "runs {size}" / "{rate}"
    assert target == folder / "tiny.ipynb"
    assert files(folder) == ["tiny.html", "tiny.ipynb", "tiny.success.json"]
    marker = json.loads((folder / "tiny.success.json").read_text())
    assert (marker["notebook"], marker["parameters"]) == ("tiny.ipynb", {"scale": evil, "size": 9, "sizes": [4]})
    told = json.loads((tmp_path / "told.json").read_text())  # so it ran where the notebook is
    assert told["parameters"] == [evil, 9, 0.5, False, [4], [1, "a"], 7]
    assert told["runs"] == str(folder.parent)
    assert told["headless"] == "1"
    assert told["python"] == sys.prefix  # the kernel of this environment, none installed by name elsewhere
    assert os.environ["UNSEEN_RUNS"] == "runs {size}"
    assert "UNSEEN_HEADLESS" not in os.environ
    page = (folder / "tiny.html").read_text("utf-8")
    assert "told.json" in page
    assert "success.json" not in page


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", "DeadKernelError"),
        ("import sys; sys.exit()", "did not reach its end"),  # for papermill a success
        ("exit()", "tiny.ipynb"),
    ],
)
def test_a_notebook_that_stops_before_its_end_has_failed(book, runs, end, how):
    notebook(book, "print('so far')", end, "print('the end')")
    (runs / "smoke").mkdir(parents=True)
    (runs / "smoke" / "tiny.success.json").write_text('{"token": "of an earlier success"}')
    with pytest.raises(NotebookFailed, match=how) as failed:
        run_notebook(book, {})
    assert str(runs / "smoke" / "tiny.ipynb") in str(failed.value)
    assert files(runs / "smoke") == ["tiny.ipynb"]
    assert "so far" in (runs / "smoke" / "tiny.ipynb").read_text("utf-8")
