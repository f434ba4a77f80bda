"""Checkpoints: states from which a run goes on, bit for bit, whatever ended it.

A checkpoint is a file of tensors with the step, the history, the spec and the versions that wrote it in its header,
and a SHA-256 behind it all.  The newest two are kept.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unseen.files import BrokenRun, provenance, read, write
from unseen.specs import RunSpec, differences
from unseen.training import State
from unseen.weights import HEADER, count, from_bytes, to_bytes

KEPT = 2
_SEAL = 32  # bytes of the SHA-256: safetensors does not notice a flipped bit
ADVICE = "'unseen clean --broken' puts the run aside, and it is trained again when it is asked for next"


class SpecChanged(BrokenRun):
    """What lies in a run's folder was written for another spec; the message shows the fields that differ."""


@dataclass
class Found:
    """What a run goes on from: its step, the broken checkpoints skipped on the way, and what wrote it."""

    step: int
    skipped: list[str] = field(default_factory=list)
    wrote: dict[str, Any] = field(default_factory=dict)  # provenance of the checkpoint
    before: list[dict[str, Any]] = field(default_factory=list)  # earlier goings on

    def __str__(self) -> str:
        return "; ".join([*self.skipped, f"goes on from step {self.step}", *self.changes()])

    def changes(self) -> list[str]:
        """Warnings: libraries that are not those that wrote the checkpoint."""
        now = provenance()["versions"]
        then = self.wrote.get("versions", {})
        odd = [f"{name} {then.get(name)} then, {now.get(name)} now" for name in now if then.get(name) != now[name]]
        return [f"warning: other versions ({', '.join(odd)}), so its numbers may differ a little"] if odd else []


def bytes_needed(spec: RunSpec) -> int:
    """What the files of a run under way take at most: the kept checkpoints, one being written, the weights."""
    return (12 * (KEPT + 1) + 4) * count(spec) + 2**20


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a folder, by step: a clock that was set back does not matter."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def keep(folder: Path, spec: RunSpec, state: State, before: list[dict[str, Any]] | None = None) -> None:
    """Write a checkpoint, and drop all but the newest two.  ``before`` says how often the run went on already."""
    head = {"step": state.step, "history": state.history, "spec": spec.to_dict(),
            "wrote": provenance(), "before": before or []}  # fmt: skip
    content = to_bytes(state.to_tensors(), {"state": json.dumps(head, allow_nan=False)})
    write(folder / f"checkpoint-{state.step:012d}.safetensors", content + hashlib.sha256(content).digest())
    for old in newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def go_on(folder: Path, spec: RunSpec, state: State) -> Found | None:
    """Carry ``state`` on to the newest whole checkpoint of a folder; None when there is no checkpoint at all.

    A broken checkpoint is named and skipped for the one before.  Raises ``BrokenRun`` when all are broken, since a
    fresh start is never silent, and ``SpecChanged`` when one was written for another spec.
    """
    skipped = []
    for path in newest_first(folder):
        try:
            tensors, head = _read(path, spec)
            state.load_tensors(tensors)
            state.step, state.history = int(head["step"]), list(head["history"])
            return Found(state.step, skipped, head["wrote"], head["before"])
        except SpecChanged:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
            skipped.append(f"skipped {path.name}: {error}")
    if skipped:
        raise BrokenRun(f"no whole checkpoint in {folder} ({'; '.join(skipped)}); {ADVICE}")
    return None


def whole(path: Path, spec: RunSpec) -> str:
    """What is wrong with a checkpoint of ``spec``, as a sentence; empty when nothing is."""
    try:
        _read(path, spec)
    except (BrokenRun, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""


def _read(path: Path, spec: RunSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    content = read(path, 16 * count(spec) + HEADER)
    content, seal = content[:-_SEAL], content[-_SEAL:]
    if hashlib.sha256(content).digest() != seal:
        raise ValueError("its hash does not match")
    tensors, about = from_bytes(content)
    head = json.loads(about["state"])
    if odd := differences(head["spec"], spec.to_dict()):
        raise SpecChanged(f"{path} was written for another spec: {'; '.join(odd)}")
    return tensors, head


def same_spec(path: Path, spec: RunSpec) -> None:
    """Raise ``SpecChanged`` when the ``spec.json`` of a folder is of another spec, ``BrokenRun`` when it is of none."""
    try:
        odd = differences(json.loads(read(path)), spec.to_dict())
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenRun(f"{path} is not the spec of a run ({error}); {ADVICE}") from error
    if odd:
        raise SpecChanged(f"{path.parent} belongs to another spec: {'; '.join(odd)}. {ADVICE}")
