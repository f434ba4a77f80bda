"""Run a notebook without a person: papermill, with its parameters checked before anything starts.

papermill itself only warns about an unknown name, takes any type, and saves a notebook that looks
complete when its kernel was killed.  So parameters are checked here, and success is a marker that the
notebook's own last act writes, never the output's existence.
"""

import ast
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbconvert import HTMLExporter
from traitlets.config import Config

from unseen.store import project_folder, runs_folder, write

_KERNEL = Config(KernelManager={"transport_encryption": "auto"})  # else every start warns of plain TCP
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "tuple": tuple}


class BadParameters(ValueError):
    """A parameter, a notebook or an output place is not what it must be; the message lists what exists."""


class NotebookFailed(RuntimeError):
    """A notebook did not reach its end; the message tells where it stopped."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell."""

    name: str
    kind: type
    default: Any


def notebook_path(name: str | Path) -> Path:
    """The notebook of a name (``10``, ``10_diversity_threshold``) or path; raises ``BadParameters`` listing all."""
    path, folder = Path(name), project_folder() / "notebooks"
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    known = sorted(folder.glob("*.ipynb"))
    matching = [each for each in known if each.stem == path.stem or each.stem.startswith(f"{path.name}_")]
    if len(matching) != 1:
        raise BadParameters(f"notebook {str(name)!r} is not one of: {', '.join(each.stem for each in known)}")
    return matching[0]


def parameters(path: Path) -> dict[str, Parameter]:
    """What the cell tagged ``parameters`` declares: literals only, with a type where the default has none.

    Raises ``BadParameters`` without exactly one such cell, or when a line of it is not an assignment.
    """
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise BadParameters(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it must have one")
    try:
        lines = ast.parse(tagged[0]).body
    except SyntaxError as error:
        raise BadParameters(f"{path.name}: parameters cell, line {error.lineno}: {error.msg}") from error
    return {each.name: each for each in map(_parameter, lines)}


def _parameter(line: ast.stmt) -> Parameter:
    targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", [])
    try:
        (target,), default = targets, ast.literal_eval(line.value)
        kind = _TYPES[line.annotation.id] if isinstance(line, ast.AnnAssign) else type(default)
        return Parameter(target.id, kind, default)
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise BadParameters(f"parameters cell, line {line.lineno}: only 'name: type = literal' is allowed, with a type of "
                            f"{', '.join(_TYPES)}") from error  # fmt: skip


def checked(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each fit for its parameter; text (from a command line) is read as the parameter's type.

    Raises ``BadParameters`` naming the value, what is allowed, and every parameter of the notebook.
    """
    declared = parameters(path)
    exists = ", ".join(f"{each.name}: {each.kind.__name__} = {each.default!r}" for each in declared.values())
    values = {}
    for name, value in given.items():
        if name not in declared:
            raise BadParameters(f"{path.name} has no parameter {name!r}; it has {exists}")
        kind = declared[name].kind
        if isinstance(value, str) and kind is not str:
            with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                value = ast.literal_eval(value.title() if kind is bool else value)  # else text, refused below
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or not _plain(value):
            raise BadParameters(f"{path.name}: {name}={value!r} must be {kind.__name__}; the notebook has {exists}")
        values[name] = value
    return values


def _plain(value: Any) -> bool:
    """Whether a value, and all that it holds, goes into the notebook and into the marker as it is."""
    return all(map(_plain, value)) if isinstance(value, list | tuple) else type(value) in _TYPES.values()


def output_folder(name: str) -> Path:
    """A folder of the runs folder; raises ``BadParameters`` when the name would lead out of it."""
    root = runs_folder()
    folder = (root / name).resolve()
    if root not in folder.parents:
        raise BadParameters(f"output folder {name!r} would lie outside {root}")
    return folder


def run_notebook(name: str | Path, given: Mapping[str, Any], into: str | None = None) -> Path:
    """Execute a notebook with checked parameters; returns the executed copy, its HTML beside it.

    It goes to ``<runs>/<into>/`` (by default the notebook's ``scale``, else ``notebooks``) together with
    ``<name>.success.json``, which is removed first and written by the notebook's last act.
    The kernel writes its runs where this process would.
    Raises ``BadParameters`` before anything starts, ``NotebookFailed`` when it does not reach its end.
    """
    path = notebook_path(name)
    values = checked(path, given)
    everything = {each.name: each.default for each in parameters(path).values()} | values
    folder = output_folder(into if into is not None else str(everything.get("scale", "notebooks")))
    target, marker = folder / path.name, folder / f"{path.stem}.success.json"
    marker.unlink(missing_ok=True)
    token = secrets.token_hex(8)
    book = nbformat.read(path, as_version=4)
    last = json.dumps({"notebook": path.name, "parameters": values, "token": token})
    book.cells.append(nbformat.v4.new_code_cell(
        f"from unseen.store import write\nfrom pathlib import Path\n\n_ = write(Path({str(marker)!r}), {last!r})",
        metadata={"tags": ["success-marker"]}))  # fmt: skip
    source = folder / f".{path.stem}.input.ipynb"
    write(source, nbformat.writes(book))
    try:
        with _environment(UNSEEN_HEADLESS="1", UNSEEN_RUNS=str(runs_folder())):
            papermill.execute_notebook(_literal(source), _literal(target), parameters=values, cwd=str(path.parent),
                                       kernel_name="python3", progress_bar=False, config=_KERNEL,
                                       stdout_file=sys.stdout, stderr_file=sys.stderr)  # fmt: skip
    except Exception as error:
        marker.unlink(missing_ok=True)  # a kernel can die behind the last cell
        raise NotebookFailed(f"{path.name} stopped before its end ({type(error).__name__}): {error}\n"
                             f"what it did so far: {target}") from error  # fmt: skip
    finally:
        source.unlink(missing_ok=True)
    if not marker.is_file() or json.loads(marker.read_text())["token"] != token:
        raise NotebookFailed(f"{path.name} did not reach its end; what it did so far: {target}")
    write_html(target)
    return target


def _literal(path: Path) -> str:
    """A path for papermill, which puts parameters where it finds braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def write_html(path: Path) -> Path:
    """An executed notebook as one HTML file beside it, without the cells that ``run_notebook`` added."""
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if not {"success-marker"} & set(cell.metadata.get("tags", []))]
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
