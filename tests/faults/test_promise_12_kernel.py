"""A killed kernel is a failed notebook, whatever the saved notebook says of its cells."""

import os
import signal
import threading

import nbformat
import psutil
import pytest

from bad_parameters import write_book
from processes import until
from unseen.cli import main
from unseen.headless import NotebookFailed, run_notebook


def kernels():
    """Kernels that this process started."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if any("ipykernel" in word for word in each.cmdline())]


@pytest.mark.parametrize("moment", ["in its only cell", "behind its last cell"])
def test_a_kernel_killed_from_outside(runs, tmp_path, promise, moment, capsys):
    ready = tmp_path / "ready"
    seconds = 60 if moment == "in its only cell" else 0
    wait = f"import time, pathlib; pathlib.Path({str(ready)!r}).touch(); time.sleep({seconds})"
    die = "import os, threading; threading.Timer(.2, os.kill, (os.getpid(), 9)).start()"
    last = [] if moment == "in its only cell" else [die, "import time; time.sleep(60)"]
    book = write_book(tmp_path / "tiny.ipynb", wait, *last, declared="scale: str = 'smoke'")

    def kill():
        until(ready.exists)
        if moment == "in its only cell":
            os.kill(kernels()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert main(["run", str(book)]) == 1
    killer.join()
    err = capsys.readouterr().err
    assert "stopped before its end" in err
    assert "Traceback (most" not in err.split("unseen: ")[-1]
    assert not (runs / "smoke" / "tiny.success.json").exists()
    assert not (runs / "smoke" / "tiny.html").exists()
    promise("kernels killed")


def test_the_saved_notebook_may_say_what_it_likes(runs, tmp_path, promise):
    """papermill takes a kernel that exits for a success; ours is the marker alone."""
    book = write_book(tmp_path / "tiny.ipynb", "import sys; sys.exit()", declared="scale: str = 'smoke'")
    with pytest.raises(NotebookFailed, match="did not reach its end"):
        run_notebook(book, {})
    saved = nbformat.read(runs / "smoke" / "tiny.ipynb", as_version=4)
    assert "completed" in {cell.metadata.get("papermill", {}).get("status") for cell in saved.cells}
    assert not (runs / "smoke" / "tiny.success.json").exists()
    promise("kernels that went quietly")
