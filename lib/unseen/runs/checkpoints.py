"""Weights and checkpoints on disk: safetensors files that hold numbers and names and cannot hold code.

The size of a spec's weights is known beforehand, so a larger file is refused unread.  A checkpoint is a
state from which a run resumes bit for bit: weights, optimizer memory and losses, with step, history, spec
and provenance in the header and a SHA-256 at the end.  The newest two are kept.
"""

import json
import platform
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from unseen.files import BrokenRun, brief, parse, provenance, read_json, read_sealed, sealed, write
from unseen.model import Shape, Transformer, build
from unseen.once import ADVICE
from unseen.specs import RunSpec, differences
from unseen.training import State, start

_HEADER = 16 * 2**20  # bytes that names, shapes and a history may take beside the numbers
KEPT = 2  # checkpoints of a run
_NAME = re.compile(r"checkpoint-[0-9]{12}\.safetensors")


class SpecChanged(BrokenRun):
    """What is in a run's folder was written for another spec; the message shows the fields that differ."""


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
def count(spec: RunSpec) -> int:
    """The number of weights of a spec's model; no memory is taken for them.

    >>> count(RunSpec())
    130560
    """
    with torch.device("meta"):
        weights = build(spec.model, Shape.of(spec.task.layout)).state_dict()
    return sum(value.numel() for value in weights.values())


def largest(spec: RunSpec) -> int:
    """The bytes that a file with the weights of a spec takes at most."""
    return 8 * count(spec) + _HEADER


def _check_finite(tensors: dict[str, Tensor]) -> None:
    """Raise ``ValueError`` unless all numbers are finite; what loads them checks names and shapes."""
    for name, value in sorted(tensors.items()):
        if value.dtype not in (torch.float32, torch.float16) or not value.isfinite().all():
            raise ValueError(f"{brief(name)} holds numbers that are not finite, or of another type")


def model_of(content: bytes, spec: RunSpec, path: Path) -> Transformer:
    """A model of ``spec`` with the weights in a file's content; raises ``BrokenRun`` when they do not fit."""
    try:
        tensors, _ = from_bytes(content)
        _check_finite(tensors)
        model = build(spec.model, Shape.of(spec.task.layout))
        model.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (ValueError, RuntimeError, MemoryError) as error:
        raise BrokenRun(f"{path} does not hold the weights of its spec: {brief(error)}") from error
    return model.eval()


# Checkpoints


def bytes_needed(spec: RunSpec) -> int:
    """The bytes that the files of a run take at most: kept checkpoints, one being written, the weights."""
    return (12 * (KEPT + 1) + 4) * count(spec) + 2**20


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a folder, by step, whatever the clock said."""
    return sorted((path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), reverse=True)


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
    write(path, sealed(content))
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


def in_words(resumed: dict[str, Any]) -> str:
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
    tensors, about = from_bytes(read_sealed(path, 2 * largest(spec)))
    head = parse(about["state"])
    if odd := differences(head["spec"], spec.to_dict()):
        raise SpecChanged(f"{path} was written for another spec: {'; '.join(odd)}")
    if not 0 <= head["step"] <= spec.training.steps:
        raise ValueError(f"step {brief(head['step'])} is none of this run")
    _check_finite(tensors)
    state.load_tensors(tensors)
    return head


def same_spec(path: Path, spec: RunSpec) -> None:
    """Raise ``SpecChanged`` when ``spec.json`` is of another spec, ``BrokenRun`` when it is of none."""
    advice = ADVICE.format(path.parent)
    try:
        odd = differences(read_json(path), spec.to_dict())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise BrokenRun(f"{path} is not the spec of a run ({brief(error)}); {advice}") from error
    if odd:
        raise SpecChanged(f"{path.parent} belongs to another spec: {'; '.join(odd)}. {advice}")
