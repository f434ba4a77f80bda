"""Checkpoints: states from which a run goes on, bit for bit, whatever ended it.

A checkpoint is a file of tensors with the step, the history, the spec and the versions that wrote it in its header,
and a SHA-256 behind it all.  The newest two are kept.
"""

import io
import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from unseen.disk.files import (
    LARGEST_NOTE,
    LARGEST_TEXT,
    BrokenRun,
    brief,
    parse,
    provenance,
    read_json,
    read_sealed,
    sealed,
    write,
)
from unseen.disk.weights import HEADER, check, check_numbers, count, from_bytes, shapes, to_bytes
from unseen.optim import MEMORY, remembered
from unseen.specs import RunSpec, differences
from unseen.training import State

KEPT = 2
_NAME = re.compile(r"checkpoint-[0-9]{12}\.safetensors")
_VERSION = re.compile(r"[\w.+!-]{1,60}")
_LONGEST_WORDS, _MOST = 2**20, 1e300  # characters of what it says about who wrote it; numbers in a history
_ROW = ("step", "loss", "seen", "unseen", "seconds")
_SCORE = {"split", "accuracy", "low", "high", "examples"}
_NUMBER = rb",-?[0-9]{1,20}(?:\.[0-9]{1,30})?(?:e[+-][0-9]{1,3})?"
_HISTORY = re.compile(",".join(_ROW).encode() + rb"\n(?:[0-9]{1,13}(?:%b){4}\n)*+" % _NUMBER)
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
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
    return sorted((path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), reverse=True)


def keep(folder: Path, spec: RunSpec, state: State, before: list[dict[str, Any]] | None = None) -> None:
    """Write a checkpoint, and drop all but the newest two; files of later steps do not count, whatever they are.

    ``before`` says how often the run went on already.
    """
    head = {"step": state.step, "history": state.history, "spec": spec.to_dict(),
            "wrote": provenance(), "before": before or []}  # fmt: skip
    content = to_bytes(state.to_tensors(), {"state": json.dumps(head, allow_nan=False)})
    path = folder / f"checkpoint-{state.step:012d}.safetensors"
    write(path, sealed(content))
    for old in [each for each in newest_first(folder) if each.name <= path.name][KEPT:]:
        with suppress(IsADirectoryError, PermissionError):  # nothing that was written here
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
        except _BROKEN as error:
            skipped.append(f"skipped {path.name}: {brief(error)}")
    if skipped:
        raise BrokenRun(f"no whole checkpoint in {folder} ({'; '.join(skipped)}); {ADVICE}")
    return None


def whole(path: Path, spec: RunSpec) -> str:
    """What is wrong with a checkpoint of ``spec``, as a sentence; empty when nothing is."""
    try:
        _read(path, spec)
    except (BrokenRun, *_BROKEN) as error:
        return brief(error)
    return ""


def _read(path: Path, spec: RunSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors, about = from_bytes(read_sealed(path, 16 * count(spec) + HEADER))
    if "state" not in about:
        raise ValueError("it does not say what it is of")
    head = parse(about["state"])
    if odd := differences(head["spec"], spec.to_dict()):
        raise SpecChanged(f"{path} was written for another spec: {'; '.join(odd)}")
    _check_head(head, spec)
    _check_tensors(tensors, spec, head["step"])
    return tensors, head


def _check_head(head: dict[str, Any], spec: RunSpec) -> None:
    """Raise ``ValueError`` unless the words of a checkpoint are such as ``keep`` writes: a hash can be made by anybody."""
    if type(head["step"]) is not int or not 0 <= head["step"] <= spec.training.steps:
        raise ValueError("it is of no step of this run")
    if not _are_rows(head["history"], set(_ROW)):
        raise ValueError("its history is none")
    words = [head["wrote"], *head["before"]]
    versions = [each.get("versions", {}) for each in words]
    if len(json.dumps(words)) > _LONGEST_WORDS or not all(
        map(_VERSION.fullmatch, (v for each in versions for v in each.values()))
    ):
        raise ValueError("it does not say who wrote it")


def _are_rows(rows: Any, names: set[str]) -> bool:
    """Whether these are rows of a table with such columns."""
    if type(rows) is not list or not all(type(row) is dict and row.keys() == names for row in rows):
        return False
    return all(_fits(name, value) for row in rows for name, value in row.items())


def _fits(name: str, value: Any) -> bool:
    """Whether a value can stand in a column of a history or of scores."""
    if name in ("split", "kind"):
        return type(value) is str and value.isprintable() and len(value) < 100
    return type(value) in (int, float) and abs(value) < _MOST


def _check_tensors(tensors: dict[str, Tensor], spec: RunSpec, step: int) -> None:
    """Raise ``ValueError`` unless tensors can be the state of a run: its weights, what optimizers remember of each, losses."""
    prefix = "model."
    rest = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    check({name.removeprefix(prefix): value for name, value in tensors.items() if name not in rest}, spec)
    check_numbers(tensors, torch.float32)
    last = [(name.rpartition(".")[2], value) for name, value in rest.items()]
    of_each = Counter(tuple(value.shape) for name, value in last if name in ("exp_avg", "momentum"))
    if step and of_each != Counter(remembered(shapes(spec), spec.training)):
        raise ValueError("what it holds of the optimizers is not of these weights")
    if not all(name in MEMORY or (name == "losses" and value.ndim == 1) for name, value in last):
        raise ValueError("it holds more than weights, losses and what optimizers remember")


def same_spec(path: Path, spec: RunSpec) -> None:
    """Raise ``SpecChanged`` when the ``spec.json`` of a folder is of another spec, ``BrokenRun`` when it is of none."""
    try:
        odd = differences(read_json(path), spec.to_dict())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise BrokenRun(f"{path} is not the spec of a run ({brief(error)}); {ADVICE}") from error
    if odd:
        raise SpecChanged(f"{path.parent} belongs to another spec: {'; '.join(odd)}. {ADVICE}")


def check_manifest(manifest: dict[str, Any], spec: RunSpec) -> None:
    """Raise ``ValueError`` unless a manifest says of ``spec`` what ``Store.finish`` writes; ``TypeError`` and others as well."""
    if manifest["digest"] != spec.digest():
        raise ValueError(f"it is of run {manifest['digest']}")
    if RunSpec.from_dict(manifest["spec"]) != spec:
        raise ValueError("it is of another spec")
    most = {"spec.json": LARGEST_NOTE, "weights.safetensors": 8 * count(spec) + HEADER, "history.csv": LARGEST_TEXT}
    if not manifest["files"].keys() == manifest["bytes"].keys() == most.keys():
        raise ValueError("it lists other files than those of a run")
    if any(type(size) is not int or size > most[name] for name, size in manifest["bytes"].items()):
        raise ValueError("it lists files that are too large")
    seconds = [{"seconds": manifest["train_seconds"]}]
    if not (_are_rows(manifest["scores"], _SCORE) and _are_rows(manifest.get("kinds", []), _SCORE | {"kind"})
            and _are_rows(seconds, {"seconds"})):  # fmt: skip
        raise ValueError("it holds no scores")


def history_of(content: bytes, path: Path) -> pd.DataFrame:
    """The rows of a history as it is written; raises ``BrokenRun`` for all else, before anything takes memory for it."""
    if not _HISTORY.fullmatch(content):
        raise BrokenRun(f"{path} is not the history of a run")
    return pd.read_csv(io.BytesIO(content))
