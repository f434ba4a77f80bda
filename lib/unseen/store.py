"""One folder for each run, named by the digest of its spec; finished runs are never trained again.

::

    runs/store/<digest>/
        .lock                      held by the process that trains the run
        spec.json                  what the run is
        state.json                 running, interrupted, diverged or failed; who, since when, why
        progress.csv               the history so far, a row appended every ``evaluate_every`` steps
        checkpoint-<step>.safetensors   weights and optimizer state, the newest two
        weights.safetensors        the trained model
        history.csv                the whole history
        manifest.json              written last: scores, file hashes, versions, device, commit, times

A run is done exactly when its manifest stands; then state, progress and checkpoints go.  Whoever reads a file
of a run checks its hash against the manifest first.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from unseen.disk.checkpoints import ADVICE, Found, check_manifest, go_on, history_of, keep, newest_first, same_spec
from unseen.disk.files import (
    BrokenRun,
    TooLarge,
    brief,
    cannot_write,
    hash_of,
    leftovers,
    provenance,
    read,
    read_json,
    runs_folder,
    seal,
    write,
)
from unseen.disk.holding import note
from unseen.disk.weights import model_of, to_bytes
from unseen.errors import NotFinished
from unseen.model import Transformer
from unseen.specs import RunSpec
from unseen.training import Row, State


class Store:
    """Runs on disk.  ``root`` is made on the first write, not before."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root).absolute() if root else runs_folder() / "store"

    def folder(self, spec: RunSpec) -> Path:
        """The folder of a run."""
        return self.root / spec.digest()

    # Finished runs

    def manifest(self, spec: RunSpec, whole: bool = True) -> dict[str, Any] | None:
        """The manifest of a finished run, or None when there is none yet.

        Raises ``BrokenRun`` when the manifest is not what was written, or a file it lists is missing or has another
        hash; with ``whole=False`` only another size is noticed, and a file's hash when that file is read.
        """
        path = self.folder(spec) / "manifest.json"
        if not os.path.lexists(path):
            return None
        try:
            manifest = read_json(path)
            if manifest.pop("seal") != seal(manifest):
                raise ValueError("its hash does not match")
            check_manifest(manifest, spec)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrokenRun(f"{path} is not a manifest ({brief(error)}); {ADVICE}") from error
        for name, size in manifest["bytes"].items():
            file = path.with_name(name)
            if (
                not file.is_file()
                or file.stat().st_size != size
                or (whole and hash_of(file) != manifest["files"][name])
            ):
                raise BrokenRun(f"{file} is missing or was changed since it was written; {ADVICE}")
        return manifest

    def finished(self, spec: RunSpec) -> dict[str, Any]:
        """The manifest of a finished run; raises ``NotFinished`` when it is not done, and as ``manifest`` does."""
        if manifest := self.manifest(spec, whole=False):
            return manifest
        raise NotFinished(f"run {spec.digest()} is not finished in {self.root}; train it first")

    def history(self, spec: RunSpec) -> pd.DataFrame:
        """The training history of a run, finished or so far: step, loss, seen, unseen, seconds.

        A last row that was cut while it was written is dropped, which ``attrs["note"]`` then says.
        """
        if manifest := self.manifest(spec, whole=False):
            return history_of(self._whole(spec, "history.csv", manifest), self.folder(spec) / "history.csv")
        return read_progress(self.folder(spec) / "progress.csv")

    def model(self, spec: RunSpec) -> Transformer:
        """The trained model of a finished run; raises ``NotFinished`` when it is not done."""
        manifest = self.finished(spec)
        content = self._whole(spec, "weights.safetensors", manifest)
        return model_of(content, spec, self.folder(spec) / "weights.safetensors")

    def base(self, spec: RunSpec) -> Transformer:
        """The trained model that a run with a base starts from.

        Raises ``NotFinished`` when that run is not done, ``BrokenRun`` when its folder holds something else.
        """
        path = self.root / spec.model.base / "spec.json"
        if not path.is_file():
            raise NotFinished(
                f"run {spec.digest()} starts from {spec.model.base}, which is not in {self.root}; train that first"
            )
        try:
            base = RunSpec.from_dict(read_json(path))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise BrokenRun(f"{path} is not the spec of a run ({brief(error)}); {ADVICE}") from error
        if base.digest() != spec.model.base:
            raise BrokenRun(f"{path} is not the spec of its folder; {ADVICE}")
        return self.model(base)

    def _whole(self, spec: RunSpec, name: str, manifest: dict[str, Any]) -> bytes:
        """The content of a file of a finished run, checked against its hash."""
        content = read(self.folder(spec) / name, manifest["bytes"][name])
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]:
            raise BrokenRun(f"{self.folder(spec) / name} was changed since it was written; {ADVICE}")
        return content

    # Runs under way

    def begin(self, spec: RunSpec, state: State) -> Found | None:
        """Make the folder ready for training and carry ``state`` on to the newest whole checkpoint, if there is one.

        Raises ``SpecChanged`` when the folder was written for another spec, ``BrokenRun`` when no checkpoint is whole.
        """
        folder = self.folder(spec)
        same_spec(folder / "spec.json", spec)
        for path in leftovers(folder):
            path.unlink(missing_ok=True)
        found = go_on(folder, spec, state)
        self.describe(spec)
        note(folder, "running")
        write(folder / "progress.csv", _csv(state.history) if state.history else "")
        return found

    def describe(self, spec: RunSpec) -> None:
        """Write what a run is into its folder."""
        write(self.folder(spec) / "spec.json", json.dumps(spec.to_dict(), indent=1))

    def append(self, spec: RunSpec, row: Row) -> None:
        """Add a row to the history so far, for whoever looks meanwhile; a run does not read it again."""
        path = self.folder(spec) / "progress.csv"
        try:
            with path.open("a", newline="") as file:
                file.write(_csv([row], header=path.stat().st_size == 0))
        except OSError as error:
            raise cannot_write(path, error) from error

    def checkpoint(self, spec: RunSpec, state: State, before: list[dict[str, Any]] | None = None) -> None:
        """Keep a state from which the run can go on; see ``checkpoints``."""
        keep(self.folder(spec), spec, state, before)

    def finish(self, spec: RunSpec, state: State, scores: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Write weights, history and, last of all, the manifest; then drop what only a run under way needs."""
        folder = self.folder(spec)
        files = {
            "spec.json": json.dumps(spec.to_dict(), indent=1).encode(),
            "weights.safetensors": to_bytes(state.model.state_dict()),
            "history.csv": _csv(state.history).encode(),
        }
        hashes = {name: write(folder / name, content) for name, content in files.items()}
        sizes = {name: len(content) for name, content in files.items()}
        manifest = {"digest": spec.digest(), "spec": spec.to_dict(), "scores": scores, **more,
                    **provenance(), "files": hashes, "bytes": sizes}  # fmt: skip
        text = json.dumps({**manifest, "seal": seal(manifest)}, indent=1, allow_nan=False)
        write(folder / "manifest.json", text)
        self.tidy(spec)
        return manifest

    def tidy(self, spec: RunSpec) -> None:
        """Delete what nobody needs of a finished run; its writer may have died over that."""
        with suppress(OSError):
            for path in self.superseded(spec):
                path.unlink(missing_ok=True)

    def superseded(self, spec: RunSpec) -> list[Path]:
        """The files of a run that nobody needs once it is done."""
        folder = self.folder(spec)
        under_way = [path for name in ("state.json", "progress.csv") if (path := folder / name).is_file()]
        return [*(path for path in newest_first(folder) if path.is_file()), *under_way, *leftovers(folder)]


def read_progress(path: Path) -> pd.DataFrame:
    """The rows of a history that is still written; a last row without its line end is dropped and ``attrs`` says so."""
    try:
        content = read(path)
    except OSError:
        content = b""
    except TooLarge as error:
        raise BrokenRun(str(error)) from error
    whole, end, cut = content.rpartition(b"\n")
    frame = history_of(whole + end, path) if whole else pd.DataFrame(columns=["step", "loss", "seconds"])
    if cut:
        frame.attrs["note"] = f"{path}: a last row that is not whole was dropped"
    return frame


def _csv(rows: list[Row], header: bool = True) -> str:
    return pd.DataFrame(rows).to_csv(index=False, header=header, lineterminator="\n")
