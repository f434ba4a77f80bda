"""Names of runs: rejected, or contained under the runs folder, whatever links lie about."""

import os

import nbformat
import pytest
from deeds import AMOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen import headless
from unseen.cli import main
from unseen.files import write
from unseen.runs.tables import BadName, folder_in

fuzzed = settings(max_examples={"short": 50, "usual": 2_000, "long": 20_000}[AMOUNT])
BAD = ["../x", "a/../../x", "/tmp/x", "", "store", "nul.txt", "a" * 300, "run 😀", "-rf", ".git"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("steps\n4\n")
    return path


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch):
    monkeypatch.setattr(headless, "_execute", lambda *_: pytest.fail("it was started"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused(runs, table, promise, refused, name):
    refused("run", "00", f"--into={name}")
    refused("sweep", table, "--scale", "smoke", f"--name={name}")
    assert not runs.exists()
    promise("bad names", 2)


@pytest.mark.parametrize("target", ["away", "nothing", "runs", "runs/store", "runs/sweeps/mine"])
@pytest.mark.parametrize("link", ["sweeps", "sweeps/mine"])
def test_a_link_out_of_the_runs_folder_is_not_followed(runs, table, tmp_path, promise, capsys, link, target):
    away = tmp_path / "away"
    away.mkdir()
    place = runs / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / target)
    code = main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial", "--name", "mine"])
    assert code == 2, capsys.readouterr()
    assert list(away.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["away", "mine.csv", "runs"]
    assert sorted(path.name for path in runs.rglob("*")) == sorted(link.split("/"))
    promise("links that lead out of sweeps")


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "folder"])
@pytest.mark.parametrize("name", ["00_start_here.ipynb", "00_start_here.html", "00_start_here.success.json"])
def test_an_output_replaces_what_lies_in_its_place(runs, tmp_path, promise, monkeypatch, capsys, name, kind):
    """papermill itself writes through a link, and waits for a pipe."""
    precious, place = tmp_path / "precious", runs / "show" / name
    precious.write_text("mine")
    place.parent.mkdir(parents=True)
    {
        "link": lambda: place.symlink_to(precious),
        "link to nothing": lambda: place.symlink_to(tmp_path / "new"),
        "pipe": lambda: os.mkfifo(place),
        "folder": lambda: place.mkdir(),
    }[kind]()

    def execute(book, target, _, success):
        """Write as papermill does, and as the last cell does."""
        target.write_text(nbformat.writes(book))
        monkeypatch.setenv("UNSEEN_SUCCESS", success)
        exec(book.cells[-1].source, {})

    monkeypatch.setattr(headless, "_execute", execute)
    code = main(["run", "00"])
    lost = kind == "folder" and not name.endswith(".html")  # a page that cannot be written costs nothing
    assert code == (1 if lost else 0)
    assert "Traceback" not in capsys.readouterr().err
    assert precious.read_text() == "mine"
    assert not (tmp_path / "new").exists()
    assert kind == "folder" or (place.is_file() and not place.is_symlink())
    promise("things in place of an output")


def test_the_runs_folder_itself_may_be_a_link(tmp_path, table, promise, monkeypatch):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.setenv("UNSEEN_RUNS", str(link))
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 0
    assert (real / "sweeps" / "mine" / "results.csv").is_file()
    promise("runs folders that are links")


def test_a_circle_of_links_is_an_error(tmp_path, table, promise, monkeypatch, refused):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "a"))
    refused("sweep", table, "--scale", "smoke", code=1)
    promise("circles of links")


def texts():
    """Any text, and texts of what matters in a name."""
    odd = ["..", ".", "", "a", "Store", "CON", "nul.txt", "-x", "x ", "link", "~", "C:", "é", "\\", "a" * 61,
           "\n", "{pm}", "loop"]  # fmt: skip
    parts = st.lists(st.sampled_from(odd), max_size=10).map("/".join)
    return st.one_of(st.text(), parts, st.text("./-a \\", max_size=12))


@fuzzed
@given(texts())
def fuzz(root, count, text):
    count("names of any text")
    try:
        folder = folder_in(root, text, "output folder")
    except BadName:
        return
    inside = os.path.relpath(os.path.realpath(folder), root).split(os.sep)
    assert inside[0] not in (".", "..")
    assert inside[0].casefold() != "store"
    write(folder / "x", "")  # OSError: the name is not fit after all


def test_hunt(tmp_path, promise):
    root = (tmp_path / "runs").resolve()
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    fuzz(root, promise)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
