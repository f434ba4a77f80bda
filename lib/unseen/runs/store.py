"""The life of a run: ``ensure`` returns it from the store, or trains it there and keeps it.

::

    runs/store/<digest>/
        .lock, state.json               see ``once``
        spec.json                       what the run is
        progress.csv                    the history so far, a row appended every ``evaluate_every`` steps
        checkpoint-<step>.safetensors   the newest two states it can resume from
        weights.safetensors             the trained model
        history.csv                     the whole history
        manifest.json                   written last: scores, file hashes, versions, device, commit, times

A run is done exactly when its manifest is there, and is never trained again; state, progress and
checkpoints are deleted then.  A checkpoint is a state from which a run resumes bit for bit: weights,
optimizer memory and losses, with step, history, spec and provenance in the header and a SHA-256 at the end.
Files of tensors are safetensors, which cannot hold code; a file larger than they can be is refused unread.
"""

import io
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor

from unseen import files
from unseen.errors import NotFinished
from unseen.evaluation import exact_match, greedy_answers, share, share_by_kind
from unseen.files import BrokenRun, brief, leftovers, provenance, read, read_json, write
from unseen.model import Shape, Transformer, build, inherited
from unseen.objectives import objective_of
from unseen.once import ADVICE, content, done, hold, note, once, state
from unseen.process_group import ALONE, ProcessGroup, best_device
from unseen.signals import Stopped
from unseen.specs import RunSpec, differences
from unseen.training import Data, Diverged, Row, State, batch_size, data_of, start, train

_FILES = ("spec.json", "weights.safetensors", "history.csv")
_HISTORY = {"step": "int64", **dict.fromkeys(("loss", "seen", "unseen", "seconds"), "float64")}
_CHECKPOINT = re.compile(r"checkpoint-[0-9]{12}\.safetensors")
KEPT = 2  # checkpoints of a run
Watch = Callable[[Row], Any]
Check = Callable[[State], Any]


class SpecChanged(BrokenRun):
    """What is in a run's folder was written for another spec; the message shows the fields that differ."""


class Store:
    """Runs on disk.  ``root`` is created by the first write, not before."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root).absolute() if root else files.runs_folder() / "store"

    def folder(self, spec: RunSpec) -> Path:
        """The folder of a run."""
        return self.root / spec.digest()

    def manifest(self, spec: RunSpec, whole: bool = True) -> dict[str, Any] | None:
        """The manifest of a finished run, or None when there is none yet; see ``once.done``."""
        return done(self.folder(spec), {"digest": spec.digest()}, whole)

    def finished(self, spec: RunSpec) -> dict[str, Any]:
        """The manifest of a finished run; raises as ``manifest``, and ``NotFinished`` when it is not done."""
        if manifest := self.manifest(spec, whole=False):
            return manifest
        raise NotFinished(f"run {spec.digest()} is not finished in {self.root}; train it first")

    def history(self, spec: RunSpec) -> pd.DataFrame:
        """The training history of a run, finished or so far: step, loss, seen, unseen, seconds."""
        folder = self.folder(spec)
        if manifest := self.manifest(spec, whole=False):
            whole = content(folder, "history.csv", manifest, files.LARGEST_TEXT)
            return _history(whole, folder / "history.csv")
        return read_progress(folder / "progress.csv")

    def model(self, spec: RunSpec) -> Transformer:
        """The trained model of a finished run; raises ``NotFinished`` when it is not done."""
        manifest, folder, name = self.finished(spec), self.folder(spec), "weights.safetensors"
        try:
            tensors, _ = from_bytes(content(folder, name, manifest, _largest(spec)))
            _check_finite(tensors)
            model = build(spec.model, Shape.of(spec.task.layout))
            model.load_state_dict(tensors)
        except (ValueError, RuntimeError, MemoryError) as error:
            why = f"{folder / name} does not hold the weights of its spec: {brief(error)}"
            raise BrokenRun(why) from error
        return model.eval()

    def base(self, spec: RunSpec) -> Transformer:
        """The trained model that a run with a base starts from.

        Raises ``NotFinished`` when that run is not done, ``BrokenRun`` when its folder holds something else.
        """
        folder = self.root / spec.model.base
        if not (folder / "spec.json").is_file():
            missing = f"{spec.model.base}, which is not in {self.root}; train that first"
            raise NotFinished(f"run {spec.digest()} starts from {missing}")
        return self.model(spec_of(folder))

    def copy(self, spec: RunSpec, source: "Store") -> Path:
        """Copy a finished run from another store, in place of what is here of it; returns its folder.

        Raises ``NotFinished``, and ``BrokenRun`` when a file there is not what was written.
        """
        manifest, folder = source.finished(spec), self.folder(spec)
        found = {name: content(source.folder(spec), name, manifest) for name in manifest["files"]}
        last = read(source.folder(spec) / "manifest.json")
        with hold(folder):
            (folder / "manifest.json").unlink(missing_ok=True)
            for name, whole in found.items():
                write(folder / name, whole)
            write(folder / "manifest.json", last)  # it says that the run is done
        return folder

    def superseded(self, spec: RunSpec) -> list[Path]:
        """The files of a run that are not needed once it is done."""
        folder = self.folder(spec)
        found = [folder / "state.json", folder / "progress.csv", *newest_first(folder)]
        return [*(path for path in found if path.is_file()), *leftovers(folder)]


def committed_store() -> Store:
    """The runs that come with the project, with their weights and histories."""
    return Store(files.project_folder() / "data" / "store")


def ensure(
    spec: RunSpec,
    store: Store,
    watch: Watch = lambda row: None,
    device: str = "auto",
    patience: float = math.inf,
    say: Callable[[str], Any] = print,
    group: ProcessGroup = ALONE,
    check: Check = lambda state: None,
) -> dict[str, Any]:
    """The manifest of a run: from the store if it is done, else trained now, from its last checkpoint.

    ``watch`` gets each new row of the history, ``check`` the state before each step; a ``Stopped`` or
    ``KeyboardInterrupt`` that they raise leaves a checkpoint behind.  ``patience`` and ``say`` are as in
    ``once``.  Every process of a ``group`` calls this for the same run; only the leader uses the store and
    these functions.  Raises ``CannotWrite``, ``BrokenRun``, ``SpecChanged``, ``Diverged``, ``Held``.
    """
    group.check(batch_size(spec.task, spec.training))
    if group.size > 1 and (spec.training.kl or spec.training.pull or spec.training.smoothing):
        raise ValueError("kl, pull and smoothing cannot be shared by processes: train it with one process")
    device = group.device or (best_device() if device == "auto" else device)
    if not group.leads:
        return _assisted(spec, device, group)
    folder = store.folder(spec)
    found = state(folder)
    if found.get("state") == "diverged" and found.get("versions") == provenance()["versions"]:
        raise Diverged(f"{found['reason']} (known since the last try; delete {folder} to try again)")

    def make(_: Path) -> dict[str, Any]:
        return _trained(spec, store, watch, device, say, group, check)

    manifest = once(folder, {"digest": spec.digest()}, make, patience, say, _FILES)
    with suppress(OSError):
        for path in store.superseded(spec):
            path.unlink(missing_ok=True)
    return group.same(manifest)


def _assisted(spec: RunSpec, device: str, group: ProcessGroup) -> dict[str, Any]:
    """What the other processes of a group do: compute their shares, from the leader's first state."""
    if (manifest := group.same(None)) is None:
        ignore = [lambda _: None] * 2
        objective = objective_of(spec.training, labels=spec.task.layout.labels)
        train(spec, start(spec, device), data_of(spec), *ignore, group, objective)
        manifest = group.same(None)
    return manifest


def _trained(
    spec: RunSpec, store: Store, watch: Watch, device: str, say: Callable[[str], Any], group: ProcessGroup,
    check: Check,
) -> dict[str, Any]:  # fmt: skip
    """Train a run that is held, from its newest checkpoint, and write its files; what its manifest says."""
    folder, began = store.folder(spec), time.time()
    state, before = _resumed(spec, store, device, say)

    def watched(row: Row) -> None:
        _append(folder / "progress.csv", row)
        stoppable(watch, row)

    def stoppable(call: Callable[[Any], Any], given: Row | State) -> None:
        try:
            call(given)
        except (Stopped, KeyboardInterrupt):
            keep(folder, spec, state, before)
            raise

    def save(state: State) -> None:
        if state.step < spec.training.steps:
            keep(folder, spec, state, before)

    group.same(None)  # not done yet: the others train too
    base = store.base(spec).to(device) if spec.training.kl or spec.training.pull else None
    data = data_of(spec)
    try:
        objective = objective_of(spec.training, base, spec.task.layout.labels)
        train(spec, state, data, watched, save, group, objective, lambda state: stoppable(check, state))
    except Diverged as error:
        note(folder, "diverged", str(error))
        raise
    write(folder / "weights.safetensors", to_bytes(state.model.state_dict()))
    write(folder / "history.csv", _csv(state.history))
    return {
        "spec": spec.to_dict(),
        **_scores(state.model, data),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": group.size,
        "started": round(began),
        "train_seconds": state.history[-1]["seconds"],
        "resumed": before,
    }


def _resumed(
    spec: RunSpec, store: Store, device: str, say: Callable[[str], Any]
) -> tuple[State, list[dict[str, Any]]]:
    """The state of a run that is held, from its newest checkpoint, and what it was resumed from so far."""
    folder, now = store.folder(spec), spec.to_dict()
    path = folder / "spec.json"
    if path.exists() and (odd := _in_spec(path, lambda before: differences(before, now))):
        raise SpecChanged(f"{folder} belongs to another spec: {'; '.join(odd)}. {ADVICE.format(folder)}")
    write(path, json.dumps(now, indent=1))
    files.check_room(store.root, (3 * KEPT + 4) * _size(spec) + 2**20)  # one is written before another goes
    for path in leftovers(folder):
        path.unlink(missing_ok=True)
    state = begun(spec, store, device)
    if before := resume(folder, spec, state):
        say(f"run {spec.digest()} {_in_words(before[-1])}")
    write(folder / "progress.csv", _csv(state.history) if state.history else "")
    return state, before


def _scores(model: Transformer, data: Data) -> dict[str, list[dict[str, Any]]]:
    """Accuracy on each split, and apart for each kind of input."""
    scores, kinds = [], []
    for split, examples in data.evaluation.items():
        right = exact_match(greedy_answers(model, examples.prompts), examples)
        scores.append({"split": split, **share(right)})
        kinds += [{"split": split, **line} for line in share_by_kind(right, examples)]
    return {"scores": scores, "kinds": kinds}


def begun(spec: RunSpec, store: Store, device: str) -> State:
    """The state before the first step, with the weights of its base if any; raises as ``Store.base``."""
    state = start(spec, device)
    if spec.model.base:
        base = store.base(spec)
        form = {"seed": 0, "base": "", "inherits": "all"}
        if base.shape != state.model.shape or base.spec.but(**form) != spec.model.but(**form):
            other = f"a model of another form, {base.spec} for {base.shape}"
            raise ValueError(f"ModelSpec.base={spec.model.base}: {other}")
        weights = inherited(base.state_dict(), state.model.state_dict(), spec.model.inherits)
        state.model.load_state_dict(weights)
    return state


def spec_of(folder: Path) -> RunSpec:
    """The spec of a run's folder; raises ``BrokenRun`` when ``spec.json`` is not of that name."""
    path = folder / "spec.json"
    spec = _in_spec(path, RunSpec.from_dict)
    if spec.digest() != folder.name:
        raise BrokenRun(f"{path} is of run {spec.digest()}")
    return spec


def _in_spec(path: Path, use: Callable[[Any], Any]) -> Any:
    """What ``use`` makes of the content of a ``spec.json``; raises ``BrokenRun`` when it is of no run."""
    try:
        return use(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        why = f"{path} is not the spec of a run ({brief(error)}); {ADVICE.format(path.parent)}"
        raise BrokenRun(why) from error


# Checkpoints


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a folder, by step, whatever the clock said."""
    found = [path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, reverse=True)


def keep(folder: Path, spec: RunSpec, state: State, before: list[dict[str, Any]]) -> None:
    """Write a checkpoint and drop all older ones but one; ``before`` lists earlier resumes."""
    head = {
        "step": state.step,
        "history": state.history,
        "spec": spec.to_dict(),
        "wrote": provenance(),
        "before": before,
    }
    content = to_bytes(state.to_tensors(), {"state": json.dumps(head, allow_nan=False)})
    path = folder / f"checkpoint-{state.step:012d}.safetensors"
    write(path, files.sealed(content))
    for old in [each for each in newest_first(folder) if each.name <= path.name][KEPT:]:
        with suppress(IsADirectoryError, PermissionError):  # not written here
            old.unlink(missing_ok=True)


def resume(folder: Path, spec: RunSpec, state: State) -> list[dict[str, Any]]:
    """Load the newest whole checkpoint of a folder into ``state``; all resumes of the run so far, none
    without one.

    A resume says its step, the broken checkpoints that were skipped for the one before, the host, and the
    provenance of the checkpoint.  Raises ``BrokenRun`` when all checkpoints are broken, since a run never
    restarts silently, and ``SpecChanged`` when one was written for another spec.
    """
    skipped = []
    for path in newest_first(folder):
        try:
            head = _load(path, spec, state)
            state.step, state.history = head["step"], head["history"]
            this = {"step": state.step, "skipped": skipped, "host": platform.node(), **head["wrote"]}
            return [*head["before"], this]
        except SpecChanged:
            raise
        except Exception as error:
            skipped.append(f"skipped {path.name}: {brief(error)}")
    if skipped:
        raise BrokenRun(f"no whole checkpoint in {folder} ({'; '.join(skipped)}); {ADVICE.format(folder)}")
    return []


def _in_words(resumed: dict[str, Any]) -> str:
    """One of the resumes of a run as a sentence, with a warning when versions of libraries changed since."""
    now, then = provenance()["versions"], resumed["versions"]
    odd = [f"{name} {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
    warning = f"warning: other versions ({', '.join(odd)}), so its numbers may differ a little"
    return "; ".join([*resumed["skipped"], f"resumes from step {resumed['step']}", *[warning] * bool(odd)])


def fault(path: Path, spec: RunSpec) -> str:
    """What is wrong with a checkpoint of ``spec``, as a sentence; empty when nothing is."""
    try:
        _load(path, spec, start(spec))
    except Exception as error:
        return brief(error)
    return ""


def _load(path: Path, spec: RunSpec, state: State) -> dict[str, Any]:
    """Load the tensors of a checkpoint into ``state``; returns what its header says besides."""
    tensors, about = from_bytes(files.read_sealed(path, _largest(spec)))
    head = files.parse(about["state"])
    if odd := differences(head["spec"], spec.to_dict()):
        raise SpecChanged(f"{path} was written for another spec: {'; '.join(odd)}")
    if not 0 <= head["step"] <= spec.training.steps:
        raise ValueError(f"step {brief(head['step'])} is none of this run")
    _check_finite(tensors)
    state.load_tensors(tensors)
    return head


# Tensors


def to_bytes(tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> bytes:
    """Tensors by name, and a few words about them, as the content of a safetensors file."""
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, about)


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of ``to_bytes``; raises ``ValueError`` when the content is anything else."""
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        return tensors, json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    except Exception as error:
        raise ValueError(f"it is not a file of tensors ({brief(error)})") from error


@lru_cache(maxsize=64)
def _size(spec: RunSpec) -> int:
    """The bytes of the weights of a spec's model; no memory is taken for them.

    >>> _size(RunSpec())
    522240
    """
    with torch.device("meta"):
        weights = build(spec.model, Shape.of(spec.task.layout)).state_dict()
    return sum(value.nbytes for value in weights.values())


def _largest(spec: RunSpec) -> int:
    """The bytes that a file of a run's tensors takes at most: a state, its names and its history."""
    return 4 * _size(spec) + 2**25


def _check_finite(tensors: dict[str, Tensor]) -> None:
    """Raise ``ValueError`` unless all numbers are finite; what loads them checks names and shapes."""
    for name, value in sorted(tensors.items()):
        if value.dtype != torch.float32 or not value.isfinite().all():
            raise ValueError(f"{brief(name)} holds numbers that are not finite, or of another type")


# Histories


def read_progress(path: Path) -> pd.DataFrame:
    """The whole rows of a history that is still being written; none where there is no such file."""
    try:
        whole, end, _ = read(path).rpartition(b"\n")
    except (OSError, ValueError):
        whole = end = b""
    return _history(whole + end or ",".join(_HISTORY).encode(), path)


def _history(text: bytes, path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(io.BytesIO(text), dtype=_HISTORY)
        if list(frame) != list(_HISTORY) or frame.isna().any(axis=None):
            raise ValueError("a column or a number is missing")
    except ValueError as error:
        raise BrokenRun(f"{path} is not the history of a run ({brief(error)})") from error
    return frame


def _append(path: Path, row: Row) -> None:
    """Add a row to the history so far, for whoever looks meanwhile; the run does not read it again."""
    try:
        with path.open("a", newline="") as file:
            file.write(_csv([row], header=os.path.getsize(path) == 0))
    except OSError as error:
        raise files.cannot_write(path, error) from error


def _csv(rows: list[Row], header: bool = True) -> str:
    return pd.DataFrame(rows).to_csv(index=False, header=header, lineterminator="\n")
