"""Run a notebook without a person: papermill, with its parameters checked before anything starts.

papermill itself only warns of an unknown name, takes any type, and saves a notebook that looks complete when
its kernel was killed.  So parameters are checked here, and success is a marker that the notebook's last cell
writes.  A signal interrupts the kernel, so that what it trains writes checkpoints first.

papermill, nbformat and nbconvert take three seconds to import, which only the functions that use them spend.
"""

import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unseen.errors import Explained
from unseen.files import (
    SUCCESS,
    absolute,
    brief,
    mark_success,
    project_folder,
    provenance,
    read,
    runs_folder,
    write,
)
from unseen.pages import page
from unseen.parameters import MARKER, VALUES, BadParameters, checked, parameters, read_notebook, tags_of
from unseen.runs.tables import folder_in
from unseen.signals import polite_stops


class NotebookFailed(Explained):
    """A notebook did not reach its end; the message says where it stopped."""


class Console:
    """A standard stream that never ends work: letters it lacks are escaped, and its first error ends it.

    That error is ``failed``; no error is counted of a reader that has gone, as in ``unseen status | head``.
    """

    def __init__(self, stream: Any):
        self.stream, self.failed, self.ended = stream, None, stream is None  # None: closed by a shell's >&-
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text, or nothing any more."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        self._try(lambda: self.stream.flush())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, do: Callable[[], object]) -> None:
        if self.ended:
            return
        try:
            do()
        except OSError as error:
            self.ended, self.failed = True, None if isinstance(error, BrokenPipeError) else error
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # or Python's exit would fail


def notebooks() -> list[Path]:
    """The notebooks of the project, in order of their numbers; raises ``NoProject``."""
    return sorted((project_folder() / "notebooks").glob("*.ipynb"))


def notebook_path(name: str | Path) -> Path:
    """The notebook of a number, name or path; raises ``BadParameters`` listing all."""
    path = Path(name)
    if path.suffix == ".ipynb" and os.path.isfile(absolute(path)):  # unlike Path.is_file it takes any text
        return absolute(path).resolve()
    begin = path.name.removesuffix(".ipynb") + "_"
    matching = [each for each in notebooks() if f"{each.stem}_".startswith(begin)]
    if len(matching) != 1 or len(path.parts) != 1:
        known = ", ".join(each.stem for each in notebooks())
        what = f"notebook {str(name)!r:.60} is neither one of: {known}"
        raise BadParameters(f"{what}; nor the path of an .ipynb file")
    return matching[0]


def run_notebook(name: str | Path, given: Mapping[str, Any], into: str | None = None) -> Path:
    """Execute a notebook with checked parameters; returns the executed copy, its HTML beside it.

    It goes to ``<runs>/<into>/`` (by default the notebook's ``scale``, else ``notebooks``) together with
    ``<name>.success.json``, which is removed first and written by the notebook's last cell.
    The kernel writes its runs where this process would, and relative paths begin in this one's folder.
    An error in the HTML is printed and loses nothing.
    A signal lets the runs under way write checkpoints; then it is raised as ``KeyboardInterrupt``.
    Raises ``BadParameters``, ``BadName`` or ``CannotWrite`` before the start, ``NotebookFailed`` when the
    notebook does not reach its end.
    """
    path = notebook_path(name)
    values = checked(path, given)
    if into is None:
        into = values.get("scale") or getattr(parameters(path).get("scale"), "default", "notebooks")
    folder = folder_in(runs_folder(), into, "output folder")
    target, marker = folder / path.name, folder / f"{path.stem}.success.json"
    content = json.dumps({"notebook": path.name, "parameters": values, "token": secrets.token_hex(8)})
    book = _prepared(path, values)
    write(target, json.dumps(book))  # papermill would write through a link there, and wait for a pipe
    marker.unlink(missing_ok=True)
    if provenance()["commit"].startswith("unknown"):
        print(f"the results of this run cannot name their commit ({provenance()['commit']})", flush=True)
    try:
        _execute(book, target, path.parent, json.dumps([str(marker), content]))
    except Exception as error:
        marker.unlink(missing_ok=True)  # a kernel can die after the last cell
        how = f"{path.name} stopped before its end ({type(error).__name__}): {error}"
        raise NotebookFailed(f"{how}\nwhat it did so far: {target}") from error
    if not marker.is_file() or read(marker) != content.encode():
        raise NotebookFailed(f"{path.name} did not reach its end; what it did so far: {target}")
    try:
        write(target.with_suffix(".html"), page(read_notebook(target), target.stem, without_cells=[MARKER]))
    except Exception as error:  # of nbconvert, its templates, the disk
        print(f"{target} is complete; its page in HTML could not be written: {brief(error)}", file=sys.stderr)
    return target


def _prepared(path: Path, values: Mapping[str, Any]) -> Any:
    """The notebook as it will run: values below its parameters cell, and last a cell that marks success.

    Values become ASCII literals of Python's own making, never text that is pasted into code.
    """
    from nbformat.v4 import new_code_cell

    book = read_notebook(path)
    lines = ["# Parameters", *(f"{name} = {value!a}" for name, value in values.items())]
    last = f"from {mark_success.__module__} import {mark_success.__name__}\n\n{mark_success.__name__}()"
    cells = [cell for cell in book.cells if not {VALUES, MARKER} & tags_of(cell)]  # of an earlier run
    below = 1 + next(place for place, cell in enumerate(cells) if "parameters" in tags_of(cell))
    cells.insert(below, new_code_cell("\n".join(lines), metadata={"tags": [VALUES]}))
    book.cells = [*cells, new_code_cell(last, metadata={"tags": [MARKER]})]
    return book


def _execute(book: Any, target: Path, folder: Path, success: str) -> None:
    """Run a notebook in a folder and write what came out to ``target``; ``success`` is for the last cell.

    The kernel is of this Python, whatever else is called ``python3`` (by ``JUPYTER_PATH``, say).  Figures go
    into the notebook, whatever ``MPLBACKEND`` says, and no start-up file of the user runs: one that imports
    all of numpy gives ``sum`` and ``all`` another meaning.

    Raises ``KeyboardInterrupt`` when a signal ended it, what papermill raises when it failed.
    """
    import papermill
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from traitlets.config import Config

    environment = {**os.environ, "UNSEEN_HEADLESS": "1", "UNSEEN_RUNS": str(runs_folder()), SUCCESS: success}
    environment["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    kernels = []  # one, once it starts

    class Kernels(AsyncKernelManager):
        """Kernels of this Python, which we know."""

        kernel_spec = KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

        def start_kernel(self, **options: Any) -> Any:
            kernels.append(self)
            return super().start_kernel(**options, env=environment)

    output = str(target).replace("{", "{{").replace("}", "}}")  # papermill puts parameters in braces
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as environment["IPYTHONDIR"],
        polite_stops(lambda: _interrupt(kernels)) as check,
    ):
        try:
            papermill.execute_notebook(
                book,
                output,
                cwd=folder,
                kernel_name="python3",
                kernel_manager_class=Kernels,
                progress_bar=False,
                stdout_file=Console(sys.stdout),
                stderr_file=Console(sys.stderr),
                extra_arguments=[
                    "--log-level=CRITICAL",  # an idle kernel logs its end as an error
                    "--IPKernelApp.exec_PYTHONSTARTUP=False",
                ],
                config=Config(KernelManager={"transport_encryption": "auto"}),  # else it warns of plain TCP
                on_cell_execute=lambda **_: check(),  # no cell starts after a signal
            )
        finally:
            check()


def _interrupt(kernels: list[Any]) -> bool:
    """Pass a signal on to the kernel; whether there is one."""
    pids = [getattr(kernel.provisioner, "pid", None) for kernel in kernels]
    if not any(pids):
        return False
    print("stopping: runs under way write a checkpoint (again to stop at once)", file=sys.stderr, flush=True)
    os.kill(pids[0], signal.SIGINT)
    return True
