"""Notebooks without a person: nothing starts on bad input, and only a notebook that reached its end has succeeded."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given

from bad_parameters import EVERY_KIND, check_name_text, names, payloads, write_book
from unseen import headless
from unseen.disk.files import CannotWrite, project_folder
from unseen.headless import BadParameters, NotebookFailed, notebook_path, output_folder, run_notebook
from unseen.parameters import read_notebook

DECLARED = f'scale: str = "smoke"  # the dial\n{EVERY_KIND}'


@pytest.fixture
def book(tmp_path):
    return write_book(tmp_path / "tiny.ipynb", declared=DECLARED)


# Places


def test_a_notebook_is_found_by_number_name_and_path(monkeypatch, book):
    path = project_folder() / "notebooks" / "10_diversity_threshold.ipynb"
    for name in ("10", "10_diversity_threshold", "10_diversity_threshold.ipynb", path, str(path)):
        assert notebook_path(name) == path
    monkeypatch.chdir(book.parent)
    assert notebook_path("tiny.ipynb") == book.resolve()


@pytest.mark.parametrize(
    "name",
    ["77", "1", "", ".", "10_", "diversity", "nothing.ipynb", "../tiny", "*", "elsewhere/10_diversity_threshold.ipynb",
     "/", "\0", "10\0", "\ud800.ipynb", "x" * 5_000 + ".ipynb", "10\n"],
)  # fmt: skip
def test_an_unknown_notebook_is_refused_and_all_listed(name):
    with pytest.raises(BadParameters, match=r"is not one of: 00_start_here, .*10_diversity_threshold") as refused:
        notebook_path(name)
    assert str(refused.value).isprintable()


def test_a_pipe_or_a_folder_is_no_notebook(tmp_path):
    os.mkfifo(tmp_path / "10_diversity_threshold.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(BadParameters, match=r"is not one of: .*nor is it the path of an \.ipynb file"):
            notebook_path(path)


@pytest.mark.parametrize(
    "name", ["smoke", "a/b", "{scale}", "with space", "Zweite Reihe/тест_2.0-b", "stored", "a/store"]
)
def test_outputs_go_below_the_runs_folder(runs, name):
    assert output_folder(name) == runs / name


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/tmp/x", "a/..", "a/../b", "../~/../.."])
def test_outputs_cannot_climb_out(runs, name):
    with pytest.raises(BadParameters, match=f"output folder '{name}' would lie outside"):
        output_folder(name)


@pytest.mark.parametrize(
    "name", ["", ".", "a//b", "a/", "-x", "CON", "a/nul.txt", "x" * 101, "😀", "a\0", "~", "C:\\x"]
)
def test_outputs_have_names_for_every_machine(runs, name):
    with pytest.raises(BadParameters, match=r"output folder .*; each part is 1 to 100 letters, digits or signs"):
        output_folder(name)


def test_outputs_cannot_leave_by_a_link(runs, tmp_path):
    runs.mkdir()
    (runs / "link").symlink_to(tmp_path)
    (runs / "inner").symlink_to(runs / "real")
    (runs / "here").symlink_to(runs)
    for name in ("link", "link/x", "here"):
        with pytest.raises(BadParameters, match="would lie outside"):
            output_folder(name)
    assert output_folder("inner") == runs / "real"


@pytest.mark.parametrize("name", ["store", "Store", "STORE/x", "ſtore", "runs/x"])
def test_outputs_stay_away_from_the_store(runs, name):
    (runs / "store").mkdir(parents=True)
    (runs / "runs").symlink_to(runs / "store")
    with pytest.raises(BadParameters, match="where the project keeps its runs"):
        output_folder(name)


def test_links_in_a_circle_lead_nowhere(runs):
    runs.mkdir()
    (runs / "loop").symlink_to(runs / "loop")
    with pytest.raises(BadParameters, match="loop"):
        output_folder("loop/x")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A runs folder with links that lead out, to the store and to themselves."""
    root = tmp_path_factory.mktemp("place") / "runs"
    (root / "store").mkdir(parents=True)
    (root / "link").symlink_to(root.parent)
    (root / "é").symlink_to(root / "store")
    (root / "loop").symlink_to(root / "loop")
    return root


@given(names())
def test_any_name_lies_inside_or_is_refused(place, name):
    check_name_text(name, place)
    assert sorted(path.name for path in place.parent.iterdir()) == ["runs"]
    assert list((place / "store").iterdir()) == []


def test_no_name_is_evaluated(place, tmp_path):
    for text in payloads(tmp_path / "canary"):
        check_name_text(text, place)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("given", "into"),
    [({"sice": "3"}, None), ({"size": "x"}, None), ({}, "../out"), ({"scale": "../out"}, None), ({"scale": "fast"}, None),
     ({}, "store/x"), ({}, "")],
)  # fmt: skip
def test_nothing_starts_on_bad_input(book, runs, monkeypatch, given, into):
    monkeypatch.setattr(headless, "execute", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(BadParameters):
        run_notebook(book, given, into)
    assert not runs.exists()


def test_nothing_starts_where_nothing_can_be_written(book, runs, monkeypatch):
    monkeypatch.setattr(headless, "execute", lambda *_, **__: pytest.fail("it was started"))
    runs.mkdir()
    (runs / "taken").write_text("a file")
    with pytest.raises(CannotWrite, match="taken"):
        run_notebook(book, {}, into="taken")
    assert (runs / "taken").read_text() == "a file"


# Running; each kernel takes seconds to start


def files(folder):
    return sorted(path.name for path in folder.iterdir())


TOLD = """\
import json, os, sys
from pathlib import Path
told = {"parameters": [label, size, rate, loud, sizes, list(pair), plain], "runs": os.environ["UNSEEN_RUNS"],
        "python": sys.prefix, "headless": os.environ["UNSEEN_HEADLESS"], "here": str(Path.cwd()), "pair": str(type(pair))}
Path("told.json").write_text(json.dumps(told))
"""


def test_a_notebook_that_reaches_its_end(tmp_path, monkeypatch):
    """With a relative runs folder, braces in its path, and a text that would be code if it were not quoted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_RUNS", "runs {size}")
    book = write_book(tmp_path / "tiny.ipynb", TOLD)
    evil = '"; import os; os._exit(1) #\n\\ {x} é' + "".join(payloads(tmp_path / "canary"))
    given = {"label": evil, "size": "9", "sizes": "[4]", "pair": "(2, 'b')"}
    target = run_notebook(book, given, into="{rate}")
    folder = tmp_path.resolve() / "runs {size}" / "{rate}"
    assert target == folder / "tiny.ipynb"
    assert files(folder) == ["tiny.html", "tiny.ipynb", "tiny.success.json"]
    marker = json.loads((folder / "tiny.success.json").read_text())
    as_json = {"label": evil, "size": 9, "sizes": [4], "pair": [2, "b"]}
    assert (marker["notebook"], marker["parameters"]) == ("tiny.ipynb", as_json)
    told = json.loads((tmp_path / "told.json").read_text())  # so it ran where the notebook is
    assert told["parameters"] == [evil, 9, 0.5, False, [4], [2, "b"], 7]
    assert told["pair"] == "<class 'tuple'>"
    assert told["runs"] == str(folder.parent)
    assert told["headless"] == "1"
    assert told["python"] == sys.prefix  # the kernel of this environment, none installed by name elsewhere
    assert os.environ["UNSEEN_RUNS"] == "runs {size}"
    assert "UNSEEN_HEADLESS" not in os.environ
    assert not (tmp_path / "canary").exists()
    page = (folder / "tiny.html").read_text("utf-8")
    assert "told.json" in page
    assert "success.json" not in page


def test_an_executed_copy_runs_anew(book, runs, monkeypatch):
    """Neither the values nor the marker of its earlier run are left in it."""
    old = nbformat.read(book, as_version=4)
    for tag in ("injected-parameters", "success-marker"):
        old.cells.append(nbformat.v4.new_code_cell("raise ValueError('of an earlier run')", metadata={"tags": [tag]}))
    nbformat.write(old, book)
    prepared = []

    def execute(source, *_, **__):
        prepared.extend(read_notebook(Path(source)).cells)
        raise RuntimeError("far enough")

    monkeypatch.setattr(headless, "execute", execute)
    with pytest.raises(NotebookFailed, match="far enough"):
        run_notebook(book, {"size": 4})
    told = [cell.source.splitlines() for cell in prepared]
    assert [told[0], told[1], told[2][-1][:9]] == [DECLARED.splitlines(), ["# Parameters", "size = 4"], "_ = write"]
    assert len(told) == 3
    assert files(runs / "smoke") == []


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", "DeadKernelError"),
        ("import sys; sys.exit()", "did not reach its end"),  # for papermill a success
        ("exit()", "tiny.ipynb"),
        (
            "from unseen.parameters import check_parameters\ncheck_parameters(scale='fast')",
            "scale='fast' must be one of",
        ),
    ],
)
def test_a_notebook_that_stops_before_its_end_has_failed(book, runs, end, how):
    last = "import asyncio; await asyncio.sleep(60); print('the end')"  # exit() waits for what does not let it go
    write_book(book, "print('so far')", end, last, declared=DECLARED)
    (runs / "smoke").mkdir(parents=True)
    (runs / "smoke" / "tiny.success.json").write_text('{"token": "of an earlier success"}')
    with pytest.raises(NotebookFailed, match=how) as failed:
        run_notebook(book, {})
    assert str(runs / "smoke" / "tiny.ipynb") in str(failed.value)
    assert files(runs / "smoke") == ["tiny.ipynb"]
    assert "so far" in (runs / "smoke" / "tiny.ipynb").read_text("utf-8")
