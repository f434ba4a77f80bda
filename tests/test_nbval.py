"""Every notebook runs from its first cell to its last as a person sees it."""

import re
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from unseen.headless import notebooks

# The second line leaves out of later searches for rubbish what is there by now: %reset makes two each time
ANEW = '%reset -f\n__import__("gc").freeze()'


def test_nbval(runs, monkeypatch, tmp_path):
    """As in JupyterLab: without injected parameters, with widgets; in one kernel, emptied before each."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cells = []
    for path in notebooks():
        own = nbformat.read(path, as_version=4).cells
        cells += [new_code_cell(ANEW), *(cell for cell in own if cell.cell_type == "code")]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(new_notebook(cells=cells), tmp_path / "all.ipynb")
    options = ["-m", "pytest", "--nbval-lax", "-o", "addopts=", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [sys.executable, *options, tmp_path / "all.ipynb"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8_000:]
    assert re.search(rf"^{len(cells)} passed", done.stdout, re.M)
