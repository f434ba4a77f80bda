"""From many specs to one tidy frame: train what is missing, keep what is done."""

import errno
import os
import platform
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pandas as pd

from unseen.errors import Explained
from unseen.files import CannotWrite, check_room
from unseen.process_group import best_device
from unseen.runs.progress import Board
from unseen.runs.store import Store, ensure
from unseen.runs.workers import Executor, Serial, Tell, Trainer, suited
from unseen.specs import RunSpec

_SHARED = "all workers need one shared folder, which UNSEEN_RUNS names"


class SweepFailed(Explained):
    """Some runs of a sweep failed; the message counts them and quotes the reason of the first."""


def frame(
    specs: Iterable[RunSpec], store: Store | None = None, executor: Executor | None = None
) -> pd.DataFrame:
    """One row per run and split for all specs, in their order; missing runs are trained first.

    Columns: recipe, layers, width, pattern_length, input_length, instructions, examples_per_instruction,
    seed, split, accuracy, low, high (95 % interval), examples, seconds (of training), run (its digest).
    Raises ``SweepFailed`` when a run failed; all others are finished and kept first.
    """
    specs = list(dict.fromkeys(specs))
    known, failed = fill(specs, store or Store(), executor)
    _refuse(failed, len(specs))
    return pd.DataFrame([row for spec in specs for row in rows(known[spec])])


def manifests(specs: list[RunSpec], store: Store) -> dict[RunSpec, dict[str, Any]]:
    """The manifests of those runs that are finished."""
    with ThreadPoolExecutor(16) as readers:  # a shared disk answers slowly
        found = zip(specs, readers.map(partial(store.manifest, whole=False), specs), strict=True)
        return {spec: manifest for spec, manifest in found if manifest}


def fill(
    specs: list[RunSpec], store: Store, executor: Executor | None = None
) -> tuple[dict[RunSpec, dict[str, Any]], dict[str, str]]:
    """Train the runs that the store lacks; the manifests of all that are done, and why others failed, by
    digest.
    """
    known = manifests(specs, store)
    missing = [spec for spec in dict.fromkeys(specs) if spec not in known]
    print(f"{len(known) + len(missing)} runs: {len(known)} in the store, {len(missing)} to train", flush=True)
    if not missing:
        return known, {}
    executor = executor or (suited(missing) if best_device() == "cpu" else Serial())
    check_room(store.root)
    with Board(missing) as board:
        for part in in_order(missing):
            executor.run(part, partial(train_one, store=store), board.report)
    found = manifests(missing, store)
    elsewhere = board.done - {spec.digest() for spec in found}
    why = f"its worker wrote to another disk than {store.root}; {_SHARED}"
    return known | found, board.failed | dict.fromkeys(elsewhere, why)


def carry_out(specs: list[RunSpec], trainer: Trainer, executor: Executor) -> None:
    """Let an executor do something with all specs, and show the progress; raises ``SweepFailed``."""
    with Board(specs) as board:
        executor.run(specs, trainer, board.report)
    _refuse(board.failed, len(specs))


def _refuse(failed: dict[str, str], number: int) -> None:
    for digest, reason in failed.items():
        raise SweepFailed(f"{len(failed)} of {number} runs failed; the first, {digest}: {reason}")


def in_order(missing: list[RunSpec]) -> list[list[RunSpec]]:
    """The order in which runs begin, in parts that wait for each other: bases before the runs from them.

    In each part the longest begin first: one that begins last would keep one core of many busy for long.
    """
    parts, left = [], list(missing)
    while left:
        absent = {spec.digest() for spec in left}
        ready = [spec for spec in left if spec.model.base not in absent]
        parts.append(sorted(ready, key=work, reverse=True))
        left = [spec for spec in left if spec.model.base in absent]
    return parts


def work(spec: RunSpec) -> float:
    """The arithmetic of a run, up to a factor."""
    size = spec.model.layers * spec.model.width**2 * spec.task.layout.context
    return spec.training.steps * spec.training.batch * size


def train_one(spec: RunSpec, tell: Tell, store: Store) -> None:
    """What a worker does with a run: ensure that it is done and report its steps.

    Raises ``CannotWrite`` when it does not see the driver's store, ``Held`` when another one trains the run.
    """
    if not store.root.is_dir():
        who = f"process {os.getpid()} on {platform.node()} does not see the driver's {store.root}"
        raise CannotWrite(errno.ENOENT, f"{who}; {_SHARED}")
    ensure(spec, store, lambda row: tell(int(row["step"])), patience=0, say=lambda note: tell(0, note))


# Frames


def about(spec: RunSpec) -> dict[str, Any]:
    """The columns that say which run a row is of."""
    return {
        "recipe": spec.model.recipe,
        "layers": spec.model.layers,
        "width": spec.model.width,
        "pattern_length": getattr(spec.task, "pattern_length", None),  # of string rewriting only
        "input_length": getattr(spec.task, "input_length", None),
        "instructions": spec.task.instructions,
        "examples_per_instruction": spec.task.examples_per_instruction,
        "seed": spec.task.rule_seed,
    }


def rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows of a finished run, one for each split; see ``frame``."""
    which = about(RunSpec.from_dict(manifest["spec"]))
    after = {"seconds": manifest["train_seconds"], "run": manifest["digest"]}
    return [{**which, **line, **after} for line in manifest["scores"]]


def kinds(specs: Iterable[RunSpec], store: Store | None = None) -> pd.DataFrame:
    """``frame`` of finished runs by kind of input: ``has-op`` holds the pattern, ``no-op`` does not.

    A run without no-ops has one kind only, ``has-op``.  Raises ``NotFinished``.
    """
    store, found = store or Store(), []
    for spec in specs:
        manifest = store.finished(spec)
        lines = manifest.get("kinds") or [{**line, "kind": "has-op"} for line in manifest["scores"]]
        found += rows({**manifest, "scores": lines})
    return pd.DataFrame(found)


def histories(specs: Iterable[RunSpec], store: Store | None = None) -> pd.DataFrame:
    """The training histories of finished runs, one row per run, step and split, ready to plot.

    Columns: recipe, instructions, seed, step, loss, seconds, split, accuracy.  Raises ``NotFinished``.
    """
    store, parts = store or Store(), []
    for spec in specs:
        store.finished(spec)
        which = {name: about(spec)[name] for name in ("recipe", "instructions", "seed")}
        history = store.history(spec)
        history = history.melt(["step", "loss", "seconds"], ["seen", "unseen"], "split", "accuracy")
        parts.append(history.assign(**which))
    return pd.concat(parts, ignore_index=True)
