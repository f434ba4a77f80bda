"""Every notebook runs from its first cell to its last, headless and as a person sees it."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kernels import fork_kernels
from unseen.headless import notebooks, run_notebook
from unseen.runs.store import Store


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One runs folder for all, so that each model is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs").resolve()))
        patch.setenv("OMP_NUM_THREADS", "1")  # two kernels on two cores wait for each other's threads
        fork_kernels(patch)
        yield


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", [path.stem for path in notebooks()])
def test_headless(shared, name):
    target = run_notebook(name, {"scale": "smoke"})
    assert target == Store().root.parent / "smoke" / f"{name}.ipynb"
    assert json.loads(target.with_suffix(".success.json").read_text())["parameters"] == {"scale": "smoke"}
    outputs = [output for cell in code_cells(target) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    drawn = [cell for cell in code_cells(target) if "'image/png'" in str(cell.outputs)]
    assert [cell.source for cell in drawn if len(cell.metadata.get("alt", "")) < 40] == []  # what it shows
    page = target.with_suffix(".html").read_text("utf-8")
    assert "<h1" in page
    assert "success.json" not in page
    assert not (Store().root.parent / "answers.json").exists()  # no exercise is done by running all cells


def test_nbval(shared, tmp_path):
    """As in JupyterLab: without injected parameters, with widgets; in one kernel, emptied before each."""
    cells = [cell for path in notebooks() for cell in [new_code_cell("%reset -f"), *code_cells(path)]]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(new_notebook(cells=cells), tmp_path / "all.ipynb")
    options = ["-m", "pytest", "--nbval-lax", "-o", "addopts=", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [sys.executable, *options, tmp_path / "all.ipynb"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8_000:]
    assert re.search(rf"^{len(cells)} passed", done.stdout, re.M)
