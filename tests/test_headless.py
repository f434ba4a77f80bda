"""Notebooks without a person: nothing starts on bad input; success is to reach the last cell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest

from bad_parameters import EVERY_KIND, payloads, write_book
from unseen import headless
from unseen.files import project_folder
from unseen.headless import NotebookFailed, notebook_path, run_notebook
from unseen.parameters import BadParameters
from unseen.runs.tables import BadName, folder_in

DECLARED = f'scale: str = "smoke"  # the dial\n{EVERY_KIND}'


@pytest.fixture
def book(tmp_path):
    return write_book(tmp_path / "tiny.ipynb", declared=DECLARED)


def test_a_notebook_is_found_by_number_name_and_path(monkeypatch, book):
    path = project_folder() / "notebooks" / "10_diversity_threshold.ipynb"
    for name in ("10", "10_diversity_threshold", "10_diversity_threshold.ipynb", path, str(path)):
        assert notebook_path(name) == path
    monkeypatch.chdir(book.parent)
    assert notebook_path("tiny.ipynb") == book.resolve()


UNKNOWN = ["77", "1", "", ".", "10_", "nothing.ipynb", "../tiny", "a/10_diversity_threshold.ipynb", "*",
           "10\0", "\ud800.ipynb", "x" * 5_000 + ".ipynb", "10\n"]  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_notebook_is_refused_and_all_listed(name):
    refusal = r"neither one of: 00_start_here, .*10_diversity_threshold"
    with pytest.raises(BadParameters, match=refusal) as refused:
        notebook_path(name)
    assert str(refused.value).isprintable()


def test_a_pipe_or_a_folder_is_no_notebook(tmp_path):
    os.mkfifo(tmp_path / "10_diversity_threshold.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(BadParameters, match=r"nor the path of an \.ipynb file"):
            notebook_path(path)


# Folders that a person names


GOOD = ["smoke", "a/b", "with space", "{scale}", "数据/试验", "première", "字" * 60, "/".join("abcdefgh"),
        "console", "COM10", "a/store", "stored", "a..b", "x" * 60]  # fmt: skip
BAD = ["..", "../x", "a/../b", "/a", "//", "", "a//b", "a/", ".", ".hidden", "-rf", "a ", "a.", " ", "x" * 61,
       "a/" * 8 + "a", "a\0b", "a\nb", "a\u200db", "\u202egnp", "\ud800", "😀", "a\\b", "C:x", "a*", "~",
       "$HOME", "a;b", "CON", "a/nul.txt", "com1", "Lpt9.tar.gz", "aux .txt", "store", "Store/x", "ſtore",
       ]  # fmt: skip


def test_a_good_name_is_a_folder_inside_and_a_bad_one_is_refused_by_name(tmp_path):
    assert [folder_in(tmp_path, name, "folder") for name in GOOD] == [tmp_path / name for name in GOOD]
    for name in BAD:
        with pytest.raises(BadName, match=r"^output folder '"):
            folder_in(tmp_path, name, "output folder")


# Running; each kernel takes seconds to start


def files(folder):
    return sorted(path.name for path in folder.iterdir())


SEEN = """\
import json, os, sys
from pathlib import Path
seen = {"parameters": [label, size, rate, loud, plain], "runs": os.environ["UNSEEN_RUNS"],
        "python": sys.prefix, "headless": os.environ["UNSEEN_HEADLESS"]}
Path("seen.json").write_text(json.dumps(seen))
"""


def test_a_notebook_that_reaches_its_end(tmp_path, monkeypatch):
    """With a relative runs folder, braces in its path, and a text that would be code without quotes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_RUNS", "runs {size}")
    book = write_book(tmp_path / "tiny.ipynb", SEEN)
    evil = '"; import os; os._exit(1) #\n\\ {x} é' + "".join(payloads(tmp_path / "canary"))
    target = run_notebook(book, {"label": evil, "size": "9"}, into="{rate}")
    folder = tmp_path.resolve() / "runs {size}" / "{rate}"
    assert target == folder / "tiny.ipynb"
    assert files(folder) == ["tiny.html", "tiny.ipynb", "tiny.success.json"]
    marker = json.loads((folder / "tiny.success.json").read_text())
    assert (marker["notebook"], marker["parameters"]) == ("tiny.ipynb", {"label": evil, "size": 9})
    assert json.loads((tmp_path / "seen.json").read_text()) == {  # so it ran where the notebook is
        "parameters": [evil, 9, 0.5, False, 7],
        "runs": str(folder.parent),
        "python": sys.prefix,  # the kernel of this environment
        "headless": "1",
    }
    assert "UNSEEN_HEADLESS" not in os.environ
    assert not (tmp_path / "canary").exists()
    page = (folder / "tiny.html").read_text("utf-8")
    assert "seen.json" in page
    assert "success.json" not in page


HABITS = [  # what a user may have configured; none of it may end work
    {"PYTHONIOENCODING": "ascii", "MPLBACKEND": "TkAgg", "MPLCONFIGDIR": "mpl", "IPYTHONDIR": "ipython",
     "PYTHONSTARTUP": "ipython/profile_default/startup/own.py"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/nowhere", "NO_COLOR": "1",
     "TZ": "Nonsense/Zone", "TQDM_DISABLE": "1", "JUPYTER_PATH": "jupyter"},
]  # fmt: skip
DRAWN = """\
import matplotlib.pyplot as plt
from unseen.figures import set_theme
set_theme()
print("• → ✓")
print("a loss of 50 % → é", file=__import__("sys").stderr)
plt.plot([0, 1], label="a_b")
plt.title("100 % of x_1")
plt.show()
assert sum([[1], [2]], []) == [1, 2]
"""


@pytest.mark.parametrize("habit", HABITS, ids=["ascii, plots", "C, others"])
def test_no_habit_of_a_user_ends_work(tmp_path, habit):
    write_book(tmp_path / "tiny.ipynb", DRAWN)
    (tmp_path / "mpl").mkdir()
    (tmp_path / "mpl" / "matplotlibrc").write_text("text.usetex: True\naxes.formatter.use_locale: True\n")
    own = tmp_path / "ipython" / "profile_default" / "startup" / "own.py"
    own.parent.mkdir(parents=True)
    own.write_text("from numpy import *\nlabel = display = None\n")
    other = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"argv": ["no python", "{connection_file}"], "display_name": "", "language": "python"}')
    command = [sys.executable, "-m", "unseen", "run", "./tiny.ipynb"]
    environment = {**os.environ, "UNSEEN_RUNS": "runs", **habit}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr[-3_000:]
    assert b"IPKernelApp" not in ran.stderr
    assert files(tmp_path / "runs" / "notebooks") == ["tiny.html", "tiny.ipynb", "tiny.success.json"]
    assert '"image/png"' in (tmp_path / "runs" / "notebooks" / "tiny.ipynb").read_text("utf-8")


def marked(success):
    path, content = json.loads(success)
    headless.write(Path(path), content)


def test_an_error_in_the_page_loses_nothing(book, runs, monkeypatch, capsys):
    monkeypatch.setattr(headless, "_execute", lambda *given: marked(given[-1]))
    monkeypatch.setattr(headless, "page", Mock(side_effect=RuntimeError("no template\nat all")))
    assert run_notebook(book, {}) == runs / "smoke" / "tiny.ipynb"
    assert files(runs / "smoke") == ["tiny.ipynb", "tiny.success.json"]
    assert "page in HTML could not be written: no template at all" in capsys.readouterr().err


def test_without_assertions_nothing_starts(book, runs):
    line = f"print(unseen.cli.main(['run', {str(book)!r}])); unseen.parameters.check_parameters()"
    command = [sys.executable, "-O", "-c", f"import unseen.cli; {line}"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (1, "2\n")
    assert ran.stderr.count("leaves out the assertions that check the results: unset PYTHONOPTIMIZE") == 2
    assert not runs.exists()


def test_an_executed_copy_runs_anew(book, runs, monkeypatch):
    """Neither the values nor the marker of its earlier run are left in it."""
    old = nbformat.read(book, as_version=4)
    for tag in ("injected-parameters", "success-marker"):
        old.cells.append(
            nbformat.v4.new_code_cell("raise ValueError('of an earlier run')", metadata={"tags": [tag]})
        )
    nbformat.write(old, book)
    prepared = []
    monkeypatch.setattr(headless, "_execute", lambda book, *_: prepared.extend(book.cells))
    with pytest.raises(NotebookFailed, match="did not reach its end"):
        run_notebook(book, {"size": 4})
    sources = [cell.source for cell in prepared]
    assert sources[:2] == [DECLARED, "# Parameters\nsize = 4"]
    assert len(sources) == 3
    monkeypatch.delenv("UNSEEN_SUCCESS", raising=False)
    exec(sources[-1], {})  # by hand, or on another machine
    assert files(runs / "smoke") == ["tiny.ipynb"]


def test_a_notebook_that_stops_before_its_end_has_failed(book, runs):
    end = "from unseen.parameters import check_parameters\ncheck_parameters(scale='fast')"
    write_book(book, "print('so far')", end, "print('the end')", declared=DECLARED)
    (runs / "smoke").mkdir(parents=True)
    (runs / "smoke" / "tiny.success.json").write_text('{"token": "of an earlier success"}')
    refusal = r":\nBadParameters: scale='fast' must be one of [^\n]*\n\nwhat"  # and no frames
    with pytest.raises(NotebookFailed, match=refusal) as failed:
        run_notebook(book, {})
    assert str(runs / "smoke" / "tiny.ipynb") in str(failed.value)
    assert files(runs / "smoke") == ["tiny.ipynb"]
    assert "so far" in (runs / "smoke" / "tiny.ipynb").read_text("utf-8")
