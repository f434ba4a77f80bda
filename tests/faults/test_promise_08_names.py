"""Names of runs: rejected, or contained under the runs folder, whatever links lie about."""

import os
from pathlib import Path

import pytest
from deeds import AMOUNT
from hypothesis import given, settings

from bad_parameters import check_name_text, names
from unseen import headless, named
from unseen.cli import main
from unseen.names import BadName

fuzzed = settings(max_examples={"short": 50, "usual": 2_000, "long": 20_000}[AMOUNT])
BAD = {
    "climbing": "../x", "climbing within": "a/../../x", "absolute": "/tmp/x", "home": "~/x", "empty": "", "a dot": ".",
    "two dots": "..", "reserved": "store", "reserved, in capitals": "STORE/x", "reserved on Windows": "con",
    "reserved with an extension": "nul.txt", "300 characters": "a" * 300, "300 bytes": "é" * 150 + "/" + "字" * 86,
    "emoji": "run 😀", "a null": "a\0b", "a line end": "a\nb", "an option": "-rf", "hidden": ".git", "a tab": "a\tb",
    "a space behind": "x ", "a backslash": "a\\..\\b", "a bell": "\a", "right to left": "a\u202eb", "deep": "/".join("abcdefghij"),
}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("steps\n4\n")
    return path


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch):
    monkeypatch.setattr(headless, "execute", lambda *_, **__: pytest.fail("it was started"))


@pytest.mark.parametrize("what", BAD)
def test_a_bad_name_is_refused(runs, table, promise, capsys, what):
    if "\0" not in BAD[what]:
        assert main(["run", "00", f"--into={BAD[what]}"]) == 2
    assert main(["sweep", str(table), "--scale", "smoke", f"--name={BAD[what]}"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.count("unseen: ") >= 1
    assert not runs.exists()
    promise("bad names", 2)


@pytest.mark.parametrize("link", ["sweeps", "sweeps/mine"])
def test_a_link_out_of_the_runs_folder_is_not_followed(runs, table, tmp_path, promise, capsys, link):
    away = tmp_path / "away"
    away.mkdir()
    place = runs / link
    place.parent.mkdir(parents=True)
    place.symlink_to(away)
    code = main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial", "--name", "mine"])
    assert code == 2, capsys.readouterr()
    assert list(away.iterdir()) == []
    promise("links that lead out of sweeps")


def test_a_link_out_of_the_outputs_is_not_followed(runs, tmp_path, promise):
    away = tmp_path / "away"
    away.mkdir()
    runs.mkdir()
    (runs / "smoke").symlink_to(away)
    (runs / "inner").symlink_to(runs / "real")
    (runs / "back").symlink_to(runs / "store")
    for name in ("smoke", "smoke/x", "back"):
        assert main(["run", "00", "--into", name]) == 2
    assert list(away.iterdir()) == []
    promise("links that lead out of outputs", 3)


def test_the_runs_folder_itself_may_be_a_link(tmp_path, table, promise, monkeypatch):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.setenv("UNSEEN_RUNS", str(link))
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 0
    assert (real / "sweeps" / "mine" / "results.csv").is_file()
    promise("runs folders that are links")


def test_a_circle_of_links_is_told(tmp_path, table, promise, monkeypatch, capsys):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "a"))
    assert main(["sweep", str(table), "--scale", "smoke"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    promise("circles of links")


@fuzzed
@given(names())
def fuzz(root, count, text):
    count("names of any text", 2)
    check_name_text(text, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(root))
        try:
            folder = named.folder_of(text)
        except BadName:
            return
    assert Path(os.path.realpath(folder)).parent == Path(os.path.realpath(root)) / "sweeps"


def test_hunt(tmp_path, promise):
    root = tmp_path / "runs"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    fuzz(root, promise)
