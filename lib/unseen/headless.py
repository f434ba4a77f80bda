"""Run a notebook without a person: papermill, with its parameters checked before anything starts.

papermill itself only warns about an unknown name, takes any type, and saves a notebook that looks
complete when its kernel was killed.  So parameters are checked here, and success is a marker that the
notebook's own last act writes, never the output's existence.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell

from unseen.disk.files import cannot_write, project_folder, read_json, runs_folder, write
from unseen.disk.names import BadName, check_name, shown
from unseen.errors import Explained
from unseen.parameters import BadParameters, checked, is_parameters, parameters, read_notebook, tags_of
from unseen.running.kernels import execute

_ADDED = {"injected-parameters", "success-marker"}  # tags of the cells that an executed notebook has more


class NotebookFailed(Explained):
    """A notebook did not reach its end; the message tells where it stopped."""


def notebook_path(name: str | Path) -> Path:
    """The notebook of a name (``10``, ``10_diversity_threshold``) or path; raises ``BadParameters`` listing all."""
    path, folder = Path(name), project_folder() / "notebooks"
    if path.suffix == ".ipynb" and os.path.isfile(path):  # unlike Path.is_file it says no to any text
        return path.resolve()
    known = sorted(folder.glob("*.ipynb"))
    matching = [each for each in known if each.stem == path.stem or each.stem.startswith(f"{path.name}_")]
    if len(matching) != 1 or len(path.parts) != 1:
        raise BadParameters(f"notebook {shown(str(name))} is not one of: {', '.join(each.stem for each in known)}; "
                            "nor is it the path of an .ipynb file")  # fmt: skip
    return matching[0]


def output_folder(name: str) -> Path:
    """A folder of the runs folder.

    Raises ``BadParameters`` when the name would lead out of it or into the store, by a link too, and when it is
    not fit for a folder (see ``names.check_name``).
    """
    root = runs_folder()
    try:
        folder = (root / check_name(name, "output folder")).resolve()
        if root not in folder.parents:
            raise BadName(f"output folder {name!r} would lie outside {root}")
        check_name(folder.relative_to(root).as_posix(), f"output folder {name!r} is")  # it may be a link
    except (BadName, OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise BadParameters(str(error)) from error
    return folder


def run_notebook(name: str | Path, given: Mapping[str, Any], into: str | None = None) -> Path:
    """Execute a notebook with checked parameters; returns the executed copy, its HTML beside it.

    It goes to ``<runs>/<into>/`` (by default the notebook's ``scale``, else ``notebooks``) together with
    ``<name>.success.json``, which is removed first and written by the notebook's last act.
    The kernel writes its runs where this process would.
    A signal lets runs under way write checkpoints, and is raised as ``KeyboardInterrupt`` or ``Terminated`` then.
    Raises ``BadParameters``, or ``CannotWrite`` for such a folder, before anything starts, and ``NotebookFailed``
    when it does not reach its end.
    """
    path = notebook_path(name)
    values = checked(path, given)
    everything = {each.name: each.default for each in parameters(path).values()} | values
    folder = output_folder(into if into is not None else str(everything.get("scale", "notebooks")))
    target, source = folder / path.name, folder / f".{path.stem}.input.ipynb"
    marker, token = folder / f"{path.stem}.success.json", secrets.token_hex(8)
    last = json.dumps({"notebook": path.name, "parameters": values, "token": token})
    for old in (marker, target):  # papermill would write through a link in its place, and wait for a pipe
        _remove(old)
    write(source, nbformat.writes(_prepared(read_notebook(path), values, marker, last)))
    try:
        with _environment(UNSEEN_HEADLESS="1", UNSEEN_RUNS=str(runs_folder())):
            execute(_literal(source), _literal(target), path.parent)
    except Exception as error:
        marker.unlink(missing_ok=True)  # a kernel can die behind the last cell
        raise NotebookFailed(f"{path.name} stopped before its end ({type(error).__name__}): {error}\n"
                             f"what it did so far: {target}") from error  # fmt: skip
    finally:
        source.unlink(missing_ok=True)
    if not _reached(marker, token):
        raise NotebookFailed(f"{path.name} did not reach its end; what it did so far: {target}")
    write_html(target)
    return target


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a folder in its place
        raise cannot_write(path, error) from error


def _reached(marker: Path, token: str) -> bool:
    """Whether the last cell of this very run wrote the marker."""
    try:
        return read_json(marker)["token"] == token
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _prepared(
    book: nbformat.NotebookNode, values: Mapping[str, Any], marker: Path, content: str
) -> nbformat.NotebookNode:
    """The notebook as it will run: values below its parameters cell, and last of all a cell that writes the marker.

    Values become ASCII literals of Python's own making; papermill would write a tuple as text.
    """
    cells = [cell for cell in book.cells if is_parameters(cell) or not _ADDED & tags_of(cell)]  # as of an earlier run
    below = 1 + next(place for place, cell in enumerate(cells) if is_parameters(cell))
    lines = "\n".join(["# Parameters", *(f"{name} = {value!a}" for name, value in values.items())])
    last = f"from unseen.disk.files import write\nfrom pathlib import Path\n\n_ = write(Path({str(marker)!r}), {content!r})"
    given = [new_code_cell(lines, metadata={"tags": ["injected-parameters"]})] if values else []
    end = new_code_cell(last, metadata={"tags": ["success-marker"]})
    book.cells = [*cells[:below], *given, *cells[below:], end]
    return book


def _literal(path: Path) -> str:
    """A path for papermill, which puts parameters where it finds braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def write_html(path: Path) -> Path:
    """An executed notebook as one HTML file beside it, without the cell that wrote the marker."""
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if "success-marker" not in tags_of(cell)]
    html, _ = HTMLExporter().from_notebook_node(book, {"metadata": {"name": path.stem}})
    write(path.with_suffix(".html"), html)
    return path.with_suffix(".html")


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables, which the kernel inherits, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
