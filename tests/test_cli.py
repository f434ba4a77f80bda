"""The ``unseen`` command: what it starts, what it says, how it exits."""

import json
from dataclasses import replace
from importlib.metadata import entry_points

import pytest

from unseen import cli
from unseen.headless import BadParameters, NotebookFailed
from unseen.scales import SCALES, scale
from unseen.store import BrokenRun, Store, import_model
from unseen.sweep import ensure


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """What was given to the notebooks that the command ran; none of them really runs."""
    calls = []

    def run(name, given, into=None):
        calls.append((name, given, into))
        return tmp_path / f"{name}.ipynb"

    monkeypatch.setattr(cli, "run_notebook", run)
    return calls


def raising(monkeypatch, error):
    def run(*_):
        raise error

    monkeypatch.setattr(cli, "run_notebook", run)


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="unseen")
    assert command.load() is cli.main


# unseen run


def test_run_passes_parameters_on_and_prints_where_the_result_is(ran, capsys, tmp_path):
    assert cli.main(["run", "10", "-p", "scale=quick", "--parameter", "text=a=b ", "--into", "mine"]) == 0
    assert ran == [("10", {"scale": "quick", "text": "a=b "}, "mine")]
    assert capsys.readouterr().out == f"{tmp_path / '10.ipynb'}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "77"], "notebook '77' is not one of: 00_start_here"),
        (["run", "10", "-p", "scale"], "-p 'scale' must be NAME=VALUE"),
        (["run", "10", "-p", "scale=fast"], "scale='fast': known scales are smoke, quick, full, paper"),
        (["run", "10", "-p", "sice=3"], "10_diversity_threshold.ipynb has no parameter 'sice'; it has scale: str"),
        (["run", "10", "-p", "=3"], "has no parameter ''"),
        (["run", "04", "-p", "seed=many"], "seed='many' must be int"),
        (["run", "10", "--into", "../out"], "output folder '../out' would lie outside"),
        (["study", "--scale", "fast"], "scale='fast': known scales are smoke, quick, full, paper"),
        (["keep", "--scale", "fast"], "scale='fast': known scales are smoke, quick, full, paper"),
        (["keep", "--scale", "smoke"], "nothing to keep in"),
    ],
)
def test_bad_input_is_told_and_nothing_starts(runs, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("it was started"))
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("unseen: ")
    assert message in told.err
    assert "Traceback" not in told.err
    assert not runs.exists()


@pytest.mark.parametrize("arguments", [[], ["train"], ["run"], ["run", "10", "-p"], ["study", "--fast"]])
def test_a_bad_command_line_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert exited.value.code == 2
    assert "usage: unseen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NotebookFailed("10 stopped"), 1, "unseen: 10 stopped\n"),
        (BrokenRun("weights are missing"), 1, "unseen: weights are missing\n"),
        (BadParameters("no such"), 2, "unseen: no such\n"),
        (KeyboardInterrupt(), 130, "unseen: interrupted; the same command goes on from here\n"),
    ],
)
def test_exit_codes(monkeypatch, capsys, error, code, message):
    raising(monkeypatch, error)
    assert cli.main(["run", "10"]) == code
    assert capsys.readouterr().err == message


# unseen study


def test_study_runs_the_main_notebook_first_and_reports(ran, monkeypatch, capsys, tmp_path):
    reports = []
    monkeypatch.setattr(cli, "write_report", lambda *arguments: reports.append(arguments) or tmp_path / "report.html")
    assert cli.main(["study", "--scale", "smoke"]) == 0
    assert [name for name, _, _ in ran] == list(cli.STUDY)
    assert cli.STUDY[0] == "10_diversity_threshold"
    assert all(given == {"scale": "smoke"} for _, given, _ in ran)
    ((chosen, notebooks, seconds),) = reports
    assert chosen is scale("smoke")
    assert notebooks == [tmp_path / f"{name}.ipynb" for name in cli.STUDY]
    assert list(seconds) == list(cli.STUDY)
    assert str(tmp_path / "report.html") in capsys.readouterr().out


def test_study_stops_at_a_notebook_that_failed(monkeypatch):
    raising(monkeypatch, NotebookFailed("stopped"))
    monkeypatch.setattr(cli, "write_report", lambda *_: pytest.fail("a report of nothing"))
    assert cli.main(["study", "--scale", "smoke"]) == 1


# unseen keep


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "project_folder", lambda: tmp_path / "project")
    return tmp_path / "project"


def finished_study(runs, name):
    for file in ("10_a.csv", "10_a.json", "10_a.success.json", "10_a.ipynb", "10_a.html", "report.html", "note.csv"):
        (runs / name).mkdir(parents=True, exist_ok=True)
        (runs / name / file).write_text(file)


def test_keep_copies_results_and_nothing_else(runs, project):
    finished_study(runs, "full")
    assert cli.main(["keep", "--scale", "full"]) == 0
    kept = {str(path.relative_to(project)): path.read_text() for path in project.rglob("*") if path.is_file()}
    assert kept == {"data/results/full/10_a.csv": "10_a.csv", "data/results/full/10_a.json": "10_a.json"}


def test_keep_of_quick_exports_two_models(runs, project, monkeypatch, capsys):
    monkeypatch.setitem(SCALES, "quick", replace(scale("smoke"), name="quick"))
    monkeypatch.setattr(cli, "DEMO", {"low": 2, "high": 64})
    finished_study(runs, "quick")
    assert cli.main(["keep"]) == 2
    assert "no run on 2 instructions in the store" in capsys.readouterr().err
    manifests = {name: ensure(scale("quick").run(size), Store(), device="cpu") for name, size in cli.DEMO.items()}
    assert cli.main(["keep", "--scale", "quick"]) == 0
    for name, size in cli.DEMO.items():
        path = project / "data" / "checkpoints" / f"{name}.safetensors"
        assert import_model(path)[1] == scale("quick").run(size)
        scores = {line["split"]: line["accuracy"] for line in manifests[name]["scores"]}
        assert json.loads(path.with_suffix(".json").read_text())["accuracy"] == scores
