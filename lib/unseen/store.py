"""One folder for each run, named by the digest of its spec; finished runs are never trained again.

::

    runs/store/<digest>/
        spec.json                  what the run is
        checkpoint-<step>.safetensors   weights and optimizer state, the newest two, until the run is done
        weights.safetensors        the trained model
        history.csv                one row each ``evaluate_every`` steps
        manifest.json              written last: scores, file hashes, versions, device, commit, times

A run is done exactly when its manifest stands and every file, the manifest too, has the hash written there.
All files are written beside their place and moved into it: a reader sees the old file or the new one, never half.
"""

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save

from unseen.encoding import Encoding
from unseen.model import Shape, Transformer, build
from unseen.specs import RunSpec
from unseen.training import State

_KEPT_CHECKPOINTS = 2


class BrokenRun(RuntimeError):
    """A stored file is missing or is not what was written; the message names it and what to do."""


def project_folder() -> Path:
    """The root of the source checkout, or the working directory where the library is installed without one."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def runs_folder() -> Path:
    """Where everything that a run writes goes: ``$UNSEEN_RUNS``, or ``runs/`` of the project."""
    return Path(os.environ.get("UNSEEN_RUNS") or project_folder() / "runs").resolve()


def write(path: Path, content: bytes | str) -> str:
    """Write a file so that it is whole or not there at all; returns its SHA-256."""
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)  # a teacher's folder is read by others
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return hashlib.sha256(content).hexdigest()


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """What produced a result: versions of the libraries, processor, commit of the project."""
    names = ("unseen", "torch", "numpy", "pandas", "scipy")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the checkout, with ``-modified`` when tracked files differ from it."""
    command = ["git", "-C", str(project_folder()), "describe", "--always", "--abbrev=12", "--dirty=-modified"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


class Store:
    """Runs on disk.  ``root`` is made on the first write, not before."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root) if root else runs_folder() / "store"

    def folder(self, spec: RunSpec) -> Path:
        """The folder of a run."""
        return self.root / spec.digest()

    @contextmanager
    def lock(self, spec: RunSpec) -> Iterator[None]:
        """Hold a run: whoever else wants the same one waits.  Freed by the system if the holder dies."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{spec.digest()}.lock"):
            yield

    def manifest(self, spec: RunSpec) -> dict[str, Any] | None:
        """The manifest of a finished run, or None when there is none yet.

        Raises ``BrokenRun`` when the manifest, or a file it lists, is not what was written.
        """
        path = self.folder(spec) / "manifest.json"
        if not path.is_file():
            return None
        try:
            manifest = json.loads(path.read_bytes())
            if manifest.pop("seal") != _seal(manifest):
                raise ValueError("its hash does not match")
            if manifest["digest"] != spec.digest():
                raise ValueError(f"it is of run {manifest['digest']}")
            hashes = dict(manifest["files"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenRun(f"{path} is not a manifest ({error}); delete its folder to train this run again") from error
        for name, expected in hashes.items():
            file = path.with_name(name)
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                raise BrokenRun(f"{file} is missing or was changed since it was written; "
                                "delete its folder to train this run again")  # fmt: skip
        return manifest

    def history(self, spec: RunSpec) -> pd.DataFrame:
        """The training history of a finished run: step, loss, seen, unseen, seconds."""
        return pd.read_csv(self.folder(spec) / "history.csv")

    def model(self, spec: RunSpec) -> Transformer:
        """The trained model of a finished run; raises ``KeyError`` when it is not done."""
        if self.manifest(spec) is None:
            raise KeyError(f"run {spec.digest()} is not finished in {self.root}")
        return read_model(self.folder(spec) / "weights.safetensors", spec)

    def checkpoint(self, spec: RunSpec, state: State) -> None:
        """Keep a state from which the run can go on, and drop all but the newest two."""
        folder = self.folder(spec)
        if not (folder / "spec.json").is_file():
            write(folder / "spec.json", json.dumps(spec.to_dict(), indent=1))
        head = {"step": state.step, "history": state.history, "digest": spec.digest()}
        content = save(_contiguous(state.to_tensors()), {"state": json.dumps(head)})
        content += hashlib.sha256(content).digest()  # safetensors does not notice a flipped bit
        write(folder / f"checkpoint-{state.step:09d}.safetensors", content)
        for old in self._checkpoints(spec)[_KEPT_CHECKPOINTS:]:
            old.unlink(missing_ok=True)

    def resume(self, spec: RunSpec, state: State) -> str | None:
        """Carry ``state`` on to the newest whole checkpoint; returns a sentence on what was found.

        A broken checkpoint is named and skipped for the one before.  When all are broken ``BrokenRun``
        is raised: a fresh start is never silent.
        """
        said = []
        for path in self._checkpoints(spec):
            content = path.read_bytes()
            content, seal = content[:-32], content[-32:]
            try:
                if hashlib.sha256(content).digest() != seal:
                    raise ValueError("its hash does not match")
                size = int.from_bytes(content[:8], "little")
                head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
                if head["digest"] != spec.digest():
                    raise ValueError(f"it is of run {head['digest']}")
                state.load_tensors(load(content))
            except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
                said.append(f"skipped {path.name}: {error}")
                continue
            state.step, state.history = head["step"], head["history"]
            return "; ".join([*said, f"goes on from step {state.step}"])
        if said:
            raise BrokenRun(f"no whole checkpoint in {self.folder(spec)} ({'; '.join(said)}); "
                            "delete the folder to start this run afresh")  # fmt: skip
        return None

    def finish(self, spec: RunSpec, state: State, scores: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Write weights, history and, last of all, the manifest; then drop the checkpoints."""
        folder = self.folder(spec)
        history = pd.DataFrame(state.history).to_csv(index=False, lineterminator="\n")
        hashes = {
            "spec.json": write(folder / "spec.json", json.dumps(spec.to_dict(), indent=1)),
            "weights.safetensors": write(folder / "weights.safetensors", save(_contiguous(state.model.state_dict()))),
            "history.csv": write(folder / "history.csv", history),
        }
        manifest = {"digest": spec.digest(), "spec": spec.to_dict(), "scores": scores, **more,
                    **provenance(), "files": hashes}  # fmt: skip
        write(folder / "manifest.json", json.dumps({**manifest, "seal": _seal(manifest)}, indent=1))
        for path in self._checkpoints(spec):
            path.unlink(missing_ok=True)
        return manifest

    def _checkpoints(self, spec: RunSpec) -> list[Path]:
        """Newest first, by step: a clock that was set back does not matter."""
        return sorted(self.folder(spec).glob("checkpoint-*.safetensors"), reverse=True)


def export_model(model: Transformer, spec: RunSpec, path: Path, **more: Any) -> None:
    """Write a model for the demonstration: half-precision weights, and what they are as JSON beside them.

    ``more`` goes into the JSON; what trained the model may stand there in place of what writes it now.
    """
    weights = {name: value.half() for name, value in model.state_dict().items()}
    digest = write(path, save(_contiguous(weights)))
    described = {"spec": spec.to_dict(), "sha256": digest, **provenance(), **more}
    write(path.with_suffix(".json"), json.dumps(described, indent=1) + "\n")


def import_model(path: Path) -> tuple[Transformer, RunSpec]:
    """The model and spec that ``export_model`` wrote; raises ``BrokenRun`` when a file is missing or was changed."""
    try:
        described = json.loads(path.with_suffix(".json").read_bytes())
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == described["sha256"]
        spec = RunSpec.from_dict(described["spec"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenRun(f"{path} and {path.with_suffix('.json').name} are not an exported model: {error}") from error
    if not whole:
        raise BrokenRun(f"{path} is not the file that {path.with_suffix('.json').name} describes")
    return read_model(path, spec), spec


def read_model(path: Path, spec: RunSpec) -> Transformer:
    """A model of ``spec`` with the weights in a safetensors file; raises ``BrokenRun`` when they do not fit."""
    model = build(spec.model, Shape.of(Encoding.of(spec.task)))
    try:
        model.load_state_dict({name: value.float() for name, value in load(path.read_bytes()).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BrokenRun(f"{path} does not hold the weights of its spec: {error}") from error
    return model.eval()


def _seal(manifest: dict[str, Any]) -> str:
    """The hash of all that a manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
