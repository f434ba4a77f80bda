"""Every notebook runs from its first cell to its last, by both ways in which it is run without a person."""

import json
import re
import subprocess
import sys

import nbformat
import pytest

from unseen.cli import MORE, STUDY
from unseen.disk.files import project_folder
from unseen.headless import parameters, run_notebook
from unseen.store import Store

NOTEBOOKS = {path.stem: path for path in sorted((project_folder() / "notebooks").glob("*.ipynb"))}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One runs folder for all, so that each model is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs").resolve()))
        patch.setenv("OMP_NUM_THREADS", "1")  # two kernels on two cores: with two threads each they wait for each other
        yield


@pytest.fixture(scope="module")
def nbval(shared, tmp_path_factory):
    """nbval over all notebooks and where it writes, on the other core meanwhile; the store's locks keep the two apart."""
    log = tmp_path_factory.mktemp("nbval") / "log.txt"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "-q",
        "notebooks",
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=project_folder(), stdout=file, stderr=subprocess.STDOUT)
        yield process, log
        process.terminate()
        process.wait()


def outputs(path):
    return [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]


def test_the_study_runs_every_notebook():
    assert {*STUDY, *MORE} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_by_default_a_notebook_takes_seconds(name):
    assert parameters(NOTEBOOKS[name])["scale"].default == "smoke"  # nbval cannot set it


@pytest.mark.parametrize("name", STUDY + MORE)
def test_headless(nbval, name):
    target = run_notebook(name, {"scale": "smoke"})
    assert target == Store().root.parent / "smoke" / f"{name}.ipynb"
    marker = json.loads(target.with_suffix(".success.json").read_text())
    assert marker["parameters"] == {"scale": "smoke"}
    assert [output for output in outputs(target) if output.output_type == "error"] == []
    assert [output.text for output in outputs(target) if output.get("name") == "stderr"] == []
    page = target.with_suffix(".html").read_text("utf-8")
    assert "Traceback" not in page
    assert "success.json" not in page
    assert "<h1" in page


def test_nbval(nbval):
    process, log = nbval
    cells = sum(
        cell.cell_type == "code" for path in NOTEBOOKS.values() for cell in nbformat.read(path, as_version=4).cells
    )
    assert process.wait() == 0, log.read_text()[-8_000:]
    assert re.search(rf"^{cells} passed", log.read_text(), re.M), log.read_text()[-500:]
