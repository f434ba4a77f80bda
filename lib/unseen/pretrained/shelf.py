"""Adapters on disk: a folder for each run, its manifest written last; what is done is never trained again.

::

    runs/adapters/<digest>/
        .lock                     held by the process that trains
        state.json                which process that is, while it trains
        checkpoint.safetensors    weights of the adapter and the optimizer's memory, while it trains
        adapter/                  what peft saved
        manifest.json             scores, hashes, versions, times
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from unseen.datasets import evaluation_examples, training_examples
from unseen.disk import holding
from unseen.disk.files import (
    LARGEST,
    BrokenRun,
    brief,
    hash_of,
    provenance,
    read_json,
    read_sealed,
    runs_folder,
    seal,
    sealed,
    write,
)
from unseen.disk.weights import from_bytes, to_bytes
from unseen.errors import NotFinished
from unseen.evaluation import wilson
from unseen.instructions import draw_split
from unseen.pretrained import local
from unseen.pretrained.adapters import AdapterRun
from unseen.pretrained.local import Loaded


class Run(Protocol):
    """What has a folder here: anything with a digest, and with plain dictionaries to be written down."""

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, ready for JSON."""


def folder_of(run: Run) -> Path:
    """Where a run lies."""
    return runs_folder() / "adapters" / run.digest()


def _advice(run: Run) -> str:
    return f"delete {folder_of(run)}, and it is trained again when it is asked for next"


def manifest(run: Run) -> dict[str, Any] | None:
    """The manifest of a finished run, None when there is none yet; raises ``BrokenRun`` when a file is not what was written."""
    path = folder_of(run) / "manifest.json"
    if not os.path.lexists(path):
        return None
    try:
        found = read_json(path)
        if found.pop("seal") != seal(found) or found["run"] != json.loads(json.dumps(run.to_dict())):
            raise ValueError("it is not the one that was written for this run")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BrokenRun(f"{path} is not a manifest ({brief(error)}); {_advice(run)}") from error
    for name, digest in found["files"].items():
        file = path.parent / "adapter" / name
        if not file.is_file() or hash_of(file) != digest:
            raise BrokenRun(f"{file} is missing or was changed since it was written; {_advice(run)}")
    return found


def ensure(run: AdapterRun, base: Path, say: Callable[[str], Any] = print) -> dict[str, Any]:
    """The manifest of a run: from its folder if it is done, else trained now, on from its checkpoint if there is one.

    ``base`` is the folder of the model.  Another process that trains the same run is waited for.  Raises ``BadBase``,
    ``BrokenRun``, ``Diverged``, or ``CannotWrite``.
    """
    return once(run, lambda: _trained(run, base, say))


def once(run: Run, train: Callable[[], tuple[Loaded, dict[str, Any], dict[str, str]]]) -> dict[str, Any]:
    """The manifest of a run: from its folder if it is done, else of what ``train`` gives, which is kept.

    It gives the tuned model, what the manifest tells of it, and texts to lie beside the adapter, by name.
    """
    if done := manifest(run):
        return done
    folder = folder_of(run)
    with holding.hold(folder):  # whoever waits is told for whom
        if done := manifest(run):
            return done
        holding.note(folder, "running")
        return _keep(run, folder, train)


def _keep(run: Run, folder: Path, train: Callable[[], tuple[Loaded, dict[str, Any], dict[str, str]]]) -> dict[str, Any]:
    began = time.time()
    loaded, told, texts = train()
    told = {"digest": run.digest(), "run": run.to_dict(), **told, "files": _save_adapter(loaded, folder, texts),
            "device": loaded.device, "seconds": round(time.time() - began, 3), **provenance(),
            "packages": {name: version(name) for name in local.PACKAGES}}  # fmt: skip
    told = json.loads(json.dumps(told, allow_nan=False))
    write(folder / "manifest.json", json.dumps({**told, "seal": seal(told)}, indent=1))
    for name in ("checkpoint.safetensors", "state.json"):
        (folder / name).unlink(missing_ok=True)
    return told


def _trained(run: AdapterRun, base: Path, say: Callable[[str], Any]) -> tuple[Loaded, dict[str, Any], dict[str, str]]:
    loaded = local.adapted(local.load(base), run.adapter)
    split = draw_split(run.task)
    rows = local.rows_of(loaded, run.adapter, training_examples(run.task, split))
    optimizer = torch.optim.AdamW(
        local.trained_weights(loaded).values(), lr=run.adapter.learning_rate, weight_decay=0.0
    )
    begin, save = resumed(run, loaded, optimizer, say)
    loss = local.train(loaded, optimizer, run, rows, begin, save)
    about = loaded.model.config.get_text_config()
    told = {"loss": loss, "scores": scores(run, loaded), "layers": about.num_hidden_layers, "width": about.hidden_size,
            "began_at_step": begin}  # fmt: skip
    return loaded, told, {}


def resumed(
    run: Run, loaded: Loaded, optimizer: torch.optim.Optimizer, say: Callable[[str], Any]
) -> tuple[int, Callable[[int], Any]]:
    """The step that a run goes on from, adapter and optimizer carried on to it, and what writes its next checkpoints."""
    path = folder_of(run) / "checkpoint.safetensors"
    begin = _go_on(path, run, loaded, optimizer)
    if begin:
        say(f"adapter {run.digest()} goes on from step {begin}")

    def save(step: int) -> None:
        write(path, sealed(to_bytes(_state(loaded, optimizer), {"run": run.digest(), "step": str(step)})))

    return begin, save


def scores(run: AdapterRun, loaded: Loaded) -> list[dict[str, Any]]:
    """Exact match on seen and unseen rules, apart for inputs that hold the pattern and those that do not."""
    found = []
    for split, examples in evaluation_examples(run.task, draw_split(run.task), run.evaluation).items():
        rows = local.rows_of(loaded, run.adapter, examples)
        wanted = [examples.line(i).answer for i in range(len(examples))]
        right = [said == answer for said, answer in zip(local.answers(loaded, rows), wanted, strict=True)]
        for kind, which in (("has-op", examples.applies), ("no-op", ~examples.applies)):
            hits = [hit for hit, chosen in zip(right, which, strict=True) if chosen]
            if hits:
                low, high = wilson(sum(hits), len(hits))
                found.append({"split": split, "kind": kind, "accuracy": sum(hits) / len(hits), "low": low, "high": high,
                              "examples": len(hits)})  # fmt: skip
    return found


def adapter_of(run: AdapterRun, base: Path) -> Loaded:
    """The fine-tuned model of a finished run; raises ``NotFinished`` when it is not done, ``BrokenRun`` when it was changed."""
    if manifest(run) is None:
        raise NotFinished(f"adapter {run.digest()} is not finished in {folder_of(run).parent}")
    return local.with_adapter(local.load(base), folder_of(run) / "adapter")


def _save_adapter(loaded: Loaded, folder: Path, texts: dict[str, str]) -> dict[str, str]:
    """Let peft save, beside its place first, and the texts with it; returns the SHA-256 of each file."""
    beside, place = folder / "adapter.part", folder / "adapter"
    for old in (beside, place):
        shutil.rmtree(old, ignore_errors=True)  # of a run that died before its manifest
    loaded.model.save_pretrained(beside, save_embedding_layers=False)
    for name, text in texts.items():
        write(beside / name, text)
    os.replace(beside, place)
    return {path.name: hash_of(path) for path in sorted(place.iterdir()) if path.is_file()}


def _state(loaded: Loaded, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights of the adapter and what the optimizer remembers, by name."""
    tensors = {f"weight.{name}": value for name, value in local.trained_weights(loaded).items()}
    for number, memory in optimizer.state_dict()["state"].items():
        tensors |= {f"memory.{number}.{name}": value for name, value in memory.items()}
    return tensors


def _go_on(path: Path, run: Run, loaded: Loaded, optimizer: torch.optim.Optimizer) -> int:
    """Carry adapter and optimizer on to a checkpoint; the step it is of, 0 without one.  Raises ``BrokenRun`` for a broken one."""
    if not os.path.lexists(path):
        return 0
    try:
        tensors, about = from_bytes(read_sealed(path, LARGEST))
        if about.get("run") != run.digest():
            raise ValueError("it is of another run")
        memory: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("memory."):
                _, number, what = name.split(".")
                memory.setdefault(int(number), {})[what] = value
        with torch.no_grad():
            for name, weight in local.trained_weights(loaded).items():
                weight.copy_(tensors[f"weight.{name}"])
        optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(about["step"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BrokenRun(f"{path} is not a checkpoint of this run ({brief(error)}); {_advice(run)}") from error
