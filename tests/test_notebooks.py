"""Every notebook runs from its first cell to its last, headless."""

import json

import nbformat
import pytest

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
