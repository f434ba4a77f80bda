"""The ``unseen`` command: what it starts, what it says, how it exits."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from unseen import __main__ as door
from unseen import cli, objectives
from unseen.headless import NotebookFailed, notebook_path, notebooks
from unseen.parameters import BadParameters, parameters
from unseen.runs.store import SpecChanged, Store, ensure
from unseen.scales import SCALES, scale
from unseen.signals import Terminated
from unseen.studies import claims


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """What was given to the notebooks that the command ran; none of them really runs."""
    calls = []

    def run(name, given, into=None):
        calls.append((name, given, into))
        return tmp_path / f"{name}.ipynb"

    monkeypatch.setattr(cli, "run_notebook", run)
    return calls


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="unseen")
    assert command.load() is door.main


# unseen run


def test_run_passes_parameters_on_and_prints_where_the_result_is(ran, capsys, tmp_path):
    assert cli.main(["run", "10", "-p", "scale=quick", "--parameter", "text=a=b ", "--into", "mine"]) == 0
    assert ran == [("10", {"scale": "quick", "text": "a=b "}, "mine")]
    assert capsys.readouterr().out == f"{tmp_path / '10.ipynb'}\n"


@pytest.mark.parametrize(("arguments", "message"), [
    (["study", "--scale", "fast"], "scale='fast': known scales are show, smoke, quick, full, paper"),
    (["study", "--scale", "smoke", "--scheduler", "slurm"], "scheduler='slurm' must be"),
    (["keep", "--scale", "fast"], "scale='fast': known scales are show, smoke, quick, full, paper"),
    (["keep", "--scale", "smoke"], "nothing to keep in"),
    (["train", "-p", "widht=3"], "column 'widht' is unknown; did you mean 'width'?"),
])  # fmt: skip
def test_bad_input_is_named_and_nothing_starts(runs, capsys, arguments, message):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("unseen: ")
    assert message in err
    assert "Traceback" not in err
    assert not runs.exists()


@pytest.mark.parametrize("arguments", ["", "tarin", "run", "run 10 -p", "run 10 -p seed", "study --fast"])
def test_a_bad_command_line_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments.split())
    assert "usage: unseen" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code", "message"), [
    (NotebookFailed("10 stopped"), 1, "unseen: 10 stopped\n"),
    (BadParameters("no such"), 2, "unseen: no such\n"),
    (SpecChanged("steps: 1 before, 2 now"), 2, "unseen: steps: 1 before, 2 now\n"),
    (PermissionError(13, "Permission denied", "/x"), 1, "unseen: [Errno 13] Permission denied: '/x'\n"),
    (KeyboardInterrupt(), 130, "unseen: interrupted; the same command resumes from here\n"),
    (Terminated(), 143, "unseen: terminated; the same command resumes from here\n"),
])  # fmt: skip
def test_exit_codes(monkeypatch, capsys, error, code, message):
    monkeypatch.setattr(cli, "run_notebook", Mock(side_effect=error))
    monkeypatch.setattr(cli, "write_report", lambda *_: pytest.fail("a report of a study that failed"))
    assert cli.main(["study", "--scale", "smoke"]) == code
    assert capsys.readouterr().err == message


def test_only_what_keeps_its_work_is_said_to_resume(runs, monkeypatch, capsys):
    monkeypatch.setattr(cli.inventory, "verify", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["verify"]) == 130
    assert capsys.readouterr().err == "unseen: interrupted; the same command starts again\n"


# unseen study


@pytest.fixture
def reports(monkeypatch, tmp_path):
    """What was given to the report; none is written."""
    calls = []
    monkeypatch.setattr(cli, "write_report", lambda *given: calls.append(given) or tmp_path / "report.html")
    return calls


def test_study_runs_the_main_notebook_first_and_reports(ran, reports, capsys, tmp_path):
    assert cli.main(["study", "--scale", "smoke"]) == 0
    names = [name for name, _, _ in ran]
    assert names[:2] == ["10_diversity_threshold", "00_start_here"]
    assert sorted(names) == [path.stem for path in notebooks() if path.stem < "11"]
    assert all(given == {"scale": "smoke"} for _, given, _ in ran)
    ((name, seconds),) = reports
    assert (name, list(seconds)) == ("smoke", names)
    assert str(tmp_path / "report.html") in capsys.readouterr().out


def test_all_of_the_study_is_every_notebook_and_those_that_train_get_the_scheduler(ran, reports):
    assert cli.main(["study", "--scale", "smoke", "--all", "--scheduler", "serial"]) == 0
    assert sorted(name for name, _, _ in ran) == [path.stem for path in notebooks()]
    for name, given, _ in ran:
        assert ("scheduler" in given) == ("scheduler" in parameters(notebook_path(name)))


# unseen keep


@pytest.fixture
def project(tmp_path, monkeypatch):
    place = tmp_path / "project"
    monkeypatch.setattr(cli, "project_folder", lambda: place)
    (place / "data").mkdir(parents=True)
    (place / "data" / "README.md").write_text("a<!-- verdicts --> old <!-- end of verdicts -->b")
    (place / "README.md").write_text("a<!-- findings --><!-- end of findings -->b")
    return place


def finished_study(runs, name):
    (runs / name).mkdir(parents=True)
    for end in ("csv", "json", "success.json", "ipynb", "html"):
        (runs / name / f"10_a.{end}").write_text(f'{{"scale": "{name}"}}')
    (runs / name / "note.csv").write_text("of the reader")


def test_keep_copies_results_of_its_scale_and_nothing_else(runs, project, capsys):
    finished_study(runs, "quick")
    (runs / "quick").rename(runs / "full")
    assert cli.main(["keep", "--scale", "full"]) == 2
    assert "10_a.json is of scale=quick, so it is no result of full" in capsys.readouterr().err
    assert not (project / "data" / "results").exists()
    shutil.rmtree(runs / "full")
    finished_study(runs, "full")
    assert cli.main(["keep", "--scale", "full"]) == 0
    kept = {str(path.relative_to(project)): path.read_text() for path in project.rglob("*") if path.is_file()}
    told = kept.pop("data/README.md")
    mark, head, _, *rows, end = told.splitlines()
    assert (mark, end) == ("a<!-- verdicts -->", "<!-- end of verdicts -->b")
    assert head == "| experiment | claim | quick | full | before, and why it changed |"
    assert [row.split(" | ")[2:4] for row in rows] == [["not run"] * 2] * len(claims.CLAIMS)
    assert kept.pop("README.md").startswith("a<!-- findings -->\n* **The threshold**")
    about = '{"scale": "full"}'
    assert kept == {"data/results/full/10_a.csv": about, "data/results/full/10_a.json": about}


def test_keep_of_quick_copies_two_models(runs, project, monkeypatch, capsys):
    monkeypatch.setitem(SCALES, "quick", replace(scale("smoke"), name="quick"))
    finished_study(runs, "quick")
    assert cli.main(["keep"]) == 1
    assert "is not finished" in capsys.readouterr().err
    ends = scale("quick").ends()
    found = [ensure(spec, Store(), device="cpu") for spec in ends]
    assert cli.main(["keep", "--scale", "quick"]) == 0
    assert [Store(project / "data" / "store").manifest(spec) for spec in ends] == found


# unseen train, sweep


TRAIN = ["train", "--scale", "smoke", "-p", "steps=4"]


def test_train_trains_one_run_prints_its_scores_and_the_store_is_looked_at(runs, capsys):
    assert cli.main(["status"]) == 0
    assert "no runs" in capsys.readouterr().out
    assert cli.main([*TRAIN, "-p", "seed=3"]) == 0
    out = capsys.readouterr().out
    spec = scale("smoke").main.base
    spec = spec.but(training=spec.training.but(steps=4)).with_seed(3)
    assert Store().manifest(spec)
    assert "step=4 loss=" in out
    assert f"run {spec.digest()}: seen " in out
    assert cli.main([*TRAIN, "-p", "seed=3"]) == 0
    assert "step=4" not in capsys.readouterr().out  # it is in the store
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    assert "1 done" in out
    assert "4/4" in out
    assert cli.main(["status", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("run,what,state,step,steps,age,size,reason\n")
    assert cli.main(["verify"]) == 0
    assert capsys.readouterr().out == "4 files are what was written, 0 are not\n"
    assert cli.main(["clean", "--yes"]) == 0
    assert capsys.readouterr().out == "0 files, 0 broken runs\n"


def test_a_sweep_leaves_its_results_under_its_name(runs, tmp_path, capsys):
    table = tmp_path / "widths.csv"
    table.write_text("width,steps\n16,4\n32,4\n")
    arguments = ["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]
    assert cli.main(arguments) == 0
    path = runs / "sweeps" / "widths" / "results.csv"
    assert str(path) in capsys.readouterr().out
    results = pd.read_csv(path)
    assert results["width"].tolist() == [16, 16, 32, 32]
    assert results["state"].eq("done").all()
    assert cli.main([*arguments, "--name", "again"]) == 0
    assert (runs / "sweeps" / "again" / "results.csv").read_bytes() == path.read_bytes()  # not trained again


def test_a_sweep_says_what_became_of_a_run_that_failed(runs, tmp_path, monkeypatch, capsys):
    table, real = tmp_path / "widths.csv", objectives.loss_of
    table.write_text("width\n16\n32\n")

    def loss_of(model, tokens):
        return real(model, tokens) * (1 if model.spec.width == 16 else float("nan"))

    monkeypatch.setattr(objectives, "loss_of", loss_of)
    assert cli.main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 1
    results = pd.read_csv(runs / "sweeps" / "widths" / "results.csv")
    assert results.groupby("width")["state"].unique().map(list).to_dict() == {16: ["done"], 32: ["diverged"]}
    assert results.loc[results["state"] == "diverged", "reason"].str.contains("nan").all()
    assert "diverged" in capsys.readouterr().out


def test_a_missing_base_is_named(runs, capsys):
    assert cli.main(["train", "--scale", "smoke", "-p", "base=0123456789abcdef"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("unseen: ")
    assert "0123456789abcdef" in err


# What reads the output


def test_a_reader_who_has_seen_enough_is_no_error(runs):
    """As in ``unseen status | head``; what it reads of is done to its end."""
    command = [sys.executable, "-m", "unseen", *TRAIN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert list(runs.glob("store/*/manifest.json"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_kernel_has_streams_where_a_daemon_closed_them(runs):
    child = "import os; [os.fstat(number) for number in range(3)]"
    then = f"import subprocess as s; raise SystemExit(s.call([sys.executable, '-c', {child!r}]))"
    code = f"import sys; from unseen import __main__; sys.argv[1:] = ['status']; __main__.main(); {then}"
    done = subprocess.run(["sh", "-c", '"$0" -c "$1" <&- >&-', sys.executable, code], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_the_output_is_named_when_the_work_is_done(runs):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([sys.executable, "-m", "unseen", *TRAIN], stdout=full, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr) == (1, b"unseen: standard output: No space left on device\n")
    assert list(runs.glob("store/*/manifest.json"))


# Without a checkout


def test_an_installed_package_says_what_it_lacks(tmp_path):
    """A copy as a wheel leaves it: nothing beside the package; notebooks of another project are not ours."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    clean = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(door.__file__).parent, tmp_path / "unseen", ignore=clean)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("UNSEEN_RUNS", None)
    asked = [["run", "10"], ["study", "--scale", "smoke"], ["keep"], ["status"]]
    command = [sys.executable, "-c", f"from unseen.cli import main; print(list(map(main, {asked})))"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    refusals = ran.stderr.splitlines()
    assert len(refusals) == 3
    refused = f"unseen: the package {tmp_path / 'unseen'} was installed without its"
    assert all(line.startswith(refused) for line in refusals)
    assert f"{tmp_path / 'runs' / 'store'}: no runs" in ran.stdout
    assert ran.stdout.endswith("[1, 1, 1, 0]\n")
